package apitext_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls/internal/apitext"
)

// tree is a module with one of everything that the listing tells apart.
var tree = map[string]string{
	"a.go": `package a

import "errors"

type Code uint16

const (
	First Code = 1 + iota
	Second
	hidden
)

const Label = "x"

var ErrGone, errKept = errors.New("gone"), errors.New("kept")

type Box struct {
	Width, Height int
	depth         int
	*Lid
}

type Lid struct{}

type Closed interface {
	Size() int
	isClosed()
}

type Alias = Box

func New(w, h int) (*Box, error) { return nil, nil }

func Map[K comparable, V any](m map[K]V) int { return 0 }

func (b *Box) Area() int { return 0 }

func (b *Box) grow() {}

type pair struct{}

func (pair) Left() int { return 0 }
`,
	"sub/sub.go":           "package sub\n\nimport \"example.org/a\"\n\nconst Third a.Code = a.Second + 1\n",
	"sub/sub_test.go":      "package sub\n\nfunc Helper() {}\n",
	"internal/x/x.go":      "package x\n\nfunc F() {}\n",
	"cmd/tool/main.go":     "package main\n\nfunc Run() {}\n",
	"sub/testdata/y/y.go":  "package y\n\nfunc F() {}\n",
	"sub/excluded_tag.go":  "//go:build neverset\n\npackage sub\n\nfunc Never() {}\n",
	"sub/deeper/deeper.go": "package deeper\n\nvar V map[string]func(int) error\n",
}

func write(t *testing.T) *apitext.Module {
	t.Helper()
	root := t.TempDir()
	for name, text := range tree {
		p := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return apitext.NewModule(root, "example.org/a")
}

func TestPublicLeavesOutMainInternalAndTestdata(t *testing.T) {
	got, err := write(t).Public()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example.org/a", "example.org/a/sub", "example.org/a/sub/deeper"}
	if !slices.Equal(got, want) {
		t.Errorf("Public() = %q, want %q", got, want)
	}
}

func TestList(t *testing.T) {
	m := write(t)
	for path, want := range map[string]string{
		"example.org/a": `pkg a, const First Code = 1
pkg a, const Label = "x"
pkg a, const Second Code = 2
pkg a, func Map[K comparable, V any](m map[K]V) int
pkg a, func New(w, h int) (*Box, error)
pkg a, method (*Box) Area() int
pkg a, type Alias = Box
pkg a, type Box struct
pkg a, type Box struct, Height int
pkg a, type Box struct, Width int
pkg a, type Box struct, embedded *Lid
pkg a, type Closed interface { Size() int; unexported methods }
pkg a, type Code uint16
pkg a, type Lid struct
pkg a, var ErrGone`,
		"example.org/a/sub":        "pkg sub, const Third a.Code = 3",
		"example.org/a/sub/deeper": "pkg sub/deeper, var V map[string]func(int) error",
	} {
		got, err := m.List(path)
		if err != nil {
			t.Errorf("List(%s): %v", path, err)
			continue
		}
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("List(%s) =\n%s\nwant\n%s", path, text, want)
		}
	}
}

func TestListOfNoPackage(t *testing.T) {
	if got, err := write(t).List("example.org/a/cmd"); err == nil {
		t.Errorf("List of a directory without Go files = %q, want an error", got)
	}
}
