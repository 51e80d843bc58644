package compare

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"bytes": Bytes,
	"ms":    func(d time.Duration) string { return Span(d, 1) },
	"json": func(v any) (template.JS, error) {
		b, err := json.Marshal(v)
		return template.JS(b), err
	},
	"lower": strings.ToLower,
}).Parse(pageText))

// WriteHTML writes the report as one page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	v := &pageView{Report: r, Columns: columnTitles()}
	for i := range r.Designs {
		v.Rows = append(v.Rows, costRow(&r.Designs[i], i))
	}
	for i, a := range r.Attacks {
		row := attackRow{Attack: a}
		for k := range r.Designs {
			row.Cells = append(row.Cells, attackCell{Design: r.Designs[k].Name, Title: r.Designs[k].Title, Outcome: r.Designs[k].Attacks[i]})
		}
		v.Matrix = append(v.Matrix, row)
	}
	v.Charts = r.charts()
	if r.Tree != nil {
		v.TreeCharts = r.Tree.charts()
	}
	v.Answers = r.answers()
	return page.Execute(w, v)
}

type pageView struct {
	*Report
	Columns    []string
	Rows       []tableRow
	Matrix     []attackRow
	Charts     []template.HTML
	TreeCharts []template.HTML
	Answers    []answer
}

type tableRow struct {
	Name, Title, Simplified, Skipped, Class string
	Number                                  int
	Cells                                   []string
}

type attackRow struct {
	Attack
	Cells []attackCell
}

type attackCell struct {
	Design, Title string
	Outcome
}

// Word is what a cell of the matrix says.
func (c attackCell) Word() string {
	if c.Verdict == Safe && c.Noticed != "" {
		return "noticed"
	}
	return string(c.Verdict)
}

func columnTitles() []string {
	var out []string
	for _, c := range costColumns {
		out = append(out, c.title)
	}
	return out
}

func lineClass(i int) string { return fmt.Sprintf("c%d", i%14) }

func costRow(d *DesignReport, i int) tableRow {
	row := tableRow{Name: d.Name, Title: d.Title, Simplified: d.Simplified, Skipped: d.Skipped, Number: d.Number, Class: lineClass(i)}
	if d.Costs == nil {
		return row
	}
	for _, c := range costColumns {
		row.Cells = append(row.Cells, c.value(d.Costs))
	}
	return row
}

func bytesTick(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.0f MB", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.0f kB", v/1e3)
	}
	return fmt.Sprintf("%.0f B", v)
}

func spanTick(ns float64) string {
	switch {
	case ns >= 1e9:
		return fmt.Sprintf("%.0f s", ns/1e9)
	case ns >= 1e6:
		return fmt.Sprintf("%.0f ms", ns/1e6)
	}
	return fmt.Sprintf("%.0f µs", ns/1e3)
}

// charts are the cost curves against the number of members.
func (r *Report) charts() []template.HTML {
	kinds := []struct {
		title  string
		format func(float64) string
		value  func(Point) float64
	}{
		{"New keys for the group: bytes that the sender uploads", bytesTick, func(p Point) float64 { return float64(p.RekeyBytes) }},
		{"New keys for the group: the sender's CPU time", spanTick, func(p Point) float64 { return float64(p.RekeyCPU) }},
		{"One message: bytes that the sender uploads", bytesTick, func(p Point) float64 { return float64(p.MessageBytes) }},
	}
	var out []template.HTML
	for _, k := range kinds {
		c := &chart{title: k.title, xTitle: "members", yFormat: k.format}
		for i, d := range r.Designs {
			l := chartLine{name: d.Name, class: lineClass(i), strong: d.Name == "mls"}
			for _, p := range d.Sweep {
				l.x, l.y = append(l.x, float64(p.Members)), append(l.y, k.value(p))
			}
			if len(l.x) > 0 {
				c.lines = append(c.lines, l)
			}
		}
		out = append(out, c.render())
	}
	return out
}

func plainTick(v float64) string { return fmt.Sprintf("%.0f", v) }

// guides are the curves to compare with.
func guides(x []float64) []chartLine {
	log, root, line := chartLine{name: "log₂ n", class: "g0", x: x, guide: true}, chartLine{name: "√n", class: "g1", x: x, guide: true}, chartLine{name: "n", class: "g2", x: x, guide: true}
	for _, v := range x {
		log.y, root.y, line.y = append(log.y, math.Log2(v)), append(root.y, math.Sqrt(v)), append(line.y, v)
	}
	return []chartLine{log, root, line}
}

func (r *TreeReport) charts() []template.HTML {
	var out []template.HTML
	byName := func(runs []TreeRun, title string, expected bool) {
		c := &chart{title: title, xTitle: "members", yFormat: plainTick}
		at := map[string]int{}
		var x []float64
		published := chartLine{name: "published: one update", class: "g1", dots: true}
		for _, run := range runs {
			i, ok := at[run.Name]
			if !ok {
				i = len(c.lines)
				at[run.Name] = i
				c.lines = append(c.lines, chartLine{name: run.Name, class: lineClass(3 * i)})
			}
			l := &c.lines[i]
			l.x, l.y = append(l.x, float64(run.Members)), append(l.y, run.Mean)
			if i == 0 {
				x = append(x, float64(run.Members))
			}
			if expected && run.Expected > 0 && run.Name == "1 updates per commit" {
				published.x, published.y = append(published.x, float64(run.Members)), append(published.y, run.Expected)
			}
		}
		c.lines = append(c.lines, guides(x)...)
		if len(published.x) > 0 {
			c.lines = append(c.lines, published)
		}
		out = append(out, c.render())
	}
	byName(r.Updates, "Ciphertexts per commit, by Update proposals in each commit", true)
	heal := &chart{title: "Ciphertexts of each commit after a bulk add, by who commits", xTitle: "commit", yFormat: plainTick}
	for i, run := range r.Healing {
		l := chartLine{name: run.Name, class: lineClass(3 * i)}
		for _, p := range run.Series {
			l.x, l.y = append(l.x, float64(p.Commit)), append(l.y, float64(p.Cost))
		}
		heal.lines = append(heal.lines, l)
	}
	out = append(out, heal.render())
	byName(r.Paper, "Ciphertexts per commit in the workload of Tainted TreeKEM, by who adds and removes", false)
	return out
}
