package client_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

var ctx = context.Background()

func suite(t testing.TB) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// member is a client with one identity and its store.
type member struct {
	t      testing.TB
	name   string
	cfg    client.Config
	store  *store.Memory
	c      *client.Client
	id     client.IdentityID
	events []client.Event
}

func newMember(t testing.TB, name string, change ...func(*client.Config)) *member {
	t.Helper()
	m := &member{t: t, name: name, store: store.NewMemory()}
	m.cfg = client.Config{Store: m.store, Group: group.Config{Authenticate: group.InsecureAnyCredential}}
	m.cfg.Notify = func(e client.Event) { m.events = append(m.events, e) }
	for _, f := range change {
		f(&m.cfg)
	}
	m.c = must(client.Open(ctx, m.cfg))(t)
	m.id = must(m.c.AddIdentity(ctx, client.IdentityOptions{Suite: suite(t), Credential: treekem.BasicCredential([]byte(name))}))(t)
	return m
}

// crash opens the client again on what the store holds, without closing it.
func (m *member) crash() {
	m.t.Helper()
	m.store = m.store.Clone()
	m.cfg.Store = m.store
	m.c = must(client.Open(ctx, m.cfg))(m.t)
}

func (m *member) group(id []byte) *client.Group {
	m.t.Helper()
	return must(m.c.Group(ctx, id))(m.t)
}

func (m *member) create() []byte {
	m.t.Helper()
	return must(m.c.CreateGroup(ctx, m.id, client.GroupOptions{}))(m.t).ID()
}

// keyPackage makes a key package and parses it, as who adds m does.
func (m *member) keyPackage() *treekem.KeyPackage {
	m.t.Helper()
	list := must(m.c.NewKeyPackages(ctx, m.id, client.KeyPackageOptions{}))(m.t)
	return must(framing.Parse(list[0]))(m.t).KeyPackage
}

// add lets m add others, and lets the members follow.
func (m *member) add(id []byte, members []*member, joiners ...*member) {
	m.t.Helper()
	var opt group.CommitOptions
	for _, j := range joiners {
		opt.Proposals = append(opt.Proposals, group.AddProposal(j.keyPackage()))
	}
	commit := must(m.group(id).Commit(ctx, opt))(m.t)
	for _, other := range members {
		other.process(commit.Message)
	}
	applied := must(m.group(id).Accept(ctx))(m.t)
	for _, j := range joiners {
		if _, ok := j.process(applied.Welcome.Message).(*client.Joined); !ok {
			m.t.Fatalf("%s has not joined", j.name)
		}
	}
	check(m.t, m.c.Sent(ctx, applied.Welcome.ID))
}

func (m *member) process(message []byte) client.Outcome {
	m.t.Helper()
	return must(m.c.Receive(ctx, message))(m.t)
}

func (m *member) send(id []byte, text string) []byte {
	m.t.Helper()
	return must(m.group(id).Send(ctx, []byte(text), nil))(m.t)
}

func (m *member) commit(id []byte, opt group.CommitOptions) *client.Outgoing {
	m.t.Helper()
	return must(m.group(id).Commit(ctx, opt))(m.t)
}

func (m *member) info(id []byte) client.Info {
	m.t.Helper()
	return must(m.group(id).Info(ctx))(m.t)
}

// reads asserts that m reads a text from a message.
func (m *member) reads(message []byte, text string) {
	m.t.Helper()
	o := m.process(message)
	if r, ok := o.(*client.MessageReceived); !ok || string(r.Data) != text {
		m.t.Fatalf("%s: %T %+v, want the text %q", m.name, o, o, text)
	}
}

func agree(t testing.TB, id []byte, members ...*member) {
	t.Helper()
	first := members[0].info(id)
	for _, m := range members[1:] {
		if info := m.info(id); info.Epoch != first.Epoch || !bytes.Equal(info.EpochAuthenticator, first.EpochAuthenticator) {
			t.Fatalf("%s is in epoch %d, %s in %d, or they disagree", members[0].name, first.Epoch, m.name, info.Epoch)
		}
	}
}

func clean(t testing.TB, members ...*member) {
	t.Helper()
	for _, m := range members {
		problems := must(client.Check(ctx, m.cfg.Store))(t)
		if len(problems) > 0 {
			t.Errorf("the store of %s: %q", m.name, problems)
		}
	}
}

// trio is a group of three.
func trio(t testing.TB, change ...func(*client.Config)) (id []byte, a, b, c *member) {
	t.Helper()
	a, b, c = newMember(t, "alice", change...), newMember(t, "bob", change...), newMember(t, "carol", change...)
	id = a.create()
	a.add(id, nil, b, c)
	agree(t, id, a, b, c)
	return id, a, b, c
}

func want[T client.Outcome](t testing.TB, o client.Outcome) T {
	t.Helper()
	got, ok := o.(T)
	if !ok {
		t.Fatalf("the outcome is %T %+v, want %T", o, o, got)
	}
	return got
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}
