package treekem

import (
	"errors"
	"slices"
	"testing"

	"github.com/treekem/mls"
)

func TestEditorRules(t *testing.T) {
	s := suite1(t)
	g := lopsided(t, s)
	edit := func(f func(e *Editor) error) error {
		t.Helper()
		before := treeBytes(t, g.tree)
		e := g.tree.Edit()
		err := f(e)
		if err == nil {
			_, err = e.Done()
		}
		if !slices.Equal(treeBytes(t, g.tree), before) {
			t.Error("an edit has changed the tree that it began from")
		}
		return err
	}
	update := func(i mls.LeafIndex, f func(l *LeafNode)) error {
		return edit(func(e *Editor) error {
			l, _ := g.updateLeaf(t, i)
			f(l)
			return e.Update(i, l)
		})
	}
	add := func(f func(l *LeafNode)) error {
		return edit(func(e *Editor) error {
			kp, _ := newKeyPackage(t, s, "new")
			f(&kp.LeafNode)
			_, err := e.Add(&kp.LeafNode)
			return err
		})
	}
	leaf := func(i mls.LeafIndex) *LeafNode { l, _ := g.tree.Leaf(i); return l }

	if err := update(1, func(*LeafNode) {}); err != nil {
		t.Errorf("a good update: %v", err)
	}
	wantRule(t, edit(func(e *Editor) error {
		l, _ := g.updateLeaf(t, 0)
		return e.Update(6, l)
	}), "12.1.2", "update-blank-leaf")
	wantRule(t, update(1, func(l *LeafNode) { l.Source = SourceCommit }), "7.3", "update-source")
	wantRule(t, update(1, func(l *LeafNode) { l.EncryptionKey = leaf(1).EncryptionKey }), "7.3", "update-same-key")
	wantRule(t, edit(func(e *Editor) error { return e.Remove(6) }), "12.1.3", "remove-blank-leaf")
	wantRule(t, edit(func(e *Editor) error { return e.Remove(8) }), "12.1.3", "remove-blank-leaf")
	wantRule(t, edit(func(e *Editor) error { return e.Remove(1 << 31) }), "12.1.3", "remove-blank-leaf")
	wantRule(t, edit(func(e *Editor) error { return errors.Join(e.Remove(1), e.Remove(1)) }), "12.2", "leaf-changed-twice")
	wantRule(t, add(func(l *LeafNode) { l.Source = SourceUpdate }), "7.3", "key-package-source")

	root, _ := g.tree.Parent(7)
	wantRule(t, add(func(l *LeafNode) { l.EncryptionKey = leaf(4).EncryptionKey }), "7.3", "encryption-key-unique")
	wantRule(t, add(func(l *LeafNode) { l.EncryptionKey = root.EncryptionKey }), "12.4.3.1", "parent-key-unique")
	r := wantRule(t, add(func(l *LeafNode) { l.SignatureKey = leaf(0).SignatureKey }), "7.3", "signature-key-unique")
	if *r.Culprit.Leaf != 6 || r.Culprit.Identity != "new" {
		t.Errorf("culprit %v, want the new leaf", r.Culprit)
	}
	wantRule(t, update(1, func(l *LeafNode) { l.EncryptionKey = leaf(4).EncryptionKey }), "7.3", "encryption-key-unique")
	wantRule(t, add(func(l *LeafNode) {
		l.Capabilities.Credentials = []mls.CredentialType{mls.CredentialX509}
	}), "7.3", "credentials-in-use")
}

// TestCredentialTypeUnsupported: a new leaf uses a type that an old one does not
// support.
func TestCredentialTypeUnsupported(t *testing.T) {
	s := suite1(t)
	kp, _ := newKeyPackage(t, s, "old", func(o *KeyPackageOptions) {
		caps := DefaultCapabilities()
		caps.Credentials = []mls.CredentialType{mls.CredentialBasic}
		o.Capabilities = &caps
	})
	tree := must[*Tree](t)(NewTree(s, &kp.LeafNode))
	signer := newSigner(t, s)
	der := newCA(t, "root", nil).issue(t, certTemplate("new", false), keyInfo(t, s, signer.Public()))
	x, _ := newKeyPackage(t, s, "", func(o *KeyPackageOptions) {
		o.Signer = signer
		o.Credential = X509Credential([][]byte{der})
	})
	e := tree.Edit()
	if _, err := e.Add(&x.LeafNode); err != nil {
		t.Fatal(err)
	}
	_, err := e.Done()
	r := wantRule(t, err, "7.3", "credential-type-unsupported")
	if *r.Culprit.Leaf != 1 || r.Culprit.Identity != "CN=new" {
		t.Errorf("culprit %v", r.Culprit)
	}
	bad := kp.LeafNode.Clone()
	bad.Capabilities.Credentials = nil
	_, err = NewTree(s, bad)
	wantRule(t, err, "7.3", "credentials-in-use")
}

func TestTwoNewLeavesWithOneKey(t *testing.T) {
	s := suite1(t)
	g := newTestGroup(t, s)
	kp, _ := newKeyPackage(t, s, "A")
	other, _ := newKeyPackage(t, s, "B")
	for _, c := range []struct {
		rule string
		edit func(l *LeafNode)
	}{
		{"encryption-key-unique", func(l *LeafNode) { l.EncryptionKey = kp.LeafNode.EncryptionKey }},
		{"signature-key-unique", func(l *LeafNode) { l.SignatureKey = kp.LeafNode.SignatureKey }},
	} {
		e := g.tree.Edit()
		if _, err := e.Add(&kp.LeafNode); err != nil {
			t.Fatal(err)
		}
		l := other.LeafNode.Clone()
		c.edit(l)
		if _, err := e.Add(l); err != nil {
			t.Fatal(err)
		}
		_, err := e.Done()
		if c.rule == "encryption-key-unique" {
			wantRule(t, err, "7.3", "encryption-key-unique")
		} else {
			wantRule(t, err, "7.3", "signature-key-unique")
		}
	}
}

// TestReAdd: a client may be removed and added again in one commit, with the
// signature key that it had.
func TestReAdd(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 4)
	l, _ := g.tree.Leaf(2)
	again, _ := newKeyPackage(t, s, "again", func(o *KeyPackageOptions) { o.Signer = g.members[2].signer })
	e := g.tree.Edit()
	if err := e.Remove(2); err != nil {
		t.Fatal(err)
	}
	i := must[mls.LeafIndex](t)(e.Add(&again.LeafNode))
	tree := must[*Tree](t)(e.Done())
	if j, ok := tree.FindSignatureKey(l.SignatureKey); i != 2 || !ok || j != 2 {
		t.Errorf("added at %d, found at %d %v", i, j, ok)
	}
	checkTree(t, tree)
	for _, x := range []NodeIndex{3, 5} {
		if !tree.IsBlank(x) {
			t.Errorf("node %d above a removed leaf is not blank", x)
		}
	}
}

func TestEditOrder(t *testing.T) {
	g := full(t, suite1(t), 2)
	kp, _ := g.keyPackage(t)
	e := g.tree.Edit()
	if _, err := e.Add(&kp.LeafNode); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(1); !errors.Is(err, errEditOrder) {
		t.Errorf("a remove after an add: %v", err)
	}
	if same := must[*Tree](t)(g.tree.Edit().Done()); same != g.tree {
		t.Error("an empty edit makes a new tree")
	}
}

// TestTruncatedRootsAreGone: what the removes cut off is blank when adds extend
// the tree again, even in a tree whose root no honest member can have set.
func TestTruncatedRootsAreGone(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 4)
	m := modelOf(g.tree)
	m.nodes[4], m.nodes[5], m.nodes[6] = modelNode{}, modelNode{}, modelNode{} // under a root that stays
	kp, _ := g.keyPackage(t)
	m.nodes = append(m.nodes, make([]modelNode, 8)...)
	m.nodes[14].leaf = &kp.LeafNode
	tree := must[*Tree](t)(ParseTree(s, m.bytes(), 0))
	e := tree.Edit()
	if err := e.Remove(7); err != nil {
		t.Fatal(err)
	}
	m.remove(7)
	m.truncate()
	for range 2 {
		kp, _ := g.keyPackage(t)
		i := must[mls.LeafIndex](t)(e.Add(&kp.LeafNode))
		if j := m.add(&kp.LeafNode); i != j {
			t.Errorf("added at %d, want %d", i, j)
		}
	}
	after := must[*Tree](t)(e.Done())
	if !after.IsBlank(3) {
		t.Error("a root that was cut off is back")
	}
	if !slices.Equal(treeBytes(t, after), m.bytes()) {
		t.Errorf("the tree differs from the model:\n%v", after)
	}
	checkTree(t, after)
}

// TestLongChurn: after hundreds of adds and removes with and without paths, a
// joiner still accepts the tree.
func TestLongChurn(t *testing.T) {
	s := suite1(t)
	g := newTestGroup(t, s)
	for round := range 60 {
		c := testCommit{sender: mls.LeafIndex(0), path: round%3 != 0}
		for i := range g.members {
			if i != 0 && int(i*7+mls.LeafIndex(round)*5)%11 == 0 {
				c.removes = append(c.removes, i)
			}
		}
		slices.Sort(c.removes)
		c.adds = []int{3, 0, 1, 5, 0, 2}[round%6]
		if len(g.members) > 30 {
			c.removes = nil
			for i := range g.members {
				if i > 3 {
					c.removes = append(c.removes, i)
				}
			}
		}
		if len(c.removes) > 0 {
			c.path = true
		}
		for i := range g.members {
			if i > c.sender && !slices.Contains(c.removes, i) && round%2 == 1 {
				c.sender = i
			}
		}
		if len(c.removes)+c.adds == 0 {
			c.path = true
		}
		g.commit(t, c)
		g.check(t)
	}
}

// TestResync: the last member of a group replaces itself by an external commit.
func TestResync(t *testing.T) {
	g := newTestGroup(t, suite1(t))
	r := g.commit(t, testCommit{external: true, removes: []mls.LeafIndex{0}})
	if r.sender != 0 || g.tree.Members() != 1 || r.before.Members() != 0 {
		t.Errorf("leaf %d, %d members", r.sender, g.tree.Members())
	}
	g.check(t)
	if got := r.before.FilteredDirectPath(0); len(got) != 0 {
		t.Errorf("filtered direct path in an empty tree: %v", got)
	}
}
