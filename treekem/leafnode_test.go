package treekem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// TestLeafNodeRules signs leaf nodes that break one rule each.
func TestLeafNodeRules(t *testing.T) {
	s := suite1(t)
	for _, c := range []struct {
		name          string
		section, rule string
		edit          func(*LeafNode)
	}{
		{"encryption key", "5.1.1", "hpke-public-key", func(l *LeafNode) { l.EncryptionKey = l.EncryptionKey[1:] }},
		{"signature key", "5.1.1", "signature-public-key", func(l *LeafNode) { l.SignatureKey = l.SignatureKey[1:] }},
		{"default extension listed", "7.2", "default-capability", func(l *LeafNode) {
			l.Capabilities.Extensions = append(l.Capabilities.Extensions, mls.ExtensionApplicationID)
		}},
		{"default proposal listed", "7.2", "default-capability", func(l *LeafNode) {
			l.Capabilities.Proposals = append(l.Capabilities.Proposals, mls.ProposalGroupContextExtensions)
		}},
		{"own credential type", "7.2", "credential-type", func(l *LeafNode) {
			l.Capabilities.Credentials = []mls.CredentialType{mls.CredentialX509}
		}},
		{"own extension", "7.3", "extension-capability", func(l *LeafNode) {
			l.Extensions = []mls.Extension{{Type: 0xf001}}
		}},
		{"lifetime not begun", "7.3", "lifetime", func(l *LeafNode) { l.Lifetime.NotBefore = uint64(testNow.Unix()) + 1 }},
		{"lifetime over", "7.3", "lifetime", func(l *LeafNode) { l.Lifetime.NotAfter = uint64(testNow.Unix()) - 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			kp, private := newKeyPackage(t, s, "A")
			l := &kp.LeafNode
			c.edit(l)
			if err := l.Sign(s, private.Signer, nil, 0); err != nil {
				t.Fatal(err)
			}
			wantRule(t, l.Check(s, testNow, false), c.section, c.rule)
			wantRule(t, kp.Verify(s, testNow, false), c.section, c.rule)
			if c.rule == "lifetime" {
				if err := l.Check(s, testNow, true); err != nil {
					t.Errorf("with expired leaves allowed: %v", err)
				}
			}
		})
	}
}

func TestLeafNodeAcceptsUnknownValues(t *testing.T) {
	s := suite1(t)
	kp, _ := newKeyPackage(t, s, "A", func(o *KeyPackageOptions) {
		caps := DefaultCapabilities()
		caps.Versions = append(caps.Versions, 0x7777)
		caps.CipherSuites = append(caps.CipherSuites, 0xf0f0)
		caps.Extensions = append(caps.Extensions, 0xff01, 0xff02)
		caps.Proposals = append(caps.Proposals, 0xff03)
		caps.Credentials = append(caps.Credentials, 0xff04)
		o.Capabilities = &caps
		o.LeafExtensions = []mls.Extension{{Type: 0xff02, Data: []byte{1}}, {Type: mls.ExtensionApplicationID, Data: []byte{0}}, {Type: 0xff01}}
		o.Extensions = []mls.Extension{{Type: 0xff01, Data: []byte("x")}}
	})
	p := must[[]byte](t)(kp.Bytes())
	back := must[*KeyPackage](t)(ParseKeyPackage(p))
	if !reflect.DeepEqual(back, kp) {
		t.Errorf("parsed %+v\nwant %+v", back, kp)
	}
	if err := back.Verify(s, testNow, false); err != nil {
		t.Error(err)
	}
}

func TestLifetimeLimits(t *testing.T) {
	l := Lifetime{NotBefore: 100, NotAfter: 200}
	for _, c := range []struct {
		at   int64
		want bool
	}{{99, false}, {100, true}, {200, true}, {201, false}, {-1, false}} {
		if got := l.Contains(time.Unix(c.at, 0)); got != c.want {
			t.Errorf("Contains(%d) = %v", c.at, got)
		}
	}
	if !(Lifetime{0, math.MaxUint64}).Contains(testNow) {
		t.Error("the longest lifetime does not contain now")
	}
	for _, c := range []struct {
		l    Lifetime
		want time.Duration
	}{
		{Lifetime{100, 200}, 100 * time.Second},
		{Lifetime{200, 100}, 0},
		{Lifetime{0, math.MaxUint64}, math.MaxInt64},
		{Lifetime{0, uint64(math.MaxInt64 / time.Second)}, math.MaxInt64},
		{Lifetime{1, uint64(math.MaxInt64 / time.Second)}, (math.MaxInt64/time.Second - 1) * time.Second},
	} {
		if got := c.l.Duration(); got != c.want {
			t.Errorf("%+v lasts %v, want %v", c.l, got, c.want)
		}
	}
	l = LifetimeFrom(testNow, time.Hour)
	if !l.Contains(testNow) || !l.Contains(testNow.Add(-time.Hour)) || l.Contains(testNow.Add(2*time.Hour)) || l.Duration() != 2*time.Hour {
		t.Errorf("lifetime from now: %+v", l)
	}
	if got := LifetimeFrom(time.Unix(0, 0), -time.Hour); got != (Lifetime{}) {
		t.Errorf("a lifetime before 1970: %+v", got)
	}
}

func TestKeyPackageRules(t *testing.T) {
	s := suite1(t)
	resign := func(t *testing.T, kp *KeyPackage, private *KeyPackagePrivate) {
		t.Helper()
		if err := kp.LeafNode.Sign(s, private.Signer, nil, 0); err != nil {
			t.Fatal(err)
		}
		if err := kp.Sign(s, private.Signer); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name          string
		section, rule string
		edit          func(*KeyPackage)
	}{
		{"version", "10.1", "version", func(k *KeyPackage) { k.Version = 2 }},
		{"cipher suite", "10.1", "cipher-suite", func(k *KeyPackage) { k.CipherSuite = mls.X25519_CHACHA20POLY1305_SHA256_Ed25519 }},
		{"source update", "7.3", "key-package-source", func(k *KeyPackage) { k.LeafNode.Source = SourceUpdate }},
		{"source commit", "7.3", "key-package-source", func(k *KeyPackage) { k.LeafNode.Source = SourceCommit }},
		{"version not listed", "11.1", "version-capability", func(k *KeyPackage) { k.LeafNode.Capabilities.Versions = []mls.ProtocolVersion{2} }},
		{"cipher suite not listed", "11.1", "cipher-suite-capability", func(k *KeyPackage) {
			k.LeafNode.Capabilities.CipherSuites = []mls.CipherSuite{mls.P256_AES128GCM_SHA256_P256}
		}},
		{"init key", "5.1.1", "hpke-public-key", func(k *KeyPackage) { k.InitKey = append(k.InitKey, 0) }},
		{"init key is leaf key", "10.1", "init-key", func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey }},
		{"extension not listed", "10", "extension-capability", func(k *KeyPackage) {
			k.Extensions = []mls.Extension{{Type: ExtensionLastResort}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kp, private := newKeyPackage(t, s, "A")
			c.edit(kp)
			resign(t, kp, private)
			err := wantRule(t, kp.Verify(s, testNow, false), c.section, c.rule)
			if err.Culprit == nil || err.Culprit.Identity != "A" {
				t.Errorf("culprit %v", err.Culprit)
			}
		})
	}

	kp, private := newKeyPackage(t, s, "A")
	kp.LeafNode.Signature[0] ^= 1
	if err := kp.Sign(s, private.Signer); err != nil {
		t.Fatal(err)
	}
	err := wantRule(t, kp.Verify(s, testNow, false), "7.3", "leaf-signature")
	if !errors.Is(err, mls.ErrAuth) {
		t.Errorf("%v does not wrap ErrAuth", err)
	}
	kp, _ = newKeyPackage(t, s, "A")
	kp.Signature = nil
	err = wantRule(t, kp.Verify(s, testNow, false), "10.1", "signature")
	if !errors.Is(err, mls.ErrAuth) {
		t.Errorf("%v does not wrap ErrAuth", err)
	}
}

// TestUnknownKeyPackageExtension: what we don't know in another's key package is
// ignored, listed or not (RFC 9420, Sections 10 and 13.4).
func TestUnknownKeyPackageExtension(t *testing.T) {
	s := suite1(t)
	kp, private := newKeyPackage(t, s, "A")
	kp.Extensions = []mls.Extension{{Type: 0x0a0a, Data: []byte("GREASE")}, {Type: 0xf0f0}}
	if err := kp.Sign(s, private.Signer); err != nil {
		t.Fatal(err)
	}
	if err := kp.Verify(s, testNow, false); err != nil {
		t.Error(err)
	}
}

func TestNewKeyPackage(t *testing.T) {
	for _, s := range mls.Suites() {
		kp, private := newKeyPackage(t, s, "A")
		if !bytes.Equal(private.InitKey.Public(), kp.InitKey) || !bytes.Equal(private.LeafKey.Public(), kp.LeafNode.EncryptionKey) {
			t.Errorf("%v: private keys are for other public keys", s)
		}
		p := must[[]byte](t)(kp.Bytes())
		if want := s.RefHash("MLS 1.0 KeyPackage Reference", p); !bytes.Equal(kp.Ref(s), want) {
			t.Errorf("%v: reference differs", s)
		}
		if kp.LastResort() {
			t.Errorf("%v: last resort by default", s)
		}
	}
	s := suite1(t)
	if _, _, err := NewKeyPackage(s, KeyPackageOptions{Credential: BasicCredential(nil)}); err == nil {
		t.Error("no signer is accepted")
	}
	_, _, err := NewKeyPackage(s, KeyPackageOptions{
		Credential: BasicCredential(nil), Signer: newSigner(t, s),
		Extensions: []mls.Extension{{Type: ExtensionLastResort}},
	})
	wantRule(t, err, "10", "extension-capability")
	_, _, err = NewKeyPackage(s, KeyPackageOptions{
		Credential: BasicCredential(nil), Signer: newSigner(t, s),
		Extensions: []mls.Extension{{Type: 0xf0f0}},
	})
	wantRule(t, err, "10", "extension-capability")
	if _, _, err := NewKeyPackage(s, KeyPackageOptions{Signer: newSigner(t, s)}); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("a credential of type 0: %v", err)
	}
	kp, _ := newKeyPackage(t, s, "A", func(o *KeyPackageOptions) {
		caps := DefaultCapabilities()
		caps.Extensions = append(caps.Extensions, ExtensionLastResort)
		o.Capabilities = &caps
		o.Extensions = []mls.Extension{{Type: ExtensionLastResort}}
	})
	if !kp.LastResort() {
		t.Error("last resort is not recognized")
	}
	kp.LeafNode.Credential.Type = 0
	if kp.Ref(s) != nil {
		t.Error("a reference of a key package without encoding")
	}
}

// TestLeafSignatureContext: a leaf from a key package is signed for no place,
// any other for one.
func TestLeafSignatureContext(t *testing.T) {
	s := suite1(t)
	signer := newSigner(t, s)
	key := must[*mls.HPKEPrivateKey](t)(s.GenerateKeyPair())
	for _, source := range []LeafNodeSource{SourceKeyPackage, SourceUpdate, SourceCommit} {
		l := &LeafNode{
			EncryptionKey: key.Public(), SignatureKey: signer.Public(), Source: source,
			Credential: BasicCredential([]byte("A")), Capabilities: DefaultCapabilities(),
		}
		if err := l.Sign(s, signer, []byte("group"), 7); err != nil {
			t.Fatal(err)
		}
		if err := l.VerifySignature(s, []byte("group"), 7); err != nil {
			t.Errorf("%v: %v", source, err)
		}
		anywhere := source == SourceKeyPackage
		for _, err := range []error{l.VerifySignature(s, []byte("other"), 7), l.VerifySignature(s, []byte("group"), 8)} {
			if anywhere && err != nil {
				t.Errorf("%v: %v", source, err)
			}
			if !anywhere {
				wantRule(t, err, "7.3", "leaf-signature")
			}
		}
		if !strings.Contains("key_package update commit", source.String()) {
			t.Errorf("source %d is called %v", source, source)
		}
	}
	l := &LeafNode{Source: 9, Credential: BasicCredential(nil)}
	if err := l.Sign(s, signer, nil, 0); err == nil || l.Source.String() != "unknown" {
		t.Errorf("a leaf of source 9 is signed: %v", err)
	}
	if err := l.VerifySignature(s, nil, 0); err == nil {
		t.Error("a leaf of source 9 is verified")
	}
}

func TestMalformedNodes(t *testing.T) {
	s := suite1(t)
	kp, _ := newKeyPackage(t, s, "A")
	raw := must[[]byte](t)(kp.LeafNode.Bytes())
	for n := range raw {
		if err := wire.Unmarshal(raw[:n], new(LeafNode)); !errors.Is(err, mls.ErrMalformed) && !errors.Is(err, mls.ErrUnsupported) {
			t.Fatalf("the first %d bytes of a leaf node: %v", n, err)
		}
	}
	if err := wire.Unmarshal(append(slices.Clone(raw), 0), new(LeafNode)); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("a trailing byte: %v", err)
	}
	edit := func(f func(l *LeafNode)) error {
		l := kp.LeafNode.Clone()
		f(l)
		return wire.Unmarshal(must[[]byte](t)(l.Bytes()), new(LeafNode))
	}
	if err := edit(func(l *LeafNode) { l.Extensions = []mls.Extension{{Type: 0xff01}, {Type: 0xff01}} }); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("two extensions of one type: %v", err)
	}
	source := bytes.Index(raw, binary.BigEndian.AppendUint64([]byte{byte(SourceKeyPackage)}, kp.LeafNode.Lifetime.NotBefore))
	bad := slices.Clone(raw)
	bad[source] = 4
	if err := wire.Unmarshal(bad, new(LeafNode)); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("leaf node source 4: %v", err)
	}

	var p ParentNode
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"truncated index", []byte{0, 0, 3, 0, 0, 0}, mls.ErrMalformed},
		{"out of order", []byte{0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 1}, &mls.RuleError{Section: "7.1", Rule: "unmerged-leaves-order"}},
		{"repeated", []byte{0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1}, &mls.RuleError{Section: "7.1", Rule: "unmerged-leaves-order"}},
		{"ascending", []byte{0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2}, nil},
	} {
		if err := wire.Unmarshal(c.in, &p); !errors.Is(err, c.want) {
			t.Errorf("unmerged leaves %s: %v", c.name, err)
		}
	}
	if len(p.UnmergedLeaves) != 2 || p.UnmergedLeaves[1] != 2 {
		t.Errorf("unmerged leaves %v", p.UnmergedLeaves)
	}
	var caps Capabilities
	if err := wire.Unmarshal([]byte{3, 0, 1, 0, 0, 0, 0, 0}, &caps); !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("a list of two-byte values of three bytes: %v", err)
	}
	var req RequiredCapabilities
	in := []byte{2, 0, 7, 0, 4, 0, 1, 0, 2}
	if err := wire.Unmarshal(in, &req); err != nil || len(req.Extensions) != 1 || len(req.Proposals) != 0 || len(req.Credentials) != 2 {
		t.Errorf("required capabilities %+v: %v", req, err)
	}
	if out := must[[]byte](t)(wire.Marshal(&req)); !bytes.Equal(out, in) {
		t.Errorf("required capabilities re-encode as %x", out)
	}
}

func TestCredentials(t *testing.T) {
	long := strings.Repeat("ä", 50)
	for _, c := range []struct {
		c    Credential
		want string
	}{
		{BasicCredential([]byte("alice")), "alice"},
		{BasicCredential(nil), ""},
		{BasicCredential([]byte("a\nb")), "0x610a62"},
		{BasicCredential([]byte{0xff, 0xfe}), "0xfffe"},
		{BasicCredential([]byte(long)), long[:maxPrinted] + "…"},
		{BasicCredential([]byte("x" + long)), ("x" + long)[:maxPrinted-1] + "…"},
		{BasicCredential(bytes.Repeat([]byte{1}, 33)), "0x" + strings.Repeat("01", 32) + "…"},
		{X509Credential(nil), "unreadable certificate"},
		{Credential{Type: 77}, "credential type 77"},
	} {
		if got := c.c.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	a := X509Credential([][]byte{{1}, {2, 3}})
	raw := must[[]byte](t)(wire.Marshal(&a))
	if want := []byte{0, 2, 5, 1, 1, 2, 2, 3}; !bytes.Equal(raw, want) {
		t.Errorf("encoded as %x, want %x", raw, want)
	}
	var b Credential
	if err := wire.Unmarshal(raw, &b); err != nil || !a.Equal(b) || !b.Equal(a.Clone()) {
		t.Errorf("decoded as %+v: %v", b, err)
	}
	b.Certificates[1][0]++
	if a.Equal(b) || a.Equal(BasicCredential(nil)) {
		t.Error("different credentials are equal")
	}
	if err := wire.Unmarshal([]byte{0x0a, 0x0a, 0}, &b); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("unknown credential type: %v", err)
	}
	if _, err := wire.Marshal(&Credential{Type: 3}); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("unknown credential type: %v", err)
	}
}

func TestDefaultCapabilities(t *testing.T) {
	for range 100 {
		c := DefaultCapabilities()
		grease := 0
		for _, v := range c.CipherSuites {
			if mls.IsGREASE(uint16(v)) {
				grease++
			} else if _, err := mls.LookupSuite(v); err != nil {
				t.Errorf("suite %v is listed: %v", v, err)
			}
		}
		for _, v := range [][]uint16{codes(c.Extensions), codes(c.Proposals), codes(c.Credentials)} {
			if slices.ContainsFunc(v, mls.IsGREASE) {
				grease++
			}
		}
		if grease != 4 || slices.ContainsFunc(codes(c.Versions), mls.IsGREASE) {
			t.Errorf("GREASE in %d lists of %+v", grease, c)
		}
	}
}

func codes[T ~uint16](list []T) []uint16 {
	out := make([]uint16, len(list))
	for i, v := range list {
		out[i] = uint16(v)
	}
	return out
}
