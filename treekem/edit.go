package treekem

import (
	"errors"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// An Editor collects the changes that a list of proposals makes to a tree (RFC
// 9420, Section 12.3): first updates and removes, then adds. Done makes the new
// tree from all of them at once. An Editor is not safe for concurrent use.
type Editor struct {
	t       *Tree
	changes map[mls.LeafIndex]*leafChange
	adding  bool
	removed []mls.LeafIndex // ascending, once adding
	next    uint64          // adds go to blank leaves from here on
	width   uint32          // after the removes, once adding
}

// A leafChange is what becomes of a leaf.
type leafChange struct {
	leaf mls.LeafIndex
	raw  string // empty: the leaf becomes blank
	// merges is true if the leaf was blank before the proposals: the nodes
	// above it keep their keys, and list it as unmerged.
	merges bool
}

// Edit begins a batch of changes to the tree.
func (t *Tree) Edit() *Editor {
	return &Editor{t: t, changes: map[mls.LeafIndex]*leafChange{}}
}

var errEditOrder = errors.New("treekem: updates and removes must come before adds")

func (e *Editor) change(i mls.LeafIndex) (*leafChange, error) {
	if e.adding {
		return nil, errEditOrder
	}
	if _, ok := e.changes[i]; ok {
		// RFC 9420, Section 12.2: no two Update or Remove proposals apply to
		// one leaf.
		return nil, mls.InvalidAt(e.t.culprit(i), "12.2", "leaf-changed-twice", "two updates or removes of leaf %d", i)
	}
	c := &leafChange{leaf: i}
	return c, nil
}

// Update replaces the leaf node at leaf i by that of an Update proposal and
// blanks the nodes above it (RFC 9420, Section 12.1.2). The leaf node itself
// must have been verified.
func (e *Editor) Update(i mls.LeafIndex, leaf *LeafNode) error {
	c, err := e.change(i)
	if err != nil {
		return err
	}
	old := e.t.leafAt(i)
	if err := e.t.Err(); err != nil {
		return err
	}
	if old == "" {
		// RFC 9420, Section 12.1.2: an Update replaces the sender's leaf.
		return mls.InvalidAt(mls.Culprit{Leaf: &i}, "12.1.2", "update-blank-leaf", "update of leaf %d, which is blank", i)
	}
	if leaf.Source != SourceUpdate {
		// RFC 9420, Section 7.3: the leaf of an Update has source update.
		return mls.InvalidAt(e.t.culprit(i), "7.3", "update-source", "leaf node of an update with source %v", leaf.Source)
	}
	if encryptionKeyIn(old) == string(leaf.EncryptionKey) {
		// RFC 9420, Section 7.3: its encryption_key differs from the one that
		// it replaces.
		return mls.InvalidAt(e.t.culprit(i), "7.3", "update-same-key", "update that keeps the leaf's encryption key")
	}
	raw, err := wire.Marshal(leaf)
	if err != nil {
		return err
	}
	c.raw = string(raw)
	e.changes[i] = c
	return nil
}

// Remove blanks leaf i and the nodes above it (RFC 9420, Section 12.1.3).
func (e *Editor) Remove(i mls.LeafIndex) error {
	c, err := e.change(i)
	if err != nil {
		return err
	}
	if !e.t.Has(i) {
		// RFC 9420, Section 12.1.3: removed identifies a non-blank leaf node.
		return e.t.sure(mls.InvalidAt(mls.Culprit{Leaf: &i}, "12.1.3", "remove-blank-leaf", "remove of leaf %d, which is blank", i))
	}
	e.changes[i] = c
	return nil
}

// Add puts a new member into the leftmost blank leaf, extending the tree if
// there is none, and returns its index (RFC 9420, Section 12.1.1). The leaf
// node must have been verified as that of a key package.
func (e *Editor) Add(leaf *LeafNode) (mls.LeafIndex, error) {
	if leaf.Source != SourceKeyPackage {
		// RFC 9420, Section 7.3: the leaf of a KeyPackage has source key_package.
		return 0, mls.InvalidAt(mls.Culprit{Identity: leaf.Credential.String()}, "7.3", "key-package-source",
			"leaf node of an add with source %v", leaf.Source)
	}
	raw, err := wire.Marshal(leaf)
	if err != nil {
		return 0, err
	}
	i, err := e.blankLeaf()
	if err != nil {
		return 0, err
	}
	e.place(i, string(raw))
	return i, nil
}

// place puts a leaf node into a blank leaf.
func (e *Editor) place(i mls.LeafIndex, raw string) {
	e.next = uint64(i) + 1
	if c, ok := e.changes[i]; ok { // removed just before: nothing above it is left
		c.raw = raw
		return
	}
	e.changes[i] = &leafChange{leaf: i, raw: raw, merges: true}
}

// blankLeaf returns the leaf for the next new member.
func (e *Editor) blankLeaf() (mls.LeafIndex, error) {
	if !e.adding {
		e.beginAdding()
	}
	i := max(e.next, uint64(e.t.width)) // beyond the tree, which is extended
	if b, ok := e.t.src.nextBlank(e.t.root, Root(e.t.width), e.next); ok {
		i = uint64(b)
	}
	k, _ := slices.BinarySearchFunc(e.removed, e.next, func(r mls.LeafIndex, from uint64) int {
		return int(int64(r) - int64(from))
	})
	if k < len(e.removed) {
		i = min(i, uint64(e.removed[k]))
	}
	if err := e.t.Err(); err != nil {
		return 0, err
	}
	if i >= MaxWidth {
		return 0, fmt.Errorf("%w: a tree of more than 2^31 leaves", mls.ErrUnsupported)
	}
	return mls.LeafIndex(i), nil
}

// beginAdding notes which leaves the removes have made blank, and how wide they
// leave the tree.
func (e *Editor) beginAdding() {
	e.adding = true
	for i, c := range e.changes {
		if c.raw == "" {
			e.removed = append(e.removed, i)
		}
	}
	slices.Sort(e.removed)
	e.width = e.widthAfterRemoves()
}

// widthAfterRemoves returns the width of the tree without the removed leaves:
// the tree is truncated once, after all of them (RFC 9420, Section 12.1.3).
func (e *Editor) widthAfterRemoves() uint32 {
	end := uint64(e.t.width)
	for k := len(e.removed) - 1; k >= 0; k-- {
		last, ok := e.t.src.lastMemberBefore(e.t.root, Root(e.t.width), end)
		if !ok || last != e.removed[k] {
			break
		}
		end = uint64(last)
	}
	last, ok := e.t.src.lastMemberBefore(e.t.root, Root(e.t.width), end)
	if !ok {
		return 1
	}
	return widthFor(last)
}

// lastMemberBefore returns the rightmost leaf below n that is not blank and
// comes before end.
func (s *source) lastMemberBefore(n *node, x NodeIndex, end uint64) (mls.LeafIndex, bool) {
	first, _ := x.leaves()
	if first >= end || n.memberCount() == 0 {
		return 0, false
	}
	if x.IsLeaf() {
		return x.Leaf(), true
	}
	left, right := n.kids(x, s)
	if i, ok := s.lastMemberBefore(right, x.right(), end); ok {
		return i, true
	}
	return s.lastMemberBefore(left, x.left(), end)
}

// Done returns the tree with all changes made. It checks that keys are unique
// and that all members support all credential types in use (RFC 9420, Section
// 7.3). A tree without members is only of use to [Tree.NewExternalPath] and
// [Tree.MergeExternalPath], for the last member that resynchronizes.
func (e *Editor) Done() (*Tree, error) {
	if len(e.changes) == 0 {
		return e.t, nil
	}
	if !e.adding {
		e.beginAdding()
	}
	changes := make([]*leafChange, 0, len(e.changes))
	for _, c := range e.changes {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b *leafChange) int { return int(int64(a.leaf) - int64(b.leaf)) })

	t := e.t.with(max(e.t.width, widthFor(changes[len(changes)-1].leaf)))
	r := rebuild{forge: e.t.forge(), keptWidth: e.width}
	t.root = r.extended(e.t, t.width, changes)
	t.truncate()
	if err := t.Err(); err != nil {
		return nil, err
	}
	keys := newKeys{tree: t}
	var set []mls.LeafIndex
	for _, c := range changes {
		if c.raw != "" {
			keys.leaf(c.leaf, c.raw)
			set = append(set, c.leaf)
		}
	}
	if err := t.sure(keys.install(e.t)); err != nil {
		return nil, err
	}
	if err := t.checkAgreement(set); err != nil {
		return nil, err
	}
	return t, nil
}

// truncate cuts off right halves without members.
func (t *Tree) truncate() {
	for t.width > 1 {
		x := Root(t.width)
		left, right := t.root.kids(x, t.src)
		if right.memberCount() > 0 {
			return
		}
		if right.resolutionSize() == 0 {
			t.blanks.keep(x.right(), right)
		}
		t.root, t.width = left, t.width/2
	}
}

// A rebuild makes the nodes above changed leaves anew, each once.
type rebuild struct {
	*forge
	keptWidth uint32 // the width that the removes leave
}

// extended rebuilds the tree for a width that is at least its own.
func (r *rebuild) extended(t *Tree, width uint32, changes []*leafChange) *node {
	if width == t.width {
		return r.subtree(t.root, Root(width), changes)
	}
	x := Root(width)
	k := firstFrom(changes, x)
	left := r.extended(t, width/2, changes[:k])
	// The new half is worth keeping whole, for the next time, unless most of
	// it is filled at once.
	var right *node
	if half := x.right(); len(changes)-k < int(half.capacity()/16) {
		right = r.blankHalf(half)
	}
	return r.parent(x, "", left, r.subtree(right, x.right(), changes[k:]))
}

// firstFrom returns how many of the changes are left of parent x.
func firstFrom(changes []*leafChange, x NodeIndex) int {
	k, _ := slices.BinarySearchFunc(changes, x, func(c *leafChange, x NodeIndex) int {
		if LeafNodeIndex(c.leaf) < x {
			return -1
		}
		return 1
	})
	return k
}

// subtree rebuilds the subtree n at x. A nil n stands for blanks at any level.
func (r *rebuild) subtree(n *node, x NodeIndex, changes []*leafChange) *node {
	if len(changes) == 0 {
		if n == nil {
			return r.blank(x)
		}
		return n
	}
	raw := n.raw(r.nh)
	if x.IsLeaf() {
		return r.changedLeaf(x, changes[0])
	}
	left, right := n.kids(x, r.src)
	k := firstFrom(changes, x)
	left = r.subtree(left, x.left(), changes[:k])
	right = r.subtree(right, x.right(), changes[k:])
	return r.parent(x, r.changedParent(x, raw, changes), left, right)
}

func (r *rebuild) changedLeaf(x NodeIndex, c *leafChange) *node {
	if c.raw == "" {
		return nil
	}
	v := viewLeaf(c.raw)
	return r.leaf(x.Leaf(), c.raw, supportOf(&v))
}

// changedParent returns the contents of parent x above changed leaves: blank
// above an updated or a removed one, else with the new leaves unmerged (RFC
// 9420, Sections 12.1.1 to 12.1.3).
func (r *rebuild) changedParent(x NodeIndex, old string, changes []*leafChange) string {
	if old == "" {
		return ""
	}
	// What the removes cut off is gone even if adds widen the tree again.
	blank := uint32(x) >= NodeWidth(r.keptWidth)
	added := make([]mls.LeafIndex, len(changes))
	for k, c := range changes {
		blank = blank || !c.merges
		added[k] = c.leaf
	}
	if blank {
		return ""
	}
	key, parentHash, unmerged := parentFields(old)
	return encodeParent(key, parentHash, unmerged.merge(added))
}
