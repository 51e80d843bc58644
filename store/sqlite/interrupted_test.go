package sqlite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

// TestInterruptedCheckpoint: a crash in the middle of a checkpoint leaves a file
// whose first page tells of pages that only the log has.
func TestInterruptedCheckpoint(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "whole.db")
	db, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// Long enough for the file to grow: then the log has the first page, too.
	long := bytes.Repeat([]byte("value"), 40_000)
	err = db.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte("key"), long) })
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(t.TempDir(), "torn.db")
	for _, suffix := range []string{"", "-wal"} {
		p, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if suffix == "" {
			// The size in pages, which counts where two change counters agree.
			binary.BigEndian.PutUint32(p[28:], 1000)
			copy(p[92:96], p[24:28])
		}
		if err := os.WriteFile(torn+suffix, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := sqlite.Open(ctx, torn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	err = again.View(ctx, func(tx store.Reader) error {
		value, err := tx.Get([]byte("key"))
		if !bytes.Equal(value, long) {
			t.Errorf("read %d bytes", len(value))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
