package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

// concurrency is how many calls are under way at a time.
const concurrency = 8

// world is one play of a scenario.
type world struct {
	ctx     context.Context
	r       *runner
	suite   uint32
	encrypt bool
	cast    []int
	actors  map[string]*actor
	rooms   map[string]*room
	steps   int
	// underWay is the commit that is being made, nil between commits.
	underWay *CommitSummary

	mu      sync.Mutex
	handles map[handle]bool
}

// handle is something that a client keeps for us.
type handle struct {
	peer *peer
	id   uint32
}

// actor is a character of the scenario, played by a client.
type actor struct {
	name string
	peer *peer
}

// room is a group, as far as the runner knows it.
type room struct {
	name, id string
	suite    uint32
	epoch    uint64
	// members are the actors in it, with their states; former those who were.
	members []string
	states  map[string]uint32
	former  map[string]uint32
	// since is the epoch in which a member joined.
	since map[string]uint64
	// pending are the proposals of this epoch.
	pending []*pending
	psks    map[string][]byte
	// signers are the external senders, by their index.
	signers []signer
}

// signer is an external sender of a group.
type signer struct {
	actor string
	id    uint32
}

// pending is a proposal that was sent.
type pending struct {
	message []byte
	by      string
	change  proposalSpec
	// transaction is that of the client to be added.
	transaction uint32
	// signer is the external sender to be listed.
	signer signer
}

func newWorld(ctx context.Context, r *runner, suite uint32, encrypt bool, cast []int) *world {
	return &world{
		ctx: ctx, r: r, suite: suite, encrypt: encrypt, cast: cast,
		actors: make(map[string]*actor), rooms: make(map[string]*room), handles: make(map[handle]bool),
	}
}

// actor finds an actor, or lets the next client play it.
func (w *world) actor(name string) *actor {
	a, ok := w.actors[name]
	if !ok {
		a = &actor{name: name, peer: w.r.peers[w.cast[len(w.actors)%len(w.cast)]]}
		w.actors[name] = a
	}
	return a
}

func (w *world) castNames() []string {
	var names []string
	for _, i := range w.cast {
		names = append(names, w.r.peers[i].name)
	}
	return names
}

// callError is what a client answered to a call.
type callError struct {
	actor *actor
	call  string
	err   error
}

func (e *callError) Error() string {
	s, _ := status.FromError(e.err)
	return fmt.Sprintf("%s (%s): %s: %s: %s", e.actor.name, e.actor.peer.name, e.call, s.Code(), s.Message())
}

func (e *callError) Unwrap() error { return e.err }

// call makes a call to an actor's client.
func call[Req, Resp any](w *world, a *actor, name string, f func(context.Context, *Req, ...grpc.CallOption) (*Resp, error), r *Req) (*Resp, error) {
	ctx, cancel := context.WithTimeout(w.ctx, callTimeout)
	defer cancel()
	resp, err := f(ctx, r)
	if err != nil {
		return nil, &callError{a, name, err}
	}
	return resp, nil
}

// keep remembers a handle, to free it in the end.
func (w *world) keep(a *actor, id uint32) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handles[handle{a.peer, id}] = true
	return id
}

// release frees a handle. Whether the client likes that is its own affair: joining
// with a transaction may have freed it.
func (w *world) release(a *actor, id uint32) {
	w.mu.Lock()
	known := w.handles[handle{a.peer, id}]
	delete(w.handles, handle{a.peer, id})
	w.mu.Unlock()
	if known {
		_, _ = a.peer.Free(w.ctx, &mlsclient.FreeRequest{StateId: id})
	}
}

// free frees all that is left.
func (w *world) free() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for h := range w.handles {
		_, _ = h.peer.Free(w.ctx, &mlsclient.FreeRequest{StateId: h.id})
	}
	clear(w.handles)
}

// each does something for many actors at a time and returns the first error.
func (w *world) each(names []string, f func(name string) error) error {
	errs := make([]error, len(names))
	tokens := make(chan struct{}, concurrency)
	var wg sync.WaitGroup
	for i, name := range names {
		tokens <- struct{}{}
		wg.Go(func() {
			errs[i] = f(name)
			<-tokens
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func newRoom(name, id string, suite uint32) *room {
	return &room{
		name: name, id: id, suite: suite,
		states: make(map[string]uint32), former: make(map[string]uint32), since: make(map[string]uint64), psks: make(map[string][]byte),
	}
}

// room finds a group.
func (w *world) room(name string) (*room, error) {
	r, ok := w.rooms[name]
	if !ok {
		return nil, fmt.Errorf("the scenario has no group %q yet", name)
	}
	return r, nil
}

// enter makes an actor a member.
func (w *world) enter(r *room, name string, state uint32) {
	if old, ok := r.states[name]; ok {
		r.former[name] = old
	} else {
		r.members = append(r.members, name)
	}
	r.states[name] = w.keep(w.actor(name), state)
	r.since[name] = r.epoch
}

// leave makes an actor a former member.
func (r *room) leave(name string) {
	r.former[name] = r.states[name]
	delete(r.states, name)
	delete(r.since, name)
	r.members = slices.DeleteFunc(r.members, func(m string) bool { return m == name })
}

// others are the members but those named.
func (r *room) others(but ...string) []string {
	var names []string
	for _, m := range r.members {
		if !slices.Contains(but, m) {
			names = append(names, m)
		}
	}
	return names
}

// agree holds the epoch authenticators of all members against each other.
func (w *world) agree(r *room) error {
	auths := make(map[string][]byte)
	var mu sync.Mutex
	err := w.each(r.members, func(name string) error {
		a := w.actor(name)
		resp, err := call(w, a, "StateAuth", a.peer.StateAuth, &mlsclient.StateAuthRequest{StateId: r.states[name]})
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		auths[name] = resp.StateAuthSecret
		return nil
	})
	if err != nil {
		return err
	}
	return w.compare(r, "epoch authenticators", auths)
}

// compare finds out who has another value than the first member.
func (w *world) compare(r *room, what string, values map[string][]byte) error {
	if len(r.members) == 0 {
		return errors.New("the group is empty")
	}
	first := r.members[0]
	if len(values[first]) == 0 {
		return fmt.Errorf("%s (%s) has no %s", first, w.actor(first).peer.name, what)
	}
	for _, m := range r.members {
		if !bytes.Equal(values[m], values[first]) {
			return fmt.Errorf("%s differ: %s (%s) and %s (%s), epoch %d", what,
				first, w.actor(first).peer.name, m, w.actor(m).peer.name, r.epoch)
		}
	}
	return nil
}

func randomID() []byte {
	b := make([]byte, 16)
	rand.Read(b)
	return b
}
