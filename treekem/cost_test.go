package treekem

import (
	"runtime"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
)

// TestMemoryPerMember: a full tree keeps at most 700 bytes for each member with
// an identity of 16 bytes.
func TestMemoryPerMember(t *testing.T) {
	const n = 1 << 12
	s := suite1(t)
	built, keys, members := builtGroup(t, s, n)
	p := treeBytes(t, built)
	before := liveHeap()
	tree := must[*Tree](t)(ParseTree(s, p, 0))
	perMember := float64(liveHeap()-before) / n
	t.Logf("%.1f bytes for each member", perMember)
	if perMember > 700 {
		t.Errorf("%.1f bytes for each member, want at most 700", perMember)
	}
	runtime.KeepAlive(tree)
	runtime.KeepAlive(p) // what is freed meanwhile would be counted
	runtime.KeepAlive(built)
	runtime.KeepAlive(keys)
	runtime.KeepAlive(members)
}

// TestCommitAllocation: what processing a commit allocates, and so what the next
// epoch costs to keep beside this one, grows with log n.
func TestCommitAllocation(t *testing.T) {
	s := suite1(t)
	allocated := func(n int) (process, edit uint64) {
		tree, keys, members := builtGroup(t, s, n)
		leaf, _ := tree.Leaf(0)
		path := must[*Path](t)(tree.NewPath(0, leaf, members[0].Signer, testGroupID))
		u := must[*UpdatePath](t)(path.Seal(nil, nil))
		p := keys.Private(mls.LeafIndex(n - 1))
		kp, _ := newKeyPackage(t, s, "new")
		process = testkit.AllocatedBy(0, func() {
			after := must[*Tree](t)(tree.MergePath(0, u, testGroupID, nil))
			if _, _, err := p.Open(after, 0, u, nil, nil); err != nil {
				t.Fatal(err)
			}
		})
		edit = testkit.AllocatedBy(0, func() {
			e := tree.Edit()
			if err := e.Remove(mls.LeafIndex(n / 3)); err != nil {
				t.Fatal(err)
			}
			must[mls.LeafIndex](t)(e.Add(&kp.LeafNode))
			must[*Tree](t)(e.Done())
		})
		return process, edit
	}
	process64, edit64 := allocated(1 << 6)
	process4096, edit4096 := allocated(1 << 12)
	t.Logf("64 members: %d bytes to process, %d to replace a member; 4096: %d and %d", process64, edit64, process4096, edit4096)
	// log2 n has doubled; the index is shallow in a small tree.
	if process4096 > 3*process64 || edit4096 > 3*edit64 {
		t.Errorf("from 64 to 4096 members: %d to %d bytes to process, %d to %d to replace", process64, process4096, edit64, edit4096)
	}
}

// TestMergeAllocations: a level of the path takes a node and its data, and
// nothing else that is small. In a heap of a million members each piece of memory
// is a cold one.
func TestMergeAllocations(t *testing.T) {
	testkit.CountsAllocations(t)
	s := suite1(t)
	allocations := func(n int) float64 {
		tree, _, members := builtGroup(t, s, n)
		leaf, _ := tree.Leaf(0)
		path := must[*Path](t)(tree.NewPath(0, leaf, members[0].Signer, testGroupID))
		u := must[*UpdatePath](t)(path.Seal(nil, nil))
		return testing.AllocsPerRun(20, func() { must[*Tree](t)(tree.MergePath(0, u, testGroupID, nil)) })
	}
	const levels = 6
	small, large := allocations(1<<6), allocations(1<<(6+levels))
	t.Logf("%.0f allocations in a tree of 64, %.0f in one of 4096", small, large)
	if large-small > 2*levels {
		t.Errorf("%.0f allocations for %d more levels, want at most two each", large-small, levels)
	}
}

// liveHeap returns how many bytes are live. One collection is not enough:
// interned values and keys with cleanups take several to go.
func liveHeap() uint64 {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
