package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/treekem/mls"
)

// ownDirectory writes the embedded vectors into a directory.
func ownDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, kind := range Kinds() {
		data, err := embedded.ReadFile("vectors/" + kind + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, kind+".json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRunMissingFiles(t *testing.T) {
	dir := ownDirectory(t)
	for _, kind := range []string{"welcome", "psk_secret"} {
		if err := os.Remove(filepath.Join(dir, kind+".json")); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(t.Context(), Options{Vectors: []string{dir}, AcceptExpired: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Files) != 16 || report.Failed != 2 {
		t.Errorf("%d files, %d failed, want 16 and 2", len(report.Files), report.Failed)
	}
	for _, f := range report.Files {
		missing := f.Kind == "welcome" || f.Kind == "psk_secret"
		if missing != (f.Failed == 1) || missing != (f.Cases == 0) {
			t.Errorf("%+v", f)
		}
		if missing && (len(f.Failures) != 1 || !strings.Contains(f.Failures[0].String(), "missing")) {
			t.Errorf("%s: failures %v, want one that says it is missing", f.File, f.Failures)
		}
	}
}

func TestRunFilesAndDirectories(t *testing.T) {
	dir := ownDirectory(t)
	other := filepath.Join(dir, "mine.json")
	if err := os.Rename(filepath.Join(dir, "deserialization.json"), other); err != nil {
		t.Fatal(err)
	}
	treeMath := filepath.Join(dir, "tree-math.json")
	for _, tt := range []struct {
		name    string
		opt     Options
		files   []string
		failed  int
		failure string
	}{
		{"a file, by its name", Options{Vectors: []string{treeMath}}, []string{treeMath}, 0, ""},
		{"two files", Options{Vectors: []string{treeMath, treeMath}}, []string{treeMath, treeMath}, 0, ""},
		{"a file of any name, with its kind", Options{Vectors: []string{other}, Kind: "deserialization"}, []string{other}, 0, ""},
		{"a file of any name, without", Options{Vectors: []string{other}}, []string{other}, 1, "the name is no kind"},
		{"a file with another kind", Options{Vectors: []string{treeMath}, Kind: "deserialization"}, []string{treeMath}, 8, "vlbytes_header: missing"},
		{"one kind of a directory", Options{Vectors: []string{dir}, Kind: "tree-math"}, []string{"tree-math.json"}, 0, ""},
		{"one kind that the directory lacks", Options{Vectors: []string{dir}, Kind: "deserialization"}, []string{"deserialization.json"}, 1, "missing"},
		{"one kind of the embedded ones", Options{Kind: "tree-math"}, []string{"tree-math.json"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			report, err := Run(t.Context(), tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Files) != len(tt.files) || report.Failed != tt.failed {
				t.Fatalf("%d files, %d failed, want %d and %d", len(report.Files), report.Failed, len(tt.files), tt.failed)
			}
			for i, f := range report.Files {
				if f.File != tt.files[i] {
					t.Errorf("file %q, want %q", f.File, tt.files[i])
				}
				for _, failure := range f.Failures {
					if !strings.Contains(failure.String(), tt.failure) {
						t.Errorf("failure %q, want one with %q", failure, tt.failure)
					}
				}
			}
		})
	}
}

// TestRunStrayFile: a file that no kind can be told for is not passed over.
func TestRunStrayFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"tree-maths.json", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("[]"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(t.Context(), Options{Vectors: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Files) != 17 || report.Failed != 17 {
		t.Fatalf("%d files, %d failed, want 17 of each", len(report.Files), report.Failed)
	}
	if f := report.Files[16]; f.File != "tree-maths.json" || f.Kind != "" || f.Failures[0].Case != -1 {
		t.Errorf("%+v", f)
	}
}

func TestRunErrors(t *testing.T) {
	if _, err := Run(t.Context(), Options{Kind: "tree-maths"}); err == nil || !strings.Contains(err.Error(), "tree-math,") {
		t.Errorf("error %v does not name the kinds there are", err)
	}
	if _, err := Run(t.Context(), Options{Vectors: []string{"no such file"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that of the file", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestRunProgress(t *testing.T) {
	last := 0
	report, err := Run(t.Context(), Options{Kind: "tree-math", Progress: func(p Progress) {
		if p.File != "tree-math.json" || p.Done != last+1 || p.Cases != 8 {
			t.Errorf("%+v after %d", p, last)
		}
		last = p.Done
	}})
	if err != nil || last != report.Cases() {
		t.Errorf("%d calls (%v), want %d", last, err, report.Cases())
	}
}

// TestReportJSON holds the form that programs read.
func TestReportJSON(t *testing.T) {
	r := Report{Failed: 2, Files: []FileReport{
		{File: "welcome.json", Kind: "welcome", Suites: []mls.CipherSuite{1, 2, 7}, Cases: 7, Passed: 6, Failed: 1, Elapsed: 1500,
			Failures: []Failure{{3, "init_priv", "mismatch"}}},
		{File: "x.json", Failed: 1, Failures: []Failure{{-1, "", "no cases"}}},
	}}
	got, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"files":[` +
		`{"file":"welcome.json","kind":"welcome","suites":[1,2,7],"cases":7,"passed":6,"failed":1,"ns":1500},` +
		`{"file":"x.json","kind":"","suites":[],"cases":0,"passed":0,"failed":1,"ns":0}],"failed":2}`
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got, err := json.Marshal(new(Report)); err != nil || string(got) != `{"files":[],"failed":0}` {
		t.Errorf("an empty report is %s (%v)", got, err)
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	const table = "" +
		"FILE          CASES  PASSED  FAILED  SUITES  TIME\n" +
		"welcome.json  7      6       1       1-2,7   0s\n" +
		"x.json        0      0       1       -       0s\n" +
		"welcome.json: case 3: init_priv: mismatch\n" +
		"x.json: no cases\n" +
		"2 files, 7 cases, 2 failed, 0s\n"
	if b.String() != table {
		t.Errorf("%s\nwant\n%s", b.String(), table)
	}
}

// TestTableBoundsFailures: a table stays readable when everything fails.
func TestTableBoundsFailures(t *testing.T) {
	f := FileReport{File: "x.json"}
	for i := range 300 {
		f.Failures = append(f.Failures, Failure{i, "a", "b"})
	}
	var b bytes.Buffer
	if err := (&Report{Files: []FileReport{f}}).WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "x.json: case"); n != maxFailuresShown || !strings.Contains(b.String(), "and 290 more") {
		t.Errorf("%d failures shown:\n%s", n, b.String())
	}
}
