package treekem

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/treekem/mls"
)

// drawCommit draws a commit for the group as it is.
func drawCommit(t *rapid.T, g *testGroup) testCommit {
	leaves := slices.Sorted(maps.Keys(g.members))
	c := testCommit{sender: rapid.SampledFrom(leaves).Draw(t, "sender")}
	c.external = rapid.IntRange(0, 9).Draw(t, "external") == 0
	for _, i := range leaves {
		if i == c.sender && !c.external {
			continue
		}
		switch rapid.IntRange(0, 11).Draw(t, "fate") {
		case 0, 1:
			c.removes = append(c.removes, i)
		case 2:
			if !c.external {
				c.updates = append(c.updates, i)
			}
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "purge") == 0 {
		// Remove one end of the tree, for truncation and blank halves.
		from := rapid.SampledFrom(leaves).Draw(t, "from")
		c.updates, c.removes = nil, nil
		for _, i := range leaves {
			if i >= from && (i != c.sender || c.external) {
				c.removes = append(c.removes, i)
			}
		}
	}
	if c.external {
		c.removes = c.removes[:min(1, len(c.removes))]
		return c
	}
	c.adds = rapid.SampledFrom([]int{0, 0, 1, 1, 2, 5}).Draw(t, "adds")
	if len(g.members) > 40 {
		c.adds = 0
	}
	c.path = rapid.Bool().Draw(t, "path") || len(c.updates)+len(c.removes)+c.adds == 0
	return c
}

// apply makes the commit in the model, as literally as the RFC has it.
func (m *model) apply(t tb, c testCommit, r *testResult) {
	t.Helper()
	for _, i := range c.updates {
		m.update(i, r.updates[i])
	}
	for _, i := range c.removes {
		m.remove(i)
	}
	m.truncate()
	for k, leaf := range r.leaves {
		if i := m.add(leaf); i != r.added[k] {
			t.Fatalf("add %d goes to leaf %d, want %d", k, r.added[k], i)
		}
	}
	m.compare(t, r.before)
	if r.update == nil {
		return
	}
	if c.external {
		if x := m.blankLeaf(); x != int(2*r.sender) {
			t.Fatalf("the external committer has leaf %d, want %d", r.sender, x/2)
		}
	}
	m.checkCiphertexts(t, r)
	if err := m.setPath(r.sender, r.update); err != nil {
		t.Fatal(err)
	}
}

// checkCiphertexts counts what the path is encrypted to.
func (m *model) checkCiphertexts(t tb, r *testResult) {
	t.Helper()
	_, copath := m.filteredPath(int(2 * r.sender))
	total := 0
	for k, c := range copath {
		want := 0
		for _, x := range m.resolution(c) {
			total++
			if x%2 == 1 || !slices.Contains(r.added, mls.LeafIndex(x/2)) {
				want++
			}
		}
		if got := len(r.update.Nodes[k].EncryptedPathSecret); got != want {
			t.Fatalf("%d ciphertexts at %d, want %d", got, k, want)
		}
	}
	if !m.nodes[2*r.sender].blank() {
		if got := r.before.CommitCost(r.sender); got != total {
			t.Fatalf("commit cost %d, want %d", got, total)
		}
	}
}

// TestRandomCommits runs random commits against the model. After each, every
// kept aggregate is right, every member has exactly the keys that it should,
// and a joiner accepts the tree; in the end, no tree of an earlier epoch has
// changed.
func TestRandomCommits(t *testing.T) {
	s := suite1(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := newTestGroup(rt, s)
		leaf, _ := g.tree.Leaf(0)
		m := newModel(s, leaf)
		type version struct {
			tree    *Tree
			encoded []byte
			hash    []byte
		}
		var versions []version
		for range rapid.IntRange(1, 14).Draw(rt, "commits") {
			versions = append(versions, version{g.tree, treeBytes(rt, g.tree), g.tree.Hash()})
			c := drawCommit(rt, g)
			r := g.commit(rt, c)
			m.apply(rt, c, r)
			m.compare(rt, g.tree)
			g.check(rt)
		}
		for _, v := range versions {
			if !bytes.Equal(treeBytes(rt, v.tree), v.encoded) || !bytes.Equal(v.tree.Hash(), v.hash) {
				rt.Fatal("the tree of an earlier epoch has changed")
			}
			checkTree(rt, v.tree)
		}
	})
}

// randomEdits drives the editor alone through larger trees, beside the model.
type randomEdits struct {
	tree  *Tree
	model *model
	free  []*LeafNode // of those who are not members
}

// editPool makes the leaf nodes of a group's members, past and future.
func editPool(t *testing.T, s *mls.Suite) []*LeafNode {
	t.Helper()
	pool := make([]*LeafNode, 160)
	for i := range pool {
		kp, _ := newKeyPackage(t, s, "pool")
		pool[i] = &kp.LeafNode
	}
	return pool
}

func newRandomEdits(t *rapid.T, s *mls.Suite, pool []*LeafNode) *randomEdits {
	return &randomEdits{must[*Tree](t)(NewTree(s, pool[0])), newModel(s, pool[0]), slices.Clone(pool[1:])}
}

// batch removes one member of fate+1 and adds others, up to a number of them.
func (r *randomEdits) batch(t *rapid.T, fate, adds int) {
	t.Helper()
	e := r.tree.Edit()
	for i, l := range r.tree.Leaves() {
		if i != 0 && rapid.IntRange(0, fate).Draw(t, "remove") == 0 {
			if err := e.Remove(i); err != nil {
				t.Fatal(err)
			}
			r.model.remove(i)
			r.free = append(r.free, l)
		}
	}
	r.model.truncate()
	for range rapid.IntRange(0, min(adds, len(r.free))).Draw(t, "adds") {
		i := must[mls.LeafIndex](t)(e.Add(r.free[0]))
		if j := r.model.add(r.free[0]); i != j {
			t.Fatalf("add to leaf %d, want %d", i, j)
		}
		r.free = r.free[1:]
	}
	r.tree = must[*Tree](t)(e.Done())
	r.model.compare(t, r.tree)
}

func TestRandomEdits(t *testing.T) {
	s := suite1(t)
	pool := editPool(t, s)
	rapid.Check(t, func(rt *rapid.T) {
		r := newRandomEdits(rt, s, pool)
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			r.batch(rt, 3, 50)
			checkTree(rt, r.tree)
		}
	})
}
