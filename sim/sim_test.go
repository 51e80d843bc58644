package sim

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
)

// TestRun simulates small groups and holds the report against what is known of their costs.
func TestRun(t *testing.T) {
	var progress []Progress
	r, err := Run(t.Context(), Config{
		Sizes: []int{2, 3, 8, 16, 33}, Seed: 3, Progress: func(p Progress) { progress = append(progress, p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Sizes {
		n := s.Members
		if !s.Agreed || s.Commits != measuredUpdates+DefaultCommits+bulkCommits || s.Messages != s.Commits {
			t.Errorf("%d members: agreed %t, %d commits, %d messages", n, s.Agreed, s.Commits, s.Messages)
		}
		if s.Joined == 0 || s.Late.Members != s.Joined || s.Late.Tries != 2*s.Joined {
			t.Errorf("%d members: %d joined, latecomers tried %+v", n, s.Joined, s.Late)
		}
		if s.Removed == 0 || s.Shut.Members != s.Removed || s.Shut.Tries != 4*s.Removed {
			t.Errorf("%d members: %d removed, they tried %+v", n, s.Removed, s.Shut)
		}
		if s.BulkAdd.Seals != n-1 || s.PerMember.Seals != n-1 {
			t.Errorf("%d members: %d seals after a bulk add and %d without a tree, want %d", n, s.BulkAdd.Seals, s.PerMember.Seals, n-1)
		}
		if s.TreeKEM.Elapsed <= 0 || s.BulkAdd.Elapsed <= 0 || s.PerMember.Elapsed <= 0 || s.Process <= 0 {
			t.Errorf("%d members: a time is missing: %+v", n, s)
		}
	}
	for n, want := range map[int]int{2: 1, 8: 3, 16: 4} {
		i := slices.IndexFunc(r.Sizes, func(s SizeReport) bool { return s.Members == n })
		if got := r.Sizes[i].TreeKEM.Seals; got != want {
			t.Errorf("%d members: %d seals in a full tree, want log2 n = %d", n, got, want)
		}
	}
	checkProgress(t, progress)
}

// checkProgress: it never goes back, and ends at the end.
func checkProgress(t *testing.T, list []Progress) {
	t.Helper()
	done := -1
	for _, p := range list {
		if p.Done < done || p.Done > p.Total || p.Doing == "" || p.Members < 2 {
			t.Errorf("progress %+v after %d", p, done)
		}
		done = p.Done
	}
	if len(list) == 0 || done != list[len(list)-1].Total {
		t.Errorf("progress ends at %d", done)
	}
}

// TestRunRepeats: two runs of one seed make commits of the same kinds, with the same seals.
func TestRunRepeats(t *testing.T) {
	once := func() [][4]int {
		r, err := Run(t.Context(), Config{Sizes: []int{5, 8}, Seed: 42, Commits: 5})
		if err != nil {
			t.Fatal(err)
		}
		var out [][4]int
		for _, s := range r.Sizes {
			out = append(out, [4]int{s.TreeKEM.Seals, s.BulkAdd.Seals, s.Joined, s.Removed})
		}
		return out
	}
	if a, b := once(), once(); !slices.Equal(a, b) {
		t.Errorf("%v, then %v", a, b)
	}
}

// TestRunSample: of a larger group some members act, and the tree is complete all the same.
func TestRunSample(t *testing.T) {
	r, err := Run(t.Context(), Config{Sizes: []int{256}, Sample: 8, Commits: 4})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Sizes[0]
	if s.Acting != 8 || !s.Agreed || s.TreeKEM.Seals != 8 || s.BulkAdd.Seals != 255 || s.PerMember.Seals != 255 {
		t.Errorf("%+v", s)
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil || !strings.Contains(b.String(), "Of the 256 members, 8 processed each commit") {
		t.Errorf("the table does not tell of the sample: %v\n%s", err, &b)
	}
}

func TestRunSuites(t *testing.T) {
	for _, suite := range mls.Suites() {
		r, err := Run(t.Context(), Config{Sizes: []int{4}, Commits: 3, Suite: suite})
		if err != nil {
			t.Errorf("%s: %v", suite, err)
		} else if r.Suite != suite.String() {
			t.Errorf("suite %q in the report of %s", r.Suite, suite)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, cfg := range []Config{
		{Sizes: []int{1}}, {Sizes: []int{4, 0}}, {Sample: 1}, {Sample: -2}, {Mix: Mix{-1, 2, 0}},
	} {
		if r, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%+v: %v", cfg, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Run(ctx, Config{Sizes: []int{4}})
	if !errors.Is(err, context.Canceled) || r.Sizes[0].Agreed {
		t.Errorf("canceled: %v", err)
	}
}

// TestReportJSON holds the JSON form against the form that is documented, name by name.
func TestReportJSON(t *testing.T) {
	r, err := Run(t.Context(), Config{Sizes: []int{2, 4}, Commits: -1})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	type cost struct {
		CommitBytes *int   `json:"commit_bytes"`
		Seals       *int   `json:"seals"`
		NS          *int64 `json:"ns"`
	}
	var got struct {
		Suite *string `json:"suite"`
		Sizes []struct {
			Members   *int  `json:"members"`
			Commits   *int  `json:"commits"`
			Agreed    *bool `json:"agreed"`
			TreeKEM   *cost `json:"treekem"`
			BulkAdd   *cost `json:"bulk_add"`
			PerMember *cost `json:"per_member"`
		} `json:"sizes"`
		Growth *struct {
			TreeKEM   *float64 `json:"treekem_bytes_exponent"`
			PerMember *float64 `json:"per_member_bytes_exponent"`
		} `json:"growth"`
	}
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Suite == nil || len(got.Sizes) != 2 || got.Growth == nil || got.Growth.TreeKEM == nil || got.Growth.PerMember == nil {
		t.Fatal("a field is missing")
	}
	for _, s := range got.Sizes {
		if s.Members == nil || s.Commits == nil || s.Agreed == nil {
			t.Fatal("a field of a size is missing")
		}
		for _, c := range []*cost{s.TreeKEM, s.BulkAdd, s.PerMember} {
			if c == nil || c.CommitBytes == nil || c.Seals == nil || c.NS == nil {
				t.Fatal("a cost is missing")
			}
		}
	}
}

func TestReportCSV(t *testing.T) {
	r, err := Run(t.Context(), Config{Sizes: []int{2, 4}, Commits: -1})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll() // checks that all rows are equally long
	if err != nil || len(rows) != 3 || rows[1][0] != "2" || rows[2][0] != "4" {
		t.Errorf("%v: %q", err, rows)
	}
}

// TestGrowthSeparates: the fitted exponents tell the tree from the list.
func TestGrowthSeparates(t *testing.T) {
	r, err := Run(t.Context(), Config{Sizes: Doublings(16, 128), Commits: -1, Sample: 4})
	if err != nil {
		t.Fatal(err)
	}
	if r.Growth.TreeKEM > 0.3 || r.Growth.PerMember < 0.9 {
		t.Errorf("growth %+v", r.Growth)
	}
}
