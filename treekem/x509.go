package treekem

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"strings"
	"time"

	"github.com/treekem/mls"
)

// parseChain parses every certificate of an x509 credential.
func parseChain(c Credential) ([]*x509.Certificate, error) {
	if len(c.Certificates) == 0 {
		// RFC 9420, Section 5.3: the first entry is the end entity's.
		return nil, mls.Invalid("5.3", "x509-empty-chain", "x509 credential without a certificate")
	}
	chain := make([]*x509.Certificate, len(c.Certificates))
	for i, der := range c.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			// RFC 9420, Section 5.3: each entry is a DER-encoded certificate.
			// The parser's own text may quote the certificate, so it is left out.
			return nil, mls.Invalid("5.3", "x509-certificate", "certificate %d of an x509 credential does not parse", i)
		}
		chain[i] = cert
	}
	return chain, nil
}

// publicKeyInfo is the SubjectPublicKeyInfo of RFC 5280, Section 4.1. For all
// signature schemes of MLS its bit string is the very encoding that RFC 9420,
// Section 5.1.1 gives public keys.
type publicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	PublicKey asn1.BitString
}

// checkCertifiedKey checks that a certificate is for a signature key of a
// suite.
func checkCertifiedKey(cert *x509.Certificate, s *mls.Suite, key mls.SignaturePublicKey) error {
	var spki publicKeyInfo
	rest, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &spki)
	if err != nil || len(rest) != 0 || !bytes.Equal(spki.PublicKey.RightAlign(), key) {
		// RFC 9420, Section 5.3: the public keys MUST be identical.
		return mls.Invalid("5.3", "x509-signature-key", "the end entity certificate is not for the leaf's signature key")
	}
	if !schemeOf(s).matches(spki.Algorithm) {
		// RFC 9420, Section 5.1.2: the signature algorithm MUST be the suite's.
		return mls.Invalid("5.1.2", "x509-algorithm", "the end entity certificate is for another signature algorithm")
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return mls.Invalid("5.3", "x509-key-usage", "the end entity certificate's key usage lacks digitalSignature")
	}
	return nil
}

// A signatureScheme is how X.509 names the signature algorithm of a suite. An
// empty one matches everything: the key's bytes decide alone.
type signatureScheme struct {
	algorithm, curve asn1.ObjectIdentifier
}

var oidPublicEC = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

// signatureSchemes is by the last part of a suite's name, which is that of its
// signature scheme; code points of drafts are not fixed.
var signatureSchemes = map[string]signatureScheme{
	"Ed25519": {algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}},
	"Ed448":   {algorithm: asn1.ObjectIdentifier{1, 3, 101, 113}},
	"P256":    {algorithm: oidPublicEC, curve: asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}},
	"P384":    {algorithm: oidPublicEC, curve: asn1.ObjectIdentifier{1, 3, 132, 0, 34}},
	"P521":    {algorithm: oidPublicEC, curve: asn1.ObjectIdentifier{1, 3, 132, 0, 35}},
	"MLDSA44": {algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}},
	"MLDSA65": {algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}},
	"MLDSA87": {algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}},
}

func schemeOf(s *mls.Suite) signatureScheme {
	name := s.String()
	return signatureSchemes[name[strings.LastIndexByte(name, '_')+1:]]
}

func (s signatureScheme) matches(id pkix.AlgorithmIdentifier) bool {
	if s.algorithm == nil {
		return true
	}
	if !id.Algorithm.Equal(s.algorithm) {
		return false
	}
	if s.curve == nil {
		return true
	}
	var curve asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(id.Parameters.FullBytes, &curve)
	return err == nil && len(rest) == 0 && curve.Equal(s.curve)
}

// VerifyX509Chain verifies the chain of an x509 credential up to one of the
// roots at the time now, and returns the end entity's certificate, whose names
// the application still has to compare with those it expects. That the
// certificate is for the leaf's signature key is checked by [LeafNode.Check].
//
// The other certificates of the chain are used as intermediates: constraints on
// being an authority, on path length and on names are the standard library's.
// Go cannot verify signatures made by an authority's Ed448 key.
func VerifyX509Chain(cred Credential, roots *x509.CertPool, now time.Time) (leaf *x509.Certificate, err error) {
	if cred.Type != mls.CredentialX509 {
		return nil, unknownCredential(cred.Type)
	}
	if roots == nil {
		// A nil pool would stand for the system's roots, which vouch for
		// names of web servers.
		return nil, errors.New("treekem: VerifyX509Chain without roots")
	}
	chain, err := parseChain(cred)
	if err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, mls.Invalid("5.3.1", "x509-chain", "the certificate chain does not verify: %v", err)
	}
	return chain[0], nil
}
