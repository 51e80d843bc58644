package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/storetest"
)

var ctx = context.Background()

func mustOpen(t testing.TB, path string, opt *Options) *DB {
	t.Helper()
	d, err := Open(ctx, path, opt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	path := ""
	storetest.Run(t, storetest.Adapter{
		Open: func(t *testing.T) store.Store {
			path = filepath.Join(t.TempDir(), "a store?#%.db")
			return mustOpen(t, path, nil)
		},
		Reopen: func(t *testing.T) store.Store { return mustOpen(t, path, nil) },
	})
}

var testKey = store.RawKey(mls.NewSecret(bytes.Repeat([]byte{7}, store.KeySize)))

func mustSeal(t testing.TB, inner store.Store) *store.Sealed {
	t.Helper()
	s, err := store.OpenSealed(ctx, inner, testKey, store.SealOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformanceSealed(t *testing.T) {
	path := ""
	storetest.Run(t, storetest.Adapter{
		Open: func(t *testing.T) store.Store {
			path = filepath.Join(t.TempDir(), "s.db")
			return mustSeal(t, mustOpen(t, path, nil))
		},
		Reopen: func(t *testing.T) store.Store { return mustSeal(t, mustOpen(t, path, nil)) },
	})
}

func put(t testing.TB, s store.Store, key string, value []byte) {
	t.Helper()
	if err := s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), value) }); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, s store.Store, key string) {
	t.Helper()
	if err := s.Update(ctx, func(tx store.Writer) error { return tx.Delete([]byte(key)) }); err != nil {
		t.Fatal(err)
	}
}

func pragma(t *testing.T, d *DB, name string) (value string) {
	t.Helper()
	if err := d.conn.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	mustOpen(t, path, nil).Close()
	d := mustOpen(t, path, nil)
	defer d.Close()
	for name, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "secure_delete": "1", "locking_mode": "exclusive",
		"user_version": "2", "temp_store": "2", "cell_size_check": "1",
	} {
		if got := pragma(t, d, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".new*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLockedOut opens the store in a second process, and in this one.
func TestLockedOut(t *testing.T) {
	if path := os.Getenv("MLS_TEST_SECOND"); path != "" {
		_, err := Open(ctx, path, nil)
		fmt.Printf("second: %v, is locked: %t\n", err, errors.Is(err, store.ErrLocked))
		return
	}
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	if _, err := Open(ctx, path, nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second Open: %v, want ErrLocked", err)
	}
	second := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLockedOut$")
		cmd.Env = append(os.Environ(), "MLS_TEST_SECOND="+path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if out := second(); !strings.Contains(out, "is locked: true") {
		t.Errorf("a second process: %s", out)
	}
	put(t, d, "a", []byte("still works"))
	d.Close()
	if out := second(); !strings.Contains(out, "second: <nil>") {
		t.Errorf("after Close: %s", out)
	}
}

func TestMustExist(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	if _, err := Open(ctx, path, &Options{MustExist: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	mustOpen(t, path, nil).Close()
	mustOpen(t, path, &Options{MustExist: true}).Close()
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "no", "such", "dir"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}

func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, &Options{MaxBytes: 128 << 10})
	put(t, d, "a", []byte("before"))
	err := d.Update(ctx, func(tx store.Writer) error {
		return errors.Join(tx.Put([]byte("a"), []byte("after")), tx.Put([]byte("big"), make([]byte, 1<<20)))
	})
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	put(t, d, "b", []byte("small ones still fit"))
	d.Close()
	d = mustOpen(t, path, nil)
	defer d.Close()
	if got := read(t, d); got["a"] != "before" || got["big"] != "" || got["b"] == "" {
		t.Errorf("then there is %q", got)
	}
}

func read(t testing.TB, s store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := s.View(ctx, func(tx store.Reader) error { return collect(tx, got) }); err != nil {
		t.Fatal(err)
	}
	return got
}

func collect(tx store.Reader, into map[string]string) error {
	for e, err := range tx.Scan(nil) {
		if err != nil {
			return err
		}
		into[string(e.Key)] = string(e.Value)
	}
	return nil
}

// TestDeletedIsGone searches the bytes of the files for values that were
// deleted, without encryption.
func TestDeletedIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, &Options{ScrubEvery: 1 << 30})
	secrets := map[string][]byte{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		value := make([]byte, 24+rng.IntN(9000))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		key := fmt.Sprintf("k%02d", i)
		secrets[key] = value
		put(t, d, key, value)
	}
	for i := range 40 {
		if key := fmt.Sprintf("k%02d", i); i%2 == 0 {
			remove(t, d, key)
		} else {
			put(t, d, key, []byte("replaced"))
		}
	}
	if found := search(t, path, secrets); found == 0 {
		t.Error("nothing found before the log was emptied: the search finds nothing")
	}
	if err := d.Scrub(ctx); err != nil {
		t.Fatal(err)
	}
	if found := search(t, path, secrets); found != 0 {
		t.Errorf("%d deleted values are still in the files", found)
	}
	d.Close()
	if found := search(t, path, secrets); found != 0 {
		t.Errorf("%d deleted values are in the files after Close", found)
	}
}

// search counts the values of which a part of 16 bytes is in the files.
func search(t *testing.T, path string, values map[string][]byte) (found int) {
	t.Helper()
	out, err := readOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	if log, err := readOpen(path + "-wal"); err == nil {
		out = append(out, log...)
	}
	for _, v := range values {
		for at := 0; at+16 <= len(v); at += 500 {
			if bytes.Contains(out, v[at:at+16]) {
				found++
				break
			}
		}
	}
	return found
}

// readOpen reads a file that SQLite has open. On Unix another process does: the
// locks of this one would go when it closes the file.
func readOpen(path string) ([]byte, error) {
	if runtime.GOOS == "windows" {
		return os.ReadFile(path)
	}
	return exec.Command("cat", path).Output()
}

func TestScrubEvery(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, &Options{ScrubEvery: 5})
	defer d.Close()
	for i := range 10 {
		put(t, d, "k", make([]byte, 100+i))
		size := int64(-1)
		if info, err := os.Stat(path + "-wal"); err == nil {
			size = info.Size()
		}
		if empty := size == 0; empty != (i%5 == 4) {
			t.Errorf("after batch %d the log has %d bytes", i, size)
		}
	}
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	put(t, d, "a", []byte("1"))
	d.Close()
	next := append(migrations[:len(migrations):len(migrations)], "CREATE TABLE more (x BLOB)")
	d, err := open(ctx, path, Options{}, next)
	if err != nil {
		t.Fatal(err)
	}
	if v := pragma(t, d, "user_version"); v != strconv.Itoa(len(next)) {
		t.Errorf("version %s after the migration", v)
	}
	if got := read(t, d); got["a"] != "1" {
		t.Errorf("then there is %q", got)
	}
	d.Close()
	if _, err := Open(ctx, path, nil); !errors.Is(err, store.ErrNewer) {
		t.Errorf("a store of a newer version: %v", err)
	}
	broken := append(next, "CREATE TABLE more (x BLOB); nonsense")
	if _, err := open(ctx, path, Options{}, broken); err == nil {
		t.Error("a migration that fails was accepted")
	}
	d, err = open(ctx, path, Options{}, next)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

// TestFromVersion1: a store of the first schema becomes one of today's, with all
// that it holds, and with no copy of it left behind.
func TestFromVersion1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	if err := create(ctx, path, migrations[:1]); err != nil {
		t.Fatal(err)
	}
	old, err := open(ctx, path, Options{}, migrations[:1])
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a value of the first version that is deleted later")
	want := map[string]string{"secret": string(secret)}
	for i := range 300 {
		value := bytes.Repeat([]byte{byte(i)}, i*40)
		want[fmt.Sprint("key ", i)] = string(value)
		put(t, old, fmt.Sprint("key ", i), value)
	}
	put(t, old, "secret", secret)
	batches := pragma(t, old, "user_version")
	if err := old.Close(); err != nil || batches != "1" {
		t.Fatal(batches, err)
	}
	d := mustOpen(t, path, nil)
	if v := pragma(t, d, "user_version"); v != "2" {
		t.Errorf("version %s after the migration", v)
	}
	if got := read(t, d); !maps.Equal(got, want) {
		t.Errorf("%d rows, or their values, are not the %d of before", len(got), len(want))
	}
	if err := d.Check(ctx); err != nil {
		t.Error(err)
	}
	if err := d.Update(ctx, func(tx store.Writer) error { return tx.Delete([]byte("secret")) }); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	contents, err := os.ReadFile(path)
	if err != nil || bytes.Contains(contents, secret) {
		t.Errorf("the deleted value is still in the file, %v", err)
	}
}

func TestNoStore(t *testing.T) {
	dir := t.TempDir()
	for name, contents := range map[string][]byte{
		"empty": {}, "text": []byte(strings.Repeat("this is no database\n", 400)), "short": []byte("SQLite format 3\x00"),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, contents, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, path, nil); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	other := filepath.Join(dir, "other.db")
	d, err := connect(ctx, other, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.exec(ctx, "CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := Open(ctx, other, nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("another application's database: %v", err)
	}
}

// sample is a small store and what is in it.
func sample(t testing.TB) (file []byte, contents map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	for i := range 30 {
		put(t, d, fmt.Sprintf("key %d", i), bytes.Repeat([]byte{byte(i)}, i*i*10))
	}
	remove(t, d, "key 17")
	contents = read(t, d)
	d.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file, contents
}

// checkDamaged opens a file and asserts that it is refused or is as it was.
func checkDamaged(t *testing.T, file []byte, contents map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(ctx, path, nil)
	if err != nil {
		return
	}
	defer d.Close()
	got := map[string]string{}
	if err := d.View(ctx, func(tx store.Reader) error { return collect(tx, got) }); err != nil {
		return
	}
	if len(got) != len(contents) {
		t.Fatalf("%d rows, want %d", len(got), len(contents))
	}
	for k, v := range contents {
		if got[k] != v {
			t.Fatalf("%q has a wrong value", k)
		}
	}
}

// FuzzDamage flips bits of the file, or cuts it.
func FuzzDamage(f *testing.F) {
	file, contents := sample(f)
	f.Add(uint32(100), byte(1), false)
	f.Add(uint32(60), byte(0xff), false)
	f.Add(uint32(len(file)/2), byte(0), true)
	f.Add(uint32(4096), byte(0), true)
	f.Fuzz(func(t *testing.T, at uint32, flip byte, cut bool) {
		damaged := bytes.Clone(file)
		at %= uint32(len(file))
		damaged[at] ^= flip
		if cut {
			damaged = damaged[:at]
		}
		checkDamaged(t, damaged, contents)
	})
}

func TestDamage(t *testing.T) {
	file, contents := sample(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		damaged := bytes.Clone(file)
		damaged[rng.IntN(len(file))] ^= 1 << rng.IntN(8)
		checkDamaged(t, damaged, contents)
	}
	for range 20 {
		checkDamaged(t, file[:rng.IntN(len(file))], contents)
	}
}
