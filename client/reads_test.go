package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

var errRead = errors.New("an injected read error")

// failingReads is a store of which one read in a view fails.
type failingReads struct {
	store.Store
	reads atomic.Int64
	at    atomic.Int64 // 0: none
}

// failing lets the k-th read of run fail, and reports whether there was none: run
// then has nothing more to fail.
func (f *failingReads) failing(k int64, run func()) (done bool) {
	f.reads.Store(0)
	f.at.Store(k)
	run()
	f.at.Store(0)
	return f.reads.Load() < k
}

func (f *failingReads) fails() bool { return f.reads.Add(1) == f.at.Load() }

func (f *failingReads) View(ctx context.Context, g func(store.Reader) error) error {
	return f.Store.View(ctx, func(tx store.Reader) error { return g(failingReader{tx, f}) })
}

type failingReader struct {
	store.Reader
	f *failingReads
}

func (r failingReader) Get(key []byte) ([]byte, error) {
	if r.f.fails() {
		return nil, errRead
	}
	return r.Reader.Get(key)
}

func (r failingReader) Scan(prefix []byte) iter.Seq2[store.Entry, error] {
	if r.f.fails() {
		return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, errRead) }
	}
	return r.Reader.Scan(prefix)
}

// strangers makes key packages of clients that nobody sees again.
func strangers(t testing.TB, n int) (adds []framing.Proposal) {
	t.Helper()
	for i := range n {
		kp, _, err := group.NewKeyPackage(group.Config{Authenticate: group.InsecureAnyCredential}, suite(t), group.KeyPackageOptions{
			Identity: group.Identity{Credential: treekem.BasicCredential(fmt.Appendf(nil, "stranger %d", i)), Signer: must(suite(t).GenerateSigner())(t)},
		})
		check(t, err)
		adds = append(adds, group.AddProposal(kp))
	}
	return adds
}

// crowd is a group of two members with many others, so that its tree has several
// pages, and some blanks.
func crowd(t testing.TB, change ...func(*client.Config)) (id []byte, a, b *member) {
	t.Helper()
	a, b = newMember(t, "alice", change...), newMember(t, "bob", change...)
	id = a.create()
	a.commit(id, group.CommitOptions{Proposals: strangers(t, 40)})
	must(a.group(id).Accept(ctx))(t)
	a.add(id, nil, b)
	a.commit(id, group.CommitOptions{Proposals: strangers(t, 30)[10:]})
	b.process(must(a.c.Outbox(ctx))(t)[1].Message)
	must(a.group(id).Accept(ctx))(t)
	b.commits(id, a, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(5), group.RemoveProposal(17)}})
	a.commits(id, b, group.CommitOptions{})
	return id, a, b
}

// commits lets m commit, and another follow.
func (m *member) commits(id []byte, other *member, opt group.CommitOptions) {
	m.t.Helper()
	out := m.commit(id, opt)
	other.process(out.Message)
	must(m.group(id).Accept(ctx))(m.t)
}

// TestReadErrors lets each read of an operation fail, the group just opened: it
// is an error each time, and when the store can be read again the operation
// succeeds as if nothing had been.
func TestReadErrors(t *testing.T) {
	id, a, b := crowd(t)
	text := a.send(id, "hello")
	proposal := must(a.group(id).Propose(ctx, group.RemoveProposal(30), nil))(t).Message
	commit := a.commit(id, group.CommitOptions{Proposals: strangers(t, 3), References: [][]byte{}}).Message
	accept := func(g *client.Group, _ *client.Client) error {
		_, err := g.Accept(ctx)
		return err
	}
	receive := func(message []byte) func(*client.Group, *client.Client) error {
		return func(_ *client.Group, c *client.Client) error {
			_, err := c.Receive(ctx, message)
			return err
		}
	}
	branch := client.SuccessionOptions{KeyPackages: []*treekem.KeyPackage{b.keyPackage()}}
	_, shed, err := a.group(id).Branch(ctx, branch)
	check(t, err)
	for name, op := range map[string]struct {
		m   *member
		run func(*client.Group, *client.Client) error
	}{
		"try": {b, func(g *client.Group, _ *client.Client) error {
			return g.Try(ctx, func(g *group.Group) error {
				_, err := g.Process(commit)
				return err
			})
		}},
		"try and look": {b, func(g *client.Group, _ *client.Client) error {
			return g.Try(ctx, func(g *group.Group) error {
				for range g.Members() {
				}
				return nil
			})
		}},
		"pending commit": {a, func(g *client.Group, _ *client.Client) error {
			if _, err := g.PendingCommit(ctx); err != nil {
				return err
			}
			_, err := g.PendingTree(ctx)
			return err
		}},
		"branch": {a, func(g *client.Group, _ *client.Client) error {
			_, _, err := g.Branch(ctx, branch)
			return err
		}},
		"try to join a branch": {b, func(_ *client.Group, c *client.Client) error {
			return c.TryJoin(ctx, shed.Message, client.JoinOptions{}, func(*group.Group) error { return nil })
		}},
		"join a branch": {b, receive(shed.Message)},
		"message":       {b, receive(text)},
		"proposal":      {b, receive(proposal)},
		"commit":        {b, receive(commit)},
		"echo":          {a, receive(commit)},
		"accept":        {a, accept},
		"discard":       {a, func(g *client.Group, _ *client.Client) error { return g.Discard(ctx) }},
		"make a commit": {b, func(g *client.Group, _ *client.Client) error {
			_, err := g.Commit(ctx, group.CommitOptions{Proposals: append(strangers(t, 2), group.RemoveProposal(3))})
			return err
		}},
		"update": {b, func(g *client.Group, _ *client.Client) error {
			_, err := g.ProposeUpdate(ctx, nil)
			return err
		}},
		"info": {b, func(g *client.Group, _ *client.Client) error {
			_, err := g.GroupInfo(ctx, group.InfoOptions{Tree: true})
			return err
		}},
		"members": {b, func(g *client.Group, _ *client.Client) error {
			return g.View(ctx, func(g *group.Group) error {
				n := 0
				for range g.Members() {
					n++
				}
				if n != g.Tree().Members() {
					return errRead // not to be taken for the answer
				}
				return nil
			})
		}},
	} {
		t.Run(name, func(t *testing.T) { failEachRead(t, op.m, id, op.run) })
	}
}

// failEachRead lets each read of an operation of m fail.
func failEachRead(t *testing.T, m *member, id []byte, run func(*client.Group, *client.Client) error) {
	t.Helper()
	k := int64(1)
	for ; ; k++ {
		s := &failingReads{Store: m.store.Clone()}
		cfg := m.cfg
		cfg.Store = s
		c := must(client.Open(ctx, cfg))(t)
		g := must(c.Group(ctx, id))(t)
		var err error
		if done := s.failing(k, func() { err = run(g, c) }); done {
			check(t, err)
			break
		}
		if !errors.Is(err, errRead) {
			t.Fatalf("read %d failed: %v", k, err)
		}
		if err := run(g, c); err != nil {
			t.Fatalf("after read %d failed: %v", k, err)
		}
		if problems := must(client.Check(ctx, s))(t); len(problems) > 0 {
			t.Fatalf("after read %d failed: %q", k, problems)
		}
	}
	if k < 5 {
		t.Errorf("%d reads only", k-1)
	}
}

// TestReadErrorsInRejoin: a member had proposed to remove somebody, whom others
// removed and whose leaf has another holder since. It rejoins; whether there is
// something left to repeat depends on a page of the old tree, which fails to be
// read, and is damaged then.
func TestReadErrorsInRejoin(t *testing.T) {
	a, b := newMember(t, "alice"), newMember(t, "bob")
	id := a.create()
	a.commit(id, group.CommitOptions{Proposals: strangers(t, 100)})
	must(a.group(id).Accept(ctx))(t)
	a.add(id, nil, b)
	const leaf = 40
	must(b.group(id).Propose(ctx, group.RemoveProposal(leaf), nil))(t)
	a.commit(id, group.CommitOptions{Proposals: append([]framing.Proposal{group.RemoveProposal(leaf)}, strangers(t, 1)...)})
	must(a.group(id).Accept(ctx))(t)
	must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)

	unclear := 0
	nothingLeft := func(g *client.Group, _ *client.Client) error {
		applied, err := g.Accept(ctx)
		if err != nil {
			return err
		}
		if len(applied.Repeat) > 0 {
			t.Fatalf("%d proposals are to be repeated: the wrong member would be removed", len(applied.Repeat))
		}
		unclear += len(applied.Unclear)
		return nil
	}
	failEachRead(t, b, id, nothingLeft)
	if unclear > 0 {
		t.Errorf("%d proposals are unclear, and nothing is damaged", unclear)
	}

	accepted := 0
	for key, value := range records(t, b.store) {
		if !strings.Contains(key, "t/p") {
			continue
		}
		s := b.store.Clone()
		check(t, s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), value[:len(value)-3]) }))
		cfg := b.cfg
		cfg.Store = s
		c := must(client.Open(ctx, cfg))(t)
		// With its own page damaged the old state can't be loaded at all.
		if err := nothingLeft(must(c.Group(ctx, id))(t), c); err == nil {
			accepted++
		} else if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%q damaged: %v", key, err)
		}
	}
	if accepted < 3 || unclear == 0 || unclear > accepted {
		t.Errorf("%d rejoins were accepted, with %d proposals unclear", accepted, unclear)
	}
}

// TestReadErrorsInReplay lets each read fail while a commit is processed for
// which others are held: none of them is lost, or taken for a bad one.
func TestReadErrorsInReplay(t *testing.T) {
	id, a, b := crowd(t)
	first := a.commit(id, group.CommitOptions{}).Message
	must(a.group(id).Accept(ctx))(t)
	later := [][]byte{a.send(id, "one")}
	later = append(later, must(a.group(id).Propose(ctx, group.RemoveProposal(30), nil))(t).Message)
	later = append(later, a.commit(id, group.CommitOptions{Proposals: strangers(t, 2)}).Message)
	must(a.group(id).Accept(ctx))(t)
	later = append(later, a.send(id, "two"))
	for _, message := range later {
		want[*client.Held](t, b.process(message))
	}
	whole := 0
	for k := int64(1); ; k++ {
		s := &failingReads{Store: b.store.Clone()}
		cfg := b.cfg
		cfg.Store = s
		var texts string
		cfg.Notify = func(e client.Event) {
			switch o := e.Outcome.(type) {
			case *client.MessageReceived:
				texts += string(o.Data) + " "
			case *client.Refused:
				t.Errorf("read %d failed: refused: %v", k, o.Err)
			}
		}
		c := must(client.Open(ctx, cfg))(t)
		var err error
		done := s.failing(k, func() { _, err = c.Receive(ctx, first) })
		if err != nil {
			if !errors.Is(err, errRead) {
				t.Fatalf("read %d failed: %v", k, err)
			}
			_, err = c.Receive(ctx, first)
		} else if !done {
			whole++ // the commit was applied, and a held message was not
		}
		check(t, err)
		info := must(must(c.Group(ctx, id))(t).Info(ctx))(t)
		if info.Held != 0 || info.Epoch != a.info(id).Epoch || texts != "one two " {
			t.Fatalf("read %d failed: %+v, %q", k, info, texts)
		}
		if done {
			break
		}
	}
	if whole == 0 {
		t.Error("no read failed after the commit was applied")
	}
}

// TestDamagedPages damages each record of a large group's tree: the group's next
// commit is refused, or as it would be.
func TestDamagedPages(t *testing.T) {
	id, a, b := crowd(t)
	before := records(t, b.store)
	a.commits(id, b, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(40)}})
	now := records(t, b.store)
	commit := a.commit(id, group.CommitOptions{Proposals: strangers(t, 2)}).Message
	must(a.group(id).Accept(ctx))(t)
	want := a.info(id).EpochAuthenticator
	process := func(s store.Store) ([]byte, error) {
		cfg := b.cfg
		cfg.Store = s
		c := must(client.Open(ctx, cfg))(t)
		if _, err := c.Receive(ctx, commit); err != nil {
			return nil, err
		}
		info, err := must(c.Group(ctx, id))(t).Info(ctx)
		return info.EpochAuthenticator, err
	}
	nodes := 0
	for key, value := range now {
		_, record, ok := strings.Cut(key, "/t/")
		if !ok {
			continue
		}
		nodes++
		flipped := bytes.Clone(value)
		flipped[len(flipped)/2] ^= 4
		for name, change := range map[string][]byte{
			"gone": nil, "cut": value[:len(value)-1], "empty": {}, "rolled back": before[key],
			"flipped": flipped, "newer": append([]byte{value[0] + 1}, value[1:]...),
			"of a newer tree": append([]byte{value[0], value[1] + 1}, value[2:]...),
		} {
			if name == "rolled back" && change == nil || name == "gone" && record[0] == 'k' {
				continue
			}
			s := b.store.Clone()
			check(t, s.Update(ctx, func(tx store.Writer) error {
				if change == nil {
					return tx.Delete([]byte(key))
				}
				return tx.Put([]byte(key), change)
			}))
			problems, err := client.Check(ctx, s)
			if err == nil && len(problems) == 0 && !bytes.Equal(change, value) {
				t.Errorf("%q %s: Check finds nothing", key, name)
			}
			got, err := process(s)
			if err == nil && !bytes.Equal(got, want) {
				t.Errorf("%q %s: another epoch", key, name)
			}
			if err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) {
				t.Errorf("%q %s: %v", key, name, err)
			}
		}
	}
	if nodes < 10 {
		t.Errorf("%d records only", nodes)
	}
}

// TestKeysOfOthersOnDisk: a key that is in use is found in a tree that is read on
// demand.
func TestKeysOfOthersOnDisk(t *testing.T) {
	id, a, b := crowd(t)
	var taken *treekem.LeafNode
	check(t, a.group(id).View(ctx, func(g *group.Group) error {
		taken, _ = g.Member(33)
		return nil
	}))
	kp := strangers(t, 1)[0].Add.KeyPackage
	kp.LeafNode.EncryptionKey = taken.EncryptionKey
	b.crash()
	err := b.group(id).View(ctx, func(g *group.Group) error {
		e := g.Tree().Edit()
		if _, err := e.Add(&kp.LeafNode); err != nil {
			return err
		}
		_, err := e.Done()
		return err
	})
	var rule *mls.RuleError
	if !errors.As(err, &rule) || rule.Rule != "encryption-key-unique" {
		t.Errorf("a key that is in use: %v", err)
	}
}

// TestCrowdAcrossRestarts lets processes die between any two steps in a group of
// which the tree has several pages.
func TestCrowdAcrossRestarts(t *testing.T) {
	id, a, b := crowd(t)
	for i := range 6 {
		crashAll(a, b)
		opt := group.CommitOptions{}
		switch i % 3 {
		case 0:
			opt.Proposals = strangers(t, 1+8*i)
		case 1:
			opt.Proposals = []framing.Proposal{group.RemoveProposal(mls.LeafIndex(20 + i)), group.RemoveProposal(mls.LeafIndex(50 + i))}
		}
		out := a.commit(id, opt)
		crashAll(a, b)
		lost := b.commit(id, group.CommitOptions{})
		crashAll(a, b)
		want[*client.LostRace](t, b.process(out.Message))
		crashAll(a, b)
		must(a.group(id).Accept(ctx))(t)
		crashAll(a, b)
		want[*client.Duplicate](t, b.process(out.Message))
		if _, ok := a.process(lost.Message).(*client.Stale); !ok {
			t.Fatal("the commit that lost was not stale")
		}
		agree(t, id, a, b)
		b.reads(a.send(id, "x"), "x")
		clean(t, a, b)
	}
	check(t, b.group(id).Forget(ctx))
	for key := range records(t, b.store) {
		if strings.HasPrefix(key, "g/") {
			t.Errorf("%q is left", key)
		}
	}
}
