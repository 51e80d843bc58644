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
		if err := Generate(t.Context(), "vectors", GenerateOptions{Suites: assigned()}); err != nil {
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
		for _, s := range assigned() {
			if findKind(f.Kind).suites == suiteField && !slices.Contains(f.Suites, s.ID()) {
				t.Errorf("%s: no case of suite %v", f.File, s)
			}
		}
	}
	if !slices.Equal(kinds, Kinds()) {
		t.Errorf("kinds %q, want %q", kinds, Kinds())
	}
}

// assigned returns the suites whose code points are not for private use: a file
// with others would be of no use once these are assigned, and those of ML-KEM
// and ML-DSA would make the embedded files ten times as large.
func assigned() []*mls.Suite {
	return slices.DeleteFunc(mls.Suites(), func(s *mls.Suite) bool { return s.ID() >= 0xf000 })
}

// TestPostQuantumVectors makes the files for suites that the embedded ones
// lack, and runs them.
func TestPostQuantumVectors(t *testing.T) {
	var suites []*mls.Suite
	for _, id := range []mls.CipherSuite{
		mls.MLKEM768P256_AES256GCM_SHA384_P256, mls.MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44,
		mls.MLKEM1024_AES256GCM_SHA384_MLDSA87,
	} {
		s, err := mls.LookupSuite(id)
		if err != nil {
			t.Fatal(err)
		}
		suites = append(suites, s)
	}
	dir := t.TempDir()
	if err := Generate(t.Context(), dir, GenerateOptions{Suites: suites}); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Options{Vectors: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	logReport(t, report)
	if report.Failed > 0 || len(report.Files) != len(Kinds()) {
		t.Errorf("%d failures in %d files", report.Failed, len(report.Files))
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
