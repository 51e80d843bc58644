package group

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// AddProposal proposes to add the client that made the key package.
func AddProposal(kp *treekem.KeyPackage) framing.Proposal {
	return framing.Proposal{Type: mls.ProposalAdd, Add: &framing.Add{KeyPackage: *kp}}
}

// RemoveProposal proposes to remove the member at leaf.
func RemoveProposal(leaf mls.LeafIndex) framing.Proposal {
	return framing.Proposal{Type: mls.ProposalRemove, Remove: &framing.Remove{Removed: leaf}}
}

// PSKProposal proposes to inject the external pre-shared key that the
// application knows as id, under a fresh nonce (RFC 9420, Section 8.4).
func PSKProposal(suite *mls.Suite, id []byte) framing.Proposal {
	return pskProposal(keyschedule.PreSharedKeyID{
		Type: keyschedule.PSKExternal, PSKID: bytes.Clone(id), PSKNonce: keyschedule.NewPSKNonce(suite),
	})
}

// ResumptionProposal proposes to inject the resumption PSK of an epoch of a
// group, with usage application (RFC 9420, Section 8.6).
func ResumptionProposal(suite *mls.Suite, groupID []byte, epoch uint64) framing.Proposal {
	return pskProposal(resumptionID(suite, keyschedule.UsageApplication, groupID, epoch))
}

// ReInitProposal proposes to shut the group down and continue it under other
// parameters (RFC 9420, Section 11.2).
func ReInitProposal(groupID []byte, suite mls.CipherSuite, exts []mls.Extension) framing.Proposal {
	return framing.Proposal{Type: mls.ProposalReInit, ReInit: &framing.ReInit{
		GroupID: bytes.Clone(groupID), Version: mls.MLS10, CipherSuite: suite, Extensions: exts,
	}}
}

// ExtensionsProposal proposes to replace all extensions of the group context.
func ExtensionsProposal(exts []mls.Extension) framing.Proposal {
	return framing.Proposal{
		Type:                   mls.ProposalGroupContextExtensions,
		GroupContextExtensions: &framing.GroupContextExtensions{Extensions: exts},
	}
}

func pskProposal(id keyschedule.PreSharedKeyID) framing.Proposal {
	return framing.Proposal{Type: mls.ProposalPSK, PreSharedKey: &framing.PreSharedKey{PSK: id}}
}

func resumptionID(suite *mls.Suite, usage keyschedule.ResumptionUsage, groupID []byte, epoch uint64) keyschedule.PreSharedKeyID {
	return keyschedule.PreSharedKeyID{
		Type: keyschedule.PSKResumption, Usage: usage, PSKGroupID: bytes.Clone(groupID), PSKEpoch: epoch, PSKNonce: keyschedule.NewPSKNonce(suite),
	}
}

// proposal is a proposal in the list of a commit, or in the cache.
type proposal struct {
	body   *framing.Proposal
	sender framing.Sender
	// ref is the proposal's reference; nil if it came by value.
	ref []byte
	// content is the message that brought a cached proposal.
	content *framing.AuthenticatedContent
}

// cache holds the valid proposals seen in an epoch, in order of arrival.
type cache struct {
	order []*proposal
	byRef map[string]*proposal
}

func (c *cache) get(ref []byte) (*proposal, bool) {
	p, ok := c.byRef[string(ref)]
	return p, ok
}

func (c *cache) put(p *proposal) {
	if c.byRef == nil {
		c.byRef = make(map[string]*proposal)
	}
	c.byRef[string(p.ref)] = p
	c.order = append(c.order, p)
}

// resolve looks up the references of a commit's list (RFC 9420, Section 12.4).
func (c *cache) resolve(items []framing.ProposalOrRef, sender framing.Sender) ([]*proposal, error) {
	list := make([]*proposal, len(items))
	for i := range items {
		if items[i].Proposal != nil {
			list[i] = &proposal{body: items[i].Proposal, sender: sender}
			continue
		}
		if sender.Type == framing.SenderNewMemberCommit {
			return nil, mls.InvalidAt(mls.Culprit{Proposal: &i}, "12.4.3.2", "proposal-by-reference",
				"an external commit refers to a proposal by reference")
		}
		p, ok := c.get(items[i].Ref)
		if !ok {
			return nil, mls.ErrUnknownProposal
		}
		list[i] = p
	}
	return list, nil
}

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
	a := Admission{Sender: p.sender, Proposal: p.body}
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
	if err := k.lifetime(&kp.LeafNode, who); err != nil {
		return err
	}
	return k.cfg.authenticateLeaf(k.context.GroupID, &kp.LeafNode, nil, who)
}

// lifetime refuses a key package from the future, and bounds the total lifetime
// that it claims (RFC 9420, Sections 7.2 and 7.3).
func (k *checker) lifetime(leaf *treekem.LeafNode, who mls.Culprit) error {
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
	return checkTypes(r.Extensions)
}

// checkTypes refuses a list of extensions with two of one type (RFC 9420,
// Section 13.4). Lists that were received have been checked when they were
// decoded.
func checkTypes(exts []mls.Extension) error {
	seen := make(map[mls.ExtensionType]bool, len(exts))
	for _, e := range exts {
		if seen[e.Type] {
			return mls.Invalid("13.4", "duplicate-extension", "two extensions of type %v in one list", e.Type)
		}
		seen[e.Type] = true
	}
	return nil
}

// extensions validates new group context extensions as far as that is possible
// without the tree that results from the whole list.
func (k *checker) extensions(exts []mls.Extension) error {
	if err := checkTypes(exts); err != nil {
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

// regular validates the list of a commit by a member (RFC 9420, Section 12.2).
func (k *checker) regular(list []*proposal, committer mls.LeafIndex) error {
	seen := listState{touched: make(map[mls.LeafIndex]mls.ProposalType)}
	k.verifyAdds(list)
	for i, p := range list {
		if err := seen.add(p, i, committer); err != nil {
			return err
		}
		if k.unchecked(p) {
			if err := k.one(p, i); err != nil {
				return err
			}
		}
	}
	if seen.reinit && len(list) > 1 {
		return mls.Invalid("12.2", "reinit-with-others", "a ReInit among %d proposals", len(list))
	}
	return k.adds(list, seen.touched)
}

// unchecked tells whether a proposal of a list is still to be validated by
// itself: those that were received were, but not as what we send.
func (k *checker) unchecked(p *proposal) bool { return p.ref == nil || k.own }

// verifyAdds verifies the key packages of a list on all cores, up to the first
// one that fails: whoever reads the list in order gets no further.
func (k *checker) verifyAdds(list []*proposal) {
	var kps []*treekem.KeyPackage
	for _, p := range list {
		if p.body.Type == mls.ProposalAdd && k.unchecked(p) {
			kps = append(kps, &p.body.Add.KeyPackage)
		}
	}
	if len(kps) < 2 {
		return
	}
	errs := make([]error, len(kps))
	_ = parallel.Each(len(kps), 1, func(i int) error {
		errs[i] = kps[i].Verify(k.suite, k.now, k.allowExpired())
		return errs[i]
	})
	k.verified = make(map[*treekem.KeyPackage]error, len(kps))
	for i, kp := range kps {
		k.verified[kp] = errs[i]
		if errs[i] != nil {
			return
		}
	}
}

// listState is what Section 12.2 has to remember while it reads a list.
type listState struct {
	touched    map[mls.LeafIndex]mls.ProposalType
	psks       map[string]bool
	extensions bool
	reinit     bool
}

func (s *listState) add(p *proposal, i int, committer mls.LeafIndex) error {
	switch p.body.Type {
	case mls.ProposalUpdate:
		if p.ref == nil || p.sender.Leaf == committer {
			return mls.InvalidAt(at(i), "12.2", "committer-update", "an update by the committer itself")
		}
		return s.touch(p.sender.Leaf, mls.ProposalUpdate, i)
	case mls.ProposalRemove:
		if p.body.Remove.Removed == committer {
			return mls.InvalidAt(at(i), "12.2", "committer-removed", "the committer removes itself")
		}
		return s.touch(p.body.Remove.Removed, mls.ProposalRemove, i)
	case mls.ProposalPSK:
		return s.psk(&p.body.PreSharedKey.PSK, i)
	case mls.ProposalGroupContextExtensions:
		if s.extensions {
			return mls.InvalidAt(at(i), "12.2", "multiple-group-context-extensions", "a second group_context_extensions")
		}
		s.extensions = true
	case mls.ProposalReInit:
		s.reinit = true
	case mls.ProposalExternalInit:
		return mls.InvalidAt(at(i), "12.2", "external-init", "external_init in a member's commit")
	}
	return nil
}

func (s *listState) touch(leaf mls.LeafIndex, by mls.ProposalType, i int) error {
	before, twice := s.touched[leaf]
	s.touched[leaf] = by
	if !twice {
		return nil
	}
	who := mls.Culprit{Leaf: &leaf, Proposal: &i}
	switch {
	case before != by:
		return mls.InvalidAt(who, "12.2", "update-and-remove-same-leaf", "an update and a remove of leaf %d", leaf)
	case by == mls.ProposalUpdate:
		return mls.InvalidAt(who, "12.2", "multiple-updates-same-leaf", "two updates of leaf %d", leaf)
	default:
		return mls.InvalidAt(who, "12.2", "multiple-removes-same-leaf", "two removes of leaf %d", leaf)
	}
}

func (s *listState) psk(id *keyschedule.PreSharedKeyID, i int) error {
	encoded, err := wire.Marshal(id)
	if err != nil {
		return err
	}
	if s.psks == nil {
		s.psks = make(map[string]bool)
	}
	if s.psks[string(encoded)] {
		return mls.InvalidAt(at(i), "12.2", "duplicate-psk", "the same PreSharedKeyID twice")
	}
	s.psks[string(encoded)] = true
	return nil
}

// adds refuses to add one client twice, or a client that is a member already
// and stays one.
func (k *checker) adds(list []*proposal, touched map[mls.LeafIndex]mls.ProposalType) error {
	keys := make(map[string]bool)
	var added []*treekem.LeafNode
	for i, p := range list {
		if p.body.Type != mls.ProposalAdd {
			continue
		}
		leaf := &p.body.Add.KeyPackage.LeafNode
		who := at(i)
		who.Identity = leaf.Credential.String()
		if keys[string(leaf.SignatureKey)] || k.contains(added, leaf) {
			return mls.InvalidAt(who, "12.2", "duplicate-add", "a client is added twice")
		}
		keys[string(leaf.SignatureKey)] = true
		if at, ok := k.memberLike(leaf); ok && touched[at] != mls.ProposalRemove {
			who.Leaf = &at
			return mls.InvalidAt(who, "12.2", "add-existing-member", "the client is the member at leaf %d already", at)
		}
		if k.cfg.SameClient != nil {
			added = append(added, leaf)
		}
	}
	return nil
}

func (k *checker) contains(added []*treekem.LeafNode, leaf *treekem.LeafNode) bool {
	return slices.ContainsFunc(added, func(other *treekem.LeafNode) bool { return k.cfg.SameClient(other, leaf) })
}

// memberLike finds the member that is the same client as leaf.
func (k *checker) memberLike(leaf *treekem.LeafNode) (mls.LeafIndex, bool) {
	if at, ok := k.tree.FindSignatureKey(leaf.SignatureKey); ok {
		return at, true
	}
	if k.cfg.SameClient == nil {
		return 0, false
	}
	for at, member := range k.tree.Leaves() {
		if k.cfg.SameClient(member, leaf) {
			return at, true
		}
	}
	return 0, false
}

// external validates the list of an external commit (RFC 9420, Section 12.2):
// a list of what may be there, not of what may not.
func (k *checker) external(list []*proposal) error {
	inits, removes := 0, 0
	var seen listState
	for i, p := range list {
		var err error
		switch p.body.Type {
		case mls.ProposalExternalInit:
			inits++
		case mls.ProposalRemove:
			removes++
			err = k.remove(p.body.Remove.Removed, i)
		case mls.ProposalPSK:
			if err = k.psk(&p.body.PreSharedKey.PSK, i); err == nil {
				err = seen.psk(&p.body.PreSharedKey.PSK, i)
			}
		default:
			err = mls.InvalidAt(at(i), "12.2", "external-commit-proposal-type", "%v in an external commit", p.body.Type)
		}
		if err != nil {
			return err
		}
	}
	if inits != 1 {
		return mls.Invalid("12.2", "external-commit-external-init", "%d external_init in an external commit: there must be one", inits)
	}
	if removes > 1 {
		return mls.Invalid("12.2", "external-commit-multiple-removes", "%d removes in an external commit", removes)
	}
	return nil
}

// needsPath tells whether a commit of the list must carry a path (RFC 9420,
// Section 12.4).
func needsPath(list []*proposal) bool {
	for _, p := range list {
		switch p.body.Type {
		case mls.ProposalAdd, mls.ProposalPSK, mls.ProposalReInit:
		default:
			return true
		}
	}
	return len(list) == 0
}
