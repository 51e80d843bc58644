package mls

import (
	"testing"

	"github.com/treekem/mls/internal/testkit"
)

// TestAllocations holds the operations of a commit and of a message to what
// their results take. Times are for the benchmarks; these counts are exact.
func TestAllocations(t *testing.T) {
	testkit.CountsAllocations(t)
	s := mustSuite(t, X25519_AES128GCM_SHA256_Ed25519)
	secret, k := RandomSecret(32), mustKey(t, s)
	key, nonce := RandomSecret(s.KeySize()), make([]byte, s.NonceSize())
	pub := k.Public()
	ct, err := s.EncryptWithLabel(pub, "label", benchContext, benchSecret)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := s.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	signerPub := signer.Public()
	sig, err := s.SignWithLabel(signer, "label", benchContext)
	if err != nil {
		t.Fatal(err)
	}
	tag, much := s.MAC(secret, benchContext), make([]byte, 4096)
	sealed, err := s.Seal(nil, key, nonce, nil, benchContext)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"ZeroSecret", 1, func() { ZeroSecret(32) }},
		{"NewSecret", 1, func() { NewSecret(nonce) }},
		{"ExpandWithLabel", 1, func() { s.ExpandWithLabel(secret, "label", benchContext, 32) }},
		{"DeriveSecret", 1, func() { s.DeriveSecret(secret, "label") }},
		{"DeriveTreeSecret", 1, func() { s.DeriveTreeSecret(secret, "label", 7, 16) }},
		{"Extract", 1, func() { s.Extract(secret, secret) }},
		{"Hash", 1, func() { s.Hash(benchContext) }},
		{"Hash of parts", 1, func() { s.Hash(benchContext, benchSecret) }},
		{"RefHash", 1, func() { s.RefHash(LabelProposalRef, benchContext) }},
		{"MAC", 1, func() { s.MAC(secret, benchContext) }},
		{"MAC of much", 1, func() { s.MAC(secret, much) }},
		{"VerifyMAC", 0, func() { s.VerifyMAC(secret, benchContext, tag) }},
		{"Seal", 3, func() { s.Seal(nil, key, nonce, nil, benchContext) }},
		{"Open", 3, func() { s.Open(key, nonce, nil, sealed) }},
		{"EncryptWithLabel", 13, func() { s.EncryptWithLabel(pub, "label", benchContext, benchSecret) }},
		{"DecryptWithLabel", 9, func() { s.DecryptWithLabel(k, "label", benchContext, ct) }},
		{"DeriveKeyPair", 6, func() { s.DeriveKeyPair(secret) }},
		{"SignWithLabel", 2, func() { s.SignWithLabel(signer, "label", benchContext) }},
		{"VerifyWithLabel", 1, func() { s.VerifyWithLabel(signerPub, "label", benchContext, sig) }},
	} {
		if got := testing.AllocsPerRun(20, c.f); got > c.max {
			t.Errorf("%s: %v allocations, at most %v expected", c.name, got, c.max)
		}
	}
}
