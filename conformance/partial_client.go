package conformance

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// A partialClient is what a case knows of a group in one epoch: its own path
// and no more of the tree.
type partialClient struct {
	*check
	leaf    mls.LeafIndex
	leaves  uint32 // width of the tree; 0 if it isn't known yet
	context keyschedule.GroupContext
	interim []byte // interim_transcript_hash
	epoch   *keyschedule.EpochSecrets
	init    *keyschedule.InitSecret
	keys    map[treekem.NodeIndex]*mls.HPKEPrivateKey
}

// joinPartial joins with the fields of a case (RFC 9420, Section 12.4.3.1).
func (c *check) joinPartial() *partialClient {
	kp, private := c.clientKeys()
	c.checkKeyPackageSignature(c.get("key_package"), kp)
	v := c.get("annotated_welcome")
	w := new(annotatedWelcome)
	v.decode(w)
	if w.message.CipherSuite != c.suite.ID() {
		v.fail("of another cipher suite")
	}
	sealed, ok := w.message.Find(kp.Ref(c.suite))
	if !ok {
		v.fail("not for the key package")
	}
	secrets, err := sealed.Open(c.suite, private.InitKey, w.message.EncryptedGroupInfo)
	v.must(err)
	psk := c.partialPSKs(v, secrets.PSKs)
	joiner, err := keyschedule.ParseJoinerSecret(c.suite, secrets.JoinerSecret)
	v.must(err)
	encoded, err := joiner.Welcome(psk).Open(w.message.EncryptedGroupInfo)
	v.must(err)
	var info framing.GroupInfo
	v.must(wire.Unmarshal(encoded, &info))
	c.checkGroupInfo(v, &info, &w.proof)
	c.checkProof(v, &w.joiner, info.GroupContext.TreeHash, info.GroupContext.GroupID)
	if w.joiner.leaves != w.proof.leaves {
		v.fail("proofs of two trees")
	}
	c.checkJoinerLeaf(v, kp, w.joiner.member())

	p := &partialClient{
		check: c, leaf: w.joiner.leaf, leaves: w.joiner.leaves, context: info.GroupContext,
		keys: map[treekem.NodeIndex]*mls.HPKEPrivateKey{treekem.LeafNodeIndex(w.joiner.leaf): private.LeafKey},
	}
	if !secrets.PathSecret.IsZero() {
		p.climb(v, &w.joiner, w.joiner.ancestor(w.proof.leaf), secrets.PathSecret)
	}
	groupContext, err := p.context.Bytes()
	v.must(err)
	p.enter(v, joiner.Epoch(psk, groupContext), info.ConfirmationTag)
	return p
}

// checkKeyPackageSignature checks the signature of a key package and of its
// leaf. [treekem.KeyPackage.Verify] would refuse most of the published ones:
// they have a GREASE extension that their capabilities lack (RFC 9420,
// Section 13.5).
func (c *check) checkKeyPackageSignature(v *node, kp *treekem.KeyPackage) {
	v.must(kp.LeafNode.VerifySignature(c.suite, nil, 0))
	encoded, err := kp.Bytes()
	v.must(err)
	size := len(kp.Signature)
	content := encoded[:len(encoded)-size-wire.VarintSize(uint32(size))]
	v.must(c.suite.VerifyWithLabel(kp.LeafNode.SignatureKey, "KeyPackageTBS", content, kp.Signature))
}

func (c *check) checkJoinerLeaf(v *node, kp *treekem.KeyPackage, leaf *treekem.LeafNode) {
	want, err := kp.LeafNode.Bytes()
	v.must(err)
	got, err := leaf.Bytes()
	v.must(err)
	if !bytes.Equal(want, got) {
		v.fail("the joiner's leaf is not that of the key package")
	}
}

func (c *check) partialPSKs(v *node, ids []keyschedule.PreSharedKeyID) keyschedule.PSKSecret {
	store := c.externalPSKs()
	var psks []keyschedule.PSK
	for _, id := range ids {
		secret, err := store.find(id)
		v.must(err)
		psks = append(psks, keyschedule.PSK{ID: id, Secret: secret})
	}
	psk, err := keyschedule.NewPSKSecret(c.suite, psks)
	v.must(err)
	return psk
}

// enter starts an epoch whose context p has, once its confirmation tag is
// right (RFC 9420, Section 8.1).
func (p *partialClient) enter(v *node, epoch *keyschedule.EpochSecrets, tag []byte) {
	if !epoch.VerifyConfirmationTag(p.context.ConfirmedTranscriptHash, tag) {
		v.fail("the confirmation tag does not verify")
	}
	p.epoch, p.init = epoch, epoch.Init()
	p.interim = keyschedule.InterimTranscriptHash(p.suite, p.context.ConfirmedTranscriptHash, tag)
}

// climb derives the keys of the client's path from a level up, whose path
// secret it is given, and returns the path secret after the last: the commit
// secret (RFC 9420, Section 7.4).
func (p *partialClient) climb(v *node, proof *membershipProof, from int, pathSecret mls.Secret) mls.Secret {
	if proof.path[from].blank() {
		v.fail("the path secret is of a blank node")
	}
	for level := from; level < len(proof.path); level++ {
		n := proof.path[level].parent
		if n == nil {
			delete(p.keys, proof.index(level))
			continue
		}
		key, err := p.suite.DeriveKeyPair(p.suite.DeriveSecret(pathSecret, "node"))
		v.must(err)
		if !bytes.Equal(key.Public(), n.EncryptionKey) {
			v.fail("level %d: not the key of the path secret", level)
		}
		p.keys[proof.index(level)] = key
		pathSecret = p.suite.DeriveSecret(pathSecret, "path")
	}
	return pathSecret
}

// openPath decrypts the path secret for the client, and returns the commit
// secret (RFC 9420, Section 12.4.2). What is decrypted is the ciphertext at
// resolution index of the lowest common ancestor, with the key of the highest
// node below that has one.
func (p *partialClient) openPath(v *node, path *treekem.UpdatePath, index *uint32, sender, receiver *membershipProof, groupContext []byte) mls.Secret {
	if sender.leaves != receiver.leaves || sender.leaf == receiver.leaf || receiver.leaf != p.leaf {
		v.fail("proofs of two trees, or of the wrong members")
	}
	top := receiver.ancestor(sender.leaf)
	at := 0
	for _, n := range sender.path[1:top] {
		if !n.blank() {
			at++
		}
	}
	if sender.path[top].blank() || at >= len(path.Nodes) {
		v.fail("the path skips the lowest common ancestor")
	}
	ciphertexts := path.Nodes[at].EncryptedPathSecret
	if index == nil || uint64(*index) >= uint64(len(ciphertexts)) {
		v.fail("no ciphertext at the resolution index")
	}
	key := p.keyBelow(receiver, top)
	if key == nil {
		v.fail("no private key below the lowest common ancestor")
	}
	secret, err := p.suite.DecryptWithLabel(key, "UpdatePathNode", groupContext, ciphertexts[*index])
	v.must(err)
	return p.climb(v, receiver, top, mls.NewSecret(secret))
}

// keyBelow returns the private key of the client's highest node below a level
// that isn't blank and whose key the client has: who was added and not merged
// has that of the leaf.
func (p *partialClient) keyBelow(proof *membershipProof, top int) *mls.HPKEPrivateKey {
	for level := top - 1; level >= 0; level-- {
		n := proof.path[level]
		pub := proof.member().EncryptionKey
		if n.parent != nil {
			pub = n.parent.EncryptionKey
		}
		if key := p.keys[proof.index(level)]; key != nil && !n.blank() && bytes.Equal(key.Public(), pub) {
			return key
		}
	}
	return nil
}

// commit processes an annotated commit (RFC 9420, Section 12.4.2). known is the
// commit secret to use if the client lacks the key for its path, or nil if it
// must not lack it.
func (p *partialClient) commit(v, known *node) {
	a := new(annotatedCommit)
	v.decode(a)
	content := p.authenticate(v, a)
	commit := content.Content.Commit
	p.checkProof(v, &a.senderAfter, a.treeHash, p.context.GroupID)
	p.checkProof(v, &a.receiverAfter, a.treeHash, nil)
	if a.senderAfter.leaf != a.sender.leaf || a.receiverAfter.leaf != p.leaf || a.senderAfter.leaves != a.receiverAfter.leaves {
		v.fail("proofs of the wrong members, or of two trees")
	}
	for _, proposal := range commit.Proposals {
		if proposal.Proposal == nil || proposal.Proposal.PreSharedKey != nil || proposal.Proposal.GroupContextExtensions != nil {
			v.fail("a proposal that no published case has")
		}
	}
	if (commit.Path != nil) != (a.resolutionIndex != nil) {
		v.fail("a resolution index is there with a path and only then")
	}
	p.leaves = a.receiverAfter.leaves
	p.context.Epoch++
	p.context.TreeHash = a.treeHash
	secret := p.partialSecret(v, a, commit.Path)
	switch {
	case secret.IsZero() && known == nil:
		v.fail("no private key for the path")
	case secret.IsZero():
		secret = known.secret()
	case known != nil:
		known.equalSecret(secret)
	}

	hash, err := content.ConfirmedTranscriptHash(p.suite, p.interim)
	v.must(err)
	p.context.ConfirmedTranscriptHash = hash
	groupContext, err := p.context.Bytes()
	v.must(err)
	joiner := p.init.Joiner(secret, groupContext)
	p.enter(v, joiner.Epoch(keyschedule.PSKSecret{}, groupContext), content.ConfirmationTag)
}

// partialSecret returns the commit secret: that of the path, the zero Secret if
// there is a path and no key to open it, or the all-zero string (RFC 9420,
// Section 8).
func (p *partialClient) partialSecret(v *node, a *annotatedCommit, path *treekem.UpdatePath) mls.Secret {
	if path == nil {
		return mls.ZeroSecret(p.suite.HashSize())
	}
	p.checkPathKeys(v, path, &a.senderAfter)
	if p.keyBelow(&a.receiverAfter, a.receiverAfter.ancestor(a.senderAfter.leaf)) == nil {
		return mls.Secret{}
	}
	groupContext, err := p.context.Bytes() // of the new tree, with the old transcript
	v.must(err)
	return p.openPath(v, path, a.resolutionIndex, &a.senderAfter, &a.receiverAfter, groupContext)
}

// authenticate checks membership tag and signature of a member's commit.
func (p *partialClient) authenticate(v *node, a *annotatedCommit) *framing.AuthenticatedContent {
	if a.commit.Public == nil || a.sender == nil {
		v.fail("not a member's PublicMessage: no published case has another")
	}
	groupContext, err := p.context.Bytes()
	v.must(err)
	content, err := framing.UnprotectPublic(p.epoch, a.commit.Public, groupContext)
	v.must(err)
	c := &content.Content
	if c.Sender != framing.Member(a.sender.leaf) || c.Commit == nil ||
		!bytes.Equal(c.GroupID, p.context.GroupID) || c.Epoch != p.context.Epoch {
		v.fail("not a commit by the member of the proof, in this epoch")
	}
	p.checkProof(v, a.sender, p.context.TreeHash, p.context.GroupID)
	v.must(content.Verify(p.suite, a.sender.member().SignatureKey, groupContext))
	return content
}

// application checks an application message of the current epoch, in an
// MLSMessage, although the draft's syntax has it without one.
func (p *partialClient) application(v *node, tree *keyschedule.SecretTree) {
	m := new(authenticatedMessage)
	v.decode(m)
	if m.message.Private == nil {
		v.fail("not a PrivateMessage")
	}
	p.checkProof(v, &m.proof, p.context.TreeHash, p.context.GroupID)
	groupContext, err := p.context.Bytes()
	v.must(err)
	content, err := framing.UnprotectPrivate(p.suite, p.epoch, tree, m.message.Private, func(a *framing.AuthenticatedContent) error {
		return a.Verify(p.suite, m.proof.member().SignatureKey, groupContext)
	})
	v.must(err)
	c := &content.Content
	if c.Sender != framing.Member(m.proof.leaf) || c.ContentType != framing.ContentApplication {
		v.fail("not an application message by the member of the proof")
	}
}
