package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/treekem/mls/store"
)

// TestCancelledAnywhere cancels updates at any instant: none leaves the connection
// in a transaction, so that all others fail, and what was reported is what was
// written.
func TestCancelledAnywhere(t *testing.T) {
	d, err := Open(ctx, filepath.Join(t.TempDir(), "s.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	key := []byte("k")
	cancelled, written := 0, uint64(0)
	for i := range 1500 {
		short, cancel := context.WithCancel(ctx)
		timer := time.AfterFunc(time.Duration(i%60)*time.Microsecond, cancel)
		err := d.Update(short, func(tx store.Writer) error { return tx.Put(key, []byte{byte(i)}) })
		timer.Stop()
		cancel()
		switch {
		case err == nil:
			written++
		case !errors.Is(err, context.Canceled):
			t.Fatalf("update %d: %v", i, err)
		default:
			cancelled++
		}
	}
	if cancelled == 0 {
		t.Error("no update was cancelled")
	}
	total, err := d.readTotal(ctx)
	if err != nil || total.batches != written {
		t.Errorf("%d batches were written, %d reported: %v", total.batches, written, err)
	}
	if err := d.Check(ctx); err != nil {
		t.Error(err)
	}
}
