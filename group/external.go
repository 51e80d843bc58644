package group

import (
	"bytes"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// ExternalJoinOptions says how to join by an external commit.
type ExternalJoinOptions struct {
	// Identity is the joiner's.
	Identity Identity
	// RatchetTree is the group's tree, when the GroupInfo does not bring it.
	RatchetTree []byte
	// Resync removes our former self, the member with our signature key or
	// else with our credential. Remove names it by its leaf instead.
	Resync bool
	Remove *mls.LeafIndex
	// PSKs are injected; they come from Config.PSK.
	PSKs []keyschedule.PreSharedKeyID
	// AuthenticatedData travels with the commit.
	AuthenticatedData []byte
}

// JoinExternal joins a group by an external commit (RFC 9420, Section
// 12.4.3.2), on the strength of a GroupInfo with an external_pub extension. It
// returns the group in the epoch that the commit begins, and the commit, an
// encoded MLSMessage. If the delivery service refuses the commit, drop the
// group and try again with the next epoch's GroupInfo.
func JoinExternal(cfg Config, info *framing.GroupInfo, opt ExternalJoinOptions) (*Group, []byte, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	suite, err := mls.LookupSuite(info.GroupContext.CipherSuite)
	if err != nil {
		return nil, nil, err
	}
	v, err := enter(&cfg, suite, info, opt.RatchetTree)
	if err != nil {
		return nil, nil, err
	}
	v.confirm(info.ConfirmationTag)
	leaf, err := v.joinerLeaf(&opt.Identity)
	if err != nil {
		return nil, nil, err
	}
	list, init, err := v.externalList(&opt, info)
	if err != nil {
		return nil, nil, err
	}
	defer init.Destroy()
	s, err := v.externalCommit(&cfg, &opt, list, leaf, init)
	if err != nil {
		return nil, nil, err
	}
	return &Group{cfg: cfg, view: s.next, secrets: s.secret}, s.message, nil
}

// joinerLeaf is the joiner's leaf, which must support what the group uses.
func (v *view) joinerLeaf(id *Identity) (*treekem.LeafNode, error) {
	leaf, err := id.leaf()
	if err != nil {
		return nil, err
	}
	for _, e := range v.context.Extensions {
		if !leaf.Capabilities.SupportsExtension(e.Type) {
			return nil, mls.Invalid("13.4", "joiner-extension-support", "the group uses extension %#04x, which our leaf does not support", uint16(e.Type))
		}
	}
	return leaf, nil
}

// externalList is the list of proposals of an external commit, and the init
// secret that it sends to the group (RFC 9420, Section 8.3).
func (v *view) externalList(opt *ExternalJoinOptions, info *framing.GroupInfo) ([]*proposal, *keyschedule.InitSecret, error) {
	data, ok := mls.FindExtension(info.Extensions, mls.ExtensionExternalPub)
	if !ok {
		return nil, nil, mls.Invalid("12.4.3.2", "external-pub", "the GroupInfo brings no external_pub: the group does not invite external commits")
	}
	pub, err := framing.DecodeExternalPub(data)
	if err != nil {
		return nil, nil, err
	}
	sender := framing.Sender{Type: framing.SenderNewMemberCommit}
	bodies, err := v.externalBodies(opt)
	if err != nil {
		return nil, nil, err
	}
	kemOutput, secret, err := v.suite.ExternalInit(pub)
	if err != nil {
		return nil, nil, err
	}
	list := []*proposal{{sender: sender, body: &framing.Proposal{
		Type: mls.ProposalExternalInit, ExternalInit: &framing.ExternalInit{KEMOutput: kemOutput},
	}}}
	for i := range bodies {
		list = append(list, &proposal{sender: sender, body: &bodies[i]})
	}
	return list, keyschedule.ExternalInitSecret(v.suite, secret), nil
}

func (v *view) externalBodies(opt *ExternalJoinOptions) ([]framing.Proposal, error) {
	var bodies []framing.Proposal
	remove := opt.Remove
	if remove == nil && opt.Resync {
		former, ok := v.formerSelf(&opt.Identity)
		if !ok {
			return nil, errors.New("mls: no member has our signature key or credential: join without Resync, or name the leaf in Remove")
		}
		remove = &former
	}
	if remove != nil {
		bodies = append(bodies, RemoveProposal(*remove))
	}
	for _, id := range opt.PSKs {
		bodies = append(bodies, pskProposal(id))
	}
	return bodies, nil
}

// formerSelf finds the member that a resync is to replace.
func (v *view) formerSelf(id *Identity) (mls.LeafIndex, bool) {
	if leaf, ok := v.tree.FindSignatureKey(id.Signer.Public()); ok {
		return leaf, true
	}
	for leaf, node := range v.tree.Leaves() {
		if node.Credential.Equal(id.Credential) {
			return leaf, true
		}
	}
	return 0, false
}

func (v *view) externalCommit(cfg *Config, opt *ExternalJoinOptions, list []*proposal, leaf *treekem.LeafNode, init *keyschedule.InitSecret) (*Staged, error) {
	if err := v.checker(cfg, true).external(list); err != nil {
		return nil, err
	}
	sender := framing.Sender{Type: framing.SenderNewMemberCommit}
	t, err := v.apply(list, sender)
	if err != nil {
		return nil, err
	}
	m := &maker{
		view: v, cfg: cfg, t: t, sender: sender, wire: framing.WireFormatPublicMessage,
		signer: opt.Identity.Signer, nextSigner: opt.Identity.Signer, init: init,
		opt: CommitOptions{AuthenticatedData: opt.AuthenticatedData},
		pskSecret: func(ids []keyschedule.PreSharedKeyID) (keyschedule.PSKSecret, error) {
			return chainPSKs(v.suite, ids, cfg.findPSK, func(missing error) error {
				return mls.Invalid("12.4.2", "psk-unavailable", "%w", missing)
			})
		},
		protect: func(ac *framing.AuthenticatedContent) ([]byte, error) {
			return framing.ProtectPublic(v.suite, nil, ac, nil)
		},
	}
	if err := m.renewPath(leaf); err != nil {
		return nil, err
	}
	return m.make()
}

// equalExtensions compares lists of extensions, order included.
func equalExtensions(a, b []mls.Extension) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Type != b[i].Type || !bytes.Equal(a[i].Data, b[i].Data) {
			return false
		}
	}
	return true
}
