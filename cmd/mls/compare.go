package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/treekem/mls/sim"
	"github.com/treekem/mls/sim/compare"
	"github.com/treekem/mls/sim/protocols"
)

// compareFlags are the flags of "mls compare".
type compareFlags struct {
	preset           string
	members, ops     int
	designs, attacks []string
	sweep            string
	seed             uint64
	csv, json        bool
	html, report     string
	command          string // as the page shows it
	tree             bool
	treeMax, paper   int
	film             int
}

func (a *app) compareCommand() *cobra.Command {
	var f compareFlags
	var names []string
	for _, d := range protocols.All() {
		names = append(names, d.Name)
	}
	var attacks []string
	for _, x := range compare.Attacks() {
		attacks = append(attacks, x.Name)
	}
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Run the ways people build encrypted group chat side by side, and attack them",
		Long: `compare runs each design on the same workload, as real code with real
cryptography, counts what it costs, checks that every member reads every message
that it should, and then carries the attacks out. A verdict is what happened in
the run: how many texts were recovered, forged or changed, and whether anybody
noticed.

Designs: ` + strings.Join(names, ", ") + `.

Attacks: ` + strings.Join(attacks, ", ") + `.

Workloads: family (8 members), team (100), company (1,000), broadcast (10,000),
or --members and --ops. In groups above 128 some members act, and everything is
encrypted to all.

--sweep measures a message and a re-keying at several group sizes and fits how
they grow.

--html writes the report as one page that needs no network: the questions that
everybody asks answered with the run's numbers, the attacks with what each one
recovered, cost curves, and the tree of a real group to step through. It sweeps up
to 2,048 members unless --sweep says otherwise.

--report writes the tables as a page in Markdown, of a comparison or of the tree.

--tree asks instead when the ratchet tree of this library stops being
logarithmic: HPKE ciphertexts per commit over long histories, by the number of
Update proposals in each commit, by who commits, after a bulk add, and in the
workload of the Tainted TreeKEM paper (eprint 2019/1489), beside the figures
published for eprint 2025/1035.`,
		Example: `  mls compare --preset team
  mls compare --preset family --designs hybrid,senderkeys,mls --attacks seize-past,seize-healed
  mls compare --preset team --html report.html
  mls compare --preset company --sweep 8..8192 --attacks none
  mls compare --tree --tree-max 4096
  mls compare --tree --tree-max 65536 --tree-paper 15 --report tree.md`,
	}
	f.register(cmd)
	for _, other := range []string{"preset", "members", "ops", "designs", "attacks", "sweep", "film"} {
		cmd.MarkFlagsMutuallyExclusive("tree", other)
	}
	return verb(cmd, func([]string) error {
		if err := checkPages(f.html, f.report); err != nil {
			return err
		}
		f.command = shownCommand(cmd)
		if f.tree {
			if f.treeMax < 16 || f.treeMax > maxMembers || f.treeMax&(f.treeMax-1) != 0 || f.paper < 3 || f.paper > 15 {
				return usagef(cmd, "--tree-max is a power of two from 16 to %d, --tree-paper from 3 to 15", maxMembers)
			}
			return a.compareTree(&f)
		}
		cfg, err := f.config(cmd)
		if err != nil {
			return err
		}
		return a.compare(cfg, &f)
	})
}

// shownCommand is the command with the flags that were given, as a page may show it.
func shownCommand(cmd *cobra.Command) string {
	line := "mls " + cmd.Name()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		switch {
		case f.Name == "html" || f.Name == "report":
			value = shownPath(value)
		case f.Value.Type() == "stringSlice":
			value = strings.Trim(value, "[]")
		}
		line += " --" + f.Name
		if f.Value.Type() != "bool" {
			line += " " + value
		}
	})
	return line
}

// register adds the flags to the command.
func (f *compareFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.preset, "preset", "team", "`workload`: family, team, company, broadcast")
	flags.IntVar(&f.members, "members", 0, "`number` of members of a workload of one's own")
	flags.IntVar(&f.ops, "ops", 60, "`number` of operations of a workload of one's own")
	flags.StringSliceVar(&f.designs, "designs", nil, "`designs` to run (default all)")
	flags.StringSliceVar(&f.attacks, "attacks", nil, "`attacks` to carry out (default all; none for none)")
	flags.StringVar(&f.sweep, "sweep", "", "group `sizes` to measure at: FROM..TO or a list")
	flags.Uint64Var(&f.seed, "seed", 1, "`seed` of the schedule: who does what when")
	flags.BoolVar(&f.csv, "csv", false, "print a line of comma-separated values for each design and operation")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.StringVar(&f.html, "html", "", "write the report as a page to this `file` too")
	flags.IntVar(&f.film, "film", compare.MinFilm, "`number` of members of the group whose tree the page shows")
	flags.StringVar(&f.report, "report", "", "write the tables as a page in Markdown to this `file` too")
	flags.BoolVar(&f.tree, "tree", false, "measure the ratchet tree over long histories instead")
	flags.IntVar(&f.treeMax, "tree-max", 1024, "largest `size` of these histories, from 256 fourfold")
	flags.IntVar(&f.paper, "tree-paper", 9, "largest `i` of the Tainted TreeKEM workload: 2^(i-1) members, 10·2^i operations")
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	cmd.MarkFlagsMutuallyExclusive("tree", "html")
	cmd.MarkFlagsMutuallyExclusive("preset", "members")
}

// config turns the flags into the comparison's terms.
func (f *compareFlags) config(cmd *cobra.Command) (compare.Config, error) {
	var cfg compare.Config
	var err error
	if f.film < compare.MinFilm || f.film > compare.MaxFilm {
		return cfg, usagef(cmd, "--film: from %d to %d members", compare.MinFilm, compare.MaxFilm)
	}
	if cmd.Flags().Changed("members") {
		cfg.Workload = compare.Custom(f.members, f.ops, f.seed)
	} else {
		if cmd.Flags().Changed("ops") {
			return cfg, usagef(cmd, "--ops is for a workload of one's own: give --members, too")
		}
		var ok bool
		if cfg.Workload, ok = compare.Preset(f.preset); !ok {
			return cfg, usagef(cmd, "--preset: no %q; there are: family, team, company, broadcast", f.preset)
		}
		cfg.Workload.Seed = f.seed
	}
	if err := cfg.Workload.Validate(); err != nil {
		return cfg, usagef(cmd, "--members: %v", err)
	}
	if cfg.Designs, err = protocols.Find(f.designs); err != nil {
		return cfg, usagef(cmd, "--designs: %v", err)
	}
	if len(f.attacks) != 1 || f.attacks[0] != "none" {
		if cfg.Attacks, err = compare.FindAttacks(f.attacks); err != nil {
			return cfg, usagef(cmd, "--attacks: %v", err)
		}
	}
	if f.sweep == "" && f.html != "" {
		f.sweep = "8..2048"
	}
	if f.sweep != "" {
		if cfg.Sweep, err = sweepSizes(f.sweep); err != nil {
			return cfg, usagef(cmd, "--sweep: %v", err)
		}
	}
	return cfg, nil
}

// sweepSizes reads group sizes; between FROM and TO they grow fourfold.
func sweepSizes(text string) ([]int, error) {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return parseSizes(text + ",")
	}
	a, err := parseSize(from)
	if err != nil {
		return nil, err
	}
	b, err := parseSize(to)
	if err != nil {
		return nil, err
	}
	if a < 4 || a > b {
		return nil, fmt.Errorf("%d..%d: from 4 upwards", a, b)
	}
	var sizes []int
	for i, n := range sim.Doublings(a, b) {
		if i%2 == 0 || n == b {
			sizes = append(sizes, n)
		}
	}
	return sizes, nil
}

// compare runs the comparison and prints what it found.
func (a *app) compare(cfg compare.Config, f *compareFlags) error {
	ctx, stop := untilStopped()
	defer stop()
	show := a.newProgress()
	cfg.Progress = show.update
	report, err := compare.Run(ctx, cfg)
	if err == nil && f.html != "" {
		err = a.comparePage(ctx, report, f, cfg.Progress)
	}
	show.done()
	return a.conclude(report, f, err)
}

// conclude writes the page of a report, if one is asked for, and prints it, unless
// err kept it from being made.
func (a *app) conclude(p page, f *compareFlags, err error) error {
	if err == nil && f.report != "" {
		err = writeFileWith(f.report, func(w io.Writer) error { return p.WriteMarkdown(w, f.command) })
	}
	if err != nil {
		return interrupted(err)
	}
	return a.printReport(p, f.csv, f.json)
}

// comparePage adds what only the page shows and writes it.
func (a *app) comparePage(ctx context.Context, r *compare.Report, f *compareFlags, progress func(string, int, int)) error {
	var err error
	if r.Film, err = compare.Shoot(r.Workload.Seed, f.film); err != nil {
		return err
	}
	cfg := compare.TreeConfig{Sizes: []int{16, 64, 256}, Large: 256, Paper: 6, Seed: r.Workload.Seed, Progress: progress}
	if r.Workload.Members < 64 { // a small group is to be quick
		cfg.Sizes, cfg.Large, cfg.Paper = []int{16, 64}, 64, 4
	}
	r.Tree, err = compare.RunTree(ctx, cfg)
	if err != nil {
		return err
	}
	return writeFileWith(f.html, r.WriteHTML)
}

// compareTree measures the tree and prints what it found.
func (a *app) compareTree(f *compareFlags) error {
	ctx, stop := untilStopped()
	defer stop()
	show := a.newProgress()
	cfg := compare.TreeConfig{Large: min(f.treeMax, 1024), Paper: f.paper, Seed: f.seed, Progress: show.update}
	for n := 256; n < f.treeMax; n *= 4 {
		cfg.Sizes = append(cfg.Sizes, n)
	}
	cfg.Sizes = append(cfg.Sizes, f.treeMax)
	report, err := compare.RunTree(ctx, cfg)
	show.done()
	return a.conclude(report, f, err)
}
