package interop

import (
	"fmt"
	"slices"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

// groupInfo asks the first member that is not somebody for a GroupInfo.
func (w *world) groupInfo(r *room, not string, treeApart bool) (*mlsclient.GroupInfoResponse, error) {
	from := r.members[0]
	if others := r.others(not); len(others) > 0 {
		from = others[0]
	}
	a := w.actor(from)
	return call(w, a, "GroupInfo", a.peer.GroupInfo, &mlsclient.GroupInfoRequest{StateId: r.states[from], ExternalTree: treeApart})
}

// externalJoin lets somebody join by an external commit.
func (w *world) externalJoin(r *room, s *scriptStep) error {
	info, err := w.groupInfo(r, s.By, s.TreeApart)
	if err != nil {
		return err
	}
	req := &mlsclient.ExternalJoinRequest{
		GroupInfo: info.GroupInfo, RatchetTree: info.RatchetTree, EncryptHandshake: w.encrypt,
		Identity: []byte(s.By), RemovePrior: s.RemovePrior,
	}
	for _, name := range s.PSKs {
		req.Psks = append(req.Psks, &mlsclient.PreSharedKey{PskId: []byte(name), PskSecret: r.psks[name]})
	}
	w.underWay = nil
	a := w.actor(s.By)
	resp, err := call(w, a, "ExternalJoin", a.peer.ExternalJoin, req)
	if err != nil {
		return err
	}
	if _, is := r.states[s.By]; is && !s.RemovePrior {
		return fmt.Errorf("the scenario lets %s join twice", s.By)
	}
	if err := w.follow(r, []string{s.By}, nil, resp.Commit); err != nil {
		return err
	}
	w.nextEpoch(r, new(commitStep))
	w.enter(r, s.By, resp.StateId)
	if err := w.givePSKs(r, a, resp.StateId); err != nil {
		return err
	}
	return w.agree(r)
}

// newMember lets somebody ask to be added.
func (w *world) newMember(r *room, by string) error {
	info, err := w.groupInfo(r, by, false)
	if err != nil {
		return err
	}
	a := w.actor(by)
	resp, err := call(w, a, "NewMemberAddProposal", a.peer.NewMemberAddProposal, &mlsclient.NewMemberAddProposalRequest{
		GroupInfo: info.GroupInfo, Identity: []byte(by),
	})
	if err != nil {
		return err
	}
	w.keep(a, resp.TransactionId)
	if err := w.givePSKs(r, a, resp.TransactionId); err != nil {
		return err
	}
	r.pending = append(r.pending, &pending{message: resp.Proposal, change: proposalSpec{Type: "add", Who: by}, transaction: resp.TransactionId})
	return nil
}

// externalProposal lets an external sender propose.
func (w *world) externalProposal(r *room, by string, c *proposalSpec, treeApart bool) error {
	index := slices.IndexFunc(r.signers, func(s signer) bool { return s.actor == by })
	if index < 0 || c == nil {
		return fmt.Errorf("%s is no external sender of the group, or has nothing to propose", by)
	}
	info, err := w.groupInfo(r, by, treeApart)
	if err != nil {
		return err
	}
	d, transaction, err := w.describe(r, c)
	if err != nil {
		return err
	}
	a := w.actor(by)
	resp, err := call(w, a, "ExternalSignerProposal", a.peer.ExternalSignerProposal, &mlsclient.ExternalSignerProposalRequest{
		SignerId: r.signers[index].id, SignerIndex: uint32(index),
		GroupInfo: info.GroupInfo, RatchetTree: info.RatchetTree, Description: d,
	})
	if err != nil {
		return err
	}
	r.pending = append(r.pending, &pending{message: resp.Proposal, change: *c, transaction: transaction})
	return nil
}
