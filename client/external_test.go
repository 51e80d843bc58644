package client_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

func (m *member) groupInfo(id []byte) []byte {
	m.t.Helper()
	return must(m.group(id).GroupInfo(ctx, group.InfoOptions{Tree: true, ExternalPub: true}))(m.t)
}

func TestJoinExternal(t *testing.T) {
	id, a, b, c := trio(t)
	d := newMember(t, "dave")
	_, out, err := d.c.JoinExternal(ctx, d.id, a.groupInfo(id), client.ExternalOptions{})
	check(t, err)
	d.crash()
	if info := d.info(id); info.Status != client.StatusJoining || !info.Pending || info.Epoch != 2 {
		t.Fatalf("%+v", info)
	}
	clean(t, d)
	_, err = d.group(id).Send(ctx, []byte("not yet"), nil)
	wantErr(t, err, mls.ErrPending)
	want[*client.Stale](t, d.process(a.send(id, "of epoch 1")))
	for _, m := range []*member{a, b, c} {
		want[*client.CommitApplied](t, m.process(out.Message))
	}
	early := a.send(id, "welcome, dave")
	want[*client.Held](t, d.process(early))
	d.crash()
	o := want[*client.OwnEcho](t, d.process(out.Message))
	if o.Commit == nil || len(o.Commit.Replayed) != 1 {
		t.Fatalf("%+v", o.Commit)
	}
	want[*client.MessageReceived](t, o.Commit.Replayed[0])
	want[*client.OwnEcho](t, d.process(out.Message))
	agree(t, id, a, b, c, d)
	b.reads(d.send(id, "here"), "here")
	if out := must(d.c.Outbox(ctx))(t); len(out) != 0 {
		t.Errorf("%d messages in the outbox", len(out))
	}
	clean(t, a, b, c, d)
}

func TestJoinExternalLosesRace(t *testing.T) {
	id, a, b, c := trio(t)
	d := newMember(t, "dave")
	_, _, err := d.c.JoinExternal(ctx, d.id, a.groupInfo(id), client.ExternalOptions{})
	check(t, err)
	_, _, err = d.c.JoinExternal(ctx, d.id, a.groupInfo(id), client.ExternalOptions{})
	wantErr(t, err, mls.ErrPending)
	commit := b.commit(id, group.CommitOptions{})
	must(b.group(id).Accept(ctx))(t)
	a.process(commit.Message)
	c.process(commit.Message)
	want[*client.Stale](t, d.process(commit.Message))
	check(t, d.group(id).Discard(ctx))
	clean(t, d)
	_, err = d.c.Group(ctx, id)
	wantErr(t, err, client.ErrUnknownGroup)
	_, out, err := d.c.JoinExternal(ctx, d.id, a.groupInfo(id), client.ExternalOptions{})
	check(t, err)
	for _, m := range []*member{a, b, c} {
		want[*client.CommitApplied](t, m.process(out.Message))
	}
	must(d.group(id).Accept(ctx))(t)
	agree(t, id, a, b, c, d)
	clean(t, a, b, c, d)
}

// TestRejoinAfterFork: an old copy of bob's store is used again.
func TestRejoinAfterFork(t *testing.T) {
	id, a, b, c := trio(t)
	old := b.store.Clone()
	commit := b.commit(id, group.CommitOptions{})
	must(b.group(id).Accept(ctx))(t)
	a.process(commit.Message)
	c.process(commit.Message)

	b.store = old
	b.crash()
	o := want[*client.NeedsRejoin](t, b.process(commit.Message))
	if o.Reason == nil || o.Epoch != 1 {
		t.Errorf("%+v", o)
	}
	out := must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)
	b.crash()
	if info := b.info(id); info.Status != client.StatusActive || !info.Pending || info.Epoch != 1 {
		t.Errorf("while rejoining: %+v", info)
	}
	clean(t, b)
	for _, m := range []*member{a, c} {
		o := want[*client.CommitApplied](t, m.process(out.Message))
		if len(o.Changes.Removed) != 1 || len(o.Changes.Added) != 1 {
			t.Errorf("the former self was not replaced: %+v", o.Changes)
		}
	}
	applied := must(b.group(id).Accept(ctx))(t)
	if applied.Epoch != 3 {
		t.Errorf("rejoined in epoch %d", applied.Epoch)
	}
	agree(t, id, a, b, c)
	a.reads(b.send(id, "back"), "back")
	b.reads(a.send(id, "good"), "good")
	clean(t, a, b, c)
}

// TestRejoinInPlaceOfDamage: each record of a group is damaged; an external commit
// takes the place of what cannot be read.
func TestRejoinInPlaceOfDamage(t *testing.T) {
	id, a, b, _ := trio(t)
	b.commit(id, group.CommitOptions{})
	info := a.groupInfo(id)
	whole := b.store
	tried := 0
	for key, value := range records(t, whole) {
		if !strings.HasPrefix(key, "h/") && !strings.HasSuffix(key, "/core") && !strings.HasSuffix(key, "/pend") && !strings.HasSuffix(key, "/pdiff") {
			continue
		}
		tried++
		for _, own := range []bool{false, true} {
			b.store = whole.Clone()
			check(t, b.store.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), value[:len(value)-3]) }))
			b.crash()
			_, err := b.group(id).Info(ctx)
			wantErr(t, err, store.ErrCorrupt)
			var out *client.Outgoing
			if own {
				_, out, err = b.c.JoinExternal(ctx, b.id, info, client.ExternalOptions{})
			} else {
				out, err = b.group(id).Rejoin(ctx, info, client.ExternalOptions{})
			}
			if err != nil {
				t.Fatalf("%q: %v", key, err)
			}
			clean(t, b)
			b.crash()
			if list := must(b.c.Outbox(ctx))(t); len(list) != 1 || list[0].ID != out.ID {
				t.Errorf("%q: %d messages in the outbox", key, len(list))
			}
			other := *a
			other.store = a.store.Clone()
			other.crash()
			other.process(out.Message)
			must(b.group(id).Accept(ctx))(t)
			agree(t, id, b, &other)
			b.reads(other.send(id, "again"), "again")
			clean(t, b)
		}
	}
	if tried != 4 {
		t.Errorf("%d records", tried)
	}
	b.store = whole.Clone()
	for key, value := range records(t, whole) {
		if strings.HasSuffix(key, "/core") { // as a later version writes it
			value[0]++
			check(t, b.store.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), value) }))
		}
	}
	b.crash()
	_, err := b.group(id).Rejoin(ctx, info, client.ExternalOptions{})
	wantErr(t, err, store.ErrNewer)
	_, _, err = b.c.JoinExternal(ctx, b.id, info, client.ExternalOptions{})
	wantErr(t, err, store.ErrNewer)
	_, err = a.group(id).Rejoin(ctx, a.groupInfo(a.create()), client.ExternalOptions{})
	wantErr(t, err, mls.ErrWrongGroup)
}

// TestRejoinRepeats: what we had proposed is not forgotten when we rejoin, unless
// it has come about.
func TestRejoinRepeats(t *testing.T) {
	id, a, b, c := trio(t)
	dave, erin := newMember(t, "dave").keyPackage(), newMember(t, "erin").keyPackage()
	forked := b.store.Clone() // in which the proposals stay alone
	b.store = forked
	b.crash()
	for _, p := range []framing.Proposal{group.AddProposal(dave), group.AddProposal(erin), group.RemoveProposal(c.info(id).OwnLeaf)} {
		must(b.group(id).Propose(ctx, p, nil))(t)
	}
	must(b.group(id).ProposeUpdate(ctx, nil))(t)
	a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(dave)}})
	must(a.group(id).Accept(ctx))(t)
	out := must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)
	b.crash()
	applied := must(b.group(id).Accept(ctx))(t)
	if len(applied.Repeat) != 2 || applied.UpdateLost {
		t.Fatalf("repeat %d, update lost: %t", len(applied.Repeat), applied.UpdateLost)
	}
	if add := applied.Repeat[0].Add; add == nil || !add.KeyPackage.LeafNode.Credential.Equal(erin.LeafNode.Credential) {
		t.Errorf("%+v", applied.Repeat[0])
	}
	if applied.Repeat[1].Remove == nil {
		t.Errorf("%+v", applied.Repeat[1])
	}
	a.process(out.Message)
	again := b.commit(id, group.CommitOptions{Proposals: applied.Repeat})
	must(b.group(id).Accept(ctx))(t)
	a.process(again.Message)
	agree(t, id, a, b)
	clean(t, a, b)
}

func TestRejoinAfterRemoval(t *testing.T) {
	id, a, b, c := trio(t)
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(c.info(id).OwnLeaf)}})
	must(a.group(id).Accept(ctx))(t)
	b.process(commit.Message)
	want[*client.Removed](t, c.process(commit.Message))
	out := must(c.group(id).Rejoin(ctx, b.groupInfo(id), client.ExternalOptions{}))(t)
	a.process(out.Message)
	b.process(out.Message)
	want[*client.Held](t, c.process(a.send(id, "early")))
	o := want[*client.OwnEcho](t, c.process(out.Message))
	if o.Commit == nil || len(o.Commit.Replayed) != 1 {
		t.Fatalf("%+v", o.Commit)
	}
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

// TestRejoinLosesRace: the state from before goes on while the external commit
// is pending, and a commit that wins over it drops it.
func TestRejoinLosesRace(t *testing.T) {
	id, a, b, c := trio(t)
	must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)
	b.reads(a.send(id, "still epoch 1"), "still epoch 1")
	commit := c.commit(id, group.CommitOptions{})
	must(c.group(id).Accept(ctx))(t)
	a.process(commit.Message)
	want[*client.LostRace](t, b.process(commit.Message))
	if b.info(id).Pending {
		t.Error("the external commit is still pending")
	}
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

func TestDiscard(t *testing.T) {
	id, a, b, c := trio(t)
	wantErr(t, a.group(id).Discard(ctx), client.ErrNothingPending)
	first := a.commit(id, group.CommitOptions{})
	check(t, a.group(id).Discard(ctx))
	if out := must(a.c.Outbox(ctx))(t); len(out) != 0 {
		t.Errorf("%d messages in the outbox", len(out))
	}
	a.crash()
	clean(t, a)
	// It was accepted all the same: only rejoining helps.
	want[*client.NeedsRejoin](t, a.process(first.Message))
	second := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	b.process(second.Message)
	c.process(second.Message)
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

// TestResync: whoever has lost everything replaces its former self by the name,
// if it says so; whoever has none cannot.
func TestResync(t *testing.T) {
	id, a, b, c := trio(t)
	again := newMember(t, "carol") // under another key
	stranger := newMember(t, "stranger")
	if _, _, err := stranger.c.JoinExternal(ctx, stranger.id, a.groupInfo(id), client.ExternalOptions{Resync: true}); err == nil {
		t.Fatal("a stranger replaces itself")
	}
	_, out, err := again.c.JoinExternal(ctx, again.id, a.groupInfo(id), client.ExternalOptions{Resync: true})
	check(t, err)
	a.process(out.Message)
	b.process(out.Message)
	want[*client.Removed](t, c.process(out.Message))
	must(again.group(id).Accept(ctx))(t)
	agree(t, id, a, b, again)
	if n := a.info(id).Members; n != 3 {
		t.Errorf("%d members", n)
	}
}

// TestRejoinStaysInOutbox: a former state that goes on while our external commit is
// pending, for an epoch still ahead of it, does not take that out of the outbox.
func TestRejoinStaysInOutbox(t *testing.T) {
	id, a, b, c := trio(t)
	var missed []*client.Outgoing
	for range 3 {
		commit := a.commit(id, group.CommitOptions{})
		must(a.group(id).Accept(ctx))(t)
		c.process(commit.Message)
		missed = append(missed, commit)
	}
	out := must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)
	queued := func() bool {
		return slices.ContainsFunc(must(b.c.Outbox(ctx))(t), func(o client.Outgoing) bool { return o.ID == out.ID })
	}
	for _, commit := range missed[:2] {
		want[*client.CommitApplied](t, b.process(commit.Message))
		b.crash()
		if !b.info(id).Joining || !queued() {
			t.Fatal("our external commit is pending, and not in the outbox")
		}
		clean(t, b)
	}
	for _, m := range []*member{a, c} {
		m.process(out.Message)
	}
	must(b.group(id).Accept(ctx))(t)
	if queued() {
		t.Error("it is in the outbox still")
	}
	agree(t, id, a, b, c)
}
