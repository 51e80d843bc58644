package mls

import (
	"bytes"
	"crypto/ecdh"
	stdhpke "crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/hpke"
	circlkem "github.com/cloudflare/circl/kem"

	"github.com/treekem/mls/internal/wire"
)

// peerSuite returns CIRCL's HPKE for the suite's code points, if it has it.
func peerSuite(s *Suite) (suite hpke.Suite, scheme circlkem.Scheme, ok bool) {
	m, ok := s.hpke.(*baseMode)
	if !ok || !hpke.KEM(m.kemID()).IsValid() {
		return hpke.Suite{}, nil, false
	}
	id := hpke.KEM(m.kemID())
	return hpke.NewSuite(id, hpke.KDF(m.labeler.hash), hpke.AEAD(m.aead)), id.Scheme(), true
}

// info of every length class: none, that of the vectors, and beyond the buffer
// on the stack.
var infos = [][]byte{nil, []byte("info"), bytes.Repeat([]byte{7}, stackInput+1), bytes.Repeat([]byte{8}, 20<<10)}

func TestBaseModeAgreesWithCIRCL(t *testing.T) {
	compared := 0
	for _, s := range Suites() {
		suite, scheme, ok := peerSuite(s)
		if !ok {
			continue // TestAgreesWithStandardHPKE has these
		}
		compared++
		for _, info := range infos {
			t.Run(fmt.Sprintf("%v/%d", s, len(info)), func(t *testing.T) {
				sealForCIRCL(t, s, suite, scheme, info)
				openFromCIRCL(t, s, suite, info)
			})
		}
	}
	if want := 7 + 3; compared != want { // RFC 9420's, and those with X-Wing
		t.Errorf("%d suites compared, not %d", compared, want)
	}
}

func sealForCIRCL(t *testing.T, s *Suite, suite hpke.Suite, scheme circlkem.Scheme, info []byte) {
	t.Helper()
	pub, priv, err := scheme.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	rawPub, err := pub.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	enc, ct, err := s.hpke.seal(rawPub, s.hpke.prepare(info[:len(info)/2], info[len(info)/2:]), []byte("plaintext"))
	if err != nil {
		t.Fatal(err)
	}
	receiver, _ := suite.NewReceiver(priv, info)
	opener, err := receiver.Setup(enc)
	if err != nil {
		t.Fatal(err)
	}
	if pt, err := opener.Open(ct, nil); err != nil || string(pt) != "plaintext" {
		t.Errorf("CIRCL opens %q, %v", pt, err)
	}
	enc, secret, err := s.hpke.sendExport(rawPub, "context", 80)
	if err != nil {
		t.Fatal(err)
	}
	receiver, _ = suite.NewReceiver(priv, nil)
	opener, err = receiver.Setup(enc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(opener.Export([]byte("context"), 80), secret.UnsafeBytes()) {
		t.Error("CIRCL exports something else")
	}
}

func openFromCIRCL(t *testing.T, s *Suite, suite hpke.Suite, info []byte) {
	t.Helper()
	k, err := s.hpke.generateKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := peerScheme(suite).UnmarshalBinaryPublicKey(k.pub)
	if err != nil {
		t.Fatal(err)
	}
	sender, _ := suite.NewSender(pub, info)
	enc, sealer, err := sender.Setup(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ct, err := sealer.Seal([]byte("plaintext"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if pt, err := s.hpke.open(k, info[:len(info)/2], info[len(info)/2:], enc, ct); err != nil || string(pt) != "plaintext" {
		t.Errorf("opens %q of CIRCL's, %v", pt, err)
	}
	if _, err := s.hpke.open(k, []byte{1}, info, enc, ct); err == nil {
		t.Error("opens with another info")
	}
	sender, _ = suite.NewSender(pub, nil)
	enc, sealer, err = sender.Setup(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.hpke.receiveExport(k, enc, "context", 80)
	if err != nil || !bytes.Equal(sealer.Export([]byte("context"), 80), secret.UnsafeBytes()) {
		t.Errorf("exports something else than CIRCL, %v", err)
	}
}

func peerScheme(suite hpke.Suite) circlkem.Scheme {
	id, _, _ := suite.Params()
	return id.Scheme()
}

// TestDeriveKeyPairAgrees compares with the standard library, which takes any
// length, for Nh bytes (RFC 9420, Section 7.4), and with CIRCL for the one
// length it takes, which is Nh for some suites only. Neither has X448 at Nh
// bytes; the known answers of treekem.json do.
func TestDeriveKeyPairAgrees(t *testing.T) {
	curves := map[dhGroup]ecdh.Curve{
		groupX25519: ecdh.X25519(), groupP256: ecdh.P256(), groupP384: ecdh.P384(), groupP521: ecdh.P521(),
	}
	compared := 0
	for _, s := range Suites() {
		m, ok := s.hpke.(*baseMode)
		if !ok {
			continue
		}
		dh, ok := m.kem.(*dhKEM)
		if !ok {
			continue // TestAgreesWithStandardHPKE has the others
		}
		group := dh.group
		_, scheme, _ := peerSuite(s)
		for range 8 {
			seed := RandomSecret(scheme.SeedSize())
			pub, _ := scheme.DeriveKeyPair(seed.UnsafeBytes())
			want, err := pub.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if k, err := s.DeriveKeyPair(seed); err != nil || !bytes.Equal(k.Public(), want) {
				t.Errorf("%v: differs from CIRCL, %v", s, err)
			}
			curve, ok := curves[group]
			if !ok {
				continue
			}
			compared++
			ikm := RandomSecret(s.HashSize())
			priv, err := stdhpke.DHKEM(curve).DeriveKeyPair(ikm.UnsafeBytes())
			if err != nil {
				t.Fatal(err)
			}
			k, err := s.DeriveKeyPair(ikm)
			if err != nil || !bytes.Equal(k.Public(), priv.PublicKey().Bytes()) {
				t.Errorf("%v: differs from crypto/hpke, %v", s, err)
			}
			raw, err := priv.Bytes()
			if err != nil || !k.Secret().Equal(NewSecret(raw)) {
				t.Errorf("%v: serialized differently from crypto/hpke, %v", s, err)
			}
		}
	}
	if compared == 0 {
		t.Error("nothing compared")
	}
}

func TestCandidateIsMaskedAndRetried(t *testing.T) {
	// P-256's order is a little below 2^256, so a rejected candidate cannot be
	// found by trying; P-521's mask is what keeps nearly all of them valid.
	for range 50 {
		k, err := kemP521.deriveKey(RandomSecret(64).UnsafeBytes())
		if err != nil || k.raw[0] > 1 {
			t.Fatalf("private key %v", err)
		}
	}
}

func TestPrivateKeyOfAnotherKEM(t *testing.T) {
	for _, a := range Suites() {
		k, err := a.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range Suites() {
			ct, err := b.EncryptWithLabel(mustKey(t, b).Public(), "l", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.DecryptWithLabel(k, "l", nil, ct); err != ErrAuth {
				t.Errorf("%v with a key of %v: %v", b, a, err)
			}
		}
	}
}

func mustKey(t testing.TB, s *Suite) *HPKEPrivateKey {
	t.Helper()
	k, err := s.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestLowOrderPoints holds the list of refused points against what an exchange
// makes of them: nothing else is refused, and each of them is.
func TestLowOrderPoints(t *testing.T) {
	for _, kem := range []*dhKEM{kemX25519, kemX448} {
		m := kem.group.(*montgomery)
		k := kem.mustGenerate(t)
		for _, p := range m.lowOrder {
			for _, top := range []byte{0, ^m.mask} {
				pub := bytes.Clone(p)
				pub[m.size-1] |= top
				if kem.checkPublic(pub) == nil {
					t.Errorf("%#x: accepted %x", kem.id, pub)
				}
				if _, err := kem.group.exchange(k, pub); err == nil {
					t.Errorf("%#x: exchange with %x", kem.id, pub)
				}
				if _, _, err := kem.encap(pub); err == nil {
					t.Errorf("%#x: encapsulation to %x", kem.id, pub)
				}
				pub[1] ^= 1
				if kem.checkPublic(pub) != nil {
					t.Errorf("%#x: refused %x", kem.id, pub)
				}
				if _, err := kem.group.exchange(k, pub); err != nil {
					t.Errorf("%#x: no exchange with %x", kem.id, pub)
				}
			}
		}
	}
}

func TestPrivateKeysAreLeftPadded(t *testing.T) {
	for _, g := range []*weierstrass{groupP256, groupP384, groupP521} {
		short := []byte{1, 2, 3}
		a, err := g.parse(short)
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.parse(append(make([]byte, g.size-3), short...))
		if err != nil || !bytes.Equal(a.pub, b.pub) || !bytes.Equal(a.raw, b.raw) || len(a.raw) != g.size {
			t.Errorf("a padded key differs, %v", err)
		}
		for _, bad := range [][]byte{nil, {}, {0}, make([]byte, g.size), make([]byte, g.size+1), bytes.Repeat([]byte{0xff}, g.size)} {
			if _, err := g.parse(bad); err == nil {
				t.Errorf("accepted %x", bad)
			}
		}
	}
}

// TestInfoHash: a long info is hashed as a short one is, whatever its two parts.
func TestInfoHash(t *testing.T) {
	for _, s := range []CipherSuite{X25519_AES128GCM_SHA256_Ed25519, P384_AES256GCM_SHA384_P384, X448_AES256GCM_SHA512_Ed448} {
		m := mustSuite(t, s).hpke.(*baseMode)
		for _, n := range []int{0, 16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000} {
			head, content := []byte("head"), bytes.Repeat([]byte{9}, n)
			want := m.extract(nil, nil, "info_hash", append(head, content...), nil)
			if !bytes.Equal(m.infoHash(nil, head, content), want) {
				t.Errorf("%v: the hash of an info of %d bytes differs", s, n)
			}
		}
	}
}

// TestTooLongContexts: a context that no vector holds is an error, not a panic.
func TestTooLongContexts(t *testing.T) {
	s := mustSuite(t, X25519_AES128GCM_SHA256_Ed25519)
	k, context := mustKey(t, s), make([]byte, wire.MaxVector+1) // which nobody reads
	if _, err := s.EncryptWithLabel(k.Public(), "label", context, nil); err == nil {
		t.Error("encrypted")
	}
	if _, err := s.DecryptWithLabel(k, "label", context, HPKECiphertext{}); !errors.Is(err, ErrAuth) {
		t.Errorf("decrypting: %v", err)
	}
}
