package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// header and row are a result for a reader.
var header = []string{"op", "tree", "members", "time", "floor", "ratio", "bytes", "allocated"}

const nothing = "–"

func (r *Result) row() []string {
	row := []string{r.Op, r.Tree, strconv.Itoa(r.Members), nothing, nothing, nothing, strconv.Itoa(r.Bytes), nothing}
	if r.Time > 0 {
		row[3] = digits(r.Time).String()
	}
	if r.Floor > 0 {
		row[4], row[5] = digits(r.Floor).String(), strconv.FormatFloat(r.Ratio, 'f', 2, 64)
	}
	if r.Alloc > 0 {
		row[7] = strconv.FormatInt(r.Alloc, 10)
	}
	return row
}

// WriteTable writes results for a reader, and how process-far grows.
func WriteTable(w io.Writer, results []Result) error {
	if len(results) == 0 {
		return errors.New("bench: nothing measured")
	}
	fmt.Fprintf(w, "%s\nFloor: the unavoidable primitive operations, at their cost in this run.\n\n", results[0].Suite)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	writeRow(t, header)
	for i := range results {
		writeRow(t, results[i].row())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeGrowth(w, results)
}

func writeRow(w io.Writer, cells []string) {
	for _, c := range cells {
		fmt.Fprintf(w, "%s\t", c)
	}
	fmt.Fprintln(w)
}

// writeGrowth says how the time to process a commit grows with the group.
func writeGrowth(w io.Writer, results []Result) error {
	for _, tree := range Trees() {
		for _, op := range []string{"process-far", "process-near"} {
			list := of(results, op, tree)
			if len(list) < 2 {
				continue
			}
			a, b := list[0], list[len(list)-1]
			_, err := fmt.Fprintf(w, "\n%s, %s tree: from %d to %d members, %.0f times as many, takes %.2f times as long.",
				op, tree, a.Members, b.Members, float64(b.Members)/float64(a.Members), float64(b.Time)/float64(a.Time))
			if err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// of are the results of an operation in a kind of tree, by members.
func of(results []Result, op, tree string) []Result {
	var list []Result
	for _, r := range results {
		if r.Op == op && r.Tree == tree {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b Result) int { return cmp.Compare(a.Members, b.Members) })
	return list
}

// digits rounds to about three digits.
func digits(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
