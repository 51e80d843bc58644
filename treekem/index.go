package treekem

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
)

// A keyIndex finds the node that has a key: a persistent trie over the keys'
// fingerprints. It holds no keys. An entry is a fingerprint and a node index,
// eight bytes; a hit is compared with the key in the tree itself. The
// fingerprints are keyed at random for each process, so that nobody can choose
// keys that collide.
//
// A keyIndex never changes; an indexEdit makes another one that shares with it
// all that it can.
type keyIndex struct {
	root *indexNode // nil if empty
}

var fingerprintSeed = maphash.MakeSeed()

func fingerprint(key string) uint32 {
	return uint32(maphash.String(fingerprintSeed, key) >> 32)
}

// An indexEntry has the fingerprint in its upper half, the node index in the
// lower.
type indexEntry uint64

func newEntry(fp uint32, x NodeIndex) indexEntry { return indexEntry(fp)<<32 | indexEntry(x) }
func (e indexEntry) fingerprint() uint32         { return uint32(e >> 32) }
func (e indexEntry) node() NodeIndex             { return NodeIndex(e) }

// Two bits of the fingerprint select a child: of all widths, four copy the
// least for an edit. A bucket is split when it would exceed maxBucket entries,
// and children are joined again when they have no more than minBucket between
// them, far enough below that adding and removing one entry does not split and
// join every time.
const (
	indexBits = 2
	fanout    = 1 << indexBits
	maxDepth  = 32 / indexBits
	maxBucket = 32
	minBucket = 12
)

// An indexNode is a bucket if it has entries: a bucket is never empty.
type indexNode struct {
	owner   uint64 // the edit that made it, and may still change it
	kids    [fanout]*indexNode
	entries []indexEntry
}

func (n *indexNode) bucket() bool { return n.entries != nil }

// slot selects the child for a fingerprint.
func slot(fp uint32, depth int) int {
	return int(fp>>(32-indexBits*(depth+1))) & (fanout - 1)
}

// find returns the node with the fingerprint for which match is true.
func (ix keyIndex) find(fp uint32, match func(NodeIndex) bool) (NodeIndex, bool) {
	n := ix.root
	for depth := 0; n != nil && !n.bucket(); depth++ {
		n = n.kids[slot(fp, depth)]
	}
	if n == nil {
		return 0, false
	}
	for _, e := range n.entries {
		if e.fingerprint() == fp && match(e.node()) {
			return e.node(), true
		}
	}
	return 0, false
}

// all calls yield for every entry, in no particular order.
func (ix keyIndex) all(yield func(indexEntry)) { ix.root.all(yield) }

func (n *indexNode) all(yield func(indexEntry)) {
	if n == nil {
		return
	}
	for _, e := range n.entries {
		yield(e)
	}
	for _, k := range n.kids {
		k.all(yield)
	}
}

// An indexEdit makes a new index from an old one. Nodes that it has made
// already it changes in place.
type indexEdit struct {
	root  *indexNode
	owner uint64
}

var indexOwners atomic.Uint64

func (ix keyIndex) edit() *indexEdit {
	return &indexEdit{root: ix.root, owner: indexOwners.Add(1)}
}

// done ends the edit.
func (e *indexEdit) done() keyIndex { return keyIndex{e.root} }

func (e *indexEdit) view() keyIndex { return keyIndex{e.root} }

// own returns n if this edit made it, else a copy that it may change. Buckets
// of others stay shared until they are replaced as a whole.
func (e *indexEdit) own(n *indexNode) *indexNode {
	if n.owner == e.owner {
		return n
	}
	c := *n
	c.owner = e.owner
	return &c
}

func (e *indexEdit) insert(fp uint32, x NodeIndex) {
	e.root = e.insertAt(e.root, newEntry(fp, x), 0)
}

func (e *indexEdit) insertAt(n *indexNode, entry indexEntry, depth int) *indexNode {
	if n == nil {
		return &indexNode{owner: e.owner, entries: []indexEntry{entry}}
	}
	n = e.own(n)
	if !n.bucket() {
		kid := &n.kids[slot(entry.fingerprint(), depth)]
		*kid = e.insertAt(*kid, entry, depth+1)
		return n
	}
	// The entries are exactly as many as the slice has room for: there are
	// many buckets, and they live long.
	entries := make([]indexEntry, len(n.entries)+1)
	copy(entries, n.entries)
	entries[len(n.entries)] = entry
	n.entries = entries
	if len(entries) > maxBucket && depth < maxDepth {
		return buildIndex(entries, depth, e.owner)
	}
	return n
}

// remove removes an entry that the index has.
func (e *indexEdit) remove(fp uint32, x NodeIndex) {
	e.root = e.removeAt(e.root, newEntry(fp, x), 0)
}

func (e *indexEdit) removeAt(n *indexNode, entry indexEntry, depth int) *indexNode {
	if n == nil {
		return nil
	}
	n = e.own(n)
	if !n.bucket() {
		kid := &n.kids[slot(entry.fingerprint(), depth)]
		*kid = e.removeAt(*kid, entry, depth+1)
		return e.join(n)
	}
	i := slices.Index(n.entries, entry)
	if i < 0 {
		return n
	}
	if len(n.entries) == 1 {
		return nil
	}
	entries := make([]indexEntry, len(n.entries)-1)
	copy(entries, n.entries[:i])
	copy(entries[i:], n.entries[i+1:])
	n.entries = entries
	return n
}

// join makes one bucket of children that have few entries.
func (e *indexEdit) join(n *indexNode) *indexNode {
	total := 0
	for _, k := range n.kids {
		switch {
		case k == nil:
		case !k.bucket():
			return n
		default:
			total += len(k.entries)
		}
	}
	if total > minBucket {
		return n
	}
	if total == 0 {
		return nil
	}
	entries := make([]indexEntry, 0, total)
	for _, k := range n.kids {
		if k != nil {
			entries = append(entries, k.entries...)
		}
	}
	return &indexNode{owner: e.owner, entries: entries}
}

// buildIndex builds the subtree of a set of entries, which it sorts and copies.
func buildIndex(entries []indexEntry, depth int, owner uint64) *indexNode {
	slices.Sort(entries)
	return buildSorted(entries, depth, owner)
}

func buildSorted(entries []indexEntry, depth int, owner uint64) *indexNode {
	if len(entries) == 0 {
		return nil
	}
	if len(entries) <= maxBucket || depth == maxDepth {
		return &indexNode{owner: owner, entries: slices.Clone(entries)}
	}
	n := &indexNode{owner: owner}
	for i := range n.kids {
		k := 0
		for k < len(entries) && slot(entries[k].fingerprint(), depth) == i {
			k++
		}
		n.kids[i] = buildSorted(entries[:k], depth+1, owner)
		entries = entries[k:]
	}
	return n
}
