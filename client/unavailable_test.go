package client_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

var dinner = mls.NewSecret([]byte("what was on the table that night"))

// pskCommit lets m commit a pre-shared key that only it has.
func (m *member) pskCommit(id []byte) *client.Outgoing {
	m.t.Helper()
	check(m.t, m.c.AddPSK(ctx, []byte("dinner"), dinner))
	out := m.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.PSKProposal(suite(m.t), []byte("dinner"))}})
	must(m.group(id).Accept(ctx))(m.t)
	return out
}

// wantUnavailable asserts that an error is not the message's fault.
func wantUnavailable(t testing.TB, err error, rule string) {
	t.Helper()
	wantRule(t, err, rule)
	if !mls.Retryable(err) || errors.Is(err, mls.ErrInvalid) || errors.Is(err, mls.ErrAuth) || errors.Is(err, mls.ErrMalformed) {
		t.Fatalf("%v says that the message is to be dropped", err)
	}
}

// TestPSKReadErrors lets each read fail while a commit is processed, or made,
// that needs a pre-shared key of the store.
func TestPSKReadErrors(t *testing.T) {
	id, a, b, _ := trio(t)
	check(t, b.c.AddPSK(ctx, []byte("dinner"), dinner))
	commit := a.pskCommit(id)
	base := b.store
	for name, run := range map[string]func(*client.Client) error{
		"process": func(c *client.Client) error {
			_, err := c.Receive(ctx, commit.Message)
			return err
		},
		"commit": func(c *client.Client) error {
			g, err := c.Group(ctx, id)
			if err != nil {
				return err
			}
			_, err = g.Commit(ctx, group.CommitOptions{Proposals: []framing.Proposal{group.PSKProposal(suite(t), []byte("dinner"))}})
			return err
		},
	} {
		rule := 0
		for k := int64(1); ; k++ {
			reads := &failingReads{Store: base.Clone()}
			cfg := b.cfg
			cfg.Store = reads
			c := must(client.Open(ctx, cfg))(t)
			var err error
			if done := reads.failing(k, func() { err = run(c) }); done {
				check(t, err)
				break
			}
			if !errors.Is(err, errRead) || errors.Is(err, mls.ErrInvalid) {
				t.Fatalf("%s: read %d failed: %v", name, k, err)
			}
			if errors.Is(err, &mls.RuleError{Section: "12.4.2", Rule: "psk-unavailable"}) {
				rule++
				wantUnavailable(t, err, "12.4.2/psk-unavailable")
			}
			check(t, run(c))
		}
		if rule == 0 {
			t.Errorf("%s: no read of the key failed", name)
		}
	}
}

// TestHeldUntilAvailable: a held commit outlives that its pre-shared key is
// missing, or its added member cannot be authenticated, when its time comes.
func TestHeldUntilAvailable(t *testing.T) {
	var refusal error
	change := func(cfg *client.Config) {
		cfg.Group.Authenticate = func(a group.Authentication) error {
			if string(a.Credential.Identity) == "dave" {
				return refusal
			}
			return nil
		}
	}
	addDave := func(a *member, id []byte) *client.Outgoing {
		out := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(newMember(t, "dave").keyPackage())}})
		must(a.group(id).Accept(ctx))(t)
		return out
	}
	nothing := func(*member) {}
	for name, tt := range map[string]struct {
		commit  func(a *member, id []byte) *client.Outgoing
		refusal error
		rule    string
		mend    func(b *member)
	}{
		"psk missing": {(*member).pskCommit, nil, "12.4.2/psk-unavailable", func(b *member) {
			check(t, b.c.AddPSK(ctx, []byte("dinner"), dinner))
		}},
		"directory down":     {addDave, fmt.Errorf("the directory: %w", mls.ErrUnavailable), "5.3.1/credential", nothing},
		"credential refused": {addDave, errors.New("who is that?"), "5.3.1/credential", nothing},
	} {
		for _, retry := range []string{"replay", "restart", "next commit"} {
			t.Run(name+"/"+retry, func(t *testing.T) {
				refusal = nil
				id, a, b, _ := trio(t, change)
				b.cfg.Notify = nil
				b.crash()
				first := a.commit(id, group.CommitOptions{})
				must(a.group(id).Accept(ctx))(t)
				second := tt.commit(a, id)
				want[*client.Held](t, b.process(second.Message))
				refusal = tt.refusal
				applied := want[*client.CommitApplied](t, b.process(first.Message))
				if len(applied.Replayed) != 1 {
					t.Fatalf("replayed: %v", applied.Replayed)
				}
				refused := want[*client.Refused](t, applied.Replayed[0])
				wantRule(t, refused.Err, tt.rule)
				if !refused.Held || b.info(id).Held != 1 {
					t.Fatalf("%+v, %d held", refused, b.info(id).Held)
				}
				clean(t, b)
				_, err := b.c.Receive(ctx, second.Message) // as when it had come now
				wantRule(t, err, tt.rule)
				if errors.Is(tt.refusal, mls.ErrUnavailable) || tt.refusal == nil {
					wantUnavailable(t, err, tt.rule)
				}
				refusal = nil
				tt.mend(b)
				var outcomes []client.Outcome
				switch retry {
				case "restart":
					b.crash()
					fallthrough
				case "replay":
					outcomes = must(b.group(id).Replay(ctx))(t)
				case "next commit":
					third := a.commit(id, group.CommitOptions{})
					must(a.group(id).Accept(ctx))(t)
					outcomes = want[*client.CommitApplied](t, b.process(third.Message)).Replayed
				}
				// It was refused once more when it came again.
				want[*client.CommitApplied](t, outcomes[len(outcomes)-1])
				for _, o := range outcomes[:len(outcomes)-1] {
					if !want[*client.Refused](t, o).Held {
						t.Errorf("%+v", o)
					}
				}
				if b.info(id).Held != 0 {
					t.Error("it is held still")
				}
				agree(t, id, a, b)
				clean(t, a, b)
			})
		}
	}
}

// TestHeldReadErrors lets each read fail while a held commit that needs a
// pre-shared key of the store is replayed: it is neither lost nor refused.
func TestHeldReadErrors(t *testing.T) {
	id, a, b, _ := trio(t)
	check(t, b.c.AddPSK(ctx, []byte("dinner"), dinner))
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.pskCommit(id).Message))
	for k := int64(1); ; k++ {
		reads := &failingReads{Store: b.store.Clone()}
		cfg := b.cfg
		cfg.Store, cfg.Notify = reads, nil
		c := must(client.Open(ctx, cfg))(t)
		var err error
		done := reads.failing(k, func() { _, err = c.Receive(ctx, first.Message) })
		if err != nil {
			wantErr(t, err, errRead)
			_, err = c.Receive(ctx, first.Message)
			check(t, err)
		}
		g := must(c.Group(ctx, id))(t)
		for _, o := range must(g.Replay(ctx))(t) {
			want[*client.CommitApplied](t, o)
		}
		if info := must(g.Info(ctx))(t); info.Held != 0 || info.Epoch != a.info(id).Epoch {
			t.Fatalf("read %d failed: %+v", k, info)
		}
		if done {
			break
		}
	}
}

// TestReplayIsNotDropped: what is replayed after a failure reaches an application
// that has neither Notify nor Save.
func TestReplayIsNotDropped(t *testing.T) {
	id, a, b, _ := trio(t)
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.send(id, "important")))
	second := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	found := make(map[string]int)
	for _, by := range []string{"replay", "next commit", "own commit", "restart"} {
		for k := int64(1); ; k++ {
			reads := &failingReads{Store: b.store.Clone()}
			cfg := b.cfg
			cfg.Store, cfg.Notify = reads, nil
			c := must(client.Open(ctx, cfg))(t)
			var o client.Outcome
			var err error
			if done := reads.failing(k, func() { o, err = c.Receive(ctx, first.Message) }); done {
				break
			}
			if err != nil {
				continue
			}
			outcomes := want[*client.CommitApplied](t, o).Replayed
			if len(outcomes) == 1 {
				continue
			}
			found[by]++
			if by == "restart" {
				c = must(client.Open(ctx, cfg))(t)
			}
			g := must(c.Group(ctx, id))(t)
			if info := must(g.Info(ctx))(t); info.Held != 1 {
				t.Fatalf("%+v", info)
			}
			must(g.Send(ctx, []byte("as if nothing was"), nil))(t)
			switch by {
			case "next commit":
				outcomes = want[*client.CommitApplied](t, must(c.Receive(ctx, second.Message))(t)).Replayed
			case "own commit":
				must(g.Commit(ctx, group.CommitOptions{}))(t)
				outcomes = must(g.Accept(ctx))(t).Replayed
			default:
				outcomes = must(g.Replay(ctx))(t)
			}
			if len(outcomes) != 1 {
				t.Fatalf("%s: read %d failed: replayed %v", by, k, outcomes)
			}
			if r := want[*client.MessageReceived](t, outcomes[0]); string(r.Data) != "important" {
				t.Fatalf("%q", r.Data)
			}
		}
		if found[by] == 0 {
			t.Errorf("%s: no read failed after the commit was applied", by)
		}
	}
}

// TestHeldWithDamagedKey: a held commit waits for its pre-shared key if the record
// of that is damaged, and nothing else of the group does.
func TestHeldWithDamagedKey(t *testing.T) {
	id, a, b, _ := trio(t)
	check(t, b.c.AddPSK(ctx, []byte("dinner"), dinner.Clone()))
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.pskCommit(id).Message))
	for key := range records(t, b.store) {
		if strings.HasPrefix(key, "p/") {
			check(t, b.store.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), []byte{2, 0xff}) }))
		}
	}
	b.process(first.Message)
	for range 2 {
		must(b.group(id).Send(ctx, []byte("as if nothing was"), nil))(t)
		b.crash()
	}
	refused := want[*client.Refused](t, must(b.group(id).Replay(ctx))(t)[0])
	wantUnavailable(t, refused.Err, "12.4.2/psk-unavailable")
	if wantErr(t, refused.Err, store.ErrCorrupt); !refused.Held {
		t.Error("it is not held any more")
	}
	check(t, b.c.AddPSK(ctx, []byte("dinner"), dinner.Clone()))
	want[*client.CommitApplied](t, must(b.group(id).Replay(ctx))(t)[0])
	agree(t, id, a, b)
	clean(t, a, b)
}

// TestHeldNeedsRejoinIsTold: that we are to rejoin is told of, also when it is a
// held message that shows it.
func TestHeldNeedsRejoinIsTold(t *testing.T) {
	id, a, b, _ := trio(t)
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	old := b.store.Clone()
	b.process(first.Message)
	second := b.commit(id, group.CommitOptions{})
	b.store = old
	b.crash()
	want[*client.Held](t, b.process(second.Message))
	b.events = nil
	b.process(first.Message)
	if len(b.events) != 2 {
		t.Fatalf("told of %v", b.events)
	}
	if o := want[*client.NeedsRejoin](t, b.events[1].Outcome); !errors.Is(o.Reason, client.ErrForked) {
		t.Errorf("%+v", o)
	}
	clean(t, b)
}
