package group

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
)

// PublicGroup follows a group through the handshake messages that are sent in
// the clear, without holding a secret: for delivery services and external
// senders. It validates what a member validates, except for what takes a
// secret: membership tags, path secrets, confirmation tags and the availability
// of PSKs. A PublicGroup is not safe for concurrent use.
type PublicGroup struct {
	*view
	cfg       Config
	proposals cache
}

// Observe starts to follow a group from a GroupInfo, and its ratchet tree
// unless the GroupInfo brings it: the contents of a ratchet_tree extension. Both
// are verified as by a joiner.
func Observe(cfg Config, info *framing.GroupInfo, ratchetTree []byte) (*PublicGroup, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	suite, err := mls.LookupSuite(info.GroupContext.CipherSuite)
	if err != nil {
		return nil, err
	}
	v, err := enter(&cfg, suite, info, ratchetTree)
	if err != nil {
		return nil, err
	}
	v.confirm(info.ConfirmationTag)
	return &PublicGroup{cfg: cfg, view: v}, nil
}

// Proposals are the valid proposals seen in this epoch, in order of arrival.
func (p *PublicGroup) Proposals() []PendingProposal { return p.proposals.list() }

// ReInit is the ReInit that shut the group down, if one did.
func (p *PublicGroup) ReInit() (*framing.ReInit, bool) { return p.shutDown() }

// Process says what a message means for the group: a *ReceivedProposal, a
// *Staged, a *Duplicate, a *StaleEpoch or a *FutureEpoch. A PrivateMessage
// can't be read: it is mls.ErrUnsupported.
func (p *PublicGroup) Process(message []byte) (Received, error) {
	m, err := parse(&p.cfg, message)
	if err != nil {
		return nil, err
	}
	if m.Public == nil {
		return nil, mls.ErrUnsupported
	}
	if r, err := p.other(m.Public.Content.GroupID, m.Public.Content.Epoch); r != nil || err != nil {
		return r, err
	}
	ac, err := framing.ObservePublic(m.Public)
	if err != nil {
		return nil, err
	}
	if err := p.authenticate(ac); err != nil {
		return nil, err
	}
	if ac.Content.ContentType == framing.ContentProposal {
		return p.proposals.receive(p.view, &p.cfg, ac)
	}
	return p.stage(ac)
}

// stage processes the public half of a commit (RFC 9420, Section 12.4.2).
func (p *PublicGroup) stage(ac *framing.AuthenticatedContent) (*Staged, error) {
	if p.reinit != nil {
		return nil, mls.Invalid("12.4.2", "reinitialized", "a commit in a group that was reinitialized")
	}
	sender := ac.Content.Sender
	list, err := p.proposals.resolve(ac.Content.Commit.Proposals, sender)
	if err != nil {
		return nil, err
	}
	t, err := p.follow(&p.cfg, ac.Content.Commit, sender, list)
	if err != nil {
		return nil, err
	}
	next, err := p.next(t, p.provisional(t), ac)
	if err != nil {
		return nil, err
	}
	next.confirm(ac.ConfirmationTag)
	return &Staged{base: p.view, next: next, committer: sender, leaf: t.committer, changes: t.changes}, nil
}

// Merge puts a staged commit in place. The only error is mls.ErrWrongEpoch, for
// a commit that was staged on an epoch that is no longer the current one.
func (p *PublicGroup) Merge(s *Staged) error {
	if p.view != s.base {
		return &mls.EpochError{Got: s.base.context.Epoch, Want: p.view.context.Epoch}
	}
	p.view, p.proposals = s.next, cache{}
	return nil
}
