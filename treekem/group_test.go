package treekem

import (
	"fmt"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

var (
	testGroupID = []byte("group")
	testNow     = time.Unix(1_700_000_000, 0)
)

func mustSuite(t tb, id mls.CipherSuite) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// suite1 is the suite of tests that are not about suites.
func suite1(t tb) *mls.Suite {
	return mustSuite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
}

func must[T any](t tb) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A testMember is a client with all of its private keys.
type testMember struct {
	name    string
	signer  mls.Signer
	private *Private
}

// A testGroup is a tree with its members. They learn each other's keys from
// update paths and path secrets only.
type testGroup struct {
	s       *mls.Suite
	tree    *Tree
	members map[mls.LeafIndex]*testMember
	named   int
}

func newSigner(t tb, s *mls.Suite) *mls.SignaturePrivateKey {
	t.Helper()
	return must[*mls.SignaturePrivateKey](t)(s.GenerateSigner())
}

// newKeyPackage makes a key package for a new client.
func newKeyPackage(t tb, s *mls.Suite, name string, edit ...func(*KeyPackageOptions)) (*KeyPackage, *KeyPackagePrivate) {
	t.Helper()
	opt := KeyPackageOptions{
		Credential: BasicCredential([]byte(name)),
		Signer:     newSigner(t, s),
		Lifetime:   LifetimeFrom(testNow, time.Hour),
	}
	for _, f := range edit {
		f(&opt)
	}
	kp, private, err := NewKeyPackage(s, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := kp.Verify(s, testNow, false); err != nil {
		t.Fatal(err)
	}
	return kp, private
}

func newTestGroup(t tb, s *mls.Suite) *testGroup {
	t.Helper()
	g := &testGroup{s: s, members: map[mls.LeafIndex]*testMember{}}
	kp, private := g.keyPackage(t)
	g.tree = must[*Tree](t)(NewTree(s, &kp.LeafNode))
	g.members[0] = &testMember{string(kp.LeafNode.Credential.Identity), private.Signer, NewPrivate(s, 0, private.LeafKey)}
	return g
}

func (g *testGroup) keyPackage(t tb) (*KeyPackage, *KeyPackagePrivate) {
	t.Helper()
	g.named++
	return newKeyPackage(t, g.s, fmt.Sprintf("member %d", g.named))
}

// A testCommit is what one commit does.
type testCommit struct {
	sender   mls.LeafIndex
	updates  []mls.LeafIndex
	removes  []mls.LeafIndex
	adds     int
	path     bool
	external bool // a new member commits; there are no adds then
}

// A testResult is what came of a commit.
type testResult struct {
	before  *Tree // with the proposals, without the path
	added   []mls.LeafIndex
	updates map[mls.LeafIndex]*LeafNode
	leaves  []*LeafNode // of added
	path    *Path
	update  *UpdatePath
	context []byte
	sender  mls.LeafIndex
}

// updateLeaf makes the leaf node and the private key of an Update.
func (g *testGroup) updateLeaf(t tb, i mls.LeafIndex) (*LeafNode, *mls.HPKEPrivateKey) {
	t.Helper()
	leaf, ok := g.tree.Leaf(i)
	if !ok {
		t.Fatalf("leaf %d is blank", i)
	}
	key := must[*mls.HPKEPrivateKey](t)(g.s.GenerateKeyPair())
	leaf.EncryptionKey = key.Public()
	leaf.Source = SourceUpdate
	leaf.ParentHash = nil
	leaf.Lifetime = Lifetime{}
	if err := leaf.Sign(g.s, g.members[i].signer, testGroupID, i); err != nil {
		t.Fatal(err)
	}
	return leaf, key
}

// commit makes a commit and has every member process it.
func (g *testGroup) commit(t tb, c testCommit) *testResult {
	t.Helper()
	r := &testResult{updates: map[mls.LeafIndex]*LeafNode{}, sender: c.sender}
	members := map[mls.LeafIndex]*testMember{}
	for i, m := range g.members {
		members[i] = &testMember{m.name, m.signer, m.private}
	}
	e := g.tree.Edit()
	for _, i := range c.updates {
		leaf, key := g.updateLeaf(t, i)
		if err := e.Update(i, leaf); err != nil {
			t.Fatal(err)
		}
		r.updates[i] = leaf
		members[i].private = members[i].private.WithLeafKey(key)
	}
	for _, i := range c.removes {
		if err := e.Remove(i); err != nil {
			t.Fatal(err)
		}
		delete(members, i)
	}
	for range c.adds {
		kp, private := g.keyPackage(t)
		i := must[mls.LeafIndex](t)(e.Add(&kp.LeafNode))
		members[i] = &testMember{string(kp.LeafNode.Credential.Identity), private.Signer, NewPrivate(g.s, i, private.LeafKey)}
		r.added = append(r.added, i)
		r.leaves = append(r.leaves, &kp.LeafNode)
	}
	r.before = must[*Tree](t)(e.Done())
	if c.path || c.external {
		g.commitPath(t, c, r, members)
	} else {
		g.tree = r.before
		for _, m := range members {
			m.private = m.private.Prune(g.tree)
		}
	}
	g.members = members
	return r
}

// commitPath makes the path of a commit and has every member open it.
func (g *testGroup) commitPath(t tb, c testCommit, r *testResult, members map[mls.LeafIndex]*testMember) {
	t.Helper()
	if c.external {
		g.named++
		m := &testMember{name: fmt.Sprintf("member %d", g.named), signer: newSigner(t, g.s)}
		tmpl := &LeafNode{Credential: BasicCredential([]byte(m.name)), Capabilities: DefaultCapabilities()}
		r.path = must[*Path](t)(r.before.NewExternalPath(tmpl, m.signer, testGroupID))
		r.sender = r.path.Leaf()
		members[r.sender] = m
	} else {
		tmpl, _ := r.before.Leaf(c.sender)
		r.path = must[*Path](t)(r.before.NewPath(c.sender, tmpl, members[c.sender].signer, testGroupID))
	}
	r.context = []byte(fmt.Sprintf("context %x", r.path.Tree().Hash()))
	sealed := must[*UpdatePath](t)(r.path.Seal(r.context, r.added))
	r.update = new(UpdatePath)
	if err := wire.Unmarshal(must[[]byte](t)(wire.Marshal(sealed)), r.update); err != nil {
		t.Fatal(err)
	}
	var after *Tree
	if c.external {
		var i mls.LeafIndex
		var err error
		if after, i, err = r.before.MergeExternalPath(r.update, testGroupID); err != nil || i != r.sender {
			t.Fatalf("external path: leaf %d, %v", i, err)
		}
	} else {
		after = must[*Tree](t)(r.before.MergePath(r.sender, r.update, testGroupID, r.added))
	}
	sameTree(t, after, r.path.Tree())
	g.tree = after
	members[r.sender].private = r.path.Private()
	for i, m := range members {
		switch {
		case i == r.sender:
		case slices.Contains(r.added, i):
			secret, ok := r.path.PathSecretFor(i)
			if !ok {
				t.Fatalf("no path secret for new leaf %d", i)
			}
			m.private = must[*Private](t)(m.private.Join(after, r.sender, secret))
		default:
			next, secret, err := m.private.Open(after, r.sender, r.update, r.context, r.added)
			if err != nil {
				t.Fatalf("leaf %d: %v", i, err)
			}
			if !secret.Equal(r.path.CommitSecret()) {
				t.Fatalf("leaf %d has another commit secret", i)
			}
			m.private = next
		}
	}
}

// check checks everything that must hold of a group at any time.
func (g *testGroup) check(t tb) {
	t.Helper()
	checkTree(t, g.tree)
	if g.tree.Members() != len(g.members) {
		t.Fatalf("%d members, want %d", g.tree.Members(), len(g.members))
	}
	for i, m := range g.members {
		if err := m.private.Check(g.tree); err != nil {
			t.Fatalf("leaf %d: %v", i, err)
		}
		g.checkInvariant(t, i)
	}
	joined := must[*Tree](t)(ParseTree(g.s, treeBytes(t, g.tree), 0))
	sameTree(t, joined, g.tree)
	checkTree(t, joined)
	if err := joined.Validate(testGroupID, ValidateOptions{Now: testNow}); err != nil {
		t.Fatalf("a joiner refuses the tree: %v\n%v", err, g.tree)
	}
}

// checkInvariant checks that a member has the key of every node above it at
// which it is not unmerged.
func (g *testGroup) checkInvariant(t tb, i mls.LeafIndex) {
	t.Helper()
	want := []NodeIndex{LeafNodeIndex(i)}
	for _, x := range g.tree.DirectPath(i) {
		if p, ok := g.tree.Parent(x); ok && !slices.Contains(p.UnmergedLeaves, i) {
			want = append(want, x)
		}
	}
	if got := g.members[i].private.Nodes(); !slices.Equal(got, want) {
		t.Fatalf("leaf %d has the keys of nodes %v, want %v", i, got, want)
	}
}

// grow adds members until there are n, and has each of the given leaves commit.
func (g *testGroup) grow(t tb, n int, committers ...mls.LeafIndex) {
	t.Helper()
	if missing := n - len(g.members); missing > 0 {
		g.commit(t, testCommit{sender: 0, adds: missing})
	}
	for _, i := range committers {
		g.commit(t, testCommit{sender: i, path: true})
	}
}

// full makes a group of n members, without blanks if n is a power of two: all
// of them have committed.
func full(t tb, s *mls.Suite, n int) *testGroup {
	t.Helper()
	g := newTestGroup(t, s)
	g.grow(t, n)
	for i := range n {
		g.commit(t, testCommit{sender: mls.LeafIndex(i), path: true})
	}
	return g
}
