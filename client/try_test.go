package client_test

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// TestTryChangesNothing: whatever is done with the copy, the group and its store
// are what they were.
func TestTryChangesNothing(t *testing.T) {
	id, a, b, _ := trio(t)
	text := a.send(id, "hello")
	commit := a.commit(id, group.CommitOptions{})
	before := records(t, b.store)
	var kept *group.Group
	check(t, b.group(id).Try(ctx, func(g *group.Group) error {
		kept = g
		if _, ok := must(g.Process(text))(t).(*group.Application); !ok {
			t.Error("the copy does not read a message")
		}
		staged, ok := must(g.Process(commit.Message))(t).(*group.Staged)
		if !ok {
			t.Fatal("the copy does not follow a commit")
		}
		return g.Merge(staged)
	}))
	if _, err := kept.Protect([]byte("x"), nil); !errors.Is(err, mls.ErrRemoved) {
		t.Errorf("the copy can be used after Try: %v", err)
	}
	if !maps.EqualFunc(before, records(t, b.store), bytes.Equal) {
		t.Error("Try has written")
	}
	b.reads(text, "hello")
	want[*client.CommitApplied](t, b.process(commit.Message))
	failed := errors.New("no")
	wantErr(t, b.group(id).Try(ctx, func(*group.Group) error { return failed }), failed)
}

func TestTryJoin(t *testing.T) {
	a, b := newMember(t, "alice"), newMember(t, "bob")
	id := a.create()
	a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	welcome := must(a.group(id).Accept(ctx))(t).Welcome.Message
	before := records(t, b.store)
	for range 2 {
		check(t, b.c.TryJoin(ctx, welcome, client.JoinOptions{}, func(g *group.Group) error {
			if !bytes.Equal(g.ID(), id) || g.Tree().Members() != 2 {
				t.Errorf("group %q of %d members", g.ID(), g.Tree().Members())
			}
			return nil
		}))
	}
	if !maps.EqualFunc(before, records(t, b.store), bytes.Equal) {
		t.Error("TryJoin has written")
	}
	wantErr(t, a.c.TryJoin(ctx, welcome, client.JoinOptions{}, nil), client.ErrNoKeyPackage)
	want[*client.Joined](t, b.process(welcome))
	agree(t, id, a, b)
}

// TestTryJoinExternal: the members never see the commit that a trial makes, and
// one that is made later is another.
func TestTryJoinExternal(t *testing.T) {
	id, a, b, _ := trio(t)
	d := newMember(t, "dave")
	before := records(t, d.store)
	info := a.groupInfo(id)
	check(t, d.c.TryJoinExternal(ctx, d.id, info, client.ExternalOptions{}, func(g *group.Group) error {
		if g.Tree().Members() != 4 {
			t.Errorf("%d members", g.Tree().Members())
		}
		return nil
	}))
	if !maps.EqualFunc(before, records(t, d.store), bytes.Equal) {
		t.Error("TryJoinExternal has written")
	}
	_, out, err := d.c.JoinExternal(ctx, d.id, info, client.ExternalOptions{})
	check(t, err)
	want[*client.CommitApplied](t, b.process(out.Message))
}

// TestPendingCommit: what waits can be seen, and handed out again, after a
// restart.
func TestPendingCommit(t *testing.T) {
	id, a, b, c := trio(t)
	_, err := a.group(id).PendingCommit(ctx)
	wantErr(t, err, client.ErrNothingPending)
	out := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(2)}})
	a.crash()
	p := must(a.group(id).PendingCommit(ctx))(t)
	next := must(a.group(id).PendingTree(ctx))(t)
	if !bytes.Equal(p.Message, out.Message) || p.Epoch != 2 || p.Leaf != 0 || p.External || len(p.Changes.Removed) != 1 {
		t.Errorf("%+v", p)
	}
	b.process(p.Message)
	must(a.group(id).Accept(ctx))(t)
	if !bytes.Equal(next, must(b.tree(id))(t)) {
		t.Error("the tree of the pending commit is not the next epoch's")
	}
	_, err = a.group(id).PendingTree(ctx)
	wantErr(t, err, client.ErrNothingPending)
	want[*client.Removed](t, c.process(out.Message))

	_, out, err = c.c.JoinExternal(ctx, c.id, a.groupInfo(id), client.ExternalOptions{})
	check(t, err)
	c.crash()
	p = must(c.group(id).PendingCommit(ctx))(t)
	if !bytes.Equal(p.Message, out.Message) || p.Epoch != 3 || !p.External {
		t.Errorf("%+v", p)
	}
	if info := c.info(id); !info.Pending || !info.Joining {
		t.Errorf("%+v", info)
	}
}

func (m *member) tree(id []byte) (encoded []byte, err error) {
	err = m.group(id).View(ctx, func(g *group.Group) error {
		encoded, err = g.Tree().Bytes()
		return err
	})
	return encoded, err
}
