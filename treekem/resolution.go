package treekem

import (
	"slices"

	"github.com/treekem/mls"
)

// A reading is how nodes of a tree are read.
type reading struct {
	nh  int // the size of a hash
	src *source
}

func (t *Tree) reading() reading { return reading{t.suite.HashSize(), t.src} }

func (f *forge) reading() reading { return reading{f.nh, f.src} }

// eachResolution calls yield for the nodes of the resolution of the subtree n
// at x, in order (RFC 9420, Section 4.1.1), until yield returns false. It does
// not enter subtrees of blanks.
func (r reading) eachResolution(n *node, x NodeIndex, yield func(NodeIndex, *node) bool) bool {
	if n.resolutionSize() == 0 {
		return true
	}
	if raw := n.raw(r.nh); raw != "" {
		if !yield(x, n) {
			return false
		}
		if x.IsLeaf() {
			return true
		}
		unmerged := unmergedIn(raw)
		for k := range unmerged.len() {
			y := LeafNodeIndex(unmerged.at(k))
			// What cannot be read is left out.
			if leaf := r.descend(n, x, y); leaf != nil && !yield(y, leaf) {
				return false
			}
		}
		return true
	}
	left, right := n.kids(x, r.src)
	return r.eachResolution(left, x.left(), yield) && r.eachResolution(right, x.right(), yield)
}

// descend returns node y of the subtree n at x.
func (r reading) descend(n *node, x, y NodeIndex) *node {
	for x != y && n != nil {
		left, right := n.kids(x, r.src)
		if y < x {
			n, x = left, x.left()
		} else {
			n, x = right, x.right()
		}
	}
	return n
}

// Resolution returns the resolution of node x: the fewest nodes that together
// cover all members below it, in order (RFC 9420, Section 4.1.1).
func (t *Tree) Resolution(x NodeIndex) []NodeIndex {
	n := t.nodeAt(x)
	out := make([]NodeIndex, 0, n.resolutionSize())
	t.reading().eachResolution(n, x, func(y NodeIndex, _ *node) bool {
		out = append(out, y)
		return true
	})
	return out
}

// A step is one node of a leaf's direct path, with its child on the copath.
type step struct {
	x       NodeIndex
	node    *node
	copath  NodeIndex
	sibling *node // at copath
}

// steps returns the direct path of leaf i, from its parent to the root.
func (t *Tree) steps(i mls.LeafIndex) []step {
	n, x := t.root, Root(t.width)
	path := make([]step, 0, x.Level())
	for !x.IsLeaf() {
		s := step{x: x, node: n}
		left, right := n.kids(x, t.src)
		if LeafNodeIndex(i) < x {
			s.copath, s.sibling = x.right(), right
			n, x = left, x.left()
		} else {
			s.copath, s.sibling = x.left(), left
			n, x = right, x.right()
		}
		path = append(path, s)
	}
	slices.Reverse(path)
	return path
}

// filtered reports whether the step is on the filtered direct path: whether
// there is anybody on the copath side to share the node's key with (RFC 9420,
// Section 4.1.2).
func (s *step) filtered() bool { return s.sibling.resolutionSize() > 0 }

// filteredSteps returns the steps of the filtered direct path of leaf i.
func (t *Tree) filteredSteps(i mls.LeafIndex) []step {
	return slices.DeleteFunc(t.steps(i), func(s step) bool { return !s.filtered() })
}

// countFiltered returns how many of the steps are on the filtered direct path.
func countFiltered(steps []step) int {
	n := 0
	for k := range steps {
		if steps[k].filtered() {
			n++
		}
	}
	return n
}

func (t *Tree) inTree(i mls.LeafIndex) bool { return uint32(i) < t.width }

// DirectPath returns the nodes above leaf i, from its parent to the root (RFC
// 9420, Section 4.1.2), nil if it is not in the tree.
func (t *Tree) DirectPath(i mls.LeafIndex) []NodeIndex {
	if !t.inTree(i) {
		return nil
	}
	return stepIndices(t.steps(i))
}

// FilteredDirectPath returns the nodes above leaf i that a commit by its member
// sets: those whose child on the copath has a resolution that is not empty (RFC
// 9420, Section 4.1.2). It may end below the root.
func (t *Tree) FilteredDirectPath(i mls.LeafIndex) []NodeIndex {
	if !t.inTree(i) {
		return nil
	}
	return stepIndices(t.filteredSteps(i))
}

func stepIndices(steps []step) []NodeIndex {
	out := make([]NodeIndex, len(steps))
	for k := range steps {
		out[k] = steps[k].x
	}
	return out
}

// CommitCost returns how many times a commit by the member at leaf i encrypts a
// path secret, from the sizes kept in the tree: log2 of the number of members
// in a tree without blanks, up to all members but one in a tree of blanks.
// Leaves that a commit adds itself cost nothing and are not known here.
func (t *Tree) CommitCost(i mls.LeafIndex) int {
	if !t.inTree(i) {
		return 0
	}
	cost := 0
	for _, s := range t.steps(i) {
		cost += int(s.sibling.resolutionSize())
	}
	return cost
}
