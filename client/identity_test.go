package client_test

import (
	"fmt"
	"testing"

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
