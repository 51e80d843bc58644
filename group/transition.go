package group

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// transition is the public half of a commit: the next epoch's tree and
// extensions, before the key schedule.
type transition struct {
	list []*proposal
	// committer is the sender's leaf in the new tree, for a joiner once its
	// path is merged.
	committer mls.LeafIndex
	external  bool
	// applied is the tree after the proposals; tree has the path merged too.
	applied, tree *treekem.Tree
	extensions    []mls.Extension
	added         []addition
	psks          []keyschedule.PreSharedKeyID
	kemOutput     []byte
	reinit        *framing.ReInit
	changes       Changes
}

// addition is a new member and where it went.
type addition struct {
	leaf mls.LeafIndex
	kp   *treekem.KeyPackage
}

// addedLeaves are the leaves that hear of the new epoch by Welcome.
func (t *transition) addedLeaves() []mls.LeafIndex {
	leaves := make([]mls.LeafIndex, len(t.added))
	for i := range t.added {
		leaves[i] = t.added[i].leaf
	}
	return leaves
}

// removes tells whether the list removes the member at leaf.
func (t *transition) removes(leaf mls.LeafIndex) bool {
	return slices.ContainsFunc(t.list, func(p *proposal) bool {
		return p.body.Type == mls.ProposalRemove && p.body.Remove.Removed == leaf
	})
}

// apply applies a validated list of proposals in the order of RFC 9420, Section
// 12.3.
func (v *view) apply(list []*proposal, sender framing.Sender) (*transition, error) {
	t := &transition{
		list: list, committer: sender.Leaf, extensions: v.context.Extensions,
		external: sender.Type == framing.SenderNewMemberCommit,
	}
	if v.context.Epoch == math.MaxUint64 {
		return nil, mls.Invalid("8.1", "epoch", "the group has no epoch left")
	}
	t.noteContext(v, list)
	edit := v.tree.Edit()
	if err := t.editMembers(v, edit, list); err != nil {
		return nil, err
	}
	for i, p := range list {
		if p.body.Type != mls.ProposalAdd {
			continue
		}
		kp := &p.body.Add.KeyPackage
		leaf, err := edit.Add(&kp.LeafNode)
		if err != nil {
			return nil, blame(err, at(i))
		}
		t.added = append(t.added, addition{leaf, kp})
		t.changes.Added = append(t.changes.Added, Change{Leaf: leaf, New: &kp.LeafNode})
	}
	var err error
	if t.applied, err = edit.Done(); err != nil {
		return nil, err
	}
	t.tree = t.applied
	return t, nil
}

// noteContext notes what the list says about other things than the tree.
func (t *transition) noteContext(v *view, list []*proposal) {
	for _, p := range list {
		switch p.body.Type {
		case mls.ProposalGroupContextExtensions:
			t.extensions = p.body.GroupContextExtensions.Extensions
			t.changes.OldExtensions, t.changes.NewExtensions = v.context.Extensions, t.extensions
			t.changes.ExtensionsReplaced = true
		case mls.ProposalPSK:
			t.psks = append(t.psks, p.body.PreSharedKey.PSK)
		case mls.ProposalExternalInit:
			t.kemOutput = p.body.ExternalInit.KEMOutput
		case mls.ProposalReInit:
			t.reinit = cloneReInit(p.body.ReInit) // it outlives the message
		}
	}
	t.changes.PSKs, t.changes.ReInit = t.psks, t.reinit
}

// editMembers applies updates, then removes.
func (t *transition) editMembers(v *view, edit *treekem.Editor, list []*proposal) error {
	for i, p := range list {
		if p.body.Type != mls.ProposalUpdate {
			continue
		}
		leaf, node := p.sender.Leaf, &p.body.Update.LeafNode
		old, _ := v.tree.Leaf(leaf)
		if err := edit.Update(leaf, node); err != nil {
			return blame(err, at(i))
		}
		t.changes.Updated = append(t.changes.Updated, Change{Leaf: leaf, Old: old, New: node})
	}
	for i, p := range list {
		if p.body.Type != mls.ProposalRemove {
			continue
		}
		leaf := p.body.Remove.Removed
		old, _ := v.tree.Leaf(leaf)
		if err := edit.Remove(leaf); err != nil {
			return blame(err, at(i))
		}
		t.changes.Removed = append(t.changes.Removed, Change{Leaf: leaf, Old: old})
	}
	return nil
}

// follow is the public half of processing a commit (RFC 9420, Section 12.4.2):
// the list is validated and applied, the path checked and merged.
func (v *view) follow(cfg *Config, commit *framing.Commit, sender framing.Sender, list []*proposal) (*transition, error) {
	k := v.checker(cfg, false)
	external := sender.Type == framing.SenderNewMemberCommit
	var err error
	if external {
		err = k.external(list)
	} else {
		err = k.regular(list, sender.Leaf)
	}
	if err != nil {
		return nil, err
	}
	if commit.Path == nil && needsPath(list) {
		return nil, mls.Invalid("12.4", "path-required", "a commit without a path whose list demands one")
	}
	t, err := v.apply(list, sender)
	if err != nil {
		return nil, err
	}
	if commit.Path != nil {
		if err := k.path(t, commit.Path); err != nil {
			return nil, err
		}
	}
	return t, v.checkSupport(cfg, t)
}

// path validates the leaf that a path brings, and merges the path.
func (k *checker) path(t *transition, path *treekem.UpdatePath) (err error) {
	leaf := &path.LeafNode
	old, err := k.replaced(t, leaf)
	if err != nil {
		return err
	}
	if t.external {
		t.tree, t.committer, err = t.applied.MergeExternalPath(path, k.context.GroupID)
	} else {
		t.tree, err = t.applied.MergePath(t.committer, path, k.context.GroupID, t.addedLeaves())
	}
	if err != nil {
		return err
	}
	who := mls.Culprit{Leaf: &t.committer}
	if err := k.cfg.authenticateLeaf(k.context.GroupID, leaf, old, who); err != nil {
		return err
	}
	t.notePath(leaf, old)
	return nil
}

// replaced is the leaf that the path's leaf stands in for: the committer's own,
// or the former self that a joiner removes. The latter must differ as in an
// Update (RFC 9420, Section 12.2).
func (k *checker) replaced(t *transition, leaf *treekem.LeafNode) (*treekem.LeafNode, error) {
	if !t.external {
		old, _ := k.tree.Leaf(t.committer)
		return old, nil
	}
	a := Admission{Sender: framing.Sender{Type: framing.SenderNewMemberCommit}, Leaf: leaf.Clone()}
	var old *treekem.LeafNode
	if len(t.changes.Removed) > 0 {
		removed := t.changes.Removed[0]
		old, a.Removes = removed.Old, &removed.Leaf
		if bytes.Equal(old.EncryptionKey, leaf.EncryptionKey) {
			return nil, mls.InvalidAt(mls.Culprit{Leaf: &removed.Leaf}, "7.3", "update-encryption-key",
				"a joiner keeps the encryption key of its former self")
		}
	}
	if k.cfg.Authorize != nil {
		if err := k.cfg.Authorize(a); err != nil {
			return nil, withCause(mls.Invalid("12.4.3.2", "policy", "the application refuses an external commit"), err)
		}
	}
	return old, nil
}

func (t *transition) notePath(leaf, old *treekem.LeafNode) {
	t.changes.Path = true
	c := Change{Leaf: t.committer, Old: old, New: leaf}
	if t.external {
		c.Old = nil
		t.changes.Added = append(t.changes.Added, c)
		return
	}
	t.changes.Updated = append(t.changes.Updated, c)
}

// checkSupport holds the new members against the new group context: required
// capabilities (RFC 9420, Sections 7.3, 11.1, 12.1.7) and the types of its
// extensions (Section 13.4). Both are O(1) unless somebody must be blamed.
func (v *view) checkSupport(cfg *Config, t *transition) error {
	if err := cfg.checkWidth(t); err != nil {
		return err
	}
	required := v.required
	if t.changes.ExtensionsReplaced {
		var err error
		if required, err = requiredCapabilities(t.extensions); err != nil {
			return err
		}
	}
	if err := t.tree.CheckRequired(required); err != nil {
		if t.changes.ExtensionsReplaced {
			return required1217(err)
		}
		return err
	}
	context := v.context
	context.Extensions = t.extensions
	return checkCapabilities(t.tree, &context)
}

// checkWidth refuses new members beyond Limits.MaxLeaves: a state with such a
// tree could not be restored.
func (c *Config) checkWidth(t *transition) error {
	last := mls.LeafIndex(0)
	for i := range t.added {
		last = max(last, t.added[i].leaf)
	}
	if t.external {
		last = max(last, t.committer)
	}
	if uint32(last) >= c.Limits.MaxLeaves {
		return fmt.Errorf("%w: a tree of more than %d leaves", mls.ErrUnsupported, c.Limits.MaxLeaves)
	}
	return nil
}

// required1217 says of a failed check that it is the proposal's fault.
func required1217(err error) error {
	who := mls.Culprit{}
	if rule, ok := err.(*mls.RuleError); ok && rule.Culprit != nil {
		who = *rule.Culprit
	}
	return withCause(mls.InvalidAt(who, "12.1.7", "required-capabilities",
		"a group_context_extensions requires what a member does not support"), err)
}

// checkCapabilities verifies that every member supports the group's version and
// cipher suite (RFC 9420, Sections 7.3 and 11.1) and the extensions of its
// context (Section 13.4).
func checkCapabilities(tree *treekem.Tree, c *keyschedule.GroupContext) error {
	support := tree.EveryMember()
	if !support.SupportsVersion(c.Version) {
		return blameMember(tree, func(l *treekem.LeafNode) bool { return slices.Contains(l.Capabilities.Versions, c.Version) },
			func(who mls.Culprit) error {
				return mls.InvalidAt(who, "7.3", "version-in-capabilities", "a member does not support the group's protocol version")
			})
	}
	if !support.SupportsSuite(c.CipherSuite) {
		return blameMember(tree, func(l *treekem.LeafNode) bool { return slices.Contains(l.Capabilities.CipherSuites, c.CipherSuite) },
			func(who mls.Culprit) error {
				return mls.InvalidAt(who, "7.3", "cipher-suite-in-capabilities", "a member does not support the group's cipher suite")
			})
	}
	for _, e := range c.Extensions {
		if support.SupportsExtension(e.Type) {
			continue
		}
		return blameMember(tree, func(l *treekem.LeafNode) bool { return l.Capabilities.SupportsExtension(e.Type) },
			func(who mls.Culprit) error {
				return mls.InvalidAt(who, "13.4", "group-extension-support", "a member does not support group context extension %#04x", uint16(e.Type))
			})
	}
	return nil
}

// blameMember makes an error about the first member that lacks something.
func blameMember(tree *treekem.Tree, has func(*treekem.LeafNode) bool, blame func(mls.Culprit) error) error {
	for i, leaf := range tree.Leaves() {
		if !has(leaf) {
			return blame(mls.Culprit{Leaf: &i, Identity: leaf.Credential.String()})
		}
	}
	return blame(mls.Culprit{})
}

// provisional is the group context under which the path secrets are encrypted
// (RFC 9420, Section 12.4.1): new epoch, tree and extensions, old transcript.
func (v *view) provisional(t *transition) keyschedule.GroupContext {
	c := v.context
	c.Epoch++
	c.TreeHash = t.tree.Hash()
	c.Extensions = t.extensions
	return c
}

// next is the next epoch's view, as far as the transcript hash is concerned
// still unconfirmed.
func (v *view) next(t *transition, context keyschedule.GroupContext, ac *framing.AuthenticatedContent) (*view, error) {
	hash, err := ac.ConfirmedTranscriptHash(v.suite, v.interim)
	if err != nil {
		return nil, err
	}
	context.ConfirmedTranscriptHash = hash
	n, err := newView(v.suite, context, t.tree)
	if err != nil {
		return nil, err
	}
	n.reinit = t.reinit
	return n, nil
}
