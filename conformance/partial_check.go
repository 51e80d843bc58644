package conformance

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// checkPartialSyntax checks the encodings of draft-ietf-mls-partial.
func checkPartialSyntax(c *check) {
	c.published()
	for _, field := range []struct {
		name  string
		value interface {
			wire.Encoder
			wire.Decoder
		}
	}{
		{"copath_hash", new(copathHash)},
		{"membership_proof", new(membershipProof)},
		{"sender_authenticated_welcome", new(authenticatedWelcome)},
		{"sender_authenticated_public_message", new(authenticatedPublic)},
		{"sender_authenticated_private_message", new(authenticatedPrivate)},
		{"annotated_welcome", new(annotatedWelcome)},
		{"annotated_commit", new(annotatedCommit)},
	} {
		c.get(field.name).decode(field.value)
	}
	v := c.get("sender_authenticated_group_info")
	var info authenticatedGroupInfo
	v.decode(&info)
	c.checkGroupInfo(v, &info.message, &info.proof)
}

// checkGroupInfo checks the signature of a GroupInfo, by the member that a
// proof in the tree of the GroupInfo shows.
func (c *check) checkGroupInfo(v *node, info *framing.GroupInfo, sender *membershipProof) {
	if info.GroupContext.CipherSuite != c.suite.ID() || info.GroupContext.Version != mls.MLS10 {
		v.fail("of another cipher suite or version")
	}
	if info.Signer != sender.leaf {
		v.fail("the signer is not the member of the proof")
	}
	c.checkProof(v, sender, info.GroupContext.TreeHash, info.GroupContext.GroupID)
	v.must(info.Verify(c.suite, sender.member().SignatureKey))
}

// checkProof checks that a proof is of the tree with that hash, and the keys
// and the signature in it. Without a group ID the signature is checked only if
// it is over none.
func (c *check) checkProof(v *node, p *membershipProof, treeHash, groupID []byte) {
	hash, err := p.hash(c.suite)
	v.must(err)
	if !bytes.Equal(hash, treeHash) {
		v.fail("another tree hash")
	}
	leaf := p.member()
	v.must(c.suite.ValidatePublicKey(leaf.EncryptionKey))
	v.must(c.suite.ValidateSignatureKey(leaf.SignatureKey))
	for _, n := range p.path[1:] {
		if n.parent != nil {
			v.must(c.suite.ValidatePublicKey(n.parent.EncryptionKey))
		}
	}
	if groupID != nil || leaf.Source == treekem.SourceKeyPackage {
		v.must(leaf.VerifySignature(c.suite, groupID, p.leaf))
	}
}

// checkMembershipProofs checks RFC 9420, Section 7.8, over single paths.
func checkMembershipProofs(c *check) {
	c.published()
	proofs := c.get("proofs").list()
	if len(proofs) == 0 {
		c.get("proofs").fail("empty")
	}
	var first *membershipProof
	for _, v := range proofs {
		p := new(membershipProof)
		v.decode(p)
		c.checkProof(v, p, c.get("tree_hash").bytes(), nil)
		if first == nil {
			first = p
		}
		if p.leaves != first.leaves {
			v.fail("of a tree of another size")
		}
	}
}

// checkSenderAuthenticated checks RFC 9420, Section 6.2, as far as it goes
// without the group context and the membership key, which the format lacks:
// the signature cannot be checked, that of the leaf and its keys can.
func checkSenderAuthenticated(c *check) {
	c.published()
	v := c.get("sender_authenticated_message")
	var m authenticatedPublic
	v.decode(&m)
	want := map[string]framing.ContentType{
		"PublicMessageProposal": framing.ContentProposal, "PublicMessageCommit": framing.ContentCommit,
	}[c.get("message_type").str()]
	content := &m.message.Content
	if content.ContentType != want {
		c.get("message_type").fail("not the type of the message")
	}
	if content.Sender != framing.Member(m.proof.leaf) {
		v.fail("the sender is not the member of the proof")
	}
	hash, err := m.proof.hash(c.suite)
	v.must(err)
	c.checkProof(v, &m.proof, hash, content.GroupID)
	if content.Commit != nil && content.Commit.Path != nil {
		v.must(content.Commit.Path.LeafNode.VerifySignature(c.suite, content.GroupID, m.proof.leaf))
	}
}

// checkAnnotatedWelcome checks RFC 9420, Section 12.4.3.1, for a joiner who
// has two paths of the tree.
func checkAnnotatedWelcome(c *check) {
	c.published()
	p := c.joinPartial()
	if p.leaf != c.get("joiner_leaf_index").leaf() {
		c.get("joiner_leaf_index").fail("mismatch")
	}
	c.get("epoch_authenticator").equal(p.epoch.EpochAuthenticator())
}

// checkPassivePartial follows a group as checkPassiveClient does, with what a
// partial client is told.
func checkPassivePartial(c *check) {
	c.published()
	p := c.joinPartial()
	c.get("initial_epoch_authenticator").equal(p.epoch.EpochAuthenticator())
	for _, epoch := range c.get("epochs").list() {
		if proposals := epoch.get("proposals"); len(proposals.list()) > 0 {
			proposals.fail("proposals by reference: no published case has one")
		}
		v := epoch.get("annotated_commit")
		p.commit(v, nil)
		epoch.get("epoch_authenticator").equal(p.epoch.EpochAuthenticator())
		tree := p.epoch.TakeSecretTree(p.leaves)
		for _, v := range epoch.get("application_messages").list() {
			p.application(v, tree)
		}
	}
}

// pathSecrets reads a list of the private keys of nodes, each with the path
// secret that it comes from, if there is one (RFC 9420, Section 7.4).
func (c *check) pathSecrets(list *node) (keys map[treekem.NodeIndex]*mls.HPKEPrivateKey, secrets map[treekem.NodeIndex]mls.Secret) {
	keys = make(map[treekem.NodeIndex]*mls.HPKEPrivateKey)
	secrets = make(map[treekem.NodeIndex]mls.Secret)
	for _, v := range list.list() {
		x := treekem.NodeIndex(v.get("node").u32())
		key, err := c.suite.NewPrivateKey(v.get("encryption_priv").secret())
		v.get("encryption_priv").must(err)
		keys[x] = key
		secret := v.get("path_secret").secret()
		if secret.Len() == 0 && x.IsLeaf() {
			continue // a leaf's key from a key package comes from no path secret
		}
		c.hashSized(v.get("path_secret"))
		secrets[x] = secret
		derived, err := c.suite.DeriveKeyPair(c.suite.DeriveSecret(secret, "node"))
		v.get("path_secret").must(err)
		if !derived.Secret().Equal(key.Secret()) || !bytes.Equal(derived.Public(), key.Public()) {
			v.get("encryption_priv").fail("not the key of the path secret")
		}
	}
	return keys, secrets
}

// hashSized checks the size of a secret: as the key of an HMAC, one with a zero
// after it would be the same.
func (c *check) hashSized(v *node) {
	if len(v.bytes()) != c.suite.HashSize() {
		v.fail("not of the size of a hash")
	}
}

// checkPartialPath checks RFC 9420, Sections 7.4 to 7.6, for a receiver who has
// two paths of the tree. The format has no group context: what the ciphertexts
// are bound to is the tree hash. Nor does it have the group ID, without which
// the signature of a committer's leaf can't be checked.
func checkPartialPath(c *check) {
	c.published()
	var sender, receiver membershipProof
	c.get("sender_membership_proof_after").decode(&sender)
	c.get("receiver_membership_proof_after").decode(&receiver)
	treeHash := c.get("tree_hash_after").bytes()
	c.checkProof(c.get("sender_membership_proof_after"), &sender, treeHash, nil)
	c.checkProof(c.get("receiver_membership_proof_after"), &receiver, treeHash, nil)

	v := c.get("update_path")
	path := new(treekem.UpdatePath)
	v.decode(path)
	c.checkPathKeys(v, path, &sender)

	p := &partialClient{check: c, leaf: receiver.leaf, leaves: receiver.leaves}
	p.keys, _ = c.pathSecrets(c.get("receiver_path_state"))
	index := c.get("resolution_index").u32()
	c.get("commit_secret").equalSecret(p.openPath(v, path, &index, &sender, &receiver, treeHash))
}

// checkPathKeys checks that a path's keys are those of the sender's nodes in
// the tree after it.
func (c *check) checkPathKeys(v *node, path *treekem.UpdatePath, sender *membershipProof) {
	leaf, err := path.LeafNode.Bytes()
	v.must(err)
	inTree, err := sender.member().Bytes()
	v.must(err)
	if !bytes.Equal(leaf, inTree) {
		v.fail("not the sender's leaf in the tree after it")
	}
	i := 0
	for _, n := range sender.path[1:] {
		if n.blank() {
			continue
		}
		if i >= len(path.Nodes) || !bytes.Equal(path.Nodes[i].EncryptionKey, n.parent.EncryptionKey) {
			v.fail("not the keys of the sender's path in the tree after it")
		}
		i++
	}
	if i != len(path.Nodes) {
		v.fail("more nodes than the sender's path in the tree after it")
	}
}

// checkAnnotatedCommit checks RFC 9420, Sections 6.2, 8 and 12.4.2, for a
// receiver who has two paths of the tree. The format lacks the receiver's leaf
// key, so the path of such a commit may not be for him to open: then the path
// secrets of the state after it stand in.
func checkAnnotatedCommit(c *check) {
	c.published()
	if proposals := c.get("proposals"); len(proposals.list()) > 0 {
		proposals.fail("proposals by reference: no published case has one")
	}
	before, after := c.get("state_before"), c.get("state_after")
	p := c.partialState(before)
	_, secrets := c.pathSecrets(after.get("direct_path_secrets"))
	v := c.get("commit_secret")
	p.commit(c.get("annotated_commit"), v)
	if root, ok := secrets[treekem.Root(p.leaves)]; ok {
		v.equalSecret(c.suite.DeriveSecret(root, "path"))
	}
	c.get("tree_hash_after").equal(p.context.TreeHash)
	c.get("epoch_authenticator_after").equal(p.epoch.EpochAuthenticator())
	p.comparePartialState(after)
}

// stateSecrets are the secrets of an epoch that a state has.
var stateSecrets = []string{"encryption_secret", "init_secret", "membership_key", "sender_data_secret"}

func (c *check) partialState(v *node) *partialClient {
	secrets := make(map[string][]byte)
	for _, name := range stateSecrets {
		secrets[name] = v.get(name).bytes()
		c.hashSized(v.get(name))
	}
	p := &partialClient{
		check: c,
		leaf:  v.get("receiver_leaf_index").leaf(),
		context: keyschedule.GroupContext{
			Version:                 mls.MLS10,
			CipherSuite:             c.suite.ID(),
			GroupID:                 v.get("group_id").bytes(),
			Epoch:                   v.get("epoch").uint(64),
			TreeHash:                v.get("tree_hash").bytes(),
			ConfirmedTranscriptHash: v.get("confirmed_transcript_hash").bytes(),
		},
		interim: v.get("interim_transcript_hash").bytes(),
		epoch:   keyschedule.TestingOnlyEpochSecrets(c.suite, secrets),
		init:    keyschedule.ExternalInitSecret(c.suite, v.get("init_secret").secret()),
	}
	p.keys, _ = c.pathSecrets(v.get("direct_path_secrets"))
	return p
}

func (p *partialClient) comparePartialState(v *node) {
	for _, name := range stateSecrets {
		v.get(name).equalSecret(p.epoch.TestingOnlySecret(name))
	}
	if v.get("receiver_leaf_index").leaf() != p.leaf {
		v.get("receiver_leaf_index").fail("mismatch")
	}
	v.get("group_id").equal(p.context.GroupID)
	if v.get("epoch").uint(64) != p.context.Epoch {
		v.get("epoch").fail("mismatch")
	}
	v.get("tree_hash").equal(p.context.TreeHash)
	v.get("confirmed_transcript_hash").equal(p.context.ConfirmedTranscriptHash)
	v.get("interim_transcript_hash").equal(p.interim)
}
