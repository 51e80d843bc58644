package treekem

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/treekem/mls"
)

// A testCA issues certificates for signature keys of any suite.
type testCA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func certTemplate(name string, ca bool) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	return c
}

func newCA(t testing.TB, name string, parent *testCA) *testCA {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	tmpl := certTemplate(name, true)
	ca := &testCA{tmpl, key}
	if parent == nil {
		parent = ca
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, tmpl, parent.cert, key.Public(), parent.key))
	ca.cert = must[*x509.Certificate](t)(x509.ParseCertificate(der))
	return ca
}

// issue makes a certificate for a public key that need not be of a kind that
// package x509 knows: it is issued for another key, which is then exchanged.
func (ca *testCA) issue(t testing.TB, tmpl *x509.Certificate, spki publicKeyInfo) []byte {
	t.Helper()
	other, _, _ := ed25519.GenerateKey(rand.Reader)
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, tmpl, ca.cert, other, ca.key))
	var cert struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	unmarshal(t, der, &cert)
	var fields []asn1.RawValue
	unmarshal(t, cert.TBS.FullBytes, &fields)
	fields[6] = asn1.RawValue{FullBytes: must[[]byte](t)(asn1.Marshal(spki))}
	tbs := must[[]byte](t)(asn1.Marshal(fields))
	digest := crypto.SHA256.New()
	digest.Write(tbs)
	sig := must[[]byte](t)(ca.key.Sign(rand.Reader, digest.Sum(nil), crypto.SHA256))
	cert.TBS = asn1.RawValue{FullBytes: tbs}
	cert.Signature = asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}
	return must[[]byte](t)(asn1.Marshal(cert))
}

func unmarshal(t testing.TB, der []byte, v any) {
	t.Helper()
	if rest, err := asn1.Unmarshal(der, v); err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
}

// keyInfo is the SubjectPublicKeyInfo of a signature key of a suite.
func keyInfo(t testing.TB, s *mls.Suite, key mls.SignaturePublicKey) publicKeyInfo {
	t.Helper()
	scheme := schemeOf(s)
	info := publicKeyInfo{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: scheme.algorithm},
		PublicKey: asn1.BitString{Bytes: key, BitLength: 8 * len(key)},
	}
	if scheme.curve != nil {
		info.Algorithm.Parameters = asn1.RawValue{FullBytes: must[[]byte](t)(asn1.Marshal(scheme.curve))}
	}
	return info
}

func TestX509AllSuites(t *testing.T) {
	root := newCA(t, "root", nil)
	middle := newCA(t, "middle", root)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	for _, s := range mls.Suites() {
		if schemeOf(s).algorithm == nil {
			t.Errorf("%v: no X.509 name for its signature scheme", s)
			continue
		}
		signer := newSigner(t, s)
		der := middle.issue(t, certTemplate("alice", false), keyInfo(t, s, signer.Public()))
		cred := X509Credential([][]byte{der, middle.cert.Raw})
		kp, _, err := NewKeyPackage(s, KeyPackageOptions{Credential: cred, Signer: signer, Lifetime: LifetimeFrom(testNow, time.Hour)})
		if err != nil {
			t.Errorf("%v: %v", s, err)
			continue
		}
		if got := kp.LeafNode.Credential.String(); got != "CN=alice" {
			t.Errorf("%v: credential of %q", s, got)
		}
		leaf, err := VerifyX509Chain(cred, roots, testNow)
		if err != nil || leaf.Subject.CommonName != "alice" {
			t.Errorf("%v: %v, %v", s, leaf, err)
		}
	}
}

func TestX509Rules(t *testing.T) {
	s := suite1(t)
	root := newCA(t, "root", nil)
	signer := newSigner(t, s)
	info := keyInfo(t, s, signer.Public())
	good := root.issue(t, certTemplate("alice", false), info)
	noSignatures := certTemplate("alice", false)
	noSignatures.KeyUsage = x509.KeyUsageKeyEncipherment
	otherAlgorithm := info
	otherAlgorithm.Algorithm.Algorithm = signatureSchemes["Ed448"].algorithm
	for _, c := range []struct {
		name          string
		chain         [][]byte
		section, rule string
	}{
		{"no certificate", nil, "5.3", "x509-empty-chain"},
		{"no certificate but bytes", [][]byte{{1, 2, 3}}, "5.3", "x509-certificate"},
		{"unreadable authority", [][]byte{good, good[1:]}, "5.3", "x509-certificate"},
		{"another key", [][]byte{root.issue(t, certTemplate("alice", false), keyInfo(t, s, newSigner(t, s).Public()))}, "5.3", "x509-signature-key"},
		{"authority first", [][]byte{root.cert.Raw, good}, "5.3", "x509-signature-key"},
		{"another algorithm", [][]byte{root.issue(t, certTemplate("alice", false), otherAlgorithm)}, "5.1.2", "x509-algorithm"},
		{"key usage", [][]byte{root.issue(t, noSignatures, info)}, "5.3", "x509-key-usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := NewKeyPackage(s, KeyPackageOptions{Credential: X509Credential(c.chain), Signer: signer, Lifetime: LifetimeFrom(testNow, time.Hour)})
			wantRule(t, err, c.section, c.rule)
		})
	}

	// P-256 and P-384 share the algorithm identifier: the curve decides.
	p256, p384 := mustSuite(t, mls.P256_AES128GCM_SHA256_P256), mustSuite(t, mls.P384_AES256GCM_SHA384_P384)
	ec := newSigner(t, p256)
	otherCurve := keyInfo(t, p384, ec.Public())
	der := root.issue(t, certTemplate("alice", false), keyInfo(t, p256, ec.Public()))
	cert := must[*x509.Certificate](t)(x509.ParseCertificate(der))
	if err := checkCertifiedKey(cert, p256, ec.Public()); err != nil {
		t.Error(err)
	}
	cert.RawSubjectPublicKeyInfo = must[[]byte](t)(asn1.Marshal(otherCurve))
	wantRule(t, checkCertifiedKey(cert, p256, ec.Public()), "5.1.2", "x509-algorithm")
}

func TestVerifyX509Chain(t *testing.T) {
	s := suite1(t)
	root, stranger := newCA(t, "root", nil), newCA(t, "stranger", nil)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	info := keyInfo(t, s, newSigner(t, s).Public())
	tmpl := certTemplate("alice", false)
	good := root.issue(t, tmpl, info)

	// A member whose certificate is no authority's issues one all the same.
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	memberDER := must[[]byte](t)(x509.CreateCertificate(rand.Reader, certTemplate("mallory", false), root.cert, key.Public(), root.key))
	member := &testCA{must[*x509.Certificate](t)(x509.ParseCertificate(memberDER)), key}

	// An authority that may have none below it has one all the same.
	short := certTemplate("short", true)
	short.MaxPathLenZero = true
	shortKey := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	shortDER := must[[]byte](t)(x509.CreateCertificate(rand.Reader, short, root.cert, shortKey.Public(), root.key))
	shortCA := &testCA{must[*x509.Certificate](t)(x509.ParseCertificate(shortDER)), shortKey}
	below := newCA(t, "below", shortCA)

	for _, c := range []struct {
		name  string
		chain [][]byte
		now   time.Time
	}{
		{"expired", [][]byte{good}, testNow.Add(2 * time.Hour)},
		{"not yet valid", [][]byte{good}, testNow.Add(-2 * time.Hour)},
		{"unknown authority", [][]byte{stranger.issue(t, tmpl, info)}, testNow},
		{"authority missing", [][]byte{newCA(t, "middle", root).issue(t, tmpl, info)}, testNow},
		{"issued by a member", [][]byte{member.issue(t, tmpl, info), memberDER}, testNow},
		{"path length", [][]byte{below.issue(t, tmpl, info), below.cert.Raw, shortDER}, testNow},
	} {
		_, err := VerifyX509Chain(X509Credential(c.chain), roots, c.now)
		wantRule(t, err, "5.3.1", "x509-chain")
	}
	if _, err := VerifyX509Chain(X509Credential([][]byte{good}), roots, testNow); err != nil {
		t.Error(err)
	}
	if _, err := VerifyX509Chain(X509Credential([][]byte{good}), nil, testNow); err == nil {
		t.Error("no roots are accepted")
	}
	if _, err := VerifyX509Chain(BasicCredential(nil), roots, testNow); err == nil {
		t.Error("a basic credential is accepted")
	}
	_, err := VerifyX509Chain(X509Credential(nil), roots, testNow)
	wantRule(t, err, "5.3", "x509-empty-chain")
}
