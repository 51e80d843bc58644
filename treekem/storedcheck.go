package treekem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/treekem/mls"
)

// Check reads all of a tree that was opened and not changed since, and returns an
// error unless everything in it is right and its records are the given ones: all
// pages, each key in the index where it is, and nothing else. It costs
// O(n log n), and reads each record once.
func (s *Stored) Check(names iter.Seq[[]byte]) error {
	t := s.tree
	if t.src == nil {
		return errors.New("treekem: the tree was not opened")
	}
	nodes, err := t.checkNodes()
	if err != nil {
		return err
	}
	// The head and the pages that the tree needs are there: they were read.
	c := storedChecker{Stored: s, nodes: nodes, left: map[keyID]NodeIndex{}}
	c.expect(encryptionKeys, nodes.enc)
	c.expect(signatureKeys, nodes.sig)
	for name := range names {
		if err := c.record(name); err != nil {
			return t.sure(err)
		}
	}
	if c.buckets != s.layout.buckets {
		return fmt.Errorf("%w: %d buckets of keys, not %d", mls.ErrMalformed, c.buckets, s.layout.buckets)
	}
	for _, x := range c.left {
		return fmt.Errorf("%w: the index lacks a key of node %d", mls.ErrMalformed, x)
	}
	return nil
}

// A storedChecker looks for the keys of a tree in its index.
type storedChecker struct {
	*Stored
	nodes   *checker
	left    map[keyID]NodeIndex // keys that were not found yet
	buckets uint32              // how many there are
}

func (c *storedChecker) expect(kind keyKind, keys map[NodeIndex]string) {
	for x, key := range keys {
		c.left[c.layout.id(kind, key)] = x
	}
}

// record checks that a record is part of the tree.
func (c *storedChecker) record(name []byte) error {
	number, numbered := uint32(0), len(name) == 5
	if numbered {
		number = binary.BigEndian.Uint32(name[1:])
	}
	x := NodeIndex(number)
	switch {
	case bytes.Equal(name, headName()):
		return nil
	case numbered && name[0] == recordPage && pageTop(x) && c.tree.nodeAt(x).resolutionSize() > 0:
		return nil
	case numbered && name[0] == recordBucket && number < c.layout.buckets:
		return c.bucket(number)
	case len(name) == MaxTreeRecordName && name[0] == recordKey:
		return c.key(name)
	}
	return fmt.Errorf("%w: record %x is no part of the tree", mls.ErrMalformed, name)
}

// idsAt returns what stands for the keys of a node.
func (c *storedChecker) idsAt(x NodeIndex) (ids []keyID) {
	if key, ok := c.nodes.enc[x]; ok {
		ids = append(ids, c.layout.id(encryptionKeys, key))
	}
	if key, ok := c.nodes.sig[x]; ok {
		ids = append(ids, c.layout.id(signatureKeys, key))
	}
	return ids
}

// bucket ticks off the keys that a bucket has. Its others went.
func (c *storedChecker) bucket(k uint32) error {
	body, err := c.tree.src.lockedRecord(bucketName(k))
	if err != nil {
		return fmt.Errorf("bucket %d of keys: %w", k, err)
	}
	entries, err := decodeBucket(body)
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, id := range c.idsAt(e.node()) {
			if id.fingerprint() == e.fingerprint() && c.layout.bucket(id) == k {
				delete(c.left, id)
			}
		}
	}
	c.buckets++
	return nil
}

// key ticks off the key of an entry of its own, which has to be that of the node
// that it names.
func (c *storedChecker) key(name []byte) error {
	entry, err := c.tree.src.lockedRecord(name)
	if err != nil {
		return err
	}
	if len(entry) == 4 {
		for _, id := range c.idsAt(NodeIndex(binary.BigEndian.Uint32(entry))) {
			if bytes.Equal(name, id.name()) {
				delete(c.left, id)
				return nil
			}
		}
	}
	return fmt.Errorf("%w: record %x is of a key that is not in the tree", mls.ErrMalformed, name)
}

// Names returns the names of the records that there are with the changes written,
// given those that there were.
func (c *TreeChanges) Names(before iter.Seq[[]byte]) iter.Seq[[]byte] {
	changed := c.values()
	return func(yield func([]byte) bool) {
		for name := range before {
			if _, ok := changed[string(name)]; !ok && !yield(name) {
				return
			}
		}
		for _, r := range c.Put {
			if !yield(r.Name) {
				return
			}
		}
	}
}
