package store

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/treekem/mls"
)

// Keys of a sealed store in the one below it. The header and the counter are
// there from the start; all else is below "d/".
var (
	headerKey  = []byte("h")
	counterKey = []byte("s")
	dataPrefix = []byte("d/")
)

// Sealed is a Store whose values are encrypted in the one below it. A value is
//
//	version (1) || number of the batch (8) || nonce (24) || XChaCha20-Poly1305
//
// with random nonces, which never meet within one data key, and with its key,
// its version and the number as associated data.
type Sealed struct {
	inner Store
	aead  cipher.AEAD
}

// SealOptions says how to open a sealed store.
type SealOptions struct {
	// AtLeast is a number that [Sealed.Sequence] has returned before, kept
	// outside of the store: an older copy of the store is ErrRolledBack.
	AtLeast uint64
	// MustExist refuses to make an empty store a sealed one: ErrNotFound.
	MustExist bool
}

const (
	recordVersion = 1
	recordHead    = 1 + 8
	labelRecord   = "mls store record\x00"
	labelCounter  = "mls store counter\x00"
)

// OpenSealed opens a store that is encrypted with k, or makes an empty one such.
// Closing it closes the inner one; if OpenSealed fails, that stays open.
func OpenSealed(ctx context.Context, inner Store, k Key, opt SealOptions) (*Sealed, error) {
	if k.secret.IsZero() {
		return nil, errors.New("store: OpenSealed needs a key")
	}
	encoded, err := readHeader(ctx, inner)
	if errors.Is(err, ErrNotFound) && !opt.MustExist {
		encoded, err = initialize(ctx, inner, k)
	}
	if err != nil {
		return nil, err
	}
	s := &Sealed{inner: inner}
	if err := s.unlock(k, encoded); err != nil {
		return nil, err
	}
	sequence, err := s.Sequence(ctx)
	if err != nil {
		return nil, err
	}
	if sequence < opt.AtLeast {
		return nil, fmt.Errorf("%w: it has seen %d batches, %d were noted", ErrRolledBack, sequence, opt.AtLeast)
	}
	return s, nil
}

// IsSealed reports whether a store is the inner one of a sealed one.
func IsSealed(ctx context.Context, inner Store) (bool, error) {
	_, err := readHeader(ctx, inner)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNotSealed):
		return false, nil
	}
	return false, err
}

// readHeader returns the header, ErrNotFound from an empty store and
// ErrNotSealed from another that has none.
func readHeader(ctx context.Context, inner Store) (encoded []byte, err error) {
	err = inner.View(ctx, func(tx Reader) error {
		if encoded, err = tx.Get(headerKey); !errors.Is(err, ErrNotFound) {
			return err
		}
		for _, err := range tx.Scan(nil) {
			if err != nil {
				return err
			}
			return ErrNotSealed
		}
		return ErrNotFound
	})
	return encoded, err
}

// initialize seals an empty store.
func initialize(ctx context.Context, inner Store, k Key) ([]byte, error) {
	dataKey := mls.RandomSecret(KeySize)
	defer dataKey.Destroy()
	encoded, err := wrap(k, dataKey)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(dataKey.UnsafeBytes())
	if err != nil {
		return nil, err
	}
	s := &Sealed{aead: aead}
	return encoded, inner.Update(ctx, func(tx Writer) error {
		if err := tx.Put(headerKey, encoded); err != nil {
			return err
		}
		return tx.Put(counterKey, s.seal(labelCounter, counterKey, 0, nil))
	})
}

func (s *Sealed) unlock(k Key, encoded []byte) error {
	dataKey, err := unwrap(k, encoded)
	if err != nil {
		return err
	}
	defer dataKey.Destroy()
	s.aead, err = chacha20poly1305.NewX(dataKey.UnsafeBytes())
	return err
}

// Rekey changes the key or passphrase that opens the store. Values stay
// encrypted as they are: whoever had the old key and a copy of the file can
// still read that copy.
func (s *Sealed) Rekey(ctx context.Context, old, next Key) error {
	return s.inner.Update(ctx, func(tx Writer) error {
		encoded, err := tx.Get(headerKey)
		if err != nil {
			return err
		}
		dataKey, err := unwrap(old, encoded)
		if err != nil {
			return err
		}
		defer dataKey.Destroy()
		if encoded, err = wrap(next, dataKey); err != nil {
			return err
		}
		return tx.Put(headerKey, encoded)
	})
}

// Sequence returns the number of batches written. An application that notes it
// where a copy of the store cannot take it back can tell an old copy.
func (s *Sealed) Sequence(ctx context.Context) (sequence uint64, err error) {
	err = s.inner.View(ctx, func(tx Reader) error {
		sequence, err = s.counter(tx)
		return err
	})
	return sequence, err
}

// counter reads the number of batches in a transaction of the inner store.
func (s *Sealed) counter(tx Reader) (uint64, error) {
	record, err := tx.Get(counterKey)
	if errors.Is(err, ErrNotFound) {
		return 0, fmt.Errorf("%w: its counter is gone", ErrCorrupt)
	}
	if err != nil {
		return 0, err
	}
	sequence, _, err := s.open(labelCounter, counterKey, record)
	return sequence, err
}

// View implements [Store].
func (s *Sealed) View(ctx context.Context, f func(Reader) error) error {
	return s.inner.View(ctx, func(tx Reader) error {
		sequence, err := s.counter(tx)
		if err != nil {
			return err
		}
		return f(&sealedTx{sealed: s, reader: tx, sequence: sequence})
	})
}

// Update implements [Store].
func (s *Sealed) Update(ctx context.Context, f func(Writer) error) error {
	return s.inner.Update(ctx, func(tx Writer) error {
		sequence, err := s.counter(tx)
		if err != nil {
			return err
		}
		t := &sealedTx{sealed: s, reader: tx, writer: tx, sequence: sequence + 1}
		if err := f(t); err != nil || !t.wrote {
			return err
		}
		return tx.Put(counterKey, s.seal(labelCounter, counterKey, t.sequence, nil))
	})
}

// Close implements [Store].
func (s *Sealed) Close() error { return s.inner.Close() }

// Scrub implements [Scrubber], if the inner store does.
func (s *Sealed) Scrub(ctx context.Context) error {
	if inner, ok := s.inner.(Scrubber); ok {
		return inner.Scrub(ctx)
	}
	return nil
}

// seal makes the record of a value.
func (s *Sealed) seal(label string, key []byte, sequence uint64, value []byte) []byte {
	n := s.aead.NonceSize()
	record := make([]byte, recordHead+n, recordHead+n+len(value)+s.aead.Overhead())
	record[0] = recordVersion
	binary.BigEndian.PutUint64(record[1:], sequence)
	nonce := record[recordHead:]
	rand.Read(nonce)
	return s.aead.Seal(record, nonce, value, associated(label, record[:recordHead], key))
}

// open is the inverse of seal.
func (s *Sealed) open(label string, key, record []byte) (sequence uint64, value []byte, err error) {
	n := s.aead.NonceSize()
	if len(record) > 0 && record[0] > recordVersion {
		return 0, nil, fmt.Errorf("%w: a record of version %d, known is %d", ErrNewer, record[0], recordVersion)
	}
	if len(record) < recordHead+n+s.aead.Overhead() || record[0] != recordVersion {
		return 0, nil, fmt.Errorf("%w: a record is no record", ErrCorrupt)
	}
	head, nonce, sealed := record[:recordHead], record[recordHead:recordHead+n], record[recordHead+n:]
	value, err = s.aead.Open(nil, nonce, sealed, associated(label, head, key))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: a record does not decrypt in its place", ErrCorrupt)
	}
	if value == nil {
		value = []byte{}
	}
	return binary.BigEndian.Uint64(head[1:]), value, nil
}

// associated is what a record is bound to. The head has a fixed length, so the
// parts cannot be mistaken for each other.
func associated(label string, head, key []byte) []byte {
	return slices.Concat([]byte(label), head, key)
}

// sealedTx is a transaction. sequence is the greatest number that a record can
// have in it.
type sealedTx struct {
	sealed   *Sealed
	reader   Reader
	writer   Writer
	sequence uint64
	wrote    bool
}

// innerKey checks and maps a key.
func innerKey(key []byte) ([]byte, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	return slices.Concat(dataPrefix, key), nil
}

func (t *sealedTx) open(key, record []byte) ([]byte, error) {
	sequence, value, err := t.sealed.open(labelRecord, key, record)
	if err != nil {
		return nil, err
	}
	if sequence > t.sequence {
		return nil, fmt.Errorf("%w: a record of batch %d where %d were written", ErrRolledBack, sequence, t.sequence)
	}
	return value, nil
}

func (t *sealedTx) Get(key []byte) ([]byte, error) {
	inner, err := innerKey(key)
	if err != nil {
		return nil, err
	}
	record, err := t.reader.Get(inner)
	if err != nil {
		return nil, err
	}
	return t.open(key, record)
}

func (t *sealedTx) Scan(prefix []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range t.reader.Scan(slices.Concat(dataPrefix, prefix)) {
			if e.Key != nil {
				e.Key = e.Key[len(dataPrefix):]
			}
			if err == nil {
				e.Value, err = t.open(e.Key, e.Value)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (t *sealedTx) Put(key, value []byte) error {
	inner, err := innerKey(key)
	if err != nil {
		return err
	}
	t.wrote = true
	return t.writer.Put(inner, t.sealed.seal(labelRecord, key, t.sequence, value))
}

func (t *sealedTx) Delete(key []byte) error {
	inner, err := innerKey(key)
	if err != nil {
		return err
	}
	t.wrote = true
	return t.writer.Delete(inner)
}
