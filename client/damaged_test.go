package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

// damagedStore is a sealed store in which some records do not decrypt any more.
func damagedStore(t testing.TB, inner *store.Memory, keys ...string) (*store.Memory, store.Store) {
	t.Helper()
	inner = inner.Clone()
	check(t, inner.Update(ctx, func(tx store.Writer) error {
		for _, key := range keys {
			sealed, err := tx.Get([]byte("d/" + key))
			if err != nil {
				return err
			}
			sealed[len(sealed)-1] ^= 1
			if err := tx.Put([]byte("d/"+key), sealed); err != nil {
				return err
			}
		}
		return nil
	}))
	return inner, must(store.OpenSealed(ctx, inner, damagedKey, store.SealOptions{}))(t)
}

var damagedKey = store.RawKey(mls.NewSecret(bytes.Repeat([]byte{5}, store.KeySize)))

// reopen opens the member's client on another store.
func (m *member) reopen(s store.Store) {
	m.t.Helper()
	m.cfg.Store = s
	m.c = must(client.Open(ctx, m.cfg))(m.t)
}

// TestDamagedRowsLeaveTheRest damages each record that a group can go on without:
// it does, and what is damaged is named or told of where it is needed.
func TestDamagedRowsLeaveTheRest(t *testing.T) {
	inner := store.NewMemory()
	a, c := newMember(t, "alice"), newMember(t, "carol")
	b := newMember(t, "bob", func(cfg *client.Config) {
		cfg.Store = must(store.OpenSealed(ctx, inner, damagedKey, store.SealOptions{}))(t)
	})
	id := a.create()
	a.add(id, nil, b, c)
	b.keyPackage()
	check(t, b.c.AddPSK(ctx, []byte("dinner"), mls.NewSecret([]byte("what was on the table that night"))))
	b.commits(id, a, group.CommitOptions{})
	commit := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.send(id, "one")))
	want[*client.Held](t, b.process(a.send(id, "two")))
	must(b.group(id).Propose(ctx, group.RemoveProposal(2), nil))(t)
	b.commit(id, group.CommitOptions{})
	queued := len(must(b.c.Outbox(ctx))(t))

	seen := make(map[string]int)
	for key := range records(t, b.cfg.Store) {
		kind := key[:1]
		if _, part, _ := strings.Cut(strings.TrimPrefix(key, "g/"), "/"); kind == "g" && part[1] == '/' {
			kind = part[:1] // l for the log, f for held messages
		}
		if !strings.Contains("kpwolf", kind) {
			continue
		}
		seen[kind]++
		t.Run(kind, func(t *testing.T) {
			m := *b
			m.t = t
			texts, refused := 0, 0
			m.cfg.Notify = func(e client.Event) {
				switch o := e.Outcome.(type) {
				case *client.MessageReceived:
					texts++
				case *client.Refused:
					refused++
					wantErr(t, o.Err, store.ErrCorrupt)
				}
			}
			_, s := damagedStore(t, inner, key)
			m.reopen(s)
			m.info(id)
			ready := must(m.c.KeyPackages(ctx, m.id))(t).Ready
			list, err := m.c.Outbox(ctx)
			if kind == "o" {
				number := binary.BigEndian.Uint64([]byte(key[2:]))
				if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprintf("number %d of the outbox", number)) || len(list) != queued-1 {
					t.Fatalf("%d in the outbox: %v", len(list), err)
				}
				for _, o := range list {
					if o.ID == number {
						t.Error("the damaged one is in the list")
					}
				}
			} else if err != nil || len(list) != queued {
				t.Fatalf("%d in the outbox: %v", len(list), err)
			}
			want[*client.LostRace](t, m.process(commit.Message))
			info := m.info(id)
			wantRefused, wantReady := 0, 1
			if kind == "f" {
				wantRefused = 1
			}
			if kind == "k" {
				wantReady = 0
			}
			if info.Held != 0 || texts != 2-wantRefused || refused != wantRefused || ready != wantReady || info.Pending {
				t.Errorf("%+v, %d texts, %d refused, %d key packages", info, texts, refused, ready)
			}
			m.commit(id, group.CommitOptions{})
			must(m.group(id).Accept(ctx))(t)
			must(m.group(id).Send(ctx, []byte("as if nothing was"), nil))(t)
			if kind == "o" {
				_, err := m.c.Outbox(ctx)
				wantErr(t, err, store.ErrCorrupt)
				check(t, m.c.Sent(ctx, binary.BigEndian.Uint64([]byte(key[2:]))))
				must(m.c.Outbox(ctx))(t)
			}
			if slices.Contains([]string{"o", "f"}, kind) {
				clean(t, &m)
			}
			check(t, m.group(id).Forget(ctx))
		})
	}
	for _, kind := range strings.Split("kpwolf", "") {
		if seen[kind] == 0 {
			t.Errorf("there was no record %s", kind)
		}
	}
}

// TestLogUnderWrongKey: an entry of the log that is none keeps no commit from being
// made.
func TestLogUnderWrongKey(t *testing.T) {
	id, a, _, _ := trio(t)
	check(t, a.store.Update(ctx, func(tx store.Writer) error {
		sum := sha256.Sum256(id)
		return tx.Put(fmt.Appendf(nil, "g/%x/l/short", sum[:16]), []byte{2, 0})
	}))
	a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	if problems := must(client.Check(ctx, a.store))(t); len(problems) != 1 {
		t.Errorf("the problems are %q", problems)
	}
}

// TestDamagedHead: the other groups are listed beside one whose head is damaged.
func TestDamagedHead(t *testing.T) {
	a := newMember(t, "alice")
	ids := [][]byte{a.create(), a.create(), a.create()}
	for key := range records(t, a.store) {
		if !strings.HasPrefix(key, "h/") {
			continue
		}
		s := a.store.Clone()
		check(t, s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), []byte{2, 0xff}) }))
		m := *a
		m.reopen(s)
		list, err := m.c.Groups(ctx)
		if len(list) != 2 || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), key) {
			t.Errorf("%d groups: %v", len(list), err)
		}
		for _, id := range ids {
			if _, err := m.group(id).Info(ctx); err != nil {
				wantErr(t, err, store.ErrCorrupt)
				check(t, m.group(id).Forget(ctx))
			}
		}
		must(m.c.Groups(ctx))(t)
	}
}

// TestDamageIsNotTheMessages: that a record is damaged is no reason to drop the
// message that is processed.
func TestDamageIsNotTheMessages(t *testing.T) {
	id, a, b := crowd(t)
	kp := b.keyPackage()
	commit := a.commit(id, group.CommitOptions{Proposals: strangers(t, 2)}).Message
	other := a.create()
	a.commit(other, group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
	welcome := must(a.group(other).Accept(ctx))(t).Welcome.Message
	failed := make(map[string]int)
	for key, value := range records(t, b.store) {
		for _, at := range []int{1, len(value) / 2} {
			for _, message := range [][]byte{commit, welcome} {
				s := b.store.Clone()
				changed := bytes.Clone(value)
				changed[at] ^= 0x41
				check(t, s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), changed) }))
				cfg := b.cfg
				cfg.Store = s
				c, err := client.Open(ctx, cfg)
				if err == nil {
					_, err = c.Receive(ctx, message)
				}
				if !errors.Is(err, store.ErrCorrupt) {
					continue // it is not noticed, or the message itself was judged by it
				}
				failed[key[:1]]++
				if errors.Is(err, mls.ErrMalformed) || errors.Is(err, mls.ErrInvalid) || errors.Is(err, mls.ErrAuth) {
					t.Errorf("%q at %d: %v", key, at, err)
				}
			}
		}
	}
	for _, kind := range []string{"i", "k", "h", "g"} {
		if failed[kind] == 0 {
			t.Errorf("no damage of %s was found", kind)
		}
	}
}

// TestDamagedComesAgain: a message that is held, or was dealt with, comes again when
// the record of that is damaged. It is held anew, so that it is not acknowledged and
// lost, or is a duplicate still.
func TestDamagedComesAgain(t *testing.T) {
	inner := store.NewMemory()
	a := newMember(t, "alice")
	b := newMember(t, "bob", func(cfg *client.Config) {
		cfg.Store = must(store.OpenSealed(ctx, inner, damagedKey, store.SealOptions{}))(t)
	})
	id := a.create()
	a.add(id, nil, b)
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	message := a.send(id, "hello")
	want[*client.Held](t, b.process(message))
	key := only(t, b, "/f/")
	reads := func(m *member) {
		t.Helper()
		want[*client.Held](t, m.process(message))
		o := want[*client.CommitApplied](t, m.process(first.Message))
		if len(o.Replayed) != 1 {
			t.Fatalf("replayed: %v", o.Replayed)
		}
		want[*client.MessageReceived](t, o.Replayed[0])
		if n := m.info(id).Held; n != 0 {
			t.Errorf("%d are held", n)
		}
		clean(t, m)
	}
	m := *b
	_, s := damagedStore(t, inner, key)
	m.reopen(s)
	reads(&m)
	m = *b
	changed := inner.Clone()
	m.reopen(must(store.OpenSealed(ctx, changed, damagedKey, store.SealOptions{}))(t))
	check(t, m.cfg.Store.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), []byte{2, 1, 2, 3}) }))
	reads(&m)

	want[*client.CommitApplied](t, b.process(first.Message))
	m = *b
	_, s = damagedStore(t, inner, only(t, b, "/l/"))
	m.reopen(s)
	want[*client.Duplicate](t, m.process(first.Message))
}

// only returns the key of the one record of a kind.
func only(t testing.TB, m *member, kind string) (key string) {
	t.Helper()
	for k := range records(t, m.cfg.Store) {
		if strings.Contains(k, kind) {
			if key != "" {
				t.Fatalf("several records %s", kind)
			}
			key = k
		}
	}
	if key == "" {
		t.Fatalf("no record %s", kind)
	}
	return key
}

// TestHeldCountDoesNotWrap: a held record that nobody counted is dealt with as the
// others, and messages can be held afterwards.
func TestHeldCountDoesNotWrap(t *testing.T) {
	id, a, b, _ := trio(t)
	first := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.send(id, "one")))
	sum := sha256.Sum256(id)
	stray := binary.BigEndian.AppendUint64(fmt.Appendf(nil, "g/%x/f/", sum[:16]), 1)
	stray = append(stray, make([]byte, 16)...)
	check(t, b.store.Update(ctx, func(tx store.Writer) error { return tx.Put(stray, []byte{2, 1, 2, 3}) }))
	want[*client.CommitApplied](t, b.process(first.Message))
	if n := b.info(id).Held; n != 0 {
		t.Errorf("%d are held", n)
	}
	a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.send(id, "two")))
}
