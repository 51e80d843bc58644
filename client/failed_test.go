package client

import (
	"context"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// TestOwnUpdateLostNeedsRejoin: a commit that needs a key which only another
// copy of the state has cannot be followed.
func TestOwnUpdateLostNeedsRejoin(t *testing.T) {
	commit := envelope{epoch: 7, kind: framing.ContentCommit}
	o, err := new(Group).failed(context.Background(), nil, commit, group.ErrOwnUpdateLost)
	if r, ok := o.(*NeedsRejoin); err != nil || !ok || r.Epoch != 7 || !errors.Is(r.Reason, group.ErrOwnUpdateLost) {
		t.Errorf("%#v, %v", o, err)
	}
	if o, err := new(Group).failed(context.Background(), nil, commit, mls.ErrAuth); o != nil || !errors.Is(err, mls.ErrAuth) {
		t.Errorf("a forgery: %#v, %v", o, err)
	}
}
