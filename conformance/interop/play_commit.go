package interop

import (
	"fmt"
	"slices"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

// propose lets a member send a proposal.
func (w *world) propose(r *room, by string, c *proposalSpec) error {
	if c == nil {
		return fmt.Errorf("the scenario does not say what to propose")
	}
	a, state := w.actor(by), r.states[by]
	p := &pending{by: by, change: *c}
	var resp *mlsclient.ProposalResponse
	var d *mlsclient.ProposalDescription
	var err error
	if c.Type != "update" && c.Type != "externalSigner" {
		if d, p.transaction, err = w.describe(r, c); err != nil {
			return err
		}
	}
	switch c.Type {
	case "add":
		resp, err = call(w, a, "AddProposal", a.peer.AddProposal, &mlsclient.AddProposalRequest{StateId: state, KeyPackage: d.KeyPackage})
	case "update":
		resp, err = call(w, a, "UpdateProposal", a.peer.UpdateProposal, &mlsclient.UpdateProposalRequest{StateId: state})
	case "remove":
		resp, err = call(w, a, "RemoveProposal", a.peer.RemoveProposal, &mlsclient.RemoveProposalRequest{StateId: state, RemovedId: d.RemovedId})
	case "externalPSK":
		resp, err = call(w, a, "ExternalPSKProposal", a.peer.ExternalPSKProposal, &mlsclient.ExternalPSKProposalRequest{StateId: state, PskId: d.PskId})
	case "resumptionPSK":
		resp, err = call(w, a, "ResumptionPSKProposal", a.peer.ResumptionPSKProposal, &mlsclient.ResumptionPSKProposalRequest{StateId: state, EpochId: d.EpochId})
	case "groupContextExtensions":
		resp, err = call(w, a, "GroupContextExtensionsProposal", a.peer.GroupContextExtensionsProposal,
			&mlsclient.GroupContextExtensionsProposalRequest{StateId: state, Extensions: d.Extensions})
	case "reinit":
		resp, err = call(w, a, "ReInitProposal", a.peer.ReInitProposal, &mlsclient.ReInitProposalRequest{
			StateId: state, CipherSuite: d.CipherSuite, GroupId: d.GroupId, Extensions: d.Extensions,
		})
	case "externalSigner":
		resp, err = w.proposeSigner(r, a, p)
	}
	if err != nil {
		return err
	}
	p.message = resp.Proposal
	r.pending = append(r.pending, p)
	return nil
}

// proposeSigner makes an external sender and proposes to list it.
func (w *world) proposeSigner(r *room, a *actor, p *pending) (*mlsclient.ProposalResponse, error) {
	outside := w.actor(p.change.Who)
	made, err := call(w, outside, "CreateExternalSigner", outside.peer.CreateExternalSigner,
		&mlsclient.CreateExternalSignerRequest{CipherSuite: r.suite, Identity: []byte(p.change.Who)})
	if err != nil {
		return nil, err
	}
	p.signer = signer{p.change.Who, w.keep(outside, made.SignerId)}
	return call(w, a, "AddExternalSigner", a.peer.AddExternalSigner,
		&mlsclient.AddExternalSignerRequest{StateId: r.states[a.name], ExternalSender: made.ExternalSender})
}

// commitStep is a commit in the making.
type commitStep struct {
	by        string
	refs      []*pending
	values    []proposalSpec
	path      bool
	treeApart bool

	// joiners are whom the commit adds, with their transactions.
	joiners []joiner
	removed []string
}

type joiner struct {
	name        string
	transaction uint32
}

// note notes who comes and goes.
func (c *commitStep) note(change *proposalSpec, transaction uint32) {
	switch change.Type {
	case "add":
		c.joiners = append(c.joiners, joiner{change.Who, transaction})
	case "remove":
		c.removed = append(c.removed, change.Who)
	}
}

// types are those of the proposals in the list, and of those left out.
func (c *commitStep) types(r *room) (listed, leftOut []string) {
	for _, p := range r.pending {
		if slices.Contains(c.refs, p) {
			listed = append(listed, p.change.Type)
		} else {
			leftOut = append(leftOut, p.change.Type)
		}
	}
	for i := range c.values {
		listed = append(listed, c.values[i].Type)
	}
	return listed, leftOut
}

// request makes the request for a commit.
func (w *world) request(r *room, c *commitStep) (*mlsclient.CommitRequest, error) {
	req := &mlsclient.CommitRequest{StateId: r.states[c.by], ForcePath: c.path, ExternalTree: c.treeApart}
	for _, p := range c.refs {
		req.ByReference = append(req.ByReference, p.message)
		c.note(&p.change, p.transaction)
	}
	w.underWay = &CommitSummary{From: w.actor(c.by).peer.name}
	w.underWay.Proposals, w.underWay.LeftOut = c.types(r)
	for i := range c.values {
		d, transaction, err := w.describe(r, &c.values[i])
		if err != nil {
			return nil, err
		}
		req.ByValue = append(req.ByValue, d)
		c.note(&c.values[i], transaction)
	}
	return req, nil
}

// commit lets a member commit, all others follow, and the new ones join.
func (w *world) commit(r *room, c commitStep) error {
	req, err := w.request(r, &c)
	if err != nil {
		return err
	}
	a := w.actor(c.by)
	resp, err := call(w, a, "Commit", a.peer.Commit, req)
	if err != nil {
		return err
	}
	if len(c.joiners) > 0 && len(resp.Welcome) == 0 {
		return fmt.Errorf("%s (%s) adds members but makes no Welcome", c.by, a.peer.name)
	}
	if err := w.follow(r, append(slices.Clone(c.removed), c.by), req.ByReference, resp.Commit); err != nil {
		return err
	}
	done, err := call(w, a, "HandlePendingCommit", a.peer.HandlePendingCommit, &mlsclient.HandlePendingCommitRequest{StateId: r.states[c.by]})
	if err != nil {
		return err
	}
	w.moved(r, c.by, done.StateId)
	w.nextEpoch(r, &c)
	for _, j := range c.joiners {
		if err := w.join(r, j, resp); err != nil {
			return err
		}
	}
	if err := w.agree(r); err != nil {
		return err
	}
	w.underWay = nil
	return nil
}

// nextEpoch lets the removed go and forgets the proposals.
func (w *world) nextEpoch(r *room, c *commitStep) {
	for _, name := range c.removed {
		r.leave(name)
	}
	for _, p := range c.refs {
		switch p.change.Type {
		case "groupContextExtensions":
			r.signers = nil
		case "externalSigner":
			r.signers = append(r.signers, p.signer)
		}
	}
	if slices.ContainsFunc(c.values, func(v proposalSpec) bool { return v.Type == "groupContextExtensions" }) {
		r.signers = nil
	}
	r.epoch++
	r.pending = nil
}

// moved notes the handle of a member's next state.
func (w *world) moved(r *room, name string, state uint32) {
	w.mu.Lock()
	old := r.states[name]
	r.states[name] = state
	w.mu.Unlock()
	if old != state {
		a := w.actor(name)
		w.release(a, old)
		w.keep(a, state)
	}
}

// follow lets all members but some process a commit.
func (w *world) follow(r *room, but []string, proposals [][]byte, commit []byte) error {
	names := r.others(but...)
	states := make(map[string]uint32)
	for _, n := range names {
		states[n] = r.states[n]
	}
	return w.each(names, func(name string) error {
		a := w.actor(name)
		resp, err := call(w, a, "HandleCommit", a.peer.HandleCommit, &mlsclient.HandleCommitRequest{
			StateId: states[name], Proposal: proposals, Commit: commit,
		})
		if err == nil {
			w.moved(r, name, resp.StateId)
		}
		return err
	})
}

func (w *world) join(r *room, j joiner, c *mlsclient.CommitResponse) error {
	a := w.actor(j.name)
	resp, err := call(w, a, "JoinGroup", a.peer.JoinGroup, &mlsclient.JoinGroupRequest{
		TransactionId: j.transaction, Welcome: c.Welcome, EncryptHandshake: w.encrypt, Identity: []byte(j.name), RatchetTree: c.RatchetTree,
	})
	if err != nil {
		return err
	}
	w.enter(r, j.name, resp.StateId)
	w.release(a, j.transaction)
	return nil
}
