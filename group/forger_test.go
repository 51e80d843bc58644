package group_test

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// The forger is a member, or a joiner, that signs and MACs anything. It builds
// messages from their parts by the text of RFC 9420, so that everything about a
// forged message is as it should be but for the one thing that a test wants
// wrong, and nothing in the code under test can object while it is made.

// forgery says what to put into a commit, and how it departs from an honest one.
type forgery struct {
	// proposals go in by value, refs by reference, before them.
	proposals []framing.Proposal
	refs      [][]byte
	noPath    bool
	// template changes the leaf before the path is made: its keys and source
	// are the path's.
	template func(*treekem.LeafNode)
	// leaf changes the path's leaf, which is then signed again, by signer if
	// that is set.
	leaf   func(*treekem.LeafNode)
	signer mls.Signer
	// path, commit, content and sealed change what their names say at its
	// stage: after the path is encrypted, before the content is signed, and
	// after the confirmation tag is there.
	path    func(*treekem.UpdatePath)
	commit  func(*framing.Commit)
	content func(*framing.FramedContent)
	sealed  func(*framing.AuthenticatedContent)
}

// forged is a forged commit and what follows from it.
type forged struct {
	message []byte
	// ac is what message frames.
	ac      *framing.AuthenticatedContent
	tree    *treekem.Tree
	context keyschedule.GroupContext
	joiner  *keyschedule.JoinerSecret
	psk     keyschedule.PSKSecret
	psks    []keyschedule.PreSharedKeyID
	epoch   *keyschedule.EpochSecrets
	path    *treekem.Path
	added   []mls.LeafIndex
	adds    []*treekem.KeyPackage
}

// applied is what a list of proposals makes of a tree.
type applied struct {
	tree       *treekem.Tree
	extensions []mls.Extension
	psks       []keyschedule.PreSharedKeyID
	added      []mls.LeafIndex
	adds       []*treekem.KeyPackage
}

type listedProposal struct {
	body *framing.Proposal
	from mls.LeafIndex
}

// applyList applies a list as RFC 9420, Section 12.3 says; false if that is not
// possible, and there is no next epoch that the commit could be for.
func applyList(tree *treekem.Tree, exts []mls.Extension, list []listedProposal) (applied, bool) {
	a := applied{tree: tree, extensions: exts}
	edit := tree.Edit()
	ok := true
	for _, p := range list {
		switch {
		case p.body.Update != nil:
			ok = ok && edit.Update(p.from, &p.body.Update.LeafNode) == nil
		case p.body.PreSharedKey != nil:
			a.psks = append(a.psks, p.body.PreSharedKey.PSK)
		case p.body.GroupContextExtensions != nil:
			a.extensions = p.body.GroupContextExtensions.Extensions
		}
	}
	for _, p := range list {
		if p.body.Remove != nil {
			ok = ok && edit.Remove(p.body.Remove.Removed) == nil
		}
	}
	for _, p := range list {
		if p.body.Add == nil {
			continue
		}
		leaf, err := edit.Add(&p.body.Add.KeyPackage.LeafNode)
		ok = ok && err == nil
		a.added = append(a.added, leaf)
		a.adds = append(a.adds, &p.body.Add.KeyPackage)
	}
	if !ok {
		return applied{tree: tree, extensions: exts}, false
	}
	next, err := edit.Done()
	if err != nil {
		return applied{tree: tree, extensions: exts}, false
	}
	a.tree = next
	return a, true
}

// list is what a forgery's commit lists, with the senders.
func (c *client) list(f *forgery) []listedProposal {
	var list []listedProposal
	for _, ref := range f.refs {
		for _, p := range c.g.Proposals() {
			if bytes.Equal(p.Ref, ref) {
				list = append(list, listedProposal{&p.Proposal, p.Sender.Leaf})
			}
		}
	}
	for i := range f.proposals {
		list = append(list, listedProposal{&f.proposals[i], c.g.OwnLeaf()})
	}
	return list
}

func (f *forgery) items() []framing.ProposalOrRef {
	var items []framing.ProposalOrRef
	for _, ref := range f.refs {
		items = append(items, framing.ProposalOrRef{Ref: ref})
	}
	for i := range f.proposals {
		items = append(items, framing.ProposalOrRef{Proposal: &f.proposals[i]})
	}
	return items
}

// forge makes a commit as the member that c is.
func (c *client) forge(w framing.WireFormat, f forgery) *forged {
	c.t.Helper()
	context := c.g.Context()
	a, ok := applyList(c.g.Tree(), context.Extensions, c.list(&f))
	if _, in := a.tree.Leaf(c.g.OwnLeaf()); !in {
		a, ok = applied{tree: c.g.Tree(), extensions: context.Extensions}, false
	}
	own, _ := c.g.Tree().Leaf(c.g.OwnLeaf())
	out := &forged{tree: a.tree, added: a.added, adds: a.adds}
	if ok {
		out.psks = a.psks
	}
	commit := &framing.Commit{Proposals: f.items()}
	commitSecret := mls.ZeroSecret(c.suite.HashSize())
	provisional := context
	provisional.Epoch++
	provisional.Extensions = a.extensions
	if !f.noPath {
		template := own.Clone()
		if f.template != nil {
			f.template(template)
		}
		path := must[*treekem.Path](c.t)(a.tree.NewPath(c.g.OwnLeaf(), template, c.signer, context.GroupID))
		commitSecret = path.CommitSecret()
		out.path = path
		commit.Path = c.forgePath(&f, a, out, &provisional, c.g.OwnLeaf(), false)
	}
	out.finish(c, c.base(), w, &f, commit, commitSecret, provisional, framing.Member(c.g.OwnLeaf()), c.g.TestingEpoch().Init())
	return out
}

// forgePath encrypts a path, with its leaf changed as the forgery wants it.
func (c *client) forgePath(f *forgery, a applied, out *forged, provisional *keyschedule.GroupContext, leaf mls.LeafIndex, external bool) *treekem.UpdatePath {
	c.t.Helper()
	out.tree = out.path.Tree()
	node := out.path.LeafNode()
	if f.leaf != nil {
		f.leaf(node)
		signer := f.signer
		if signer == nil {
			signer = c.signer
		}
		check(c.t, node.Sign(c.suite, signer, provisional.GroupID, leaf))
		draft := must[*treekem.UpdatePath](c.t)(out.path.Seal(nil, a.added))
		draft.LeafNode = *node
		var merged *treekem.Tree
		var err error
		if external {
			merged, _, err = a.tree.MergeExternalPath(draft, provisional.GroupID)
		} else {
			merged, err = a.tree.MergePath(leaf, draft, provisional.GroupID, a.added)
		}
		if err == nil {
			out.tree = merged
		}
	}
	provisional.TreeHash = out.tree.Hash()
	path := must[*treekem.UpdatePath](c.t)(out.path.Seal(must[[]byte](c.t)(provisional.Bytes()), a.added))
	path.LeafNode = *node
	if f.path != nil {
		f.path(path)
	}
	return path
}

// finish signs the commit, runs the key schedule and frames the message.
func (out *forged) finish(c *client, base base, w framing.WireFormat, f *forgery, commit *framing.Commit, commitSecret mls.Secret, next keyschedule.GroupContext, sender framing.Sender, init *keyschedule.InitSecret) {
	c.t.Helper()
	if f.commit != nil {
		f.commit(commit)
	}
	next.TreeHash = out.tree.Hash()
	content := framing.FramedContent{
		GroupID: next.GroupID, Epoch: next.Epoch - 1, Sender: sender, ContentType: framing.ContentCommit, Commit: commit,
	}
	if f.content != nil {
		f.content(&content)
	}
	signer := f.signer
	if signer == nil || sender.Type == framing.SenderMember {
		signer = c.signer // the group knows this one; the path's is the next
	}
	ac := signRaw(c.t, c.suite, signer, w, content, base.bytes)
	if ac.Content.ContentType == framing.ContentCommit {
		next.ConfirmedTranscriptHash = must[[]byte](c.t)(ac.ConfirmedTranscriptHash(c.suite, base.interim))
		encoded := must[[]byte](c.t)(next.Bytes())
		out.psk = c.forgePSKs(out.psks)
		out.joiner = init.Joiner(commitSecret, encoded)
		out.epoch = out.joiner.Epoch(out.psk, encoded)
		ac.ConfirmationTag = out.epoch.ConfirmationTag(next.ConfirmedTranscriptHash)
	}
	if f.sealed != nil {
		f.sealed(ac)
	}
	out.context, out.ac = next, ac
	out.message = c.frame(ac)
}

func (c *client) forgePSKs(ids []keyschedule.PreSharedKeyID) keyschedule.PSKSecret {
	var psks []keyschedule.PSK
	for _, id := range ids {
		secret, err := c.cfg.PSK(id)
		if err != nil {
			secret = mls.NewSecret([]byte("what nobody has"))
		}
		psks = append(psks, keyschedule.PSK{ID: id, Secret: secret})
	}
	psk, err := keyschedule.NewPSKSecret(c.suite, psks)
	if err != nil { // not that of any list: the receiver refuses the list
		return keyschedule.PSKSecret{}
	}
	return psk
}

// base is the epoch that a forged commit builds on.
type base struct {
	bytes   []byte
	interim []byte
}

func (c *client) base() base {
	c.t.Helper()
	context := c.g.Context()
	tag := c.g.TestingEpoch().ConfirmationTag(context.ConfirmedTranscriptHash)
	return base{must[[]byte](c.t)(context.Bytes()), keyschedule.InterimTranscriptHash(c.suite, context.ConfirmedTranscriptHash, tag)}
}

// tbs is the FramedContentTBS (RFC 9420, Section 6.1).
func tbs(t tb, w framing.WireFormat, content *framing.FramedContent, groupContext []byte) []byte {
	t.Helper()
	var b wire.Builder
	b.U16(uint16(mls.MLS10))
	b.U16(uint16(w))
	content.Encode(&b)
	if k := content.Sender.Type; k == framing.SenderMember || k == framing.SenderNewMemberCommit {
		b.Raw(groupContext)
	}
	return must[[]byte](t)(b.Bytes())
}

// signRaw signs whatever the content is.
func signRaw(t tb, s *mls.Suite, signer mls.Signer, w framing.WireFormat, content framing.FramedContent, groupContext []byte) *framing.AuthenticatedContent {
	t.Helper()
	signature := must[[]byte](t)(s.SignWithLabel(signer, "FramedContentTBS", tbs(t, w, &content, groupContext)))
	return &framing.AuthenticatedContent{WireFormat: w, Content: content, Signature: signature}
}

// frame protects what was signed, as the wire format says.
func (c *client) frame(ac *framing.AuthenticatedContent) []byte {
	c.t.Helper()
	if ac.WireFormat == framing.WireFormatPrivateMessage {
		return c.framePrivate(ac, privateParts{leaf: ac.Content.Sender.Leaf})
	}
	m := &framing.PublicMessage{Content: ac.Content, Signature: ac.Signature, ConfirmationTag: ac.ConfirmationTag}
	if ac.Content.Sender.Type == framing.SenderMember {
		m.MembershipTag = c.g.TestingEpoch().MembershipTag(c.tbm(ac))
	}
	return publicBytes(c.t, m)
}

func publicBytes(t tb, m *framing.PublicMessage) []byte {
	t.Helper()
	return must[[]byte](t)((&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatPublicMessage, Public: m}).Bytes())
}

// tbm is the AuthenticatedContentTBM (RFC 9420, Section 6.2).
func (c *client) tbm(ac *framing.AuthenticatedContent) []byte {
	c.t.Helper()
	var b wire.Builder
	b.Raw(tbs(c.t, ac.WireFormat, &ac.Content, c.base().bytes))
	authData(&b, ac)
	return must[[]byte](c.t)(b.Bytes())
}

func authData(b *wire.Builder, ac *framing.AuthenticatedContent) {
	b.Opaque(ac.Signature)
	if ac.Content.ContentType == framing.ContentCommit {
		b.Opaque(ac.ConfirmationTag)
	}
}

// privateParts is what the forger may choose in a PrivateMessage.
type privateParts struct {
	leaf mls.LeafIndex
	// ratchet is whose ratchet encrypts, if not leaf's.
	ratchet *mls.LeafIndex
	// claim is the generation that the sender data name; nil for the true one.
	claim   *uint32
	padding []byte
	// other takes the key from the ratchet of the other kind of content.
	other bool
}

// framePrivate encrypts by the text of RFC 9420, Section 6.3.
func (c *client) framePrivate(ac *framing.AuthenticatedContent, p privateParts) []byte {
	c.t.Helper()
	s, content := c.suite, &ac.Content
	var b wire.Builder
	switch content.ContentType {
	case framing.ContentApplication:
		b.Opaque(content.Application)
	case framing.ContentProposal:
		content.Proposal.Encode(&b)
	default:
		content.Commit.Encode(&b)
	}
	authData(&b, ac)
	b.Raw(p.padding)
	plain := must[[]byte](c.t)(b.Bytes())

	kind := keyschedule.Handshake
	if (content.ContentType == framing.ContentApplication) != p.other {
		kind = keyschedule.Application
	}
	from := p.leaf
	if p.ratchet != nil {
		from = *p.ratchet
	}
	generation, key, nonce, err := c.g.TestingRatchets().Next(from, kind)
	check(c.t, err)
	var guard [4]byte
	rand.Read(guard[:])
	nonce = bytes.Clone(nonce)
	subtle.XORBytes(nonce, nonce, guard[:])

	var aad wire.Builder
	aad.Opaque(content.GroupID)
	aad.U64(content.Epoch)
	aad.U8(uint8(content.ContentType))
	senderAAD := bytes.Clone(must[[]byte](c.t)(aad.Bytes()))
	aad.Opaque(content.AuthenticatedData)
	m := &framing.PrivateMessage{
		GroupID: content.GroupID, Epoch: content.Epoch, ContentType: content.ContentType, AuthenticatedData: content.AuthenticatedData,
	}
	m.Ciphertext = must[[]byte](c.t)(s.Seal(nil, key, nonce, must[[]byte](c.t)(aad.Bytes()), plain))

	if p.claim != nil {
		generation = *p.claim
	}
	var sd wire.Builder
	sd.U32(uint32(p.leaf))
	sd.U32(generation)
	sd.Raw(guard[:])
	sdKey, sdNonce := c.g.TestingEpoch().SenderData(m.Ciphertext)
	m.EncryptedSenderData = must[[]byte](c.t)(s.Seal(nil, sdKey, sdNonce, senderAAD, must[[]byte](c.t)(sd.Bytes())))
	return must[[]byte](c.t)((&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatPrivateMessage, Private: m}).Bytes())
}

// forgeProposal frames a proposal from the member that c is.
func (c *client) forgeProposal(w framing.WireFormat, p framing.Proposal) []byte {
	c.t.Helper()
	message, _ := c.forgeProposalRef(w, p)
	return message
}

func (c *client) forgeProposalRef(w framing.WireFormat, p framing.Proposal) (message, ref []byte) {
	c.t.Helper()
	ac := signRaw(c.t, c.suite, c.signer, w, c.proposalContent(p), c.base().bytes)
	return c.frame(ac), must[[]byte](c.t)(ac.ProposalRef(c.suite))
}

func (c *client) proposalContent(p framing.Proposal) framing.FramedContent {
	return framing.FramedContent{
		GroupID: c.g.ID(), Epoch: c.g.Epoch(), Sender: framing.Member(c.g.OwnLeaf()), ContentType: framing.ContentProposal, Proposal: &p,
	}
}

// updateLeaf is a valid leaf for an Update of the member that c is, changed and
// then signed.
func (c *client) updateLeaf(change func(*treekem.LeafNode)) *treekem.LeafNode {
	c.t.Helper()
	own, _ := c.g.Member(c.g.OwnLeaf())
	leaf := own.Clone()
	leaf.Source, leaf.Lifetime, leaf.ParentHash = treekem.SourceUpdate, treekem.Lifetime{}, nil
	leaf.EncryptionKey = must[*mls.HPKEPrivateKey](c.t)(c.suite.GenerateKeyPair()).Public()
	if change != nil {
		change(leaf)
	}
	check(c.t, leaf.Sign(c.suite, c.signer, c.g.ID(), c.g.OwnLeaf()))
	return leaf
}

func updateProposal(leaf *treekem.LeafNode) framing.Proposal {
	return framing.Proposal{Type: mls.ProposalUpdate, Update: &framing.Update{LeafNode: *leaf}}
}

// forgeExternal makes an external commit as c, on the strength of a GroupInfo.
// The list begins with a valid ExternalInit unless bare is set.
func (c *client) forgeExternal(info *framing.GroupInfo, f forgery, bare bool) *forged {
	c.t.Helper()
	old := base{must[[]byte](c.t)(info.GroupContext.Bytes()),
		keyschedule.InterimTranscriptHash(c.suite, info.GroupContext.ConfirmedTranscriptHash, info.ConfirmationTag)}
	tree := must[*treekem.Tree](c.t)(treekem.ParseTree(c.suite, must2(mls.FindExtension(info.Extensions, mls.ExtensionRatchetTree)), 0))
	pub := must[mls.HPKEPublicKey](c.t)(framing.DecodeExternalPub(must2(mls.FindExtension(info.Extensions, mls.ExtensionExternalPub))))
	kem, secret, err := c.suite.ExternalInit(pub)
	check(c.t, err)
	init := keyschedule.ExternalInitSecret(c.suite, secret)
	if !bare {
		f.proposals = append([]framing.Proposal{externalInit(kem)}, f.proposals...)
	}
	provisional := info.GroupContext
	provisional.Epoch++
	var list []listedProposal
	for i := range f.proposals {
		if f.proposals[i].Update == nil {
			list = append(list, listedProposal{&f.proposals[i], 0})
		}
	}
	a, ok := applyList(tree, provisional.Extensions, list)
	provisional.Extensions = a.extensions
	out := &forged{tree: a.tree, added: a.added, adds: a.adds}
	if ok {
		out.psks = a.psks
	}
	template := c.template()
	if f.template != nil {
		f.template(template)
	}
	out.path = must[*treekem.Path](c.t)(a.tree.NewExternalPath(template, c.signer, provisional.GroupID))
	commit := &framing.Commit{Proposals: f.items()}
	path := c.forgePath(&f, a, out, &provisional, out.path.Leaf(), true)
	if !f.noPath {
		commit.Path = path
	}
	out.finish(c, old, framing.WireFormatPublicMessage, &f, commit, out.path.CommitSecret(), provisional,
		framing.Sender{Type: framing.SenderNewMemberCommit}, init)
	return out
}

// template is the leaf that c presents outside of any group.
func (c *client) template() *treekem.LeafNode {
	return &treekem.LeafNode{Credential: c.identity().Credential, Capabilities: treekem.DefaultCapabilities(), SignatureKey: c.signer.Public()}
}

func externalInit(kemOutput []byte) framing.Proposal {
	return framing.Proposal{Type: mls.ProposalExternalInit, ExternalInit: &framing.ExternalInit{KEMOutput: kemOutput}}
}

func must2[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}
