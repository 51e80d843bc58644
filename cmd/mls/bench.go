package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/sim/bench"
)

func (a *app) benchCommand() *cobra.Command {
	var members, suite string
	var cfg bench.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what group operations cost, beside their floor",
		Long: `bench measures the operations of a group at chosen sizes, each beside its floor:
the number of cryptographic operations that the protocol makes unavoidable, times
what each costs in the same run. The ratio says how close the library comes.

Operations: create-update, create-add, create-remove (a commit is made),
process-far, process-near (an update commit is processed by a member of the other
half, and by the committer's neighbour), join (by a Welcome with the tree inside),
protect, unprotect (1 KiB).

Trees: full (every member has committed), blank (as a bulk add leaves it), history
(blanks and unmerged leaves, after many changes).

Times are medians. Verifying all leaves in a join, and sealing to a large
resolution, run on all cores, and so does their floor. Other operations also spread
work over cores, which can bring them below the floor of one core: --cores 1
compares like with like.`,
		Example: `  mls bench
  mls bench --members 64,16384 --ops process-far,process-near
  mls bench --members 1024 --tree full,blank,history --json`,
	}
	flags := cmd.Flags()
	flags.StringVar(&members, "members", "16,1024,16384", "group `sizes`: a list, or FROM..TO doubling")
	flags.StringSliceVar(&cfg.Trees, "tree", []string{"full"}, "states of the `tree`: "+strings.Join(bench.Trees(), ", "))
	flags.StringSliceVar(&cfg.Ops, "ops", nil, "`operations` to measure (default all)")
	flags.DurationVar(&cfg.Time, "time", bench.DefaultTime, "about how long to measure each operation")
	flags.IntVar(&cfg.Cores, "cores", 0, "`how many` cores to use (default all)")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	suiteFlag(cmd, &suite)
	cmd.RegisterFlagCompletionFunc("ops", cobra.FixedCompletions(bench.Ops(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("tree", cobra.FixedCompletions(bench.Trees(), cobra.ShellCompDirectiveNoFileComp))
	return verb(cmd, func([]string) error {
		var err error
		if cfg.Suite, err = parseSuite(cmd, suite); err != nil {
			return err
		}
		if !strings.Contains(members, "..") && !strings.Contains(members, ",") {
			members += "," // one number is that one size here
		}
		if cfg.Members, err = parseSizes(members); err != nil {
			return usagef(cmd, "--members: %v", err)
		}
		if err := checkBench(cmd, &cfg); err != nil {
			return err
		}
		return a.bench(cfg, asJSON)
	})
}

// checkBench refuses what can't be measured.
func checkBench(cmd *cobra.Command, cfg *bench.Config) error {
	for _, n := range cfg.Members {
		if n < 4 {
			return usagef(cmd, "--members: it takes 4 to have a near and a far member")
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

func (a *app) bench(cfg bench.Config, asJSON bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	show := a.newProgress()
	cfg.Progress = show.update
	results, err := bench.Run(ctx, cfg)
	show.done()
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if asJSON {
		if results == nil {
			results = []bench.Result{}
		}
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		return errors.Join(err, e.Encode(results))
	}
	if len(results) > 0 {
		err = errors.Join(err, bench.WriteTable(a.stdout, results))
	}
	return err
}
