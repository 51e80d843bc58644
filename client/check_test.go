package client_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

// TestCheckNames changes names and values of records that can be read: Check
// finds what is not where it belongs.
func TestCheckNames(t *testing.T) {
	id, a, b, _ := trio(t)
	check(t, b.c.AddPSK(ctx, []byte("dinner"), mls.NewSecret(bytes.Repeat([]byte("x"), 32))))
	b.keyPackage()
	b.commits(id, a, group.CommitOptions{})
	a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	want[*client.Held](t, b.process(a.send(id, "of the next epoch")))
	must(b.group(id).Propose(ctx, group.RemoveProposal(0), nil))(t)
	pending := b.commit(id, group.CommitOptions{})
	other := a.create()
	_, _, err := b.c.JoinExternal(ctx, b.id, a.groupInfo(other), client.ExternalOptions{})
	check(t, err)
	clean(t, b)

	change := func(name string, f func(tx store.Writer, key, value []byte) error) func(string, []byte) {
		return func(key string, value []byte) {
			t.Helper()
			s := b.store.Clone()
			check(t, s.Update(ctx, func(tx store.Writer) error { return f(tx, []byte(key), value) }))
			problems, err := client.Check(ctx, s)
			if err != nil || len(problems) == 0 {
				t.Errorf("%q %s: %q, %v", key, name, problems, err)
			}
		}
	}
	rename := func(f func(key []byte) []byte) func(tx store.Writer, key, value []byte) error {
		return func(tx store.Writer, key, value []byte) error {
			if err := tx.Delete(key); err != nil {
				return err
			}
			return tx.Put(f(bytes.Clone(key)), value)
		}
	}
	shorter := change("cut short", rename(func(key []byte) []byte { return key[:len(key)-3] }))
	renamed := change("renamed", rename(func(key []byte) []byte { key[len(key)-1] ^= 1; return key }))
	set := func(value ...byte) func(string, []byte) {
		return change("replaced", func(tx store.Writer, key, old []byte) error {
			return tx.Put(key, append(bytes.Clone(old[:1]), value...))
		})
	}
	flip := change("flipped", func(tx store.Writer, key, value []byte) error { value[3] ^= 0x80; return tx.Put(key, value) })
	found := make(map[string]int)
	for key, value := range records(t, b.store) {
		switch {
		case strings.Contains(key, "/l/"):
			found["log"]++
			shorter(key, value)
			set(2)(key, value)
			set(0, 0)(key, value)
			set()(key, value)
		case strings.Contains(key, "/f/"):
			found["held"]++
			shorter(key, value)
			renamed(key, value)
			flip(key, value)
		case strings.HasPrefix(key, "k/"):
			found["key package"]++
			shorter(key, value)
			renamed(key, value)
			// Private keys in each other's place.
			change("swapped", func(tx store.Writer, key, value []byte) error {
				swapped := bytes.Clone(value)
				i := bytes.LastIndex(value, []byte{3, 0x58, 32})
				j := bytes.LastIndex(value, []byte{4, 0x58, 32})
				copy(swapped[i+3:], value[j+3:j+35])
				copy(swapped[j+3:], value[i+3:i+35])
				return tx.Put(key, swapped)
			})(key, value)
		case strings.HasPrefix(key, "p/"):
			found["psk"]++
			renamed(key, value)
		case strings.HasPrefix(key, "w/"):
			found["welcome"]++
			shorter(key, value)
		case strings.HasPrefix(key, "o/"):
			if bytes.Contains(value, pending.Message) {
				found["commit"]++
				change("renamed", func(tx store.Writer, key, value []byte) error {
					if err := tx.Delete(key); err != nil {
						return err
					}
					return tx.Put(append(key[:len(key)-1], 0), value)
				})(key, value)
			}
			found["outbox"]++
			shorter(key, value)
			i := bytes.Index(value, []byte{0, 1, 0, 1})
			if i < 0 {
				i = bytes.Index(value, []byte{0, 1, 0, 2})
			}
			change("of another version", func(tx store.Writer, key, value []byte) error {
				value[i+1] = 9
				return tx.Put(key, value)
			})(key, value)
		}
	}
	for _, what := range []string{"log", "held", "key package", "psk", "welcome", "outbox", "commit"} {
		if found[what] == 0 {
			t.Errorf("there was no %s", what)
		}
	}
	// What was sent is not missing.
	for _, out := range must(b.c.Outbox(ctx))(t) {
		check(t, b.c.Sent(ctx, out.ID))
	}
	clean(t, b)
}

// TestDamagedHeldMessage: a held message of which the record is damaged does not
// stop the group, and goes.
func TestDamagedHeldMessage(t *testing.T) {
	id, a, b, _ := trio(t)
	commit := a.commit(id, group.CommitOptions{})
	must(a.group(id).Accept(ctx))(t)
	good, bad := a.send(id, "good"), a.send(id, "bad")
	want[*client.Held](t, b.process(good))
	want[*client.Held](t, b.process(bad))
	whole := b.store
	for name, damage := range map[string]func(key, value []byte) ([]byte, []byte){
		"flipped":           func(key, value []byte) ([]byte, []byte) { value[2] ^= 0xff; return key, value },
		"other kind":        func(key, value []byte) ([]byte, []byte) { return key, append(value[:1], a.groupInfo(id)...) },
		"short key":         func(key, value []byte) ([]byte, []byte) { return key[:len(key)-3], value },
		"of another's name": func(key, value []byte) ([]byte, []byte) { key[len(key)-1] ^= 1; return key, value },
		"of another epoch":  func(key, value []byte) ([]byte, []byte) { key[len(key)-17]--; return key, value },
		"no version":        func(key, value []byte) ([]byte, []byte) { value[0] = 0; return key, value },
		"empty":             func(key, value []byte) ([]byte, []byte) { return key, nil },
	} {
		t.Run(name, func(t *testing.T) {
			b.store = whole.Clone()
			for key, value := range records(t, b.store) {
				if !strings.Contains(key, "/f/") || !bytes.Equal(value[1:], bad) {
					continue
				}
				check(t, b.store.Update(ctx, func(tx store.Writer) error {
					if err := tx.Delete([]byte(key)); err != nil {
						return err
					}
					return tx.Put(damage([]byte(key), value))
				}))
			}
			if problems := must(client.Check(ctx, b.store))(t); len(problems) == 0 {
				t.Error("Check finds nothing")
			}
			b.cfg.Notify = nil
			b.crash()
			must(b.group(id).Send(ctx, []byte("as if nothing was"), nil))(t)
			applied := want[*client.CommitApplied](t, b.process(commit.Message))
			read, refused := 0, 0
			for _, o := range applied.Replayed {
				switch o := o.(type) {
				case *client.MessageReceived:
					read++
				case *client.Refused:
					if refused++; !errors.Is(o.Err, store.ErrCorrupt) || o.Held {
						t.Errorf("%+v", o)
					}
				}
			}
			if read != 1 || refused != 1 || b.info(id).Held != 0 {
				t.Errorf("%d read, %d refused, %d held", read, refused, b.info(id).Held)
			}
			agree(t, id, a, b)
		})
	}
}
