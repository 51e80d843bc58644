package client_test

import (
	"context"
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
	"github.com/treekem/mls/store/storetest"
)

// TestSaveOutgoing: what the application notes about a message of ours is in the batch that puts it into the outbox.
func TestSaveOutgoing(t *testing.T) {
	fail := false
	a := newMember(t, "alice", func(cfg *client.Config) {
		cfg.SaveOutgoing = func(tx store.Writer, o *client.Outgoing) error {
			if fail {
				return storetest.ErrFault
			}
			return tx.Put(fmt.Appendf(nil, "place/%d", o.ID), fmt.Appendf(nil, "%v of epoch %d", o.Kind, o.Epoch))
		}
	})
	b := newMember(t, "bob")
	id := a.create()
	add := group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}}
	fail = true
	_, err := a.group(id).Commit(ctx, add)
	wantErr(t, err, storetest.ErrFault)
	fail = false
	_, err = a.group(id).Accept(ctx)
	wantErr(t, err, client.ErrNothingPending)
	must(a.group(id).Commit(ctx, add))(t)
	a.crash()
	must(a.group(id).Accept(ctx))(t)
	a.crash()
	must(a.group(id).Propose(ctx, group.RemoveProposal(1), nil))(t)
	check(t, a.c.View(ctx, func(tx store.Reader) error {
		var got []string
		for e, err := range tx.Scan(nil) {
			check(t, err)
			got = append(got, string(e.Key)+": "+string(e.Value))
		}
		if want := []string{"place/1: commit of epoch 0", "place/2: welcome of epoch 1", "place/3: proposal of epoch 1"}; !slices.Equal(got, want) {
			t.Errorf("noted are %q, want %q", got, want)
		}
		return nil
	}))
}

// TestSave: what the application writes is in the batch of the outcome.
func TestSave(t *testing.T) {
	fail := false
	inbox := func(cfg *client.Config) {
		cfg.Save = func(tx store.Writer, id []byte, o client.Outcome) error {
			r, ok := o.(*client.MessageReceived)
			if !ok {
				return nil
			}
			if fail {
				return storetest.ErrFault
			}
			return tx.Put(fmt.Appendf(nil, "inbox/%d", r.Generation), r.Data)
		}
	}
	id, a, b, _ := trio(t, inbox)
	message := a.send(id, "hello")
	fail = true
	_, err := b.c.Receive(ctx, message)
	wantErr(t, err, storetest.ErrFault)
	fail = false
	b.reads(message, "hello") // its key was not used up
	b.crash()
	want[*client.Duplicate](t, b.process(message))
	check(t, b.c.View(ctx, func(tx store.Reader) error {
		v, err := tx.Get([]byte("inbox/0"))
		if string(v) != "hello" {
			t.Errorf("the application's record is %q", v)
		}
		n := 0
		for e, err := range tx.Scan(nil) {
			if err != nil || string(e.Key) != "inbox/0" {
				t.Errorf("%q, %v", e.Key, err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("the application sees %d records", n)
		}
		return err
	}))
	check(t, b.c.Update(ctx, func(tx store.Writer) error { return tx.Delete([]byte("inbox/0")) }))
	clean(t, a, b)
}

// faults lets every kind of failure befall every operation once, and then lets
// it succeed.
func TestWriteErrors(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.Begin, storetest.Write, storetest.Commit, storetest.Lost} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) { writeErrors(t, fault) })
	}
}

// writeErrors plays a history in which every update fails once.
func writeErrors(t *testing.T, fault storetest.Fault) {
	faulty := map[*member]*storetest.Faulty{}
	members := make([]*member, 3)
	for i := range members {
		m := newMember(t, fmt.Sprint("member ", i))
		m.c.Close()
		m.store = m.store.Clone()
		f := storetest.NewFaulty(m.store, nil)
		m.cfg.Store = f
		m.c = must(client.Open(ctx, m.cfg))(t)
		faulty[m] = f
		members[i] = m
	}
	a, b, c := members[0], members[1], members[2]
	id := a.create()
	a.add(id, nil, b, c)
	for _, f := range faulty {
		f.Set(func(n int) storetest.Fault {
			if n%2 == 0 {
				return fault
			}
			return storetest.None
		})
	}
	// twice tries something until it succeeds.
	twice := func(f func() error) {
		t.Helper()
		var err error
		for range 4 {
			if err = f(); err == nil {
				return
			}
			if !errors.Is(err, storetest.ErrFault) {
				t.Fatal(err)
			}
		}
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for round := range 6 {
		for _, from := range members {
			var message []byte
			twice(func() (err error) { message, err = from.group(id).Send(ctx, []byte("x"), nil); return err })
			if seen[string(message)] {
				t.Fatal("a message twice")
			}
			seen[string(message)] = true
			for _, to := range members {
				if to == from {
					continue
				}
				var o client.Outcome
				twice(func() (err error) { o, err = to.c.Receive(ctx, message); return err })
				if _, ok := o.(*client.Duplicate); ok && fault == storetest.Lost {
					continue // the batch was written, the answer lost
				}
				want[*client.MessageReceived](t, o)
			}
		}
		committer := members[round%3]
		var commit *client.Outgoing
		twice(func() (err error) {
			commit, err = committer.group(id).Commit(ctx, group.CommitOptions{})
			if errors.Is(err, mls.ErrPending) { // it was written: it is in the outbox
				out := must(committer.c.Outbox(ctx))(t)
				commit, err = &out[len(out)-1], nil
			}
			return err
		})
		for _, to := range members {
			var o client.Outcome
			twice(func() (err error) { o, err = to.c.Receive(ctx, commit.Message); return err })
			if _, err := to.group(id).Accept(ctx); !errors.Is(err, client.ErrNothingPending) {
				t.Fatalf("%T left something pending: %v", o, err)
			}
		}
		agree(t, id, members...)
	}
	for _, f := range faulty {
		f.Set(nil)
	}
	clean(t, members...)
}

// TestDiskFull: no write succeeds any more, and nothing is lost by it.
func TestDiskFull(t *testing.T) {
	id, a, b, _ := trio(t)
	full := storetest.NewFaulty(b.store.Clone(), func(int) storetest.Fault { return storetest.Write })
	b.cfg.Store = full
	b.c = must(client.Open(ctx, b.cfg))(t)
	message, commit := a.send(id, "hello"), a.commit(id, group.CommitOptions{})
	for range 3 {
		_, err := b.c.Receive(ctx, message)
		wantErr(t, err, storetest.ErrFault)
		_, err = b.c.Receive(ctx, commit.Message)
		wantErr(t, err, storetest.ErrFault)
		_, err = b.group(id).Send(ctx, []byte("x"), nil)
		wantErr(t, err, storetest.ErrFault)
		_, err = b.group(id).Commit(ctx, group.CommitOptions{})
		wantErr(t, err, storetest.ErrFault)
		if info := b.info(id); info.Epoch != 1 || info.Pending {
			t.Fatalf("%+v", info)
		}
	}
	full.Set(nil)
	b.reads(message, "hello")
	b.process(commit.Message)
	must(a.group(id).Accept(ctx))(t)
	agree(t, id, a, b)
	clean(t, b)
}

// TestRandomFaults plays random histories with random faults and restarts.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomFaults(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func randomFaults(t *testing.T, rng *rand.Rand) {
	id, a, b, c := trio(t)
	members := []*member{a, b, c}
	var log [][]byte // what the delivery service has, commits by epoch once
	taken := map[uint64]bool{}
	at := map[*member]int{}
	var mu sync.Mutex
	for _, m := range members {
		m.cfg.Store = storetest.NewFaulty(m.store.Clone(), func(int) storetest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if rng.IntN(3) > 0 {
				return storetest.None
			}
			return storetest.Fault(rng.IntN(5))
		})
	}
	open := func(m *member) {
		for {
			var err error
			if m.c, err = client.Open(ctx, m.cfg); err == nil {
				return
			}
		}
	}
	for _, m := range members {
		open(m)
	}
	publish := func(out *client.Outgoing) {
		if out.Kind == client.KindCommit {
			if taken[out.Epoch] {
				return
			}
			taken[out.Epoch] = true
		}
		log = append(log, out.Message)
	}
	catchUp := func(m *member) {
		for at[m] < len(log) {
			o, err := m.c.Receive(ctx, log[at[m]])
			if errors.Is(err, storetest.ErrFault) {
				continue
			}
			check(t, err)
			if _, lost := o.(*client.NeedsRejoin); lost {
				t.Fatalf("%s lost track: %+v", m.name, o)
			}
			at[m]++
		}
	}
	for range 120 {
		m := members[rng.IntN(3)]
		switch rng.IntN(6) {
		case 0:
			open(m)
			for _, out := range must(m.c.Outbox(ctx))(t) {
				publish(&out)
				_ = m.c.Sent(ctx, out.ID)
			}
		case 1, 2:
			catchUp(m)
		case 3:
			if message, err := m.group(id).Send(ctx, []byte("x"), nil); err == nil {
				log = append(log, message)
			}
		case 4:
			if out, err := m.group(id).ProposeUpdate(ctx, nil); err == nil {
				publish(out)
			}
		case 5:
			if out, err := m.group(id).Commit(ctx, group.CommitOptions{}); err == nil {
				publish(out)
			}
		}
	}
	for range 2 {
		for _, m := range members {
			m.cfg.Store.(*storetest.Faulty).Set(nil)
			open(m)
			for _, out := range must(m.c.Outbox(ctx))(t) {
				publish(&out)
			}
		}
		for _, m := range members {
			catchUp(m)
		}
	}
	agree(t, id, members...)
	if a.info(id).Epoch < 3 {
		t.Error("nothing happened")
	}
	clean(t, members...)
}

func TestConcurrent(t *testing.T) {
	id, a, b, c := trio(t)
	messages := make(chan []byte, 100)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 10 {
				message, err := a.group(id).Send(ctx, fmt.Append(nil, i), nil)
				if err != nil {
					t.Error(err)
					return
				}
				messages <- message
				if _, err := a.group(id).Info(ctx); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	close(messages)
	var mu sync.Mutex
	generations := map[uint32]bool{}
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for message := range messages {
				o, err := b.c.Receive(ctx, message)
				if err != nil {
					t.Error(err)
					return
				}
				r, ok := o.(*client.MessageReceived)
				mu.Lock()
				if !ok || generations[r.Generation] {
					t.Errorf("%T, or a generation twice", o)
				} else {
					generations[r.Generation] = true
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if len(generations) != 40 {
		t.Errorf("%d messages, want 40", len(generations))
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err := c.group(id).Send(done, nil, nil)
	wantErr(t, err, context.Canceled)
	clean(t, a, b, c)
}

// TestNotifyMayCall: the application answers from within its event handler.
func TestNotifyMayCall(t *testing.T) {
	id, a, b, _ := trio(t)
	var answers [][]byte
	b.cfg.Notify = func(e client.Event) {
		if r, ok := e.Outcome.(*client.MessageReceived); ok {
			answers = append(answers, b.send(e.Group, "re: "+string(r.Data)))
		}
	}
	b.crash()
	b.reads(a.send(id, "1"), "1")
	b.reads(a.send(id, "2"), "2")
	if len(answers) != 2 {
		t.Fatalf("%d answers", len(answers))
	}
	a.reads(answers[0], "re: 1")
	a.reads(answers[1], "re: 2")
}

func TestOpenErrors(t *testing.T) {
	_, err := client.Open(ctx, client.Config{Group: group.Config{Authenticate: group.InsecureAnyCredential}})
	if err == nil {
		t.Error("no store was accepted")
	}
	_, err = client.Open(ctx, client.Config{Store: store.NewMemory()})
	if err == nil {
		t.Error("no Authenticate was accepted")
	}
	cfg := client.Config{Group: group.Config{Authenticate: group.InsecureAnyCredential}}
	inner := store.NewMemory()
	key := store.RawKey(mls.NewSecret(make([]byte, store.KeySize)))
	sealed := must(store.OpenSealed(ctx, inner, key, store.SealOptions{}))(t)
	cfg.Store = inner
	_, err = client.Open(ctx, cfg)
	wantErr(t, err, store.ErrSealed)
	cfg.Store = sealed
	c := must(client.Open(ctx, cfg))(t)
	check(t, c.Close())
	_, err = c.Groups(ctx)
	wantErr(t, err, store.ErrClosed)

	foreign := store.NewMemory()
	check(t, foreign.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte("x"), nil) }))
	cfg.Store = foreign
	_, err = client.Open(ctx, cfg)
	wantErr(t, err, store.ErrCorrupt)
}

// TestDamagedRecords changes, removes and rolls back each record of a store.
func TestDamagedRecords(t *testing.T) {
	id, a, b, _ := trio(t)
	old := records(t, a.store)
	a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(b.info(id).OwnLeaf)}})
	now := records(t, a.store)
	works := func(s *store.Memory) error {
		cfg := a.cfg
		cfg.Store = s
		c, err := client.Open(ctx, cfg)
		if err != nil {
			return err
		}
		g, err := c.Group(ctx, id)
		if err != nil {
			return err
		}
		_, err = g.Accept(ctx)
		return err
	}
	check(t, works(a.store.Clone()))
	for key, value := range now {
		for name, change := range map[string][]byte{
			"gone": nil, "cut": value[:len(value)-1], "empty": {}, "rolled back": old[key],
			"newer": append([]byte{value[0] + 1}, value[1:]...),
		} {
			if name == "rolled back" && (change == nil || string(change) == string(value)) || key == "m" && name == "rolled back" {
				continue
			}
			if key[0] == 'k' || key[0] == 'o' || len(key) > 36 && key[35:37] == "l/" {
				continue // what this history does not need
			}
			s := a.store.Clone()
			check(t, s.Update(ctx, func(tx store.Writer) error {
				if change == nil {
					return tx.Delete([]byte(key))
				}
				return tx.Put([]byte(key), change)
			}))
			if len(key) > 38 && (key[35:38] == "t/b" || key[35:38] == "t/k") {
				// The index of keys: this history looks nothing up.
				if problems, err := client.Check(ctx, s); err == nil && len(problems) == 0 {
					t.Errorf("%q %s: Check finds nothing", key, name)
				}
				continue
			}
			err := works(s)
			if err == nil {
				t.Errorf("%q %s: nothing was noticed", key, name)
			}
			if name == "newer" && key != "m" && !errors.Is(err, store.ErrNewer) {
				t.Errorf("%q %s: %v", key, name, err)
			}
			if name == "rolled back" && !errors.Is(err, store.ErrRolledBack) {
				t.Errorf("%q %s: %v", key, name, err)
			}
		}
	}
}

func records(t testing.TB, s store.Store) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	check(t, s.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) {
			if err != nil {
				return err
			}
			all[string(e.Key)] = e.Value
		}
		return nil
	}))
	return all
}

func TestCheckFinds(t *testing.T) {
	id, a, b, _ := trio(t)
	a.commit(id, group.CommitOptions{})
	for _, key := range []string{"x", "g/none/core", "h/none", "k/none", "o/none", "i/none"} {
		s := a.store.Clone()
		check(t, s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), []byte{1, 0xa0}) }))
		if problems := must(client.Check(ctx, s))(t); len(problems) == 0 {
			t.Errorf("nothing is wrong with %s", key)
		}
	}
	joiner := newMember(t, "dave")
	_, _, err := joiner.c.JoinExternal(ctx, joiner.id, a.groupInfo(id), client.ExternalOptions{})
	check(t, err)
	must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)
	for _, m := range []*member{a, b, joiner} {
		for key, value := range records(t, m.store) {
			if key == "m" {
				continue
			}
			s := m.store.Clone()
			value[len(value)/2] ^= 1
			check(t, s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), value) }))
			_ = must(client.Check(ctx, s))(t) // finds it if it can, and never fails
		}
	}
	_, err = client.Check(ctx, store.NewMemory())
	if err == nil {
		t.Error("an empty store was checked")
	}
}

// TestSendingBlocks: the store is written once for a block of messages, and a
// crash skips what is left of it.
func TestSendingBlocks(t *testing.T) {
	id, a, b, _ := trio(t)
	counted := storetest.NewFaulty(a.store, nil)
	a.cfg.Store = counted
	a.c = must(client.Open(ctx, a.cfg))(t)
	next := uint32(0)
	send := func(n int) {
		t.Helper()
		for range n {
			o := want[*client.MessageReceived](t, b.process(a.send(id, "x")))
			if o.Generation < next {
				t.Fatalf("generation %d after %d", o.Generation, next)
			}
			next = o.Generation + 1
		}
	}
	send(1 + 2 + 4 + 8 + 16 + 32 + 64*3)
	if n := counted.Updates(); n != 9 {
		t.Errorf("%d batches for 255 messages, want 9", n)
	}
	if next != 255 {
		t.Errorf("%d generations for 255 messages", next)
	}
	send(1)
	for range 10 {
		a.crash()
		send(1) // a process that sends one message skips nothing but what was left
	}
	if next != 255+64+10 {
		t.Errorf("the next generation is %d, want %d", next, 255+64+10)
	}
	commit := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	b.process(commit.Message)
	next = 0
	send(70)
	clean(t, a, b)
}

// TestPanics: an application that panics in a batch, and lives on, finds what is
// stored: nothing of the batch.
func TestPanics(t *testing.T) {
	panics := false
	id, a, b, _ := trio(t, func(cfg *client.Config) {
		cfg.Save = func(store.Writer, []byte, client.Outcome) error {
			if panics {
				panic("the application")
			}
			return nil
		}
	})
	b.events = nil
	panicking := func(f func()) {
		t.Helper()
		defer func() {
			panics = false
			if recover() == nil {
				t.Fatal("it did not panic")
			}
		}()
		panics = true
		f()
	}
	message := a.send(id, "hello")
	commit := a.commit(id, group.CommitOptions{})
	panicking(func() { b.c.Receive(ctx, message) })
	b.reads(message, "hello")
	panicking(func() { b.c.Receive(ctx, commit.Message) })
	if n := b.info(id).Epoch; n != 1 {
		t.Errorf("epoch %d after a commit that was not written", n)
	}
	want[*client.CommitApplied](t, b.process(commit.Message))
	panicking(func() { a.group(id).Accept(ctx) })
	must(a.group(id).Accept(ctx))(t)
	other := a.create()
	a.commit(other, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	welcome := must(a.group(other).Accept(ctx))(t).Welcome
	panicking(func() { b.c.Receive(ctx, welcome.Message) })
	want[*client.Joined](t, b.process(welcome.Message))
	if len(b.events) != 3 {
		t.Errorf("the application was told of %d outcomes, want 3: %v", len(b.events), b.events)
	}
	agree(t, id, a, b)
	agree(t, other, a, b)
	clean(t, a, b)
}

// TestCloseAmidst: what waits while the client is closed fails, and nothing is read
// again.
func TestCloseAmidst(t *testing.T) {
	a := newMember(t, "alice")
	held := a.group(a.create())
	var others []*client.Group
	for range 5 {
		others = append(others, a.group(a.create()))
		must(others[len(others)-1].Send(ctx, nil, nil))(t)
	}
	inside, done, closed := make(chan bool), make(chan bool), make(chan error)
	go held.View(ctx, func(*group.Group) error {
		inside <- true
		<-done
		return nil
	})
	<-inside
	go func() { closed <- a.c.Close() }()
	for {
		if _, err := a.c.Group(ctx, held.ID()); errors.Is(err, client.ErrClosed) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, g := range others {
		_, err := g.Info(ctx)
		wantErr(t, err, client.ErrClosed)
		wantErr(t, g.Forget(ctx), client.ErrClosed)
	}
	_, err := a.c.CreateGroup(ctx, a.id, client.GroupOptions{})
	wantErr(t, err, client.ErrClosed)
	close(done)
	check(t, <-closed)
	clean(t, &member{cfg: client.Config{Store: a.store.Clone()}})
}
