package mls_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls/internal/apitext"
)

var update = flag.Bool("update", false, "rewrite docs/api.txt from the code")

const apiFile = "docs/api.txt"

const apiHeader = `# The exported API, one name a line. A test compares this file with the code, so
# that no name appears, changes or goes away unseen. After a change that is meant:
#
#	go test -run TestAPI . -update

`

// TestAPI holds docs/api.txt against the exported names of every package that
// others can import.
func TestAPI(t *testing.T) {
	got := listAPI(t)
	if *update {
		if err := os.WriteFile(apiFile, []byte(apiHeader+strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(apiFile)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			want = append(want, line)
		}
	}
	if slices.Equal(got, want) {
		return
	}
	var diff []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			diff = append(diff, "+ "+line)
		}
	}
	if len(diff) == 0 {
		diff = []string{"(the same lines in another order)"}
	}
	t.Errorf("the exported API is not what %s says:\n%s\n\n"+
		"A line with - takes something away from users of the module, a line with + has to be kept from now on.\n"+
		"If that is meant: go test -run TestAPI . -update, and put it in CHANGELOG.md.", apiFile, strings.Join(diff, "\n"))
}

// listAPI lists the packages from the vocabulary upwards, in the order of their paths.
func listAPI(t *testing.T) []string {
	t.Helper()
	module := apitext.NewModule(".", modulePath)
	packages, err := module.Public()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range packages {
		l, err := module.List(p)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l...)
	}
	if len(lines) == 0 {
		t.Fatal("no exported names found: this test runs in the root directory of the module")
	}
	return lines
}
