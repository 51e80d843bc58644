package client

import (
	"bytes"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// undone are the proposals that we had made before we rejoined, but for those
// that the group as it is now leaves nothing to do of. An update is such: our
// leaf is new. Once the tree of before can't be read, Removes are unclear.
func undone(before, now *group.Group) (repeat, unclear []framing.Proposal) {
	for _, p := range before.Proposals() {
		if p.Sender != framing.Member(before.OwnLeaf()) || isDone(before, now, &p.Proposal) {
			continue
		}
		if p.Proposal.Type == mls.ProposalRemove && before.Err() != nil {
			unclear = append(unclear, p.Proposal)
		} else {
			repeat = append(repeat, p.Proposal)
		}
	}
	return repeat, unclear
}

func isDone(before, now *group.Group, p *framing.Proposal) bool {
	switch p.Type {
	case mls.ProposalAdd:
		_, ok := now.Tree().FindSignatureKey(p.Add.KeyPackage.LeafNode.SignatureKey)
		return ok
	case mls.ProposalRemove:
		old, was := before.Member(p.Remove.Removed)
		leaf, is := now.Member(p.Remove.Removed)
		return !is || was && !bytes.Equal(old.SignatureKey, leaf.SignatureKey)
	}
	return p.Type == mls.ProposalUpdate
}

// did reports whether a commit brought about what a proposal of the member at
// own asked for, whoever proposed it.
func did(c *group.Changes, p *framing.Proposal, own mls.LeafIndex) bool {
	switch p.Type {
	case mls.ProposalAdd:
		return slices.ContainsFunc(c.Added, func(a group.Change) bool {
			return bytes.Equal(a.New.SignatureKey, p.Add.KeyPackage.LeafNode.SignatureKey)
		})
	case mls.ProposalRemove:
		return slices.ContainsFunc(c.Removed, func(r group.Change) bool { return r.Leaf == p.Remove.Removed })
	case mls.ProposalUpdate:
		return slices.ContainsFunc(c.Updated, func(u group.Change) bool {
			return u.Leaf == own && u.New != nil && bytes.Equal(u.New.EncryptionKey, p.Update.LeafNode.EncryptionKey)
		})
	case mls.ProposalPSK:
		for _, id := range c.PSKs {
			if id.Type == p.PreSharedKey.PSK.Type && bytes.Equal(id.PSKID, p.PreSharedKey.PSK.PSKID) &&
				bytes.Equal(id.PSKGroupID, p.PreSharedKey.PSK.PSKGroupID) && id.PSKEpoch == p.PreSharedKey.PSK.PSKEpoch {
				return true
			}
		}
		return false
	case mls.ProposalGroupContextExtensions:
		return c.ExtensionsReplaced && slices.EqualFunc(c.NewExtensions, p.GroupContextExtensions.Extensions,
			func(a, b mls.Extension) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) })
	case mls.ProposalReInit:
		return c.ReInit != nil
	}
	return false
}
