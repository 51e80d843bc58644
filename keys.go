package mls

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"

	"github.com/treekem/mls/internal/wire"
)

// HPKEPublicKey is a serialized public key of a suite's KEM
// (RFC 9420, Section 5.1.1). [Suite.ValidatePublicKey] says whether it is one.
type HPKEPublicKey []byte

// SignaturePublicKey is a serialized public key of a suite's signature scheme
// (RFC 9420, Section 5.1.1): as in RFC 8032 for EdDSA, an uncompressed point
// for ECDSA, pkEncode of FIPS 204 for ML-DSA. [Suite.ValidateSignatureKey] says
// whether it is one.
type SignaturePublicKey []byte

// HPKEPrivateKey is a private key of a suite's KEM, parsed once, with its
// public key. It prints as [Secret] does, and is safe for concurrent use until
// it is destroyed. The zero value is no key.
type HPKEPrivateKey struct {
	p **hpkeKey // two pointers, as in Secret
}

func newHPKEPrivateKey(k *hpkeKey) *HPKEPrivateKey { return &HPKEPrivateKey{&k} }

func (k HPKEPrivateKey) key() *hpkeKey {
	if k.p == nil || *k.p == nil {
		panic("mls: internal error: use of no private key, or of one that was destroyed")
	}
	return *k.p
}

// Public returns a copy of the public key.
func (k HPKEPrivateKey) Public() HPKEPublicKey { return bytes.Clone(k.key().pub) }

// Matches reports whether pub is the public key.
func (k HPKEPrivateKey) Matches(pub HPKEPublicKey) bool { return bytes.Equal(k.key().pub, pub) }

// Secret returns a copy of the serialized private key (RFC 9180, Section 4,
// SerializePrivateKey), for [Suite.NewPrivateKey] to parse.
func (k HPKEPrivateKey) Secret() Secret { return copySecret(k.key().raw) }

// Clone returns a copy of the key that is destroyed apart from it.
func (k HPKEPrivateKey) Clone() *HPKEPrivateKey {
	c := *k.key()
	c.raw = bytes.Clone(c.raw)
	return newHPKEPrivateKey(&c)
}

// IsZero reports whether there is no key: k is the zero value or was destroyed.
func (k HPKEPrivateKey) IsZero() bool { return k.p == nil || *k.p == nil }

// Destroy overwrites the key and makes k, with all of its copies, no key. Doing
// it again does nothing. For a NIST curve and for ML-KEM the parsed form is out
// of reach and only dropped.
func (k HPKEPrivateKey) Destroy() {
	if k.IsZero() {
		return
	}
	clear((*k.p).raw)
	*k.p = nil
}

// Format implements [fmt.Formatter]: every verb prints "REDACTED".
func (k HPKEPrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer].
func (k HPKEPrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] with "REDACTED".
func (k HPKEPrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary fails: an encoding that only seemed to hold the key would lose
// it.
func (k HPKEPrivateKey) MarshalBinary() ([]byte, error) { return nil, errEncodeSecret }

// HPKECiphertext is one message to a public key.
//
//	struct {
//	    opaque kem_output<V>;
//	    opaque ciphertext<V>;
//	} HPKECiphertext;
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

// Encode appends c to b (RFC 9420, Section 7.6).
func (c HPKECiphertext) Encode(b *wire.Builder) {
	b.Opaque(c.KEMOutput)
	b.Opaque(c.Ciphertext)
}

// Decode sets c to the ciphertext at the start of r, with copies of its fields.
func (c *HPKECiphertext) Decode(r *wire.Reader) {
	c.KEMOutput = r.OpaqueCopy()
	c.Ciphertext = r.OpaqueCopy()
}

// Signer signs with a private key that may be anywhere: in memory as
// [SignaturePrivateKey] is, or in a device.
type Signer interface {
	// Public returns the public key, which the caller must not change.
	Public() SignaturePublicKey
	// Sign returns the signature of the suite's scheme over message, which
	// already has the label of RFC 9420, Section 5.1.2 in it. It must not keep
	// message, whose memory is used again.
	Sign(message []byte) ([]byte, error)
}

// SignaturePrivateKey is the [Signer] with its key in memory. It prints as
// [Secret] does, and is safe for concurrent use until it is destroyed. The zero
// value is no key.
type SignaturePrivateKey struct {
	p **signatureKey // two pointers, as in Secret
}

func newSignaturePrivateKey(k *signatureKey) *SignaturePrivateKey { return &SignaturePrivateKey{&k} }

func (k SignaturePrivateKey) key() *signatureKey {
	if k.p == nil || *k.p == nil {
		panic("mls: internal error: use of no signature key, or of one that was destroyed")
	}
	return *k.p
}

// Public returns a copy of the public key.
func (k SignaturePrivateKey) Public() SignaturePublicKey { return bytes.Clone(k.key().pub) }

// Sign implements [Signer].
func (k SignaturePrivateKey) Sign(message []byte) ([]byte, error) { return k.key().sign(message) }

// Secret returns a copy of the private key, for [Suite.NewSigner] to parse: the
// seed of EdDSA and of ML-DSA, the big-endian scalar of ECDSA.
func (k SignaturePrivateKey) Secret() Secret { return copySecret(k.key().raw) }

// IsZero reports whether there is no key: k is the zero value or was destroyed.
func (k SignaturePrivateKey) IsZero() bool { return k.p == nil || *k.p == nil }

// Destroy overwrites the key and makes k, with all of its copies, no key. Doing
// it again does nothing. For ECDSA the parsed scalar is out of reach and only
// dropped.
func (k SignaturePrivateKey) Destroy() {
	if k.IsZero() {
		return
	}
	clear((*k.p).raw)
	clear((*k.p).expanded)
	if wipe := (*k.p).wipe; wipe != nil {
		wipe()
	}
	*k.p = nil
}

// Format implements [fmt.Formatter]: every verb prints "REDACTED".
func (k SignaturePrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer].
func (k SignaturePrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] with "REDACTED".
func (k SignaturePrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary fails: an encoding that only seemed to hold the key would lose
// it.
func (k SignaturePrivateKey) MarshalBinary() ([]byte, error) { return nil, errEncodeSecret }
