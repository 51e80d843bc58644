package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// compareOnce runs "mls compare" with arguments.
func compareOnce(args ...string) (stdout string, err error) {
	var out, talk bytes.Buffer
	a := &app{stdout: &out, stderr: &talk}
	cmd := a.compareCommand()
	cmd.SetArgs(args)
	cmd.SetErr(&talk)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.Execute()
	return out.String(), err
}

func TestCompare(t *testing.T) {
	page, tables := filepath.Join(t.TempDir(), "report.html"), filepath.Join(t.TempDir(), "report.md")
	out, err := compareOnce("--members", "5", "--ops", "20", "--designs", "hybrid,mls", "--attacks", "seize-past,forge", "--sweep", "8,16", "--html", page, "--report", tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"COSTS", "ATTACKS", "BROKEN 5/5", "noticed", "GROWTH"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte("</html>")) {
		t.Errorf("the page: %d bytes, %v", len(b), err)
	}
	b, err := os.ReadFile(tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"`mls compare --attacks seize-past,forge --designs hybrid,mls", "--report report.md", "## Attacks", "| hybrid | 8…16 |"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in:\n%s", want, b)
		}
	}
	out, err = compareOnce("--members", "5", "--ops", "20", "--designs", "pgp", "--attacks", "none", "--json")
	if err != nil || !json.Valid([]byte(out)) {
		t.Errorf("JSON: %v\n%s", err, out)
	}
}

func TestCompareUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--designs quantum", "there is no design quantum"},
		{"--attacks luck", "there is no attack luck"},
		{"--preset village", "there are: family"},
		{"--members 2", "it takes 3 members"},
		{"--members 0", "it takes 3 members"},
		{"--ops 5", "--ops is for a workload of one's own"},
		{"--members 5 --html none/page.html", "none: no such file"},
		{"--tree --report none/page.md", "none: no such file"},
		{"--sweep 8..x", `"x" is not a number`},
		{"--tree --tree-max 100", "power of two"},
	} {
		_, err := compareOnce(strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
}
