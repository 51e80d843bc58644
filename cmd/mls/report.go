package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
)

// A report is what a command has found out, in the forms that it can be printed in.
type report interface {
	WriteTable(io.Writer) error
	WriteCSV(io.Writer) error
	WriteJSON(io.Writer) error
}

// A page is a report that can be a page in Markdown, too, which shows the command
// that makes it.
type page interface {
	report
	WriteMarkdown(w io.Writer, command string) error
}

// printReport prints a report, as a table unless another form is asked for.
func (a *app) printReport(r report, csv, json bool) error {
	switch {
	case csv:
		return r.WriteCSV(a.stdout)
	case json:
		return r.WriteJSON(a.stdout)
	}
	return r.WriteTable(a.stdout)
}

// checkPages refuses files that cannot be written for want of a directory, before work of minutes. An empty name is none.
func checkPages(names ...string) error {
	for _, name := range names {
		if name == "" {
			continue
		}
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			return err
		}
	}
	return nil
}

// printJSON prints a value for programs.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
