package treekem

import (
	"bytes"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
)

// suiteOf looks up a vector's cipher suite: the working group's vectors use the
// seven of RFC 9420, all of which must be there.
func suiteOf(t testing.TB, id uint16) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(mls.CipherSuite(id))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// allSuites fails unless each of the seven suites has had the given number of
// cases at least.
func allSuites(t *testing.T, cases map[uint16]int, atLeast int) {
	t.Helper()
	for id := uint16(1); id <= 7; id++ {
		if cases[id] < atLeast {
			t.Errorf("suite %d has %d cases, want at least %d", id, cases[id], atLeast)
		}
	}
}

type treeMathVector struct {
	NLeaves uint32    `json:"n_leaves"`
	NNodes  uint32    `json:"n_nodes"`
	Root    uint32    `json:"root"`
	Left    []*uint32 `json:"left"`
	Right   []*uint32 `json:"right"`
	Parent  []*uint32 `json:"parent"`
	Sibling []*uint32 `json:"sibling"`
}

func TestTreeMathVectors(t *testing.T) {
	vectors := testkit.DecodeStrict[treeMathVector](t, testkit.Vectors(t, "tree-math.json"))
	for _, v := range vectors {
		if got := NodeWidth(v.NLeaves); got != v.NNodes {
			t.Errorf("NodeWidth(%d) = %d, want %d", v.NLeaves, got, v.NNodes)
		}
		if got := Root(v.NLeaves); uint32(got) != v.Root {
			t.Errorf("Root(%d) = %d, want %d", v.NLeaves, got, v.Root)
		}
		check := func(what string, x NodeIndex, want *uint32, got NodeIndex, ok bool) {
			t.Helper()
			if ok != (want != nil) || ok && uint32(got) != *want {
				t.Errorf("%s of node %d of %d leaves = %d, %v", what, x, v.NLeaves, got, ok)
			}
		}
		for _, list := range [][]*uint32{v.Left, v.Right, v.Parent, v.Sibling} {
			if len(list) != int(v.NNodes) {
				t.Fatalf("%d entries for %d nodes", len(list), v.NNodes)
			}
		}
		for i := range v.Left {
			x := NodeIndex(i)
			got, ok := x.Left()
			check("left", x, v.Left[i], got, ok)
			got, ok = x.Right()
			check("right", x, v.Right[i], got, ok)
			got, ok = x.Parent(v.NLeaves)
			check("parent", x, v.Parent[i], got, ok)
			got, ok = x.Sibling(v.NLeaves)
			check("sibling", x, v.Sibling[i], got, ok)
		}
	}
}

type treeValidationVector struct {
	CipherSuite uint16        `json:"cipher_suite"`
	Tree        testkit.Hex   `json:"tree"`
	GroupID     testkit.Hex   `json:"group_id"`
	Resolutions [][]uint32    `json:"resolutions"`
	TreeHashes  []testkit.Hex `json:"tree_hashes"`
}

func TestTreeValidationVectors(t *testing.T) {
	cases := map[uint16]int{}
	for i, v := range testkit.DecodeStrict[treeValidationVector](t, testkit.Vectors(t, "tree-validation.json")) {
		cases[v.CipherSuite]++
		s := suiteOf(t, v.CipherSuite)
		tree, err := ParseTree(s, v.Tree, 0)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		if n := int(NodeWidth(tree.Width())); len(v.Resolutions) != n || len(v.TreeHashes) != n {
			t.Fatalf("case %d: %d nodes, %d resolutions, %d hashes", i, n, len(v.Resolutions), len(v.TreeHashes))
		}
		for x := range v.Resolutions {
			got := tree.Resolution(NodeIndex(x))
			if len(got) != len(v.Resolutions[x]) {
				t.Errorf("case %d: resolution of node %d is %v, want %v", i, x, got, v.Resolutions[x])
				continue
			}
			for k := range got {
				if uint32(got[k]) != v.Resolutions[x][k] {
					t.Errorf("case %d: resolution of node %d is %v, want %v", i, x, got, v.Resolutions[x])
				}
			}
			if h := tree.NodeHash(NodeIndex(x)); !bytes.Equal(h, v.TreeHashes[x]) {
				t.Errorf("case %d: tree hash of node %d is %x, want %x", i, x, h, v.TreeHashes[x])
			}
		}
		if err := tree.VerifyParentHashes(); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
		if err := tree.Validate(v.GroupID, ValidateOptions{Now: time.Now(), AllowExpired: true}); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
		checkTree(t, tree)
		if out := treeBytes(t, tree); !bytes.Equal(out, v.Tree) {
			t.Errorf("case %d: re-encoded tree differs", i)
		}
	}
	allSuites(t, cases, 14)
}

type treeKEMVector struct {
	CipherSuite             uint16            `json:"cipher_suite"`
	GroupID                 testkit.Hex       `json:"group_id"`
	Epoch                   uint64            `json:"epoch"`
	ConfirmedTranscriptHash testkit.Hex       `json:"confirmed_transcript_hash"`
	RatchetTree             testkit.Hex       `json:"ratchet_tree"`
	LeavesPrivate           []leafPrivate     `json:"leaves_private"`
	UpdatePaths             []updatePathCases `json:"update_paths"`
}

type leafPrivate struct {
	Index          uint32      `json:"index"`
	EncryptionPriv testkit.Hex `json:"encryption_priv"`
	SignaturePriv  testkit.Hex `json:"signature_priv"`
	PathSecrets    []struct {
		Node       uint32      `json:"node"`
		PathSecret testkit.Hex `json:"path_secret"`
	} `json:"path_secrets"`
}

type updatePathCases struct {
	Sender        uint32        `json:"sender"`
	UpdatePath    testkit.Hex   `json:"update_path"`
	PathSecrets   []testkit.Hex `json:"path_secrets"`
	CommitSecret  testkit.Hex   `json:"commit_secret"`
	TreeHashAfter testkit.Hex   `json:"tree_hash_after"`
}

// context is the group context that the vectors encrypt under, whose type
// belongs to another package (RFC 9420, Section 8.1).
func (v *treeKEMVector) context(t *testing.T, treeHash []byte) []byte {
	t.Helper()
	var b wire.Builder
	b.U16(uint16(mls.MLS10))
	b.U16(v.CipherSuite)
	b.Opaque(v.GroupID)
	b.U64(v.Epoch)
	b.Opaque(treeHash)
	b.Opaque(v.ConfirmedTranscriptHash)
	mls.EncodeExtensions(&b, nil)
	p, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// private makes a member's private state. Each path secret is for its own node:
// the vectors give one for every node whose key the member has.
func (l *leafPrivate) private(t *testing.T, s *mls.Suite, tree *Tree) *Private {
	t.Helper()
	key, err := s.NewPrivateKey(mls.NewSecret(bytes.Clone(l.EncryptionPriv)))
	if err != nil {
		t.Fatal(err)
	}
	p := NewPrivate(s, mls.LeafIndex(l.Index), key)
	for _, ps := range l.PathSecrets {
		key, err := nodeKey(s, mls.NewSecret(bytes.Clone(ps.PathSecret)))
		if err != nil {
			t.Fatal(err)
		}
		p = p.with([]privateKey{{NodeIndex(ps.Node), key}})
	}
	if err := p.Check(tree); err != nil {
		t.Fatal(err)
	}
	if got := p.Prune(tree); len(got.keys) != 1+len(l.PathSecrets) {
		t.Errorf("%d of %d private keys are the tree's", len(got.keys), 1+len(l.PathSecrets))
	}
	return p
}

func TestTreeKEMVectors(t *testing.T) {
	cases := map[uint16]int{}
	opened := 0
	for i, v := range testkit.DecodeStrict[treeKEMVector](t, testkit.Vectors(t, "treekem.json")) {
		cases[v.CipherSuite]++
		s := suiteOf(t, v.CipherSuite)
		tree, err := ParseTree(s, v.RatchetTree, 0)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		checkTree(t, tree)
		if err := tree.Validate(v.GroupID, ValidateOptions{Now: time.Now(), AllowExpired: true}); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
		privates := map[uint32]*Private{}
		signers := map[uint32]mls.Signer{}
		for _, l := range v.LeavesPrivate {
			privates[l.Index] = l.private(t, s, tree)
			signer, err := s.NewSigner(mls.NewSecret(bytes.Clone(l.SignaturePriv)))
			if err != nil {
				t.Fatal(err)
			}
			if key, _ := tree.SignatureKey(mls.LeafIndex(l.Index)); !bytes.Equal(key, signer.Public()) {
				t.Errorf("case %d: signature key of leaf %d does not match", i, l.Index)
			}
			signers[l.Index] = signer
		}
		if len(privates) != tree.Members() {
			t.Fatalf("case %d: %d private states for %d members", i, len(privates), tree.Members())
		}
		for _, u := range v.UpdatePaths {
			opened += v.process(t, i, s, tree, privates, &u)
			v.create(t, i, tree, privates, signers[u.Sender], mls.LeafIndex(u.Sender))
		}
	}
	allSuites(t, cases, 11)
	if opened < 1000 {
		t.Errorf("only %d path secrets were opened", opened)
	}
}

// process has every other member process the vector's update path.
func (v *treeKEMVector) process(t *testing.T, i int, s *mls.Suite, tree *Tree, privates map[uint32]*Private, u *updatePathCases) (opened int) {
	t.Helper()
	var path UpdatePath
	if err := wire.Unmarshal(u.UpdatePath, &path); err != nil {
		t.Fatalf("case %d: %v", i, err)
	}
	if out, err := wire.Marshal(&path); err != nil || !bytes.Equal(out, u.UpdatePath) {
		t.Errorf("case %d: re-encoded update path differs: %v", i, err)
	}
	sender := mls.LeafIndex(u.Sender)
	after, err := tree.MergePath(sender, &path, v.GroupID, nil)
	if err != nil {
		t.Fatalf("case %d: path of %d: %v", i, sender, err)
	}
	checkTree(t, after)
	if !bytes.Equal(after.Hash(), u.TreeHashAfter) {
		t.Errorf("case %d: tree hash after the path of %d differs", i, sender)
	}
	context := v.context(t, after.Hash())
	if len(u.PathSecrets) != int(tree.Width()) && len(u.PathSecrets) < tree.Members() {
		t.Fatalf("case %d: %d path secrets for %d leaves", i, len(u.PathSecrets), tree.Width())
	}
	for j, want := range u.PathSecrets {
		p, ok := privates[uint32(j)]
		if mls.LeafIndex(j) == sender || !ok {
			if want != nil {
				t.Errorf("case %d: a path secret for leaf %d, which gets none", i, j)
			}
			continue
		}
		next, commitSecret, err := p.Open(after, sender, &path, context, nil)
		if err != nil {
			t.Fatalf("case %d: leaf %d opens the path of %d: %v", i, j, sender, err)
		}
		opened++
		if err := next.Check(after); err != nil {
			t.Errorf("case %d: leaf %d: %v", i, j, err)
		}
		if !bytes.Equal(commitSecret.UnsafeBytes(), u.CommitSecret) {
			t.Errorf("case %d: leaf %d: commit secret of %d differs", i, j, sender)
		}
		checkPathSecret(t, p, after, sender, &path, context, want)
	}
	return opened
}

// checkPathSecret compares the secret that is decrypted at the lowest node
// above both leaves.
func checkPathSecret(t *testing.T, p *Private, after *Tree, sender mls.LeafIndex, path *UpdatePath, context, want []byte) {
	t.Helper()
	for k, s := range after.filteredSteps(sender) {
		if s.x != commonAncestor(sender, p.leaf) {
			continue
		}
		secret, err := p.decrypt(after.reading(), &s, &path.Nodes[k], context, nil)
		if err != nil || !bytes.Equal(secret.UnsafeBytes(), want) {
			t.Errorf("leaf %d: path secret of %d differs: %v", p.leaf, sender, err)
		}
		return
	}
	t.Errorf("leaf %d shares no node with %d", p.leaf, sender)
}

// create makes a path of our own, for every other member to process.
func (v *treeKEMVector) create(t *testing.T, i int, tree *Tree, privates map[uint32]*Private, signer mls.Signer, sender mls.LeafIndex) {
	t.Helper()
	leaf, _ := tree.Leaf(sender)
	path, err := tree.NewPath(sender, leaf, signer, v.GroupID)
	if err != nil {
		t.Fatalf("case %d: %v", i, err)
	}
	context := v.context(t, path.Tree().Hash())
	update, err := path.Seal(context, nil)
	if err != nil {
		t.Fatalf("case %d: %v", i, err)
	}
	after, err := tree.MergePath(sender, update, v.GroupID, nil)
	if err != nil {
		t.Fatalf("case %d: %v", i, err)
	}
	sameTree(t, after, path.Tree())
	if err := path.Private().Check(after); err != nil {
		t.Errorf("case %d: %v", i, err)
	}
	for j, p := range privates {
		if mls.LeafIndex(j) == sender {
			continue
		}
		next, commitSecret, err := p.Open(after, sender, update, context, nil)
		if err != nil {
			t.Fatalf("case %d: leaf %d opens our path of %d: %v", i, j, sender, err)
		}
		if !commitSecret.Equal(path.CommitSecret()) {
			t.Errorf("case %d: leaf %d: our commit secret of %d differs", i, j, sender)
		}
		if err := next.Check(after); err != nil {
			t.Errorf("case %d: leaf %d: %v", i, j, err)
		}
	}
}
