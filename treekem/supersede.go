package treekem

import "github.com/treekem/mls"

// Holds tells whether key is among the private keys.
func (p *Private) Holds(key *mls.HPKEPrivateKey) bool {
	if p == nil {
		return false
	}
	for _, k := range p.keys {
		if k.key == key {
			return true
		}
	}
	return false
}

// DestroyExcept destroys the private keys that next does not hold, once next has
// taken p's place. A nil next destroys all. Other values that share p's keys
// lose them too.
func (p *Private) DestroyExcept(next *Private) {
	for _, k := range p.keys {
		if !next.Holds(k.key) {
			k.key.Destroy()
		}
	}
}

// ChangedLeaves returns the leaves at which two trees differ, ascending, up to
// the wider one's width. Subtrees that the trees share cost nothing.
func (t *Tree) ChangedLeaves(o *Tree) []mls.LeafIndex {
	if t.width < o.width {
		t, o = o, t
	}
	narrow, x := t.root, Root(t.width)
	var changed []mls.LeafIndex
	var right []func()
	for w := t.width; w > o.width; w /= 2 {
		if narrow != nil {
			n, y := narrow.right, x.right()
			right = append(right, func() { changed = appendChanged(changed, n, nil, y) })
			narrow = narrow.left
		}
		x = x.left()
	}
	changed = appendChanged(changed, narrow, o.root, x)
	for k := len(right) - 1; k >= 0; k-- {
		right[k]()
	}
	return changed
}

// appendChanged appends the leaves below x at which subtrees a and b differ.
func appendChanged(changed []mls.LeafIndex, a, b *node, x NodeIndex) []mls.LeafIndex {
	if a == b || a.memberCount() == 0 && b.memberCount() == 0 {
		return changed
	}
	if x.IsLeaf() {
		if a == nil || b == nil || a.data != b.data {
			changed = append(changed, x.Leaf())
		}
		return changed
	}
	changed = appendChanged(changed, a.child(true), b.child(true), x.left())
	return appendChanged(changed, a.child(false), b.child(false), x.right())
}

// child is a child of a node that may be nil, a subtree of blanks.
func (n *node) child(left bool) *node {
	switch {
	case n == nil:
		return nil
	case left:
		return n.left
	default:
		return n.right
	}
}

// SupportsExtension tells whether a client with these capabilities supports an
// extension type: a default one (RFC 9420, Section 7.2), or one it lists.
func (c Capabilities) SupportsExtension(t mls.ExtensionType) bool {
	_, missing := c.missingExtension([]mls.Extension{{Type: t}})
	return !missing
}
