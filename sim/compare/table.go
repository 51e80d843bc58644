package compare

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the costs and the attacks for a reader.
func (r *Report) WriteTable(w io.Writer) error { return r.write(&printer{w: w}) }

func (r *Report) write(p *printer) error {
	l := r.Workload
	p.line("Workload %s: %d members, %d joins, %d leaves, %d updates, %d messages of %d senders, %d offline spells, seed %d",
		l.Name, l.Members, l.Joins, l.Leaves, l.Updates, l.Messages, l.Senders, l.Offline, l.Seed)
	if l.Acting < l.Members {
		if p.markdown {
			p.line("")
		}
		p.line("%d members read and write; the other %d hold keys that everything is encrypted to.", l.Acting, l.Members-l.Acting)
	}
	p.line("")
	p.costs(r)
	if len(r.Attacks) > 0 {
		p.line("")
		p.attacks(r)
	}
	if slices.ContainsFunc(r.Designs, func(d DesignReport) bool { return len(d.Sweep) > 0 }) {
		p.line("")
		p.growth(r)
	}
	return p.err
}

// printer writes for a terminal, or Markdown.
type printer struct {
	w        io.Writer
	markdown bool
	err      error
}

// section begins a part with what it is about.
func (p *printer) section(title, note string) {
	if !p.markdown {
		p.line("%s (%s)", strings.ToUpper(title), note)
		return
	}
	p.line("## %s\n\n%s.\n", title, strings.ToUpper(note[:1])+note[1:])
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// grid writes rows in columns, all but the first to the right.
func (p *printer) grid(rows [][]string) {
	if p.markdown {
		for i, row := range rows {
			p.line("| %s |", strings.Join(row, " | "))
			if i == 0 {
				p.line("|---|%s", strings.Repeat("---:|", len(row)-1))
			}
		}
		return
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	widest := 0
	for _, row := range rows {
		widest = max(widest, len(row[0]))
	}
	for _, row := range rows {
		first := row[0] + strings.Repeat(" ", widest-len(row[0]))
		fmt.Fprintln(t, first+"\t"+strings.Join(row[1:], "\t")+"\t")
	}
	if err := t.Flush(); p.err == nil {
		p.err = err
	}
}

// costColumns are the columns of the table of costs.
var costColumns = []struct {
	title string
	value func(*Costs) string
}{
	{"message up", func(c *Costs) string { return Bytes(per(c.Message.Initiator.SentBytes, c.Message.Count)) }},
	{"down", func(c *Costs) string { return Bytes(per(c.Message.Others.ReceivedBytes, c.Message.Readers)) }},
	{"PK ops", func(c *Costs) string { return fmt.Sprint(per(c.Message.Initiator.PublicKey, c.Message.Count)) }},
	{"CPU", func(c *Costs) string { return Span(c.Message.Initiator.CPU, c.Message.Count) }},
	{"join up", func(c *Costs) string { return Bytes(per(c.Join.Initiator.SentBytes, c.Join.Count)) }},
	{"joiner", func(c *Costs) string { return Bytes(per(c.Join.Joiner.ReceivedBytes, c.Join.Count)) }},
	{"leave up", func(c *Costs) string { return Bytes(per(c.Leave.Initiator.SentBytes, c.Leave.Count)) }},
	{"update up", func(c *Costs) string {
		if c.Update.Count == 0 {
			return "-"
		}
		return Bytes(per(c.Update.Initiator.SentBytes, c.Update.Count))
	}},
	{"member CPU", func(c *Costs) string { t := c.Total(); return Span(t.Others.CPU, t.Readers) }},
	{"server in", func(c *Costs) string { return Bytes(c.Total().ServerIn) }},
	{"out", func(c *Costs) string { return Bytes(c.Total().ServerOut) }},
	{"state", func(c *Costs) string { return Bytes(c.StateBytes) }},
	{"online", func(c *Costs) string { return c.MustBeOnline }},
	{"read", func(c *Costs) string { return fmt.Sprint(c.Reads) }},
}

func (p *printer) costs(r *Report) {
	p.section("Costs", "up: bytes the initiator sends; down, member CPU: of each other member, per operation; server: all in all")
	header := []string{"design"}
	for _, c := range costColumns {
		header = append(header, c.title)
	}
	rows := [][]string{header}
	var notes []string
	for i := range r.Designs {
		d := &r.Designs[i]
		if d.Costs == nil {
			notes = append(notes, d.Name+": "+d.Skipped+".")
			continue
		}
		row := []string{d.Name}
		for _, c := range costColumns {
			row = append(row, c.value(d.Costs))
		}
		rows = append(rows, row)
	}
	p.grid(rows)
	notes = append(notes, "Operations are counted where they are done; those of mls and mls-public follow from what each commit and Welcome holds.")
	for _, n := range notes {
		p.line("")
		p.line("%s", n)
	}
}

func (p *printer) attacks(r *Report) {
	p.section("Attacks", fmt.Sprintf("on groups of %d; texts recovered, forged or tampered with unnoticed, of those tried", sceneMembers))
	header := []string{"attack"}
	for _, d := range r.Designs {
		header = append(header, d.Name)
	}
	rows := [][]string{header}
	for i, a := range r.Attacks {
		row := []string{a.Name}
		for _, d := range r.Designs {
			o := d.Attacks[i]
			cell := string(o.Verdict)
			if o.Verdict != Safe {
				cell = fmt.Sprintf("%s %d/%d", strings.ToUpper(cell), o.Recovered, o.Tried)
			} else if o.Noticed != "" {
				cell = "noticed"
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	p.grid(rows)
}

func (p *printer) growth(r *Report) {
	p.section("Growth", "with the number of members n: e of cost ∝ nᵉ; and which law, a + b·n or a + b·log₂ n, comes closer to what was measured")
	rows := [][]string{{"design", "sizes", "message bytes", "e", "law", "re-key bytes", "e", "law", "re-key CPU", "e", "law"}}
	for _, d := range r.Designs {
		if len(d.Sweep) == 0 {
			continue
		}
		last, g := d.Sweep[len(d.Sweep)-1], d.Growth
		size := func(v float64) string { return Bytes(int(v)) }
		span := func(v float64) string { return Span(time.Duration(v), 1) }
		row := []string{d.Name, fmt.Sprintf("%d…%d", d.Sweep[0].Members, last.Members)}
		row = append(append(row, Bytes(last.MessageBytes)), g.MessageBytes.cells(size)...)
		row = append(append(row, Bytes(last.RekeyBytes)), g.RekeyBytes.cells(size)...)
		row = append(append(row, Span(last.RekeyCPU, 1)), g.RekeyCPU.cells(span)...)
		rows = append(rows, row)
	}
	p.grid(rows)
}

// Word is the law and the exponent.
func (f Fit) Word() string {
	if f.Law == "1" {
		return "constant"
	}
	return fmt.Sprintf("%s (e = %.2f)", f.Law, f.Exponent)
}

// cells are a fit's exponent and its law.
func (f Fit) cells(unit func(float64) string) []string {
	law := f.Law
	switch f.Law {
	case "1":
		law = "constant"
	case "n":
		law += fmt.Sprintf(" (± %.0f %%)", 100*f.OffLinear)
	case "log n":
		law += fmt.Sprintf(" (± %.0f %%), +%s a doubling", 100*f.OffLog, unit(f.PerDoubling))
	}
	return []string{fmt.Sprintf("%.2f", f.Exponent), law}
}

// Bytes writes a number of bytes in few characters.
func Bytes(n int) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%d MB", (n+500_000)/1_000_000)
}

// Span writes a duration divided by a count in few characters.
func Span(d time.Duration, count int) string {
	if count == 0 {
		return "-"
	}
	switch d /= time.Duration(count); {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
