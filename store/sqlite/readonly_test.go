package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/treekem/mls/store"
)

// files are the names and contents of a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := files(t, dir)
	for name, data := range got {
		if want[name] != data {
			t.Errorf("%s was made or changed", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// TestForeignFileUntouched: a database of another application stays as it is, whose journal is not of our kind.
func TestForeignFileUntouched(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "other.db")
	d, err := connect(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"PRAGMA journal_mode = DELETE", "CREATE TABLE t (x)"} {
		if err := d.exec(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	d.discard()
	before := files(t, dir)
	for _, opt := range []Options{{}, {ReadOnly: true}} {
		if _, err := Open(ctx, path, &opt); !errors.Is(err, ErrNoStore) {
			t.Errorf("%+v: %v, want ErrNoStore", opt, err)
		}
		wantFiles(t, dir, before)
	}
}

// TestReadOnly: whoever looks into a store changes no file, and makes none.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	if err := create(ctx, path, migrations[:1]); err != nil { // nor is it migrated
		t.Fatal(err)
	}
	old, err := open(ctx, path, Options{}, migrations[:1])
	if err != nil {
		t.Fatal(err)
	}
	put(t, old, "a", []byte("1"))
	old.Close()
	if err := os.Remove(path + "-mark"); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	d := mustOpen(t, path, &Options{ReadOnly: true})
	if got := read(t, d); got["a"] != "1" {
		t.Errorf("there is %q", got)
	}
	if err := d.Check(ctx); err != nil {
		t.Error(err)
	}
	err = d.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte("b"), nil) })
	if !errors.Is(err, errOpenedReadOnly) {
		t.Errorf("a write: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir, before)
	if _, err := Open(ctx, filepath.Join(dir, "none"), &Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a store that does not exist: %v", err)
	}
}

// TestReadOnlyLog: what a crash has left in the log counts, and a store that is open is locked.
func TestReadOnlyLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	defer d.Close()
	put(t, d, "a", []byte("1"))
	left := filepath.Join(t.TempDir(), "s.db")
	for _, file := range []string{"", "-wal", "-mark"} {
		copyFile(t, path+file, left+file)
	}
	if _, err := Open(ctx, path, &Options{ReadOnly: true}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a store that is open: %v, want ErrLocked", err)
	}
	crashed := mustOpen(t, left, &Options{ReadOnly: true})
	defer crashed.Close()
	if got := read(t, crashed); got["a"] != "1" {
		t.Errorf("there is %q", got)
	}
}

// TestDamagedRows: each row that is damaged is named, and the others can be read.
func TestDamagedRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	for _, key := range []string{"a", "b", "c", "d"} {
		put(t, d, key, bytes.Repeat([]byte(key), 100))
	}
	d.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"b", "d"} {
		at := bytes.Index(file, bytes.Repeat([]byte(key), 100))
		file[at+50] ^= 1
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, path, nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("damaged rows: %v, want ErrCorrupt", err)
	}
	d = mustOpen(t, path, &Options{Unchecked: true})
	want := []string{"b", "d"}
	if got := damagedRows(d.Check(ctx)); !slices.Equal(got, want) {
		t.Errorf("damaged are %q, want %q", got, want)
	}
	var whole, damaged []string
	err = d.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) {
			if err == nil {
				whole = append(whole, string(e.Key))
			} else if errors.Is(err, store.ErrCorrupt) && e.Value == nil {
				damaged = append(damaged, string(e.Key))
			}
		}
		return nil
	})
	if err != nil || !slices.Equal(whole, []string{"a", "c"}) || !slices.Equal(damaged, want) {
		t.Errorf("%q are whole, %q are damaged, %v", whole, damaged, err)
	}
	remove(t, d, "b")
	remove(t, d, "d")
	d.Close()
	d = mustOpen(t, path, nil) // without them the store is in order
	d.Close()
}

func damagedRows(err error) (keys []string) {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, err := range list.Unwrap() {
		if row := (*RowError)(nil); errors.As(err, &row) {
			keys = append(keys, string(row.Key))
		}
	}
	return keys
}
