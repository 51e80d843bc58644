package mls_test

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"hash"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
)

func eachSuite(t *testing.T, f func(*testing.T, *mls.Suite)) {
	t.Helper()
	if len(mls.Suites()) != 18 {
		t.Fatalf("%d suites", len(mls.Suites()))
	}
	for _, s := range mls.Suites() {
		t.Run(s.String(), func(t *testing.T) { f(t, s) })
	}
}

func TestTable(t *testing.T) {
	type sizes struct{ hash, key int }
	want := map[mls.CipherSuite]sizes{
		1: {32, 16}, 2: {32, 16}, 3: {32, 32}, 4: {64, 32}, 5: {64, 32}, 6: {64, 32}, 7: {48, 32},
		0xf601: {32, 16}, 0xf602: {48, 32}, 0xf603: {32, 16}, 0xf604: {48, 32}, 0xf605: {48, 32}, 0xf606: {48, 32},
		0xf607: {48, 32}, 0xf608: {48, 32}, 0xf609: {48, 32}, 0xf60a: {48, 32}, 0xf60b: {48, 32},
	}
	last := mls.CipherSuite(0)
	for _, s := range mls.Suites() {
		if s.ID() <= last {
			t.Errorf("%v after %d", s, last)
		}
		last = s.ID()
		if got, err := mls.LookupSuite(s.ID()); err != nil || got != s || s.ID().String() != s.String() {
			t.Errorf("%v is looked up as %v, %v", s, got, err)
		}
		if w, ok := want[s.ID()]; ok && (s.HashSize() != w.hash || s.KeySize() != w.key || s.NonceSize() != 12 || s.TagSize() != 16) {
			t.Errorf("%v: sizes %d, %d, %d, %d", s, s.HashSize(), s.KeySize(), s.NonceSize(), s.TagSize())
		}
		delete(want, s.ID())
	}
	if len(want) != 0 {
		t.Errorf("no row for %v", want)
	}
	for _, id := range []mls.CipherSuite{0, 8, 0x0a0a, 0xf600, 0xf60c, 0xffff} {
		if s, err := mls.LookupSuite(id); s != nil || !errors.Is(err, mls.ErrUnsupported) {
			t.Errorf("%v: %v, %v", id, s, err)
		}
	}
	copied := mls.Suites()
	copied[0] = nil
	if mls.Suites()[0] == nil {
		t.Error("the table can be changed from outside")
	}
}

func TestHashAndMAC(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		for _, n := range []int{0, 1, 55, 127, 128, 1023, 1024, 1025, 5000} {
			data := bytes.Repeat([]byte{byte(n)}, n)
			h := s.NewHash()
			h.Write(data)
			want := h.Sum(nil)
			if !bytes.Equal(s.Hash(data), want) || !bytes.Equal(s.Hash(data[:n/2], nil, data[n/2:]), want) {
				t.Errorf("hash of %d bytes differs", n)
			}
			for _, k := range []int{1, s.HashSize(), h.BlockSize(), h.BlockSize() + 1, 300} {
				key := mls.RandomSecret(k)
				m := hmac.New(func() hash.Hash { return s.NewHash() }, key.UnsafeBytes())
				m.Write(data)
				want := m.Sum(nil)
				got := s.MAC(key, data)
				if !bytes.Equal(got, want) || !s.VerifyMAC(key, data, want) {
					t.Errorf("MAC of %d bytes under %d differs", n, k)
				}
			}
		}
	})
}

func TestVerifyMACRefuses(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		key, data := mls.RandomSecret(s.HashSize()), []byte("data")
		tag := s.MAC(key, data)
		for n := range tag {
			if s.VerifyMAC(key, data, tag[:n]) {
				t.Errorf("accepted the first %d bytes", n)
			}
		}
		if s.VerifyMAC(key, data, append(slices.Clone(tag), 0)) {
			t.Error("accepted a longer tag")
		}
		for i := range tag {
			bad := slices.Clone(tag)
			bad[i] ^= 1
			if s.VerifyMAC(key, data, bad) {
				t.Errorf("accepted a change in byte %d", i)
			}
		}
	})
}

func TestSealOpen(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		key, nonce, aad := mls.RandomSecret(s.KeySize()), make([]byte, s.NonceSize()), []byte("aad")
		ct, err := s.Seal(nil, key, nonce, aad, []byte("plaintext"))
		if err != nil || len(ct) != len("plaintext")+s.TagSize() {
			t.Fatalf("%d bytes, %v", len(ct), err)
		}
		if pt, err := s.Open(key, nonce, aad, ct); err != nil || string(pt) != "plaintext" {
			t.Errorf("%q, %v", pt, err)
		}
		other := mls.RandomSecret(s.KeySize())
		for name, open := range map[string]func() ([]byte, error){
			"key":        func() ([]byte, error) { return s.Open(other, nonce, aad, ct) },
			"nonce":      func() ([]byte, error) { return s.Open(key, bytes.Repeat([]byte{1}, 12), aad, ct) },
			"aad":        func() ([]byte, error) { return s.Open(key, nonce, nil, ct) },
			"ciphertext": func() ([]byte, error) { return s.Open(key, nonce, aad, ct[1:]) },
			"nothing":    func() ([]byte, error) { return s.Open(key, nonce, aad, nil) },
		} {
			if pt, err := open(); pt != nil || err != mls.ErrAuth {
				t.Errorf("another %s: %q, %v", name, pt, err)
			}
		}
		for _, n := range []int{0, 11, 13, 16} {
			if _, err := s.Seal(nil, key, make([]byte, n), nil, nil); err == nil {
				t.Errorf("sealed under a nonce of %d bytes", n)
			}
			if _, err := s.Open(key, make([]byte, n), nil, ct); err == nil {
				t.Errorf("opened under a nonce of %d bytes", n)
			}
		}
		for _, k := range []mls.Secret{{}, mls.ZeroSecret(0), mls.ZeroSecret(24), mls.ZeroSecret(33)} {
			if _, err := s.Seal(nil, k, nonce, nil, nil); err == nil {
				t.Errorf("sealed under a key of %d bytes", k.Len())
			}
		}
	})
}

func TestExpandWithLabelLimits(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		secret := mls.RandomSecret(s.HashSize())
		for _, n := range []int{0, 1, s.HashSize(), s.HashSize() + 1, 255 * s.HashSize()} {
			if got := s.ExpandWithLabel(secret, "label", nil, n); got.Len() != n {
				t.Errorf("%d bytes of %d", got.Len(), n)
			}
		}
		long := s.ExpandWithLabel(secret, string(make([]byte, 5000)), make([]byte, 20000), 40)
		if long.Equal(s.ExpandWithLabel(secret, string(make([]byte, 5000)), make([]byte, 20001), 40)) {
			t.Error("contexts of two lengths give one secret")
		}
		panics(t, "too long", func() { s.ExpandWithLabel(secret, "label", nil, 255*s.HashSize()+1) })
		gone := mls.RandomSecret(s.HashSize())
		gone.Destroy()
		panics(t, "destroyed", func() { s.DeriveSecret(gone, "label") })
		panics(t, "no secret", func() { s.Extract(secret, mls.Secret{}) })
		panics(t, "no key", func() { s.MAC(mls.Secret{}, nil) })
	})
}

func panics(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", name)
		}
	}()
	f()
}

func TestEncryptWithLabelBinds(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		key, err := s.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		ct, err := s.EncryptWithLabel(key.Public(), "label", []byte("context"), []byte("plaintext"))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := s.NewPrivateKey(key.Secret())
		if err != nil || !bytes.Equal(parsed.Public(), key.Public()) || !parsed.Secret().Equal(key.Secret()) {
			t.Fatalf("parsed differently, %v", err)
		}
		if pt, err := s.DecryptWithLabel(parsed, "label", []byte("context"), ct); err != nil || string(pt) != "plaintext" {
			t.Errorf("%q, %v", pt, err)
		}
		bent := ct
		bent.KEMOutput = slices.Clone(ct.KEMOutput)
		bent.KEMOutput[len(bent.KEMOutput)-1] ^= 1
		other, _ := s.GenerateKeyPair()
		for name, err := range map[string]error{
			"label":      second(s.DecryptWithLabel(key, "lable", []byte("context"), ct)),
			"context":    second(s.DecryptWithLabel(key, "label", nil, ct)),
			"key":        second(s.DecryptWithLabel(other, "label", []byte("context"), ct)),
			"KEM output": second(s.DecryptWithLabel(key, "label", []byte("context"), bent)),
			"nothing":    second(s.DecryptWithLabel(key, "label", []byte("context"), mls.HPKECiphertext{})),
		} {
			if err != mls.ErrAuth {
				t.Errorf("another %s: %v", name, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestExternalInit(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		key, err := s.DeriveKeyPair(mls.RandomSecret(s.HashSize()))
		if err != nil {
			t.Fatal(err)
		}
		enc, want, err := s.ExternalInit(key.Public())
		if err != nil || want.Len() != s.HashSize() {
			t.Fatalf("%d bytes, %v", want.Len(), err)
		}
		if got, err := s.OpenExternalInit(key, enc); err != nil || !got.Equal(want) {
			t.Errorf("another secret, %v", err)
		}
		if _, err := s.OpenExternalInit(key, enc[1:]); err != mls.ErrAuth {
			t.Errorf("cut KEM output: %v", err)
		}
		if _, _, err := s.ExternalInit(nil); !errors.Is(err, hpkeKeyRule) {
			t.Errorf("no key: %v", err)
		}
	})
}

var (
	hpkeKeyRule      = &mls.RuleError{Section: "5.1.1", Rule: "hpke-public-key"}
	signatureKeyRule = &mls.RuleError{Section: "5.1.1", Rule: "signature-public-key"}
)

// pureMLKEM reports whether the suite's KEM is ML-KEM without a curve.
func pureMLKEM(s *mls.Suite) bool {
	return strings.Contains(s.String(), "_MLKEM768_") || strings.Contains(s.String(), "_MLKEM1024_")
}

func TestPublicKeysThatAreNone(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		key, err := s.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		good := key.Public()
		bad := make([]byte, len(good))
		if pureMLKEM(s) {
			bad = bytes.Repeat([]byte{0xff}, len(good)) // any coefficients below q are a key
		}
		for name, pub := range map[string]mls.HPKEPublicKey{
			"empty": {}, "short": good[1:], "long": append(slices.Clone(good), 0), "no key": bad,
		} {
			if err := s.ValidatePublicKey(pub); !errors.Is(err, hpkeKeyRule) || !errors.Is(err, mls.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := s.EncryptWithLabel(pub, "label", nil, nil); !errors.Is(err, hpkeKeyRule) {
				t.Errorf("%s: encrypted, %v", name, err)
			}
		}
		signer, err := s.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		goodSig := signer.Public()
		for name, pub := range map[string]mls.SignaturePublicKey{
			"empty": {}, "short": goodSig[1:], "long": append(slices.Clone(goodSig), 0),
		} {
			if err := s.ValidateSignatureKey(pub); !errors.Is(err, signatureKeyRule) {
				t.Errorf("%s: %v", name, err)
			}
			if err := s.VerifyWithLabel(pub, "label", nil, nil); err != mls.ErrAuth {
				t.Errorf("%s: verified, %v", name, err)
			}
		}
	})
}

func TestSignWithLabelBinds(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		signer, err := s.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := s.NewSigner(signer.Secret())
		if err != nil || !bytes.Equal(parsed.Public(), signer.Public()) || !parsed.Secret().Equal(signer.Secret()) {
			t.Fatalf("parsed differently, %v", err)
		}
		sig, err := s.SignWithLabel(parsed, "label", []byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		pub := signer.Public()
		if err := s.VerifyWithLabel(pub, "label", []byte("content"), sig); err != nil {
			t.Error(err)
		}
		other, _ := s.GenerateSigner()
		bent := slices.Clone(sig)
		bent[len(bent)/2] ^= 1
		for name, err := range map[string]error{
			"label":     s.VerifyWithLabel(pub, "lable", []byte("content"), sig),
			"content":   s.VerifyWithLabel(pub, "label", []byte("contents"), sig),
			"key":       s.VerifyWithLabel(other.Public(), "label", []byte("content"), sig),
			"signature": s.VerifyWithLabel(pub, "label", []byte("content"), bent),
			"nothing":   s.VerifyWithLabel(pub, "label", []byte("content"), nil),
			"more":      s.VerifyWithLabel(pub, "label", []byte("content"), append(sig, 0)),
		} {
			if err != mls.ErrAuth {
				t.Errorf("another %s: %v", name, err)
			}
		}
	})
}

func TestPrivateKeyForms(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		signer, _ := s.GenerateSigner()
		seed, pub := signer.Secret().UnsafeBytes(), signer.Public()
		both, err := s.NewSigner(mls.NewSecret(slices.Concat(seed, pub)))
		if name := s.String(); strings.HasSuffix(name, "_Ed25519") || strings.HasSuffix(name, "_Ed448") {
			if err != nil || !bytes.Equal(both.Public(), pub) || !both.Secret().Equal(signer.Secret()) {
				t.Errorf("seed and public key: %v", err)
			}
			pub[0] ^= 1
			_, err = s.NewSigner(mls.NewSecret(slices.Concat(seed, pub)))
		}
		if !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("not a private key: %v", err)
		}
		for _, raw := range []mls.Secret{{}, mls.ZeroSecret(0), mls.ZeroSecret(200)} {
			if k, err := s.NewSigner(raw); k != nil || !errors.Is(err, mls.ErrMalformed) {
				t.Errorf("signer from %d bytes: %v", raw.Len(), err)
			}
			if k, err := s.NewPrivateKey(raw); k != nil || !errors.Is(err, mls.ErrMalformed) {
				t.Errorf("key from %d bytes: %v", raw.Len(), err)
			}
		}
	})
}

func TestResultsAreTheCallersOwn(t *testing.T) {
	s := mls.Suites()[0]
	key, _ := s.GenerateKeyPair()
	key.Public()[0] ^= 1
	key.Secret().Destroy()
	signer, _ := s.GenerateSigner()
	signer.Public()[0] ^= 1
	signer.Secret().Destroy()
	raw := key.Secret()
	parsed, _ := s.NewPrivateKey(raw)
	raw.Destroy()
	ct, err := s.EncryptWithLabel(key.Public(), "l", nil, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*mls.HPKEPrivateKey{key, parsed} {
		if _, err := s.DecryptWithLabel(k, "l", nil, ct); err != nil {
			t.Error(err)
		}
	}
	sig, _ := signer.Sign([]byte("m"))
	sig2, _ := signer.Sign([]byte("m"))
	if !bytes.Equal(sig, sig2) {
		t.Error("the signature key changed")
	}
}
