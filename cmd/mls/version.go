package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return verb(&cobra.Command{
		Use:     "version",
		Short:   "Print the version of this binary, with the commit it was built from",
		Example: `  mls version`,
	}, func([]string) error {
		_, err := fmt.Fprintln(a.stdout, version())
		return err
	})
}

// version describes the binary from what the Go linker recorded in it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "mls (unknown build)"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	var extra []string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]):
			extra = append(extra, s.Value[:12])
		case s.Key == "vcs.modified" && s.Value == "true" && !strings.Contains(v, "dirty"):
			extra = append(extra, "modified")
		}
	}
	extra = append(extra, info.GoVersion)
	return fmt.Sprintf("mls %s (%s)", v, strings.Join(extra, ", "))
}
