package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/treekem/mls/store"
)

// tx is a transaction.
type tx struct {
	db       *DB
	ctx      context.Context
	writable bool
	total    total
	changed  bool
}

// total is what all rows together amount to.
type total struct {
	rows uint64
	xor  [sha256.Size]byte
	// batches is how many have changed anything.
	batches uint64
}

const totalSize = 8 + sha256.Size + 8

// checksum is that of a row.
func checksum(key, value []byte) []byte {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(key)))
	h.Write(n[:])
	h.Write(key)
	h.Write(value)
	return h.Sum(nil)
}

// toggle adds or takes away the checksum of a row.
func (t *total) toggle(sum []byte) { subtle.XORBytes(t.xor[:], t.xor[:], sum) }

func (t *total) bytes() []byte {
	b := append(binary.BigEndian.AppendUint64(nil, t.rows), t.xor[:]...)
	return binary.BigEndian.AppendUint64(b, t.batches)
}

func (t *tx) loadTotal() error {
	var err error
	t.total, err = t.db.readTotal(t.ctx)
	return err
}

func (d *DB) readTotal(ctx context.Context) (total, error) {
	var saved []byte
	err := d.st.meta.QueryRowContext(ctx, "total").Scan(&saved)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(saved) != totalSize {
		return total{}, fmt.Errorf("%w: its total is gone", store.ErrCorrupt)
	}
	if err != nil {
		return total{}, translate(err)
	}
	at := 8 + sha256.Size
	return total{binary.BigEndian.Uint64(saved), [sha256.Size]byte(saved[8:at]), binary.BigEndian.Uint64(saved[at:])}, nil
}

func (t *tx) saveTotal() error {
	if !t.changed {
		return nil
	}
	t.total.batches++
	_, err := t.db.st.setMeta.ExecContext(t.ctx, t.total.bytes(), "total")
	return translate(err)
}

func (t *tx) Get(key []byte) ([]byte, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	var value, sum []byte
	err := t.db.st.get.QueryRowContext(t.ctx, key).Scan(&value, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, translate(err)
	}
	if err := verify(key, value, sum); err != nil {
		return nil, err
	}
	return nonNil(value), nil
}

// RowError names a row whose checksum is wrong. It is a store.ErrCorrupt.
type RowError struct{ Key []byte }

func (e *RowError) Error() string {
	return fmt.Sprintf("%v: the checksum of %q is wrong", store.ErrCorrupt, e.Key)
}
func (e *RowError) Unwrap() error { return store.ErrCorrupt }

func verify(key, value, sum []byte) error {
	if !bytes.Equal(checksum(key, value), sum) {
		return &RowError{bytes.Clone(key)}
	}
	return nil
}

// row is an entry with the checksum that is stored with it.
type row struct {
	store.Entry
	sum []byte
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Rows are read in pages, so that no cursor stays open while the caller reads
// other rows. Large values make them shorter.
const (
	firstPage = 16
	fullPage  = 256
)

func (t *tx) Scan(prefix []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for r, err := range t.rows(prefix) {
			if err == nil {
				err = verify(r.Key, r.Value, r.sum)
			}
			if err != nil {
				r.Value = nil
			}
			if !yield(r.Entry, err) {
				return
			}
		}
	}
}

// rows yields the rows with a prefix without verifying them. After an error it
// ends.
func (t *tx) rows(prefix []byte) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		from, end, limit := nonNil(bytes.Clone(prefix)), store.After(prefix), firstPage
		for {
			entries, err := t.page(from, end, limit)
			if err != nil {
				yield(row{}, err)
				return
			}
			more := len(entries) == limit
			if more {
				// The least key after the last one.
				from = append(bytes.Clone(entries[limit-1].Key), 0)
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if !more {
				return
			}
			limit = fullPage
		}
	}
}

// page reads up to limit rows with from <= key < end.
func (t *tx) page(from, end []byte, limit int) (entries []row, err error) {
	var bound any
	if end != nil {
		bound = end
	}
	rows, err := t.db.st.scan.QueryContext(t.ctx, from, bound, bound, limit)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { err = errors.Join(err, translate(rows.Close())) }()
	for rows.Next() {
		var e row
		if err := rows.Scan(&e.Key, &e.Value, &e.sum); err != nil {
			return nil, translate(err)
		}
		e.Value = nonNil(e.Value)
		entries = append(entries, e)
	}
	return entries, translate(rows.Err())
}

var (
	errReadOnly       = errors.New("store: a write in a view")
	errOpenedReadOnly = errors.New("store: it was opened to be read")
)

// replace takes the checksum of the row that key has, if any, out of the total.
func (t *tx) replace(key []byte) (existed bool, err error) {
	if !t.writable {
		return false, errReadOnly
	}
	if err := store.CheckKey(key); err != nil {
		return false, err
	}
	var sum []byte
	err = t.db.st.sum.QueryRowContext(t.ctx, key).Scan(&sum)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, translate(err)
	}
	if len(sum) != sha256.Size {
		return false, fmt.Errorf("%w: a checksum of %d bytes", store.ErrCorrupt, len(sum))
	}
	t.changed = true
	t.total.toggle(sum)
	t.total.rows--
	return true, nil
}

func (t *tx) Put(key, value []byte) error {
	if _, err := t.replace(key); err != nil {
		return err
	}
	sum := checksum(key, value)
	if _, err := t.db.st.put.ExecContext(t.ctx, key, nonNil(value), sum); err != nil {
		return translate(err)
	}
	t.changed = true
	t.total.toggle(sum)
	t.total.rows++
	return nil
}

func (t *tx) Delete(key []byte) error {
	existed, err := t.replace(key)
	if err != nil || !existed {
		return err
	}
	_, err = t.db.st.remove.ExecContext(t.ctx, key)
	return translate(err)
}

// Check reads the whole store and returns store.ErrCorrupt unless it is what was
// written: a *RowError for each row that is damaged, joined by errors.Join, and
// what else is wrong.
func (d *DB) Check(ctx context.Context) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	var verdict string
	if err := d.conn.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return translate(err)
	}
	var problems []error
	if verdict != "ok" {
		problems = append(problems, fmt.Errorf("%w: %s", store.ErrCorrupt, verdict))
	}
	want, err := d.readTotal(ctx)
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	got := total{batches: want.batches}
	for r, err := range (&tx{db: d, ctx: ctx}).rows(nil) {
		if err != nil {
			return errors.Join(append(problems, err)...)
		}
		if err := verify(r.Key, r.Value, r.sum); err != nil {
			problems = append(problems, err)
		}
		got.rows++
		got.toggle(r.sum)
	}
	if got != want {
		problems = append(problems, fmt.Errorf("%w: rows are missing, or were changed", store.ErrCorrupt))
	}
	return errors.Join(problems...)
}
