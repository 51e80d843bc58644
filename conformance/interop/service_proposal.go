package interop

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// watched is what members and observers know alike about their group.
type watched interface {
	ID() []byte
	Suite() *mls.Suite
	Members() iter.Seq2[mls.LeafIndex, *treekem.LeafNode]
}

// describe makes the proposal that a description asks for.
func describe(g watched, d *mlsclient.ProposalDescription) (framing.Proposal, error) {
	switch string(d.GetProposalType()) {
	case "add":
		return describeAdd(d.KeyPackage)
	case "remove":
		return describeRemove(g, d.RemovedId)
	case "externalPSK":
		return group.PSKProposal(g.Suite(), d.PskId), nil
	case "resumptionPSK":
		return group.ResumptionProposal(g.Suite(), g.ID(), d.EpochId), nil
	case "groupContextExtensions":
		exts, err := extensions(d.Extensions)
		return group.ExtensionsProposal(exts), err
	case "reinit":
		return describeReInit(d.GroupId, d.CipherSuite, d.Extensions)
	}
	return framing.Proposal{}, malformed("no proposal has the type %q", d.GetProposalType())
}

func describeAdd(data []byte) (framing.Proposal, error) {
	kp, err := parsePackage(data)
	if err != nil {
		return framing.Proposal{}, err
	}
	return group.AddProposal(kp), nil
}

func describeRemove(g watched, name []byte) (framing.Proposal, error) {
	for at, leaf := range g.Members() {
		if bytes.Equal(leaf.Credential.Identity, name) {
			return group.RemoveProposal(at), nil
		}
	}
	return framing.Proposal{}, status.Error(codes.NotFound, "no member has that identity")
}

func describeReInit(groupID []byte, suite uint32, exts []*mlsclient.Extension) (framing.Proposal, error) {
	if suite > 0xffff {
		return framing.Proposal{}, malformed("%d is not a cipher suite", suite)
	}
	list, err := extensions(exts)
	return group.ReInitProposal(orEmpty(groupID), mls.CipherSuite(suite), list), err
}

func extensions(in []*mlsclient.Extension) ([]mls.Extension, error) {
	var out []mls.Extension
	for _, e := range in {
		if e.ExtensionType > 0xffff {
			return nil, malformed("%d is not an extension type", e.ExtensionType)
		}
		out = append(out, mls.Extension{Type: mls.ExtensionType(e.ExtensionType), Data: e.ExtensionData})
	}
	return out, nil
}

// propose sends a proposal of a member.
func (s *service) propose(id uint32, d *mlsclient.ProposalDescription) (*mlsclient.ProposalResponse, error) {
	m, err := s.state(id)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	p, err := describe(m.group, d)
	if err != nil {
		return nil, refuse(err)
	}
	return proposalResponse(m.group.Propose(p, nil))
}

func proposalResponse(message []byte, err error) (*mlsclient.ProposalResponse, error) {
	if err != nil {
		return nil, refuse(err)
	}
	return &mlsclient.ProposalResponse{Proposal: message}, nil
}

// AddProposal proposes to add a client.
func (s *service) AddProposal(_ context.Context, r *mlsclient.AddProposalRequest) (*mlsclient.ProposalResponse, error) {
	return s.propose(r.StateId, &mlsclient.ProposalDescription{ProposalType: []byte("add"), KeyPackage: r.KeyPackage})
}

// UpdateProposal proposes a fresh leaf.
func (s *service) UpdateProposal(_ context.Context, r *mlsclient.UpdateProposalRequest) (*mlsclient.ProposalResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return proposalResponse(m.group.ProposeUpdate(group.UpdateOptions{}))
}

// RemoveProposal proposes to remove the member of an identity.
func (s *service) RemoveProposal(_ context.Context, r *mlsclient.RemoveProposalRequest) (*mlsclient.ProposalResponse, error) {
	return s.propose(r.StateId, &mlsclient.ProposalDescription{ProposalType: []byte("remove"), RemovedId: r.RemovedId})
}

// ExternalPSKProposal proposes to inject an external pre-shared key.
func (s *service) ExternalPSKProposal(_ context.Context, r *mlsclient.ExternalPSKProposalRequest) (*mlsclient.ProposalResponse, error) {
	return s.propose(r.StateId, &mlsclient.ProposalDescription{ProposalType: []byte("externalPSK"), PskId: r.PskId})
}

// ResumptionPSKProposal proposes to inject the group's own PSK of an epoch.
func (s *service) ResumptionPSKProposal(_ context.Context, r *mlsclient.ResumptionPSKProposalRequest) (*mlsclient.ProposalResponse, error) {
	return s.propose(r.StateId, &mlsclient.ProposalDescription{ProposalType: []byte("resumptionPSK"), EpochId: r.EpochId})
}

// GroupContextExtensionsProposal proposes other extensions.
func (s *service) GroupContextExtensionsProposal(_ context.Context, r *mlsclient.GroupContextExtensionsProposalRequest) (*mlsclient.ProposalResponse, error) {
	return s.propose(r.StateId, &mlsclient.ProposalDescription{
		ProposalType: []byte("groupContextExtensions"), Extensions: r.Extensions,
	})
}

// ReInitProposal proposes to continue under other parameters.
func (s *service) ReInitProposal(_ context.Context, r *mlsclient.ReInitProposalRequest) (*mlsclient.ProposalResponse, error) {
	return s.propose(r.StateId, &mlsclient.ProposalDescription{
		ProposalType: []byte("reinit"), CipherSuite: r.CipherSuite, GroupId: r.GroupId, Extensions: r.Extensions,
	})
}

// AddExternalSigner proposes to list another external sender, after those that
// the group lists.
func (s *service) AddExternalSigner(_ context.Context, r *mlsclient.AddExternalSignerRequest) (*mlsclient.ProposalResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	sender, err := framing.ParseExternalSender(r.ExternalSender)
	if err != nil {
		return nil, refuse(err)
	}
	exts := slices.Clone(m.group.Context().Extensions)
	at := slices.IndexFunc(exts, func(e mls.Extension) bool { return e.Type == mls.ExtensionExternalSenders })
	var senders []framing.ExternalSender
	if at < 0 {
		at = len(exts)
		exts = append(exts, mls.Extension{Type: mls.ExtensionExternalSenders})
	} else if senders, err = framing.DecodeExternalSenders(exts[at].Data); err != nil {
		return nil, refuse(err)
	}
	if exts[at].Data, err = framing.EncodeExternalSenders(append(senders, *sender)); err != nil {
		return nil, refuse(err)
	}
	return proposalResponse(m.group.Propose(group.ExtensionsProposal(exts), nil))
}
