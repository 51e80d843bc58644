package group

import (
	"bytes"
	"math"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// checker validates proposals against an epoch.
type checker struct {
	*view
	cfg *Config
	now time.Time
	// own is set for what we are about to send: lifetimes are then checked
	// whatever Config.AcceptExpired says (RFC 9420, Section 7.3).
	own bool
	// reinitOrBranch admits the PSK of a reinitialization or a branch, in the
	// commit that sets up the new group.
	reinitOrBranch bool
	// verified is what came of the key packages that were verified ahead.
	verified map[*treekem.KeyPackage]error
}

func (v *view) checker(cfg *Config, own bool) *checker {
	return &checker{view: v, cfg: cfg, now: cfg.Time(), own: own}
}

// allowExpired admits lifetimes that have run out in what others send: they may
// have run out only since, and whoever comes back after a while must be able to
// follow the group (RFC 9420, Section 7.3). On joining, and in what we send, they
// are refused.
func (k *checker) allowExpired() bool { return !k.own }

// one validates an individual proposal (RFC 9420, Sections 12.1.1 to 12.1.8).
// index is its place in a commit's list, or -1.
func (k *checker) one(p *proposal, index int) error {
	if err := k.byType(p, index); err != nil {
		return err
	}
	return p.unreadable
}

func (k *checker) byType(p *proposal, index int) error {
	if p.sender.Type == framing.SenderExternal || p.sender.Type == framing.SenderNewMemberProposal {
		if err := k.fromOutside(p); err != nil {
			return err
		}
	}
	switch p.body.Type {
	case mls.ProposalAdd:
		return k.add(&p.body.Add.KeyPackage, index)
	case mls.ProposalUpdate:
		return k.update(&p.body.Update.LeafNode, p.sender, index)
	case mls.ProposalRemove:
		return k.remove(p.body.Remove.Removed, index)
	case mls.ProposalPSK:
		return k.psk(&p.body.PreSharedKey.PSK, index)
	case mls.ProposalReInit:
		return k.reinit(p.body.ReInit, index)
	case mls.ProposalGroupContextExtensions:
		return blame(k.extensions(p.body.GroupContextExtensions.Extensions), at(index))
	case mls.ProposalExternalInit:
		return mls.InvalidAt(at(index), "12.1.6", "external-init", "external_init outside an external commit")
	default:
		return mls.ErrUnsupported
	}
}

// at is a culprit that names a place in a commit's list.
func at(index int) mls.Culprit {
	if index < 0 {
		return mls.Culprit{}
	}
	return mls.Culprit{Proposal: &index}
}

func (k *checker) fromOutside(p *proposal) error {
	theirs := p.pending().Proposal // the application's own
	a := Admission{Sender: p.sender, Proposal: &theirs}
	if p.body.Type == mls.ProposalAdd {
		a.Leaf = p.body.Add.KeyPackage.LeafNode.Clone()
	}
	return k.cfg.authorize(a)
}

func (k *checker) add(kp *treekem.KeyPackage, index int) error {
	who := at(index)
	who.Identity = kp.LeafNode.Credential.String()
	if kp.Version != k.context.Version {
		return mls.InvalidAt(who, "10.1", "version", "key package for protocol version %d", kp.Version)
	}
	if kp.CipherSuite != k.context.CipherSuite {
		return mls.InvalidAt(who, "10.1", "cipher-suite", "key package for %v in a group of %v", kp.CipherSuite, k.context.CipherSuite)
	}
	err, ok := k.verified[kp]
	if !ok {
		err = kp.Verify(k.suite, k.now, k.allowExpired())
	}
	if err != nil {
		return blame(err, who)
	}
	leaf := kp.LeafNode.Presentation()
	if err := k.lifetime(leaf, who); err != nil {
		return err
	}
	return k.cfg.authenticate(k.context.GroupID, leaf, nil, who)
}

// lifetime refuses a key package from the future, and bounds the total lifetime
// that it claims (RFC 9420, Sections 7.2 and 7.3).
func (k *checker) lifetime(leaf treekem.Presentation, who mls.Culprit) error {
	if leaf.Source != treekem.SourceKeyPackage || k.cfg.AcceptExpired && !k.own {
		return nil
	}
	l := leaf.Lifetime
	if l.NotAfter < l.NotBefore || !(treekem.Lifetime{NotBefore: l.NotBefore, NotAfter: math.MaxUint64}).Contains(k.now) {
		return mls.InvalidAt(who, "7.3", "lifetime", "leaf node before its lifetime")
	}
	limit := uint64(k.cfg.Limits.MaxLifetime / time.Second)
	if total := l.NotAfter - l.NotBefore; total > limit {
		return mls.InvalidAt(who, "7.2", "lifetime-too-long", "a lifetime of %d s exceeds the maximum of %d s", total, limit)
	}
	return nil
}

func (k *checker) update(leaf *treekem.LeafNode, sender framing.Sender, index int) error {
	if sender.Type != framing.SenderMember {
		return mls.InvalidAt(at(index), "12.1.2", "sender", "an update that no member sent")
	}
	who := k.culprit(sender.Leaf)
	who.Proposal = at(index).Proposal
	old, ok := k.tree.Leaf(sender.Leaf)
	if !ok {
		return mls.InvalidAt(who, "6.1", "sender-leaf", "sender leaf %d holds no member", sender.Leaf)
	}
	if leaf.Source != treekem.SourceUpdate {
		return mls.InvalidAt(who, "7.3", "leaf-node-source", "leaf node of source %d in an update", leaf.Source)
	}
	if bytes.Equal(leaf.EncryptionKey, old.EncryptionKey) {
		return mls.InvalidAt(who, "7.3", "update-encryption-key", "an update keeps the old encryption key")
	}
	if err := leaf.Check(k.suite, k.now, k.allowExpired()); err != nil {
		return blame(err, who)
	}
	if err := leaf.VerifySignature(k.suite, k.context.GroupID, sender.Leaf); err != nil {
		return blame(err, who)
	}
	return k.cfg.authenticateLeaf(k.context.GroupID, leaf, old, who)
}

func (k *checker) remove(leaf mls.LeafIndex, index int) error {
	if _, ok := k.tree.Leaf(leaf); !ok {
		return mls.InvalidAt(at(index), "12.1.3", "removed-leaf", "leaf %d holds no member to remove", leaf)
	}
	return nil
}

func (k *checker) psk(id *keyschedule.PreSharedKeyID, index int) error {
	if id.Type == keyschedule.PSKResumption && !k.reinitOrBranch {
		switch id.Usage {
		case keyschedule.UsageReInit:
			return mls.InvalidAt(at(index), "12.1.4", "reinit-psk", "a PSK of usage reinit outside a reinitialization")
		case keyschedule.UsageBranch:
			return mls.InvalidAt(at(index), "12.1.4", "branch-psk", "a PSK of usage branch outside a branching")
		}
	}
	if len(id.PSKNonce) != k.suite.HashSize() {
		return mls.InvalidAt(at(index), "12.1.4", "psk-nonce-length", "psk_nonce of %d bytes", len(id.PSKNonce))
	}
	return nil
}

func (k *checker) reinit(r *framing.ReInit, index int) error {
	if r.Version < k.context.Version {
		return mls.InvalidAt(at(index), "12.1.5", "version", "reinit to protocol version %d", r.Version)
	}
	return mls.CheckExtensions(r.Extensions)
}

// extensions validates new group context extensions as far as that is possible
// without the tree that results from the whole list.
func (k *checker) extensions(exts []mls.Extension) error {
	if err := mls.CheckExtensions(exts); err != nil {
		return err
	}
	if _, err := requiredCapabilities(exts); err != nil {
		return err
	}
	if k.own {
		for _, e := range exts {
			if mls.IsGREASE(uint16(e.Type)) {
				return mls.Invalid("13.5", "grease-sent", "GREASE value %#04x as a group context extension", uint16(e.Type))
			}
		}
	}
	senders, err := externalSenders(exts)
	if err != nil {
		return err
	}
	return k.cfg.authenticateExternalSenders(k.suite, k.context.GroupID, senders, k.externalSenders)
}

// blame fills in who is responsible where the rule itself could not know.
func blame(err error, who mls.Culprit) error {
	rule, ok := err.(*mls.RuleError)
	if !ok {
		return err
	}
	if rule.Culprit == nil {
		rule.Culprit = &mls.Culprit{}
	}
	if rule.Culprit.Leaf == nil {
		rule.Culprit.Leaf = who.Leaf
	}
	if rule.Culprit.Proposal == nil {
		rule.Culprit.Proposal = who.Proposal
	}
	if rule.Culprit.Identity == "" {
		rule.Culprit.Identity = who.Identity
	}
	return err
}
