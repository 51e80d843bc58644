package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/treekem/mls/store"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := readOpen(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOldCopyIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	put(t, d, "a", []byte("1"))
	d.Close()
	copyFile(t, path, path+".backup")
	d = mustOpen(t, path, nil)
	put(t, d, "a", []byte("2"))
	d.Close()
	copyFile(t, path+".backup", path)
	if _, err := Open(ctx, path, nil); !errors.Is(err, store.ErrRolledBack) {
		t.Fatalf("an old copy: %v, want ErrRolledBack", err)
	}
	if err := os.Remove(path + "-mark"); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, path, nil)
	if got := read(t, d); got["a"] != "1" {
		t.Errorf("then there is %q", got)
	}
	d.Close()
	if err := os.WriteFile(path+"-mark", make([]byte, markSize), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, nil).Close() // a mark that is damaged says nothing
}

// TestCutLog copies the files as a crash leaves them, and cuts the log.
func TestCutLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	d := mustOpen(t, path, nil)
	defer d.Close()
	for i := range 20 {
		put(t, d, fmt.Sprint("key ", i), make([]byte, 1000))
	}
	crash := func() string {
		left := filepath.Join(t.TempDir(), "s.db")
		for _, file := range []string{"", "-wal", "-mark"} {
			copyFile(t, path+file, left+file)
		}
		return left
	}
	whole := mustOpen(t, crash(), nil)
	if got := read(t, whole); len(got) != 20 {
		t.Errorf("%d keys survive a crash, want 20", len(got))
	}
	whole.Close()
	for _, part := range []int64{0, 3, 9} {
		left := crash()
		info, err := os.Stat(left + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(left+"-wal", info.Size()*part/10); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, left, nil); !errors.Is(err, store.ErrRolledBack) {
			t.Errorf("a log cut to %d tenths: %v, want ErrRolledBack", part, err)
		}
	}
}
