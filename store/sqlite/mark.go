package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/treekem/mls/store"
)

// A mark is the number of a batch and half a checksum of it. It is written after
// the batch is on disk, and not synced: it can be behind the store, never ahead
// of it.
const markSize = 8 + 8

func encodeMark(batches uint64) []byte {
	number := binary.BigEndian.AppendUint64(nil, batches)
	sum := sha256.Sum256(number)
	return append(number, sum[:8]...)
}

// writeMark notes that a batch is on disk. That it cannot is no reason for the
// batch to fail.
func (d *DB) writeMark(batches uint64) {
	if d.mark != nil {
		_, _ = d.mark.WriteAt(encodeMark(batches), 0)
	}
}

// checkMark holds the store against its mark, if it has one that is whole, and
// opens the mark for writing.
func (d *DB) checkMark(ctx context.Context) error {
	t, err := d.readTotal(ctx)
	if err != nil {
		return err
	}
	path := d.path + "-mark"
	saved, err := os.ReadFile(path)
	if err == nil && len(saved) == markSize {
		marked := binary.BigEndian.Uint64(saved)
		if bytes.Equal(saved, encodeMark(marked)) && marked > t.batches {
			return fmt.Errorf("%w: %s has seen %d batches, its mark says %d", store.ErrRolledBack, d.path, t.batches, marked)
		}
	}
	if d.opt.ReadOnly {
		return nil
	}
	d.mark, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	return err
}
