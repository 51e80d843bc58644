package bench

import (
	_ "embed"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/treekem/mls"
)

// costs is the text on how costs grow.
//
//go:embed costs.md
var costs string

// A Report is what goes on a page on performance.
type Report struct {
	Results []Result
	// Command is how the page is made.
	Command string
	// Plots are the names of the files with plots, beside the page.
	Plots []Plot
	Suite *mls.Suite // nil: suite 1
}

// A Plot is a file with the plots of some operations.
type Plot struct {
	Title string
	File  string
	Ops   []string
}

// ReportPlots are the plots of a report whose files' names begin with a prefix.
func ReportPlots(prefix string) []Plot {
	return []Plot{
		{"Commits", prefix + "-commits.svg", []string{
			"create-update", "create-add", "create-remove", "create-add100",
			"process-far", "process-near", "process-add", "process-remove", "merge",
		}},
		{"Joining, saving, restoring", prefix + "-joins.svg", []string{
			"join", "join-apart", "rejoin", "external-join", "save", "restore",
		}},
		{"Messages", prefix + "-messages.svg", []string{"protect", "unprotect", "stream-two"}},
	}
}

// ReportConfigs are the measurements of a report: all operations in full trees of
// these sizes, and in other trees up to smallTree members, where the protocol
// itself makes the cost of a commit grow up to n.
func ReportConfigs(cfg Config) []Config {
	full, others := cfg, cfg
	full.Trees, others.Trees = []string{"full"}, []string{"blank", "history"}
	others.Members = nil
	for _, n := range cfg.Members {
		if n <= smallTree {
			others.Members = append(others.Members, n)
		}
	}
	if len(others.Members) == 0 {
		return []Config{full}
	}
	return []Config{full, others}
}

const smallTree = 16384

// Steps is how many times a run with this configuration reports progress.
func Steps(cfg Config) (int, error) {
	cfg, err := cfg.withDefaults()
	return cfg.steps(), err
}

// WriteReport writes the page, in Markdown.
func WriteReport(w io.Writer, r Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance\n\nThis page is made by `%s`.\n\n", r.Command)
	if err := r.machine(&b); err != nil {
		return err
	}
	r.targets(&b)
	for _, p := range r.Plots {
		fmt.Fprintf(&b, "## %s\n\n![%s: time against members](%s)\n\n", p.Title, p.Title, p.File)
		r.table(&b, p.Ops)
	}
	r.memory(&b)
	b.WriteString(costs)
	_, err := io.WriteString(w, b.String())
	return err
}

// machine describes where the report was made by what counts here.
func (r *Report) machine(b *strings.Builder) error {
	fmt.Fprintf(b, "Measured on %s/%s with %d cores and %s. Times are medians; the floor is the\n"+
		"number of cryptographic operations that the protocol makes unavoidable, times what\n"+
		"each costs right beside each run, and the ratio is the median of the runs' own.\n"+
		"Ratios can be compared between machines, times can't.\n"+
		"On several cores a commit's keys and encryptions are shared out, so that it can come\n"+
		"below the floor, which is that of one core unless there are %d alike or more.\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version(), manyAlike)
	s := r.Suite
	if s == nil {
		var err error
		if s, err = mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519); err != nil {
			return err
		}
	}
	in, err := newInputs(s)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "| primitive of %s | one takes |\n|---|---:|\n", s)
	for _, p := range in.primitives(work{}) {
		p.count = 1
		for range 100 {
			p.times = append(p.times, p.once())
		}
		fmt.Fprintf(b, "| %s | %v |\n", p.name, digits(median(p.times)))
	}
	b.WriteString("\n")
	return nil
}

// targets writes what the library is held to.
func (r *Report) targets(b *strings.Builder) {
	b.WriteString("## What the library is held to\n\nIn full trees, all in this one run.\n\n| | bound | measured | |\n|---|---|---|---|\n")
	for _, t := range Targets(r.Results) {
		verdict, measured := "not held", t.Measured
		switch {
		case !t.Known:
			verdict, measured = "", "not in this run"
		case t.Held:
			verdict = "held"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", t.What, t.Bound, measured, verdict)
	}
	b.WriteString("\n")
}

// table writes the results of some operations: a row for each operation and
// tree, a column for each size.
func (r *Report) table(b *strings.Builder, ops []string) {
	var sizes []int
	for _, result := range r.Results {
		sizes = append(sizes, result.Members)
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	b.WriteString("Time, and how many times the floor it is.\n\n| | tree |")
	for _, n := range sizes {
		fmt.Fprintf(b, " %d |", n)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---:|", len(sizes)) + "\n")
	for _, op := range ops {
		for _, tree := range Trees() {
			list := of(r.Results, op, tree)
			if len(list) == 0 {
				continue
			}
			fmt.Fprintf(b, "| %s | %s |", op, tree)
			for _, n := range sizes {
				fmt.Fprintf(b, " %s |", cell(list, n))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
}

// cell is the result at a size, short.
func cell(list []Result, n int) string {
	i := slices.IndexFunc(list, func(r Result) bool { return r.Members == n })
	switch {
	case i < 0:
		return ""
	case list[i].Ratio > 0:
		return fmt.Sprintf("%v, %.2f", digits(list[i].Time), list[i].Ratio)
	}
	return digits(list[i].Time).String()
}

// memory writes what a member holds.
func (r *Report) memory(b *strings.Builder) {
	b.WriteString("## Memory\n\nLive heap of a member, after garbage collection.\n\n| tree | members | bytes per member |\n|---|---:|---:|\n")
	for _, tree := range Trees() {
		for _, result := range of(r.Results, "memory", tree) {
			fmt.Fprintf(b, "| %s | %d | %d |\n", tree, result.Members, result.Bytes)
		}
	}
	b.WriteString("\n")
}

// ReportTime is how long a report measures each operation.
const ReportTime = 250 * time.Millisecond
