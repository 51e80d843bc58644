package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/treekem/mls/sim/protocols"
)

// smallReport compares a few designs in a small group, once for all tests.
func smallReport(t *testing.T) *Report {
	t.Helper()
	r, err := makeSmallReport()
	if err != nil {
		t.Fatal(err)
	}
	copied := *r
	return &copied
}

var makeSmallReport = sync.OnceValues(func() (*Report, error) {
	designs, err := protocols.Find([]string{"plain", "groupkey", "hybrid", "mls"})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	r, err := Run(ctx, Config{Workload: Custom(6, 30, 3), Designs: designs, Attacks: Attacks(), Sweep: []int{8, 32}})
	if err != nil {
		return nil, err
	}
	if r.Film, err = Shoot(1, MinFilm); err != nil {
		return nil, err
	}
	r.Tree, err = RunTree(ctx, TreeConfig{Sizes: []int{16}, Large: 16, Paper: 3, Seed: 1})
	return r, err
})

// TestReport writes a report in all its forms.
func TestReport(t *testing.T) {
	r := smallReport(t)
	var table, csv, js, page bytes.Buffer
	for _, f := range []error{r.WriteTable(&table), r.WriteCSV(&csv), r.WriteJSON(&js), r.WriteHTML(&page)} {
		if f != nil {
			t.Fatal(f)
		}
	}
	if n := strings.Count(csv.String(), "\n"); n != 1+4*5 {
		t.Errorf("%d lines of CSV", n)
	}
	if !strings.Contains(table.String(), "BROKEN") || !strings.Contains(table.String(), "COSTS") {
		t.Errorf("table:\n%s", &table)
	}
	var back struct {
		Workload map[string]any
		Designs  []struct {
			Name    string
			Costs   map[string]any
			Attacks []struct {
				Name, Verdict     string
				Recovered, Tried  int
				Noticed, Sentence string
			}
		}
	}
	if err := json.Unmarshal(js.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Designs) != 4 || len(back.Designs[0].Attacks) != len(Attacks()) || back.Designs[2].Costs["message"] == nil {
		t.Errorf("JSON lacks something: %d designs", len(back.Designs))
	}
	checkPage(t, page.String())

	var tree bytes.Buffer
	if err := r.Tree.WriteCSV(&tree); err != nil || !strings.HasPrefix(tree.String(), "part,history,") || !strings.Contains(tree.String(), "\nhealing,") {
		t.Errorf("CSV of the tree: %v\n%s", err, &tree)
	}
}

// checkPage holds that a page needs no network and that its drawings are
// well-formed.
func checkPage(t *testing.T, page string) {
	t.Helper()
	if m := regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|@import|url\(`).FindString(page); m != "" {
		t.Errorf("the page loads something: %s", m)
	}
	drawings := regexp.MustCompile(`(?s)<figure>.*?</figure>`).FindAllString(page, -1)
	if len(drawings) < 5 {
		t.Errorf("%d drawings", len(drawings))
	}
	for _, d := range drawings {
		x := xml.NewDecoder(strings.NewReader(d))
		for {
			if _, err := x.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("a drawing is not well-formed: %v", err)
			}
		}
		if strings.Contains(d, "NaN") || strings.Contains(d, "Inf") {
			t.Errorf("a drawing has no numbers: %.200s", d)
		}
	}
	for _, want := range []string{"viewport", "prefers-color-scheme", "The tree, epoch by epoch", "Why not share one group key", `id="frames"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
