package treekem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/treekem/mls"
)

// A TreeReader returns the value of a record of a stored tree, nil if there is
// none of that name. It is called as parts of the tree are needed, from any
// goroutine that uses it, one call at a time.
type TreeReader func(name []byte) ([]byte, error)

// A source reads what is not in memory of a stored tree. All trees that come
// from one share it: of a node that any of them has changed the children are in
// memory, so what it still has to read is the same for all of them, whatever has
// been stored since. A nil source has nothing.
type source struct {
	read    TreeReader
	layout  layout
	failure atomic.Pointer[failure]

	mu    sync.Mutex // guards what follows, and filling in children
	forge *forge
}

// A failure is why something could not be read.
type failure struct{ err error }

// Err returns the first failure.
func (s *source) Err() error {
	if s == nil {
		return nil
	}
	if f := s.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

func (s *source) fail(err error) { s.failure.CompareAndSwap(nil, &failure{err}) }

// impossible is for what cannot be: unless a part of a stored tree could not be
// read, or was forged together with its checksum.
func (t *Tree) impossible(what string) error {
	if t.src == nil {
		panic("mls: internal error: " + what)
	}
	t.src.fail(fmt.Errorf("%w: a stored tree: %s", mls.ErrMalformed, what))
	return t.Err()
}

// kids returns the children of the parent node n at x: those of a subtree of
// blanks are nil.
func (n *node) kids(x NodeIndex, src *source) (left, right *node) {
	if n == nil {
		return nil, nil
	}
	// The left child is filled in last.
	if left = n.left.Load(); left != nil || src == nil {
		return left, n.right.Load()
	}
	return src.kids(n, x)
}

// kids fills in the children of n, if it has none yet. Only nodes at the bottom
// of a page are made without children: whoever has a member below has a child.
func (s *source) kids(n *node, x NodeIndex) (left, right *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, right = n.left.Load(), n.right.Load()
	if left != nil || right != nil || !pageTop(x) || s.Err() != nil {
		return left, right
	}
	if n.resolution == 0 {
		// Blanks are not stored. The page above vouches for the hash, but not for
		// that it is one of blanks.
		left, right = s.forge.blank(x.left()), s.forge.blank(x.right())
		if blank := s.forge.parent(x, "", left, right); blank == nil || blank.data != n.data {
			s.fail(fmt.Errorf("node %d is not blank: %w", x, errPage))
			return nil, nil
		}
	} else {
		var err error
		if left, right, err = s.page(n, x); err != nil {
			s.fail(fmt.Errorf("the nodes below node %d: %w", x, err))
			return nil, nil
		}
	}
	n.right.Store(right)
	n.left.Store(left)
	return left, right
}

// record reads a record that has to be there.
func (s *source) record(name []byte) ([]byte, error) {
	value, err := s.read(name)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, errGone
	}
	return s.layout.unwrap(name, value)
}

var errGone = fmt.Errorf("%w: a record of the tree is gone", mls.ErrMalformed)

// page reads what is below the node n at x, down to the next page, and checks
// that n is what that amounts to.
func (s *source) page(n *node, x NodeIndex) (left, right *node, err error) {
	body, err := s.record(pageName(x))
	if err != nil {
		return nil, nil, err
	}
	r, err := newPageReader(s.forge, body, pageLevels, false)
	if err != nil {
		return nil, nil, err
	}
	if left, err = r.subtree(x.left(), x.Level()-pageLevels); err != nil {
		return nil, nil, err
	}
	if right, err = r.subtree(x.right(), x.Level()-pageLevels); err != nil {
		return nil, nil, err
	}
	m := s.forge.parent(x, n.raw(s.forge.nh), left, right)
	if m == nil || m.data != n.data || m.members != n.members || m.resolution != n.resolution || m.support != n.support {
		return nil, nil, fmt.Errorf("%w: a page that is not that of its tree", mls.ErrMalformed)
	}
	return left, right, nil
}

// find looks a key up among those that were in the tree when it was opened or
// have been stored since. match tells whether a node has the key now.
func (s *source) find(kind keyKind, key string, match func(NodeIndex) bool) (NodeIndex, bool) {
	if s == nil || s.Err() != nil {
		return 0, false
	}
	x, ok, err := s.findStored(s.layout.id(kind, key), match)
	if err != nil {
		s.fail(fmt.Errorf("the index of keys: %w", err))
		return 0, false
	}
	return x, ok
}

func (s *source) findStored(id keyID, match func(NodeIndex) bool) (NodeIndex, bool, error) {
	entry, err := s.lockedRecord(id.name())
	switch {
	case errors.Is(err, errGone):
	case err != nil:
		return 0, false, err
	case len(entry) != 4:
		return 0, false, fmt.Errorf("%w: an entry of the index of keys", mls.ErrMalformed)
	default:
		if x := NodeIndex(binary.BigEndian.Uint32(entry)); match(x) {
			return x, true, nil
		}
	}
	if s.layout.buckets == 0 {
		return 0, false, nil
	}
	bucket, err := s.lockedRecord(bucketName(s.layout.bucket(id)))
	if err != nil {
		return 0, false, err
	}
	entries, err := decodeBucket(bucket)
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		if e.fingerprint() == id.fingerprint() && match(e.node()) {
			return e.node(), true, nil
		}
	}
	return 0, false, nil
}

// lockedRecord is record for who does not hold the lock, which match needs.
func (s *source) lockedRecord(name []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record(name)
}
