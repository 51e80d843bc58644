package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"

	"github.com/cloudflare/circl/sign/ed448"
)

// signatureScheme is the signature scheme of a suite. The set is closed.
type signatureScheme interface {
	id() SignatureScheme
	// newKey parses a private key, which it copies.
	newKey(raw []byte) (*signatureKey, error)
	generateKey() (*signatureKey, error)
	checkPublic(pub []byte) error
	verify(pub, message, signature []byte) bool
}

// signatureKey is a parsed private key. It is immutable but for its
// destruction.
type signatureKey struct {
	raw      []byte
	pub      []byte
	expanded []byte // EdDSA: seed and public key
	wipe     func() // ML-DSA: overwrites the parsed key
	sign     func(message []byte) ([]byte, error)
}

// ed25519Scheme is Ed25519 (RFC 8032, Section 5.1).
type ed25519Scheme struct{}

func (ed25519Scheme) id() SignatureScheme { return SignatureEd25519 }

// newKey takes the 32-byte seed, or the 64 bytes of seed and public key that
// some stacks call the private key.
func (ed25519Scheme) newKey(raw []byte) (*signatureKey, error) {
	if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return nil, errKeySize
	}
	priv := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	pub := bytes.Clone(priv[ed25519.SeedSize:])
	if len(raw) == ed25519.PrivateKeySize && !bytes.Equal(raw[ed25519.SeedSize:], pub) {
		return nil, errKey
	}
	return &signatureKey{
		raw: priv.Seed(), pub: pub, expanded: priv,
		sign: func(message []byte) ([]byte, error) { return ed25519.Sign(priv, message), nil },
	}, nil
}

func (s ed25519Scheme) generateKey() (*signatureKey, error) {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:]) // never fails
	defer clear(seed[:])
	return s.newKey(seed[:])
}

func (ed25519Scheme) checkPublic(pub []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return errKeySize
	}
	return nil
}

func (ed25519Scheme) verify(pub, message, signature []byte) bool {
	return len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, message, signature)
}

// ed448Scheme is Ed448 (RFC 8032, Section 5.2) with the empty context.
type ed448Scheme struct{}

func (ed448Scheme) id() SignatureScheme { return SignatureEd448 }

// newKey takes the 57-byte seed, or the 114 bytes of seed and public key that
// some stacks call the private key.
func (ed448Scheme) newKey(raw []byte) (*signatureKey, error) {
	if len(raw) != ed448.SeedSize && len(raw) != ed448.PrivateKeySize {
		return nil, errKeySize
	}
	priv := ed448.NewKeyFromSeed(raw[:ed448.SeedSize])
	pub := bytes.Clone(priv[ed448.SeedSize:])
	if len(raw) == ed448.PrivateKeySize && !bytes.Equal(raw[ed448.SeedSize:], pub) {
		return nil, errKey
	}
	return &signatureKey{
		raw: priv.Seed(), pub: pub, expanded: priv,
		sign: func(message []byte) ([]byte, error) { return ed448.Sign(priv, message, ""), nil },
	}, nil
}

func (s ed448Scheme) generateKey() (*signatureKey, error) {
	var seed [ed448.SeedSize]byte
	rand.Read(seed[:]) // never fails
	defer clear(seed[:])
	return s.newKey(seed[:])
}

func (ed448Scheme) checkPublic(pub []byte) error {
	if len(pub) != ed448.PublicKeySize {
		return errKeySize
	}
	return nil
}

func (ed448Scheme) verify(pub, message, signature []byte) bool {
	return len(pub) == ed448.PublicKeySize && ed448.Verify(pub, message, signature, "")
}

// ecdsaScheme is ECDSA over a NIST curve with the hash of the curve's size; a
// signature is the DER encoding of ECDSA-Sig-Value (RFC 9420, Section 5.1.2).
type ecdsaScheme struct {
	code  SignatureScheme
	curve elliptic.Curve
	hash  hashAlg
	opts  crypto.Hash
	size  int // of a private key
}

var (
	ecdsaP256 = &ecdsaScheme{SignatureECDSAP256SHA256, elliptic.P256(), hashSHA256, crypto.SHA256, 32}
	ecdsaP384 = &ecdsaScheme{SignatureECDSAP384SHA384, elliptic.P384(), hashSHA384, crypto.SHA384, 48}
	ecdsaP521 = &ecdsaScheme{SignatureECDSAP521SHA512, elliptic.P521(), hashSHA512, crypto.SHA512, 66}
)

func (s *ecdsaScheme) id() SignatureScheme { return s.code }

func (s *ecdsaScheme) wrap(priv *ecdsa.PrivateKey) (*signatureKey, error) {
	raw, err := priv.Bytes()
	if err != nil {
		return nil, errKey
	}
	pub, err := priv.PublicKey.Bytes()
	if err != nil {
		return nil, errKey
	}
	sign := func(message []byte) ([]byte, error) {
		var digest [maxHash]byte
		return priv.Sign(rand.Reader, s.hash.sum(digest[:0], message), s.opts)
	}
	return &signatureKey{raw: raw, pub: pub, sign: sign}, nil
}

// newKey takes a scalar with leading zero bytes dropped too: some stacks write
// P-521's so.
func (s *ecdsaScheme) newKey(raw []byte) (*signatureKey, error) {
	raw, err := leftPad(raw, s.size)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	priv, err := ecdsa.ParseRawPrivateKey(s.curve, raw)
	if err != nil {
		return nil, errKey
	}
	return s.wrap(priv)
}

func (s *ecdsaScheme) generateKey() (*signatureKey, error) {
	priv, err := ecdsa.GenerateKey(s.curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	return s.wrap(priv)
}

func (s *ecdsaScheme) checkPublic(pub []byte) error {
	if _, err := ecdsa.ParseUncompressedPublicKey(s.curve, pub); err != nil {
		return errKey
	}
	return nil
}

func (s *ecdsaScheme) verify(pub, message, signature []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(s.curve, pub)
	if err != nil {
		return false
	}
	var digest [maxHash]byte
	return ecdsa.VerifyASN1(key, s.hash.sum(digest[:0], message), signature)
}
