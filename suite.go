package mls

import (
	"crypto/hmac"
	stdhpke "crypto/hpke"
	"fmt"
	"hash"

	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/kem/xwing"
)

// Suite is a cipher suite: one row of the table, with the operations of
// RFC 9420, Section 5 that depend on it. It is immutable and safe for
// concurrent use.
type Suite struct {
	id        CipherSuite
	name      string
	hash      hashAlg
	aead      aeadAlg
	hpke      publicKeyScheme
	signature signatureScheme
}

// KEM code points of RFC 9180, Section 7.1 and, from kemMLKEM768 on, of
// draft-ietf-hpke-pq.
var (
	kemP256          = newDHKEM(0x0010, hashSHA256, groupP256)
	kemP384          = newDHKEM(0x0011, hashSHA384, groupP384)
	kemP521          = newDHKEM(0x0012, hashSHA512, groupP521)
	kemX25519        = newDHKEM(0x0020, hashSHA256, groupX25519)
	kemX448          = newDHKEM(0x0021, hashSHA512, groupX448)
	kemMLKEM768      = &latticeKEM{id: 0x0041, scheme: mlkem768.Scheme(), rank: 3}
	kemMLKEM1024     = &latticeKEM{id: 0x0042, scheme: mlkem1024.Scheme(), rank: 4}
	kemXWing         = &latticeKEM{id: 0x647a, scheme: xwing.Scheme(), rank: 3, hybrid: groupX25519}
	stdMLKEM768P256  = &stdKEM{kem: stdhpke.MLKEM768P256(), rank: 3, hybrid: groupP256}  // 0x0050
	stdMLKEM1024P384 = &stdKEM{kem: stdhpke.MLKEM1024P384(), rank: 4, hybrid: groupP384} // 0x0051
)

// rows is the table: RFC 9420, Section 17.1, then
// draft-ietf-mls-pq-ciphersuites-06, Section 3.1.
var rows = []*Suite{
	row(X25519_AES128GCM_SHA256_Ed25519, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
		kemX25519, hashSHA256, aeadAES128GCM, ed25519Scheme{}),
	row(P256_AES128GCM_SHA256_P256, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
		kemP256, hashSHA256, aeadAES128GCM, ecdsaP256),
	row(X25519_CHACHA20POLY1305_SHA256_Ed25519, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
		kemX25519, hashSHA256, aeadChaCha20Poly1305, ed25519Scheme{}),
	row(X448_AES256GCM_SHA512_Ed448, "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
		kemX448, hashSHA512, aeadAES256GCM, ed448Scheme{}),
	row(P521_AES256GCM_SHA512_P521, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
		kemP521, hashSHA512, aeadAES256GCM, ecdsaP521),
	row(X448_CHACHA20POLY1305_SHA512_Ed448, "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
		kemX448, hashSHA512, aeadChaCha20Poly1305, ed448Scheme{}),
	row(P384_AES256GCM_SHA384_P384, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
		kemP384, hashSHA384, aeadAES256GCM, ecdsaP384),

	row(MLKEM768X25519_AES128GCM_SHA256_Ed25519, "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
		kemXWing, hashSHA256, aeadAES128GCM, ed25519Scheme{}),
	row(MLKEM768X25519_AES256GCM_SHA384_Ed25519, "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519",
		kemXWing, hashSHA384, aeadAES256GCM, ed25519Scheme{}),
	row(MLKEM768P256_AES128GCM_SHA256_P256, "MLS_128_MLKEM768P256_AES128GCM_SHA256_P256",
		stdMLKEM768P256, hashSHA256, aeadAES128GCM, ecdsaP256),
	row(MLKEM768P256_AES256GCM_SHA384_P256, "MLS_128_MLKEM768P256_AES256GCM_SHA384_P256",
		stdMLKEM768P256, hashSHA384, aeadAES256GCM, ecdsaP256),
	row(MLKEM1024P384_AES256GCM_SHA384_P384, "MLS_192_MLKEM1024P384_AES256GCM_SHA384_P384",
		stdMLKEM1024P384, hashSHA384, aeadAES256GCM, ecdsaP384),
	row(MLKEM768_AES256GCM_SHA384_Ed25519, "MLS_128_MLKEM768_AES256GCM_SHA384_Ed25519",
		kemMLKEM768, hashSHA384, aeadAES256GCM, ed25519Scheme{}),
	row(MLKEM768_AES256GCM_SHA384_P256, "MLS_128_MLKEM768_AES256GCM_SHA384_P256",
		kemMLKEM768, hashSHA384, aeadAES256GCM, ecdsaP256),
	row(MLKEM1024_AES256GCM_SHA384_P384, "MLS_192_MLKEM1024_AES256GCM_SHA384_P384",
		kemMLKEM1024, hashSHA384, aeadAES256GCM, ecdsaP384),
	row(MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44, "MLS_128_MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44",
		kemXWing, hashSHA384, aeadChaCha20Poly1305, mldsa44Scheme),
	row(MLKEM768_AES256GCM_SHA384_MLDSA65, "MLS_192_MLKEM768_AES256GCM_SHA384_MLDSA65",
		kemMLKEM768, hashSHA384, aeadAES256GCM, mldsa65Scheme),
	row(MLKEM1024_AES256GCM_SHA384_MLDSA87, "MLS_256_MLKEM1024_AES256GCM_SHA384_MLDSA87",
		kemMLKEM1024, hashSHA384, aeadAES256GCM, mldsa87Scheme),
}

// anyKEM is what makes HPKE of a KEM: our base mode for one that gives its
// shared secret away, the whole of crypto/hpke for one that doesn't.
type anyKEM interface {
	baseMode(hashAlg, aeadAlg) publicKeyScheme
}

func row(id CipherSuite, name string, k anyKEM, h hashAlg, a aeadAlg, s signatureScheme) *Suite {
	return &Suite{id: id, name: name, hash: h, aead: a, hpke: k.baseMode(h, a), signature: s}
}

// ID returns the code point.
func (s *Suite) ID() CipherSuite { return s.id }

// String returns the name that RFC 9420, Section 17.1 or the draft gives the
// suite.
func (s *Suite) String() string { return s.name }

// SignatureScheme returns the code point of the signature scheme.
func (s *Suite) SignatureScheme() SignatureScheme { return s.signature.id() }

// HashSize returns KDF.Nh, the size in bytes of a hash and of most secrets.
func (s *Suite) HashSize() int { return s.hash.size() }

// KeySize returns AEAD.Nk, the size in bytes of an AEAD key.
func (s *Suite) KeySize() int { return s.aead.keySize() }

// NonceSize returns AEAD.Nn, the size in bytes of an AEAD nonce.
func (s *Suite) NonceSize() int { return aeadNonceSize }

// TagSize returns by how many bytes a ciphertext is longer than its plaintext.
func (s *Suite) TagSize() int { return aeadTagSize }

// NewHash returns the suite's hash function.
func (s *Suite) NewHash() hash.Hash { return s.hash.new() }

// Hash returns the hash of the parts, one after another.
func (s *Suite) Hash(parts ...[]byte) []byte {
	out := make([]byte, 0, s.hash.size())
	if len(parts) == 1 {
		return s.hash.sum(out, parts[0])
	}
	var stack [stackInput]byte
	in := stack[:0]
	if n := total(parts); n > len(stack) {
		in = make([]byte, 0, n)
	}
	for _, p := range parts {
		in = append(in, p...)
	}
	return s.hash.sum(out, in)
}

// MAC returns HMAC(key, data) (RFC 9420, Section 5.1).
func (s *Suite) MAC(key Secret, data []byte) []byte {
	return s.hash.hmac(make([]byte, 0, s.hash.size()), key.key(), data)
}

// VerifyMAC reports whether tag is HMAC(key, data). A shorter or longer tag is
// not; the time does not depend on where two tags differ.
func (s *Suite) VerifyMAC(key Secret, data, tag []byte) bool {
	var buf [maxHash]byte
	return hmac.Equal(s.hash.hmac(buf[:0], key.key(), data), tag)
}

// Seal appends the AEAD encryption of plaintext to dst: its length and TagSize
// bytes. To encrypt in place, use plaintext[:0] as dst. A key or nonce of another
// size than the suite's is an error.
func (s *Suite) Seal(dst []byte, key Secret, nonce, aad, plaintext []byte) ([]byte, error) {
	if err := s.checkAEAD(key, nonce); err != nil {
		return nil, err
	}
	return s.aead.instance(key.key(), nonce).Seal(dst, nonce, plaintext, aad), nil
}

// Open returns the plaintext of ciphertext, or [ErrAuth]. A key or nonce of
// another size than the suite's is another error.
func (s *Suite) Open(key Secret, nonce, aad, ciphertext []byte) ([]byte, error) {
	if err := s.checkAEAD(key, nonce); err != nil {
		return nil, err
	}
	plaintext, err := s.aead.instance(key.key(), nonce).Open(nil, nonce, ciphertext, aad)
	if err != nil {
		return nil, ErrAuth
	}
	return plaintext, nil
}

func (s *Suite) checkAEAD(key Secret, nonce []byte) error {
	if key.Len() != s.KeySize() || len(nonce) != s.NonceSize() {
		return fmt.Errorf("mls: %d-byte key and %d-byte nonce where %v has %d and %d",
			key.Len(), len(nonce), s, s.KeySize(), s.NonceSize())
	}
	return nil
}
