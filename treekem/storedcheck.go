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
// O(n log n).
func (s *Stored) Check(names iter.Seq[[]byte]) error {
	t := s.tree
	if t.src == nil {
		return errors.New("treekem: the tree was not opened")
	}
	if err := t.CheckAggregates(); err != nil {
		return err
	}
	for name := range names {
		if err := s.checkName(name); err != nil {
			return t.sure(err)
		}
	}
	// Those with what the tree needs are there: they were all read, but for
	// buckets that no key of today is in.
	for k := range s.layout.buckets {
		if _, err := t.src.lockedRecord(bucketName(k)); err != nil {
			return fmt.Errorf("bucket %d of keys: %w", k, err)
		}
	}
	return nil
}

// checkName checks that a record is part of the tree.
func (s *Stored) checkName(name []byte) error {
	number, numbered := uint32(0), len(name) == 5
	if numbered {
		number = binary.BigEndian.Uint32(name[1:])
	}
	x := NodeIndex(number)
	switch {
	case bytes.Equal(name, headName()):
		return nil
	case numbered && name[0] == recordPage && pageTop(x) && s.tree.nodeAt(x).resolutionSize() > 0:
		return nil
	case numbered && name[0] == recordBucket && number < s.layout.buckets:
		return nil
	case len(name) == MaxTreeRecordName && name[0] == recordKey:
		return s.checkKeyRecord(name)
	}
	return fmt.Errorf("%w: record %x is no part of the tree", mls.ErrMalformed, name)
}

// checkKeyRecord checks that an entry of the index is that of a key of the node
// that it names.
func (s *Stored) checkKeyRecord(name []byte) error {
	entry, err := s.tree.src.lockedRecord(name)
	if err != nil {
		return err
	}
	if len(entry) == 4 {
		x := NodeIndex(binary.BigEndian.Uint32(entry))
		if raw := s.tree.rawAt(x); raw != "" {
			enc := s.layout.id(encryptionKeys, encryptionKeyIn(raw)).name()
			if bytes.Equal(name, enc) {
				return nil
			}
			if x.IsLeaf() && bytes.Equal(name, s.layout.id(signatureKeys, signatureKeyIn(raw)).name()) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: record %x is of a key that is not in the tree", mls.ErrMalformed, name)
}

// DescribeTreeRecord says what the record of a stored tree with a name is.
func DescribeTreeRecord(name []byte) string {
	number := func() uint32 { return binary.BigEndian.Uint32(name[1:]) }
	switch {
	case bytes.Equal(name, headName()):
		return "the head of a ratchet tree"
	case len(name) == 5 && name[0] == recordPage:
		return fmt.Sprintf("nodes of a ratchet tree below node %d", number())
	case len(name) == 5 && name[0] == recordBucket:
		return fmt.Sprintf("bucket %d of where keys of a ratchet tree are", number())
	case len(name) == MaxTreeRecordName && name[0] == recordKey:
		return "where a key of a ratchet tree is"
	}
	return "no record of a ratchet tree"
}

// Names returns the names of the records that the changes put.
func (c *TreeChanges) Names() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, r := range c.Put {
			if !yield(r.Name) {
				return
			}
		}
	}
}
