package treekem

import (
	"math/bits"

	"github.com/treekem/mls"
)

// NodeIndex is the position of a node in the array form of a tree: leaves are
// even, parents odd (RFC 9420, Appendix C).
type NodeIndex uint32

// MaxWidth is the greatest number of leaves of a tree: node indices have 32
// bits.
const MaxWidth = 1 << 31

// NodeWidth returns the number of nodes of a tree of n leaves, n at most
// [MaxWidth].
func NodeWidth(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return 2*(n-1) + 1
}

// Root returns the root of a tree of n leaves.
func Root(n uint32) NodeIndex {
	if n == 0 {
		return 0
	}
	return NodeIndex(1)<<(bits.Len32(NodeWidth(n))-1) - 1
}

// LeafNodeIndex returns the node index of a leaf.
func LeafNodeIndex(i mls.LeafIndex) NodeIndex { return NodeIndex(i) << 1 }

// IsLeaf reports whether x is a leaf.
func (x NodeIndex) IsLeaf() bool { return x&1 == 0 }

// Leaf returns the leaf index of x, which is meaningful only if x is a leaf.
func (x NodeIndex) Leaf() mls.LeafIndex { return mls.LeafIndex(x >> 1) }

// Level returns the height of x above the leaves.
func (x NodeIndex) Level() int { return bits.TrailingZeros32(^uint32(x)) }

// Left returns the left child of x; false if x is a leaf.
func (x NodeIndex) Left() (NodeIndex, bool) {
	if x.IsLeaf() {
		return 0, false
	}
	return x.left(), true
}

// Right returns the right child of x; false if x is a leaf.
func (x NodeIndex) Right() (NodeIndex, bool) {
	if x.IsLeaf() {
		return 0, false
	}
	return x.right(), true
}

// Parent returns the parent of x in a tree of n leaves; false if x is the root
// or not in the tree.
func (x NodeIndex) Parent(n uint32) (NodeIndex, bool) {
	if x == Root(n) || uint32(x) >= NodeWidth(n) {
		return 0, false
	}
	return x.parent(), true
}

// Sibling returns the other child of x's parent in a tree of n leaves; false if
// x is the root or not in the tree.
func (x NodeIndex) Sibling(n uint32) (NodeIndex, bool) {
	p, ok := x.Parent(n)
	if !ok {
		return 0, false
	}
	if x < p {
		return p.right(), true
	}
	return p.left(), true
}

// left, right and parent are Left, Right and Parent where the result is known
// to exist.
func (x NodeIndex) left() NodeIndex  { return x ^ 1<<(x.Level()-1) }
func (x NodeIndex) right() NodeIndex { return x ^ 3<<(x.Level()-1) }
func (x NodeIndex) parent() NodeIndex {
	k := x.Level()
	return (x | 1<<k) &^ (1 << (k + 1))
}

// leaves returns the leaves below x as the half-open range [first, end).
// The end of the greatest tree does not fit a LeafIndex, hence the uint64.
func (x NodeIndex) leaves() (first, end uint64) {
	half := uint64(1)<<x.Level() - 1
	return (uint64(x) - half) / 2, (uint64(x)+half)/2 + 1
}

// capacity returns the number of leaves below x.
func (x NodeIndex) capacity() uint32 { return 1 << x.Level() }

// contains reports whether leaf i is below x.
func (x NodeIndex) contains(i mls.LeafIndex) bool {
	first, end := x.leaves()
	return uint64(i) >= first && uint64(i) < end
}

// commonAncestor returns the lowest node above both leaves, a and b differing.
func commonAncestor(a, b mls.LeafIndex) NodeIndex {
	k := bits.Len32(uint32(a ^ b))
	return NodeIndex(a>>k)<<(k+1) | (1<<k - 1)
}
