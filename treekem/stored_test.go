package treekem

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/treekem/mls"
)

// A treeMap is a store of one tree.
type treeMap map[string][]byte

func (m treeMap) read(name []byte) ([]byte, error) { return m[string(name)], nil }

func (m treeMap) write(t tb, c *TreeChanges) {
	t.Helper()
	last := ""
	for _, r := range c.Put {
		if len(r.Name) > MaxTreeRecordName || string(r.Name) <= last || slices.ContainsFunc(c.Delete, func(d []byte) bool { return bytes.Equal(d, r.Name) }) {
			t.Fatalf("record %x is put after %x, or deleted too", r.Name, last)
		}
		last = string(r.Name)
		m[last] = r.Value
	}
	if !slices.IsSortedFunc(c.Delete, bytes.Compare) {
		t.Fatal("what is to be deleted is not in order")
	}
	for _, name := range c.Delete {
		delete(m, string(name))
	}
}

func (m treeMap) names(yield func([]byte) bool) {
	for name := range m {
		if !yield([]byte(name)) {
			return
		}
	}
}

// stored returns the tree as it is opened from a store.
func (m treeMap) open(t tb, s *mls.Suite) *Stored {
	t.Helper()
	return must[*Stored](t)(OpenTree(s, m.read))
}

func newTreeMap(t tb, tree *Tree) (treeMap, *Stored) {
	t.Helper()
	stored, changes, err := StoreTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	m := treeMap{}
	m.write(t, changes)
	return m, stored
}

// check checks that m holds the tree, and the same pages as if all of it were
// stored at once.
func (m treeMap) check(t tb, tree *Tree) {
	t.Helper()
	opened := m.open(t, tree.suite)
	if err := opened.Check(m.names); err != nil {
		t.Fatal(err)
	}
	sameTree(t, opened.Tree(), tree)
	whole, _ := newTreeMap(t, must[*Tree](t)(ParseTree(tree.suite, treeBytes(t, tree), 0)))
	for _, of := range []treeMap{m, whole} {
		for name := range of {
			if name[0] == recordPage && !samePage(m[name], whole[name]) {
				t.Fatalf("page %x is not as if it were stored at once", name)
			}
		}
	}
}

// samePage compares pages but for their checksums, in which the seed is.
func samePage(a, b []byte) bool {
	return len(a) > storedHead && len(b) > storedHead && bytes.Equal(a[storedHead:], b[storedHead:])
}

// TestStoredCommits runs random commits on a group whose tree is stored after
// each of them, and opened again from time to time: also between the making of a
// commit and its acceptance. The members' keys fit, a joiner accepts the tree,
// and the store holds what it would hold if the tree were stored at once.
func TestStoredCommits(t *testing.T) {
	s := suite1(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := newTestGroup(rt, s)
		g.grow(rt, rapid.SampledFrom([]int{1, 3, 8, 30}).Draw(rt, "members"))
		m, stored := newTreeMap(rt, g.tree)
		m.check(rt, g.tree)
		for range rapid.IntRange(1, 10).Draw(rt, "commits") {
			if rapid.Bool().Draw(rt, "open") {
				stored = m.open(rt, s)
				g.tree = stored.Tree()
			}
			g.commit(rt, drawCommit(rt, g))
			next, changes, err := stored.Store(g.tree)
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "pending") {
				saved := must[[]byte](rt)(changes.MarshalState())
				restored := must[*TreeChanges](rt)(RestoreTreeChanges(saved))
				over := must[*Stored](rt)(OpenTree(s, restored.Over(m.read)))
				if err := over.Check(restored.Names(m.names)); err != nil {
					rt.Fatal(err)
				}
				over = must[*Stored](rt)(OpenTree(s, restored.Over(m.read)))
				if next, changes, err = m.open(rt, s).Store(over.Tree()); err != nil {
					rt.Fatal(err)
				}
				g.tree = over.Tree()
				if again := must[[]byte](rt)(changes.MarshalState()); !bytes.Equal(again, saved) {
					rt.Fatal("an opened tree comes to other changes")
				}
			}
			stored = next
			m.write(rt, changes)
			if rapid.Bool().Draw(rt, "check") {
				g.check(rt)
			}
			m.check(rt, g.tree)
		}
		g.check(rt)
	})
}

// TestStoredEdits does so with the editor alone, on larger trees.
func TestStoredEdits(t *testing.T) {
	s := suite1(t)
	pool := editPool(t, s)
	rapid.Check(t, func(rt *rapid.T) {
		r := newRandomEdits(rt, s, pool)
		m, stored := newTreeMap(rt, r.tree)
		for range rapid.IntRange(1, 8).Draw(rt, "batches") {
			if rapid.Bool().Draw(rt, "open") {
				stored = m.open(rt, s)
				r.tree = stored.Tree()
			}
			r.batch(rt, rapid.SampledFrom([]int{1, 3, 30}).Draw(rt, "fate"), 70)
			next, changes, err := stored.Store(r.tree)
			if err != nil {
				rt.Fatal(err)
			}
			stored = next
			m.write(rt, changes)
			m.check(rt, r.tree)
		}
	})
}

// TestStoredKeys finds keys that are in use in an opened tree, and those only.
func TestStoredKeys(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 32)
	m, _ := newTreeMap(t, g.tree)
	old := m.open(t, s).Tree()
	leaf, _ := old.Leaf(7)
	other, _ := old.Leaf(8)
	moved := leaf.Clone()
	moved.Source = SourceKeyPackage

	for name, edit := range map[string]func(*LeafNode){
		"encryption-key-unique": func(l *LeafNode) { l.EncryptionKey = other.EncryptionKey },
		"signature-key-unique":  func(l *LeafNode) { l.SignatureKey = other.SignatureKey },
	} {
		kp, _ := g.keyPackage(t)
		edit(&kp.LeafNode)
		e := m.open(t, s).Tree().Edit()
		if _, err := e.Add(&kp.LeafNode); err != nil {
			t.Fatal(err)
		}
		_, err := e.Done()
		wantRule(t, err, "7.3", name)
	}

	// The keys of leaf 7 move to leaf 3 in one commit, and back in another.
	stored := m.open(t, s)
	for _, step := range []struct{ from, to mls.LeafIndex }{{7, 3}, {3, 3}} {
		e := stored.Tree().Edit()
		remove := []mls.LeafIndex{step.from}
		if step.to != step.from {
			remove = append(remove, step.to)
		}
		for _, i := range remove {
			if err := e.Remove(i); err != nil {
				t.Fatal(err)
			}
		}
		if i := must[mls.LeafIndex](t)(e.Add(moved)); i != step.to {
			t.Fatalf("added to leaf %d", i)
		}
		next, changes, err := stored.Store(must[*Tree](t)(e.Done()))
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, changes)
		m.check(t, next.Tree())
		for _, tree := range []*Tree{next.Tree(), m.open(t, s).Tree()} {
			if x, ok := tree.FindEncryptionKey(leaf.EncryptionKey); !ok || x != LeafNodeIndex(step.to) {
				t.Fatalf("the encryption key is at %d, %t", x, ok)
			}
			if i, ok := tree.FindSignatureKey(leaf.SignatureKey); !ok || i != step.to {
				t.Fatalf("the signature key is at %d, %t", i, ok)
			}
		}
		stored = m.open(t, s)
	}
	e := stored.Tree().Edit()
	if err := e.Remove(3); err != nil {
		t.Fatal(err)
	}
	next, changes, err := stored.Store(must[*Tree](t)(e.Done()))
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, changes)
	m.check(t, next.Tree())
	if _, ok := m.open(t, s).Tree().FindSignatureKey(leaf.SignatureKey); ok {
		t.Fatal("a removed key is found")
	}
	// The old tree still has it, in memory or not.
	if i, ok := old.FindSignatureKey(leaf.SignatureKey); !ok || i != 7 {
		t.Fatalf("in the tree of before the key is at %d, %t", i, ok)
	}
}

// TestStoredTables: the tables of an opened tree have the keys that came since,
// and get rid of those that went, without reading the rest.
func TestStoredTables(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 32)
	m, _ := newTreeMap(t, g.tree)
	reads := 0
	stored := must[*Stored](t)(OpenTree(s, func(name []byte) ([]byte, error) {
		if name[0] == recordPage {
			reads++
		}
		return m.read(name)
	}))
	g.tree = stored.Tree()
	tmpl, _ := g.tree.Leaf(4)
	for k := range 400 {
		path := must[*Path](t)(g.tree.NewPath(4, tmpl, g.members[4].signer, testGroupID))
		g.tree = path.Tree()
		if n := g.tree.enc.len(); n > 6*g.tree.Members() {
			t.Fatalf("a table of %d entries", n)
		}
		if k < 200 {
			continue // commits of which none is stored, then commits that all are
		}
		next, changes, err := stored.Store(g.tree)
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, changes)
		stored = next
	}
	if reads > 4 {
		t.Errorf("%d pages were read", reads)
	}
	checkTree(t, g.tree)
	for x := range NodeIndex(NodeWidth(32)) {
		key, _ := g.tree.EncryptionKey(x)
		if y, ok := g.tree.FindEncryptionKey(key); !ok || x != y {
			t.Errorf("the key of node %d is found at %d, %t", x, y, ok)
		}
	}
}

// TestOldTreeKeepsItsKeys: a tree from before what was stored last still has its
// keys, also those whose record in the index has gone since.
func TestOldTreeKeepsItsKeys(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 16)
	m, stored := newTreeMap(t, g.tree)
	step := func(f func(e *Editor)) {
		t.Helper()
		e := stored.Tree().Edit()
		f(e)
		next, changes, err := stored.Store(must[*Tree](t)(e.Done()))
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, changes)
		stored = next
	}
	kp, _ := g.keyPackage(t)
	var at mls.LeafIndex
	step(func(e *Editor) { at = must[mls.LeafIndex](t)(e.Add(&kp.LeafNode)) }) // a record of its own
	stored = m.open(t, s)
	old := stored.Tree()
	step(func(e *Editor) {
		if err := e.Remove(at); err != nil {
			t.Fatal(err)
		}
	})
	if i, ok := old.FindLeaf(&kp.LeafNode); !ok || i != at {
		t.Errorf("the tree of before finds its leaf %d at %d, %v", at, i, ok)
	}
	e := old.Edit()
	if _, err := e.Add(kp.LeafNode.Clone()); err != nil {
		t.Fatal(err)
	}
	_, err := e.Done()
	wantRule(t, err, "7.3", "encryption-key-unique")
	if _, ok := stored.Tree().FindSignatureKey(kp.LeafNode.SignatureKey); ok {
		t.Error("the new tree finds a key that has gone")
	}
}
