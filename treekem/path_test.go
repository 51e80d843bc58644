package treekem

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// TestFilteredPathBelowRoot: member 2 of four removes 0 and 1, so that its
// filtered direct path ends below the root. Its chain of parent hashes starts
// there, and the commit secret is one step past the path secret there.
func TestFilteredPathBelowRoot(t *testing.T) {
	for _, s := range mls.Suites() {
		g := full(t, s, 4)
		r := g.commit(t, testCommit{sender: 2, removes: []mls.LeafIndex{0, 1}, path: true})
		if got := g.tree.FilteredDirectPath(2); !slices.Equal(got, []NodeIndex{5}) {
			t.Fatalf("filtered direct path %v", got)
		}
		if got := g.tree.DirectPath(2); !slices.Equal(got, []NodeIndex{5, 3}) || !g.tree.IsBlank(3) {
			t.Fatalf("direct path %v, root blank: %v", got, g.tree.IsBlank(3))
		}
		if len(r.update.Nodes) != 1 {
			t.Fatalf("update path of %d nodes", len(r.update.Nodes))
		}
		top, _ := g.tree.Parent(5)
		if len(top.ParentHash) != 0 {
			t.Error("the topmost node of the path has a parent hash")
		}
		want := s.DeriveSecret(r.path.nodes[0].secret, "path")
		if !want.Equal(r.path.CommitSecret()) {
			t.Error("the commit secret is not one step past the last path secret")
		}
		// That member 3 has the same commit secret, commit has checked.
		g.check(t)
	}
}

// TestPathOfOne: a path in a group of one has no nodes, and still a fresh leaf
// key and a commit secret.
func TestPathOfOne(t *testing.T) {
	s := suite1(t)
	g := newTestGroup(t, s)
	before := g.tree
	r := g.commit(t, testCommit{sender: 0, path: true})
	if len(r.update.Nodes) != 0 || r.path.CommitSecret().Len() != s.HashSize() {
		t.Errorf("%d nodes, commit secret of %d bytes", len(r.update.Nodes), r.path.CommitSecret().Len())
	}
	if len(r.path.LeafNode().ParentHash) != 0 || bytes.Equal(before.Hash(), g.tree.Hash()) {
		t.Error("the leaf is not new or has a parent hash")
	}
	again := g.commit(t, testCommit{sender: 0, path: true})
	if again.path.CommitSecret().Equal(r.path.CommitSecret()) {
		t.Error("two paths have one commit secret")
	}
	if _, ok := r.path.PathSecretFor(0); ok {
		t.Error("a path secret for the committer itself")
	}
	g.check(t)
}

// TestPathDestroy: a path that was destroyed has no secrets, and seals none.
func TestPathDestroy(t *testing.T) {
	g := full(t, suite1(t), 4)
	r := g.commit(t, testCommit{sender: 0, adds: 1, path: true})
	kept := r.path.CommitSecret()
	r.path.Destroy()
	if kept.IsZero() || !r.path.CommitSecret().IsZero() {
		t.Error("the commit secret is shared or left")
	}
	if _, ok := r.path.PathSecretFor(r.added[0]); ok {
		t.Error("a path secret is left")
	}
	if _, err := r.path.Seal(nil, nil); err == nil {
		t.Error("a destroyed path is sealed")
	}
	if err := r.path.Private().Check(g.tree); err != nil {
		t.Error(err)
	}
}

// badPath makes a good update path from member 0, has it edited, signed again,
// and processed as member 1 does.
func badPath(t *testing.T, g *testGroup, edit func(u *UpdatePath)) error {
	t.Helper()
	leaf, _ := g.tree.Leaf(0)
	p := must[*Path](t)(g.tree.NewPath(0, leaf, g.members[0].signer, testGroupID))
	u := must[*UpdatePath](t)(p.Seal(nil, nil))
	edit(u)
	if err := u.LeafNode.Sign(g.s, g.members[0].signer, testGroupID, 0); err != nil {
		t.Fatal(err)
	}
	after, err := g.tree.MergePath(0, u, testGroupID, nil)
	if err != nil {
		return err
	}
	_, _, err = g.members[1].private.Open(after, 0, u, nil, nil)
	return err
}

func TestUpdatePathRules(t *testing.T) {
	s := suite1(t)
	g := lopsided(t, s)
	if err := badPath(t, g, func(*UpdatePath) {}); err != nil {
		t.Fatal(err)
	}
	leaf := func(i mls.LeafIndex) *LeafNode { l, _ := g.tree.Leaf(i); return l }
	parent := func(x NodeIndex) *ParentNode { p, _ := g.tree.Parent(x); return p }
	for _, c := range []struct {
		name          string
		section, rule string
		edit          func(u *UpdatePath)
	}{
		{"source update", "7.3", "path-source", func(u *UpdatePath) { u.LeafNode.Source = SourceUpdate }},
		{"source key_package", "7.3", "path-source", func(u *UpdatePath) { u.LeafNode.Source = SourceKeyPackage }},
		{"leaf rule", "7.2", "default-capability", func(u *UpdatePath) {
			u.LeafNode.Capabilities.Proposals = []mls.ProposalType{mls.ProposalAdd}
		}},
		{"same leaf key", "12.4.2", "path-same-leaf-key", func(u *UpdatePath) { u.LeafNode.EncryptionKey = leaf(0).EncryptionKey }},
		{"leaf key of another", "12.4.2", "path-key-in-tree", func(u *UpdatePath) { u.LeafNode.EncryptionKey = leaf(1).EncryptionKey }},
		{"leaf key of a parent that is replaced", "12.4.2", "path-key-in-tree", func(u *UpdatePath) { u.LeafNode.EncryptionKey = parent(3).EncryptionKey }},
		{"signature key of another", "7.3", "leaf-signature", func(u *UpdatePath) { u.LeafNode.SignatureKey = leaf(1).SignatureKey }},
		{"a node too few", "7.6", "path-length", func(u *UpdatePath) { u.Nodes = u.Nodes[1:] }},
		{"a node too many", "7.6", "path-length", func(u *UpdatePath) { u.Nodes = append(u.Nodes, u.Nodes[0]) }},
		{"a ciphertext too few", "7.6", "path-ciphertexts", func(u *UpdatePath) {
			u.Nodes[2].EncryptedPathSecret = u.Nodes[2].EncryptedPathSecret[:0]
		}},
		{"a ciphertext too many", "7.6", "path-ciphertexts", func(u *UpdatePath) {
			u.Nodes[0].EncryptedPathSecret = append(u.Nodes[0].EncryptedPathSecret, u.Nodes[0].EncryptedPathSecret[0])
		}},
		{"node key", "5.1.1", "hpke-public-key", func(u *UpdatePath) { u.Nodes[1].EncryptionKey = nil }},
		{"node key replaced", "7.9.2", "path-parent-hash", func(u *UpdatePath) {
			u.Nodes[1].EncryptionKey = must[*mls.HPKEPrivateKey](t)(s.GenerateKeyPair()).Public()
		}},
		{"parent hash", "7.9.2", "path-parent-hash", func(u *UpdatePath) { u.LeafNode.ParentHash[0] ^= 1 }},
		{"no parent hash", "7.9.2", "path-parent-hash", func(u *UpdatePath) { u.LeafNode.ParentHash = nil }},
		{"ciphertext", "7.5", "path-secret", func(u *UpdatePath) { u.Nodes[0].EncryptedPathSecret[0].Ciphertext[0] ^= 1 }},
		{"kem output", "7.5", "path-secret", func(u *UpdatePath) { u.Nodes[0].EncryptedPathSecret[0].KEMOutput = nil }},
		{"another's path secret", "7.5", "path-derived-key", func(u *UpdatePath) {
			to := must[mls.HPKECiphertext](t)(s.EncryptWithLabel(leaf(1).EncryptionKey, labelUpdatePathNode, nil, make([]byte, 32)))
			u.Nodes[0].EncryptedPathSecret[0] = to
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := wantRule(t, badPath(t, g, c.edit), c.section, c.rule)
			if r.Culprit == nil || r.Culprit.Leaf == nil || *r.Culprit.Leaf != 0 || r.Culprit.Identity != "member 1" {
				t.Errorf("culprit %v, want the committer", r.Culprit)
			}
		})
	}
	wantRule(t, func() error { _, err := g.tree.MergePath(6, new(UpdatePath), testGroupID, nil); return err }(), "12.4.2", "path-sender")
	g.check(t)
}

// evilPath commits node keys of the attacker's choice, with valid parent hashes
// and a valid signature.
func evilPath(t *testing.T, g *testGroup, tree *Tree, i mls.LeafIndex, signer mls.Signer, edit func(l *LeafNode, keys []mls.HPKEPublicKey)) error {
	t.Helper()
	var keys []mls.HPKEPublicKey
	u := &UpdatePath{}
	for _, s := range tree.filteredSteps(i) {
		keys = append(keys, must[*mls.HPKEPrivateKey](t)(g.s.GenerateKeyPair()).Public())
		u.Nodes = append(u.Nodes, UpdatePathNode{EncryptedPathSecret: make([]mls.HPKECiphertext, s.sibling.resolutionSize())})
	}
	l := &u.LeafNode
	*l = LeafNode{
		EncryptionKey: must[*mls.HPKEPrivateKey](t)(g.s.GenerateKeyPair()).Public(),
		SignatureKey:  signer.Public(), Source: SourceCommit,
		Credential: BasicCredential([]byte("evil")), Capabilities: DefaultCapabilities(),
	}
	edit(l, keys)
	for k := range keys {
		u.Nodes[k].EncryptionKey = keys[k]
	}
	l.ParentHash = []byte(tree.newMerge(i, tree.steps(i), keys).leafParentHash)
	if err := l.Sign(g.s, signer, testGroupID, i); err != nil {
		t.Fatal(err)
	}
	if tree.Has(i) {
		_, err := tree.MergePath(i, u, testGroupID, nil)
		return err
	}
	_, _, err := tree.MergeExternalPath(u, testGroupID)
	return err
}

func TestPathKeysAreUnique(t *testing.T) {
	s := suite1(t)
	g := lopsided(t, s)
	own, _ := g.tree.Parent(1)
	for _, member := range []bool{true, false} {
		i, signer, tree := mls.LeafIndex(0), g.members[0].signer, g.tree
		if !member {
			i, signer = 6, newSigner(t, s)
		}
		path := func(edit func(l *LeafNode, keys []mls.HPKEPublicKey)) error {
			return evilPath(t, g, tree, i, signer, edit)
		}
		if err := path(func(*LeafNode, []mls.HPKEPublicKey) {}); err != nil {
			t.Fatal(err)
		}
		wantRule(t, path(func(l *LeafNode, keys []mls.HPKEPublicKey) { keys[0] = keys[1] }), "12.4.3.1", "parent-key-unique")
		wantRule(t, path(func(l *LeafNode, keys []mls.HPKEPublicKey) { keys[1] = l.EncryptionKey }), "12.4.3.1", "parent-key-unique")
		wantRule(t, path(func(l *LeafNode, keys []mls.HPKEPublicKey) { keys[1] = own.EncryptionKey }), "12.4.2", "path-key-in-tree")
		other := g.members[4].signer
		wantRule(t, evilPath(t, g, tree, i, other, func(*LeafNode, []mls.HPKEPublicKey) {}), "7.3", "signature-key-unique")
		wantRule(t, path(func(l *LeafNode, _ []mls.HPKEPublicKey) {
			l.Capabilities.Credentials = []mls.CredentialType{mls.CredentialX509}
		}), "7.2", "credential-type")
	}
}

// TestCommitterChangesIdentity: a commit may bring a new signature key and other
// capabilities.
func TestCommitterChangesIdentity(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 4)
	tmpl, _ := g.tree.Leaf(3)
	old := tmpl.SignatureKey
	signer := newSigner(t, s)
	tmpl.Credential = BasicCredential([]byte("renamed"))
	tmpl.Capabilities.Extensions = []mls.ExtensionType{0xff01}
	tmpl.Extensions = []mls.Extension{{Type: 0xff01}}
	p := must[*Path](t)(g.tree.NewPath(3, tmpl, signer, testGroupID))
	u := must[*UpdatePath](t)(p.Seal(nil, nil))
	after := must[*Tree](t)(g.tree.MergePath(3, u, testGroupID, nil))
	checkTree(t, after)
	if _, ok := after.FindSignatureKey(old); ok {
		t.Error("the old signature key is still found")
	}
	if i, ok := after.FindSignatureKey(signer.Public()); !ok || i != 3 {
		t.Error("the new signature key is not found")
	}
	if got := after.EveryMember().ExtensionsInUse(); !slices.Equal(got, []mls.ExtensionType{0xff01}) {
		t.Errorf("extensions in use %v", got)
	}
	if key, ok := after.SignatureKey(3); !ok || !bytes.Equal(key, signer.Public()) {
		t.Error("the signature key of the leaf is not the new one")
	}
	tmpl.Capabilities.Credentials = nil
	_, err := g.tree.NewPath(3, tmpl, signer, testGroupID)
	wantRule(t, err, "7.2", "credential-type")
	tmpl, _ = g.tree.Leaf(3)
	tmpl.Capabilities.Credentials = []mls.CredentialType{mls.CredentialBasic}
	_, err = g.tree.NewPath(3, tmpl, g.members[2].signer, testGroupID)
	wantRule(t, err, "7.3", "signature-key-unique")
	if _, err = g.tree.NewPath(9, tmpl, signer, testGroupID); err == nil {
		t.Error("a path from outside the tree")
	}
}

// TestAppendixATrees makes the trees of RFC 9420, Appendix A by the commits
// given there.
func TestAppendixATrees(t *testing.T) {
	const A, B, C, D, E, F, G, H = 0, 1, 2, 3, 4, 5, 6, 7
	s := suite1(t)
	parents := func(g *testGroup) map[NodeIndex][]mls.LeafIndex {
		got := map[NodeIndex][]mls.LeafIndex{}
		for x := range NodeIndex(NodeWidth(g.tree.Width())) {
			if p, ok := g.tree.Parent(x); ok {
				got[x] = p.UnmergedLeaves
			}
		}
		return got
	}
	check := func(name string, g *testGroup, want map[NodeIndex][]mls.LeafIndex) {
		t.Helper()
		g.check(t)
		got := parents(g)
		if len(got) != len(want) {
			t.Errorf("%s: parents %v, want %v", name, got, want)
		}
		for x := range want {
			if u, ok := got[x]; !ok || !slices.Equal(u, want[x]) {
				t.Errorf("%s: node %d lists %v, want %v", name, x, u, want[x])
			}
		}
	}

	g := newTestGroup(t, s)
	g.grow(t, 7, F)
	g.commit(t, testCommit{sender: G, removes: []mls.LeafIndex{C, D}, path: true})
	g.commit(t, testCommit{sender: B, path: true})
	check("a tree with five members", g, map[NodeIndex][]mls.LeafIndex{1: nil, 7: nil, 9: nil, 11: nil})
	for leaf, want := range map[mls.LeafIndex][]NodeIndex{A: {1, 7}, B: {1, 7}, E: {9, 11, 7}, F: {9, 11, 7}, G: {11, 7}} {
		if got := g.tree.FilteredDirectPath(leaf); !slices.Equal(got, want) {
			t.Errorf("filtered direct path of %d is %v, want %v", leaf, got, want)
		}
	}

	g = newTestGroup(t, s)
	g.grow(t, 8, F)
	g.commit(t, testCommit{sender: D, removes: []mls.LeafIndex{B, C}, path: true})
	g.commit(t, testCommit{sender: H, removes: []mls.LeafIndex{G}, path: true})
	g.commit(t, testCommit{sender: A, adds: 1})
	check("blanks and unmerged leaves", g, map[NodeIndex][]mls.LeafIndex{3: {B}, 7: {B}, 9: nil, 11: nil})
	if got := g.tree.Resolution(3); !slices.Equal(got, []NodeIndex{3, 2}) {
		t.Errorf("resolution of X: %v", got)
	}

	g = newTestGroup(t, s)
	g.grow(t, 4, B)
	g.commit(t, testCommit{sender: D, removes: []mls.LeafIndex{C}, path: true})
	g.commit(t, testCommit{sender: B, adds: 1, path: true})
	check("one unmerged leaf", g, map[NodeIndex][]mls.LeafIndex{1: nil, 3: nil})

	g = newTestGroup(t, s)
	g.grow(t, 7)
	g.commit(t, testCommit{sender: A, removes: []mls.LeafIndex{F}, path: true})
	g.commit(t, testCommit{sender: E, path: true})
	g.commit(t, testCommit{sender: A, adds: 1})
	check("parent hash computations", g, map[NodeIndex][]mls.LeafIndex{1: nil, 3: nil, 7: {F}, 11: {F}})

	// The parent hash of U covers Y as it was without F.
	w, _ := g.tree.Parent(7)
	m := modelOf(g.tree)
	want := m.parentHash(w, m.originalHash(w, 3))
	y, _ := g.tree.Parent(11)
	if !bytes.Equal(y.ParentHash, want) {
		t.Error("the parent hash of Y is not that of W with copath child U")
	}
	if bytes.Equal(m.originalHash(w, 11), m.hash(11)) {
		t.Error("the original tree hash of Y is its tree hash")
	}
}

// TestCommitCostOfBlanks: in a tree of blanks a path secret is encrypted to each
// member but one.
func TestCommitCostOfBlanks(t *testing.T) {
	g := newTestGroup(t, suite1(t))
	g.grow(t, 13)
	for i := range mls.LeafIndex(13) {
		if got := g.tree.CommitCost(i); got != 12 {
			t.Errorf("leaf %d encrypts %d times", i, got)
		}
	}
	if got := g.tree.CommitCost(16); got != 0 {
		t.Errorf("a leaf outside the tree encrypts %d times", got)
	}
}

func TestPrivateState(t *testing.T) {
	for _, s := range mls.Suites() {
		g := full(t, s, 4)
		for i, m := range g.members {
			p := must[[]byte](t)(m.private.MarshalState())
			back := must[*Private](t)(RestorePrivate(s, p))
			if err := back.Check(g.tree); err != nil || back.Leaf() != i || !slices.Equal(back.Nodes(), m.private.Nodes()) {
				t.Errorf("%v: restored keys of %v: %v", s, back.Nodes(), err)
			}
			if again := must[[]byte](t)(back.MarshalState()); !bytes.Equal(p, again) {
				t.Errorf("%v: saved state differs after a restore", s)
			}
			m.private = back
		}
		g.commit(t, testCommit{sender: 1, path: true})
		g.check(t)
	}
}

func TestRestorePrivateRefuses(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 4)
	good := g.members[2].private
	saved := func(f func(v *savedPrivate)) []byte {
		v := savedPrivate{Version: 1, Leaf: 2}
		for _, k := range good.keys {
			v.Keys = append(v.Keys, savedKey{uint32(k.x), k.key.Secret().UnsafeBytes()})
		}
		f(&v)
		return must[[]byte](t)(marshalState(v))
	}
	if _, err := RestorePrivate(s, saved(func(*savedPrivate) {})); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(v *savedPrivate){
		"no keys":           func(v *savedPrivate) { v.Keys = nil },
		"no leaf key":       func(v *savedPrivate) { v.Keys = v.Keys[1:] },
		"another leaf's":    func(v *savedPrivate) { v.Leaf = 1 },
		"out of order":      func(v *savedPrivate) { v.Keys[1], v.Keys[2] = v.Keys[2], v.Keys[1] },
		"twice":             func(v *savedPrivate) { v.Keys = append(v.Keys, v.Keys[2]) },
		"off the path":      func(v *savedPrivate) { v.Keys[1].Node = 1 },
		"another leaf last": func(v *savedPrivate) { v.Keys[2].Node = 6 },
		"bad key":           func(v *savedPrivate) { v.Keys[1].Key = v.Keys[1].Key[1:] },
	} {
		if _, err := RestorePrivate(s, saved(f)); !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := RestorePrivate(s, saved(func(v *savedPrivate) { v.Version = 2 })); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("version 2: %v", err)
	}
	if _, err := RestorePrivate(s, nil); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("nothing: %v", err)
	}
}

// TestOpenNeedsAKey: who has no key of the resolution cannot open a path, nor
// can one who is not in the tree or is the sender.
func TestOpenNeedsAKey(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 4)
	stranger := NewPrivate(s, 3, must[*mls.HPKEPrivateKey](t)(s.GenerateKeyPair()))
	old := g.members[3].private
	r := g.commit(t, testCommit{sender: 0, path: true})
	for _, p := range []*Private{stranger, NewPrivate(s, 7, stranger.keys[0].key), NewPrivate(s, 0, stranger.keys[0].key)} {
		if _, _, err := p.Open(g.tree, 0, r.update, r.context, nil); err == nil {
			t.Errorf("leaf %d opens a path", p.Leaf())
		}
	}
	if err := stranger.Check(g.tree); err == nil {
		t.Error("a foreign key passes the check")
	}
	if _, err := stranger.Join(g.tree, 3, mls.ZeroSecret(32)); err == nil {
		t.Error("a member joins by its own commit")
	}
	_, err := NewPrivate(s, 3, stranger.keys[0].key).Join(g.tree, 0, mls.ZeroSecret(32))
	wantRule(t, err, "7.5", "path-derived-key")
	wantRule(t, func() error { _, _, err := old.Open(g.tree, 0, &UpdatePath{}, nil, nil); return err }(), "7.6", "path-length")
	if _, ok := r.path.PathSecretFor(9); ok {
		t.Error("a path secret for a leaf outside the tree")
	}
	one := *r.update
	one.Nodes = slices.Clone(one.Nodes)
	one.Nodes[1].EncryptedPathSecret = nil
	wantRule(t, func() error { _, _, err := old.Open(g.tree, 0, &one, r.context, nil); return err }(), "7.6", "path-ciphertexts")
	if _, _, err := old.Open(g.tree, 0, r.update, r.context, nil); err != nil {
		t.Error(err)
	}
}

// TestUpdatePathEncoding: what is decoded encodes to the same bytes.
func TestUpdatePathEncoding(t *testing.T) {
	g := lopsided(t, suite1(t))
	r := g.commit(t, testCommit{sender: 4, path: true, adds: 2})
	p := must[[]byte](t)(wire.Marshal(r.update))
	for n := range p {
		if err := wire.Unmarshal(p[:n], new(UpdatePath)); err == nil {
			t.Fatalf("the first %d bytes of an update path decode", n)
		}
	}
}
