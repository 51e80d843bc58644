package group_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// TestStateApart: a state and its tree, saved apart, continue as a whole one.
func TestStateApart(t *testing.T) {
	members := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 40)
	a, b := members[0], members[1]
	whole := must[[]byte](t)(a.g.State())
	apart := must[[]byte](t)(a.g.StateApart())
	if tree := must[[]byte](t)(a.g.Tree().Bytes()); len(apart)+len(tree) > len(whole)+16 || len(apart) > 2000 {
		t.Errorf("%d bytes apart, %d whole, %d of them the tree", len(apart), len(whole), len(tree))
	}
	staged := a.commit(group.CommitOptions{})
	pending := must[[]byte](t)(staged.StateApart())
	apart = must[[]byte](t)(a.g.StateApart())

	again := must[*group.Group](t)(group.RestoreApart(a.cfg, apart, a.g.Tree(), a.signer))
	restored := must[*group.Staged](t)(again.RestoreStagedApart(pending, staged.Tree(), a.signer))
	if !bytes.Equal(restored.Message(), staged.Message()) {
		t.Error("another commit came back")
	}
	check(t, again.Merge(restored))
	deliver(t, staged.Message(), members[1:]...)
	a.g = again
	agree(t, members...)
	talk(t, a, b)

	_, err := group.RestoreApart(a.cfg, apart, b.g.Tree(), a.signer)
	if !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("with the tree of another epoch: %v", err)
	}
	_, err = group.RestoreApart(a.cfg, whole, b.g.Tree(), a.signer)
	if !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("a whole state with a tree: %v", err)
	}
	if _, err = group.Restore(a.cfg, apart, a.signer); err == nil {
		t.Error("a state without its tree was restored")
	}
	if _, err = group.RestoreApart(a.cfg, apart, nil, a.signer); err == nil {
		t.Error("no tree was accepted")
	}
	if _, err = again.RestoreStagedApart(pending, nil, a.signer); err == nil {
		t.Error("no tree was accepted for a commit")
	}
}

// TestReserve: messages of a block need no saving, and a state that was saved
// before them does not repeat their generations.
func TestReserve(t *testing.T) {
	members := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 2)
	a, b := members[0], members[1]
	check(t, a.g.Reserve(5))
	saved := must[[]byte](t)(a.g.State())
	generation := func(message []byte) uint32 {
		t.Helper()
		return must[group.Received](t)(b.g.Process(message)).(*group.Application).Generation
	}
	for i := range uint32(3) {
		if g := generation(must[[]byte](t)(a.g.Protect([]byte("x"), nil))); g != i {
			t.Errorf("generation %d, want %d", g, i)
		}
	}
	if n := a.g.Reserved(); n != 2 {
		t.Errorf("%d are reserved, want 2", n)
	}
	a.g = must[*group.Group](t)(group.Restore(a.cfg, saved, a.signer)) // it died
	if g := generation(must[[]byte](t)(a.g.Protect([]byte("y"), nil))); g != 5 {
		t.Errorf("generation %d after restoring, want 5", g)
	}
	check(t, a.g.Reserve(5))
	s := a.commit(group.CommitOptions{Proposals: []framing.Proposal{}})
	deliver(t, s.Message(), b)
	check(t, a.g.Merge(s))
	if n := a.g.Reserved(); n != 0 {
		t.Errorf("%d are reserved in the next epoch", n)
	}
	if g := generation(must[[]byte](t)(a.g.Protect([]byte("z"), nil))); g != 0 {
		t.Errorf("generation %d in the next epoch, want 0", g)
	}
}

// TestStateOfAnotherTree: a state whose tree is not the one that its group
// context names is damaged, a pending commit's too.
func TestStateOfAnotherTree(t *testing.T) {
	members := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 3)
	a := members[0]
	pending := must[[]byte](t)(a.commit(group.CommitOptions{}).State())
	damaged := func(saved []byte) []byte {
		return bytes.ReplaceAll(saved, []byte("member 2"), []byte("member X"))
	}
	if _, err := group.Restore(a.cfg, damaged(state(t, a)), a.signer); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("a group was restored: %v", err)
	}
	if _, err := a.g.RestoreStaged(damaged(pending), a.signer); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("a commit was restored: %v", err)
	}
	check(t, errOf(a.g.RestoreStaged(pending, a.signer)))
}
