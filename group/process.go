package group

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Received is what became of a message: one of *ReceivedProposal, *Staged,
// *Removal, *Application, *OwnMessage, *Duplicate, *StaleEpoch and
// *FutureEpoch.
type Received interface{ received() }

// ReceivedProposal is a valid proposal. It is kept for the epoch's commit.
type ReceivedProposal struct{ PendingProposal }

// Removal is a commit that removes us. Merging it makes the group inactive.
type Removal struct{ *Staged }

// Application is an application message.
type Application struct {
	// Sender is the sender's leaf in the message's epoch, Credential what it
	// presented then.
	Sender     mls.LeafIndex
	Credential treekem.Credential
	Epoch      uint64
	// Generation counts the sender's messages in the epoch, from 0.
	Generation        uint32
	Data              []byte
	AuthenticatedData []byte
}

// OwnMessage is one of our own messages, echoed by the delivery service. If it
// is a commit, the staged commit can be merged.
type OwnMessage struct {
	ContentType framing.ContentType
	// Known is true for a proposal or commit that this state has sent in this
	// epoch, byte by byte. It is false for application messages, which are not
	// remembered, and for what another copy of this state has sent.
	Known bool
	// Ref is the reference of a known proposal, by which it can be committed
	// (RFC 9420, Section 5.2); nil for anything else.
	Ref []byte
}

// Duplicate is a message that was processed before, or whose key is no longer
// kept.
type Duplicate struct {
	Sender      framing.Sender
	ContentType framing.ContentType
}

// StaleEpoch is a message of an epoch that is over, and that can't be read any
// more: a handshake message that lost the race, or an application message that
// came too late.
type StaleEpoch struct{ Got, Want uint64 }

// FutureEpoch is a message of an epoch that is still to come. Processing it
// again later, after the commits between, can succeed.
type FutureEpoch struct{ Got, Want uint64 }

func (*ReceivedProposal) received() {}
func (*Staged) received()           {}
func (*Removal) received()          {}
func (*Application) received()      {}
func (*OwnMessage) received()       {}
func (*Duplicate) received()        {}
func (*StaleEpoch) received()       {}
func (*FutureEpoch) received()      {}

// Process says what a message means for the group. Proposals are kept;
// application messages use up their key; a commit changes nothing until its
// Staged is merged. After an error the group is what it was.
func (g *Group) Process(message []byte) (Received, error) {
	if err := g.usable(); err != nil {
		return nil, err
	}
	m, err := parse(&g.cfg, message)
	if err != nil {
		return nil, err
	}
	var r Received
	if m.Public != nil {
		r, err = g.processPublic(m.Public, message)
	} else {
		r, err = g.processPrivate(m.Private, message)
	}
	if err := g.sure(err); err != nil {
		return nil, err
	}
	return r, nil
}

// parse admits the messages that a group can process.
func parse(cfg *Config, message []byte) (*framing.Message, error) {
	if len(message) > cfg.Limits.MaxMessage {
		return nil, mls.Invalid("15.1", "message-size", "a message of %d bytes exceeds Limits.MaxMessage", len(message))
	}
	m, err := framing.Parse(message)
	if err != nil {
		return nil, err
	}
	if m.Public == nil && m.Private == nil {
		return nil, mls.Invalid("6", "wire-format", "%v is not a message to a group: join with a Welcome or a GroupInfo, add by a KeyPackage", m.WireFormat)
	}
	return m, nil
}

// other sorts out what is not of this epoch. It returns nil, nil for what is.
func (v *view) other(groupID []byte, epoch uint64) (Received, error) {
	err := v.checkGroup(groupID, epoch)
	if err == nil {
		return nil, nil
	}
	var wrong *mls.EpochError
	if !errors.As(err, &wrong) {
		return nil, err
	}
	if wrong.Got > wrong.Want {
		return &FutureEpoch{wrong.Got, wrong.Want}, nil
	}
	return &StaleEpoch{wrong.Got, wrong.Want}, nil
}

func (g *Group) processPublic(m *framing.PublicMessage, message []byte) (Received, error) {
	if r, err := g.other(m.Content.GroupID, m.Content.Epoch); r != nil || err != nil {
		return r, err
	}
	ac, err := framing.UnprotectPublic(g.epoch, m, g.contextBytes)
	if err != nil {
		return nil, err
	}
	if err := g.authenticate(ac); err != nil {
		return nil, err
	}
	if s := ac.Content.Sender; s.Type == framing.SenderMember && s.Leaf == g.OwnLeaf() {
		return g.own(message, ac.Content.ContentType), nil
	}
	return g.dispatch(ac, nil)
}

// own recognizes an echo.
func (g *Group) own(message []byte, kind framing.ContentType) *OwnMessage {
	m, ok := g.sent[sha256.Sum256(message)]
	if !ok || m.kind != kind {
		return &OwnMessage{ContentType: kind}
	}
	return &OwnMessage{ContentType: kind, Known: true, Ref: bytes.Clone(m.ref)}
}

// errStaged ends the opening of a commit without using up its key: that happens
// when the commit is merged.
var errStaged = errors.New("mls: internal: commit staged")

func (g *Group) processPrivate(m *framing.PrivateMessage, message []byte) (Received, error) {
	other, err := g.other(m.GroupID, m.Epoch)
	if err != nil {
		return nil, err
	}
	if stale, ok := other.(*StaleEpoch); ok && m.ContentType == framing.ContentApplication {
		return g.processPast(m, stale)
	}
	if other != nil {
		return other, nil
	}
	from, err := framing.OpenSender(g.suite, g.epoch, m)
	if err != nil {
		return nil, err
	}
	if !g.tree.Has(from.Leaf) {
		return nil, mls.Invalid("6.3.2", "sender-leaf", "sender leaf %d holds no member", from.Leaf)
	}
	if from.Leaf == g.OwnLeaf() {
		return g.own(message, m.ContentType), nil
	}
	var r Received
	_, err = from.Unprotect(g.ratchets, func(ac *framing.AuthenticatedContent) error {
		if err := g.authenticate(ac); err != nil {
			return err
		}
		r, err = g.dispatch(ac, from)
		if err := g.sure(err); err != nil {
			return err
		}
		if ac.Content.ContentType == framing.ContentCommit {
			return errStaged
		}
		return nil
	})
	switch {
	case errors.Is(err, mls.ErrKeyConsumed):
		return &Duplicate{Sender: framing.Member(from.Leaf), ContentType: m.ContentType}, nil
	case err != nil && err != errStaged:
		return nil, err
	}
	return r, nil
}

// processPast reads a late application message with what is kept of its epoch:
// its keys, and who was a member then (RFC 9420, Section 6.1).
func (g *Group) processPast(m *framing.PrivateMessage, stale *StaleEpoch) (Received, error) {
	p, ok := g.pastEpoch(m.Epoch)
	if !ok {
		return stale, nil
	}
	from, err := framing.OpenSender(g.suite, p.secrets, m)
	if err != nil {
		return nil, err
	}
	leaf, ok := p.roster.leaf(from.Leaf)
	if err := p.roster.tree.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, mls.Invalid("6.3.2", "sender-leaf", "sender leaf %d held no member in epoch %d", from.Leaf, m.Epoch)
	}
	// Past epochs are kept from our joining on, and our leaf stays ours.
	if from.Leaf == g.OwnLeaf() {
		return &OwnMessage{ContentType: m.ContentType}, nil
	}
	ac, err := from.Unprotect(p.ratchets, func(ac *framing.AuthenticatedContent) error {
		return ac.Verify(g.suite, leaf.SignatureKey, p.contextBytes)
	})
	if errors.Is(err, mls.ErrKeyConsumed) {
		return &Duplicate{Sender: framing.Member(from.Leaf), ContentType: m.ContentType}, nil
	}
	if err != nil {
		return nil, err
	}
	return application(ac, from, leaf.Credential), nil
}

func application(ac *framing.AuthenticatedContent, from *framing.PrivateSender, c treekem.Credential) *Application {
	return &Application{
		Sender: from.Leaf, Credential: c, Epoch: ac.Content.Epoch, Generation: from.Generation,
		Data: ac.Content.Application, AuthenticatedData: bytes.Clone(ac.Content.AuthenticatedData), // not with the whole message
	}
}

// dispatch handles authenticated content of the current epoch. from is where
// its key came from, for a PrivateMessage.
func (g *Group) dispatch(ac *framing.AuthenticatedContent, from *framing.PrivateSender) (Received, error) {
	switch ac.Content.ContentType {
	case framing.ContentApplication:
		credential, _ := g.tree.Credential(ac.Content.Sender.Leaf)
		return application(ac, from, credential), nil
	case framing.ContentProposal:
		return g.proposals.receive(g.view, &g.cfg, ac)
	default:
		s, err := g.stage(ac)
		if err != nil {
			return nil, err
		}
		if from != nil {
			s.consumed = &position{from.Leaf, from.Generation}
		}
		if s.removed {
			return &Removal{s}, nil
		}
		return s, nil
	}
}

// receive validates a proposal and keeps it (RFC 9420, Section 12.1).
func (c *cache) receive(v *view, cfg *Config, ac *framing.AuthenticatedContent) (Received, error) {
	ref, err := ac.ProposalRef(v.suite)
	if err != nil {
		return nil, err
	}
	if _, ok := c.get(ref); ok {
		return &Duplicate{Sender: ac.Content.Sender, ContentType: framing.ContentProposal}, nil
	}
	if err := c.room(cfg); err != nil {
		return nil, err
	}
	if ac, err = ac.Clone(); err != nil {
		return nil, err
	}
	p := &proposal{body: ac.Content.Proposal, sender: ac.Content.Sender, ref: ref, content: ac}
	if err := v.sure(v.checker(cfg, false).one(p, -1)); err != nil {
		return nil, err
	}
	c.put(p)
	return &ReceivedProposal{p.pending()}, nil
}

// room refuses a proposal when the epoch holds as many as it may.
func (c *cache) room(cfg *Config) error {
	if len(c.order) >= cfg.Limits.MaxProposals {
		return mls.Invalid("12.1", "too-many-proposals", "the epoch holds %d proposals already", len(c.order))
	}
	return nil
}

// stage processes a commit up to the confirmed next epoch (RFC 9420, Section
// 12.4.2).
func (g *Group) stage(ac *framing.AuthenticatedContent) (*Staged, error) {
	if g.reinit != nil {
		return nil, mls.Invalid("12.4.2", "reinitialized", "a commit in a group that was reinitialized")
	}
	sender, commit := ac.Content.Sender, ac.Content.Commit
	list, err := g.proposals.resolve(commit.Proposals, sender)
	if err != nil {
		return nil, err
	}
	t, err := g.follow(&g.cfg, commit, sender, list)
	if err != nil {
		return nil, err
	}
	s := &Staged{base: g.view, committer: sender, leaf: t.committer, changes: t.changes}
	if t.removes(g.OwnLeaf()) {
		s.removed = true
		return s, nil
	}
	own, signer, err := g.ownUpdates(t)
	if err != nil {
		return nil, err
	}
	context := g.provisional(t)
	commitSecret := mls.ZeroSecret(g.suite.HashSize())
	if commit.Path != nil {
		if own, commitSecret, err = g.openPath(own, t, sender, commit.Path, &context); err != nil {
			return nil, err
		}
	} else {
		own = own.Prune(t.tree)
	}
	defer commitSecret.Destroy()
	if s.next, err = g.next(t, context, ac); err != nil {
		return nil, err
	}
	joiner, psk, err := g.joiner(t, commitSecret, s.next)
	if err != nil {
		return nil, err
	}
	defer joiner.Destroy()
	defer psk.Destroy()
	epoch := joiner.Epoch(psk, s.next.contextBytes)
	if !epoch.VerifyConfirmationTag(s.next.context.ConfirmedTranscriptHash, ac.ConfirmationTag) {
		epoch.Destroy()
		return nil, withCause(mls.Invalid("12.4.2", "confirmation-tag", "the confirmation tag does not match the new epoch"), mls.ErrAuth)
	}
	s.next.confirm(ac.ConfirmationTag)
	s.secret = newSecrets(&g.cfg, s.next, epoch, own, signer)
	return s, nil
}

// ErrOwnUpdateLost: a commit applies an Update of ours whose private key is not
// in this state, because another copy of the state proposed it. The group can be
// rejoined.
var ErrOwnUpdateLost = errors.New("mls: the private key of an own update is not in this state: rejoin the group")

// ownUpdates installs the key of an own Update that the commit applies.
func (g *Group) ownUpdates(t *transition) (*treekem.Private, mls.Signer, error) {
	for _, p := range t.list {
		if p.body.Type != mls.ProposalUpdate || p.sender.Leaf != g.OwnLeaf() {
			continue
		}
		u, ok := g.updates[string(p.body.Update.LeafNode.EncryptionKey)]
		if !ok {
			return nil, nil, ErrOwnUpdateLost
		}
		return g.private.WithLeafKey(u.key), u.signer, nil
	}
	return g.private, g.signer, nil
}

// openPath decrypts the path secret that a commit has for us.
func (g *Group) openPath(own *treekem.Private, t *transition, sender framing.Sender, path *treekem.UpdatePath, context *keyschedule.GroupContext) (*treekem.Private, mls.Secret, error) {
	contextBytes, err := context.Bytes()
	if err != nil {
		return nil, mls.Secret{}, err
	}
	next, secret, err := own.Open(t.tree, t.committer, path, contextBytes, t.addedLeaves())
	if err != nil {
		who := mls.Culprit{Leaf: &t.committer}
		if sender.Type == framing.SenderMember {
			who = g.culprit(sender.Leaf)
		}
		return nil, mls.Secret{}, blame(err, who)
	}
	return next, secret, nil
}

// joiner is the step of the key schedule from this epoch to the next (RFC 9420,
// Section 8), with the PSKs of the list.
func (g *Group) joiner(t *transition, commitSecret mls.Secret, next *view) (*keyschedule.JoinerSecret, keyschedule.PSKSecret, error) {
	psk, err := g.pskSecret(t.psks)
	if err != nil {
		return nil, psk, err
	}
	if !t.external {
		return g.epoch.Init().Joiner(commitSecret, next.contextBytes), psk, nil
	}
	init, err := g.epoch.OpenExternalInit(t.kemOutput)
	if err != nil {
		return nil, psk, err
	}
	defer init.Destroy()
	return init.Joiner(commitSecret, next.contextBytes), psk, nil
}
