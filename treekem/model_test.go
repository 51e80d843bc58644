package treekem

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// A model is a ratchet tree as RFC 9420 writes it down: the array of Appendix C
// with every rule applied literally, every hash computed from scratch.
type model struct {
	s     *mls.Suite
	nodes []modelNode
}

type modelNode struct {
	leaf   *LeafNode
	parent *ParentNode
}

func (n *modelNode) blank() bool { return n.leaf == nil && n.parent == nil }

func newModel(s *mls.Suite, leaf *LeafNode) *model {
	return &model{s, []modelNode{{leaf: leaf.Clone()}}}
}

func (m *model) clone() *model {
	c := &model{m.s, slices.Clone(m.nodes)}
	for x := range c.nodes {
		if p := c.nodes[x].parent; p != nil {
			q := *p
			q.UnmergedLeaves = slices.Clone(p.UnmergedLeaves)
			c.nodes[x].parent = &q
		}
	}
	return c
}

func modelLevel(x int) int {
	k := 0
	for x>>k&1 == 1 {
		k++
	}
	return k
}

func (m *model) root() int { return len(m.nodes) / 2 }

func modelLeft(x int) int  { return x ^ 1<<(modelLevel(x)-1) }
func modelRight(x int) int { return x ^ 3<<(modelLevel(x)-1) }

func modelParent(x int) int {
	k := modelLevel(x)
	return (x | 1<<k) ^ (x >> (k + 1) & 1 << (k + 1))
}

func modelSibling(x int) int {
	if p := modelParent(x); x > p {
		return modelLeft(p)
	} else {
		return modelRight(p)
	}
}

func (m *model) directPath(x int) []int {
	var path []int
	for x != m.root() {
		x = modelParent(x)
		path = append(path, x)
	}
	return path
}

func (m *model) below(x, above int) bool {
	return x == above || x != m.root() && slices.Contains(m.directPath(x), above)
}

func (m *model) resolution(x int) []int {
	n := &m.nodes[x]
	switch {
	case n.leaf != nil:
		return []int{x}
	case n.parent != nil:
		res := []int{x}
		for _, i := range n.parent.UnmergedLeaves {
			res = append(res, int(2*i))
		}
		return res
	case x%2 == 0:
		return nil
	default:
		return append(m.resolution(modelLeft(x)), m.resolution(modelRight(x))...)
	}
}

// filteredPath returns the filtered direct path of a leaf node, and for each
// node of it the child on the copath.
func (m *model) filteredPath(x int) (path, copath []int) {
	for x != m.root() {
		sibling := modelSibling(x)
		x = modelParent(x)
		if len(m.resolution(sibling)) > 0 {
			path, copath = append(path, x), append(copath, sibling)
		}
	}
	return path, copath
}

func (m *model) hash(x int) []byte {
	var b wire.Builder
	n := &m.nodes[x]
	if x%2 == 0 {
		b.U8(1)
		b.U32(uint32(x / 2))
		b.Optional(n.leaf != nil)
		if n.leaf != nil {
			n.leaf.Encode(&b)
		}
	} else {
		b.U8(2)
		b.Optional(n.parent != nil)
		if n.parent != nil {
			n.parent.Encode(&b)
		}
		b.Opaque(m.hash(modelLeft(x)))
		b.Opaque(m.hash(modelRight(x)))
	}
	p, _ := b.Bytes()
	return m.s.Hash(p)
}

func (m *model) parentHash(p *ParentNode, original []byte) []byte {
	var b wire.Builder
	b.Opaque(p.EncryptionKey)
	b.Opaque(p.ParentHash)
	b.Opaque(original)
	in, _ := b.Bytes()
	return m.s.Hash(in)
}

func (m *model) originalHash(p *ParentNode, sibling int) []byte {
	c := m.clone()
	for _, i := range p.UnmergedLeaves {
		c.nodes[2*i] = modelNode{}
		for x := range c.nodes {
			if q := c.nodes[x].parent; q != nil {
				q.UnmergedLeaves = slices.DeleteFunc(q.UnmergedLeaves, func(j mls.LeafIndex) bool { return i == j })
			}
		}
	}
	return c.hash(sibling)
}

// verifyParentHashes is RFC 9420, Section 7.9.2, top down.
func (m *model) verifyParentHashes() error {
	for x := range m.nodes {
		p := m.nodes[x].parent
		if p == nil {
			continue
		}
		valid := 0
		for d := range m.nodes {
			if d == x || m.nodes[d].blank() || !m.below(d, x) {
				continue
			}
			c, s := modelLeft(x), modelRight(x)
			if !m.below(d, c) {
				c, s = s, c
			}
			var field []byte
			if l := m.nodes[d].leaf; l != nil {
				field = l.ParentHash
			} else {
				field = m.nodes[d].parent.ParentHash
			}
			rest := m.resolution(c)
			k := slices.Index(rest, d)
			if k < 0 {
				continue
			}
			rest = slices.Delete(slices.Clone(rest), k, k+1)
			var unmerged []int
			for _, i := range p.UnmergedLeaves {
				if m.below(int(2*i), c) {
					unmerged = append(unmerged, int(2*i))
				}
			}
			slices.Sort(rest)
			if slices.Equal(rest, unmerged) && bytes.Equal(field, m.parentHash(p, m.originalHash(p, s))) {
				valid++
			}
		}
		if valid != 1 {
			return fmt.Errorf("node %d is parent-hash valid in %d ways", x, valid)
		}
	}
	return nil
}

func (m *model) blankAbove(x int) {
	for _, p := range m.directPath(x) {
		m.nodes[p] = modelNode{}
	}
}

func (m *model) update(i mls.LeafIndex, leaf *LeafNode) {
	m.nodes[2*i].leaf = leaf.Clone()
	m.blankAbove(int(2 * i))
}

func (m *model) remove(i mls.LeafIndex) {
	m.nodes[2*i] = modelNode{}
	m.blankAbove(int(2 * i))
}

func (m *model) truncate() {
	for len(m.nodes) > 1 {
		for x := m.root() + 1; x < len(m.nodes); x += 2 {
			if m.nodes[x].leaf != nil {
				return
			}
		}
		m.nodes = m.nodes[:m.root()]
	}
}

func (m *model) blankLeaf() int {
	for x := 0; x < len(m.nodes); x += 2 {
		if m.nodes[x].leaf == nil {
			return x
		}
	}
	n := len(m.nodes)
	m.nodes = append(m.nodes, make([]modelNode, n+1)...)
	return n + 1
}

func (m *model) add(leaf *LeafNode) mls.LeafIndex {
	x := m.blankLeaf()
	i := mls.LeafIndex(x / 2)
	for _, y := range m.directPath(x) {
		if p := m.nodes[y].parent; p != nil {
			p.UnmergedLeaves = append(p.UnmergedLeaves, i)
			slices.Sort(p.UnmergedLeaves)
		}
	}
	m.nodes[x].leaf = leaf.Clone()
	return i
}

// setPath merges an update path.
func (m *model) setPath(i mls.LeafIndex, u *UpdatePath) error {
	x := int(2 * i)
	path, copath := m.filteredPath(x)
	if len(path) != len(u.Nodes) {
		return fmt.Errorf("%d nodes for a filtered path of %d", len(u.Nodes), len(path))
	}
	m.blankAbove(x)
	var above []byte
	for k := len(path) - 1; k >= 0; k-- {
		p := &ParentNode{EncryptionKey: u.Nodes[k].EncryptionKey, ParentHash: above}
		m.nodes[path[k]].parent = p
		above = m.parentHash(p, m.hash(copath[k]))
	}
	if !bytes.Equal(above, u.LeafNode.ParentHash) {
		return errors.New("the leaf's parent hash differs")
	}
	m.nodes[x].leaf = u.LeafNode.Clone()
	return nil
}

func (m *model) bytes() []byte {
	last := len(m.nodes) - 1
	for last > 0 && m.nodes[last].blank() {
		last--
	}
	var b wire.Builder
	b.Vector(func(b *wire.Builder) {
		for x := range m.nodes[:last+1] {
			n := &m.nodes[x]
			b.Optional(!n.blank())
			if n.leaf != nil {
				b.U8(1)
				n.leaf.Encode(b)
			} else if n.parent != nil {
				b.U8(2)
				n.parent.Encode(b)
			}
		}
	})
	p, _ := b.Bytes()
	return p
}

// compare fails the test if the tree is not what the model says.
func (m *model) compare(t tb, tree *Tree) {
	t.Helper()
	if int(NodeWidth(tree.Width())) != len(m.nodes) {
		t.Fatalf("tree of width %d, the model has %d nodes", tree.Width(), len(m.nodes))
	}
	if !bytes.Equal(treeBytes(t, tree), m.bytes()) {
		t.Fatalf("the tree's encoding differs from the model's:\n%v", tree)
	}
	if !bytes.Equal(tree.Hash(), m.hash(m.root())) {
		t.Fatalf("the tree's hash differs from the model's")
	}
	members := 0
	for x := range m.nodes {
		if m.nodes[x].leaf != nil {
			members++
		}
		got := tree.Resolution(NodeIndex(x))
		want := m.resolution(x)
		if !slices.EqualFunc(got, want, func(a NodeIndex, b int) bool { return int(a) == b }) {
			t.Fatalf("resolution of node %d is %v, want %v", x, got, want)
		}
	}
	if members != tree.Members() {
		t.Fatalf("%d members, want %d", tree.Members(), members)
	}
	if err := m.verifyParentHashes(); err != nil {
		t.Fatalf("model: %v", err)
	}
}
