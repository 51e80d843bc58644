package treekem

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
)

// modelOf reads a tree into a model, to be damaged.
func modelOf(tree *Tree) *model {
	m := &model{tree.suite, make([]modelNode, NodeWidth(tree.Width()))}
	for x := range m.nodes {
		if NodeIndex(x).IsLeaf() {
			m.nodes[x].leaf, _ = tree.Leaf(NodeIndex(x).Leaf())
		} else {
			m.nodes[x].parent, _ = tree.Parent(NodeIndex(x))
		}
	}
	return m
}

// sign signs the leaf node of a member anew.
func (g *testGroup) sign(t tb, m *model, i mls.LeafIndex) {
	t.Helper()
	if err := m.nodes[2*i].leaf.Sign(g.s, g.members[i].signer, testGroupID, i); err != nil {
		t.Fatal(err)
	}
}

// join does what a joiner does with a tree.
func (g *testGroup) join(m *model) error {
	tree, err := ParseTree(g.s, m.bytes(), 0)
	if err != nil {
		return err
	}
	return tree.Validate(testGroupID, ValidateOptions{Now: testNow})
}

// lopsided is a group of six with blanks, unmerged leaves and parent-hash links
// across blanks.
//
//	           7
//	     ┌─────┴─────┐
//	     3[3]        _
//	  ┌──┴──┐     ┌──┴──┐
//	  1     _     9     _
//	┌─┴─┐ ┌─┴─┐ ┌─┴─┐ ┌─┴─┐
//	0   1 2   3 4   5 _   _
func lopsided(t tb, s *mls.Suite) *testGroup {
	t.Helper()
	g := newTestGroup(t, s)
	g.grow(t, 6)
	g.commit(t, testCommit{sender: 0, removes: []mls.LeafIndex{3}, path: true})
	g.commit(t, testCommit{sender: 5, path: true})
	g.commit(t, testCommit{sender: 0, path: true})
	g.commit(t, testCommit{sender: 0, adds: 1})
	g.check(t)
	return g
}

func TestValidateRules(t *testing.T) {
	s := suite1(t)
	g := lopsided(t, s)
	if err := g.join(modelOf(g.tree)); err != nil {
		t.Fatal(err)
	}
	leaf0 := func(m *model) *LeafNode { return m.nodes[0].leaf }
	for _, c := range []struct {
		name          string
		section, rule string
		culprit       int // leaf index, or -1
		edit          func(t *testing.T, m *model)
	}{
		{"leaf not signed", "7.3", "leaf-signature", 2, func(t *testing.T, m *model) { m.nodes[4].leaf.Signature[3] ^= 1 }},
		{"leaf signed for another place", "7.3", "leaf-signature", 0, func(t *testing.T, m *model) {
			if err := leaf0(m).Sign(s, g.members[0].signer, testGroupID, 1); err != nil {
				t.Fatal(err)
			}
		}},
		{"leaf rule", "7.2", "credential-type", 0, func(t *testing.T, m *model) {
			leaf0(m).Capabilities.Credentials = []mls.CredentialType{mls.CredentialX509}
			g.sign(t, m, 0)
		}},
		{"expired", "7.3", "lifetime", 1, func(t *testing.T, m *model) {
			m.nodes[2].leaf.Lifetime.NotAfter = 1
			g.sign(t, m, 1)
		}},
		{"one encryption key for two leaves", "7.3", "encryption-key-unique", 4, func(t *testing.T, m *model) {
			m.nodes[8].leaf.EncryptionKey = leaf0(m).EncryptionKey
			g.sign(t, m, 4)
		}},
		{"one signature key for two leaves", "7.3", "signature-key-unique", 1, func(t *testing.T, m *model) {
			m.nodes[2].leaf.SignatureKey = leaf0(m).SignatureKey
			g.sign(t, m, 0)
		}},
		{"one key for a leaf and a parent", "12.4.3.1", "parent-key-unique", 1, func(t *testing.T, m *model) {
			m.nodes[2].leaf.EncryptionKey = m.nodes[7].parent.EncryptionKey
			g.sign(t, m, 1)
		}},
		{"one key for two parents", "12.4.3.1", "parent-key-unique", -1, func(t *testing.T, m *model) {
			m.nodes[7].parent.EncryptionKey = m.nodes[9].parent.EncryptionKey
		}},
		{"unmerged leaf elsewhere", "12.4.3.1", "unmerged-not-below", 4, func(t *testing.T, m *model) {
			m.nodes[3].parent.UnmergedLeaves = []mls.LeafIndex{3, 4}
		}},
		{"unmerged leaf outside the tree", "12.4.3.1", "unmerged-not-below", 1 << 30, func(t *testing.T, m *model) {
			m.nodes[7].parent.UnmergedLeaves = []mls.LeafIndex{3, 1 << 30}
		}},
		{"unmerged leaf blank", "12.4.3.1", "unmerged-blank", 6, func(t *testing.T, m *model) {
			m.nodes[7].parent.UnmergedLeaves = []mls.LeafIndex{3, 6}
		}},
		{"unmerged above but not below", "12.4.3.1", "unmerged-missing-below", 3, func(t *testing.T, m *model) {
			m.nodes[3].parent.UnmergedLeaves = nil
		}},
		{"unmerged above but not far below", "12.4.3.1", "unmerged-missing-below", 1, func(t *testing.T, m *model) {
			m.nodes[7].parent.UnmergedLeaves = []mls.LeafIndex{1, 3}
		}},
		{"unmerged leaves out of order", "7.1", "unmerged-leaves-order", -1, func(t *testing.T, m *model) {
			m.nodes[7].parent.UnmergedLeaves = []mls.LeafIndex{3, 1}
		}},
		{"parent key", "5.1.1", "hpke-public-key", -1, func(t *testing.T, m *model) {
			m.nodes[9].parent.EncryptionKey = []byte{1}
		}},
		{"parent key replaced", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			m.nodes[9].parent.EncryptionKey = must[*mls.HPKEPrivateKey](t)(s.GenerateKeyPair()).Public()
		}},
		{"parent without a chain", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			key := must[*mls.HPKEPrivateKey](t)(s.GenerateKeyPair())
			m.nodes[5].parent = &ParentNode{EncryptionKey: key.Public(), UnmergedLeaves: []mls.LeafIndex{3}}
		}},
		{"parent hash of the root not empty", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			m.nodes[7].parent.ParentHash = []byte{0}
		}},
		{"leaf replaced under a sibling", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			// Leaf 1 was there, as it was, when 0 set node 1.
			m.nodes[2].leaf.Extensions = []mls.Extension{{Type: mls.ExtensionApplicationID}}
			g.sign(t, m, 1)
		}},
		{"merged leaf passed off as unmerged", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			m.nodes[1].parent.UnmergedLeaves = []mls.LeafIndex{1}
			m.nodes[3].parent.UnmergedLeaves = []mls.LeafIndex{1, 3}
			m.nodes[7].parent.UnmergedLeaves = []mls.LeafIndex{1, 3}
		}},
		{"parent without members", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			m.nodes[13].parent = &ParentNode{EncryptionKey: m.nodes[9].parent.EncryptionKey}
			m.nodes = append(m.nodes, make([]modelNode, 16)...)
			m.nodes[30].leaf = m.nodes[8].leaf
		}},
		{"empty parent hash in the leaf", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			leaf0(m).ParentHash = nil
			g.sign(t, m, 0)
		}},
		{"empty parent hash in a parent", "7.9.2", "parent-hash", -1, func(t *testing.T, m *model) {
			m.nodes[3].parent.ParentHash = nil
		}},
		{"credential in use unsupported", "7.3", "credentials-in-use", 1, func(t *testing.T, m *model) {
			l := m.nodes[2].leaf
			l.Capabilities.Credentials = []mls.CredentialType{0x7777, mls.CredentialBasic}
			g.sign(t, m, 1)
			g.useX509(t, m, 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := modelOf(g.tree)
			c.edit(t, m)
			err := wantRule(t, g.join(m), c.section, c.rule)
			switch {
			case c.culprit < 0:
			case err.Culprit == nil || err.Culprit.Leaf == nil || int(*err.Culprit.Leaf) != c.culprit:
				t.Errorf("culprit %v, want leaf %d", err.Culprit, c.culprit)
			}
		})
	}
}

// useX509 gives a member an x509 credential for its signature key.
func (g *testGroup) useX509(t *testing.T, m *model, i mls.LeafIndex) {
	t.Helper()
	l := m.nodes[2*i].leaf
	der := newCA(t, "root", nil).issue(t, certTemplate("alice", false), keyInfo(t, g.s, l.SignatureKey))
	l.Credential = X509Credential([][]byte{der})
	g.sign(t, m, i)
}

func TestValidateAllowsExpired(t *testing.T) {
	g := lopsided(t, suite1(t))
	late := testNow.AddDate(1, 0, 0)
	err := g.tree.Validate(testGroupID, ValidateOptions{Now: late})
	if r := wantRule(t, err, "7.3", "lifetime"); *r.Culprit.Leaf != 1 {
		t.Errorf("culprit %v, want the leftmost leaf from a key package", r.Culprit)
	}
	if err := g.tree.Validate(testGroupID, ValidateOptions{Now: late, AllowExpired: true}); err != nil {
		t.Error(err)
	}
	wantRule(t, g.tree.Validate([]byte("other"), ValidateOptions{Now: testNow}), "7.3", "leaf-signature")
}

// TestFirstErrorIsLeftmost: which of many errors is reported does not depend on
// which core finds one first.
func TestFirstErrorIsLeftmost(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	g := newTestGroup(t, suite1(t))
	g.grow(t, 200)
	m := modelOf(g.tree)
	for i := 37; i < 200; i += 3 {
		m.nodes[2*i].leaf.Signature[0] ^= 1
	}
	for range 20 {
		if r := wantRule(t, g.join(m), "7.3", "leaf-signature"); *r.Culprit.Leaf != 37 {
			t.Fatalf("culprit %v, want leaf 37", r.Culprit)
		}
	}
	for n := range 40 {
		for chunk := 1; chunk < 5; chunk++ {
			err := parallel.Each(n, chunk, func(i int) error {
				if i%7 == 5 {
					return errors.New(string(rune('a' + i)))
				}
				return nil
			})
			if (err != nil) != (n > 5) || err != nil && err.Error() != "f" {
				t.Fatalf("%d calls: %v", n, err)
			}
		}
	}
}

func TestParseTreeForm(t *testing.T) {
	s := suite1(t)
	g := lopsided(t, s)
	good := treeBytes(t, g.tree)
	leaf := must[[]byte](t)(modelOf(g.tree).nodes[0].leaf.Bytes())
	vector := func(items ...[]byte) []byte {
		p := slices.Concat(items...)
		return append([]byte{0x80, byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))}, p...)
	}
	short := func(items ...[]byte) []byte {
		p := slices.Concat(items...)
		return append([]byte{0x40 | byte(len(p)>>8), byte(len(p))}, p...)
	}
	node := append([]byte{1, 1}, leaf...)
	parent := []byte{1, 2, 1, 9, 0, 0}
	for _, c := range []struct {
		name          string
		in            []byte
		section, rule string // none: malformed
	}{
		{"no bytes", nil, "", ""},
		{"no nodes", []byte{0}, "12.4.3.3", "empty-tree"},
		{"a blank", []byte{1, 0}, "12.4.3.3", "last-node-blank"},
		{"ends in a blank", short(node, []byte{0, 0}), "12.4.3.3", "last-node-blank"},
		{"ends in a parent", short(node, parent), "7.7", "last-node-parent"},
		{"leaf in a parent's place", short(node, node, node), "12.4.3.3", "node-type"},
		{"parent in a leaf's place", []byte{6, 1, 2, 1, 9, 0, 0}, "12.4.3.3", "node-type"},
		{"node type 3", []byte{2, 1, 3}, "12.4.3.3", "node-type"},
		{"presence 2", []byte{1, 2}, "", ""},
		{"trailing byte", append(slices.Clone(good), 0), "", ""},
		{"truncated", good[:len(good)-1], "", ""},
		{"length not minimal", vector(node), "", ""},
	} {
		_, err := ParseTree(s, c.in, 0)
		if c.rule == "" {
			if !errors.Is(err, mls.ErrMalformed) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantRule(t, err, c.section, c.rule)
	}
	for n := range good {
		if _, err := ParseTree(s, good[:n], 0); err == nil {
			t.Fatalf("the first %d bytes parse", n)
		}
	}
	// Six members: the last leaf is the sixth.
	if _, err := ParseTree(s, good, 6); err != nil {
		t.Errorf("at the limit of leaves: %v", err)
	}
	if _, err := ParseTree(s, good, 5); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("one leaf more than the limit: %v", err)
	}
}

func TestRequiredCapabilities(t *testing.T) {
	s := suite1(t)
	g := newTestGroup(t, s)
	with := func(o *KeyPackageOptions) {
		caps := DefaultCapabilities()
		caps.Extensions = append(caps.Extensions, 0xff01)
		caps.Proposals = append(caps.Proposals, 0xff02)
		o.Capabilities = &caps
		o.LeafExtensions = []mls.Extension{{Type: 0xff01}}
	}
	e := g.tree.Edit()
	for range 20 {
		kp, _ := newKeyPackage(t, s, "B", with)
		if _, err := e.Add(&kp.LeafNode); err != nil {
			t.Fatal(err)
		}
	}
	tree := must[*Tree](t)(e.Done())
	req := RequiredCapabilities{Extensions: []mls.ExtensionType{0xff01}}
	if r := wantRule(t, tree.CheckRequired(req), "11.1", "required-capabilities"); *r.Culprit.Leaf != 0 || r.Culprit.Identity != "member 1" {
		t.Errorf("culprit %v", r.Culprit)
	}
	wantRule(t, tree.CheckRequired(RequiredCapabilities{Proposals: []mls.ProposalType{0xff02}}), "11.1", "required-capabilities")
	wantRule(t, tree.CheckRequired(RequiredCapabilities{Credentials: []mls.CredentialType{5}}), "11.1", "required-capabilities")
	defaults := RequiredCapabilities{
		Extensions:  []mls.ExtensionType{mls.ExtensionApplicationID, mls.ExtensionExternalSenders},
		Proposals:   []mls.ProposalType{mls.ProposalAdd, mls.ProposalGroupContextExtensions},
		Credentials: []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509},
	}
	if err := tree.CheckRequired(defaults); err != nil {
		t.Errorf("default types: %v", err)
	}

	every := tree.EveryMember()
	if every.SupportsExtension(0xff01) || every.SupportsExtension(0) || !every.SupportsVersion(mls.MLS10) ||
		!every.SupportsSuite(mls.P521_AES256GCM_SHA512_P521) || every.SupportsVersion(2) {
		t.Error("support of every member is wrong")
	}
	if got := every.ExtensionsInUse(); !slices.Equal(got, []mls.ExtensionType{0xff01}) {
		t.Errorf("extensions in use: %v", got)
	}
	if got := every.CredentialsInUse(); !slices.Equal(got, []mls.CredentialType{mls.CredentialBasic}) {
		t.Errorf("credentials in use: %v", got)
	}

	// Without the one member that lacks it, everybody supports it.
	e = tree.Edit()
	if err := e.Remove(0); err != nil {
		t.Fatal(err)
	}
	tree = must[*Tree](t)(e.Done())
	if err := tree.CheckRequired(req); err != nil {
		t.Error(err)
	}
	if !tree.EveryMember().SupportsProposal(0xff02) {
		t.Error("the support of the remaining members is not seen")
	}
	if (Support{}).SupportsVersion(mls.MLS10) || len((Support{}).CredentialsInUse()) != 0 {
		t.Error("no members support something")
	}
}

// TestCapabilityLists: order and repeats in capabilities do not matter.
func TestCapabilityLists(t *testing.T) {
	s := suite1(t)
	kp, _ := newKeyPackage(t, s, "A", func(o *KeyPackageOptions) {
		caps := DefaultCapabilities()
		caps.Extensions = []mls.ExtensionType{0xff03, 0xff01, 0xff03, 0xff02}
		o.Capabilities = &caps
	})
	tree := must[*Tree](t)(NewTree(s, &kp.LeafNode))
	for _, x := range []mls.ExtensionType{0xff01, 0xff02, 0xff03} {
		if !tree.EveryMember().SupportsExtension(x) {
			t.Errorf("extension %v is not found", x)
		}
	}
	checkTree(t, tree)
}
