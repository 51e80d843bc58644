package treekem

import (
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// TestCheckAggregatesFindsStaleValues damages each thing that a tree keeps.
func TestCheckAggregatesFindsStaleValues(t *testing.T) {
	s := suite1(t)
	g := lopsided(t, s)
	e := g.tree.Edit()
	for range 30 {
		kp, _ := g.keyPackage(t)
		if _, err := e.Add(&kp.LeafNode); err != nil {
			t.Fatal(err)
		}
	}
	tree := must[*Tree](t)(e.Done())
	checkTree(t, tree)

	// damaged returns a copy of the tree with a copy of its node x damaged.
	damaged := func(x NodeIndex, f func(n *node)) *Tree {
		c := *tree
		var copyPath func(n *node, y NodeIndex) *node
		copyPath = func(n *node, y NodeIndex) *node {
			m := &node{data: n.data, support: n.support, members: n.members, resolution: n.resolution}
			left, right := n.left.Load(), n.right.Load()
			m.left.Store(left)
			m.right.Store(right)
			switch {
			case x == y:
				f(m)
			case x < y:
				m.left.Store(copyPath(left, y.left()))
			default:
				m.right.Store(copyPath(right, y.right()))
			}
			return m
		}
		c.root = copyPath(tree.root, Root(tree.width))
		return &c
	}
	other, _, _ := builtGroup(t, s, 2)
	for name, bad := range map[string]*Tree{
		"tree hash of parent 7": damaged(7, func(n *node) { n.data = strings.Repeat("x", 32) + n.data[32:] }),
		"tree hash of leaf 0":   damaged(0, func(n *node) { n.data = strings.Repeat("x", 32) + n.data[32:] }),
		"members":               damaged(31, func(n *node) { n.members++ }),
		"resolution":            damaged(31, func(n *node) { n.resolution++ }),
		"support":               damaged(31, func(n *node) { n.support = Support{} }),
		"support of a leaf":     damaged(2, func(n *node) { n.support = Support{} }),
		"blank leaf":            damaged(4, func(n *node) { n.data = n.data[:32] }),
		"a subtree is nil":      damaged(63, func(n *node) { n.right.Store(nil) }),
		"width":                 func() *Tree { c := *tree; c.width = 63; return &c }(),
		"not truncated":         widened(tree),
		"encryption key index":  func() *Tree { c := *tree; c.enc = newKeyTable(nil); return &c }(),
		"signature key index":   func() *Tree { c := *tree; c.sig = c.enc; return &c }(),
		"index of another tree": func() *Tree { c := *tree; c.sig = other.sig; return &c }(),
		"a kept half not blank": func() *Tree { c := *tree; c.blanks = new(blankHalves); c.blanks[5].Store(c.root); return &c }(),
	} {
		if err := bad.CheckAggregates(); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
	checkTree(t, tree)
}

// widened returns the tree with a blank right half.
func widened(tree *Tree) *Tree {
	c := *tree
	c.width *= 2
	f := c.forge()
	c.root = f.parent(Root(c.width), "", tree.root, f.blank(Root(c.width).right()))
	return &c
}

// TestCredential reads credentials of both types.
func TestCredential(t *testing.T) {
	g := full(t, suite1(t), 4)
	checkTree(t, g.tree)
	leaf, _ := g.tree.Leaf(2)
	leaf.Credential = X509Credential([][]byte{[]byte("one"), []byte("another")})
	raw := string(must[[]byte](t)(wire.Marshal(leaf)))
	if got := viewLeaf(raw).credential; got != string(must[[]byte](t)(wire.Marshal(&leaf.Credential))) {
		t.Errorf("the credential in the leaf is %x", got)
	}
}

func TestFindLeaf(t *testing.T) {
	g := full(t, suite1(t), 4)
	for i, l := range g.tree.Leaves() {
		if j, ok := g.tree.FindLeaf(l); !ok || i != j {
			t.Errorf("leaf %d is found at %d, %v", i, j, ok)
		}
		l.Extensions = []mls.Extension{{Type: mls.ExtensionApplicationID}}
		if _, ok := g.tree.FindLeaf(l); ok {
			t.Errorf("leaf %d is found with other contents", i)
		}
	}
	kp, _ := g.keyPackage(t)
	if _, ok := g.tree.FindLeaf(&kp.LeafNode); ok {
		t.Error("a stranger is found")
	}
	if g.tree.Suite() != g.s {
		t.Error("the suite is another")
	}
	for x, l := range g.tree.Leaves() {
		_ = l
		if x == 1 {
			break // the sequence stops when it is told to
		}
	}
}

func TestOutsideTheTree(t *testing.T) {
	tree := full(t, suite1(t), 4).tree
	if _, ok := tree.Leaf(4); ok || tree.Has(1<<31) {
		t.Error("a leaf outside the tree")
	}
	if _, ok := tree.SignatureKey(4); ok {
		t.Error("a signature key outside the tree")
	}
	if _, ok := tree.Credential(4); ok {
		t.Error("a credential outside the tree")
	}
	if _, ok := tree.EncryptionKey(7); ok || !tree.IsBlank(7) || tree.NodeHash(7) != nil {
		t.Error("a node outside the tree")
	}
	if _, ok := tree.Parent(2); ok {
		t.Error("a leaf is a parent")
	}
	if tree.DirectPath(4) != nil || tree.FilteredDirectPath(4) != nil || len(tree.Resolution(9)) != 0 {
		t.Error("a path outside the tree")
	}
	for _, x := range []NodeIndex{7, 1 << 31} {
		if _, ok := x.Parent(4); ok {
			t.Errorf("node %d has a parent", x)
		}
		if _, ok := x.Sibling(4); ok {
			t.Errorf("node %d has a sibling", x)
		}
	}
	if NodeWidth(0) != 0 || Root(0) != 0 || Root(MaxWidth) != MaxWidth-1 {
		t.Error("trees at the limits of tree math")
	}
}

// TestAddedLeavesInAnyOrder: the list of added leaves is a set.
func TestAddedLeavesInAnyOrder(t *testing.T) {
	g := full(t, suite1(t), 4)
	r := g.commit(t, testCommit{sender: 1, adds: 3, path: true})
	added := []mls.LeafIndex{r.added[2], r.added[0], r.added[1]}
	if _, err := r.before.MergePath(1, r.update, testGroupID, added); err != nil {
		t.Error(err)
	}
	_, err := r.before.MergePath(1, r.update, testGroupID, added[:2])
	wantRule(t, err, "7.6", "path-ciphertexts")
	sealed := must[*UpdatePath](t)(r.path.Seal(r.context, added))
	for k := range sealed.Nodes {
		if len(sealed.Nodes[k].EncryptedPathSecret) != len(r.update.Nodes[k].EncryptedPathSecret) {
			t.Errorf("node %d is sealed to another number of nodes", k)
		}
	}
}
