package interop

import (
	"context"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// outsider is an external sender.
type outsider struct {
	suite  *mls.Suite
	signer mls.Signer
}

// NewMemberAddProposal lets a client ask to be added.
func (s *service) NewMemberAddProposal(_ context.Context, r *mlsclient.NewMemberAddProposalRequest) (*mlsclient.NewMemberAddProposalResponse, error) {
	info, suite, err := parseInfo(r.GroupInfo)
	if err != nil {
		return nil, refuse(err)
	}
	n, err := s.newNewcomer(suite, r.Identity, newPSKStore())
	if err != nil {
		return nil, refuse(err)
	}
	c := &info.GroupContext
	proposal, err := group.ProposeNewMember(suite, n.private.Signer, c.GroupID, c.Epoch, n.kp)
	if err != nil {
		return nil, refuse(err)
	}
	id := s.put(n)
	return &mlsclient.NewMemberAddProposalResponse{
		TransactionId: id, Proposal: proposal,
		InitPriv:       n.private.InitKey.Secret().UnsafeBytes(),
		EncryptionPriv: n.private.LeafKey.Secret().UnsafeBytes(),
		SignaturePriv:  signerBytes(n.private.Signer),
	}, nil
}

// CreateExternalSigner makes the keys of somebody outside of the group.
func (s *service) CreateExternalSigner(_ context.Context, r *mlsclient.CreateExternalSignerRequest) (*mlsclient.CreateExternalSignerResponse, error) {
	suite, err := suiteOf(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	signer, err := suite.GenerateSigner()
	if err != nil {
		return nil, refuse(err)
	}
	sender, err := (&framing.ExternalSender{
		SignatureKey: signer.Public(), Credential: treekem.BasicCredential(r.Identity),
	}).Bytes()
	if err != nil {
		return nil, refuse(err)
	}
	return &mlsclient.CreateExternalSignerResponse{SignerId: s.put(&outsider{suite, signer}), ExternalSender: sender}, nil
}

// ExternalSignerProposal proposes from outside of the group.
func (s *service) ExternalSignerProposal(_ context.Context, r *mlsclient.ExternalSignerProposalRequest) (*mlsclient.ProposalResponse, error) {
	who, err := find[*outsider](s, r.SignerId, "signer")
	if err != nil {
		return nil, err
	}
	info, _, err := parseInfo(r.GroupInfo)
	if err != nil {
		return nil, refuse(err)
	}
	var tree []byte
	if len(r.RatchetTree) > 0 {
		tree = r.RatchetTree
	}
	g, err := group.Observe(config(newPSKStore(), false), info, tree)
	if err != nil {
		return nil, refuse(err)
	}
	p, err := describe(g, r.Description)
	if err != nil {
		return nil, refuse(err)
	}
	return proposalResponse(group.ProposeExternal(who.suite, who.signer, r.SignerIndex, g.ID(), g.Epoch(), p, nil))
}
