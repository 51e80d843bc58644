package group

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
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
	// unreadable is why others could not decode an own proposal; nil if they can.
	unreadable error
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
