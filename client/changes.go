package client

import (
	"bytes"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

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
