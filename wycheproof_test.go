package mls

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/treekem/mls/internal/testkit"
)

// wycheproofTest is a test of any of the files; which fields there are is up
// to the file.
type wycheproofTest struct {
	ID      int         `json:"tcId"`
	Comment string      `json:"comment"`
	Flags   []string    `json:"flags"`
	Result  string      `json:"result"`
	Public  testkit.Hex `json:"public"`
	Private testkit.Hex `json:"private"`
	Shared  testkit.Hex `json:"shared"`
	Msg     testkit.Hex `json:"msg"`
	Sig     testkit.Hex `json:"sig"`
	Key     testkit.Hex `json:"key"`
	IV      testkit.Hex `json:"iv"`
	AAD     testkit.Hex `json:"aad"`
	CT      testkit.Hex `json:"ct"`
	Tag     testkit.Hex `json:"tag"`
	IKM     testkit.Hex `json:"ikm"`
	Salt    testkit.Hex `json:"salt"`
	Info    testkit.Hex `json:"info"`
	OKM     testkit.Hex `json:"okm"`
	Size    int         `json:"size"`
}

type wycheproofGroup struct {
	IVSize    int `json:"ivSize"`
	KeySize   int `json:"keySize"`
	TagSize   int `json:"tagSize"`
	PublicKey struct {
		PK           testkit.Hex `json:"pk"`
		Uncompressed testkit.Hex `json:"uncompressed"`
	} `json:"publicKey"`
	Tests []wycheproofTest `json:"tests"`
}

// wycheproofFile runs check over every test of a file, which returns whether
// the production code accepts. An "acceptable" test is decided by its flags:
// accept names those under which it must pass, and all others must fail. The
// number of tests is pinned to that of the file, less those skipped.
func wycheproofFile(t *testing.T, file string, accept []string, check func(*testing.T, wycheproofGroup, wycheproofTest) (accepted, skipped bool)) {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		NumberOfTests int               `json:"numberOfTests"`
		TestGroups    []wycheproofGroup `json:"testGroups"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	skips := 0
	for _, g := range all.TestGroups {
		for _, v := range g.Tests {
			got, skipped := check(t, g, v)
			if skipped {
				skips++
				continue
			}
			counts[v.Result]++
			want := v.Result == "valid"
			if v.Result == "acceptable" {
				want = !slices.ContainsFunc(v.Flags, func(f string) bool { return !slices.Contains(accept, f) })
			}
			if got != want {
				t.Errorf("%s %d (%s, %s %v): accepted %v", file, v.ID, v.Comment, v.Result, v.Flags, got)
			}
		}
	}
	ran := counts["valid"] + counts["invalid"] + counts["acceptable"]
	if counts["valid"] == 0 || ran+skips != all.NumberOfTests {
		t.Errorf("%s: ran %d and skipped %d of %d tests", file, ran, skips, all.NumberOfTests)
	}
	t.Logf("%s: %d tests ran (%v), %d are for other parameters", file, ran, counts, skips)
}

func TestWycheproofDH(t *testing.T) {
	// An X25519 or X448 key on the twist or not in canonical form is one like
	// any other (RFC 7748, Section 5), and so is one of low order whose
	// result isn't zero; only an all-zero result is refused (RFC 9180,
	// Section 7.1.4: the flag ZeroSharedSecret). A compressed point is refused.
	accept := []string{
		"Twist", "SpecialPublicKey", "SmallPublicKey", "NonCanonicalPublic", "Ktv", "EdgeCaseShared",
		"EdgeCaseMultiplication", "LowOrderPublic",
	}
	for _, c := range []struct {
		file string
		kem  *dhKEM
	}{
		{"x25519_test.json", kemX25519},
		{"x448_test.json", kemX448},
		{"ecdh_secp256r1_ecpoint_test.json", kemP256},
		{"ecdh_secp384r1_ecpoint_test.json", kemP384},
		{"ecdh_secp521r1_ecpoint_test.json", kemP521},
	} {
		wycheproofFile(t, c.file, accept, func(t *testing.T, _ wycheproofGroup, v wycheproofTest) (bool, bool) {
			return wycheproofDH(t, c.kem, v), false
		})
	}
}

func wycheproofDH(t *testing.T, kem *dhKEM, v wycheproofTest) bool {
	raw := []byte(v.Private)
	if len(raw) != len(kem.mustGenerate(t).raw) {
		raw = bytes.TrimLeft(raw, "\x00") // a sign byte of the vectors' big integers
	}
	k, err := kem.newKey(raw)
	if err != nil {
		t.Errorf("%d: private key: %v", v.ID, err)
		return false
	}
	valid := kem.checkPublic(v.Public) == nil
	dh, err := kem.group.exchange(k, v.Public)
	if valid != (err == nil) {
		t.Errorf("%d: valid key %v, exchange %v", v.ID, valid, err)
	}
	// What is refused in the exchange is refused in a decapsulation too.
	if _, errDecap := kem.decap(k, v.Public); (err == nil) != (errDecap == nil) {
		t.Errorf("%d: exchange %v, decapsulation %v", v.ID, err, errDecap)
	}
	if err == nil && !bytes.Equal(dh, v.Shared) {
		t.Errorf("%d: the shared point differs", v.ID)
	}
	return err == nil
}

func (d *dhKEM) mustGenerate(t *testing.T) *hpkeKey {
	t.Helper()
	k, err := d.generateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWycheproofSignatures(t *testing.T) {
	for _, c := range []struct {
		file   string
		scheme signatureScheme
	}{
		{"ed25519_test.json", ed25519Scheme{}},
		{"ed448_test.json", ed448Scheme{}},
		{"ecdsa_secp256r1_sha256_test.json", ecdsaP256},
		{"ecdsa_secp384r1_sha384_test.json", ecdsaP384},
		{"ecdsa_secp521r1_sha512_test.json", ecdsaP521},
	} {
		wycheproofFile(t, c.file, nil, func(t *testing.T, g wycheproofGroup, v wycheproofTest) (bool, bool) {
			pub := g.PublicKey.PK
			if strings.HasPrefix(c.file, "ecdsa") {
				pub = g.PublicKey.Uncompressed
			}
			if err := c.scheme.checkPublic(pub); err != nil {
				t.Errorf("%s %d: public key: %v", c.file, v.ID, err)
			}
			return c.scheme.verify(pub, v.Msg, v.Sig), false
		})
	}
}

func TestWycheproofAEAD(t *testing.T) {
	for _, c := range []struct {
		file  string
		suite CipherSuite
	}{
		{"aes_gcm_test.json", X25519_AES128GCM_SHA256_Ed25519},
		{"aes_gcm_test.json", X448_AES256GCM_SHA512_Ed448},
		{"chacha20_poly1305_test.json", X25519_CHACHA20POLY1305_SHA256_Ed25519},
	} {
		s := mustSuite(t, c.suite)
		wycheproofFile(t, c.file, nil, func(t *testing.T, g wycheproofGroup, v wycheproofTest) (bool, bool) {
			key := copySecret(v.Key)
			sealed := slices.Concat([]byte(v.CT), []byte(v.Tag))
			plaintext, err := s.Open(key, v.IV, v.AAD, sealed)
			if g.KeySize != 8*s.KeySize() || g.IVSize != 8*s.NonceSize() || g.TagSize != 8*s.TagSize() {
				if err == nil {
					t.Errorf("%s %d: accepted sizes that aren't the suite's", c.file, v.ID)
				}
				return false, true
			}
			if err == nil && !bytes.Equal(plaintext, v.Msg) {
				t.Errorf("%s %d: the plaintext differs", c.file, v.ID)
			}
			if v.Result == "valid" {
				if got, err := s.Seal(nil, key, v.IV, v.AAD, v.Msg); err != nil || !bytes.Equal(got, sealed) {
					t.Errorf("%s %d: the ciphertext differs: %v", c.file, v.ID, err)
				}
			}
			return err == nil, false
		})
	}
}

func TestWycheproofHMAC(t *testing.T) {
	for file, id := range map[string]CipherSuite{
		"hmac_sha256_test.json": X25519_AES128GCM_SHA256_Ed25519,
		"hmac_sha384_test.json": P384_AES256GCM_SHA384_P384,
		"hmac_sha512_test.json": X448_AES256GCM_SHA512_Ed448,
	} {
		s := mustSuite(t, id)
		wycheproofFile(t, file, nil, func(t *testing.T, g wycheproofGroup, v wycheproofTest) (bool, bool) {
			key := copySecret(v.Key)
			if g.TagSize == 8*s.HashSize() {
				return s.VerifyMAC(key, v.Msg, v.Tag), false
			}
			// MLS has whole tags only: the same test of a cut one is run on the
			// prefix of the whole, and the cut one itself must fail.
			if s.VerifyMAC(key, v.Msg, v.Tag) {
				t.Errorf("%s %d: accepted a tag of %d bits", file, v.ID, g.TagSize)
			}
			return bytes.Equal(s.MAC(key, v.Msg)[:g.TagSize/8], v.Tag), false
		})
	}
}

func TestWycheproofHKDF(t *testing.T) {
	for file, h := range map[string]hashAlg{
		"hkdf_sha256_test.json": hashSHA256,
		"hkdf_sha384_test.json": hashSHA384,
		"hkdf_sha512_test.json": hashSHA512,
	} {
		wycheproofFile(t, file, nil, func(t *testing.T, _ wycheproofGroup, v wycheproofTest) (accepted, skipped bool) {
			if v.Size > 255*h.size() {
				defer func() { accepted = recover() == nil }()
			}
			out := make([]byte, v.Size)
			h.expand(out, h.extract(nil, v.Salt, v.IKM), v.Info, nil)
			return bytes.Equal(out, v.OKM), false
		})
	}
}

func mustSuite(t testing.TB, id CipherSuite) *Suite {
	t.Helper()
	s, err := LookupSuite(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
