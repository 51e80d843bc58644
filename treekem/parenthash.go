package treekem

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
)

// parentHash returns the parent hash of an encoded parent node, given the
// original tree hash of its child on the copath (RFC 9420, Section 7.9). It is
// overwritten when the forge is used again.
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    opaque parent_hash<V>;
//	    opaque original_sibling_tree_hash<V>;
//	} ParentHashInput;
func (f *forge) parentHash(raw, siblingHash string) []byte {
	f.in = append(f.in[:0], keyAndParentHash(raw)...)
	f.in = wire.AppendVarint(f.in, uint32(len(siblingHash)))
	f.in = append(f.in, siblingHash...)
	f.sum()
	return f.out
}

// originalHash appends to dst the tree hash of the subtree n at x as it is
// without the given leaves: blank, and unmerged nowhere (RFC 9420, Section
// 7.9). Only subtrees that hold such a leaf are hashed again.
func (f *forge) originalHash(dst []byte, n *node, x NodeIndex, without leafList) []byte {
	without = without.below(x)
	if n == nil {
		return f.appendBlankHash(dst, x)
	}
	if without == "" {
		return append(dst, n.data[:f.nh]...)
	}
	if x.IsLeaf() {
		return f.appendBlankHash(dst, x)
	}
	left, right := n.kids(x, f.src)
	start := len(dst)
	dst = append(dst, nodeTypeParent)
	if raw := n.raw(f.nh); raw == "" {
		dst = append(dst, 0)
	} else {
		key, parentHash, unmerged := parentFields(raw)
		dst = append(dst, 1)
		dst = appendParent(dst, key, parentHash, unmerged.without(without))
	}
	dst = f.appendHashPrefix(dst)
	dst = f.originalHash(dst, left, x.left(), without)
	dst = f.appendHashPrefix(dst)
	dst = f.originalHash(dst, right, x.right(), without)
	f.hash.Reset()
	f.hash.Write(dst[start:])
	return f.hash.Sum(dst[:start])
}

// VerifyParentHashes checks that every parent node that is not blank is
// parent-hash valid: that exactly one member below has vouched for it, directly
// or through the nodes between (RFC 9420, Section 7.9.2).
func (t *Tree) VerifyParentHashes() error {
	type entry struct {
		x NodeIndex
		n *node
	}
	var parents []entry
	var collect func(n *node, x NodeIndex)
	collect = func(n *node, x NodeIndex) {
		if n == nil || x.IsLeaf() {
			return
		}
		left, right := n.kids(x, t.src)
		collect(left, x.left())
		if n.raw(t.suite.HashSize()) != "" {
			parents = append(parents, entry{x, n})
		}
		collect(right, x.right())
	}
	collect(t.root, Root(t.width))
	return t.sure(parallel.Workers(len(parents), 64, func() func(int) error {
		v := chainVerifier{forge: t.forge()}
		return func(k int) error { return v.verify(parents[k].n, parents[k].x) }
	}))
}

// A chainVerifier checks parent nodes one by one: whether one node below has it
// in its chain. That each is then in exactly one chain needs no counting. A node
// cannot be linked to two parents, because its parent_hash covers one key and
// keys are unique. And a parent cannot be linked from both sides: the node on
// either side would have to hold a hash of the other's.
type chainVerifier struct {
	*forge
	sibling []byte // scratch
}

func (v *chainVerifier) verify(p *node, x NodeIndex) error {
	left, right := p.kids(x, v.src)
	if v.linked(p, left, x.left(), right, x.right()) || v.linked(p, right, x.right(), left, x.left()) {
		return nil
	}
	// RFC 9420, Section 7.9.2: each non-blank parent is parent-hash valid.
	return mls.Invalid("7.9.2", "parent-hash", "node %d is not parent-hash valid", x)
}

// linked reports whether a node below p's child c is valid with respect to p, s
// being p's other child. With U the unmerged leaves of p below c, that node
// must be all that the resolution of c holds besides U.
func (v *chainVerifier) linked(p, c *node, cx NodeIndex, s *node, sx NodeIndex) bool {
	raw := p.raw(v.nh)
	unmerged := unmergedIn(raw)
	u := unmerged.below(cx)
	if int(c.resolutionSize()) != 1+u.len() {
		return false
	}
	below, ok := v.besides(c, cx, u)
	if !ok || below == "" {
		return false
	}
	v.sibling = v.originalHash(v.sibling[:0], s, sx, unmerged)
	return below == string(v.parentHash(raw, string(v.sibling)))
}

// besides returns the parent_hash field of the one node of c's resolution that
// is not a leaf in u; false if there is not exactly one, or if it has no such
// field. The resolution has one node more than u.
func (v *chainVerifier) besides(c *node, cx NodeIndex, u leafList) (parentHash string, ok bool) {
	found := 0
	v.reading().eachResolution(c, cx, func(y NodeIndex, n *node) bool {
		if y.IsLeaf() && u.has(y.Leaf()) {
			return true
		}
		found++
		parentHash = parentHashIn(n.raw(v.nh), y)
		return found <= 1
	})
	return parentHash, found == 1
}

// parentHashIn returns the parent_hash field of an encoded node, empty if it
// has none.
func parentHashIn(raw string, x NodeIndex) string {
	if x.IsLeaf() {
		return viewLeaf(raw).parentHash
	}
	_, parentHash, _ := parentFields(raw)
	return parentHash
}
