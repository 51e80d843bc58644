package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
)

var update = flag.Bool("update", false, "generate the embedded vectors anew")

// vectorsDir returns the directory of the working group's files, or "".
func vectorsDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("MLS_VECTORS"); dir != "" {
		return dir
	}
	dir := filepath.Join("..", "..", "shared", "vectors", "mls")
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// TestWorkingGroup runs the working group's files, and holds them against the
// manifest: a file that shrank must not pass because less of it can fail.
func TestWorkingGroup(t *testing.T) {
	dir := vectorsDir(t)
	if dir == "" {
		cases := 0
		for _, f := range Pinned().Files {
			cases += f.Cases
		}
		warning := fmt.Sprintf("WARNING: 16 files with %d cases of the working group were NOT run, only the embedded ones: "+
			"set MLS_VECTORS to the directory that mls conformance fetch filled", cases)
		fmt.Fprintln(os.Stderr, warning)
		t.Skip(warning)
	}
	report, err := Run(t.Context(), Options{Vectors: []string{dir}, AcceptExpired: true})
	if err != nil {
		t.Fatal(err)
	}
	logReport(t, report)
	files := Pinned().Files
	if len(report.Files) < len(files) {
		t.Fatalf("%d files, want %d", len(report.Files), len(files))
	}
	for i, pinned := range files {
		f := report.Files[i]
		if f.Kind != pinned.Kind || f.Cases < pinned.Cases || f.Passed != f.Cases {
			t.Errorf("%s: %d of %d cases passed, want %d", f.File, f.Passed, f.Cases, pinned.Cases)
		}
		for _, suite := range pinned.Suites {
			if !slices.Contains(f.Suites, suite) {
				t.Errorf("%s: no case of suite %v", f.File, suite)
			}
		}
	}
	if report.Failed > 0 {
		t.Errorf("%d cases failed", report.Failed)
	}
}

// TestOwnVectors runs the embedded vectors: all kinds, all suites.
func TestOwnVectors(t *testing.T) {
	if *update {
		if err := Generate(t.Context(), "vectors", GenerateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Skip("made anew: run the test again, so that they are embedded")
	}
	report, err := Run(t.Context(), Options{AcceptExpired: true})
	if err != nil {
		t.Fatal(err)
	}
	logReport(t, report)
	var kinds []string
	for _, f := range report.Files {
		kinds = append(kinds, f.Kind)
		if f.Failed > 0 || f.Passed == 0 {
			t.Errorf("%s: %d of %d cases passed", f.File, f.Passed, f.Cases)
		}
		for _, s := range mls.Suites() {
			if findKind(f.Kind).suites == suiteField && !slices.Contains(f.Suites, s.ID()) {
				t.Errorf("%s: no case of suite %v", f.File, s)
			}
		}
	}
	if !slices.Equal(kinds, Kinds()) {
		t.Errorf("kinds %q, want %q", kinds, Kinds())
	}
}

func logReport(t *testing.T, r *Report) {
	t.Helper()
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", b.String())
}
