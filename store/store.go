package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Store is a transactional key–value store. It is safe for concurrent use.
//
// The functions passed to View and Update must not keep the transaction, and
// must not call the store.
type Store interface {
	// View calls f with a consistent state, which no Update changes meanwhile.
	// It returns f's error.
	View(ctx context.Context, f func(Reader) error) error

	// Update calls f and then makes everything that it wrote durable, in one
	// step. If f fails, or panics, nothing is written and its error is
	// returned. After any other error the batch may or may not have been
	// written: reading tells. Updates exclude each other.
	Update(ctx context.Context, f func(Writer) error) error

	// Close releases the store. Everything else then fails with ErrClosed. It
	// waits for what is under way, and closing again does nothing.
	Close() error
}

// Reader reads in a transaction.
type Reader interface {
	// Get returns the value of key, which is the caller's own, or ErrNotFound.
	Get(key []byte) ([]byte, error)

	// Scan yields the entries whose key begins with prefix, ascending by key
	// as bytes compare. Entries are the caller's own. Nothing may be written
	// while it is under way. An error with a key is of that entry alone, which
	// has no value then: a loop that goes on gets the next one. After an error
	// without a key it ends.
	Scan(prefix []byte) iter.Seq2[Entry, error]
}

// Writer reads and writes in a transaction. It sees what it has written.
type Writer interface {
	Reader

	// Put sets the value of key. Both are copied. A nil value is an empty one.
	Put(key, value []byte) error

	// Delete removes key; it is no error if it is not there. What an adapter
	// deletes it overwrites as far as it can: values are key material.
	Delete(key []byte) error
}

// Entry is a key with its value.
type Entry struct{ Key, Value []byte }

// Scrubber is a Store that can be told to overwrite at once what deleted values
// have left behind, such as a write-ahead log. It otherwise does so in time.
type Scrubber interface {
	Scrub(ctx context.Context) error
}

// MaxKey is the size in bytes of the longest key, short enough for any index.
// The empty string is no key.
const MaxKey = 512

// headroom is what a store over another may put before a key.
const headroom = 16

// What goes wrong with a store.
var (
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("store: not found")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrLocked: another process, or this one, has the store open.
	ErrLocked = errors.New("store: in use by another process")
	// ErrNewer: the store was written by a later version of this module.
	ErrNewer = errors.New("store: written by a newer version")
	// ErrCorrupt: the store is damaged, or was tampered with.
	ErrCorrupt = errors.New("store: damaged")
	// ErrRolledBack: part of the store, or all of it, is an older copy. It
	// wraps ErrCorrupt.
	ErrRolledBack = fmt.Errorf("%w: an older copy is in the place of a newer one", ErrCorrupt)
	// ErrWrongKey: the key or the passphrase is not that of the store.
	ErrWrongKey = errors.New("store: wrong key or passphrase")
	// ErrSealed: the store is encrypted and was opened without a key.
	ErrSealed = errors.New("store: encrypted: a key or passphrase is needed")
	// ErrNotSealed: the store is not encrypted, and not empty.
	ErrNotSealed = errors.New("store: holds data that is not encrypted")
	// ErrFull: there is no space left.
	ErrFull = errors.New("store: no space left")
)

// CheckKey returns an error for what is no key: adapters call it. It leaves some
// bytes of room for a store that lies over another.
func CheckKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey+headroom {
		return fmt.Errorf("store: a key of %d bytes: 1 to %d are possible", len(key), MaxKey)
	}
	return nil
}

// After returns the least key that is greater than all keys that begin with
// prefix, nil if there is none: the end of the range that a scan covers.
func After(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
