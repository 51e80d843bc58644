package treekem

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
	"pgregory.net/rapid"
)

// TestKeyTable adds entries in batches and looks each of them up.
func TestKeyTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few fingerprints, to have equal ones and full neighbourhoods; the
		// greatest ones, to go round the end.
		fp := rapid.OneOf(rapid.Uint32Range(1, 4), rapid.Uint32Range(1<<32-4, 1<<32-1), rapid.Uint32Min(1))
		entry := rapid.Custom(func(t *rapid.T) indexEntry {
			return newEntry(fp.Draw(t, "fingerprint"), NodeIndex(rapid.Uint32Range(0, 9).Draw(t, "node")))
		})
		batches := rapid.SliceOfN(rapid.SliceOfN(entry, 0, 60), 1, 8).Draw(t, "batches")
		k := newKeyTable(nil)
		want := map[uint32][]NodeIndex{}
		count := 0
		for _, b := range batches {
			k.add(b)
			for _, e := range b {
				if nodes := want[e.fingerprint()]; !slices.Contains(nodes, e.node()) {
					want[e.fingerprint()] = append(nodes, e.node())
					count++
				}
			}
		}
		if k.len() != count || 5*count > 4*len(k.slots) {
			t.Fatalf("%d entries in %d slots, want %d", k.len(), len(k.slots), count)
		}
		for fp, nodes := range want {
			slices.Sort(nodes)
			if got := slices.Sorted(slices.Values(k.candidates(nil, fp))); !slices.Equal(got, nodes) {
				t.Fatalf("fingerprint %d is at %v, want %v", fp, got, nodes)
			}
		}
		if got := k.candidates(nil, 77); len(want[77]) == 0 && len(got) != 0 {
			t.Fatalf("a fingerprint that is not there is at %v", got)
		}
	})
}

// TestTablesAreShared: the trees that come from one have its tables, until too
// much in them is stale, and each finds its own keys and no others.
func TestTablesAreShared(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 8)
	first := g.tree
	trees, shared := []*Tree{first}, 0
	for i := range 60 {
		p := must[*Path](t)(g.newPath(0))
		if i%3 == 0 { // staged and dropped
			continue
		}
		if p.Tree().enc == g.tree.enc {
			shared++
		}
		g.tree = p.Tree()
		trees = append(trees, g.tree)
	}
	if shared < 20 || shared == 40 {
		t.Errorf("%d of 40 trees have the tables of those they come from", shared)
	}
	if slots := len(g.tree.enc.slots); slots > 200 {
		t.Errorf("a table of %d slots for 15 keys", slots)
	}
	for k, tree := range trees {
		checkTree(t, tree)
		if k == 0 {
			continue
		}
		key, _ := tree.EncryptionKey(Root(8))
		if _, ok := trees[k-1].FindEncryptionKey(key); ok {
			t.Fatal("a tree has the root key of the next")
		}
	}
}

// TestTableOfManyStagers: trees are made from one by several goroutines at once.
func TestTableOfManyStagers(t *testing.T) {
	g := full(t, suite1(t), 8)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				p, err := g.newPath(mls.LeafIndex(i))
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.Tree().CheckAggregates(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	checkTree(t, g.tree)
}

// TestIndexHitIsVerified: an equal fingerprint alone finds nothing.
func TestIndexHitIsVerified(t *testing.T) {
	g := full(t, suite1(t), 4)
	key, _ := g.tree.EncryptionKey(3)
	other := slices.Clone(key)
	other[0] ^= 1
	g.tree.enc.add([]indexEntry{newEntry(fingerprint(string(other)), 3)})
	if x, ok := g.tree.FindEncryptionKey(other); ok {
		t.Errorf("a key that is nowhere is found at %d", x)
	}
	if x, ok := g.tree.FindEncryptionKey(key); !ok || x != 3 {
		t.Errorf("the root's key is found at %d, %v", x, ok)
	}
}

// TestTableCost: a commit's worth of new keys costs nothing in a large table.
func TestTableCost(t *testing.T) {
	for _, n := range []int{1 << 10, 1 << 18} {
		entries := make([]indexEntry, n)
		for i := range entries {
			entries[i] = newEntry(fingerprint(fmt.Sprint(i)), NodeIndex(i))
		}
		k := newKeyTable(entries)
		more := make([]indexEntry, 20)
		commit := func() {
			for i := range more {
				more[i] = newEntry(^entries[0].fingerprint()|1, NodeIndex(k.len()+i))
			}
			k.add(more)
		}
		if bytes := testkit.AllocatedBy(0, commit); bytes > 0 {
			t.Errorf("20 new keys allocate %d bytes in a table of %d", bytes, n)
		}
	}
}

// newPath makes a path for the member at leaf i, who stays as it is.
func (g *testGroup) newPath(i mls.LeafIndex) (*Path, error) {
	leaf, _ := g.tree.Leaf(i)
	return g.tree.NewPath(i, leaf, g.members[i].signer, testGroupID)
}

// TestManyEqualKeys: equal keys are found before they are in a table, where they
// would make one long row. The sizes are such that a row would be noticed.
func TestManyEqualKeys(t *testing.T) {
	const n = 80_000
	leaf := must[[]byte](t)((&LeafNode{Source: SourceUpdate, Credential: BasicCredential(nil)}).Bytes())
	var b wire.Builder
	b.Vector(func(b *wire.Builder) {
		for i := range n {
			if i > 0 {
				b.Optional(false)
			}
			b.Optional(true)
			b.U8(nodeTypeLeaf)
			b.Raw(leaf)
		}
	})
	_, err := ParseTree(suite1(t), must[[]byte](t)(b.Bytes()), 0)
	wantRule(t, err, "7.3", "encryption-key-unique")

	g := full(t, suite1(t), 2)
	kp, _ := g.keyPackage(t)
	e := g.tree.Edit()
	for i := range n / 2 {
		l := kp.LeafNode.Clone()
		l.SignatureKey = fmt.Appendf(nil, "%032d", i)
		_ = must[mls.LeafIndex](t)(e.Add(l))
	}
	before := g.tree.enc.len()
	_, err = e.Done()
	rule := wantRule(t, err, "7.3", "encryption-key-unique")
	if rule.Culprit == nil || *rule.Culprit.Leaf != 3 {
		t.Errorf("culprit %v, want the second one that was added", rule.Culprit)
	}
	if after := g.tree.enc.len(); after != before {
		t.Errorf("a commit that fails leaves %d entries in the table", after-before)
	}
}
