package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance"
)

func (a *app) conformanceCommand() *cobra.Command {
	var opt conformance.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Run known answers: the working group's, or the project's own",
		Long: `conformance runs vectors in the formats of the MLS working group through the
library and prints a line for each file. --vectors names a directory with all 16
files, or single files, whose names say their kind unless --kind does. Without
it, the project's own vectors run, which are in the binary.

The lifetimes in published vectors have run out long ago: they are accepted here,
as nowhere else. The exit code is 1 if any case fails or a file is missing.`,
		Example: `  mls conformance fetch vectors && mls conformance --vectors vectors
  mls conformance --vectors treekem.json --json
  mls conformance`,
	}
	cmd.Flags().StringArrayVar(&opt.Vectors, "vectors", nil, "`directory` with all 16 files, or a file (repeatable)")
	cmd.Flags().StringVar(&opt.Kind, "kind", "", "the `kind` of the files, whatever their names")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(conformance.Kinds(), cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(a.conformanceFetchCommand(), a.conformanceGenerateCommand())
	return verb(cmd, func([]string) error {
		opt.AcceptExpired = true
		show := a.newProgress()
		opt.Progress = func(p conformance.Progress) { show.update(p.File, p.Done, p.Cases) }
		ctx, stop := untilStopped()
		defer stop()
		report, err := conformance.Run(ctx, opt)
		show.done()
		if err != nil {
			return interrupted(err)
		}
		if asJSON {
			err = a.printJSON(report)
		} else {
			err = report.WriteTable(a.stdout)
		}
		if report.Failed > 0 {
			err = errors.Join(err, fmt.Errorf("%d cases failed", report.Failed))
		}
		return err
	})
}

func (a *app) conformanceFetchCommand() *cobra.Command {
	var opt conformance.FetchOptions
	cmd := &cobra.Command{
		Use:   "fetch DIR",
		Short: "Download the working group's vectors, and check their SHA-256",
		Long: `fetch puts the working group's 16 files into a directory. What they must be is in
the binary: a file with another SHA-256 is refused, wherever it comes from. Files
that are there already are kept.`,
		Example: `  mls conformance fetch vectors`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&opt.BaseURL, "url", "", "`address` of a mirror (default the working group's repository)")
	cmd.Flags().StringVar(&opt.Commit, "commit", "", "`commit` to download from, other than the pinned one")
	return verb(cmd, func(args []string) error {
		opt.Progress = func(f conformance.PinnedFile, downloaded bool) {
			what := "is there already"
			if downloaded {
				what = "downloaded"
			}
			fmt.Fprintf(a.stderr, "%s: %s, %d bytes\n", f.Name, what, f.Bytes)
		}
		ctx, stop := untilStopped()
		defer stop()
		return conformance.Fetch(ctx, args[0], opt)
	})
}

func (a *app) conformanceGenerateCommand() *cobra.Command {
	var suites []string
	var opt conformance.GenerateOptions
	cmd := &cobra.Command{
		Use:   "generate DIR",
		Short: "Make vectors in the working group's formats",
		Long: `generate writes fresh vectors for all suites and kinds into a directory, for other
implementations to run. Existing files of these names are replaced.`,
		Example: `  mls conformance generate ours --suite 1 --suite 2`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVar(&suites, "suite", nil, "cipher `suite`, by number or name (repeatable; default all)")
	cmd.Flags().StringArrayVar(&opt.Kinds, "kind", nil, "`kind` of vectors (repeatable; default all)")
	return verb(cmd, func(args []string) error {
		opt.Suites = nil
		for _, text := range suites {
			s, err := parseSuite(cmd, text)
			if err != nil {
				return err
			}
			opt.Suites = append(opt.Suites, s)
		}
		if len(opt.Suites) == 0 {
			opt.Suites = mls.Suites()
		}
		opt.Progress = func(file string) { fmt.Fprintln(a.stderr, file) }
		ctx, stop := untilStopped()
		defer stop()
		return interrupted(conformance.Generate(ctx, args[0], opt))
	})
}
