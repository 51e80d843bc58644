package client_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

func TestTalkAcrossRestarts(t *testing.T) {
	id, a, b, c := trio(t)
	for range 3 {
		for _, from := range []*member{a, b, c} {
			message := from.send(id, "from "+from.name)
			for _, to := range []*member{a, b, c} {
				if to == from {
					continue
				}
				to.reads(message, "from "+from.name)
				to.crash()
				want[*client.Duplicate](t, to.process(message))
			}
			from.crash()
			want[*client.OwnEcho](t, from.process(message))
		}
		commit := b.commit(id, group.CommitOptions{})
		a.process(commit.Message)
		c.process(commit.Message)
		b.crash()
		if o := want[*client.OwnEcho](t, b.process(commit.Message)); o.Commit == nil || !o.Commit.Own {
			t.Fatal("the echo of the pending commit did not apply it")
		}
		agree(t, id, a, b, c)
	}
	clean(t, a, b, c)
}

func TestEchoesAndDuplicatesOfPastEpochs(t *testing.T) {
	id, a, b, c := trio(t)
	update := must(b.group(id).ProposeUpdate(ctx, nil))(t)
	want[*client.ProposalReceived](t, a.process(update.Message))
	want[*client.ProposalReceived](t, c.process(update.Message))
	want[*client.Duplicate](t, a.process(update.Message))
	if o := want[*client.OwnEcho](t, b.process(update.Message)); o.ContentType != framing.ContentProposal {
		t.Errorf("the echo is of type %v", o.ContentType)
	}
	_, err := c.group(id).Send(ctx, []byte("not while a proposal waits"), nil)
	wantErr(t, err, mls.ErrPending)
	commit := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	for _, m := range []*member{b, c} {
		o := want[*client.CommitApplied](t, m.process(commit.Message))
		if o.Epoch != 2 || len(o.Repeat) != 0 || o.UpdateLost || o.Own {
			t.Errorf("%s: %+v", m.name, o)
		}
	}
	for _, m := range []*member{a, b, c} {
		m.crash()
	}
	agree(t, id, a, b, c)
	if o := want[*client.OwnEcho](t, a.process(commit.Message)); o.Commit != nil {
		t.Error("an echo of an accepted commit applied it again")
	}
	want[*client.OwnEcho](t, b.process(update.Message))
	want[*client.Duplicate](t, a.process(update.Message))
	want[*client.Duplicate](t, c.process(commit.Message))
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

func TestLostRace(t *testing.T) {
	id, a, b, c := trio(t)
	d := newMember(t, "dave")
	wins := a.commit(id, group.CommitOptions{})
	loses := b.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(d.keyPackage())}})
	_, err := b.group(id).Commit(ctx, group.CommitOptions{})
	wantErr(t, err, mls.ErrPending)
	b.crash()
	if !b.info(id).Pending {
		t.Fatal("the pending commit did not survive")
	}
	o := want[*client.LostRace](t, b.process(wins.Message))
	if len(o.Repeat) != 1 || o.Repeat[0].Type != mls.ProposalAdd {
		t.Fatalf("to repeat: %+v", o.Repeat)
	}
	if out := must(b.c.Outbox(ctx))(t); len(out) != 0 {
		t.Errorf("the lost commit is still in the outbox, %d messages", len(out))
	}
	must(a.group(id).Accept(ctx))(t)
	want[*client.CommitApplied](t, c.process(wins.Message))
	want[*client.Stale](t, c.process(loses.Message))
	b.crash()
	want[*client.Stale](t, a.process(loses.Message))
	_, err = b.group(id).Accept(ctx)
	wantErr(t, err, client.ErrNothingPending)
	again := b.commit(id, group.CommitOptions{Proposals: o.Repeat})
	applied := must(b.group(id).Accept(ctx))(t)
	want[*client.CommitApplied](t, a.process(again.Message))
	want[*client.CommitApplied](t, c.process(again.Message))
	want[*client.Joined](t, d.process(applied.Welcome.Message))
	agree(t, id, a, b, c, d)
	clean(t, a, b, c, d)
}

func TestProposalsToRepeat(t *testing.T) {
	id, a, b, c := trio(t)
	exts := []mls.Extension{{Type: mls.ExtensionRequiredCapabilities, Data: []byte{0, 0, 0}}}
	must(b.group(id).Propose(ctx, group.ExtensionsProposal(exts), nil))(t)
	must(b.group(id).ProposeUpdate(ctx, nil))(t)
	commit := a.commit(id, group.CommitOptions{}) // has not seen them
	o := want[*client.CommitApplied](t, b.process(commit.Message))
	if len(o.Repeat) != 1 || o.Repeat[0].Type != mls.ProposalGroupContextExtensions || !o.UpdateLost {
		t.Errorf("to repeat: %+v, update lost: %t", o.Repeat, o.UpdateLost)
	}
	must(a.group(id).Accept(ctx))(t)
	c.process(commit.Message)
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

func TestFutureMessagesAreHeld(t *testing.T) {
	id, a, b, c := trio(t)
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	b.process(first.Message)
	in2 := a.send(id, "in epoch 2")
	second := b.commit(id, group.CommitOptions{})
	must(b.group(id).Accept(ctx))(t)
	a.process(second.Message)
	in3 := b.send(id, "in epoch 3")

	for _, m := range [][]byte{in3, second.Message, in2, in3} { // in3 twice
		if o := want[*client.Held](t, c.process(m)); o.Current != 1 {
			t.Errorf("held in epoch %d", o.Current)
		}
	}
	c.crash()
	if n := c.info(id).Held; n != 3 {
		t.Fatalf("%d are held, want 3", n)
	}
	clean(t, c)
	c.events = nil
	o := want[*client.CommitApplied](t, c.process(first.Message))
	if len(o.Replayed) != 2 {
		t.Fatalf("replayed: %+v", o.Replayed)
	}
	if r := want[*client.MessageReceived](t, o.Replayed[0]); string(r.Data) != "in epoch 2" {
		t.Errorf("first %q", r.Data)
	}
	next := want[*client.CommitApplied](t, o.Replayed[1])
	if len(next.Replayed) != 1 {
		t.Fatalf("replayed in epoch 3: %+v", next.Replayed)
	}
	if r := want[*client.MessageReceived](t, next.Replayed[0]); string(r.Data) != "in epoch 3" {
		t.Errorf("then %q", r.Data)
	}
	if len(c.events) != 4 {
		t.Errorf("%d events, want 2 commits and 2 messages: %+v", len(c.events), c.events)
	}
	if n := c.info(id).Held; n != 0 {
		t.Errorf("%d are still held", n)
	}
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

func TestHoldIsBounded(t *testing.T) {
	id, a, b, c := trio(t, func(cfg *client.Config) { cfg.MaxHeld, cfg.MaxHeldBytes = 3, 4000 })
	commit := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	big := a.send(id, string(make([]byte, 5000)))
	_, err := c.c.Receive(ctx, big)
	wantErr(t, err, client.ErrHoldFull)
	for range 3 {
		want[*client.Held](t, c.process(a.send(id, "x")))
	}
	late := a.send(id, "too many")
	_, err = c.c.Receive(ctx, late)
	wantErr(t, err, client.ErrHoldFull)
	c.process(commit.Message)
	c.reads(late, "too many")
	b.process(commit.Message)
	clean(t, a, b, c)
}

func TestCommitWaitsForItsProposal(t *testing.T) {
	id, a, b, c := trio(t)
	update := must(b.group(id).ProposeUpdate(ctx, nil))(t)
	a.process(update.Message)
	commit := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	if o := want[*client.Held](t, c.process(commit.Message)); !o.MissingProposal {
		t.Errorf("%+v", o)
	}
	c.crash()
	o := want[*client.ProposalReceived](t, c.process(update.Message))
	if len(o.Replayed) != 1 {
		t.Fatalf("replayed: %+v", o.Replayed)
	}
	want[*client.CommitApplied](t, o.Replayed[0])
	b.process(commit.Message)
	agree(t, id, a, b, c)
	clean(t, a, b, c)
}

func TestRemoved(t *testing.T) {
	id, a, b, c := trio(t)
	leaf := c.info(id).OwnLeaf
	pending := c.commit(id, group.CommitOptions{})
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(leaf)}})
	must(a.group(id).Accept(ctx))(t)
	b.process(commit.Message)
	want[*client.Removed](t, c.process(commit.Message))
	for range 2 {
		if info := c.info(id); info.Status != client.StatusRemoved || info.Pending {
			t.Errorf("%+v", info)
		}
		want[*client.Duplicate](t, c.process(commit.Message))
		_, err := c.c.Receive(ctx, a.send(id, "not for carol"))
		wantErr(t, err, mls.ErrRemoved)
		_, err = c.group(id).Send(ctx, nil, nil)
		wantErr(t, err, mls.ErrRemoved)
		_, err = c.group(id).Commit(ctx, group.CommitOptions{})
		wantErr(t, err, mls.ErrRemoved)
		c.crash()
	}
	want[*client.Stale](t, a.process(pending.Message))
	clean(t, a, b, c)

	a.add(id, []*member{b}, c) // and back again
	agree(t, id, a, b, c)
	b.reads(c.send(id, "back"), "back")
	clean(t, a, b, c)
	check(t, c.group(id).Forget(ctx))
	_, err := c.c.Group(ctx, id)
	wantErr(t, err, client.ErrUnknownGroup)
	clean(t, c)
}

func TestWelcomes(t *testing.T) {
	a, b := newMember(t, "alice"), newMember(t, "bob")
	id := a.create()
	kp := b.keyPackage()
	another := b.keyPackage()
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
	if out := must(a.c.Outbox(ctx))(t); len(out) != 1 || out[0].Kind != client.KindCommit || !bytes.Equal(out[0].Message, commit.Message) {
		t.Fatalf("the outbox is not what it should be, %d messages", len(out))
	}
	welcome := must(a.group(id).Accept(ctx))(t).Welcome
	a.crash() // before the Welcome left
	out := must(a.c.Outbox(ctx))(t)
	if len(out) != 1 || out[0].Kind != client.KindWelcome || !bytes.Equal(out[0].Message, welcome.Message) || out[0].ID != welcome.ID {
		t.Fatalf("the outbox is not what it should be, %d messages", len(out))
	}
	check(t, a.c.Sent(ctx, welcome.ID))
	if out := must(a.c.Outbox(ctx))(t); len(out) != 0 {
		t.Errorf("%d messages in the outbox", len(out))
	}
	want[*client.Joined](t, b.process(welcome.Message))
	b.crash()
	if o := want[*client.Duplicate](t, b.process(welcome.Message)); !o.Welcome || !bytes.Equal(o.Group, id) {
		t.Errorf("%+v", o)
	}
	if n := must(b.c.KeyPackages(ctx, b.id))(t); n.Ready != 1 {
		t.Errorf("%d key packages are ready, want 1", n.Ready)
	}
	_ = another
	_, err := a.c.Receive(ctx, welcome.Message)
	wantErr(t, err, client.ErrNoKeyPackage)
	_, err = a.c.CreateGroup(ctx, a.id, client.GroupOptions{GroupID: id})
	wantErr(t, err, client.ErrGroupExists)
	agree(t, id, a, b)
	clean(t, a, b)
}

// TestAlreadyMember: somebody makes another group of the same identifier.
func TestAlreadyMember(t *testing.T) {
	a, b, m := newMember(t, "alice"), newMember(t, "bob"), newMember(t, "mallory")
	id := a.create()
	a.add(id, nil, b)
	must(m.c.CreateGroup(ctx, m.id, client.GroupOptions{GroupID: id}))(t)
	m.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}})
	welcome := must(m.group(id).Accept(ctx))(t).Welcome
	if o := want[*client.AlreadyMember](t, b.process(welcome.Message)); !bytes.Equal(o.Group, id) {
		t.Errorf("%+v", o)
	}
	agree(t, id, a, b)
	clean(t, a, b)
}

func TestKeyPackages(t *testing.T) {
	now := time.Now()
	m := newMember(t, "alice", func(cfg *client.Config) { cfg.Group.Time = func() time.Time { return now } })
	count := func(ready, last int) {
		t.Helper()
		if n := must(m.c.KeyPackages(ctx, m.id))(t); n.Ready != ready || n.LastResort != last {
			t.Fatalf("%+v, want %d and %d", n, ready, last)
		}
	}
	if list := must(m.c.NewKeyPackages(ctx, m.id, client.KeyPackageOptions{Count: 5, Lifetime: time.Hour}))(t); len(list) != 5 {
		t.Fatalf("%d key packages", len(list))
	}
	last := must(m.c.NewKeyPackages(ctx, m.id, client.KeyPackageOptions{LastResort: true}))(t)[0]
	count(5, 1)
	kp := must(framing.Parse(last))(t).KeyPackage
	for i := range 2 { // twice, because it is the last resort
		other := newMember(t, "bob", func(cfg *client.Config) { cfg.Group.Time = m.cfg.Group.Time })
		id := other.create()
		other.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
		welcome := must(other.group(id).Accept(ctx))(t).Welcome
		want[*client.Joined](t, m.process(welcome.Message))
		agree(t, id, m, other)
		count(5, 1)
		if groups := must(m.c.Groups(ctx))(t); len(groups) != i+1 {
			t.Fatalf("%d groups", len(groups))
		}
	}
	now = now.Add(2 * time.Hour)
	count(0, 1)
	m.crash()
	count(0, 1)
	clean(t, m)
	keys := 0
	m.store.View(ctx, func(tx store.Reader) error {
		for range tx.Scan([]byte("k/")) {
			keys++
		}
		return nil
	})
	if keys != 1 {
		t.Errorf("%d key packages are stored after the others expired", keys)
	}
	_, err := m.c.NewKeyPackages(ctx, "nobody", client.KeyPackageOptions{})
	wantErr(t, err, client.ErrUnknownIdentity)
}

func TestPSKs(t *testing.T) {
	id, a, b, c := trio(t)
	secret := mls.NewSecret([]byte("what only those present have heard"))
	psk := []byte("from the meeting")
	check(t, a.c.AddPSK(ctx, psk, secret))
	check(t, b.c.AddPSK(ctx, psk, secret))
	a.crash()
	b.crash()
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.PSKProposal(suite(t), psk)}})
	must(a.group(id).Accept(ctx))(t)
	want[*client.CommitApplied](t, b.process(commit.Message))
	_, err := c.c.Receive(ctx, commit.Message)
	wantErr(t, err, &mls.RuleError{Section: "12.4.2", Rule: "psk-unavailable"})
	check(t, c.c.AddPSK(ctx, psk, secret))
	want[*client.CommitApplied](t, c.process(commit.Message))
	agree(t, id, a, b, c)
	check(t, c.c.RemovePSK(ctx, psk))
	clean(t, a, b, c)
}

// deviceSigner is a key that the store does not hold.
type deviceSigner struct{ key *mls.SignaturePrivateKey }

func (d deviceSigner) Public() mls.SignaturePublicKey      { return d.key.Public() }
func (d deviceSigner) Sign(message []byte) ([]byte, error) { return d.key.Sign(message) }

func TestSignerElsewhere(t *testing.T) {
	s := suite(t)
	signer := deviceSigner{must(s.GenerateSigner())(t)}
	m := newMember(t, "alice")
	id := must(m.c.AddIdentity(ctx, client.IdentityOptions{Suite: s, Credential: treekem.BasicCredential([]byte("device")), Signer: signer}))(t)
	g := must(m.c.CreateGroup(ctx, id, client.GroupOptions{}))(t)
	m.crash()
	_, err := m.group(g.ID()).Commit(ctx, group.CommitOptions{})
	if err == nil {
		t.Fatal("a commit without the signature key")
	}
	m.cfg.Signers = []mls.Signer{signer}
	m.crash()
	m.commit(g.ID(), group.CommitOptions{})
	m.store.View(ctx, func(tx store.Reader) error {
		for e := range tx.Scan(nil) {
			if bytes.Contains(e.Value, signer.key.Secret().UnsafeBytes()) {
				t.Errorf("%q holds the signature key", e.Key)
			}
		}
		return nil
	})
	clean(t, m)
}

// TestNotifyMayEnterGroups: an application that is told that it has joined a
// group may create and join others at once.
func TestNotifyMayEnterGroups(t *testing.T) {
	a := newMember(t, "alice")
	id := a.create()
	var b *member
	made := make(chan error, 1)
	b = newMember(t, "bob", func(cfg *client.Config) {
		cfg.Notify = func(e client.Event) {
			if _, ok := e.Outcome.(*client.Joined); ok {
				_, err := b.c.CreateGroup(ctx, b.id, client.GroupOptions{})
				made <- err
			}
		}
	})
	commit := group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}}
	a.commit(id, commit)
	welcome := must(a.group(id).Accept(ctx))(t).Welcome
	go b.c.Receive(ctx, welcome.Message)
	select {
	case err := <-made:
		check(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the client waits for itself")
	}
}
