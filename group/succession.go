package group

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// BranchOptions says what subgroup to branch off.
type BranchOptions struct {
	// GroupID is the subgroup's identifier; nil stands for a random one.
	GroupID []byte
	// Identity is ours in the subgroup.
	Identity Identity
	// KeyPackages are fresh ones of the other members of the subgroup.
	KeyPackages []*treekem.KeyPackage
	// Extensions are the group context's.
	Extensions []mls.Extension
	// OmitPath leaves out the path of the subgroup's first commit, as
	// CommitOptions.OmitPath does.
	OmitPath bool
	// TreeApart leaves the ratchet tree out of the Welcome: joiners need it
	// from elsewhere.
	TreeApart bool
}

// ReinitializeOptions says with whom to reinitialize a group.
type ReinitializeOptions struct {
	// Identity is ours in the new group.
	Identity Identity
	// KeyPackages are fresh ones, of the new cipher suite, of all other members.
	KeyPackages []*treekem.KeyPackage
	// OmitPath leaves out the path of the new group's first commit, as
	// CommitOptions.OmitPath does.
	OmitPath bool
	// TreeApart leaves the ratchet tree out of the Welcome: joiners need it
	// from elsewhere.
	TreeApart bool
}

// Branch makes a subgroup of the group's members with the same version and
// cipher suite (RFC 9420, Section 11.3). It returns the subgroup in epoch 1, and
// the Welcome for its other members, an encoded MLSMessage.
func (g *Group) Branch(cfg Config, opt BranchOptions) (*Group, []byte, error) {
	if err := g.usable(); err != nil {
		return nil, nil, err
	}
	create := CreateOptions{GroupID: opt.GroupID, Identity: opt.Identity, Extensions: opt.Extensions}
	commit := CommitOptions{OmitPath: opt.OmitPath, TreeApart: opt.TreeApart}
	return g.succeed(cfg, g.suite, keyschedule.UsageBranch, create, opt.KeyPackages, commit)
}

// Reinitialize makes the group that a committed ReInit asks for, with the same
// members (RFC 9420, Section 11.2). Any member can do it. It returns the new
// group in epoch 1, and the Welcome for its other members, an encoded
// MLSMessage.
func (g *Group) Reinitialize(cfg Config, opt ReinitializeOptions) (*Group, []byte, error) {
	if err := g.usable(); err != nil {
		return nil, nil, err
	}
	if g.reinit == nil {
		return nil, nil, mls.Invalid("11.2", "no-reinit", "no ReInit was committed in the group")
	}
	suite, err := mls.LookupSuite(g.reinit.CipherSuite)
	if err != nil {
		return nil, nil, err
	}
	if g.reinit.Version != mls.MLS10 {
		return nil, nil, mls.ErrUnsupported
	}
	create := CreateOptions{GroupID: g.reinit.GroupID, Identity: opt.Identity, Extensions: g.reinit.Extensions}
	if create.GroupID == nil {
		create.GroupID = []byte{}
	}
	commit := CommitOptions{OmitPath: opt.OmitPath, TreeApart: opt.TreeApart}
	return g.succeed(cfg, suite, keyschedule.UsageReInit, create, opt.KeyPackages, commit)
}

// succeed creates a group that is linked to this one by its resumption PSK. opt
// is how its first commit is made.
func (g *Group) succeed(cfg Config, suite *mls.Suite, usage keyschedule.ResumptionUsage, create CreateOptions, kps []*treekem.KeyPackage, opt CommitOptions) (*Group, []byte, error) {
	n, err := New(cfg, suite, create)
	if err != nil {
		return nil, nil, err
	}
	id := resumptionID(suite, usage, g.context.GroupID, g.context.Epoch)
	for _, kp := range kps {
		opt.Proposals = append(opt.Proposals, AddProposal(kp))
	}
	opt.Proposals = append(opt.Proposals, pskProposal(id))
	external := n.cfg.PSK
	n.cfg.PSK = func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		if secret, ok := g.resumption(id); ok {
			return secret, nil
		}
		return callPSK(external, id)
	}
	list, err := n.commitList(&opt)
	if err != nil {
		return nil, nil, err
	}
	k := n.checker(&n.cfg, true)
	k.reinitOrBranch = true
	s, err := n.commit(opt, list, k)
	if err != nil {
		return nil, nil, err
	}
	if err := g.sure(g.checkSuccessor(usage, s.next)); err != nil {
		return nil, nil, err
	}
	n.cfg.PSK = external
	return n, s.Welcome(), n.Merge(s)
}

func callPSK(find func(keyschedule.PreSharedKeyID) (mls.Secret, error), id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	if find == nil {
		return mls.Secret{}, errNoPSKs
	}
	return find(id)
}

// checkLink verifies that a group which claims to succeed another does (RFC
// 9420, Section 12.4.3.1).
func (j *joining) checkLink() error {
	if j.link == nil {
		if j.opt.Predecessor != nil {
			return mls.Invalid("12.4.3.1", "no-link", "the Welcome has no PSK of the group that JoinOptions.Predecessor says it continues")
		}
		return nil
	}
	p := j.opt.Predecessor
	reinit := j.link.Usage == keyschedule.UsageReInit
	if p == nil || !bytes.Equal(j.link.PSKGroupID, p.context.GroupID) {
		return noPredecessor(reinit)
	}
	if reinit && (p.reinit == nil || j.link.PSKEpoch != p.context.Epoch) {
		return noPredecessor(reinit)
	}
	return p.sure(p.checkSuccessor(j.link.Usage, j.view))
}

func noPredecessor(reinit bool) error {
	if reinit {
		return mls.Invalid("11.2", "no-reinit", "the Welcome's PSK is not of a group whose last commit reinitialized it: pass that group as JoinOptions.Predecessor")
	}
	return mls.Invalid("11.3", "no-parent", "the Welcome's PSK is not of a group we are in: pass that group as JoinOptions.Predecessor")
}

// checkSuccessor holds a new group against the one that it continues.
func (g *Group) checkSuccessor(usage keyschedule.ResumptionUsage, next *view) error {
	if usage == keyschedule.UsageReInit {
		return g.checkReInit(next)
	}
	return g.checkBranch(next)
}

// checkReInit verifies that next is what our ReInit asks for: its parameters,
// and all our members (RFC 9420, Section 11.2).
func (g *Group) checkReInit(next *view) error {
	c, want := &next.context, g.reinit
	if c.Epoch != 1 {
		return mls.Invalid("11.2", "epoch", "a reinitialized group in epoch %d", c.Epoch)
	}
	if c.Version != want.Version || c.CipherSuite != want.CipherSuite || !bytes.Equal(c.GroupID, want.GroupID) ||
		!equalExtensions(c.Extensions, want.Extensions) {
		return mls.Invalid("11.2", "parameters", "the new group does not have the parameters of the ReInit")
	}
	if who, missing := g.cfg.firstMissing(g.tree, next.tree); missing {
		return mls.InvalidAt(who, "11.2", "members", "the member at leaf %d of the old group is missing in the new one", *who.Leaf)
	}
	return nil
}

// checkBranch verifies that next has our version and cipher suite, and only
// members of ours (RFC 9420, Section 11.3).
func (g *Group) checkBranch(next *view) error {
	c := &next.context
	if c.Epoch != 1 {
		return mls.Invalid("11.3", "epoch", "a branched group in epoch %d", c.Epoch)
	}
	if c.Version != g.context.Version || c.CipherSuite != g.context.CipherSuite {
		return mls.Invalid("11.3", "parameters", "the subgroup does not have our version and cipher suite")
	}
	if who, missing := g.cfg.firstMissing(next.tree, g.tree); missing {
		return mls.InvalidAt(who, "11.3", "members", "the subgroup's member at leaf %d is none of ours", *who.Leaf)
	}
	return nil
}

// firstMissing finds the first member of one tree whose client is not in
// another (RFC 9420, Sections 11.2 and 11.3).
func (c *Config) firstMissing(of, in *treekem.Tree) (mls.Culprit, bool) {
	known := make(map[string]bool)
	for _, leaf := range in.Leaves() {
		known[credentialKey(leaf)] = true
	}
	for i, leaf := range of.Leaves() {
		if c.SameClient == nil && known[credentialKey(leaf)] || c.SameClient != nil && c.hasClient(in, leaf) {
			continue
		}
		return mls.Culprit{Leaf: &i, Identity: leaf.Credential.String()}, true
	}
	return mls.Culprit{}, false
}

func (c *Config) hasClient(in *treekem.Tree, leaf *treekem.LeafNode) bool {
	for _, other := range in.Leaves() {
		if c.SameClient(other, leaf) {
			return true
		}
	}
	return false
}

// credentialKey is equal for equal credentials.
func credentialKey(leaf *treekem.LeafNode) string {
	// A credential that comes out of a tree can be encoded.
	encoded, _ := wire.Marshal(&leaf.Credential)
	return string(encoded)
}
