package keyschedule_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/keyschedule"
)

// TestReserve: reserved keys are those that Next would have returned, in order,
// and a state that is saved after Reserve has none of them.
func TestReserve(t *testing.T) {
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	tree := func() *keyschedule.SecretTree {
		return keyschedule.NewSecretTree(s, mls.NewSecret(bytes.Repeat([]byte{7}, s.HashSize())), 8, keyschedule.Bounds{})
	}
	plain, reserved := tree(), tree()
	if err := reserved.Reserve(3, keyschedule.Application, 4); err != nil {
		t.Fatal(err)
	}
	saved, err := reserved.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(6) {
		g1, k1, n1, err1 := plain.Next(3, keyschedule.Application)
		if want := max(0, 4-int(i)); reserved.Reserved(3, keyschedule.Application) != want {
			t.Errorf("%d are reserved, want %d", reserved.Reserved(3, keyschedule.Application), want)
		}
		g2, k2, n2, err2 := reserved.Next(3, keyschedule.Application)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if g1 != i || g2 != i || !k1.Equal(k2) || !bytes.Equal(n1, n2) {
			t.Errorf("generation %d differs", i)
		}
		if i < 4 && (bytes.Contains(saved, k1.UnsafeBytes()) || bytes.Contains(saved, n1)) {
			t.Errorf("the saved state holds the key of generation %d", i)
		}
	}
	restored, err := keyschedule.RestoreSecretTree(s, saved, keyschedule.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if n := restored.Reserved(3, keyschedule.Application); n != 0 {
		t.Errorf("%d are reserved after restoring", n)
	}
	if g, _, _, err := restored.Next(3, keyschedule.Application); err != nil || g != 4 {
		t.Errorf("the restored tree goes on at generation %d, %v, want 4", g, err)
	}
	if g, _, _, err := restored.Next(3, keyschedule.Handshake); err != nil || g != 0 {
		t.Errorf("the other ratchet stands at %d, %v", g, err)
	}
	if err := reserved.Reserve(3, keyschedule.Application, 2); err != nil {
		t.Fatal(err)
	}
	reserved.DropHandshakes()
	if n := reserved.Reserved(3, keyschedule.Application); n != 0 {
		t.Errorf("%d are reserved in an epoch that is over", n)
	}
	reserved.Destroy()
	if err := reserved.Reserve(3, keyschedule.Application, 1); !errors.Is(err, mls.ErrKeyConsumed) {
		t.Errorf("Reserve in a tree that was destroyed: %v", err)
	}
	if n := reserved.Reserved(3, keyschedule.Application); n != 0 {
		t.Errorf("%d are reserved in a tree that was destroyed", n)
	}
}
