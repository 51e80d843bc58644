package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/sim/bench"
)

func (a *app) benchCommand() *cobra.Command {
	var members, suite string
	var cfg bench.Config
	var out benchOutput
	var suites bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what group operations cost, beside their floor",
		Long: `bench measures the operations of a group at chosen sizes, each beside its floor:
the number of cryptographic operations that the protocol makes unavoidable, times
what each costs in the same run. The ratio says how close the library comes.

Operations: create-update, create-add, create-remove, create-add100 (a commit is
made), process-far, process-near, process-add, process-remove (a commit is processed
by a member of the other half, or by the committer's neighbour), merge; join (by a
Welcome with the tree inside), join-apart (the tree from elsewhere), rejoin (the
leaves were verified before), external-join; protect, unprotect (1 KiB), stream-two
(two groups at once, on two cores); save, restore; memory (live heap in bytes per
member).

Trees: full (every member has committed), blank (as a bulk add leaves it), history
(blanks and unmerged leaves, after many changes).

Times are medians, and so is the ratio: of each run to the primitives measured
right beside it, as a machine's clock changes. Verifying all leaves in a join, and
sealing to a large resolution, run on all cores, and so does their floor. Other
operations also spread work over cores, which can bring them below the floor of one
core: --cores 1 compares like with like.

--plot draws time against the number of members, the floor dashed. --report writes
a page with the plots beside it: all operations, in full trees up to --members and
in the others up to 16384 members, which takes some minutes. A million members are
possible (--members 1048576), for those who have 8 GB of memory and the time.

--suites measures all suites instead, in full trees of 1024 members or the one size
given: the bytes of commits, key packages, Welcomes and messages, and the times to
make, process, join, protect and unprotect. --report then puts the table in its place
in a page that has one.`,
		Example: `  mls bench
  mls bench --members 4..65536 --ops process-far,process-near --plot process.svg
  mls bench --members 1024 --tree full,blank,history --json
  mls bench --report docs/performance.md
  mls bench --suites --report docs/suites.md`,
	}
	flags := cmd.Flags()
	flags.StringVar(&members, "members", "16,1024,16384", "group `sizes`: a list, or FROM..TO quadrupling")
	flags.StringSliceVar(&cfg.Trees, "tree", []string{"full"}, "states of the `tree`: "+strings.Join(bench.Trees(), ", "))
	flags.StringSliceVar(&cfg.Ops, "ops", nil, "`operations` to measure (default all)")
	flags.DurationVar(&cfg.Time, "time", bench.DefaultTime, "about how long to measure each operation")
	flags.IntVar(&cfg.Cores, "cores", 0, "`how many` cores to use (default all)")
	flags.BoolVar(&out.json, "json", false, "print JSON")
	flags.StringVar(&out.plot, "plot", "", "write a plot to this `file`, an SVG")
	flags.StringVar(&out.report, "report", "", "write a page to this `file`, in Markdown, and its plots beside it")
	flags.BoolVar(&suites, "suites", false, "measure all cipher suites, in groups of one size")
	cmd.MarkFlagsMutuallyExclusive("report", "plot")
	cmd.MarkFlagsMutuallyExclusive("report", "tree")
	cmd.MarkFlagsMutuallyExclusive("report", "ops")
	suiteFlag(cmd, &suite)
	for _, other := range []string{"suite", "ops", "tree", "plot"} {
		cmd.MarkFlagsMutuallyExclusive("suites", other)
	}
	cmd.RegisterFlagCompletionFunc("ops", cobra.FixedCompletions(bench.Ops(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("tree", cobra.FixedCompletions(bench.Trees(), cobra.ShellCompDirectiveNoFileComp))
	return verb(cmd, func([]string) error {
		if err := checkPages(out.plot, out.report); err != nil {
			return err
		}
		if suites {
			return a.benchSuites(cmd, cfg, members, out)
		}
		var err error
		if cfg.Suite, err = parseSuite(cmd, suite); err != nil {
			return err
		}
		if out.report != "" {
			if !cmd.Flags().Changed("members") { // set, as the page is to show it
				cmd.Flags().Set("members", reportSizes)
			}
			if !cmd.Flags().Changed("time") {
				cfg.Time = bench.ReportTime
			}
			out.command = shownCommand(cmd)
		}
		if cfg.Members, err = parseBenchSizes(members); err != nil {
			return usagef(cmd, "--members: %v", err)
		}
		if err := checkBench(cmd, &cfg); err != nil {
			return err
		}
		return a.bench(cfg, out)
	})
}

// benchSuites measures all suites.
func (a *app) benchSuites(cmd *cobra.Command, cfg bench.Config, members string, out benchOutput) error {
	if !cmd.Flags().Changed("members") {
		members = "1024"
	}
	var err error
	if cfg.Members, err = parseBenchSizes(members); err != nil {
		return usagef(cmd, "--members: %v", err)
	}
	if len(cfg.Members) != 1 {
		return usagef(cmd, "--suites: --members is one size")
	}
	if err := checkBench(cmd, &cfg); err != nil {
		return err
	}
	var page []byte
	if out.report != "" { // looked at first, for the run takes minutes
		if page, err = os.ReadFile(out.report); err != nil {
			return err
		}
		if !bench.HasSuites(page) {
			return usagef(cmd, "--report: %s has no place for the table", out.report)
		}
	}
	ctx, stop := untilStopped()
	defer stop()
	show := a.newProgress()
	cfg.Progress = show.update
	results, err := bench.RunSuites(ctx, cfg, mls.Suites())
	show.done()
	err = interrupted(err)
	if err == nil && page != nil {
		if page, err = bench.ReplaceSuites(page, results, shownCommand(cmd)); err == nil {
			err = os.WriteFile(out.report, page, 0o644)
		}
	}
	return errors.Join(err, printResults(a, results, out.json, bench.WriteSuites))
}

// printResults prints results, those from before an error too.
func printResults[R any](a *app, results []R, json bool, table func(io.Writer, []R) error) error {
	switch {
	case json && results == nil:
		return a.printJSON([]R{})
	case json:
		return a.printJSON(results)
	case len(results) == 0:
		return nil
	}
	return table(a.stdout, results)
}

// shownPath is a file's name as a page may show it: without where on a machine it is.
func shownPath(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Base(name)
	}
	return filepath.ToSlash(filepath.Clean(name))
}

// reportSizes are those of a report: powers of four, and the sizes that the targets name.
const reportSizes = "2,4,16,64,256,1024,4096,16384,65536,131072"

// parseBenchSizes is parseSizes, but for one number, which is that one size here, and for ranges, which
// quadruple.
func parseBenchSizes(text string) ([]int, error) {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		if !strings.Contains(text, ",") {
			text += ","
		}
		return parseSizes(text)
	}
	least, err := parseSize(from)
	if err != nil {
		return nil, err
	}
	most, err := parseSize(to)
	if err != nil {
		return nil, err
	}
	if least > most {
		return nil, fmt.Errorf("%d..%d is empty", least, most)
	}
	var sizes []int
	for n := least; n < most; n *= 4 {
		sizes = append(sizes, n)
	}
	return append(sizes, most), nil
}

// checkBench refuses what can't be measured.
func checkBench(cmd *cobra.Command, cfg *bench.Config) error {
	for _, n := range cfg.Members {
		if n < bench.MinMembers {
			return usagef(cmd, "--members: a group to measure in has at least %d", bench.MinMembers)
		}
	}
	for _, list := range []struct {
		flag         string
		given, known []string
	}{{"--tree", cfg.Trees, bench.Trees()}, {"--ops", cfg.Ops, bench.Ops()}} {
		for _, name := range list.given {
			if !slices.Contains(list.known, name) {
				return usagef(cmd, "%s: no %q; there are: %s", list.flag, name, strings.Join(list.known, ", "))
			}
		}
	}
	if cfg.Cores < 0 {
		return usagef(cmd, "--cores must not be negative")
	}
	if cfg.Time < time.Millisecond || cfg.Time > time.Hour {
		return usagef(cmd, "--time must be from 1ms to 1h")
	}
	return nil
}

// benchOutput says what becomes of the results.
type benchOutput struct {
	json         bool
	plot, report string
	command      string // how the report is made
}

func (a *app) bench(cfg bench.Config, out benchOutput) error {
	ctx, stop := untilStopped()
	defer stop()
	configs := []bench.Config{cfg}
	if out.report != "" {
		configs = bench.ReportConfigs(cfg)
	}
	results, err := a.runBench(ctx, configs)
	err = interrupted(err)
	if err == nil {
		err = out.write(cfg, results)
	}
	return errors.Join(err, printResults(a, results, out.json, bench.WriteTable))
}

// runBench runs measurements one after the other, under one progress bar.
func (a *app) runBench(ctx context.Context, configs []bench.Config) ([]bench.Result, error) {
	show := a.newProgress()
	defer show.done()
	total := 0
	for _, cfg := range configs {
		steps, err := bench.Steps(cfg)
		if err != nil {
			return nil, err
		}
		total += steps
	}
	var results []bench.Result
	before := 0
	for _, cfg := range configs {
		steps := 0
		cfg.Progress = func(doing string, done, of int) {
			steps = of
			show.update(doing, before+done, total)
		}
		more, err := bench.Run(ctx, cfg)
		if results = append(results, more...); err != nil {
			return results, err
		}
		before += steps
	}
	return results, nil
}

// write writes the files that were asked for.
func (out *benchOutput) write(cfg bench.Config, results []bench.Result) error {
	if out.plot != "" {
		return writeFileWith(out.plot, func(w io.Writer) error { return bench.WritePlot(w, results, cfg.Ops) })
	}
	if out.report == "" {
		return nil
	}
	dir, name := filepath.Split(out.report)
	plots := bench.ReportPlots(strings.TrimSuffix(name, filepath.Ext(name)))
	for _, p := range plots {
		if err := writeFileWith(dir+p.File, func(w io.Writer) error { return bench.WritePlot(w, results, p.Ops) }); err != nil {
			return err
		}
	}
	return writeFileWith(out.report, func(w io.Writer) error {
		return bench.WriteReport(w, bench.Report{Results: results, Command: out.command, Plots: plots, Suite: cfg.Suite})
	})
}

// writeFileWith writes a file once its contents are complete.
func writeFileWith(name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}
