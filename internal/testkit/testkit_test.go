package testkit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// recorder is a testing.TB that notes how the code under test ends.
type recorder struct {
	testing.TB
	failed, skipped string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Name() string                      { return "recorded" }
func (r *recorder) Fatal(args ...any)                 { r.failed = "fatal"; runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.failed = format; runtime.Goexit() }
func (r *recorder) Skipf(format string, args ...any)  { r.skipped = format; runtime.Goexit() }

func record(f func(testing.TB)) *recorder {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestVectorsOfADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(VectorsEnv, dir)
	if got := Vectors(t, "a.json"); string(got) != "[]" {
		t.Errorf("read %q", got)
	}
	if r := record(func(tb testing.TB) { Vectors(tb, "b.json") }); r.failed == "" || r.skipped != "" {
		t.Error("a directory without the file doesn't fail the test")
	}
}

func TestVectorsAboveTheDirectory(t *testing.T) {
	root := t.TempDir()
	vectors := filepath.Join(root, "shared", "vectors", "mls")
	module := filepath.Join(root, "module", "package")
	for _, dir := range []string{vectors, module} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(vectors, "a.json"), []byte("[1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(VectorsEnv, "")
	t.Chdir(module)
	if got := Vectors(t, "a.json"); string(got) != "[1]" {
		t.Errorf("read %q", got)
	}
	t.Chdir(t.TempDir())
	if r := record(func(tb testing.TB) { Vectors(tb, "a.json") }); r.skipped == "" || r.failed != "" {
		t.Error("no directory doesn't skip the test")
	}
}

func TestDecodeStrict(t *testing.T) {
	type inner struct {
		X int `json:"x"`
	}
	type object struct {
		A     Hex               `json:"a"`
		Inner []inner           `json:"inner"`
		Ptr   *inner            `json:"ptr"`
		Map   map[string]inner  `json:"map"`
		Maybe int               `json:"maybe,omitempty"`
		Other map[string]string `json:"-"`
	}
	const good = `[{"a":"00ff","inner":[{"x":1}],"ptr":null,"map":{"k":{"x":2}}}]`
	got := DecodeStrict[object](t, []byte(good))
	if len(got) != 1 || len(got[0].A) != 2 || got[0].Inner[0].X != 1 || got[0].Map["k"].X != 2 {
		t.Errorf("decoded %+v", got)
	}
	for name, in := range map[string]string{
		"no cases":               `[]`,
		"unknown field":          strings.Replace(good, `"a"`, `"b":1,"a"`, 1),
		"field missing":          strings.Replace(good, `"ptr":null,`, ``, 1),
		"field in another case":  strings.Replace(good, `"a"`, `"A"`, 1),
		"missing in an array":    strings.Replace(good, `[{"x":1}]`, `[{"x":1},{}]`, 1),
		"missing in a map":       strings.Replace(good, `{"x":2}`, `{}`, 1),
		"missing behind pointer": strings.Replace(good, `null`, `{}`, 1),
		"not hexadecimal":        strings.Replace(good, `00ff`, `0g`, 1),
		"not JSON":               `[`,
	} {
		r := record(func(tb testing.TB) { DecodeStrict[object](tb, []byte(in)) })
		if r.failed == "" {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestHex(t *testing.T) {
	var got struct{ A, B, C Hex }
	if err := json.Unmarshal([]byte(`{"A":"","B":null,"C":"0102"}`), &got); err != nil {
		t.Fatal(err)
	}
	if got.A == nil || len(got.A) != 0 || got.B != nil || len(got.C) != 2 {
		t.Errorf("decoded %v", got)
	}
	if p, err := json.Marshal(got.C); err != nil || string(p) != `"0102"` {
		t.Errorf("encoded %s, %v", p, err)
	}
}

func TestAllocatedBy(t *testing.T) {
	var keep []byte
	if n := AllocatedBy(0, func() { keep = make([]byte, 1<<16) }); n < 1<<16 || n > 1<<17 {
		t.Errorf("64 KiB: %d bytes", n)
	}
	runs := 0
	first := func() {
		if runs++; runs == 1 {
			keep = make([]byte, 1<<16)
		}
	}
	if n := AllocatedBy(1<<15, first); n > 1<<15 || runs != 2 {
		t.Errorf("the least of the runs: %d bytes, %d runs", n, runs)
	}
	runtime.KeepAlive(keep)
}
