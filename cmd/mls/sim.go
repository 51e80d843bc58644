package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/treekem/mls/sim"
)

// simFlags are the flags of "mls sim".
type simFlags struct {
	members, suite, mix string
	commits, sample     int
	seed                uint64
	csv, json           bool
}

func (a *app) simCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate groups and show what re-keying them costs",
		Long: `sim runs real groups of 2, 4, 8, … 1,024 members, each member a complete
implementation, and shows what re-keying costs: with a full tree, as it is once
members have committed; after a bulk add, when all parents are blank and the
first re-key is linear; and by sealing a fresh key to each member, really done
with the same HPKE.

Each group then adds, removes and updates members by commits that every member
processes. After each, all must have the same epoch authenticator and read the
same message; who was removed must not read what follows, nor a latecomer what
went before. If any of that fails, so does the command.

The columns: bytes of the commit, HPKE encryptions in it, the time to create it,
and the median time a member takes to process it.

--members takes one number for sizes up to it, FROM..TO for sizes doubling in
between, or a list. In groups above 4,096 members 1,000 of them act (32 after the
bulk add), unless --sample says otherwise; their trees are complete all the same.`,
		Example: `  mls sim
  mls sim --members 64 --commits 30 --mix update=1,add=2,remove=2 --seed 7
  mls sim --members 100,1000,10000 --csv
  mls sim --members 100000..100000 --commits 20 --sample 1000`,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.members, "members", "", "group `sizes`: MAX, FROM..TO, or a list (default 1024)")
	suiteFlag(cmd, &f.suite)
	flags.IntVar(&f.commits, "commits", sim.DefaultCommits, "`number` of commits at each size, besides those measured (alias --ops)")
	flags.StringVar(&f.mix, "mix", sim.DefaultMix.String(), "how often each `kind` of commit occurs")
	flags.Uint64Var(&f.seed, "seed", 1, "`seed` of the schedule: who does what when")
	flags.IntVar(&f.sample, "sample", 0, "`how many` members act in each group (default all, 1,000 above 4,096)")
	flags.BoolVar(&f.csv, "csv", false, "print a line of comma-separated values for each size")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.Lookup("sample").DefValue = "0"
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "ops" {
			name = "commits"
		}
		return pflag.NormalizedName(name)
	})
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	return verb(cmd, func([]string) error {
		cfg, err := f.config(cmd)
		if err != nil {
			return err
		}
		return a.simulate(cfg, &f)
	})
}

// config turns the flags into the simulator's terms.
func (f *simFlags) config(cmd *cobra.Command) (sim.Config, error) {
	cfg := sim.Config{Seed: f.seed, Commits: f.commits, Sample: f.sample}
	var err error
	if cfg.Suite, err = parseSuite(cmd, f.suite); err != nil {
		return cfg, err
	}
	if cfg.Mix, err = sim.ParseMix(f.mix); err != nil {
		return cfg, usagef(cmd, "--mix: %s", strings.TrimPrefix(err.Error(), "sim: "))
	}
	if f.commits < 0 {
		return cfg, usagef(cmd, "--commits must not be negative")
	}
	if f.commits == 0 {
		cfg.Commits = -1 // none, where 0 asks for the default
	}
	if f.sample < 0 || f.sample == 1 {
		return cfg, usagef(cmd, "--sample needs two members at least")
	}
	if f.members != "" {
		cfg.Sizes, err = parseSizes(f.members)
		if err != nil {
			return cfg, usagef(cmd, "--members: %v", err)
		}
	}
	return cfg, nil
}

// maxMembers is the largest group that the command line asks for: the library's default bound.
const maxMembers = 1 << 20

// parseSizes reads group sizes: "1024" for those up to it; "16..64" for 16, 32, 64; "10,100" for these two.
func parseSizes(text string) ([]int, error) {
	if from, to, ok := strings.Cut(text, ".."); ok {
		a, err := parseSize(from)
		if err != nil {
			return nil, err
		}
		b, err := parseSize(to)
		if err == nil && a > b {
			err = fmt.Errorf("%d..%d goes down", a, b)
		}
		if err != nil {
			return nil, err
		}
		return sim.Doublings(a, b), nil
	}
	parts := strings.Split(strings.TrimSuffix(text, ","), ",")
	var sizes []int
	for _, part := range parts {
		n, err := parseSize(part)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, n)
	}
	if len(sizes) == 1 && !strings.Contains(text, ",") {
		return sim.SizesUpTo(sizes[0]), nil
	}
	return sizes, nil
}

func parseSize(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	if n < 2 || n > maxMembers {
		return 0, fmt.Errorf("a group of %d: from 2 to %d can be simulated", n, maxMembers)
	}
	return n, nil
}

// simulate runs the simulation and prints what it found, also when it failed on the way.
func (a *app) simulate(cfg sim.Config, f *simFlags) error {
	ctx, stop := untilStopped()
	defer stop()
	show := a.newProgress()
	cfg.Progress = func(p sim.Progress) {
		show.update(fmt.Sprintf("%d members: %s", p.Members, p.Doing), p.Done, p.Total)
	}
	report, err := sim.Run(ctx, cfg)
	show.done()
	if errors.Is(err, context.Canceled) {
		return interrupted(err)
	}
	if report != nil {
		err = errors.Join(err, a.printReport(report, f.csv, f.json))
	}
	return err
}
