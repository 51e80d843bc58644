package mls_test

import (
	"bytes"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
)

// basicsCase is a case of crypto-basics.json.
type basicsCase struct {
	CipherSuite mls.CipherSuite `json:"cipher_suite"`
	RefHash     struct {
		Label string      `json:"label"`
		Value testkit.Hex `json:"value"`
		Out   testkit.Hex `json:"out"`
	} `json:"ref_hash"`
	ExpandWithLabel struct {
		Secret  testkit.Hex `json:"secret"`
		Label   string      `json:"label"`
		Context testkit.Hex `json:"context"`
		Length  int         `json:"length"`
		Out     testkit.Hex `json:"out"`
	} `json:"expand_with_label"`
	DeriveSecret struct {
		Secret testkit.Hex `json:"secret"`
		Label  string      `json:"label"`
		Out    testkit.Hex `json:"out"`
	} `json:"derive_secret"`
	DeriveTreeSecret struct {
		Secret     testkit.Hex `json:"secret"`
		Label      string      `json:"label"`
		Generation uint32      `json:"generation"`
		Length     int         `json:"length"`
		Out        testkit.Hex `json:"out"`
	} `json:"derive_tree_secret"`
	SignWithLabel struct {
		Priv      testkit.Hex `json:"priv"`
		Pub       testkit.Hex `json:"pub"`
		Content   testkit.Hex `json:"content"`
		Label     string      `json:"label"`
		Signature testkit.Hex `json:"signature"`
	} `json:"sign_with_label"`
	EncryptWithLabel struct {
		Priv       testkit.Hex `json:"priv"`
		Pub        testkit.Hex `json:"pub"`
		Label      string      `json:"label"`
		Context    testkit.Hex `json:"context"`
		Plaintext  testkit.Hex `json:"plaintext"`
		KEMOutput  testkit.Hex `json:"kem_output"`
		Ciphertext testkit.Hex `json:"ciphertext"`
	} `json:"encrypt_with_label"`
}

func TestCryptoBasics(t *testing.T) {
	cases := testkit.DecodeStrict[basicsCase](t, testkit.Vectors(t, "crypto-basics.json"))
	seen := make(map[mls.CipherSuite]bool)
	for _, c := range cases {
		seen[c.CipherSuite] = true
		t.Run(c.CipherSuite.String(), func(t *testing.T) {
			s, err := mls.LookupSuite(c.CipherSuite)
			if err != nil {
				t.Fatal(err)
			}
			derivations(t, s, c)
			signature(t, s, c)
			encryption(t, s, c)
		})
	}
	for id := mls.CipherSuite(1); id <= 7; id++ { // nobody published cases of the others
		if !seen[id] {
			t.Errorf("no case for %v", id)
		}
	}
}

func derivations(t *testing.T, s *mls.Suite, c basicsCase) {
	t.Helper()
	if got := s.RefHash(c.RefHash.Label, c.RefHash.Value); !bytes.Equal(got, c.RefHash.Out) {
		t.Error("RefHash differs")
	}
	check := func(name string, got mls.Secret, want []byte) {
		t.Helper()
		if !got.Equal(secret(want)) {
			t.Errorf("%s differs", name)
		}
	}
	e, d, g := c.ExpandWithLabel, c.DeriveSecret, c.DeriveTreeSecret
	check("ExpandWithLabel", s.ExpandWithLabel(secret(e.Secret), e.Label, e.Context, e.Length), e.Out)
	check("DeriveSecret", s.DeriveSecret(secret(d.Secret), d.Label), d.Out)
	check("DeriveTreeSecret", s.DeriveTreeSecret(secret(g.Secret), g.Label, g.Generation, g.Length), g.Out)
}

func signature(t *testing.T, s *mls.Suite, c basicsCase) {
	t.Helper()
	v := c.SignWithLabel
	pub := mls.SignaturePublicKey(v.Pub)
	if err := s.ValidateSignatureKey(pub); err != nil {
		t.Error(err)
	}
	if err := s.VerifyWithLabel(pub, v.Label, v.Content, v.Signature); err != nil {
		t.Errorf("given signature: %v", err)
	}
	key, err := s.NewSigner(secret(v.Priv))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Public(), pub) {
		t.Error("public key differs")
	}
	sig, err := s.SignWithLabel(key, v.Label, v.Content)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.VerifyWithLabel(pub, v.Label, v.Content, sig); err != nil {
		t.Errorf("own signature: %v", err)
	}
}

func encryption(t *testing.T, s *mls.Suite, c basicsCase) {
	t.Helper()
	v := c.EncryptWithLabel
	pub := mls.HPKEPublicKey(v.Pub)
	if err := s.ValidatePublicKey(pub); err != nil {
		t.Error(err)
	}
	key, err := s.NewPrivateKey(secret(v.Priv))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Public(), pub) {
		t.Error("public key differs")
	}
	given := mls.HPKECiphertext{KEMOutput: v.KEMOutput, Ciphertext: v.Ciphertext}
	got, err := s.DecryptWithLabel(key, v.Label, v.Context, given)
	if err != nil || !bytes.Equal(got, v.Plaintext) {
		t.Errorf("given ciphertext: %v", err)
	}
	own, err := s.EncryptWithLabel(pub, v.Label, v.Context, v.Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	got, err = s.DecryptWithLabel(key, v.Label, v.Context, own)
	if err != nil || !bytes.Equal(got, v.Plaintext) {
		t.Errorf("own ciphertext: %v", err)
	}
}

// secret returns a Secret of a copy of p.
func secret(p []byte) mls.Secret { return mls.NewSecret(bytes.Clone(p)) }
