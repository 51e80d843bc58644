package conformance

import (
	"bytes"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// parseTree decodes a ratchet tree and checks that it encodes to the bytes it
// came from.
func parseTree(v *node, s *mls.Suite) *treekem.Tree {
	t, err := treekem.ParseTree(s, v.bytes(), 0)
	v.must(err)
	again, err := t.Bytes()
	v.must(err)
	if !bytes.Equal(again, v.bytes()) {
		v.fail("does not encode to what it was decoded from")
	}
	return t
}

// checkTreeOperations checks RFC 9420, Sections 7.7, 7.8 and 12.1.1 to 12.1.3.
func checkTreeOperations(c *check) {
	before := parseTree(c.get("tree_before"), c.suite)
	c.get("tree_hash_before").equal(before.Hash())

	v := c.get("proposal")
	var p framing.Proposal
	v.must(wire.Unmarshal(v.bytes(), &p))
	sender := c.get("proposal_sender")
	if !before.Has(sender.leaf()) {
		sender.fail("not a member")
	}
	edit := before.Edit()
	switch {
	case p.Add != nil:
		_, err := edit.Add(&p.Add.KeyPackage.LeafNode)
		v.must(err)
	case p.Update != nil:
		v.must(edit.Update(sender.leaf(), &p.Update.LeafNode))
	case p.Remove != nil:
		v.must(edit.Remove(p.Remove.Removed))
	default:
		v.fail("not an add, update or remove")
	}
	after, err := edit.Done()
	v.must(err)
	encoded, err := after.Bytes()
	v.must(err)
	c.get("tree_after").equal(encoded)
	c.get("tree_hash_after").equal(after.Hash())
}

// checkTreeValidation checks RFC 9420, Sections 4.1.1, 7.8 and 7.9.2, and the
// leaves as Section 7.3 says.
func checkTreeValidation(c *check) {
	v := c.get("tree")
	t := parseTree(v, c.suite)
	nodes := int(treekem.NodeWidth(t.Width()))
	resolutions, hashes := c.get("resolutions"), c.get("tree_hashes")
	if len(resolutions.list()) != nodes {
		resolutions.fail("not an entry for every node")
	}
	if len(hashes.list()) != nodes {
		hashes.fail("not an entry for every node")
	}
	for i := range nodes {
		x := treekem.NodeIndex(i)
		checkResolution(resolutions.list()[i], t.Resolution(x))
		hashes.list()[i].equal(t.NodeHash(x))
	}
	v.must(t.VerifyParentHashes())
	v.must(t.Validate(c.get("group_id").bytes(), treekem.ValidateOptions{
		Now:          time.Now(),
		AllowExpired: c.opt.AcceptExpired,
	}))
}

func checkResolution(v *node, got []treekem.NodeIndex) {
	want := v.list()
	if len(want) != len(got) {
		v.fail("%d nodes, want %d", len(got), len(want))
	}
	for i, item := range want {
		if item.u32() != uint32(got[i]) {
			v.fail("mismatch")
		}
	}
}

// treeKEM is a case of the kind treekem.
type treeKEM struct {
	*check
	tree    *treekem.Tree
	groupID []byte
	private map[mls.LeafIndex]*treekem.Private
	signers map[mls.LeafIndex]mls.Signer
}

// checkTreeKEM checks RFC 9420, Sections 7.4 to 7.6 and 7.9.2.
func checkTreeKEM(c *check) {
	k := &treeKEM{
		check:   c,
		tree:    parseTree(c.get("ratchet_tree"), c.suite),
		groupID: c.get("group_id").bytes(),
		private: make(map[mls.LeafIndex]*treekem.Private),
		signers: make(map[mls.LeafIndex]mls.Signer),
	}
	for _, v := range c.get("leaves_private").list() {
		k.member(v)
	}
	for i := range k.tree.Leaves() {
		if k.private[i] == nil {
			c.get("leaves_private").fail("without leaf %d", i)
		}
	}
	for _, v := range c.get("update_paths").list() {
		k.processPath(v)
		k.createPath(v.get("sender"))
	}
}

// member takes the private keys of one member.
func (k *treeKEM) member(v *node) {
	i := v.get("index").leaf()
	leaf, ok := k.tree.Leaf(i)
	if !ok {
		v.get("index").fail("a blank leaf")
	}
	signer, err := k.suite.NewSigner(v.get("signature_priv").secret())
	v.get("signature_priv").must(err)
	if !bytes.Equal(signer.Public(), leaf.SignatureKey) {
		v.get("signature_priv").fail("not the private key of the leaf's signature key")
	}
	k.signers[i] = signer
	k.private[i] = k.privateKeys(v, i)
	v.must(k.private[i].Check(k.tree))
}

// savedPrivate is the saved state of a [treekem.Private], version 1. A case's
// path secrets are of several commits, and a leaf's key is shown by none; only
// saved state brings keys together, and takes them apart.
type savedPrivate struct {
	Version int        `cbor:"1,keyasint"`
	Leaf    uint32     `cbor:"2,keyasint"`
	Keys    []savedKey `cbor:"3,keyasint"` // the leaf's first, then upwards
}

type savedKey struct {
	Node uint32 `cbor:"1,keyasint"`
	Key  []byte `cbor:"2,keyasint"`
}

// privateKeys returns the keys of a member.
func (k *treeKEM) privateKeys(v *node, leaf mls.LeafIndex) *treekem.Private {
	keys := []savedKey{{uint32(treekem.LeafNodeIndex(leaf)), v.get("encryption_priv").bytes()}}
	for _, s := range v.get("path_secrets").list() {
		// RFC 9420, Section 7.4.
		key, err := k.suite.DeriveKeyPair(k.suite.DeriveSecret(s.get("path_secret").secret(), "node"))
		s.get("path_secret").must(err)
		keys = append(keys, savedKey{s.get("node").u32(), key.Secret().UnsafeBytes()})
	}
	slices.SortFunc(keys, func(a, b savedKey) int {
		return treekem.NodeIndex(a.Node).Level() - treekem.NodeIndex(b.Node).Level()
	})
	saved, err := state.Marshal(savedPrivate{1, uint32(leaf), keys})
	v.must(err)
	private, err := treekem.RestorePrivate(k.suite, saved)
	v.must(err)
	return private
}

// context returns the GroupContext that path secrets are encrypted under.
func (k *treeKEM) context(after *treekem.Tree) []byte {
	context, err := keyschedule.GroupContext{
		Version:                 mls.MLS10,
		CipherSuite:             k.suite.ID(),
		GroupID:                 k.groupID,
		Epoch:                   k.get("epoch").uint(64),
		TreeHash:                after.Hash(),
		ConfirmedTranscriptHash: k.get("confirmed_transcript_hash").bytes(),
	}.Bytes()
	k.must(err)
	return context
}

// processPath has every other member process an update path.
func (k *treeKEM) processPath(v *node) {
	sender, path := v.get("sender").leaf(), new(treekem.UpdatePath)
	v.get("update_path").must(wire.Unmarshal(v.get("update_path").bytes(), path))
	after, err := k.tree.MergePath(sender, path, k.groupID, nil)
	v.get("update_path").must(err)
	v.get("tree_hash_after").equal(after.Hash())

	secrets := v.get("path_secrets")
	for i, item := range secrets.list() {
		leaf := mls.LeafIndex(i)
		if leaf == sender || !k.tree.Has(leaf) {
			if !item.null() {
				item.fail("not null, although leaf %d decrypts nothing", i)
			}
			continue
		}
		_, commitSecret, err := k.private[leaf].Open(after, sender, path, k.context(after), nil)
		item.must(err)
		v.get("commit_secret").equalSecret(commitSecret)
		// Open gives what it derives from the path secret. That the secret is
		// this one shows in that it leads to the same keys.
		_, err = k.private[leaf].Join(after, sender, item.secret())
		item.must(err)
	}
	for leaf := range k.tree.Leaves() {
		if int(leaf) >= len(secrets.list()) {
			secrets.fail("without leaf %d", leaf)
		}
	}
}

// createPath has a member make an update path of its own, and every other one
// process it.
func (k *treeKEM) createPath(v *node) {
	sender := v.leaf()
	leaf, _ := k.tree.Leaf(sender)
	made, err := k.tree.NewPath(sender, leaf, k.signers[sender], k.groupID)
	v.must(err)
	context := k.context(made.Tree())
	sealed, err := made.Seal(context, nil)
	v.must(err)
	encoded, err := wire.Marshal(sealed)
	v.must(err)
	path := new(treekem.UpdatePath)
	v.must(wire.Unmarshal(encoded, path))

	after, err := k.tree.MergePath(sender, path, k.groupID, nil)
	v.must(err)
	if !bytes.Equal(after.Hash(), made.Tree().Hash()) {
		v.fail("the path it makes leads others to another tree")
	}
	v.must(made.Private().Check(after))
	for leaf := range k.tree.Leaves() {
		if leaf == sender {
			continue
		}
		next, commitSecret, err := k.private[leaf].Open(after, sender, path, context, nil)
		v.must(err)
		v.must(next.Check(after))
		if !commitSecret.Equal(made.CommitSecret()) {
			v.fail("the path it makes leads leaf %d to another commit secret", leaf)
		}
	}
}
