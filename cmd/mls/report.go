package main

import (
	"encoding/json"
	"io"
)

// A report is what a command has found out, in the forms that it can be printed in.
type report interface {
	WriteTable(io.Writer) error
	WriteCSV(io.Writer) error
	WriteJSON(io.Writer) error
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

// printJSON prints a value for programs.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
