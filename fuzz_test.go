package mls_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

func FuzzExtensions(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{11, 0xf0, 0x0d, 2, 1, 2, 0, 1, 0, 0x0a, 0x0a, 0})
	f.Add([]byte{8, 0, 1, 1, 'a', 0, 1, 1, 'b'})
	f.Fuzz(func(t *testing.T, p []byte) {
		r := wire.NewReader(p)
		exts := mls.DecodeExtensions(r)
		if r.Err() != nil {
			return
		}
		var b wire.Builder
		mls.EncodeExtensions(&b, exts)
		if got, err := b.Bytes(); err != nil || !bytes.Equal(got, r.Since(0)) {
			t.Fatalf("%x is written as %x, %v", r.Since(0), got, err)
		}
	})
}

// FuzzKeys hands every operation of every suite bytes from outside: keys,
// ciphertexts and signatures.
func FuzzKeys(f *testing.F) {
	for i, s := range mls.Suites() {
		k, err := s.GenerateKeyPair()
		if err != nil {
			f.Fatal(err)
		}
		g, err := s.GenerateSigner()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), []byte(k.Public()))
		f.Add(uint8(i), []byte(g.Public()))
		f.Add(uint8(i), k.Secret().UnsafeBytes())
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		s := mls.Suites()[int(which)%len(mls.Suites())]
		valid := s.ValidatePublicKey(p) == nil
		ct, err := s.EncryptWithLabel(p, "label", nil, nil)
		if valid != (err == nil) || err != nil && !errors.Is(err, mls.ErrInvalid) {
			t.Fatalf("valid %v, encryption %v", valid, err)
		}
		if s.ValidateSignatureKey(p) != nil && s.VerifyWithLabel(p, "label", nil, p) == nil {
			t.Fatal("a signature is valid under no key")
		}
		key, err := s.NewPrivateKey(mls.NewSecret(bytes.Clone(p)))
		if err != nil {
			if !errors.Is(err, mls.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if _, err := s.DecryptWithLabel(key, "label", nil, ct); err == nil && !bytes.Equal(key.Public(), p) {
			t.Fatal("decrypted with another key")
		}
		if _, err := s.DecryptWithLabel(key, "label", nil, mls.HPKECiphertext{KEMOutput: p, Ciphertext: p}); err != mls.ErrAuth {
			t.Fatalf("decrypted rubbish: %v", err)
		}
		if ct, err = s.EncryptWithLabel(key.Public(), "label", p, p); err != nil {
			t.Fatal(err)
		}
		if got, err := s.DecryptWithLabel(key, "label", p, ct); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("not decrypted: %v", err)
		}
	})
}
