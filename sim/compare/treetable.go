package compare

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
)

// WriteTable writes what was found about the tree for a reader.
func (r *TreeReport) WriteTable(w io.Writer) error { return r.write(&printer{w: w}) }

func (r *TreeReport) write(p *printer) error {
	for i, part := range r.parts() {
		if len(part.runs) == 0 {
			continue
		}
		if i > 0 {
			p.line("")
		}
		p.section(part.title, part.note)
		rows := [][]string{{"history", "members", "commits", "mean", "median", "95 %", "max", "first", "path bytes", "log2 n", "√n", "published"}}
		for _, x := range part.runs {
			expected := "-"
			if x.Expected > 0 {
				expected = fmt.Sprintf("%.0f (%+.0f %%)", x.Expected, 100*(x.Mean/x.Expected-1))
			}
			rows = append(rows, []string{
				x.Name, strconv.Itoa(x.Members), strconv.Itoa(x.Commits), fmt.Sprintf("%.1f", x.Mean), strconv.Itoa(x.Median),
				strconv.Itoa(x.P95), strconv.Itoa(x.Max), strconv.Itoa(x.First), Bytes(int(math.Round(x.Bytes))),
				fmt.Sprintf("%.0f", math.Log2(float64(x.Members))), fmt.Sprintf("%.0f", math.Sqrt(float64(x.Members))), expected,
			})
		}
		p.grid(rows)
	}
	return p.err
}

type treePart struct {
	name, title, note string
	runs              []TreeRun
}

func (r *TreeReport) parts() []treePart {
	return []treePart{
		{"updates", "Update proposals", "HPKE ciphertexts per commit, by the number of Update proposals of random members in each; the committer is a random member", r.Updates},
		{"committers", "Committers", "HPKE ciphertexts per commit with one Update proposal in each, by who commits", r.Committers},
		{"healing", "Healing", "HPKE ciphertexts per commit after a bulk add: as many commits as members, without proposals, by who commits", r.Healing},
		{"paper", "Tainted TreeKEM's workload", "HPKE ciphertexts per commit; 80 % updates by a Zipf distribution (who joined first updates most), 10 % adds, 10 % removals, by who adds and removes", r.Paper},
	}
}

// WriteJSON writes the report as JSON.
func (r *TreeReport) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteCSV writes a line for each history.
func (r *TreeReport) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"part", "history", "members", "commits", "mean", "median", "p95", "max", "first", "path_bytes", "published"})
	for _, part := range r.parts() {
		for _, x := range part.runs {
			c.Write([]string{
				part.name, x.Name, strconv.Itoa(x.Members), strconv.Itoa(x.Commits), strconv.FormatFloat(x.Mean, 'f', 2, 64),
				strconv.Itoa(x.Median), strconv.Itoa(x.P95), strconv.Itoa(x.Max), strconv.Itoa(x.First),
				strconv.FormatFloat(x.Bytes, 'f', 0, 64), strconv.FormatFloat(x.Expected, 'f', 0, 64),
			})
		}
	}
	c.Flush()
	return c.Error()
}
