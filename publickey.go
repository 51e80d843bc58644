package mls

import (
	"errors"
	"fmt"

	"github.com/treekem/mls/internal/wire"
)

// externalInitLabel is the exporter context of RFC 9420, Section 8.3.
const externalInitLabel = labelPrefix + "external init secret"

// DeriveKeyPair returns KEM.DeriveKeyPair(ikm) (RFC 9180, Section 7.1.3).
func (s *Suite) DeriveKeyPair(ikm Secret) (*HPKEPrivateKey, error) {
	k, err := s.hpke.deriveKey(ikm.key())
	if err != nil {
		return nil, fmt.Errorf("mls: deriving a key pair: %w", err)
	}
	return newHPKEPrivateKey(k), nil
}

// GenerateKeyPair returns a random private key.
func (s *Suite) GenerateKeyPair() (*HPKEPrivateKey, error) {
	k, err := s.hpke.generateKey()
	if err != nil {
		return nil, fmt.Errorf("mls: generating a key pair: %w", err)
	}
	return newHPKEPrivateKey(k), nil
}

// NewPrivateKey parses a private key in the form of
// [HPKEPrivateKey.Secret]; a scalar of a NIST curve may lack leading zero
// bytes. Of ML-KEM and its hybrids it is the seed (draft-ietf-hpke-pq), never
// the expanded key. It keeps nothing of raw. Its errors wrap [ErrMalformed].
func (s *Suite) NewPrivateKey(raw Secret) (*HPKEPrivateKey, error) {
	k, err := s.hpke.newKey(raw.UnsafeBytes())
	if err != nil {
		return nil, fmt.Errorf("%w: HPKE private key: %w", ErrMalformed, err)
	}
	return newHPKEPrivateKey(k), nil
}

// ValidatePublicKey returns a [*RuleError] unless pub is a public key of the
// suite that a message can be encrypted to (RFC 9420, Section 5.1.1; RFC 9180,
// Section 7.1.4).
func (s *Suite) ValidatePublicKey(pub HPKEPublicKey) error {
	if err := s.hpke.checkPublic(pub); err != nil {
		return invalidHPKEKey(err)
	}
	return nil
}

func invalidHPKEKey(err error) error {
	return Invalid("5.1.1", "hpke-public-key", "HPKE public key: %w", err)
}

// EncryptWithLabel encrypts plaintext to pub (RFC 9420, Section 5.1.3). A pub
// that is no public key is a [*RuleError].
func (s *Suite) EncryptWithLabel(pub HPKEPublicKey, label string, context, plaintext []byte) (HPKECiphertext, error) {
	return s.NewEncrypter(label, context).Encrypt(pub, plaintext)
}

// An Encrypter is EncryptWithLabel for any number of recipients under one label
// and context. The context is read once: that of a Welcome holds the ratchet tree
// (RFC 9420, Section 12.4.3.1). It is safe for concurrent use.
type Encrypter struct {
	suite    *Suite
	prepared []byte
}

// NewEncrypter returns an Encrypter. With a context longer than a vector can be,
// 2^30-1 bytes, it encrypts nothing.
func (s *Suite) NewEncrypter(label string, context []byte) *Encrypter {
	if len(context) > wire.MaxVector {
		return &Encrypter{suite: s}
	}
	return &Encrypter{s, s.hpke.prepare(labelledHead(label, len(context)), context)}
}

// Encrypt encrypts plaintext to pub. A pub that is no public key is a
// [*RuleError].
func (e *Encrypter) Encrypt(pub HPKEPublicKey, plaintext []byte) (HPKECiphertext, error) {
	if e.prepared == nil {
		return HPKECiphertext{}, errors.New("mls: encryption with a context of more than 2^30-1 bytes")
	}
	enc, ciphertext, err := e.suite.hpke.seal(pub, e.prepared, plaintext)
	if err != nil {
		return HPKECiphertext{}, invalidHPKEKey(err)
	}
	return HPKECiphertext{enc, ciphertext}, nil
}

// DecryptWithLabel decrypts what EncryptWithLabel made, or returns [ErrAuth].
func (s *Suite) DecryptWithLabel(priv *HPKEPrivateKey, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	if len(context) > wire.MaxVector { // longer than anybody can have encrypted with
		return nil, ErrAuth
	}
	plaintext, err := s.hpke.open(priv.key(), labelledHead(label, len(context)), context, ct.KEMOutput, ct.Ciphertext)
	if err != nil {
		return nil, ErrAuth
	}
	return plaintext, nil
}

// ExternalInit returns the init secret that the committer of an external
// commit shares with the holders of pub's private key, and the kem_output that
// tells them (RFC 9420, Section 8.3). A pub that is no public key is a
// [*RuleError].
func (s *Suite) ExternalInit(pub HPKEPublicKey) (kemOutput []byte, initSecret Secret, err error) {
	kemOutput, initSecret, err = s.hpke.sendExport(pub, externalInitLabel, s.hash.size())
	if err != nil {
		return nil, Secret{}, invalidHPKEKey(err)
	}
	return kemOutput, initSecret, nil
}

// OpenExternalInit returns the init secret for kemOutput
// (RFC 9420, Section 8.3), or [ErrAuth]. A kemOutput that was made for another
// key is an error with no KEM; it gives another secret.
func (s *Suite) OpenExternalInit(priv *HPKEPrivateKey, kemOutput []byte) (Secret, error) {
	initSecret, err := s.hpke.receiveExport(priv.key(), kemOutput, externalInitLabel, s.hash.size())
	if err != nil {
		return Secret{}, ErrAuth
	}
	return initSecret, nil
}

// SignWithLabel returns signer's signature over content
// (RFC 9420, Section 5.1.2).
func (s *Suite) SignWithLabel(signer Signer, label string, content []byte) ([]byte, error) {
	if len(content) > wire.MaxVector {
		return nil, fmt.Errorf("mls: %d bytes are more than can be signed", len(content))
	}
	var signature []byte
	err := withLabelled(label, content, func(signed []byte) (err error) {
		signature, err = signer.Sign(signed)
		return err
	})
	return signature, err
}

// VerifyWithLabel returns [ErrAuth] unless signature is pub's over content
// (RFC 9420, Section 5.1.2).
func (s *Suite) VerifyWithLabel(pub SignaturePublicKey, label string, content, signature []byte) error {
	// What is signed can be longer than the message that carries it, by the
	// GroupContext: too long to have been signed by anybody.
	if len(content) > wire.MaxVector {
		return ErrAuth
	}
	return withLabelled(label, content, func(signed []byte) error {
		if !s.signature.verify(pub, signed, signature) {
			return ErrAuth
		}
		return nil
	})
}

// GenerateSigner returns a random signature key.
func (s *Suite) GenerateSigner() (*SignaturePrivateKey, error) {
	k, err := s.signature.generateKey()
	if err != nil {
		return nil, fmt.Errorf("mls: generating a signature key: %w", err)
	}
	return newSignaturePrivateKey(k), nil
}

// NewSigner parses a signature key: for EdDSA the seed, alone or with the
// public key after it, for ECDSA the big-endian scalar, which may lack leading
// zero bytes, for ML-DSA the seed of 32 bytes. It keeps nothing of raw. Its
// errors wrap [ErrMalformed].
func (s *Suite) NewSigner(raw Secret) (*SignaturePrivateKey, error) {
	k, err := s.signature.newKey(raw.UnsafeBytes())
	if err != nil {
		return nil, fmt.Errorf("%w: signature private key: %w", ErrMalformed, err)
	}
	return newSignaturePrivateKey(k), nil
}

// ValidateSignatureKey returns a [*RuleError] unless pub has the form of a
// public key of the suite's signature scheme (RFC 9420, Section 5.1.1).
func (s *Suite) ValidateSignatureKey(pub SignaturePublicKey) error {
	if err := s.signature.checkPublic(pub); err != nil {
		return Invalid("5.1.1", "signature-public-key", "signature public key: %w", err)
	}
	return nil
}
