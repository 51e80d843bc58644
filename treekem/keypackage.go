package treekem

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// ExtensionLastResort marks a key package that may be used more than once
// (last_resort_key_package in draft-ietf-mls-extensions; RFC 9420, Section
// 16.8). Nothing here acts on it.
const ExtensionLastResort mls.ExtensionType = 0x000a

// A KeyPackage lets others add a client to a group (RFC 9420, Section 10).
//
//	struct {
//	    ProtocolVersion version;
//	    CipherSuite cipher_suite;
//	    HPKEPublicKey init_key;
//	    LeafNode leaf_node;
//	    Extension extensions<V>;
//	    /* SignWithLabel(., "KeyPackageTBS", KeyPackageTBS) */
//	    opaque signature<V>;
//	} KeyPackage;
type KeyPackage struct {
	Version     mls.ProtocolVersion
	CipherSuite mls.CipherSuite
	InitKey     mls.HPKEPublicKey
	LeafNode    LeafNode
	Extensions  []mls.Extension
	Signature   []byte
}

// Encode appends the key package.
func (k *KeyPackage) Encode(b *wire.Builder) {
	k.encodeContents(b)
	b.Opaque(k.Signature)
}

func (k *KeyPackage) encodeContents(b *wire.Builder) {
	b.U16(uint16(k.Version))
	b.U16(uint16(k.CipherSuite))
	b.Opaque(k.InitKey)
	k.LeafNode.Encode(b)
	mls.EncodeExtensions(b, k.Extensions)
}

// Decode reads a key package.
func (k *KeyPackage) Decode(r *wire.Reader) {
	k.Version = mls.ProtocolVersion(r.U16())
	k.CipherSuite = mls.CipherSuite(r.U16())
	k.InitKey = r.OpaqueCopy()
	k.LeafNode.Decode(r)
	k.Extensions = mls.DecodeExtensions(r)
	k.Signature = r.OpaqueCopy()
}

// ParseKeyPackage decodes a key package. Nothing of it is verified.
func ParseKeyPackage(p []byte) (*KeyPackage, error) {
	k := new(KeyPackage)
	if err := wire.Unmarshal(p, k); err != nil {
		return nil, err
	}
	return k, nil
}

// Bytes returns the encoding of the key package.
func (k *KeyPackage) Bytes() ([]byte, error) { return wire.Marshal(k) }

// Ref returns the KeyPackageRef (RFC 9420, Section 5.2), or nil if the key
// package has no encoding.
func (k *KeyPackage) Ref(s *mls.Suite) []byte {
	p, err := k.Bytes()
	if err != nil {
		return nil
	}
	return s.RefHash(mls.LabelKeyPackageRef, p)
}

// LastResort reports whether the key package may be used more than once.
func (k *KeyPackage) LastResort() bool {
	_, ok := mls.FindExtension(k.Extensions, ExtensionLastResort)
	return ok
}

const labelKeyPackage = "KeyPackageTBS"

// Sign signs the key package; its leaf node must be signed already.
func (k *KeyPackage) Sign(s *mls.Suite, signer mls.Signer) error {
	var b wire.Builder
	k.encodeContents(&b)
	tbs, err := b.Bytes()
	if err != nil {
		return err
	}
	k.Signature, err = s.SignWithLabel(signer, labelKeyPackage, tbs)
	return err
}

// Verify checks a key package for a group of suite s (RFC 9420, Section 10.1)
// by all rules that need neither the group nor its credentials' authority.
// Unless allowExpired is set, now must be within its lifetime.
func (k *KeyPackage) Verify(s *mls.Suite, now time.Time, allowExpired bool) error {
	err := k.verify(s, now, allowExpired)
	if rule, ok := err.(*mls.RuleError); ok && rule.Culprit == nil {
		rule.Culprit = &mls.Culprit{Identity: k.LeafNode.Credential.String()}
	}
	return err
}

func (k *KeyPackage) verify(s *mls.Suite, now time.Time, allowExpired bool) error {
	if k.Version != mls.MLS10 {
		// RFC 9420, Section 10.1: the version matches the group's.
		return mls.Invalid("10.1", "version", "key package of version %v", k.Version)
	}
	if k.CipherSuite != s.ID() {
		// RFC 9420, Section 10.1: the cipher suite matches the group's.
		return mls.Invalid("10.1", "cipher-suite", "key package of cipher suite %v in a group of %v", k.CipherSuite, s.ID())
	}
	if k.LeafNode.Source != SourceKeyPackage {
		// RFC 9420, Section 7.3: the leaf of a KeyPackage has source key_package.
		return mls.Invalid("7.3", "key-package-source", "leaf node of a key package with source %v", k.LeafNode.Source)
	}
	if err := k.LeafNode.Check(s, now, allowExpired); err != nil {
		return err
	}
	if err := k.LeafNode.Capabilities.covers(s); err != nil {
		return err
	}
	if err := k.LeafNode.VerifySignature(s, nil, 0); err != nil {
		return err
	}
	if err := s.ValidatePublicKey(k.InitKey); err != nil {
		return err
	}
	if bytes.Equal(k.InitKey, k.LeafNode.EncryptionKey) {
		// RFC 9420, Section 10.1: encryption_key differs from init_key.
		return mls.Invalid("10.1", "init-key", "key package whose init key is its leaf's encryption key")
	}
	if err := mls.CheckExtensions(k.Extensions); err != nil {
		return err
	}
	// RFC 9420, Sections 10 and 13.4: unknown extensions MUST be ignored, whether
	// they are listed or not, so that GREASE does its work.
	known := slices.DeleteFunc(slices.Clone(k.Extensions), func(e mls.Extension) bool { return e.Type != ExtensionLastResort })
	if err := k.lists(known); err != nil {
		return err
	}
	return k.verifySignature(s)
}

// lists checks that the capabilities list the types of key package extensions.
func (k *KeyPackage) lists(exts []mls.Extension) error {
	if t, ok := k.LeafNode.Capabilities.missingExtension(exts); ok {
		// RFC 9420, Section 10: extensions MUST be included in the capabilities.
		return mls.Invalid("10", "extension-capability", "key package extension %v that is not in the leaf's capabilities", t)
	}
	return nil
}

// covers checks that the capabilities of a prospective member list the version
// and the suite.
func (c *Capabilities) covers(s *mls.Suite) error {
	if !slices.Contains(c.Versions, mls.MLS10) {
		// RFC 9420, Section 11.1: all members support the version in use.
		return mls.Invalid("11.1", "version-capability", "capabilities without version %v", mls.MLS10)
	}
	if !slices.Contains(c.CipherSuites, s.ID()) {
		// RFC 9420, Section 11.1: all members support the cipher suite in use.
		return mls.Invalid("11.1", "cipher-suite-capability", "capabilities without cipher suite %v", s.ID())
	}
	return nil
}

func (k *KeyPackage) verifySignature(s *mls.Suite) error {
	var b wire.Builder
	k.encodeContents(&b)
	tbs, err := b.Bytes()
	if err != nil {
		return err
	}
	if err := s.VerifyWithLabel(k.LeafNode.SignatureKey, labelKeyPackage, tbs, k.Signature); err != nil {
		// RFC 9420, Section 10.1: the signature verifies under the leaf's key.
		return mls.Invalid("10.1", "signature", "signature of a key package: %w", err)
	}
	return nil
}

// KeyPackagePrivate is what the owner of a key package keeps to itself.
type KeyPackagePrivate struct {
	InitKey *mls.HPKEPrivateKey // opens the Welcome; to be destroyed then
	LeafKey *mls.HPKEPrivateKey // the leaf's
	Signer  mls.Signer
}

// KeyPackageOptions says what to put into a key package.
type KeyPackageOptions struct {
	Credential Credential
	// Signer signs for the credential's key.
	Signer mls.Signer
	// Capabilities are those of the client; nil stands for
	// [DefaultCapabilities].
	Capabilities *Capabilities
	// Lifetime is when the key package may be used. It has no default:
	// [LifetimeFrom] makes one.
	Lifetime Lifetime
	// LeafExtensions and Extensions are those of the leaf node and of the key
	// package. The capabilities must list their types.
	LeafExtensions []mls.Extension
	Extensions     []mls.Extension
}

// NewKeyPackage makes a key package with fresh keys.
func NewKeyPackage(s *mls.Suite, opt KeyPackageOptions) (*KeyPackage, *KeyPackagePrivate, error) {
	if opt.Signer == nil {
		return nil, nil, errors.New("treekem: KeyPackageOptions.Signer is nil")
	}
	initKey, err := s.GenerateKeyPair()
	if err != nil {
		return nil, nil, err
	}
	leafKey, err := s.GenerateKeyPair()
	if err != nil {
		return nil, nil, err
	}
	leaf := LeafNode{
		EncryptionKey: leafKey.Public(),
		SignatureKey:  opt.Signer.Public(),
		Credential:    opt.Credential,
		Source:        SourceKeyPackage,
		Lifetime:      opt.Lifetime,
		Extensions:    opt.LeafExtensions,
	}
	if opt.Capabilities != nil {
		leaf.Capabilities = *opt.Capabilities
	} else {
		leaf.Capabilities = DefaultCapabilities()
	}
	kp := &KeyPackage{
		Version:     mls.MLS10,
		CipherSuite: s.ID(),
		InitKey:     initKey.Public(),
		LeafNode:    *leaf.Clone(),
		Extensions:  opt.Extensions,
	}
	if err := kp.LeafNode.Sign(s, opt.Signer, nil, 0); err != nil {
		return nil, nil, err
	}
	if err := kp.Sign(s, opt.Signer); err != nil {
		return nil, nil, err
	}
	if err := kp.lists(kp.Extensions); err != nil {
		return nil, nil, err
	}
	// What peers would refuse must not be published. The lifetime may begin
	// later.
	if err := kp.Verify(s, time.Time{}, true); err != nil {
		return nil, nil, err
	}
	return kp, &KeyPackagePrivate{InitKey: initKey, LeafKey: leafKey, Signer: opt.Signer}, nil
}
