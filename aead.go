package mls

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"
)

// aeadAlg is the AEAD of a suite. Its value is the code point in RFC 9180,
// Section 7.3.
type aeadAlg uint16

const (
	aeadAES128GCM        aeadAlg = 1
	aeadAES256GCM        aeadAlg = 2
	aeadChaCha20Poly1305 aeadAlg = 3
)

// Every AEAD of the table has these two sizes.
const (
	aeadNonceSize = 12
	aeadTagSize   = 16
)

func (a aeadAlg) keySize() int {
	if a == aeadAES128GCM {
		return 16
	}
	return 32
}

func (a aeadAlg) new(key []byte) (cipher.AEAD, error) {
	if a == aeadChaCha20Poly1305 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// instance returns the AEAD under key. The sizes of key and nonce are the
// suite's wherever one comes from a derivation, so others are a bug.
func (a aeadAlg) instance(key, nonce []byte) cipher.AEAD {
	if len(key) != a.keySize() || len(nonce) != aeadNonceSize {
		panic("mls: internal error: size of an AEAD key or nonce")
	}
	c, err := a.new(key)
	if err != nil {
		panic("mls: internal error: AEAD: " + err.Error())
	}
	return c
}
