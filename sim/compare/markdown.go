package compare

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
)

// WriteMarkdown writes the report as a page. command is what makes it.
func (r *Report) WriteMarkdown(w io.Writer, command string) error {
	p := &printer{w: w, markdown: true}
	p.head(fmt.Sprintf("Designs of group chat with %d members", r.Workload.Members), command)
	if err := r.write(p); err != nil {
		return err
	}
	p.points(r, "Bytes of new keys for the group", func(x Point) string { return strconv.Itoa(x.RekeyBytes) })
	p.points(r, "CPU time of new keys for the group", func(x Point) string { return Span(x.RekeyCPU, 1) })
	p.points(r, "Bytes of a message", func(x Point) string { return strconv.Itoa(x.MessageBytes) })
	return p.err
}

func (p *printer) head(title, command string) {
	p.line("# %s\n\nThis page is made by `%s`, on %s/%s with %s.\n", title, command, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// points are what a sweep measured, a column for each size.
func (p *printer) points(r *Report, title string, value func(Point) string) {
	var sizes []int
	for _, d := range r.Designs {
		for _, x := range d.Sweep {
			sizes = append(sizes, x.Members)
		}
	}
	if len(sizes) == 0 {
		return
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	rows := [][]string{{"members"}}
	for _, n := range sizes {
		rows[0] = append(rows[0], strconv.Itoa(n))
	}
	for _, d := range r.Designs {
		row := make([]string, len(sizes)+1)
		row[0] = d.Name
		for _, x := range d.Sweep {
			row[1+slices.Index(sizes, x.Members)] = value(x)
		}
		rows = append(rows, row)
	}
	p.line("\n### %s\n", title)
	p.grid(rows)
}

// WriteMarkdown writes the report as a page. command is what makes it.
func (r *TreeReport) WriteMarkdown(w io.Writer, command string) error {
	p := &printer{w: w, markdown: true}
	p.head("When the ratchet tree stops being logarithmic", command)
	p.line("Each history is played on the tree of package treekem: with each commit key pairs, hashes and signatures are\n"+
		"made for real, and a tree that shares what is untouched with the one before. What a path costs is read off the\n"+
		"tree (`treekem.Tree.CommitCost`); %d paths of each history are also sealed, and the run fails if the ciphertexts on\n"+
		"the wire are not as many.\n", sealedPaths)
	p.conclusions(r)
	if err := r.write(p); err != nil {
		return err
	}
	return p.err
}

// conclusions say who is to commit, and how keys are to be renewed, for the costs
// to stay logarithmic.
func (p *printer) conclusions(r *TreeReport) {
	p.line("## What keeps a group logarithmic\n")
	if own, ok := r.largest(r.Updates, "0 updates per commit"); ok {
		p.line("- Renewing keys by commits of one's own, without Update proposals: %.1f ciphertexts per commit with %d members.", own.Mean, own.Members)
	}
	if one, ok := r.worst(); ok {
		p.line("- One Update proposal of somebody else in each commit: %.0f, which is %.1f times √n.", one.Mean, one.Mean/math.Sqrt(float64(one.Members)))
	}
	for _, x := range r.Committers {
		p.line("- With these proposals and %d members, the committer being %s: %.0f.", x.Members, x.Name, x.Mean)
	}
	for _, x := range r.Healing {
		p.line("- After a bulk add of %d members, the committer being %s: the median is %d, after %d at first.", x.Members, x.Name, x.Median, x.First)
	}
	if n := len(r.Paper); n >= 2 {
		p.line("- Adds, removals and updates mixed, from %d members on: %.1f if random members add and remove, %.1f if a few administrators do.",
			r.Paper[n-2].Members, r.Paper[n-2].Mean, r.Paper[n-1].Mean)
	}
	p.line("\nSo members should renew their keys by committing, in turns; whoever chooses the committer asks\n" +
		"`Group.Tree().CommitCost(leaf)` of some members that are online and takes the cheapest; and no one member, the\n" +
		"administrator or the last to join, makes all commits.\n")
}

// largest is the run of a name with the most members.
func (r *TreeReport) largest(runs []TreeRun, name string) (run TreeRun, ok bool) {
	for _, x := range runs {
		if x.Name == name && x.Members >= run.Members {
			run, ok = x, true
		}
	}
	return run, ok
}
