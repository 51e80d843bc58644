package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// bus is a delivery service that is used from many goroutines.
type bus struct {
	mu    sync.Mutex
	log   [][]byte
	taken map[uint64]bool // epochs that have their commit
	// keyPackages has the last that each has published, unless it was used.
	keyPackages map[*busyMember][]byte
}

func (b *bus) publish(out *client.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if out.Kind == client.KindCommit {
		if b.taken[out.Epoch] {
			return
		}
		b.taken[out.Epoch] = true
	}
	b.log = append(b.log, out.Message)
}

// exchange publishes a key package and takes one of another member, nil if there is
// none.
func (b *bus) exchange(m *busyMember, keyPackage []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keyPackages[m] = keyPackage
	for other, found := range b.keyPackages {
		if other != m {
			delete(b.keyPackages, other)
			return found
		}
	}
	return nil
}

// busyMember is a member on which many goroutines work.
type busyMember struct {
	*member
	bus *bus

	mu sync.Mutex
	at int // how much of the log was taken to be processed
}

// next takes a message to be processed.
func (m *busyMember) next() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bus.mu.Lock()
	defer m.bus.mu.Unlock()
	if m.at == len(m.bus.log) {
		return nil
	}
	m.at++
	return m.bus.log[m.at-1]
}

// work does steps at random, until an error; those given may come.
func (m *busyMember) work(rng *rand.Rand, id []byte, steps int, may ...error) {
	g, err := m.c.Group(ctx, id)
	for ; err == nil && steps > 0; steps-- {
		err = busySteps[rng.IntN(len(busySteps))](m, g, rng)
		if errors.Is(err, mls.ErrPending) {
			err = nil
		}
	}
	if err != nil && !slices.ContainsFunc(may, func(target error) bool { return errors.Is(err, target) }) {
		m.t.Errorf("%s: %v", m.name, err)
	}
}

// receive processes what there is, until all is said and done.
func (m *busyMember) receive(rng *rand.Rand, over <-chan struct{}) {
	for last := false; ; {
		message := m.next()
		if message == nil {
			if last {
				return
			}
			select {
			case <-over:
				last = true // nothing comes after what there is now
			case <-time.After(time.Millisecond):
			}
			continue
		}
		for range 1 + rng.IntN(2) { // some twice
			o, err := m.c.Receive(ctx, message)
			if epoch := (*mls.EpochError)(nil); errors.Is(err, client.ErrNoKeyPackage) || errors.As(err, &epoch) {
				break // a Welcome for another, or from an epoch that we are not in yet, or no more
			}
			if err != nil {
				m.t.Errorf("%s: %v", m.name, err)
			}
			switch o.(type) {
			case *client.NeedsRejoin, *client.Refused, *client.Removed:
				m.t.Errorf("%s: %T %+v", m.name, o, o)
			}
		}
	}
}

// busySteps are what a worker does, any of them.
var busySteps = []func(m *busyMember, g *client.Group, rng *rand.Rand) error{
	func(m *busyMember, g *client.Group, rng *rand.Rand) error {
		message, err := g.Send(ctx, fmt.Appendf(nil, "%s %d", m.name, rng.Uint64()), nil)
		if err == nil {
			m.bus.publish(&client.Outgoing{Kind: client.KindApplication, Message: message})
		}
		return err
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error {
		out, err := g.Commit(ctx, group.CommitOptions{})
		if err == nil {
			m.bus.publish(out)
			err = m.c.Sent(ctx, out.ID)
		}
		return err
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error {
		out, err := g.ProposeUpdate(ctx, nil)
		if err == nil {
			m.bus.publish(out)
			err = m.c.Sent(ctx, out.ID)
		}
		return err
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error {
		_, err := g.Info(ctx)
		return err
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error {
		return g.Try(ctx, func(trial *group.Group) error {
			_, err := trial.Commit(group.CommitOptions{})
			return err
		})
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error {
		if _, err := g.PendingTree(ctx); !errors.Is(err, client.ErrNothingPending) {
			return err
		}
		_, err := g.GroupInfo(ctx, group.InfoOptions{Tree: true})
		return err
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error {
		_, err := m.c.Outbox(ctx)
		return err
	},
	func(m *busyMember, _ *client.Group, rng *rand.Rand) error { // a group of one's own
		id := fmt.Appendf(nil, "%s's own %d", m.name, rng.IntN(2))
		_, err := m.c.CreateGroup(ctx, m.id, client.GroupOptions{GroupID: id})
		if errors.Is(err, client.ErrGroupExists) {
			var g *client.Group
			if g, err = m.c.Group(ctx, id); err == nil {
				err = g.Forget(ctx)
			}
		}
		if errors.Is(err, client.ErrUnknownGroup) { // another has forgotten it
			err = nil
		}
		return err
	},
	func(m *busyMember, _ *client.Group, rng *rand.Rand) error {
		id := []byte{byte(rng.IntN(3))}
		if rng.IntN(2) == 0 {
			return m.c.RemovePSK(ctx, id)
		}
		return m.c.AddPSK(ctx, id, mls.NewSecret(bytes.Repeat([]byte{7}, 32)))
	},
	func(m *busyMember, g *client.Group, _ *rand.Rand) error { // another joins a group that we branch off
		made, err := m.c.NewKeyPackages(ctx, m.id, client.KeyPackageOptions{})
		if err != nil {
			return err
		}
		other := m.bus.exchange(m, made[0])
		if other == nil {
			return nil
		}
		parsed, err := framing.Parse(other)
		if err != nil {
			return err
		}
		_, welcome, err := g.Branch(ctx, client.SuccessionOptions{KeyPackages: []*treekem.KeyPackage{parsed.KeyPackage}})
		if err == nil {
			m.bus.publish(welcome)
		}
		return err
	},
	func(m *busyMember, _ *client.Group, _ *rand.Rand) error {
		if _, err := m.c.KeyPackages(ctx, m.id); err != nil {
			return err
		}
		_, err := m.c.Groups(ctx)
		return err
	},
}

// TestConcurrentSteps works on three members of a group from many goroutines at
// once, and closes one of them amidst: nobody reads a message twice, or loses
// track, and what is stored is whole.
func TestConcurrentSteps(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { concurrentSteps(t, seed) })
	}
}

func concurrentSteps(t *testing.T, seed uint64) {
	noteTexts := func(cfg *client.Config) {
		cfg.Save = func(tx store.Writer, _ []byte, o client.Outcome) error {
			r, ok := o.(*client.MessageReceived)
			if !ok {
				return nil
			}
			if _, err := tx.Get(r.Data); !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("%q was read before: %v", r.Data, err)
			}
			return tx.Put(r.Data, nil)
		}
		cfg.Notify = nil
	}
	id, a, b, c := trio(t, noteTexts)
	service := &bus{taken: make(map[uint64]bool), keyPackages: make(map[*busyMember][]byte)}
	members := make([]*busyMember, 3)
	var workers, receivers sync.WaitGroup
	over := make(chan struct{})
	for i, m := range []*member{a, b, c} {
		members[i] = &busyMember{member: m, bus: service}
		m.cfg.Notify = func(client.Event) { // may call
			if _, err := m.c.Outbox(ctx); err != nil {
				t.Error(err)
			}
		}
		m.crash()
	}
	for i, m := range members {
		for j := range uint64(2) {
			random := func(k uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(i)<<8|j<<4|k)) }
			receivers.Go(func() { m.receive(random(0), over) })
			workers.Go(func() { m.work(random(1), id, 40) })
		}
	}
	workers.Wait()
	close(over)
	receivers.Wait()
	agree(t, id, a, b, c)
	if a.info(id).Epoch < 2 {
		t.Error("nothing happened")
	}
	// Closed amidst.
	for j := range uint64(4) {
		workers.Go(func() {
			members[0].work(rand.New(rand.NewPCG(seed, 100+j)), id, 40, client.ErrClosed, store.ErrClosed)
		})
	}
	check(t, a.c.Close())
	workers.Wait()
	_, err := a.c.Group(ctx, id)
	wantErr(t, err, store.ErrClosed)
	a.crash()
	clean(t, a, b, c)
	must(a.group(id).Info(ctx))(t)
}
