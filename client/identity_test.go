package client_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// TestRemoveIdentity: a signature key goes when nothing needs it any more, and not before.
func TestRemoveIdentity(t *testing.T) {
	a := newMember(t, "alice")
	id := a.create()
	next := must(a.c.AddIdentity(ctx, client.IdentityOptions{Suite: suite(t), Credential: treekem.BasicCredential([]byte("alice"))}))(t)
	identity, _, err := a.c.Identity(next)
	check(t, err)
	inUse := func(ids ...client.IdentityID) {
		t.Helper()
		for _, id := range ids {
			wantErr(t, a.c.RemoveIdentity(ctx, id), client.ErrIdentityInUse)
		}
	}
	inUse(a.id)
	must(a.group(id).Commit(ctx, group.CommitOptions{Identity: &identity}))(t)
	inUse(a.id, next)
	must(a.group(id).Accept(ctx))(t)
	inUse(next)
	a.keyPackage()
	inUse(a.id) // its key package
	check(t, a.store.Update(ctx, func(tx store.Writer) error {
		var keys [][]byte
		for e, err := range tx.Scan([]byte("k/")) {
			check(t, err)
			keys = append(keys, e.Key)
		}
		for _, key := range keys {
			check(t, tx.Delete(key))
		}
		return nil
	}))
	check(t, a.c.RemoveIdentity(ctx, a.id))
	wantErr(t, a.c.RemoveIdentity(ctx, a.id), client.ErrUnknownIdentity)
	check(t, a.store.View(ctx, func(tx store.Reader) error {
		_, err := tx.Get(fmt.Appendf(nil, "i/%s", a.id))
		wantErr(t, err, store.ErrNotFound)
		return nil
	}))
	a.crash()
	must(a.group(id).Send(ctx, []byte("under the new key"), nil))(t)
	if problems := must(client.Check(ctx, a.store))(t); len(problems) > 0 {
		t.Errorf("the store: %q", problems)
	}
}

// hooked is a store that calls a function around its next update.
type hooked struct {
	store.Store
	before, after func()
}

func (h *hooked) Update(ctx context.Context, f func(store.Writer) error) error {
	before, after := h.before, h.after
	h.before, h.after = nil, nil
	if before != nil {
		before()
	}
	err := h.Store.Update(ctx, f)
	if after != nil {
		after()
	}
	return err
}

// TestRemoveIdentityMeanwhile: nothing is made for an identity that is removed at
// the same time, which nothing could read once it is gone.
func TestRemoveIdentityMeanwhile(t *testing.T) {
	h := &hooked{Store: store.NewMemory()}
	a := newMember(t, "alice", func(cfg *client.Config) { cfg.Store = h })
	signer := must(suite(t).GenerateSigner())(t)
	add := func() client.IdentityID {
		return must(a.c.AddIdentity(ctx, client.IdentityOptions{Suite: suite(t), Signer: signer, Credential: treekem.BasicCredential([]byte("alice"))}))(t)
	}
	stored := func(id client.IdentityID) bool {
		return records(t, h)["i/"+string(id)] != nil
	}
	// remove removes an identity in a goroutine, which may have to wait.
	remove := func(id client.IdentityID) (wait func() error) {
		done := make(chan error, 1)
		go func() { done <- a.c.RemoveIdentity(ctx, id) }()
		return func() error { return <-done }
	}
	pause := func() { time.Sleep(20 * time.Millisecond) }

	id := add()
	h.before = func() { check(t, remove(id)()) }
	_, err := a.c.NewKeyPackages(ctx, id, client.KeyPackageOptions{})
	wantErr(t, err, client.ErrUnknownIdentity)

	id = add()
	made := make(chan error, 1)
	h.before = func() { // of the removal
		go func() {
			_, err := a.c.CreateGroup(ctx, id, client.GroupOptions{})
			made <- err
		}()
		pause()
	}
	check(t, a.c.RemoveIdentity(ctx, id))
	wantErr(t, <-made, client.ErrUnknownIdentity)

	id = add()
	var wait func() error
	h.after = func() { // of adding it again
		wait = remove(id)
		pause()
	}
	add()
	check(t, wait())
	if slices.Contains(a.c.Identities(), id) || stored(id) {
		t.Errorf("the identity is there: %v, stored: %t", a.c.Identities(), stored(id))
	}
	clean(t, a)
}

// viewHook calls f before one of the times that a store is read.
type viewHook struct {
	store.Store
	mu     sync.Mutex
	before int
	f      func()
}

func (h *viewHook) View(ctx context.Context, f func(store.Reader) error) error {
	h.mu.Lock()
	h.before--
	call := h.f
	if h.before != 0 {
		call = nil
	}
	h.mu.Unlock()
	if call != nil {
		call()
	}
	return h.Store.View(ctx, f)
}

// TestRemoveIdentityBesideAGroup: an identity that nothing needs can be removed while
// a group goes on, or is forgotten.
func TestRemoveIdentityBesideAGroup(t *testing.T) {
	for name, act := range map[string]func(*member, []byte) error{
		"commit": func(m *member, id []byte) error {
			_, err := m.group(id).Commit(ctx, group.CommitOptions{})
			if err == nil {
				_, err = m.group(id).Accept(ctx)
			}
			return err
		},
		"forget": func(m *member, id []byte) error { return m.group(id).Forget(ctx) },
	} {
		for before := 1; before < 8; before++ {
			h := &viewHook{Store: store.NewMemory()}
			m := newMember(t, "alice", func(cfg *client.Config) { cfg.Store = h })
			id := m.create()
			m.commit(id, group.CommitOptions{})
			must(m.group(id).Accept(ctx))(t)
			unused := must(m.c.AddIdentity(ctx, client.IdentityOptions{Suite: suite(t), Credential: treekem.BasicCredential([]byte("unused"))}))(t)
			var beside sync.WaitGroup
			h.mu.Lock()
			h.before, h.f = before, func() {
				beside.Go(func() {
					if err := act(m, id); err != nil {
						t.Errorf("%s before reading for the %d. time: %v", name, before, err)
					}
				})
				time.Sleep(10 * time.Millisecond) // it gets as far as it can
			}
			h.mu.Unlock()
			if err := m.c.RemoveIdentity(ctx, unused); err != nil {
				t.Errorf("%s before reading for the %d. time: %v", name, before, err)
			}
			beside.Wait()
		}
	}
}
