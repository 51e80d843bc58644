// Package testkit is what the tests of several packages share: finding known
// answers and decoding them strictly. Only tests import it.
package testkit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// VectorsEnv names the environment variable that holds the directory of the
// working group's known answers.
const VectorsEnv = "MLS_VECTORS"

var skipped atomic.Int32

// Vectors returns the contents of one of the working group's files of known
// answers. The directory is the one MLS_VECTORS names, else the nearest
// ../shared/vectors/mls above the test's own directory. Without any directory
// the test is skipped, with a warning that counts the tests so lost; a
// directory that lacks the file fails the test.
func Vectors(t testing.TB, name string) []byte {
	t.Helper()
	dir, ok := vectorsDir(t)
	if !ok {
		n := skipped.Add(1)
		fmt.Fprintf(os.Stderr, "WARNING: %s ran WITHOUT %s (%d known-answer tests lost so far): set %s to the directory of the vectors\n",
			t.Name(), name, n, VectorsEnv)
		t.Skipf("no known answers: %d tests skipped for want of them so far; set %s", n, VectorsEnv)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatalf("known answers: %v", err)
	}
	return data
}

func vectorsDir(t testing.TB) (string, bool) {
	t.Helper()
	if dir := os.Getenv(VectorsEnv); dir != "" {
		return dir, true
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		vectors := filepath.Join(dir, "shared", "vectors", "mls")
		if info, err := os.Stat(vectors); err == nil && info.IsDir() {
			return vectors, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// DecodeStrict decodes a JSON array of objects, and fails the test unless
// there is at least one, no object has a field T lacks, and every object has
// every field of T, at every depth. A field tagged omitempty may be absent.
func DecodeStrict[T any](t testing.TB, data []byte) []T {
	t.Helper()
	var out []T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("known answers: %v", err)
	}
	var raw any
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatalf("known answers: %v", err)
	}
	if len(out) == 0 {
		t.Fatal("known answers: no cases")
	}
	if err := present(raw, reflect.TypeFor[[]T](), "cases"); err != nil {
		t.Fatalf("known answers: %v", err)
	}
	return out
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// present checks that v, which decoded into a typ, has all of its fields.
func present(v any, typ reflect.Type, path string) error {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if v == nil || reflect.PointerTo(typ).Implements(unmarshaler) {
		return nil
	}
	switch typ.Kind() {
	case reflect.Slice, reflect.Array:
		items, _ := v.([]any)
		for i, item := range items {
			if err := present(item, typ.Elem(), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		items, _ := v.(map[string]any)
		for k, item := range items {
			if err := present(item, typ.Elem(), path+"."+k); err != nil {
				return err
			}
		}
	case reflect.Struct:
		object, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is not an object", path)
		}
		return fields(object, typ, path)
	}
	return nil
}

func fields(object map[string]any, typ reflect.Type, path string) error {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if f.Anonymous && name == "" {
			if err := fields(object, f.Type, path); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		v, ok := object[name]
		if !ok && !strings.Contains(options, "omitempty") {
			return fmt.Errorf("%s has no field %q", path, name)
		}
		if err := present(v, f.Type, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// Hex is a byte string written in hexadecimal in JSON. Null is nil.
type Hex []byte

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Hex) UnmarshalJSON(p []byte) error {
	var s *string
	if err := json.Unmarshal(p, &s); err != nil {
		return err
	}
	if s == nil {
		*h = nil
		return nil
	}
	b, err := hex.DecodeString(*s)
	*h = b
	return err
}

// MarshalJSON implements [json.Marshaler].
func (h Hex) MarshalJSON() ([]byte, error) {
	return json.Marshal(hex.EncodeToString(h))
}

// CountsAllocations skips a test that counts allocations if the race detector is
// on: under it a sync.Pool, such as those of the hashes, loses a part of what is
// put back, at random.
func CountsAllocations(t testing.TB) {
	t.Helper()
	if race {
		t.Skip("the race detector allocates, too")
	}
}

// AllocatedBy returns how many bytes f allocates. The runtime's own allocations
// are counted too if they fall into a run, so that f, which must do the same each
// time, runs again until a run keeps within the limit, five times at most: the
// result is the least of them.
func AllocatedBy(limit uint64, f func()) uint64 {
	least := ^uint64(0)
	for run := 0; run < 5 && least > limit; run++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
