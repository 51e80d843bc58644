package mls_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/treekem/mls"

// layers is who may import whom: a unit may import units of a lower level and
// itself. An import that goes up or sideways is a bug in the design of the code
// that has it, and is not mended by a change of this table.
//
// A unit whose path ends in "/..." comprises the packages below it, which may
// import each other; so does every command.
var layers = []unit{
	{path: "internal/...", level: 0},
	{path: ".", level: 1}, // the vocabulary: package mls
	{path: "keyschedule", level: 2},
	{path: "treekem/...", level: 2},
	{path: "framing", level: 3},
	{path: "group", level: 4},
	{path: "client/...", level: 5, also: []string{"store/..."}},
	{path: "store/...", level: 5},
	{path: "sim/...", level: 5},
	{path: "conformance/...", level: 5},
	{path: "cmd/mls/...", level: 6},
}

type unit struct {
	path  string
	level int
	also  []string // units of the same level that it may import all the same
}

// testOnly are the packages that only _test files may import.
var testOnly = []string{"internal/testkit", "internal/apitext"}

// outside says which packages may import what from other modules. The packages
// that protocol code is made of link nothing but cryptography.
var outside = []struct {
	module string
	units  []string // none: _test files only
}{
	{"github.com/cloudflare/circl", []string{".", "sim/..."}},
	{"golang.org/x/crypto", []string{".", "store/..."}},
	{"github.com/fxamacker/cbor/v2", []string{"internal/..."}},
	{"github.com/spf13/cobra", []string{"cmd/mls/..."}},
	{"github.com/spf13/pflag", []string{"cmd/mls/..."}},
	{"github.com/vbauerster/mpb/v8", []string{"cmd/mls/..."}},
	{"google.golang.org/grpc", []string{"conformance/...", "cmd/mls/..."}},
	{"google.golang.org/protobuf", []string{"conformance/..."}},
	{"modernc.org/sqlite", []string{"store/..."}},
	{"gonum.org/v1/plot", []string{"sim/...", "cmd/mls/..."}},
	{"github.com/c2sp/wycheproof", nil},
	{"github.com/rogpeppe/go-internal", nil},
	{"pgregory.net/rapid", nil},
}

// impure are the packages of the standard library that a pure state machine has
// no use for: below level 5 there is no I/O, no logger and no context, and no
// randomness but crypto/rand. (log/slog is allowed: a Secret redacts itself for it.)
var impure = []string{
	"context", "log", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "plugin", "syscall", "unsafe",
}

// harmless are the files that may import one of them all the same.
var harmless = map[string]string{
	"treekem/capabilities.go": "math/rand/v2", // which GREASE value a client advertises is no secret
}

func TestLayers(t *testing.T) {
	var bad []string
	for _, f := range goFiles(t, parser.ImportsOnly) {
		bad = append(bad, checkImports(f)...)
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		t.Errorf("%d imports against the layers (docs/architecture.md):\n%s", len(bad), strings.Join(slices.Compact(bad), "\n"))
	}
}

// checkImports returns one line for each import of f that its layer forbids.
func checkImports(f goFile) []string {
	from, ok := findUnit(f.dir)
	if !ok {
		return []string{f.dir + ": a package that the table of layers doesn't know: add a row to layers in layer_test.go, at the lowest level that its imports allow"}
	}
	var bad []string
	for _, spec := range f.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{f.path + ": " + err.Error()}
		}
		if why := forbidden(f, from, imported); why != "" {
			bad = append(bad, f.path+": imports "+imported+": "+why)
		}
	}
	return bad
}

// forbidden says why f of the unit from must not import a package; "" if it may.
func forbidden(f goFile, from unit, imported string) string {
	if imported == modulePath || strings.HasPrefix(imported, modulePath+"/") {
		rel := strings.TrimPrefix(strings.TrimPrefix(imported, modulePath), "/")
		if rel == "" {
			rel = "."
		}
		return forbiddenInside(f, from, rel)
	}
	if !strings.Contains(strings.Split(imported, "/")[0], ".") {
		return forbiddenStandard(f, from, imported)
	}
	for _, o := range outside {
		if imported != o.module && !strings.HasPrefix(imported, o.module+"/") {
			continue
		}
		if f.test || slices.Contains(o.units, from.path) {
			return ""
		}
		return "this module is for " + orTests(o.units) + " (see outside in layer_test.go)"
	}
	return "a module that the table outside in layer_test.go doesn't know: is there no way without it?"
}

func forbiddenInside(f goFile, from unit, rel string) string {
	if slices.Contains(testOnly, rel) {
		if f.test || slices.Contains(testOnly, f.dir) {
			return ""
		}
		return "this package is for _test files"
	}
	to, ok := findUnit(rel)
	switch {
	case !ok:
		return "a package that the table of layers doesn't know"
	case to.path == from.path, to.level < from.level, slices.Contains(from.also, to.path):
		return ""
	case to.level == from.level:
		return "sideways: both are at level " + strconv.Itoa(to.level)
	}
	return "up: from level " + strconv.Itoa(from.level) + " to level " + strconv.Itoa(to.level)
}

func forbiddenStandard(f goFile, from unit, imported string) string {
	if f.test || from.level >= 5 || slices.Contains(testOnly, f.dir) {
		return ""
	}
	if imported == "testing" || strings.HasPrefix(imported, "testing/") {
		return "production code imports testing"
	}
	if slices.Contains(impure, imported) && harmless[f.path] != imported {
		return "below level 5 there is no I/O, no logger, no context and no weak randomness"
	}
	return ""
}

func orTests(units []string) string {
	if len(units) == 0 {
		return "_test files"
	}
	return strings.Join(units, ", ") + " and _test files"
}

// findUnit returns the unit that the package in dir belongs to.
func findUnit(dir string) (unit, bool) {
	for _, u := range layers {
		below, many := strings.CutSuffix(u.path, "/...")
		if dir == u.path || many && (dir == below || strings.HasPrefix(dir, below+"/")) {
			return u, true
		}
	}
	return unit{}, false
}

// goFile is a parsed file of the module. Paths are relative to the root, with
// slashes; dir of a file at the root is ".".
type goFile struct {
	path, dir string
	test      bool
	fset      *token.FileSet
	syntax    *ast.File
}

// goFiles parses every Go file of the module. It reads the files and asks no
// tool, so its result depends on nothing but what the test cache watches.
func goFiles(t *testing.T, mode parser.Mode) []goFile {
	t.Helper()
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != "." && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		syntax, err := parser.ParseFile(fset, p, nil, mode|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(p)
		files = append(files, goFile{slashed, path.Dir(slashed), strings.HasSuffix(name, "_test.go"), fset, syntax})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found: this test runs in the root directory of the module")
	}
	return files
}

// TestLayersRefuse shows that the check above finds what it is there to find.
func TestLayersRefuse(t *testing.T) {
	for _, tt := range []struct {
		dir, imported string
		test, ok      bool
	}{
		{dir: "group", imported: modulePath + "/framing", ok: true},
		{dir: "group", imported: modulePath, ok: true},
		{dir: ".", imported: modulePath + "/internal/wire", ok: true},
		{dir: "treekem/sub", imported: modulePath + "/treekem", ok: true},
		{dir: "client", imported: modulePath + "/store/sqlite", ok: true},
		{dir: "framing", imported: modulePath + "/group"},
		{dir: "framing", imported: modulePath + "/group", test: true},
		{dir: "treekem", imported: modulePath + "/keyschedule"},
		{dir: "keyschedule", imported: modulePath + "/treekem/sub"},
		{dir: "store", imported: modulePath + "/client"},
		{dir: "internal/wire", imported: modulePath},
		{dir: "group", imported: modulePath + "/internal/testkit"},
		{dir: "group", imported: modulePath + "/internal/testkit", test: true, ok: true},
		{dir: "cmd/mls", imported: modulePath + "/nowhere"},
		{dir: "group", imported: "os"},
		{dir: "group", imported: "os", test: true, ok: true},
		{dir: "group", imported: "math/rand/v2"},
		{dir: "cmd/mls", imported: "os", ok: true},
		{dir: "keyschedule", imported: "crypto/hmac", ok: true},
		{dir: "keyschedule", imported: "testing"},
		{dir: "group", imported: "github.com/spf13/cobra"},
		{dir: "cmd/mls", imported: "github.com/spf13/cobra", ok: true},
		{dir: "sim", imported: "pgregory.net/rapid"},
		{dir: "group", imported: "pgregory.net/rapid", test: true, ok: true},
		{dir: "group", imported: "example.org/other", test: true},
	} {
		from, known := findUnit(tt.dir)
		if !known {
			t.Errorf("findUnit(%s) knows no unit", tt.dir)
			continue
		}
		why := forbidden(goFile{path: tt.dir + "/x.go", dir: tt.dir, test: tt.test}, from, tt.imported)
		if (why == "") != tt.ok {
			t.Errorf("%s (test file: %t) importing %s: %q, want allowed = %t", tt.dir, tt.test, tt.imported, why, tt.ok)
		}
	}
	if u, ok := findUnit("treekemx"); ok {
		t.Errorf("findUnit(treekemx) = %s, want none", u.path)
	}
}
