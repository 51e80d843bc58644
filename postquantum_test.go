package mls

import (
	"bytes"
	stdhpke "crypto/hpke"
	"crypto/mlkem"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// postQuantum returns the suites of draft-ietf-mls-pq-ciphersuites.
func postQuantum(t testing.TB) []*Suite {
	t.Helper()
	var suites []*Suite
	for _, s := range Suites() {
		if s.ID() >= firstPrivateUse {
			suites = append(suites, s)
		}
	}
	if len(suites) != 11 {
		t.Fatalf("%d suites, not 11", len(suites))
	}
	return suites
}

// kemOf returns the suite's KEM, which no two suites of one KEM differ in.
func kemOf(t testing.TB, s *Suite) (id uint16, k interface{ checkPublic([]byte) error }) {
	t.Helper()
	switch m := s.hpke.(type) {
	case *baseMode:
		return m.kemID(), m.kem
	case *stdMode:
		return m.kem.ID(), m.stdKEM
	}
	t.Fatalf("%v: HPKE of type %T", s, s.hpke)
	return 0, nil
}

// The mapping of draft-ietf-mls-pq-ciphersuites-06, Section 3.1, in its order.
func TestDraftTable(t *testing.T) {
	for i, want := range []struct {
		kem, kdf, aead uint16
		hash           int
		signature      SignatureScheme
	}{
		{0x647a, 1, 1, 32, SignatureEd25519},
		{0x647a, 2, 2, 48, SignatureEd25519},
		{0x0050, 1, 1, 32, SignatureECDSAP256SHA256},
		{0x0050, 2, 2, 48, SignatureECDSAP256SHA256},
		{0x0051, 2, 2, 48, SignatureECDSAP384SHA384},
		{0x0041, 2, 2, 48, SignatureEd25519},
		{0x0041, 2, 2, 48, SignatureECDSAP256SHA256},
		{0x0042, 2, 2, 48, SignatureECDSAP384SHA384},
		{0x647a, 2, 3, 48, SignatureMLDSA44},
		{0x0041, 2, 2, 48, SignatureMLDSA65},
		{0x0042, 2, 2, 48, SignatureMLDSA87},
	} {
		s := postQuantum(t)[i]
		if s.ID() != MLKEM768X25519_AES128GCM_SHA256_Ed25519+CipherSuite(i) {
			t.Errorf("TBD%d has the code point %#04x", i+1, uint16(s.ID()))
		}
		kdf, aead := uint16(s.hash), uint16(s.aead)
		if m, ok := s.hpke.(*stdMode); ok {
			kdf, aead = m.kdf.ID(), m.aead.ID()
		}
		kem, _ := kemOf(t, s)
		if kem != want.kem || kdf != want.kdf || aead != want.aead || s.HashSize() != want.hash || s.SignatureScheme() != want.signature {
			t.Errorf("TBD%d: KEM %#04x, KDF %d, AEAD %d, hash of %d bytes", i+1, kem, kdf, aead, s.HashSize())
		}
	}
}

// TestAgreesWithStandardHPKE compares every suite with crypto/hpke, in both
// directions. For the two hybrids with a NIST curve that is the code under the
// production code; the other nine, and the seven of RFC 9420 but for X448, are
// independent.
func TestAgreesWithStandardHPKE(t *testing.T) {
	compared := 0
	for _, s := range Suites() {
		id, _ := kemOf(t, s)
		kem, err := stdhpke.NewKEM(id)
		if err != nil {
			continue
		}
		compared++
		kdf := must(stdhpke.NewKDF(uint16(s.hash)))
		aead := must(stdhpke.NewAEAD(uint16(s.aead)))
		for _, info := range infos {
			t.Run(fmt.Sprintf("%v/%d", s, len(info)), func(t *testing.T) {
				agreeWithStandard(t, s, kem, kdf, aead, info)
			})
		}
	}
	if want := 18 - 2; compared != want {
		t.Errorf("%d suites compared, not %d", compared, want)
	}
}

func agreeWithStandard(t *testing.T, s *Suite, kem stdhpke.KEM, kdf stdhpke.KDF, aead stdhpke.AEAD, info []byte) {
	t.Helper()
	ikm := RandomSecret(s.HashSize())
	k, err := s.hpke.deriveKey(ikm.UnsafeBytes())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := kem.DeriveKeyPair(ikm.UnsafeBytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.pub, peer.PublicKey().Bytes()) || !bytes.Equal(k.raw, must(peer.Bytes())) {
		t.Error("derives another key pair")
	}

	enc, ct, err := s.hpke.seal(k.pub, s.hpke.prepare(info[:len(info)/2], info[len(info)/2:]), []byte("plaintext"))
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := stdhpke.NewRecipient(enc, peer, kdf, aead, info)
	if err != nil {
		t.Fatal(err)
	}
	if pt, err := recipient.Open(nil, ct); err != nil || string(pt) != "plaintext" {
		t.Errorf("crypto/hpke opens %q, %v", pt, err)
	}

	enc, sender, err := stdhpke.NewSender(peer.PublicKey(), kdf, aead, info)
	if err != nil {
		t.Fatal(err)
	}
	if pt, err := s.hpke.open(k, info[:len(info)/2], info[len(info)/2:], enc, must(sender.Seal(nil, []byte("plaintext")))); err != nil || string(pt) != "plaintext" {
		t.Errorf("opens %q of crypto/hpke's, %v", pt, err)
	}

	enc, secret, err := s.hpke.sendExport(k.pub, "context", 80)
	if err != nil {
		t.Fatal(err)
	}
	recipient, err = stdhpke.NewRecipient(enc, peer, kdf, aead, nil)
	if err != nil || !bytes.Equal(must(recipient.Export("context", 80)), secret.UnsafeBytes()) {
		t.Errorf("crypto/hpke exports something else, %v", err)
	}
	again, err := s.hpke.receiveExport(k, enc, "context", 80)
	if err != nil || !again.Equal(secret) {
		t.Errorf("the receiver exports something else, %v", err)
	}
}

// TestEncapsulationKeyCheck holds the check of coefficients against that of
// the libraries, with every coefficient in turn at the last value below q, at q
// and at the greatest that twelve bits hold.
func TestEncapsulationKeyCheck(t *testing.T) {
	for _, s := range []*Suite{
		mustSuite(t, MLKEM768_AES256GCM_SHA384_P256), mustSuite(t, MLKEM1024_AES256GCM_SHA384_P384),
		mustSuite(t, MLKEM768X25519_AES256GCM_SHA384_Ed25519), mustSuite(t, MLKEM1024P384_AES256GCM_SHA384_P384),
	} {
		id, k := kemOf(t, s)
		good := mustKey(t, s).Public()
		rank := (len(good) - 32) / 384
		for i := 0; i < 256*rank; i += 1 + i/8 { // all kinds of places
			for value, valid := range map[int]bool{0: true, 3328: true, 3329: false, 4095: false} {
				pub := setCoefficient(good, i, value)
				if (k.checkPublic(pub) == nil) != valid {
					t.Errorf("%#04x: coefficient %d of %d: valid %v", id, i, value, !valid)
				}
				_, err := s.EncryptWithLabel(pub, "label", nil, nil)
				if (err == nil) != valid {
					t.Errorf("%#04x: coefficient %d of %d: encrypted, %v", id, i, value, err)
				}
				if rank != 3 || len(pub) != mlkem.EncapsulationKeySize768 {
					continue
				}
				if _, err := mlkem.NewEncapsulationKey768(pub); (err == nil) != valid {
					t.Errorf("%#04x: coefficient %d of %d: crypto/mlkem: %v", id, i, value, err)
				}
			}
		}
		last := setCoefficient(good, 256*rank-1, 3329)
		if err := s.ValidatePublicKey(last); !errors.Is(err, errLattice) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%#04x: the last coefficient: %v", id, err)
		}
	}
}

func setCoefficient(pub []byte, i, value int) []byte {
	pub = slices.Clone(pub)
	p := pub[i/2*3:]
	if i%2 == 0 {
		p[0], p[1] = byte(value), p[1]&0xf0|byte(value>>8)
	} else {
		p[1], p[2] = p[1]&0x0f|byte(value<<4), byte(value>>4)
	}
	return pub
}

// TestHybridsCheckTheirPoint: a point that no exchange accepts makes the whole
// key one to refuse, and the whole ciphertext.
func TestHybridsCheckTheirPoint(t *testing.T) {
	for _, c := range []struct {
		suite   CipherSuite
		key, ct int // sizes of ML-KEM's part
	}{
		{MLKEM768X25519_AES256GCM_SHA384_Ed25519, 1184, 1088},
		{MLKEM768P256_AES256GCM_SHA384_P256, 1184, 1088},
		{MLKEM1024P384_AES256GCM_SHA384_P384, 1568, 1568},
	} {
		s := mustSuite(t, c.suite)
		k := mustKey(t, s)
		pub := k.Public()
		clear(pub[c.key:])
		if err := s.ValidatePublicKey(pub); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", s, err)
		}
		if _, err := s.EncryptWithLabel(pub, "label", nil, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: encrypted, %v", s, err)
		}
		enc, _, err := s.ExternalInit(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		clear(enc[c.ct:])
		if _, err := s.OpenExternalInit(k, enc); err != ErrAuth {
			t.Errorf("%v: decapsulated, %v", s, err)
		}
	}
}

// TestImplicitRejection: a ciphertext that was changed gives another secret
// and no error (FIPS 203, Section 6.3), unless a length or a point is wrong.
func TestImplicitRejection(t *testing.T) {
	for _, s := range postQuantum(t) {
		k := mustKey(t, s)
		enc, secret, err := s.ExternalInit(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		enc[0] ^= 1
		got, err := s.OpenExternalInit(k, enc)
		if err != nil || got.Equal(secret) || got.Len() != secret.Len() {
			t.Errorf("%v: %d bytes, %v", s, got.Len(), err)
		}
		for _, bad := range [][]byte{nil, enc[:len(enc)-1], append(enc, 0)} {
			if _, err := s.OpenExternalInit(k, bad); err != ErrAuth {
				t.Errorf("%v: %d bytes of KEM output: %v", s, len(bad), err)
			}
		}
	}
}

// TestPrivateKeysAreSeeds: what is stored of a key is its seed.
func TestPrivateKeysAreSeeds(t *testing.T) {
	seeds := map[uint16]int{0x0041: 64, 0x0042: 64, 0x0050: 32, 0x0051: 32, 0x647a: 32}
	for _, s := range postQuantum(t) {
		id, _ := kemOf(t, s)
		raw := mustKey(t, s).Secret()
		if raw.Len() != seeds[id] {
			t.Errorf("%v: a private key of %d bytes", s, raw.Len())
		}
		for _, n := range []int{0, 31, 33, 63, 65, 2400, 3168} {
			if _, err := s.NewPrivateKey(ZeroSecret(n)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: private key of %d bytes: %v", s, n, err)
			}
		}
	}
	for _, s := range postQuantum(t)[8:] {
		signer, err := s.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		if signer.Secret().Len() != 32 {
			t.Errorf("%v: a signature key of %d bytes", s, signer.Secret().Len())
		}
		for _, n := range []int{0, 31, 33, mldsa65.PrivateKeySize} {
			if _, err := s.NewSigner(ZeroSecret(n)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: signature key of %d bytes: %v", s, n, err)
			}
		}
	}
}

// TestCloneOutlivesItsOriginal also where a parsed form is shared.
func TestCloneOutlivesItsOriginal(t *testing.T) {
	for _, s := range Suites() {
		k := mustKey(t, s)
		c := k.Clone()
		ct, err := s.EncryptWithLabel(k.Public(), "label", nil, []byte("plaintext"))
		if err != nil {
			t.Fatal(err)
		}
		raw := k.Secret()
		k.Destroy()
		if pt, err := s.DecryptWithLabel(c, "label", nil, ct); err != nil || string(pt) != "plaintext" {
			t.Errorf("%v: %v", s, err)
		}
		if !c.Secret().Equal(raw) {
			t.Errorf("%v: the clone's bytes are gone", s)
		}
	}
}

// TestMLDSASignatures: hedged, with the empty context, over the message as it is.
func TestMLDSASignatures(t *testing.T) {
	s := mustSuite(t, MLKEM768_AES256GCM_SHA384_MLDSA65)
	seed := RandomSecret(32)
	signer, err := s.NewSigner(seed)
	if err != nil {
		t.Fatal(err)
	}
	pk, sk := mldsa65.NewKeyFromSeed((*[32]byte)(seed.UnsafeBytes()))
	if !bytes.Equal(signer.Public(), pk.Bytes()) {
		t.Error("another public key")
	}
	message := []byte("message")
	a, errA := signer.Sign(message)
	b, errB := signer.Sign(message)
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Errorf("not hedged: %v, %v", errA, errB)
	}
	if !mldsa65.Verify(pk, message, nil, a) || mldsa65.Verify(pk, message, []byte("MLS"), a) {
		t.Error("not with the empty context")
	}
	foreign := make([]byte, mldsa65.SignatureSize)
	for context, valid := range map[string]bool{"": true, "MLS": false} {
		if err := mldsa65.SignTo(sk, message, []byte(context), false, foreign); err != nil {
			t.Fatal(err)
		}
		if s.signature.verify(signer.Public(), message, foreign) != valid {
			t.Errorf("a signature with the context %q: valid %v", context, !valid)
		}
	}
	signWith := signer.key().sign
	signer.Destroy()
	gone, err := signWith(message)
	if err == nil && mldsa65.Verify(pk, message, nil, gone) {
		t.Error("Destroy leaves the parsed key")
	}
}
