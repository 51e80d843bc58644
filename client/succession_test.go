package client_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store/storetest"
	"github.com/treekem/mls/treekem"
)

// identityFor makes another identity of a member under the same name.
func (m *member) identityFor(s *mls.Suite) client.IdentityID {
	m.t.Helper()
	return must(m.c.AddIdentity(ctx, client.IdentityOptions{Suite: s, Credential: treekem.BasicCredential([]byte(m.name))}))(m.t)
}

func (m *member) keyPackageOf(id client.IdentityID) *treekem.KeyPackage {
	m.t.Helper()
	list := must(m.c.NewKeyPackages(ctx, id, client.KeyPackageOptions{}))(m.t)
	return must(framing.Parse(list[0]))(m.t).KeyPackage
}

func crashAll(members ...*member) {
	for _, m := range members {
		m.crash()
	}
}

func wantRule(t testing.TB, err error, want string) {
	t.Helper()
	var rule *mls.RuleError
	if !errors.As(err, &rule) || rule.Section+"/"+rule.Rule != want {
		t.Fatalf("got %v, want the rule %s", err, want)
	}
}

// TestReinitialize: a group moves to another cipher suite, and every process
// dies between any two steps.
func TestReinitialize(t *testing.T) {
	id, a, b, c := trio(t)
	p384 := must(mls.LookupSuite(mls.P384_AES256GCM_SHA384_P384))(t)
	_, _, err := a.group(id).Reinitialize(ctx, client.SuccessionOptions{})
	wantRule(t, err, "11.2/no-reinit")

	next := []byte("next")
	out := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal(next, p384.ID(), nil)}})
	crashAll(a, b, c)
	must(a.group(id).Accept(ctx))(t)
	for _, m := range []*member{b, c} {
		if o := want[*client.CommitApplied](t, m.process(out.Message)); o.Changes.ReInit == nil {
			t.Fatal("the commit does not say that it shuts the group down")
		}
	}
	crashAll(a, b, c)
	_, err = b.group(id).Send(ctx, []byte("x"), nil)
	wantRule(t, err, "12.4.2/reinitialized")

	newID := make(map[*member]client.IdentityID)
	var kps []*treekem.KeyPackage
	for _, m := range []*member{a, b, c} {
		newID[m] = m.identityFor(p384)
		if m != b {
			kps = append(kps, m.keyPackageOf(newID[m]))
		}
	}
	crashAll(a, b, c)
	if _, _, err = b.group(id).Reinitialize(ctx, client.SuccessionOptions{KeyPackages: kps}); err == nil {
		t.Fatal("a group was made under an identity of another suite")
	}
	_, _, err = b.group(id).Reinitialize(ctx, client.SuccessionOptions{Identity: newID[b], KeyPackages: kps[:1]})
	wantRule(t, err, "11.2/members")
	g, welcome, err := b.group(id).Reinitialize(ctx, client.SuccessionOptions{Identity: newID[b], KeyPackages: kps})
	check(t, err)
	if !bytes.Equal(g.ID(), next) || !bytes.Equal(welcome.Group, next) {
		t.Errorf("the new group is %q, its Welcome that of %q", g.ID(), welcome.Group)
	}
	_, _, err = b.group(id).Reinitialize(ctx, client.SuccessionOptions{Identity: newID[b], KeyPackages: kps})
	wantErr(t, err, client.ErrGroupExists)

	// The process died before it handed out the Welcome.
	crashAll(a, b, c)
	pending := must(b.c.Outbox(ctx))(t)
	if len(pending) != 1 || pending[0].Kind != client.KindWelcome || !bytes.Equal(pending[0].Message, welcome.Message) {
		t.Fatalf("the outbox is %+v", pending)
	}
	want[*client.Joined](t, a.process(welcome.Message))
	check(t, c.c.TryJoin(ctx, welcome.Message, client.JoinOptions{}, func(g *group.Group) error {
		if g.Suite().ID() != p384.ID() {
			t.Errorf("joins a group of %v", g.Suite())
		}
		return nil
	}))
	want[*client.Joined](t, c.process(welcome.Message))
	crashAll(a, b, c)
	agree(t, next, a, b, c)
	b.reads(c.send(next, "moved"), "moved")
	clean(t, a, b, c)

	check(t, a.group(id).Forget(ctx))
	a.reads(b.send(next, "still here"), "still here")
	clean(t, a)
}

func TestBranch(t *testing.T) {
	id, a, b, c := trio(t)
	g, welcome, err := a.group(id).Branch(ctx, client.SuccessionOptions{
		GroupID: []byte("shed"), KeyPackages: []*treekem.KeyPackage{c.keyPackage()}, OmitPath: true, TreeApart: true,
	})
	check(t, err)
	tree := must(g.GroupInfo(ctx, group.InfoOptions{Tree: true}))(t)
	info := must(framing.Parse(tree))(t).GroupInfo
	inside, _ := mls.FindExtension(info.Extensions, mls.ExtensionRatchetTree)

	// The parent goes on meanwhile: the subgroup's PSK is of a past epoch.
	commit := b.commit(id, group.CommitOptions{})
	must(b.group(id).Accept(ctx))(t)
	a.process(commit.Message)
	c.process(commit.Message)
	crashAll(a, b, c)
	_, err = c.c.Join(ctx, welcome.Message, client.JoinOptions{})
	wantRule(t, err, "12.4.3.1/tree-absent")
	crashAll(a, b, c)
	o := must(c.c.Join(ctx, welcome.Message, client.JoinOptions{RatchetTree: inside}))(t)
	if got := want[*client.Joined](t, o).Group.ID(); string(got) != "shed" {
		t.Errorf("joined %q", got)
	}
	want[*client.Duplicate](t, c.process(welcome.Message))
	crashAll(a, b, c)
	agree(t, []byte("shed"), a, c)
	agree(t, id, a, b, c)
	a.reads(c.send([]byte("shed"), "between us"), "between us")
	clean(t, a, b, c)

	stranger := newMember(t, "stranger")
	_, _, err = a.group(id).Branch(ctx, client.SuccessionOptions{KeyPackages: []*treekem.KeyPackage{stranger.keyPackage()}})
	wantRule(t, err, "11.3/members")
	_, _, err = a.group(id).Branch(ctx, client.SuccessionOptions{GroupID: []byte("shed")})
	wantErr(t, err, client.ErrGroupExists)
}

// TestSuccessorOfNoGroup: who is not in the group that is continued cannot join,
// and its key package stays.
func TestSuccessorOfNoGroup(t *testing.T) {
	id, a, _, c := trio(t)
	kp := c.keyPackage()
	_, welcome, err := a.group(id).Branch(ctx, client.SuccessionOptions{KeyPackages: []*treekem.KeyPackage{kp}})
	check(t, err)
	check(t, c.group(id).Forget(ctx))
	_, err = c.c.Receive(ctx, welcome.Message)
	wantRule(t, err, "12.4.3.1/psk-unavailable")
	wantErr(t, err, client.ErrUnknownGroup)
	if n := must(c.c.KeyPackages(ctx, c.id))(t).Ready; n != 1 {
		t.Errorf("%d key packages are left", n)
	}
}

// TestBranchFromAnotherEpoch: a Welcome to a subgroup overtakes the commits of the
// parent before it, or comes when the parent is long past it.
func TestBranchFromAnotherEpoch(t *testing.T) {
	id, a, b, c := trio(t)
	branch := func(m *member) *client.Outgoing {
		_, out, err := a.group(id).Branch(ctx, client.SuccessionOptions{KeyPackages: []*treekem.KeyPackage{m.keyPackage()}})
		check(t, err)
		return out
	}
	commit := func() *client.Outgoing {
		out := a.commit(id, group.CommitOptions{})
		must(a.group(id).Accept(ctx))(t)
		return out
	}
	early := branch(b)
	missing := commit()
	ahead := branch(b)
	epoch := func(m *member, welcome *client.Outgoing, got, now uint64) error {
		_, err := m.c.Receive(ctx, welcome.Message)
		var wrong *mls.EpochError
		if !errors.As(err, &wrong) || wrong.Got != got || wrong.Want != now {
			t.Fatalf("%v, want the epoch %d, and %d for the parent's", err, got, now)
		}
		return err
	}
	if err := epoch(b, ahead, 2, 1); !mls.Retryable(err) || errors.Is(err, mls.ErrInvalid) {
		t.Errorf("ahead of the parent: %v", err)
	}
	want[*client.CommitApplied](t, b.process(missing.Message))
	want[*client.Joined](t, b.process(ahead.Message))
	for range 6 {
		b.process(commit().Message)
	}
	err := epoch(b, early, 1, 8)
	wantRule(t, err, "12.4.3.1/psk-unavailable")
	if mls.Retryable(err) {
		t.Errorf("long past it: %v is retryable", err)
	}

	// Bob is removed and added again, and the Welcome to the parent is late.
	leave := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(b.info(id).OwnLeaf)}})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Removed](t, b.process(leave.Message))
	a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	back := must(a.group(id).Accept(ctx))(t).Welcome
	again := branch(b)
	if err := epoch(b, again, 10, 8); !mls.Retryable(err) {
		t.Error(err)
	}
	want[*client.Joined](t, b.process(back.Message))
	want[*client.Joined](t, b.process(again.Message))
	clean(t, a, b, c)
}

// TestBranchAfterFailedWrite: a subgroup that could not be stored is not there,
// and no Welcome of it.
func TestBranchAfterFailedWrite(t *testing.T) {
	id, a, _, c := trio(t)
	kp := c.keyPackage()
	a.cfg.Store = storetest.NewFaulty(a.store, func(int) storetest.Fault { return storetest.Commit })
	broken := must(client.Open(ctx, a.cfg))(t)
	g := must(broken.Group(ctx, id))(t)
	opt := client.SuccessionOptions{GroupID: []byte("shed"), KeyPackages: []*treekem.KeyPackage{kp}}
	if _, out, err := g.Branch(ctx, opt); !errors.Is(err, storetest.ErrFault) || out != nil {
		t.Fatalf("%v, %v", out, err)
	}
	a.cfg.Store = a.store
	a.crash()
	if ids := must(a.c.Groups(ctx))(t); len(ids) != 1 {
		t.Errorf("%d groups", len(ids))
	}
	if out := must(a.c.Outbox(ctx))(t); len(out) != 0 {
		t.Errorf("%d messages in the outbox", len(out))
	}
	_, welcome, err := a.group(id).Branch(ctx, opt)
	check(t, err)
	want[*client.Joined](t, c.process(welcome.Message))
}

// TestSuccessionFaults lets each write of a succession fail in every way, the
// maker's and the joiner's: whoever starts again and does what is still to be
// done ends in the new group, once.
func TestSuccessionFaults(t *testing.T) {
	next := []byte("next")
	for name, succeed := range map[string]func(*client.Group, client.SuccessionOptions) error{
		"branch": func(g *client.Group, opt client.SuccessionOptions) error {
			_, _, err := g.Branch(ctx, opt)
			return err
		},
		"reinitialize": func(g *client.Group, opt client.SuccessionOptions) error {
			_, _, err := g.Reinitialize(ctx, opt)
			return err
		},
	} {
		for _, fault := range []storetest.Fault{storetest.Begin, storetest.Write, storetest.Commit, storetest.Lost} {
			n := 0
			for failed := true; failed; n++ {
				a, b := newMember(t, "alice"), newMember(t, "bob")
				id := a.create()
				a.add(id, nil, b)
				suiteID := suite(t).ID()
				if name == "reinitialize" {
					a.commits(id, b, group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal(next, suiteID, nil)}})
				}
				opt := client.SuccessionOptions{GroupID: next, KeyPackages: []*treekem.KeyPackage{b.keyPackage()}}
				failed = false
				count := 0
				decide := func(int) storetest.Fault {
					count++
					if count == n+1 {
						failed = true
						return fault
					}
					return storetest.None
				}
				err := drive(t, a, b, decide, func(g *client.Group) error { return succeed(g, opt) }, id, next)
				if failed != (err != nil) {
					t.Fatalf("%s, fault %d at write %d: %v", name, fault, n, err)
				}
				check(t, drive(t, a, b, nil, func(g *client.Group) error { return succeed(g, opt) }, id, next))
				a.crash()
				b.crash()
				agree(t, next, a, b)
				b.reads(a.send(next, "here"), "here")
				clean(t, a, b)
				if left := must(b.c.KeyPackages(ctx, b.id))(t); left.Ready != 0 {
					t.Fatalf("%s, fault %d at write %d: the key package is left", name, fault, n)
				}
			}
			if n < 4 {
				t.Errorf("%s: %d writes only", name, n-1)
			}
		}
	}
}

// drive does what is still to be done until the members of a group are in the
// next one, on stores whose writes may fail.
func drive(t *testing.T, a, b *member, decide func(int) storetest.Fault, succeed func(*client.Group) error, id, next []byte) error {
	t.Helper()
	open := func(m *member) *client.Client {
		cfg := m.cfg
		cfg.Store = storetest.NewFaulty(m.store, decide)
		return must(client.Open(ctx, cfg))(t)
	}
	one, other := open(a), open(b)
	if _, err := one.Group(ctx, next); errors.Is(err, client.ErrUnknownGroup) {
		if err := succeed(must(one.Group(ctx, id))(t)); err != nil {
			return err
		}
	}
	for _, out := range must(one.Outbox(ctx))(t) {
		if out.Kind != client.KindWelcome {
			continue
		}
		if _, err := other.Receive(ctx, out.Message); err != nil {
			return err
		}
		if err := one.Sent(ctx, out.ID); err != nil {
			return err
		}
	}
	return nil
}
