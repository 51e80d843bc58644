package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRunMeasuresEverything(t *testing.T) {
	cfg := Config{Members: []int{2, 5, 16}, Trees: Trees(), Time: time.Millisecond}
	steps, err := Steps(cfg)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	cfg.Progress = func(_ string, done, total int) {
		if done != last || total != steps {
			t.Errorf("progress %d of %d, after %d of %d", done, total, last, steps)
		}
		last++
	}
	results, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if last != steps {
		t.Errorf("%d steps were reported of %d", last, steps)
	}
	for _, tree := range Trees() {
		for _, op := range Ops() {
			list := of(results, op, tree)
			want := []int{2, 5, 16}
			switch {
			case op == "process-remove":
				want = want[1:] // of two, the removed one is the receiver
			case op == "stream-two" && runtime.GOMAXPROCS(0) < 2:
				want = nil
			}
			var got []int
			for _, r := range list {
				got = append(got, r.Members)
				checkResult(t, r)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in %s trees was measured at %v, want %v", op, tree, got, want)
			}
		}
	}
	checkOutputs(t, results)
}

// checkResult checks what does not depend on the machine.
func checkResult(t *testing.T, r Result) {
	t.Helper()
	noFloor := slices.Contains([]string{"save", "restore", "memory", "merge"}, r.Op)
	switch {
	case r.Op == "memory" && r.Bytes <= 0, r.Op != "memory" && r.Time <= 0, noFloor != (r.Floor == 0):
		t.Errorf("%+v", r)
	case r.Floor > 0 && r.Ratio != float64(r.Time)/float64(r.Floor):
		t.Errorf("%s: ratio %v of %v and %v", r.Op, r.Ratio, r.Time, r.Floor)
	}
}

func checkOutputs(t *testing.T, results []Result) {
	t.Helper()
	var table, svg, page bytes.Buffer
	if err := WriteTable(&table, results); err != nil {
		t.Error(err)
	}
	if err := WritePlot(&svg, results, nil); err != nil {
		t.Error(err)
	}
	checkXML(t, svg.Bytes())
	plots := ReportPlots("page")
	if err := WriteReport(&page, Report{Results: results, Command: "a command", Plots: plots}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"`a command`", "page-commits.svg", "| create-update | full |", "## How each cost stays logarithmic"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	var covered []string
	for _, p := range plots {
		covered = append(covered, p.Ops...)
	}
	for _, op := range Ops() {
		if op != "memory" && !slices.Contains(covered, op) {
			t.Errorf("%s is on no plot of the page", op)
		}
		if !strings.Contains(table.String(), op) && (op != "stream-two" || runtime.GOMAXPROCS(0) >= 2) {
			t.Errorf("%s is not in the table", op)
		}
	}
}

func checkXML(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestResultJSON(t *testing.T) {
	data, err := json.Marshal(Result{Op: "join", Tree: "full", Members: 4, Suite: "x", Time: 3, Floor: 2, Ratio: 1.5, Bytes: 7, Alloc: 8})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"op":"join","tree":"full","n":4,"suite":"x","ns":3,"floor_ns":2,"ratio":1.5,"bytes":7,"alloc_bytes":8}`
	if string(data) != want {
		t.Errorf("a result is %s, want %s", data, want)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, cfg := range []Config{{Members: []int{1}}, {Trees: []string{"oak"}}, {Ops: []string{"dance"}}} {
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%+v runs", cfg)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interruption: %v", err)
	}
	if err := WritePlot(io.Discard, []Result{{Op: "join", Tree: "full", Members: 4, Time: 1}}, nil); err == nil {
		t.Error("a single size is plotted")
	}
}

func TestTargets(t *testing.T) {
	var results []Result
	add := func(op string, n int, r Result) {
		r.Op, r.Tree, r.Members = op, "full", n
		if r.Floor > 0 {
			r.Ratio = float64(r.Time) / float64(r.Floor)
		}
		results = append(results, r)
	}
	for _, n := range targetSizes {
		add("create-update", n, Result{Time: 125, Floor: 100})
		add("process-near", n, Result{Time: 151, Floor: 100})
	}
	add("process-far", 1024, Result{Time: 100, Floor: 100, Alloc: 10})
	add("process-far", 16384, Result{Time: 179, Floor: 120, Alloc: 26})
	add("join", 16384, Result{Time: 110, Floor: 100})
	add("rejoin", 16384, Result{Time: 26, Floor: 1})
	add("memory", 16384, Result{Bytes: 700})
	add("stream-two", 1024, Result{Time: 100, Floor: 86})
	got := make(map[string]string)
	for _, target := range Targets(results) {
		switch {
		case !target.Known:
			got[target.What] = "unknown"
		case target.Held:
			got[target.What] = "held"
		default:
			got[target.What] = "not held"
		}
	}
	for what, want := range map[string]string{
		"create an update commit, 1048576 members":      "held",
		"process it, receiver near, 1024 members":       "not held",
		"process it, receiver far, 1024 members":        "held",
		"process it, receiver far, 131072 members":      "unknown",
		"time to process, receiver far":                 "held",
		"bytes allocated to process, receiver far":      "not held",
		"join, the tree in the Welcome, 16384 members":  "held",
		"rejoin, leaves verified before, 16384 members": "not held",
		"live heap of a member, 16384 members":          "held",
		"two groups at once, on two cores":              "held",
		"commit that removes one, 131072 members":       "unknown",
		"protect 1 KiB, 1024 members":                   "unknown",
	} {
		if got[what] != want {
			t.Errorf("%q is %q, want %q", what, got[what], want)
		}
	}
}

// TestSummarize: the ratio is that of runs to their own floors, whatever state the
// machine's clock was in, and there is none where nothing is unavoidable.
func TestSummarize(t *testing.T) {
	// Runs in the slow state are more than half, floors in it less.
	samples := []sample{{150, 100}, {150, 100}, {300, 200}, {300, 200}, {300, 100}}
	if took, floor := summarize(samples); took != 300 || floor != 200 {
		t.Errorf("%d and %d, want 300 and 200", took, floor)
	}
	if took, floor := summarize([]sample{{run: 7}, {run: 9}, {run: 8}}); took != 8 || floor != 0 {
		t.Errorf("%d and %d without primitives, want 8 and 0", took, floor)
	}
	// A clock that sees nothing of a run.
	if took, floor := summarize([]sample{{0, 5}, {0, 0}}); took != 0 || floor != 0 {
		t.Errorf("%d and %d of nothing, want 0 and 0", took, floor)
	}
}
