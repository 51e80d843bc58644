package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

var errBusy = errors.New("busy for a moment")

// busy is a store that can't read one page of a tree.
type busy struct {
	store.Store
	fail *bool
}

func (b busy) View(ctx context.Context, f func(store.Reader) error) error {
	return b.Store.View(ctx, func(r store.Reader) error { return f(busyReader{r, b.fail}) })
}

type busyReader struct {
	store.Reader
	fail *bool
}

func (b busyReader) Get(key []byte) ([]byte, error) {
	if *b.fail && bytes.Contains(key, []byte("t/p")) {
		*b.fail = false
		return nil, errBusy
	}
	return b.Reader.Get(key)
}

// TestPastTreeIsReadAgain: the tree of a past epoch can't be read once, for a late
// message, while that of the current epoch, opened apart from it, can.
func TestPastTreeIsReadAgain(t *testing.T) {
	a, c := newMember(t, "a"), newMember(t, "c")
	id := a.create()
	var adds []framing.Proposal
	for i := range 100 { // so that c is far away
		kp, _, err := group.NewKeyPackage(group.Config{Authenticate: group.InsecureAnyCredential}, suite(t), group.KeyPackageOptions{Identity: group.Identity{
			Credential: treekem.BasicCredential(fmt.Appendf(nil, "m %d", i)), Signer: must(suite(t).GenerateSigner())(t),
		}})
		check(t, err)
		adds = append(adds, group.AddProposal(kp))
	}
	must(a.group(id).Commit(ctx, group.CommitOptions{Proposals: adds}))(t)
	must(a.group(id).Accept(ctx))(t)
	a.add(id, nil, c)
	late := c.send(id, "late")
	a.commit(id, group.CommitOptions{})

	fail := false
	a.store = a.store.Clone()
	a.cfg.Store = busy{a.store, &fail}
	a.c = must(client.Open(ctx, a.cfg))(t)
	must(a.group(id).Accept(ctx))(t)
	fail = true
	if _, err := a.c.Receive(ctx, late); !errors.Is(err, errBusy) {
		t.Errorf("while the store is busy: %v", err)
	}
	fail = false
	must(a.group(id).Send(ctx, []byte("meanwhile"), nil))(t)
	if o, err := a.c.Receive(ctx, late); err != nil {
		t.Error(err)
	} else if m, ok := o.(*client.MessageReceived); !ok || string(m.Data) != "late" {
		t.Errorf("%T", o)
	}
}
