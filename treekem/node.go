package treekem

import (
	"encoding/binary"
	"hash"
	"math/bits"
	"sync/atomic"

	"github.com/treekem/mls"
)

// A node is a node of the tree with what its subtree amounts to. It never
// changes once it is made, so that trees share subtrees.
//
// A nil node is a subtree with nothing but blanks in it, of up to 2^smallBlank
// leaves. A larger subtree of blanks is made of nodes, so that its hash, which
// depends on its place, need not be computed again.
//
// A node of a tree from a store may have neither child yet: kids gets them.
type node struct {
	left, right atomic.Pointer[node]
	// data is the tree hash (RFC 9420, Section 7.8) followed by the encoding
	// of the LeafNode or ParentNode, which is empty for a blank node.
	data       string
	support    Support // of all members below
	members    uint32  // how many leaves below are not blank
	resolution uint32  // size of the resolution: 0 if nothing is below but blanks
}

// smallBlank is the level up to which subtrees of blanks are not kept: hashing
// 16 blank leaves anew costs less than keeping 31 nodes for them.
const smallBlank = 4

// A forge makes nodes and computes all that they keep. It is not safe for
// concurrent use.
type forge struct {
	suite  *mls.Suite
	hash   hash.Hash
	nh     int
	in     []byte // scratch: what is hashed
	out    []byte // scratch: a node's data
	blanks *blankHalves
	src    *source                // of the tree that nodes are made for
	memo   map[[2]Support]Support // nil for single edits
	makes  supportMemo            // nil for single edits
	// decoded is scratch of who reads many leaves.
	decoded LeafNode
}

func newForge(s *mls.Suite, blanks *blankHalves) *forge {
	return &forge{
		suite: s, hash: s.NewHash(), nh: s.HashSize(), blanks: blanks,
		in: make([]byte, 0, typicalInput), out: make([]byte, 0, typicalInput),
	}
}

// typicalInput is room for what most nodes hash to, and for most leaf nodes with
// basic credentials.
const typicalInput = 320

// node types of tree hash inputs and of encoded trees (RFC 9420, Sections 7.8
// and 12.4.3.3).
const (
	nodeTypeLeaf   = 1
	nodeTypeParent = 2
)

// sum hashes what has been appended to f.in.
func (f *forge) sum() {
	f.hash.Reset()
	f.hash.Write(f.in)
	f.out = f.hash.Sum(f.out[:0])
}

// leaf makes the node of a leaf that is not blank.
func (f *forge) leaf(i mls.LeafIndex, raw string, support Support) *node {
	return &node{data: leafData(f, i, raw), support: support, members: 1, resolution: 1}
}

// leafData returns the data of the node of a leaf that is not blank.
func leafData[B string | []byte](f *forge, i mls.LeafIndex, raw B) string {
	f.in = append(f.in[:0], nodeTypeLeaf)
	f.in = binary.BigEndian.AppendUint32(f.in, uint32(i))
	f.in = append(f.in, 1)
	f.in = append(f.in, raw...)
	f.sum()
	f.out = append(f.out, raw...)
	return string(f.out)
}

// parent makes the node at x, blank if raw is empty, from its children.
func (f *forge) parent(x NodeIndex, raw string, left, right *node) *node {
	n := new(node)
	n.left.Store(left)
	n.right.Store(right)
	if raw != "" {
		n.resolution = 1 + uint32(unmergedIn(raw).len())
	} else {
		n.resolution = left.resolutionSize() + right.resolutionSize()
		if n.resolution == 0 && x.Level() <= smallBlank {
			return nil
		}
	}
	n.members = left.memberCount() + right.memberCount()
	n.support = f.combine(left, right)

	f.in = append(f.in[:0], nodeTypeParent)
	if raw == "" {
		f.in = append(f.in, 0)
	} else {
		f.in = append(f.in, 1)
		f.in = append(f.in, raw...)
	}
	f.in = f.appendHash(f.in, left, x.left())
	f.in = f.appendHash(f.in, right, x.right())
	f.sum()
	f.out = append(f.out, raw...)
	n.data = string(f.out)
	return n
}

func (f *forge) combine(left, right *node) Support {
	switch {
	case left == nil && right == nil:
		return Support{}
	case left == nil:
		return right.support
	case right == nil:
		return left.support
	case left.support == right.support || f.memo == nil:
		return combine(left.support, right.support)
	}
	key := [2]Support{left.support, right.support}
	s, ok := f.memo[key]
	if !ok {
		s = combine(key[0], key[1])
		f.memo[key] = s
	}
	return s
}

// appendHash appends the tree hash of the subtree n at x as a vector.
func (f *forge) appendHash(dst []byte, n *node, x NodeIndex) []byte {
	dst = f.appendHashPrefix(dst)
	if n != nil {
		return append(dst, n.data[:f.nh]...)
	}
	return f.appendBlankHash(dst, x)
}

// appendHashPrefix appends the length of a hash, which takes one byte up to 63
// and two from 64 on.
func (f *forge) appendHashPrefix(dst []byte) []byte {
	if f.nh < 64 {
		return append(dst, byte(f.nh))
	}
	return append(dst, 0x40|byte(f.nh>>8), byte(f.nh))
}

// appendBlankHash appends the tree hash of a subtree of blanks.
func (f *forge) appendBlankHash(dst []byte, x NodeIndex) []byte {
	start := len(dst)
	if x.IsLeaf() {
		dst = append(dst, nodeTypeLeaf)
		dst = binary.BigEndian.AppendUint32(dst, uint32(x.Leaf()))
		dst = append(dst, 0)
	} else {
		dst = append(dst, nodeTypeParent, 0)
		dst = f.appendHashPrefix(dst)
		dst = f.appendBlankHash(dst, x.left())
		dst = f.appendHashPrefix(dst)
		dst = f.appendBlankHash(dst, x.right())
	}
	f.hash.Reset()
	f.hash.Write(dst[start:])
	return f.hash.Sum(dst[:start])
}

// blank makes the subtree of blanks at x.
func (f *forge) blank(x NodeIndex) *node {
	if x.Level() <= smallBlank {
		return nil
	}
	return f.parent(x, "", f.blank(x.left()), f.blank(x.right()))
}

// treeHash returns the tree hash of the subtree n at x.
func (f *forge) treeHash(n *node, x NodeIndex) string {
	if n != nil {
		return n.data[:f.nh]
	}
	f.in = f.appendBlankHash(f.in[:0], x)
	return string(f.in)
}

// blankHalves keeps the blank right halves of trees, by the level of the half.
// Adding a member to a full tree begins such a half, at a cost of O(n); removing
// that member and adding another must not cost as much every time. It is shared
// by all trees that come from one, and safe for concurrent use.
type blankHalves [32]atomic.Pointer[node]

// blankHalf returns the blank right half of a tree of width leaves, at x.
func (f *forge) blankHalf(x NodeIndex) *node {
	level := x.Level()
	if level <= smallBlank {
		return nil
	}
	if n := f.blanks[level].Load(); n != nil {
		return n
	}
	n := f.blank(x)
	f.blanks[level].Store(n)
	return n
}

// keep remembers a blank right half that is cut off.
func (b *blankHalves) keep(x NodeIndex, n *node) {
	if n != nil {
		b[x.Level()].CompareAndSwap(nil, n)
	}
}

func (n *node) memberCount() uint32 {
	if n == nil {
		return 0
	}
	return n.members
}

func (n *node) resolutionSize() uint32 {
	if n == nil {
		return 0
	}
	return n.resolution
}

// raw returns the encoding of the node's contents, empty if it is blank. nh is
// the size of a hash.
func (n *node) raw(nh int) string {
	if n == nil {
		return ""
	}
	return n.data[nh:]
}

// widthFor returns the least width of a tree that has leaf i.
func widthFor(i mls.LeafIndex) uint32 { return 1 << bits.Len32(uint32(i)) }
