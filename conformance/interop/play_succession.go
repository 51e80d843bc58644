package interop

import (
	"fmt"
	"slices"
	"sync"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

// reinit commits a ReInit, and replaces the group by the one it asks for. The
// ReInit was proposed before, or is in Value.
func (w *world) reinit(r *room, s *scriptStep) error {
	c := commitStep{by: s.By, refs: r.pending, values: s.Value, path: s.Path}
	req, err := w.request(r, &c)
	if err != nil {
		return err
	}
	a := w.actor(s.By)
	resp, err := call(w, a, "ReInitCommit", a.peer.ReInitCommit, req)
	if err != nil {
		return err
	}
	next, err := w.shutDown(r, s.By, req.ByReference, resp.Commit)
	if err != nil {
		return err
	}
	w.underWay = nil
	return w.restart(r, s, c.newSuite(w, r), next)
}

// newSuite is the cipher suite that the ReInit asks for.
func (c *commitStep) newSuite(w *world, r *room) uint32 {
	for _, p := range c.refs {
		if p.change.Type == "reinit" {
			return w.otherSuite(r, p.change.OtherSuite)
		}
	}
	for i := range c.values {
		if c.values[i].Type == "reinit" {
			return w.otherSuite(r, c.values[i].OtherSuite)
		}
	}
	return r.suite
}

// shutDown lets all process the commit of a ReInit.
func (w *world) shutDown(r *room, by string, proposals [][]byte, commit []byte) (map[string]*mlsclient.HandleReInitCommitResponse, error) {
	next := make(map[string]*mlsclient.HandleReInitCommitResponse)
	auths := make(map[string][]byte)
	var mu sync.Mutex
	err := w.each(r.members, func(name string) error {
		a := w.actor(name)
		var resp *mlsclient.HandleReInitCommitResponse
		var err error
		if name == by {
			resp, err = call(w, a, "HandlePendingReInitCommit", a.peer.HandlePendingReInitCommit,
				&mlsclient.HandlePendingCommitRequest{StateId: r.states[name]})
		} else {
			resp, err = call(w, a, "HandleReInitCommit", a.peer.HandleReInitCommit,
				&mlsclient.HandleCommitRequest{StateId: r.states[name], Proposal: proposals, Commit: commit})
		}
		if err != nil {
			return err
		}
		w.keep(a, resp.ReinitId)
		mu.Lock()
		defer mu.Unlock()
		next[name], auths[name] = resp, resp.EpochAuthenticator
		return nil
	})
	if err != nil {
		return nil, err
	}
	return next, w.compare(r, "epoch authenticators after the ReInit", auths)
}

// restart makes the group that the ReInit asks for.
func (w *world) restart(old *room, s *scriptStep, suite uint32, next map[string]*mlsclient.HandleReInitCommitResponse) error {
	welcomer := s.Welcomer
	if welcomer == "" {
		welcomer = s.By
	}
	req := &mlsclient.ReInitWelcomeRequest{ReinitId: next[welcomer].ReinitId, ForcePath: s.Path, ExternalTree: s.TreeApart}
	for _, name := range old.others(welcomer) {
		req.KeyPackage = append(req.KeyPackage, next[name].KeyPackage)
	}
	a := w.actor(welcomer)
	made, err := call(w, a, "ReInitWelcome", a.peer.ReInitWelcome, req)
	if err != nil {
		return err
	}
	r := newRoom(old.name, "", suite)
	r.epoch, r.psks = 1, old.psks
	w.rooms[old.name] = r
	w.enter(r, welcomer, made.StateId)
	for _, name := range old.others(welcomer) {
		a := w.actor(name)
		resp, err := call(w, a, "HandleReInitWelcome", a.peer.HandleReInitWelcome, &mlsclient.HandleReInitWelcomeRequest{
			ReinitId: next[name].ReinitId, Welcome: made.Welcome, RatchetTree: made.RatchetTree,
		})
		if err != nil {
			return err
		}
		w.enter(r, name, resp.StateId)
		w.release(a, next[name].ReinitId)
	}
	for name, state := range old.states {
		w.release(w.actor(name), state)
	}
	return w.agree(r)
}

// branch makes a group of some members beside the one they are in.
func (w *world) branch(parent *room, s *scriptStep) error {
	if slices.Contains(s.Who, s.By) || s.Into == "" || s.Into == parent.name {
		return fmt.Errorf("the scenario branches badly")
	}
	exts, err := wireExtensions(s.Extensions)
	if err != nil {
		return err
	}
	id := randomID()
	req := &mlsclient.CreateBranchRequest{
		StateId: parent.states[s.By], GroupId: id, Extensions: exts, ForcePath: s.Path, ExternalTree: s.TreeApart,
	}
	transactions := make(map[string]uint32)
	for _, name := range s.Who {
		transaction, kp, err := w.keyPackage(parent, name)
		if err != nil {
			return err
		}
		transactions[name] = transaction
		req.KeyPackages = append(req.KeyPackages, kp)
	}
	a := w.actor(s.By)
	made, err := call(w, a, "CreateBranch", a.peer.CreateBranch, req)
	if err != nil {
		return err
	}
	r := newRoom(s.Into, string(id), parent.suite)
	r.epoch, r.psks = 1, parent.psks
	w.rooms[s.Into] = r
	w.enter(r, s.By, made.StateId)
	for _, name := range s.Who {
		a := w.actor(name)
		resp, err := call(w, a, "HandleBranch", a.peer.HandleBranch, &mlsclient.HandleBranchRequest{
			StateId: parent.states[name], TransactionId: transactions[name], Welcome: made.Welcome, RatchetTree: made.RatchetTree,
		})
		if err != nil {
			return err
		}
		w.enter(r, name, resp.StateId)
		w.release(a, transactions[name])
	}
	return w.agree(r)
}
