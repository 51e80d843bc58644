package client_test

import (
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// wantAhead asserts that a Welcome is to be tried again, and was not spent.
func (m *member) wantAhead(welcome []byte, keyPackages int) {
	m.t.Helper()
	_, err := m.c.Receive(ctx, welcome)
	var epoch *mls.EpochError
	if !errors.As(err, &epoch) || epoch.Got <= epoch.Want || !mls.Retryable(err) {
		m.t.Fatalf("a Welcome that is ahead: %v", err)
	}
	wantErr(m.t, m.c.TryJoin(ctx, welcome, client.JoinOptions{}, nil), mls.ErrWrongEpoch)
	if n := must(m.c.KeyPackages(ctx, m.id))(m.t).Ready; n != keyPackages {
		m.t.Fatalf("%d key packages, want %d", n, keyPackages)
	}
}

// TestWelcomeBeforeRemoval: a commit removes us and adds us, and its Welcome
// overtakes it.
func TestWelcomeBeforeRemoval(t *testing.T) {
	id, a, b, c := trio(t)
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{
		group.RemoveProposal(b.info(id).OwnLeaf), group.AddProposal(b.keyPackage()),
	}})
	welcome := must(a.group(id).Accept(ctx))(t).Welcome
	c.process(commit.Message)
	b.wantAhead(welcome.Message, 1)
	b.crash()
	b.wantAhead(welcome.Message, 1)
	want[*client.Removed](t, b.process(commit.Message))
	want[*client.Joined](t, b.process(welcome.Message))
	want[*client.Duplicate](t, b.process(welcome.Message))
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

// TestWelcomeInPlaceOfExternalCommit: somebody adds us while our external commit
// is pending, and wins.
func TestWelcomeInPlaceOfExternalCommit(t *testing.T) {
	a, b := newMember(t, "alice"), newMember(t, "bob")
	id := a.create()
	earlier := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	before := must(a.group(id).Accept(ctx))(t).Welcome
	a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(1)}})
	must(a.group(id).Accept(ctx))(t)
	_, out, err := b.c.JoinExternal(ctx, b.id, a.groupInfo(id), client.ExternalOptions{})
	check(t, err)
	_, err = b.c.Receive(ctx, before.Message) // to epoch 1, our commit is of epoch 2
	wantErr(t, err, mls.ErrPending)
	_, _, err = b.c.JoinExternal(ctx, b.id, a.groupInfo(id), client.ExternalOptions{})
	wantErr(t, err, mls.ErrPending)
	a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	welcome := must(a.group(id).Accept(ctx))(t).Welcome
	b.crash()
	want[*client.Joined](t, b.process(welcome.Message))
	if list := must(b.c.Outbox(ctx))(t); len(list) != 0 {
		t.Errorf("%d messages in the outbox", len(list))
	}
	for _, late := range []*client.Outgoing{out, earlier} {
		want[*client.Stale](t, b.process(late.Message))
	}
	want[*client.AlreadyMember](t, b.process(before.Message))
	want[*client.Duplicate](t, b.process(before.Message))
	b.crash()
	agree(t, id, a, b)
	a.reads(b.send(id, "in"), "in")
	clean(t, a, b)
}

// TestWelcomeAfterRemovalInPlaceOfRejoin is the same for a former member: its
// external commit does not stay in the outbox.
func TestWelcomeAfterRemovalInPlaceOfRejoin(t *testing.T) {
	id, a, b, c := trio(t)
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(b.info(id).OwnLeaf)}})
	must(a.group(id).Accept(ctx))(t)
	c.process(commit.Message)
	want[*client.Removed](t, b.process(commit.Message))
	must(b.group(id).Rejoin(ctx, a.groupInfo(id), client.ExternalOptions{}))(t)
	add := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	welcome := must(a.group(id).Accept(ctx))(t).Welcome
	c.process(add.Message)
	want[*client.Joined](t, b.process(welcome.Message))
	if list := must(b.c.Outbox(ctx))(t); len(list) != 0 {
		t.Errorf("%d messages in the outbox, the first a %v", len(list), list[0].Kind)
	}
	if b.info(id).Pending {
		t.Error("the external commit is still pending")
	}
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}
