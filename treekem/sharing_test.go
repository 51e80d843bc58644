package treekem

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/testkit"
)

// builtGroup makes a full tree in one go.
func builtGroup(t testing.TB, s *mls.Suite, n int) (*Tree, *BuiltKeys, []BuildMember) {
	t.Helper()
	members := make([]BuildMember, n)
	err := parallel.Each(n, 16, func(i int) (err error) {
		members[i].Credential = BasicCredential(fmt.Appendf(nil, "member %09d", i))
		members[i].Signer, err = s.GenerateSigner()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tree, keys, err := BuildFull(s, members, testGroupID)
	if err != nil {
		t.Fatal(err)
	}
	return tree, keys, members
}

func TestBuildFull(t *testing.T) {
	for _, s := range mls.Suites() {
		for _, n := range []int{1, 2, 4, 64} {
			if n == 64 && s.ID() != mls.X25519_AES128GCM_SHA256_Ed25519 {
				continue
			}
			tree, keys, members := builtGroup(t, s, n)
			checkTree(t, tree)
			if err := tree.Validate(testGroupID, ValidateOptions{Now: testNow}); err != nil {
				t.Fatalf("%v: %d members: %v", s, n, err)
			}
			if err := modelOf(tree).verifyParentHashes(); err != nil {
				t.Errorf("%v: %d members: model: %v", s, n, err)
			}
			g := &testGroup{s: s, tree: tree, members: map[mls.LeafIndex]*testMember{}}
			for i := range members {
				leaf := mls.LeafIndex(i)
				g.members[leaf] = &testMember{members[i].Credential.String(), members[i].Signer, keys.Private(leaf)}
			}
			g.check(t)
			g.commit(t, testCommit{sender: mls.LeafIndex(n / 2), path: true})
			g.check(t)
		}
	}
	if _, _, err := BuildFull(suite1(t), make([]BuildMember, 3), nil); err == nil {
		t.Error("a full tree of three members")
	}
	if _, _, err := BuildFull(suite1(t), nil, nil); err == nil {
		t.Error("a full tree of no members")
	}
	bad := []BuildMember{{Signer: failingSigner{}}, {Signer: failingSigner{}}}
	if _, _, err := BuildFull(suite1(t), bad, nil); err == nil {
		t.Error("a tree without signatures")
	}
}

type failingSigner struct{}

func (failingSigner) Public() mls.SignaturePublicKey { return make([]byte, 32) }
func (failingSigner) Sign([]byte) ([]byte, error)    { return nil, errors.New("no key") }

// TestSignerFails: a signer's error comes through.
func TestSignerFails(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 2)
	leaf, _ := g.tree.Leaf(0)
	if _, err := g.tree.NewPath(0, leaf, failingSigner{}, testGroupID); err == nil || err.Error() != "no key" {
		t.Errorf("a path without a signature: %v", err)
	}
	if _, _, err := NewKeyPackage(s, KeyPackageOptions{Credential: BasicCredential(nil), Signer: failingSigner{}}); err == nil || err.Error() != "no key" {
		t.Errorf("a key package without a signature: %v", err)
	}
	if err := new(KeyPackage).Sign(s, failingSigner{}); err == nil {
		t.Error("a key package with an empty leaf is signed")
	}
}

// TestConcurrentUse reads, edits and commits on one tree from many goroutines.
func TestConcurrentUse(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 16)
	g.commit(t, testCommit{sender: 3, adds: 1})
	kp, _ := g.keyPackage(t)
	want := treeBytes(t, g.tree)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			errs[i] = func() error {
				e := g.tree.Edit()
				if err := e.Remove(16); err != nil { // the flapping half
					return err
				}
				if _, err := e.Add(&kp.LeafNode); err != nil {
					return err
				}
				tree, err := e.Done()
				if err != nil {
					return err
				}
				leaf, _ := tree.Leaf(mls.LeafIndex(i))
				p, err := tree.NewPath(mls.LeafIndex(i), leaf, g.members[mls.LeafIndex(i)].signer, testGroupID)
				if err != nil {
					return err
				}
				if _, err := p.Seal(nil, nil); err != nil {
					return err
				}
				if err := p.Tree().Validate(testGroupID, ValidateOptions{Now: testNow}); err != nil {
					return err
				}
				return errors.Join(p.Tree().CheckAggregates(), g.tree.CheckAggregates())
			}()
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(treeBytes(t, g.tree), want) {
		t.Error("the tree has changed")
	}
}

// TestReturnedValuesAreCopies: nothing that a caller does to a returned value
// reaches the tree.
func TestReturnedValuesAreCopies(t *testing.T) {
	g := full(t, suite1(t), 4)
	want := treeBytes(t, g.tree)
	scribble := func(p []byte) {
		for i := range p {
			p[i] ^= 0xff
		}
	}
	leaf, _ := g.tree.Leaf(1)
	for _, p := range [][]byte{leaf.EncryptionKey, leaf.SignatureKey, leaf.Credential.Identity, leaf.Signature, leaf.ParentHash, g.tree.Hash(), g.tree.NodeHash(1)} {
		scribble(p)
	}
	parent, _ := g.tree.Parent(3)
	scribble(parent.EncryptionKey)
	key, _ := g.tree.EncryptionKey(1)
	scribble(key)
	sig, _ := g.tree.SignatureKey(1)
	scribble(sig)
	scribble(treeBytes(t, g.tree))
	if !bytes.Equal(treeBytes(t, g.tree), want) {
		t.Error("the tree has changed")
	}
	checkTree(t, g.tree)

	in := bytes.Clone(want)
	parsed := must[*Tree](t)(ParseTree(g.s, in, 0))
	scribble(in)
	if !bytes.Equal(treeBytes(t, parsed), want) {
		t.Error("the parsed tree keeps its input")
	}
}

// TestFlappingAtTheBoundary: adding a member to a full tree and removing it
// again costs O(log n) from the second time on.
func TestFlappingAtTheBoundary(t *testing.T) {
	s := suite1(t)
	cost := func(n int) (first, again uint64) {
		tree, _, _ := builtGroup(t, s, n)
		kp, _ := newKeyPackage(t, s, "new")
		flap := func() {
			e := tree.Edit()
			i := must[mls.LeafIndex](t)(e.Add(&kp.LeafNode))
			wide := must[*Tree](t)(e.Done())
			if int(i) != n || int(wide.Width()) != 2*n {
				t.Fatalf("added at %d, width %d", i, wide.Width())
			}
			e = wide.Edit()
			if err := e.Remove(i); err != nil {
				t.Fatal(err)
			}
			tree = must[*Tree](t)(e.Done())
			if int(tree.Width()) != n {
				t.Fatalf("width %d after the remove", tree.Width())
			}
		}
		first, again = testkit.AllocatedBy(math.MaxUint64-1, flap), testkit.AllocatedBy(0, flap)
		checkTree(t, tree)
		return first, again
	}
	firstSmall, small := cost(256)
	firstLarge, large := cost(8192)
	t.Logf("256 members: %d bytes, then %d; 8192: %d, then %d", firstSmall, small, firstLarge, large)
	if large > 3*small || large > firstLarge/4 {
		t.Errorf("the second time allocates %d bytes at 8192 members, %d at 256", large, small)
	}
}

// TestSteadyMemory: a tree that is edited for long, while old versions are
// dropped, does not grow.
func TestSteadyMemory(t *testing.T) {
	s := suite1(t)
	tree, _, _ := builtGroup(t, s, 64)
	pool := make([]*LeafNode, 64)
	for i := range pool {
		kp, _ := newKeyPackage(t, s, "pool member no.")
		pool[i] = &kp.LeafNode
	}
	churn := func(rounds int) {
		for r := range rounds {
			e := tree.Edit()
			for i := range pool {
				if err := e.Remove(mls.LeafIndex(i)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range pool {
				if _, err := e.Add(pool[(i+r)%len(pool)]); err != nil {
					t.Fatal(err)
				}
			}
			tree = must[*Tree](t)(e.Done())
		}
	}
	churn(20)
	before := liveHeap()
	churn(200)
	if after := liveHeap(); after > before+64<<10 {
		t.Errorf("%d bytes live, %d before", after, before)
	}
	runtime.KeepAlive(tree)
}

func TestDraw(t *testing.T) {
	g := lopsided(t, suite1(t))
	want := strings.TrimPrefix(`
node 7, unmerged [3]
├─node 3, unmerged [3]
│ ├─node 1
│ │ ├─leaf 0: member 1
│ │ └─leaf 1: member 2
│ └─_ node 5
│   ├─leaf 2: member 3
│   └─leaf 3: member 7
└─_ node 11
  ├─node 9
  │ ├─leaf 4: member 5
  │ └─leaf 5: member 6
  └─_ leaves 6 to 7
`, "\n")
	if got := g.tree.String(); got != want {
		t.Errorf("drawn as\n%s\nwant\n%s", got, want)
	}
	if err := g.tree.Draw(failingWriter{}); err == nil {
		t.Error("a failing writer goes unnoticed")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("full") }
