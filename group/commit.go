package group

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// CommitOptions says what to commit. The zero value commits the proposals that
// were received and renews our path.
type CommitOptions struct {
	// Proposals are committed by value.
	Proposals []framing.Proposal
	// References name received or own proposals to commit. Nil stands for as
	// many as make a valid list (RFC 9420, Section 12.4); an empty list for
	// none.
	References [][]byte
	// OmitPath leaves out the path where the list allows it: the commit is
	// then smaller and gives no post-compromise security. Of the commits made
	// in an epoch, only the first that adds members can do without one.
	OmitPath bool
	// Identity replaces how we present ourselves, if there is a path; nil
	// keeps it.
	Identity *Identity
	// TreeApart leaves the ratchet tree out of the Welcome: joiners need it
	// from elsewhere.
	TreeApart bool
	// GroupInfoExtensions go into the Welcome's GroupInfo.
	GroupInfoExtensions []mls.Extension
	// AuthenticatedData travels with the commit.
	AuthenticatedData []byte
}

// Commit makes a commit (RFC 9420, Section 12.4.1). The group stays in its
// epoch until the Staged is merged, which is to happen once the delivery
// service has accepted Staged.Message for the epoch; only the handshake ratchet
// moves, so the state must be saved before the message is handed out.
func (g *Group) Commit(opt CommitOptions) (*Staged, error) {
	if err := g.sendable(); err != nil {
		return nil, err
	}
	list, err := g.commitList(&opt)
	if err != nil {
		return nil, g.sure(err)
	}
	s, err := g.commit(opt, list, g.checker(&g.cfg, true))
	if err := g.sure(err); err != nil {
		return nil, err
	}
	return s, nil
}

// commitList is what the options ask to commit, references first.
func (g *Group) commitList(opt *CommitOptions) ([]*proposal, error) {
	sender := framing.Member(g.OwnLeaf())
	values := make([]*proposal, len(opt.Proposals))
	for i := range opt.Proposals {
		var err error
		if values[i], err = ownProposal(&opt.Proposals[i], sender); err != nil {
			return nil, err
		}
	}
	if opt.References == nil {
		return append(g.selectReferences(values), values...), nil
	}
	var list []*proposal
	for _, ref := range opt.References {
		p, ok := g.proposals.get(ref)
		if !ok {
			return nil, mls.ErrUnknownProposal
		}
		list = append(list, p)
	}
	return append(list, values...), nil
}

// commit makes a commit of a list.
func (g *Group) commit(opt CommitOptions, list []*proposal, k *checker) (*Staged, error) {
	if err := k.regular(list, g.OwnLeaf()); err != nil {
		return nil, err
	}
	sender := framing.Member(g.OwnLeaf())
	t, err := g.apply(list, sender)
	if err != nil {
		return nil, err
	}
	m := &maker{
		view: g.view, cfg: &g.cfg, opt: opt, t: t, sender: sender, wire: g.cfg.Handshakes,
		signer: g.signer, nextSigner: g.signer, private: g.private, keeps: g.private,
		init: g.epoch.Init(), pskSecret: g.pskSecret, protect: g.protect,
	}
	if !opt.OmitPath || needsPath(list) || g.welcomed {
		var leaf *treekem.LeafNode
		if leaf, m.nextSigner, err = g.nextLeaf(opt.Identity); err == nil {
			err = m.renewPath(leaf)
		}
	} else {
		m.commitSecret = mls.ZeroSecret(g.suite.HashSize())
	}
	if err != nil {
		return nil, err
	}
	s, err := m.make()
	if err == nil && m.path == nil && s.welcome != nil {
		g.welcomed = true
	}
	return s, err
}

// maker is a commit in the making, a member's or a joiner's.
type maker struct {
	*view
	cfg    *Config
	opt    CommitOptions
	t      *transition
	sender framing.Sender
	wire   framing.WireFormat
	// signer is who the group knows, nextSigner who signs in the next epoch.
	signer, nextSigner mls.Signer
	private            *treekem.Private
	keeps              *treekem.Private // what the group has, and may go on with
	path               *treekem.Path
	commitSecret       mls.Secret
	init               *keyschedule.InitSecret
	pskSecret          func([]keyschedule.PreSharedKeyID) (keyschedule.PSKSecret, error)
	protect            func(*framing.AuthenticatedContent) ([]byte, error)
}

// renewPath makes fresh keys for the committer's leaf and path.
func (m *maker) renewPath(leaf *treekem.LeafNode) (err error) {
	t := m.t
	if t.external {
		m.path, err = t.applied.NewExternalPath(leaf, m.nextSigner, m.context.GroupID)
	} else {
		m.path, err = t.applied.NewPath(t.committer, leaf, m.nextSigner, m.context.GroupID)
	}
	if err != nil {
		return err
	}
	var old *treekem.LeafNode
	if !t.external {
		old, _ = m.tree.Leaf(t.committer)
	}
	t.committer, t.tree = m.path.Leaf(), m.path.Tree()
	m.private, m.commitSecret = m.path.Private(), m.path.CommitSecret()
	t.notePath(m.path.LeafNode(), old)
	return nil
}

// make seals, signs and confirms the commit, and welcomes the new members.
func (m *maker) make() (*Staged, error) {
	defer m.commitSecret.Destroy()
	if m.path != nil {
		defer m.path.Destroy()
	}
	if err := m.checkSupport(m.cfg, m.t); err != nil {
		return nil, err
	}
	context := m.provisional(m.t)
	ac, err := m.sign(&context)
	if err != nil {
		return nil, err
	}
	next, err := m.next(m.t, context, ac)
	if err != nil {
		return nil, err
	}
	psk, err := m.pskSecret(m.t.psks)
	if err != nil {
		return nil, err
	}
	defer psk.Destroy()
	joiner := m.init.Joiner(m.commitSecret, next.contextBytes)
	defer joiner.Destroy()
	epoch := joiner.Epoch(psk, next.contextBytes)
	ac.ConfirmationTag = epoch.ConfirmationTag(next.context.ConfirmedTranscriptHash)
	next.confirm(ac.ConfirmationTag)
	s := &Staged{
		base: m.view, next: next, secret: newSecrets(m.cfg, next, epoch, m.private.Prune(next.tree), m.nextSigner),
		keeps: m.keeps, committer: m.sender, leaf: m.t.committer, changes: m.t.changes,
	}
	if s.welcome, err = m.welcome(s, joiner, psk); err != nil {
		return nil, err
	}
	if err := next.sure(nil); err != nil {
		return nil, err
	}
	// Last, because it uses up a key of the handshake ratchet.
	s.message, err = m.protect(ac)
	return s, err
}

// sign makes the Commit, its path encrypted under the provisional context, and
// signs it in the old epoch's context (RFC 9420, Section 12.4.1).
func (m *maker) sign(provisional *keyschedule.GroupContext) (*framing.AuthenticatedContent, error) {
	commit := &framing.Commit{Proposals: make([]framing.ProposalOrRef, len(m.t.list))}
	for i, p := range m.t.list {
		if p.ref != nil {
			commit.Proposals[i].Ref = p.ref
		} else {
			commit.Proposals[i].Proposal = p.body
		}
	}
	if m.path != nil {
		contextBytes, err := provisional.Bytes()
		if err != nil {
			return nil, err
		}
		if commit.Path, err = m.path.Seal(contextBytes, m.t.addedLeaves()); err != nil {
			return nil, err
		}
	}
	return framing.Sign(m.suite, m.signer, m.wire, framing.FramedContent{
		GroupID: m.context.GroupID, Epoch: m.context.Epoch, Sender: m.sender,
		AuthenticatedData: m.opt.AuthenticatedData, ContentType: framing.ContentCommit, Commit: commit,
	}, m.contextBytes)
}
