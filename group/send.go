package group

import (
	"bytes"
	"cmp"
	"crypto/sha256"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Protect encrypts an application message to the group. The result is an
// encoded MLSMessage; authenticatedData travels beside the ciphertext in the
// clear, but authenticated. The key is used once and gone: the state must be
// saved before the message is handed out.
//
// While proposals of this epoch wait to be committed it fails with
// mls.ErrPending (RFC 9420, Section 12.4).
func (g *Group) Protect(data, authenticatedData []byte) ([]byte, error) {
	if err := g.sendable(); err != nil {
		return nil, err
	}
	if len(g.proposals.order) > 0 {
		return nil, mls.ErrPending
	}
	content := g.content(framing.ContentApplication, authenticatedData)
	content.Application = data
	ac, err := framing.Sign(g.suite, g.signer, framing.WireFormatPrivateMessage, content, g.contextBytes)
	if err != nil {
		return nil, err
	}
	return g.protectPrivate(ac, len(data))
}

// Reserve prepares the keys of the next n application messages. A state that is
// saved afterwards stands past them, so Protect can use them without saving the
// state each time; if they are lost with the process, their generations are
// skipped (RFC 9420, Section 9.1). They are lost with the epoch too.
func (g *Group) Reserve(n int) error {
	if err := g.sendable(); err != nil {
		return err
	}
	return g.ratchets.Reserve(g.OwnLeaf(), keyschedule.Application, n)
}

// Reserved is how many messages Protect can make before the state has to be
// saved again.
func (g *Group) Reserved() int {
	return g.ratchets.Reserved(g.OwnLeaf(), keyschedule.Application)
}

// content is the frame of something that we send in this epoch.
func (g *Group) content(kind framing.ContentType, authenticatedData []byte) framing.FramedContent {
	return framing.FramedContent{
		GroupID: g.context.GroupID, Epoch: g.context.Epoch,
		Sender:            framing.Sender{Type: framing.SenderMember, Leaf: g.OwnLeaf()},
		AuthenticatedData: authenticatedData, ContentType: kind,
	}
}

func (g *Group) protectPrivate(ac *framing.AuthenticatedContent, size int) ([]byte, error) {
	return framing.ProtectPrivate(g.suite, g.epoch, g.ratchets, ac, g.cfg.padding(size))
}

// protect frames a proposal or commit by the configured policy, and remembers
// it in order to know its echo.
func (g *Group) protect(ac *framing.AuthenticatedContent) ([]byte, error) {
	var message []byte
	var err error
	if ac.WireFormat == framing.WireFormatPrivateMessage {
		message, err = g.protectPrivate(ac, 0)
	} else {
		message, err = framing.ProtectPublic(g.suite, g.epoch, ac, g.contextBytes)
	}
	if err != nil {
		return nil, err
	}
	m := sent{kind: ac.Content.ContentType}
	if m.kind == framing.ContentProposal {
		if m.ref, err = ac.ProposalRef(g.suite); err != nil {
			return nil, err
		}
	}
	g.remember(sha256.Sum256(message), m)
	return message, nil
}

// Propose makes a proposal to the group: add, remove, psk, reinit or
// group_context_extensions. The result is an encoded MLSMessage. For an update
// see [Group.ProposeUpdate].
func (g *Group) Propose(p framing.Proposal, authenticatedData []byte) ([]byte, error) {
	if p.Type == mls.ProposalUpdate {
		return nil, mls.Invalid("12.1.2", "sender", "an update is proposed by ProposeUpdate, which makes its keys")
	}
	return g.propose(p, authenticatedData)
}

// UpdateOptions says how an own Update differs from the current leaf.
type UpdateOptions struct {
	// Identity replaces how we present ourselves; nil keeps it.
	Identity *Identity
	// AuthenticatedData travels with the proposal.
	AuthenticatedData []byte
}

// ProposeUpdate proposes to replace our leaf by one with a fresh encryption key
// (RFC 9420, Section 12.1.2). Somebody else must commit it.
func (g *Group) ProposeUpdate(opt UpdateOptions) ([]byte, error) {
	leaf, signer, err := g.nextLeaf(opt.Identity)
	if err != nil {
		return nil, err
	}
	key, err := g.suite.GenerateKeyPair()
	if err != nil {
		return nil, err
	}
	leaf.EncryptionKey, leaf.Source = key.Public(), treekem.SourceUpdate
	if err := leaf.Sign(g.suite, signer, g.context.GroupID, g.OwnLeaf()); err != nil {
		return nil, err
	}
	message, err := g.propose(framing.Proposal{Type: mls.ProposalUpdate, Update: &framing.Update{LeafNode: *leaf}}, opt.AuthenticatedData)
	if err != nil {
		key.Destroy()
		return nil, err
	}
	if g.updates == nil {
		g.updates = make(map[string]ownUpdate)
	}
	g.updates[string(leaf.EncryptionKey)] = ownUpdate{key, signer}
	return message, nil
}

// nextLeaf is an unsigned copy of our leaf, under another identity if one is
// given.
func (g *Group) nextLeaf(id *Identity) (*treekem.LeafNode, mls.Signer, error) {
	if err := g.sendable(); err != nil {
		return nil, nil, err
	}
	if id != nil {
		leaf, err := id.leaf()
		return leaf, id.Signer, err
	}
	own, ok := g.tree.Leaf(g.OwnLeaf())
	if !ok {
		return nil, nil, g.sure(mls.ErrRemoved)
	}
	return &treekem.LeafNode{
		SignatureKey: own.SignatureKey, Credential: own.Credential, Capabilities: own.Capabilities, Extensions: own.Extensions,
	}, g.signer, nil
}

// ownProposal is a proposal of ours as others will read it, which shares nothing
// with the caller's.
func ownProposal(p *framing.Proposal, sender framing.Sender) (*proposal, error) {
	encoded, err := wire.Marshal(p)
	if err != nil {
		return nil, err // one without its body
	}
	body := new(framing.Proposal)
	if err := wire.UnmarshalOwned(encoded, body); err != nil {
		// The rules, which come first, may say better what is wrong with it.
		return &proposal{body: p, sender: sender, unreadable: err}, nil
	}
	return &proposal{body: body, sender: sender}, nil
}

func (g *Group) propose(body framing.Proposal, authenticatedData []byte) ([]byte, error) {
	if err := g.sendable(); err != nil {
		return nil, err
	}
	if err := g.proposals.room(&g.cfg); err != nil {
		return nil, err
	}
	content := g.content(framing.ContentProposal, bytes.Clone(authenticatedData))
	p, err := ownProposal(&body, content.Sender)
	if err != nil {
		return nil, err
	}
	content.Proposal = p.body
	if err := g.sure(g.checker(&g.cfg, true).one(p, -1)); err != nil {
		return nil, err
	}
	ac, err := framing.Sign(g.suite, g.signer, g.cfg.Handshakes, content, g.contextBytes)
	if err != nil {
		return nil, err
	}
	if p.ref, err = ac.ProposalRef(g.suite); err != nil {
		return nil, err
	}
	message, err := g.protect(ac)
	if err != nil {
		return nil, err
	}
	p.content = ac
	g.proposals.put(p)
	return message, nil
}

// ProposeExternal makes a proposal as an external sender, the one that the
// group's external_senders extension lists at senderIndex (RFC 9420, Section
// 12.1.8).
func ProposeExternal(suite *mls.Suite, signer mls.Signer, senderIndex uint32, groupID []byte, epoch uint64, p framing.Proposal, authenticatedData []byte) ([]byte, error) {
	return proposeFromOutside(suite, signer, framing.FramedContent{
		Sender:  framing.Sender{Type: framing.SenderExternal, SenderIndex: senderIndex},
		GroupID: bytes.Clone(groupID), Epoch: epoch, AuthenticatedData: authenticatedData, Proposal: &p,
	})
}

// ProposeNewMember makes a new member's proposal to add itself (RFC 9420,
// Section 12.1.8). signer must be that of the key package.
func ProposeNewMember(suite *mls.Suite, signer mls.Signer, groupID []byte, epoch uint64, kp *treekem.KeyPackage) ([]byte, error) {
	p := AddProposal(kp)
	return proposeFromOutside(suite, signer, framing.FramedContent{
		Sender:  framing.Sender{Type: framing.SenderNewMemberProposal},
		GroupID: bytes.Clone(groupID), Epoch: epoch, Proposal: &p,
	})
}

// notSent says why a proposal that others could not decode is not sent.
func notSent(p *proposal) error {
	if p.body.Type == mls.ProposalAdd {
		kp := &p.body.Add.KeyPackage
		if err := cmp.Or(mls.CheckExtensions(kp.Extensions), mls.CheckExtensions(kp.LeafNode.Extensions)); err != nil {
			return err
		}
	}
	return p.unreadable
}

func proposeFromOutside(suite *mls.Suite, signer mls.Signer, content framing.FramedContent) ([]byte, error) {
	content.ContentType = framing.ContentProposal
	p, err := ownProposal(content.Proposal, content.Sender)
	if err != nil {
		return nil, err
	}
	if p.unreadable != nil {
		return nil, notSent(p)
	}
	ac, err := framing.Sign(suite, signer, framing.WireFormatPublicMessage, content, nil)
	if err != nil {
		return nil, err
	}
	return framing.ProtectPublic(suite, nil, ac, nil)
}
