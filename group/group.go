package group

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Group is one member's state of one group (RFC 9420). A Group is not safe for
// concurrent use.
type Group struct {
	*view
	*secrets
	cfg       Config
	proposals cache
	// updates are the private halves of own Update proposals of this epoch, by
	// encryption key.
	updates map[string]ownUpdate
	// sent are own handshake messages of this epoch by their SHA-256, to know
	// them when they are echoed.
	sent map[[sha256.Size]byte]sent
	// past are the epochs whose late messages can still be read, newest first.
	past []*pastEpoch
	// welcomed is set once a commit without a path has welcomed somebody in
	// this epoch. Without fresh path secrets, and with signatures that are
	// deterministic, another commit of the same proposals would come to the
	// same Welcome key and nonce for another GroupInfo.
	welcomed bool
	removed  bool
}

// secrets is the secret half of an epoch.
type secrets struct {
	epoch    *keyschedule.EpochSecrets
	ratchets *keyschedule.SecretTree
	private  *treekem.Private
	signer   mls.Signer
}

// sent is what is remembered of an own handshake message.
type sent struct {
	kind framing.ContentType
	ref  []byte // of a proposal
}

type ownUpdate struct {
	key    *mls.HPKEPrivateKey
	signer mls.Signer
}

// CreateOptions says what group to create.
type CreateOptions struct {
	// GroupID is the group's identifier; nil stands for a random one.
	GroupID []byte
	// Identity is the creator's.
	Identity Identity
	// Extensions are the group context's.
	Extensions []mls.Extension
}

// New creates a group of one member, its creator (RFC 9420, Section 11).
func New(cfg Config, suite *mls.Suite, opt CreateOptions) (*Group, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt.GroupID == nil {
		opt.GroupID = make([]byte, suite.HashSize())
		rand.Read(opt.GroupID)
	}
	kp, private, err := NewKeyPackage(cfg, suite, KeyPackageOptions{Identity: opt.Identity})
	if err != nil {
		return nil, err
	}
	private.InitKey.Destroy()
	tree, err := treekem.NewTree(suite, &kp.LeafNode)
	if err != nil {
		return nil, err
	}
	if err := mls.CheckExtensions(opt.Extensions); err != nil {
		return nil, err
	}
	v, err := newView(suite, keyschedule.GroupContext{
		Version: mls.MLS10, CipherSuite: suite.ID(), GroupID: bytes.Clone(opt.GroupID),
		TreeHash: tree.Hash(), Extensions: opt.Extensions,
	}, tree)
	if err != nil {
		return nil, err
	}
	if err := v.checkCreation(&cfg, &kp.LeafNode); err != nil {
		return nil, err
	}
	epoch := keyschedule.FirstEpoch(suite, v.contextBytes)
	v.confirm(epoch.ConfirmationTag(nil))
	return start(cfg, v, epoch, treekem.NewPrivate(suite, 0, private.LeafKey), opt.Identity.Signer), nil
}

// checkCreation holds the creator's choices against each other.
func (v *view) checkCreation(cfg *Config, leaf *treekem.LeafNode) error {
	k := v.checker(cfg, true)
	if err := k.extensions(v.context.Extensions); err != nil {
		return err
	}
	if err := v.tree.CheckRequired(v.required); err != nil {
		return err
	}
	if err := checkCapabilities(v.tree, &v.context); err != nil {
		return err
	}
	if err := cfg.authenticateExternalSenders(v.suite, v.context.GroupID, v.externalSenders, nil); err != nil {
		return err
	}
	zero := mls.LeafIndex(0)
	return cfg.authenticateLeaf(v.context.GroupID, leaf, nil, mls.Culprit{Leaf: &zero})
}

// start is a group at the beginning of an epoch.
func start(cfg Config, v *view, epoch *keyschedule.EpochSecrets, private *treekem.Private, signer mls.Signer) *Group {
	return &Group{cfg: cfg, view: v, secrets: newSecrets(&cfg, v, epoch, private, signer)}
}

func newSecrets(cfg *Config, v *view, epoch *keyschedule.EpochSecrets, private *treekem.Private, signer mls.Signer) *secrets {
	ratchets := epoch.TakeSecretTree(v.tree.Width())
	ratchets.SetBounds(cfg.Limits.bounds())
	return &secrets{epoch: epoch, ratchets: ratchets, private: private, signer: signer}
}

// OwnLeaf is our leaf.
func (g *Group) OwnLeaf() mls.LeafIndex { return g.private.Leaf() }

// EpochAuthenticator is the same for all members of the epoch, and for nobody
// else (RFC 9420, Section 8.7). It has the suite's hash size.
func (g *Group) EpochAuthenticator() []byte { return g.epoch.EpochAuthenticator() }

// Export derives a secret of length bytes from the epoch, for use outside of
// MLS (RFC 9420, Section 8.5). The error is mls.ErrRemoved if we were removed.
func (g *Group) Export(label string, context []byte, length int) (mls.Secret, error) {
	if err := g.usable(); err != nil {
		return mls.Secret{}, err
	}
	return g.epoch.Exporter(label, context, length)
}

// ResumptionPSK is the epoch's resumption PSK, to be injected in another group
// or a later epoch (RFC 9420, Section 8.6).
func (g *Group) ResumptionPSK() mls.Secret { return g.epoch.ResumptionPSK() }

// ReInit is the ReInit that shut the group down, if one did (RFC 9420, Section
// 11.2).
func (g *Group) ReInit() (*framing.ReInit, bool) { return g.shutDown() }

// Active tells whether we can still send in the group: we were not removed, and
// it was not reinitialized.
func (g *Group) Active() bool { return !g.removed && g.reinit == nil }

// PendingProposal is a proposal of the current epoch that waits for a commit.
type PendingProposal struct {
	Ref      []byte
	Proposal framing.Proposal
	Sender   framing.Sender
}

// Proposals are the valid proposals seen in this epoch, in order of arrival.
func (g *Group) Proposals() []PendingProposal { return g.proposals.list() }

func (c *cache) list() []PendingProposal {
	list := make([]PendingProposal, len(c.order))
	for i, p := range c.order {
		list[i] = p.pending()
	}
	return list
}

// pending is the proposal for others, who may change theirs.
func (p *proposal) pending() PendingProposal {
	out := PendingProposal{Ref: bytes.Clone(p.ref), Sender: p.sender}
	encoded, err := wire.Marshal(p.body)
	if err == nil {
		err = wire.UnmarshalOwned(encoded, &out.Proposal)
	}
	if err != nil {
		panic("mls: internal error: a kept proposal: " + err.Error())
	}
	return out
}

// usable refuses what a former member can't do.
func (g *Group) usable() error {
	if g.removed {
		return mls.ErrRemoved
	}
	return nil
}

// sendable refuses what can't be done in a group that was left or shut down.
func (g *Group) sendable() error {
	if err := g.usable(); err != nil {
		return err
	}
	if g.reinit != nil {
		return mls.Invalid("12.4.2", "reinitialized", "the group was reinitialized: nothing can be sent in it")
	}
	return nil
}

// Merge puts a staged commit in place: the group is then in the epoch that it
// begins. The only errors are mls.ErrWrongEpoch, for a commit that was staged on
// an epoch that is no longer the current one (it lost the race), mls.ErrRemoved,
// and one for a Staged that was destroyed.
func (g *Group) Merge(s *Staged) error {
	if err := g.usable(); err != nil {
		return err
	}
	if g.view != s.base {
		return &mls.EpochError{Got: s.base.context.Epoch, Want: g.view.context.Epoch}
	}
	if s.removed {
		g.leave()
		return nil
	}
	if s.secret == nil {
		return errors.New("mls: Merge of a Staged that was destroyed")
	}
	if s.consumed != nil {
		// Reaching the key again can't fail: it opened the commit before.
		_ = g.ratchets.Open(s.consumed.leaf, keyschedule.Handshake, s.consumed.generation,
			func(mls.Secret, []byte) error { return nil })
	}
	g.retire()
	old := g.private
	g.view, g.secrets, s.merged = s.next, s.secret, true
	old.DestroyExcept(g.private)
	g.forgetEpoch()
	return nil
}

// Destroy clears the group's secrets from memory, of the current epoch and of
// past ones; signature keys stay with their Signers. The group is then one that
// we were removed from. A Staged made from it must not be used either.
func (g *Group) Destroy() {
	if !g.removed { // else that has happened, or a restored state has no secrets
		g.leave()
	}
}

// leave is what remains of a group that removed us: nothing that could read it.
func (g *Group) leave() {
	g.removed = true
	g.forgetEpoch()
	g.epoch.Destroy()
	g.ratchets.Destroy()
	g.private.DestroyExcept(nil)
	for _, p := range g.past {
		p.destroy()
	}
	g.past = nil
}

// forgetEpoch drops what belonged to the epoch just left.
func (g *Group) forgetEpoch() {
	for _, u := range g.updates {
		if !g.private.Holds(u.key) {
			u.key.Destroy()
		}
	}
	g.proposals, g.updates, g.sent, g.welcomed = cache{}, nil, nil, false
}

func (g *Group) remember(hash [sha256.Size]byte, m sent) {
	if g.sent == nil {
		g.sent = make(map[[sha256.Size]byte]sent)
	}
	g.sent[hash] = m
}
