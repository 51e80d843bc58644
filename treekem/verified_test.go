package treekem

import (
	"testing"
	"time"

	"github.com/treekem/mls"
)

// A remembered leaf is not verified again; a changed one, another place, and
// another group are.
func TestVerifiedLeaves(t *testing.T) {
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	counting := make([]BuildMember, 8)
	for i := range counting {
		signer, err := s.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		counting[i] = BuildMember{Credential: BasicCredential([]byte{byte(i)}), Signer: signer}
	}
	tree, _, err := BuildFull(s, counting, []byte("group"))
	if err != nil {
		t.Fatal(err)
	}
	cache := NewVerifiedLeaves(100)
	opt := ValidateOptions{Now: time.Now(), Verified: cache}
	if err := tree.Validate([]byte("other group"), opt); err == nil || cache.Len() != 0 {
		t.Fatalf("leaves signed for another group: %v, %d remembered", err, cache.Len())
	}
	for range 2 {
		if err := tree.Validate([]byte("group"), opt); err != nil || cache.Len() != 8 {
			t.Fatalf("%v, %d remembered", err, cache.Len())
		}
	}
	if err := tree.Validate([]byte("other group"), opt); err == nil {
		t.Fatal("leaves that were verified in one group pass in another")
	}
	// What is remembered is really taken as read.
	forged := &VerifiedLeaves{limit: 100, known: map[verifiedLeaf]struct{}{}}
	for k := range cache.known {
		k.group = verifiedGroup(s, []byte("other group"))
		forged.known[k] = struct{}{}
	}
	if err := tree.Validate([]byte("other group"), ValidateOptions{Now: time.Now(), Verified: forged}); err != nil {
		t.Fatalf("a remembered leaf was verified again: %v", err)
	}
}

func TestVerifiedLeavesLimit(t *testing.T) {
	cache := NewVerifiedLeaves(3)
	for i := range byte(5) {
		cache.add(verifiedLeaf{leaf: [32]byte{i}})
		if !cache.has(verifiedLeaf{leaf: [32]byte{i}}) {
			t.Fatal("the latest leaf is not remembered")
		}
		if want := min(int(i)+1, 3); cache.Len() != want {
			t.Fatalf("%d leaves remembered, want %d", cache.Len(), want)
		}
	}
}
