package client_test

import (
	"os"
	"strings"
	"testing"
)

// TestTourIsTheExample holds the code in docs/embedding.md against the example
// that is compiled and run, and its length against what the page says.
func TestTourIsTheExample(t *testing.T) {
	page := must(os.ReadFile("../docs/embedding.md"))(t)
	source := must(os.ReadFile("example_test.go"))(t)
	_, rest, _ := strings.Cut(string(source), "// tour:begin\n")
	code, _, ok := strings.Cut(rest, "// tour:end\n")
	if !ok {
		t.Fatal("the example has no tour")
	}
	code = strings.TrimSpace(code)
	if !strings.Contains(string(page), "```go\n"+code+"\n```\n") {
		t.Error("the tour in docs/embedding.md is not the code of example_test.go between tour:begin and tour:end")
	}
	if n := strings.Count(code, "\n") + 1; n > 60 {
		t.Errorf("the tour has %d lines, more than 60", n)
	}
}
