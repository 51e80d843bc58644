package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestReference holds docs/cli.md against the commands.
func TestReference(t *testing.T) {
	var b bytes.Buffer
	if code := run([]string{"docs"}, strings.NewReader(""), &b, os.Stderr); code != exitOK {
		t.Fatalf("mls docs: exit code %d", code)
	}
	const name = "../../docs/cli.md"
	if *update {
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("docs/cli.md is not what the commands say: go run ./cmd/mls docs > docs/cli.md")
	}
}

// TestEveryCommandIsDocumented checks what the reference is made of.
func TestEveryCommandIsDocumented(t *testing.T) {
	root := (&app{}).rootCommand()
	n := 0
	walk(root, func(c *cobra.Command) {
		n++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if c.RunE == nil {
			t.Errorf("%s does nothing, not even refuse", c.CommandPath())
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 200 {
				t.Errorf("%s: a line of help of %d characters", c.CommandPath(), len(line))
			}
		}
		for line := range strings.Lines(c.Example) {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: example %q is not indented", c.CommandPath(), line)
			}
		}
	})
	if n < 30 {
		t.Errorf("%d commands walked, want all", n)
	}
}
