package mls

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"

	"github.com/treekem/mls/internal/wire"
)

// hashAlg is the hash function of a suite, and the HMAC and HKDF over it. Its
// value is the code point of the KDF in RFC 9180, Section 7.2.
//
// HMAC is composed here from the one-shot hash over a buffer on the stack: a
// derivation is a single HMAC of a few hundred bytes, and setting up a
// hash.Hash twice over costs more than the hashing.
type hashAlg uint16

const (
	hashSHA256 hashAlg = 1
	hashSHA384 hashAlg = 2
	hashSHA512 hashAlg = 3
)

const (
	maxHash  = sha512.Size
	maxBlock = sha512.BlockSize
	// stackInput is the size of the input up to which nothing is allocated:
	// above nearly every group context, and small for a stack.
	stackInput = 1024
	// hmacInput is the same for HMAC, whose inputs are labels with a hash or a
	// context of a small group: clearing a larger buffer would cost more than
	// hashing what is in it.
	hmacInput = 256
)

func (h hashAlg) size() int {
	switch h {
	case hashSHA256:
		return sha256.Size
	case hashSHA384:
		return sha512.Size384
	}
	return sha512.Size
}

func (h hashAlg) block() int {
	if h == hashSHA256 {
		return sha256.BlockSize
	}
	return sha512.BlockSize
}

func (h hashAlg) new() hash.Hash {
	switch h {
	case hashSHA256:
		return sha256.New()
	case hashSHA384:
		return sha512.New384()
	}
	return sha512.New()
}

// sum appends the hash of p to dst. The calls are direct ones, so that p may
// stay on the caller's stack.
func (h hashAlg) sum(dst, p []byte) []byte {
	switch h {
	case hashSHA256:
		d := sha256.Sum256(p)
		return append(dst, d[:]...)
	case hashSHA384:
		d := sha512.Sum384(p)
		return append(dst, d[:]...)
	}
	d := sha512.Sum512(p)
	return append(dst, d[:]...)
}

// innerPad is ipad, padChange turns what was XORed with it into what is XORed
// with opad (RFC 2104, Section 2).
var (
	innerPad  = [maxBlock]byte(bytes.Repeat([]byte{0x36}, maxBlock))
	padChange = [maxBlock]byte(bytes.Repeat([]byte{0x36 ^ 0x5c}, maxBlock))
)

// hmac appends HMAC(key, parts…) to dst.
func (h hashAlg) hmac(dst, key []byte, parts ...[]byte) []byte {
	block, n := h.block(), total(parts)
	if n > hmacInput {
		err := wire.WithScratch(block+n, func(b *wire.Builder) error {
			b.Raw(noBlock[:block])
			for _, p := range parts {
				b.Raw(p)
			}
			return nil
		}, func(in []byte) error {
			dst = h.hmacIn(dst, key, in)
			return nil
		})
		if err != nil {
			panic("mls: internal error: " + err.Error())
		}
		return dst
	}
	var stack [maxBlock + hmacInput]byte
	in := stack[:block]
	for _, p := range parts {
		in = append(in, p...)
	}
	return h.hmacIn(dst, key, in)
}

// noBlock is what a key is written over.
var noBlock [maxBlock]byte

// hmacIn appends HMAC(key, what comes after a block of zeros in the buffer) to
// dst. The buffer serves both hashes: first it is (key ⊕ ipad) || input, then
// (key ⊕ opad) || the hash of that. It is cleared.
func (h hashAlg) hmacIn(dst, key, in []byte) []byte {
	block := h.block()
	if len(key) > block {
		h.sum(in[:0], key)
	} else {
		copy(in, key)
	}
	subtle.XORBytes(in[:block], in[:block], innerPad[:])
	out := h.sum(in[:block], in)
	subtle.XORBytes(out[:block], out[:block], padChange[:])
	dst = h.sum(dst, out)
	clear(in[:max(len(in), len(out))])
	return dst
}

// extract appends HKDF-Extract(salt, ikm…) to dst (RFC 5869, Section 2.2).
func (h hashAlg) extract(dst, salt []byte, ikm ...[]byte) []byte {
	return h.hmac(dst, salt, ikm...)
}

// expand fills out with HKDF-Expand(prk, info0 || info1) (RFC 5869,
// Section 2.3).
func (h hashAlg) expand(out, prk, info0, info1 []byte) {
	if len(out) > 255*h.size() {
		panic("mls: internal error: more output than HKDF-Expand can give")
	}
	var buf [maxHash]byte
	var block []byte
	for i := byte(1); len(out) > 0; i++ {
		block = h.hmac(buf[:0], prk, block, info0, info1, []byte{i})
		out = out[copy(out, block):]
	}
	clear(buf[:])
}

func total(parts [][]byte) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return n
}
