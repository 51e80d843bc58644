package interop

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

// play plays a scenario to its end, or to its first failure.
func (w *world) play(s *script) error {
	for i := range s.Steps {
		step := &s.Steps[i]
		if err := w.step(step); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.Do, err)
		}
		w.steps++
	}
	return nil
}

func (w *world) step(s *scriptStep) error {
	switch s.Do {
	case "create":
		return w.create(s.Group, s.By)
	case "random":
		return w.random(s.Moves, s.Without)
	}
	r, err := w.room(s.Group)
	if err != nil {
		return err
	}
	switch s.Do {
	case "commit":
		refs := r.pending
		if s.LeaveOut {
			refs = nil
		}
		return w.commit(r, commitStep{by: s.By, refs: refs, values: s.Value, path: s.Path, treeApart: s.TreeApart})
	case "propose":
		return w.propose(r, s.By, s.Change)
	case "external_join":
		return w.externalJoin(r, s)
	case "new_member":
		return w.newMember(r, s.By)
	case "external_proposal":
		return w.externalProposal(r, s.By, s.Change, s.TreeApart)
	case "psk":
		return w.psk(r, s.PSKs)
	case "talk":
		return w.talk(r, s.Who)
	case "export":
		return w.export(r)
	case "locked_out":
		return w.lockedOut(r, s.By, s.Who)
	case "reinit":
		return w.reinit(r, s)
	case "branch":
		return w.branch(r, s)
	}
	return fmt.Errorf("the scenario asks for %q, which is no step", s.Do)
}

// create begins a group.
func (w *world) create(group, by string) error {
	a := w.actor(by)
	id := randomID()
	resp, err := call(w, a, "CreateGroup", a.peer.CreateGroup, &mlsclient.CreateGroupRequest{
		GroupId: id, CipherSuite: w.suite, EncryptHandshake: w.encrypt, Identity: []byte(by),
	})
	if err != nil {
		return err
	}
	r := newRoom(group, string(id), w.suite)
	w.rooms[group] = r
	w.enter(r, by, resp.StateId)
	return w.agree(r)
}

// keyPackage asks for a key package, and gives its owner the group's PSKs.
func (w *world) keyPackage(r *room, name string) (transaction uint32, kp []byte, err error) {
	a := w.actor(name)
	resp, err := call(w, a, "CreateKeyPackage", a.peer.CreateKeyPackage, &mlsclient.CreateKeyPackageRequest{
		CipherSuite: r.suite, Identity: []byte(name),
	})
	if err != nil {
		return 0, nil, err
	}
	w.keep(a, resp.TransactionId)
	return resp.TransactionId, resp.KeyPackage, w.givePSKs(r, a, resp.TransactionId)
}

func (w *world) givePSKs(r *room, a *actor, id uint32) error {
	for psk, secret := range r.psks {
		_, err := call(w, a, "StorePSK", a.peer.StorePSK, &mlsclient.StorePSKRequest{
			StateOrTransactionId: id, PskId: []byte(psk), PskSecret: secret,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// psk hands new pre-shared keys to all members, and to those to be added.
func (w *world) psk(r *room, names []string) error {
	for _, n := range names {
		secret := make([]byte, 32)
		rand.Read(secret)
		r.psks[n] = secret
	}
	for _, p := range r.pending {
		if p.transaction != 0 {
			if err := w.givePSKs(r, w.actor(p.change.Who), p.transaction); err != nil {
				return err
			}
		}
	}
	return w.each(r.members, func(name string) error { return w.givePSKs(r, w.actor(name), r.states[name]) })
}

// describe makes the description of a change; for an Add also the transaction.
func (w *world) describe(r *room, c *proposalSpec) (*mlsclient.ProposalDescription, uint32, error) {
	d := &mlsclient.ProposalDescription{ProposalType: []byte(c.Type)}
	var transaction uint32
	var err error
	switch c.Type {
	case "add":
		transaction, d.KeyPackage, err = w.keyPackage(r, c.Who)
	case "remove":
		d.RemovedId = []byte(c.Who)
	case "externalPSK":
		d.PskId = []byte(c.PSK)
	case "resumptionPSK":
		d.EpochId = r.epoch - c.Ago
	case "groupContextExtensions":
		d.Extensions, err = wireExtensions(c.Extensions)
	case "reinit":
		d.GroupId, d.CipherSuite = randomID(), w.otherSuite(r, c.OtherSuite)
		d.Extensions, err = wireExtensions(c.Extensions)
	default:
		err = fmt.Errorf("the scenario describes a proposal of type %q", c.Type)
	}
	return d, transaction, err
}

// otherSuite is a suite that all clients have, another one if asked for.
func (w *world) otherSuite(r *room, other bool) uint32 {
	if !other {
		return r.suite
	}
	i := slices.Index(w.r.suites, r.suite)
	return w.r.suites[(i+1)%len(w.r.suites)]
}

// talk lets members say something that all others read.
func (w *world) talk(r *room, who []string) error {
	if who == nil {
		who = slices.Clone(r.members)
	}
	for i, from := range who {
		text, aad := fmt.Appendf(nil, "%s says something in epoch %d", from, r.epoch), []byte("in public")
		if i%2 == 1 {
			aad = nil
		}
		message, err := w.protect(r, from, text, aad)
		if err != nil {
			return err
		}
		err = w.each(r.others(from), func(name string) error { return w.read(r, name, message, text, aad) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) protect(r *room, from string, text, aad []byte) ([]byte, error) {
	a := w.actor(from)
	resp, err := call(w, a, "Protect", a.peer.Protect, &mlsclient.ProtectRequest{
		StateId: r.states[from], AuthenticatedData: aad, Plaintext: text,
	})
	if err != nil {
		return nil, err
	}
	return resp.Ciphertext, nil
}

func (w *world) read(r *room, name string, message, text, aad []byte) error {
	a := w.actor(name)
	resp, err := call(w, a, "Unprotect", a.peer.Unprotect, &mlsclient.UnprotectRequest{StateId: r.states[name], Ciphertext: message})
	if err != nil {
		return err
	}
	if !bytes.Equal(resp.Plaintext, text) || !bytes.Equal(resp.AuthenticatedData, aad) {
		return fmt.Errorf("%s (%s) reads something else than was sent", name, a.peer.name)
	}
	return nil
}

// lockedOut shows that former members can't read what members say.
func (w *world) lockedOut(r *room, by string, who []string) error {
	message, err := w.protect(r, by, []byte("among us"), nil)
	if err != nil {
		return err
	}
	for _, name := range who {
		a := w.actor(name)
		state, ok := r.former[name]
		if !ok {
			return fmt.Errorf("%s was never removed", name)
		}
		_, err := call(w, a, "Unprotect", a.peer.Unprotect, &mlsclient.UnprotectRequest{StateId: state, Ciphertext: message})
		if err == nil {
			return fmt.Errorf("%s (%s) reads a message that was sent after its removal", name, a.peer.name)
		}
	}
	return nil
}

// export holds exported secrets against each other.
func (w *world) export(r *room) error {
	secrets := make(map[string][]byte)
	var mu sync.Mutex
	const length = 48
	err := w.each(r.members, func(name string) error {
		a := w.actor(name)
		resp, err := call(w, a, "Export", a.peer.Export, &mlsclient.ExportRequest{
			StateId: r.states[name], Label: "interop", Context: []byte("a context"), KeyLength: length,
		})
		if err != nil {
			return err
		}
		if len(resp.ExportedSecret) != length {
			return fmt.Errorf("%s (%s) exports %d bytes instead of %d", name, a.peer.name, len(resp.ExportedSecret), length)
		}
		mu.Lock()
		defer mu.Unlock()
		secrets[name] = resp.ExportedSecret
		return nil
	})
	if err != nil {
		return err
	}
	return w.compare(r, "exported secrets", secrets)
}
