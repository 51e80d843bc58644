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
// the wider one's width. Subtrees that the trees share cost nothing. Of stored
// trees, Err tells whether all could be read.
func (t *Tree) ChangedLeaves(o *Tree) []mls.LeafIndex {
	if t.width < o.width {
		t, o = o, t
	}
	d := leafDiff{a: t.src, b: o.src, nh: t.suite.HashSize()}
	narrow, x := t.root, Root(t.width)
	var right []func()
	for w := t.width; w > o.width; w /= 2 {
		left, half := narrow.kids(x, t.src)
		y := x.right()
		right = append(right, func() { d.walk(half, nil, y) })
		narrow, x = left, x.left()
	}
	d.walk(narrow, o.root, x)
	for k := len(right) - 1; k >= 0; k-- {
		right[k]()
	}
	return d.changed
}

// A leafDiff collects the leaves at which two trees differ.
type leafDiff struct {
	a, b    *source
	nh      int
	changed []mls.LeafIndex
}

// walk compares subtrees a and b at x.
func (d *leafDiff) walk(a, b *node, x NodeIndex) {
	if sameSubtree(a, b, d.nh) {
		return
	}
	if x.IsLeaf() {
		d.changed = append(d.changed, x.Leaf())
		return
	}
	al, ar := a.kids(x, d.a)
	bl, br := b.kids(x, d.b)
	d.walk(al, bl, x.left())
	d.walk(ar, br, x.right())
}

// sameSubtree reports whether two subtrees at one place hold the same: they are
// shared, or have one tree hash.
func sameSubtree(a, b *node, nh int) bool {
	if a == b || a.resolutionSize() == 0 && b.resolutionSize() == 0 {
		return true
	}
	return a != nil && b != nil && a.data[:nh] == b.data[:nh]
}

// SupportsExtension tells whether a client with these capabilities supports an
// extension type: a default one (RFC 9420, Section 7.2), or one it lists.
func (c Capabilities) SupportsExtension(t mls.ExtensionType) bool {
	_, missing := c.missingExtension([]mls.Extension{{Type: t}})
	return !missing
}
