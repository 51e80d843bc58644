package treekem

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/treekem/mls"
)

// TestChangedLeaves compares random trees leaf by leaf.
func TestChangedLeaves(t *testing.T) {
	s := suite1(t)
	pool := make([]*LeafNode, 90)
	for i := range pool {
		kp, _ := newKeyPackage(t, s, "pool")
		pool[i] = &kp.LeafNode
	}
	rapid.Check(t, func(rt *rapid.T) {
		base := must[*Tree](rt)(NewTree(s, pool[0]))
		e := base.Edit()
		n := rapid.IntRange(0, 60).Draw(rt, "members")
		for _, l := range pool[1 : 1+n] {
			must[mls.LeafIndex](rt)(e.Add(l))
		}
		base = must[*Tree](rt)(e.Done())
		variant := func(spare []*LeafNode) *Tree {
			e := base.Edit()
			for i := range base.Leaves() {
				if i > 0 && rapid.IntRange(0, 5).Draw(rt, "remove") == 0 {
					if err := e.Remove(i); err != nil {
						rt.Fatal(err)
					}
				}
			}
			for _, l := range spare[:rapid.IntRange(0, len(spare)).Draw(rt, "adds")] {
				must[mls.LeafIndex](rt)(e.Add(l))
			}
			return must[*Tree](rt)(e.Done())
		}
		a, b := variant(pool[70:80]), variant(pool[80:])
		var want []mls.LeafIndex
		for i := range mls.LeafIndex(max(a.Width(), b.Width())) {
			if a.leafAt(i) != b.leafAt(i) {
				want = append(want, i)
			}
		}
		if got := a.ChangedLeaves(b); !slices.Equal(got, want) {
			rt.Fatalf("changed leaves %v, want %v", got, want)
		}
		if got := b.ChangedLeaves(a); !slices.Equal(got, want) {
			rt.Fatalf("changed leaves the other way %v, want %v", got, want)
		}
		if got := a.ChangedLeaves(a); len(got) != 0 {
			rt.Fatalf("a tree differs from itself at %v", got)
		}
	})
}

// TestSupersededKeysAreDestroyed: of a member's keys those that a commit has
// replaced are destroyed, and no others.
func TestSupersededKeysAreDestroyed(t *testing.T) {
	g := full(t, suite1(t), 8)
	old := g.members[1].private
	g.commit(t, testCommit{sender: 7, path: true})
	next := g.members[1].private
	if !next.Holds(old.keys[0].key) || next.Holds(old.keys[3].key) {
		t.Error("the leaf's key is not held, or the old root's is")
	}
	old.DestroyExcept(next)
	if !old.keys[3].key.IsZero() || old.keys[1].key.IsZero() {
		t.Error("the wrong keys are destroyed")
	}
	g.check(t)
	next.DestroyExcept(nil)
	for _, k := range next.keys {
		if !k.key.IsZero() {
			t.Errorf("the key of node %d is left", k.x)
		}
	}
}

func TestCapabilitiesSupportExtension(t *testing.T) {
	c := Capabilities{Extensions: []mls.ExtensionType{0xff01}}
	for x, want := range map[mls.ExtensionType]bool{0xff01: true, 0xff02: false, mls.ExtensionApplicationID: true, 0: false} {
		if c.SupportsExtension(x) != want {
			t.Errorf("support of extension %v: %v", x, !want)
		}
	}
}
