package treekem

import (
	"bytes"
	"fmt"
)

// CheckAggregates computes everything that the tree keeps beside its contents
// anew, and returns an error if anything differs. It is for tests, and for
// looking for damage: it reads all of a stored tree and costs O(n log n).
func (t *Tree) CheckAggregates() error {
	c, err := t.checkNodes()
	if err != nil {
		return err
	}
	if err := t.checkTable("encryption", encryptionKeys, c.enc); err != nil {
		return t.sure(err)
	}
	return t.sure(t.checkTable("signature", signatureKeys, c.sig))
}

// checkNodes is CheckAggregates without the tables of keys. The keys that it has
// seen are in what it returns.
func (t *Tree) checkNodes() (*checker, error) {
	c := &checker{forge: t.forge(), nh: t.suite.HashSize(), enc: map[NodeIndex]string{}, sig: map[NodeIndex]string{}}
	if t.width == 0 || t.width&(t.width-1) != 0 {
		return nil, fmt.Errorf("treekem: width %d is no power of two", t.width)
	}
	if _, right := t.root.kids(Root(t.width), t.src); t.width > 1 && right.memberCount() == 0 {
		return nil, t.sure(fmt.Errorf("treekem: a tree of width %d has no member in its right half", t.width))
	}
	_, err := c.subtree(t.root, Root(t.width))
	if err := t.sure(err); err != nil {
		return nil, err
	}
	for level := range t.blanks {
		if n := t.blanks[level].Load(); n != nil {
			half := Root(2 << level).right()
			if n.resolution != 0 || n.members != 0 || n.data != string(c.forge.appendBlankHash(nil, half)) {
				return nil, fmt.Errorf("treekem: the kept half of level %d is not blank", level)
			}
		}
	}
	return c, nil
}

type checker struct {
	forge    *forge
	nh       int
	enc, sig map[NodeIndex]string
}

// A summary is what a subtree amounts to, computed from its leaves.
type summary struct {
	hash       []byte
	support    Support
	members    int
	resolution int
}

func (c *checker) subtree(n *node, x NodeIndex) (summary, error) {
	if n == nil {
		if x.Level() > smallBlank {
			return summary{}, fmt.Errorf("treekem: node %d of level %d is nil", x, x.Level())
		}
		return summary{hash: c.forge.appendBlankHash(nil, x)}, nil
	}
	if x.IsLeaf() {
		return c.leaf(n, x)
	}
	below, beside := n.kids(x, c.forge.src)
	left, err := c.subtree(below, x.left())
	if err != nil {
		return summary{}, err
	}
	right, err := c.subtree(beside, x.right())
	if err != nil {
		return summary{}, err
	}
	raw := n.raw(c.nh)
	s := summary{
		support: combine(left.support, right.support),
		members: left.members + right.members, resolution: left.resolution + right.resolution,
	}
	var in bytes.Buffer
	in.WriteByte(nodeTypeParent)
	if raw == "" {
		in.WriteByte(0)
	} else {
		s.resolution = 1 + unmergedIn(raw).len()
		c.enc[x] = encryptionKeyIn(raw)
		in.WriteByte(1)
		in.WriteString(raw)
	}
	in.Write(c.forge.appendHashPrefix(nil))
	in.Write(left.hash)
	in.Write(c.forge.appendHashPrefix(nil))
	in.Write(right.hash)
	s.hash = c.forge.suite.Hash(in.Bytes())
	return s, c.compare(n, x, s)
}

func (c *checker) leaf(n *node, x NodeIndex) (summary, error) {
	raw := n.raw(c.nh)
	if raw == "" {
		return summary{}, fmt.Errorf("treekem: blank leaf %d is a node", x.Leaf())
	}
	v := viewLeaf(raw)
	c.enc[x], c.sig[x] = v.encryptionKey, v.signatureKey
	i := x.Leaf()
	head := []byte{nodeTypeLeaf, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i), 1}
	s := summary{support: supportOf(&v), members: 1, resolution: 1, hash: c.forge.suite.Hash(head, []byte(raw))}
	return s, c.compare(n, x, s)
}

func (c *checker) compare(n *node, x NodeIndex, s summary) error {
	switch {
	case n.data[:c.nh] != string(s.hash):
		return fmt.Errorf("treekem: node %d keeps a wrong tree hash", x)
	case int(n.members) != s.members:
		return fmt.Errorf("treekem: node %d keeps %d members, not %d", x, n.members, s.members)
	case int(n.resolution) != s.resolution:
		return fmt.Errorf("treekem: node %d keeps a resolution of %d, not %d", x, n.resolution, s.resolution)
	case n.support != s.support:
		return fmt.Errorf("treekem: node %d keeps wrong support", x)
	}
	return nil
}

// checkTable looks the keys of the tree up.
func (t *Tree) checkTable(name string, kind keyKind, keys map[NodeIndex]string) error {
	for x, key := range keys {
		if _, ok := t.findKey(kind, key, func(y NodeIndex) bool { return y == x }); !ok {
			return fmt.Errorf("treekem: the table of %s keys lacks node %d", name, x)
		}
	}
	return nil
}
