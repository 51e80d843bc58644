package mls

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/treekem/mls/internal/testkit"
)

// latticeTest is a test of ML-KEM or of ML-DSA, with what its group says.
type latticeTest struct {
	ID       int         `json:"tcId"`
	Comment  string      `json:"comment"`
	Flags    []string    `json:"flags"`
	Result   string      `json:"result"`
	Seed     testkit.Hex `json:"seed"`
	EK       testkit.Hex `json:"ek"`
	M        testkit.Hex `json:"m"`
	C        testkit.Hex `json:"c"`
	K        testkit.Hex `json:"K"`
	Msg      testkit.Hex `json:"msg"`
	Context  testkit.Hex `json:"ctx"`
	Sig      testkit.Hex `json:"sig"`
	public   testkit.Hex
	private  testkit.Hex
	internal bool // of a part of the algorithm, not of the whole
}

func (v *latticeTest) valid() bool { return v.Result == "valid" }

// latticeFile runs check over every test of a file, which returns whether it
// ran it. It returns how many it ran.
func latticeFile(t *testing.T, file string, check func(*latticeTest) (ran bool)) int {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		NumberOfTests int `json:"numberOfTests"`
		TestGroups    []struct {
			PublicKey   testkit.Hex   `json:"publicKey"`
			PrivateSeed testkit.Hex   `json:"privateSeed"`
			Tests       []latticeTest `json:"tests"`
		} `json:"testGroups"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	total, ran := 0, 0
	for _, g := range all.TestGroups {
		for _, v := range g.Tests {
			v.public, v.private, v.internal = g.PublicKey, g.PrivateSeed, slices.Contains(v.Flags, "Internal")
			total++
			if check(&v) {
				ran++
			}
		}
	}
	if total != all.NumberOfTests || ran == 0 {
		t.Errorf("%s: ran %d of %d tests, %d announced", file, ran, total, all.NumberOfTests)
	}
	t.Logf("%s: %d of %d tests ran", file, ran, total)
	return ran
}

func TestWycheproofMLKEM(t *testing.T) {
	for name, kem := range map[string]*latticeKEM{"mlkem_768": kemMLKEM768, "mlkem_1024": kemMLKEM1024} {
		latticeFile(t, name+"_test.json", func(v *latticeTest) bool {
			wycheproofDecapsulation(t, name, kem, v)
			return true
		})
		latticeFile(t, name+"_encaps_test.json", func(v *latticeTest) bool {
			wycheproofEncapsulation(t, name, kem, v)
			return true
		})
		latticeFile(t, name+"_keygen_seed_test.json", func(v *latticeTest) bool {
			k, err := kem.newKey(v.Seed)
			if ok := err == nil && bytes.Equal(k.pub, v.EK); ok != v.valid() {
				t.Errorf("%s key generation %d (%s): %v", name, v.ID, v.Comment, err)
			}
			return true
		})
	}
}

func wycheproofDecapsulation(t *testing.T, name string, kem *latticeKEM, v *latticeTest) {
	t.Helper()
	k, err := kem.newKey(v.Seed)
	var shared []byte
	if err == nil {
		shared, err = kem.decap(k, v.C)
	}
	ok := err == nil && bytes.Equal(k.pub, v.EK) && bytes.Equal(shared, v.K)
	if ok != v.valid() {
		t.Errorf("%s decapsulation %d (%s %v): valid %v, %v", name, v.ID, v.Comment, v.Flags, ok, err)
	}
}

// wycheproofEncapsulation checks that production code takes the keys that are
// some, and CIRCL's result for the given randomness.
func wycheproofEncapsulation(t *testing.T, name string, kem *latticeKEM, v *latticeTest) {
	t.Helper()
	valid := kem.checkPublic(v.EK) == nil
	_, _, err := kem.encap(v.EK)
	if valid != (err == nil) || valid != v.valid() {
		t.Errorf("%s encapsulation %d (%s %v): valid %v, %v", name, v.ID, v.Comment, v.Flags, valid, err)
	}
	if !valid {
		return
	}
	pub, err := kem.scheme.UnmarshalBinaryPublicKey(v.EK)
	if err != nil {
		t.Fatal(err)
	}
	ct, shared, err := kem.scheme.EncapsulateDeterministically(pub, v.M)
	if err != nil || !bytes.Equal(ct, v.C) || !bytes.Equal(shared, v.K) {
		t.Errorf("%s encapsulation %d: another result, %v", name, v.ID, err)
	}
}

func TestWycheproofMLDSA(t *testing.T) {
	for name, scheme := range map[string]signatureScheme{
		"mldsa_44": mldsa44Scheme, "mldsa_65": mldsa65Scheme, "mldsa_87": mldsa87Scheme,
	} {
		latticeFile(t, name+"_verify_test.json", func(v *latticeTest) bool {
			got := scheme.checkPublic(v.public) == nil && scheme.verify(v.public, v.Msg, v.Sig)
			want := v.valid() && len(v.Context) == 0 // MLS has the empty context only
			if got != want {
				t.Errorf("%s %d (%s %v): valid %v", name, v.ID, v.Comment, v.Flags, got)
			}
			return true
		})
		latticeFile(t, name+"_sign_seed_test.json", func(v *latticeTest) bool {
			if v.internal || len(v.Context) > 0 {
				return false // a hash signed in place of the message; another context
			}
			wycheproofSigning(t, name, scheme, v)
			return true
		})
	}
}

// wycheproofSigning checks the key pair of a seed, the given signature and one
// of our own, which is another because it is hedged.
func wycheproofSigning(t *testing.T, name string, scheme signatureScheme, v *latticeTest) {
	t.Helper()
	k, err := scheme.newKey(v.private)
	if (err == nil) != v.valid() {
		t.Errorf("%s signing %d (%s): %v", name, v.ID, v.Comment, err)
	}
	if err != nil {
		return
	}
	if !bytes.Equal(k.pub, v.public) || !scheme.verify(k.pub, v.Msg, v.Sig) {
		t.Errorf("%s signing %d (%s): another key pair", name, v.ID, v.Comment)
	}
	sig, err := k.sign(v.Msg)
	if err != nil || len(sig) != len(v.Sig) || !scheme.verify(v.public, v.Msg, sig) {
		t.Errorf("%s signing %d (%s): our signature doesn't verify, %v", name, v.ID, v.Comment, err)
	}
}
