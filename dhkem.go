package mls

import (
	"bytes"
	"crypto/ecdh"
	stdhpke "crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
	circlkem "github.com/cloudflare/circl/kem"
)

// What is wrong with a key, always within another error.
var (
	errKeySize    = errors.New("wrong size")
	errLowOrder   = errors.New("point of low order")
	errKey        = errors.New("not a key of the curve")
	errLattice    = errors.New("not an ML-KEM encapsulation key")
	errOtherGroup = errors.New("key of another suite")
)

// hpkeKey is a parsed private key. It is immutable but for its destruction.
type hpkeKey struct {
	of  any    // the group or the KEM that made it, which alone may use it
	raw []byte // SerializePrivateKey
	pub []byte // SerializePublicKey

	// The parsed form, in one of these, if raw isn't that already.
	ec      *ecdh.PrivateKey
	lattice circlkem.PrivateKey
	std     stdhpke.PrivateKey
}

// dhGroup is a Diffie-Hellman group of RFC 9180, Section 4.1. The set is
// closed.
type dhGroup interface {
	parse(raw []byte) (*hpkeKey, error)
	generate() (*hpkeKey, error)
	// derive turns the pseudorandom key dkp_prk into a private key
	// (RFC 9180, Section 7.1.3).
	derive(l labeler, prk []byte) (*hpkeKey, error)
	checkPublic(pub []byte) error
	// exchange returns the shared point, or an error for a public key that is
	// none or that gives an all-zero one (RFC 9180, Section 7.1.4).
	exchange(k *hpkeKey, pub []byte) ([]byte, error)
}

// dhKEM is DHKEM(Group, KDF) of RFC 9180, Section 4.1.
type dhKEM struct {
	labeler
	id    uint16
	group dhGroup
}

func newDHKEM(id uint16, hash hashAlg, g dhGroup) *dhKEM {
	return &dhKEM{labeler: newLabeler(hash, "KEM", id), id: id, group: g}
}

func (d *dhKEM) baseMode(h hashAlg, a aeadAlg) publicKeyScheme { return newBaseMode(d, h, a) }

func (d *dhKEM) kemID() uint16                       { return d.id }
func (d *dhKEM) newKey(raw []byte) (*hpkeKey, error) { return d.group.parse(raw) }
func (d *dhKEM) generateKey() (*hpkeKey, error)      { return d.group.generate() }
func (d *dhKEM) checkPublic(pub []byte) error        { return d.group.checkPublic(pub) }

// deriveKey is DeriveKeyPair of RFC 9180, Section 7.1.3. MLS gives it Nh bytes,
// which is not Nsk for every suite (RFC 9420, Section 7.4).
func (d *dhKEM) deriveKey(ikm []byte) (*hpkeKey, error) {
	var buf [maxHash]byte
	prk := d.extract(buf[:0], nil, "dkp_prk", ikm, nil)
	k, err := d.group.derive(d.labeler, prk)
	clear(buf[:])
	return k, err
}

func (d *dhKEM) encap(pub []byte) (enc, shared []byte, err error) {
	k, err := d.group.generate()
	if err != nil {
		return nil, nil, err
	}
	dh, err := d.group.exchange(k, pub)
	clear(k.raw)
	if err != nil {
		return nil, nil, err
	}
	return k.pub, d.sharedSecret(dh, k.pub, pub), nil
}

func (d *dhKEM) decap(k *hpkeKey, enc []byte) ([]byte, error) {
	if k.of != d.group {
		return nil, errOtherGroup
	}
	dh, err := d.group.exchange(k, enc)
	if err != nil {
		return nil, err
	}
	return d.sharedSecret(dh, enc, k.pub), nil
}

// sharedSecret is ExtractAndExpand of RFC 9180, Section 4.1. It consumes dh.
func (d *dhKEM) sharedSecret(dh, enc, pub []byte) []byte {
	var buf [maxHash]byte
	prk := d.extract(buf[:0], nil, "eae_prk", dh, nil)
	clear(dh)
	var stack [2 * maxPublicKey]byte
	kemContext := append(append(stack[:0], enc...), pub...)
	shared := make([]byte, d.hash.size())
	d.expand(shared, prk, "shared_secret", kemContext)
	clear(buf[:])
	return shared
}

// maxPublicKey is the size of the longest public key, P-521's.
const maxPublicKey = 1 + 2*66

// montgomery is X25519 or X448 (RFC 7748).
type montgomery struct {
	size     int
	clamp    func(raw []byte)
	public   func(pub, raw []byte)
	shared   func(dh, raw, pub []byte) bool
	lowOrder [][]byte // little-endian, in every encoding
	mask     byte     // of a public key's last byte
}

// parse clamps, as RFC 9180, Section 7.1.2 has it: two private keys are then
// equal if and only if their bytes are.
func (m *montgomery) parse(raw []byte) (*hpkeKey, error) {
	if len(raw) != m.size {
		return nil, errKeySize
	}
	return m.take(bytes.Clone(raw)), nil
}

// take is parse of a raw of the right size that it keeps.
func (m *montgomery) take(raw []byte) *hpkeKey {
	m.clamp(raw)
	k := &hpkeKey{of: m, raw: raw, pub: make([]byte, m.size)}
	m.public(k.pub, k.raw)
	return k
}

func (m *montgomery) generate() (*hpkeKey, error) {
	raw := make([]byte, m.size)
	rand.Read(raw) // never fails
	return m.take(raw), nil
}

func (m *montgomery) derive(l labeler, prk []byte) (*hpkeKey, error) {
	raw := make([]byte, m.size)
	l.expand(raw, prk, "sk", nil)
	return m.take(raw), nil
}

// checkPublic refuses the points of low order, for which every exchange fails:
// in a ratchet tree one of them would stop all commits.
func (m *montgomery) checkPublic(pub []byte) error {
	if len(pub) != m.size {
		return errKeySize
	}
	last := m.size - 1
	for _, p := range m.lowOrder {
		if bytes.Equal(p[:last], pub[:last]) && p[last] == pub[last]&m.mask {
			return errLowOrder
		}
	}
	return nil
}

func (m *montgomery) exchange(k *hpkeKey, pub []byte) ([]byte, error) {
	if len(pub) != m.size {
		return nil, errKeySize
	}
	dh := make([]byte, m.size)
	if !m.shared(dh, k.raw, pub) {
		return nil, errLowOrder
	}
	return dh, nil
}

var groupX25519 = &montgomery{
	size: x25519.Size,
	mask: 0x7f, // RFC 7748, Section 5: the top bit means nothing
	clamp: func(raw []byte) {
		raw[0] &= 248
		raw[31] = raw[31]&127 | 64
	},
	public: func(pub, raw []byte) {
		x25519.KeyGen((*x25519.Key)(pub), (*x25519.Key)(raw))
	},
	shared: func(dh, raw, pub []byte) bool {
		return x25519.Shared((*x25519.Key)(dh), (*x25519.Key)(raw), (*x25519.Key)(pub))
	},
	lowOrder: [][]byte{
		fromHex("00" + strings.Repeat("00", 31)),
		fromHex("01" + strings.Repeat("00", 31)),
		fromHex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
		fromHex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
		fromHex("ec" + strings.Repeat("ff", 30) + "7f"), // p-1
		fromHex("ed" + strings.Repeat("ff", 30) + "7f"), // p, which is 0
		fromHex("ee" + strings.Repeat("ff", 30) + "7f"), // p+1, which is 1
	},
}

var groupX448 = &montgomery{
	size: x448.Size,
	mask: 0xff,
	clamp: func(raw []byte) {
		raw[0] &= 252
		raw[55] |= 128
	},
	public: func(pub, raw []byte) {
		x448.KeyGen((*x448.Key)(pub), (*x448.Key)(raw))
	},
	shared: func(dh, raw, pub []byte) bool {
		return x448.Shared((*x448.Key)(dh), (*x448.Key)(raw), (*x448.Key)(pub))
	},
	lowOrder: [][]byte{
		fromHex("00" + strings.Repeat("00", 55)),
		fromHex("01" + strings.Repeat("00", 55)),
		fromHex("fe" + strings.Repeat("ff", 27) + "fe" + strings.Repeat("ff", 27)), // p-1
		fromHex("ff" + strings.Repeat("ff", 27) + "fe" + strings.Repeat("ff", 27)), // p, which is 0
		fromHex(strings.Repeat("00", 28) + strings.Repeat("ff", 28)),               // p+1, which is 1
	},
}

func fromHex(s string) []byte {
	p, err := hex.DecodeString(s)
	if err != nil {
		panic("mls: internal error: " + err.Error())
	}
	return p
}

// weierstrass is a NIST curve (RFC 9180, Section 7.1).
type weierstrass struct {
	curve ecdh.Curve
	size  int  // of a private key
	mask  byte // of the first byte of a candidate for one
}

var (
	groupP256 = &weierstrass{ecdh.P256(), 32, 0xff}
	groupP384 = &weierstrass{ecdh.P384(), 48, 0xff}
	groupP521 = &weierstrass{ecdh.P521(), 66, 0x01}
)

func (w *weierstrass) wrap(k *ecdh.PrivateKey) *hpkeKey {
	return &hpkeKey{of: w, raw: k.Bytes(), pub: k.PublicKey().Bytes(), ec: k}
}

// parse takes a scalar with leading zero bytes dropped too: some stacks write
// P-521's so.
func (w *weierstrass) parse(raw []byte) (*hpkeKey, error) {
	raw, err := leftPad(raw, w.size)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	k, err := w.curve.NewPrivateKey(raw)
	if err != nil {
		return nil, errKey
	}
	return w.wrap(k), nil
}

// leftPad returns a copy of the big-endian number p, size bytes long.
func leftPad(p []byte, size int) ([]byte, error) {
	if len(p) == 0 || len(p) > size {
		return nil, errKeySize
	}
	out := make([]byte, size)
	copy(out[size-len(p):], p)
	return out, nil
}

func (w *weierstrass) generate() (*hpkeKey, error) {
	k, err := w.curve.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return w.wrap(k), nil
}

func (w *weierstrass) derive(l labeler, prk []byte) (*hpkeKey, error) {
	var buf [66]byte
	defer clear(buf[:])
	candidate := buf[:w.size]
	for counter := range 256 {
		l.expand(candidate, prk, "candidate", []byte{byte(counter)})
		candidate[0] &= w.mask
		if k, err := w.curve.NewPrivateKey(candidate); err == nil {
			return w.wrap(k), nil
		}
	}
	return nil, errKey // for one seed in 2^8192 at most
}

func (w *weierstrass) checkPublic(pub []byte) error {
	if _, err := w.curve.NewPublicKey(pub); err != nil {
		return errKey
	}
	return nil
}

func (w *weierstrass) exchange(k *hpkeKey, pub []byte) ([]byte, error) {
	p, err := w.curve.NewPublicKey(pub)
	if err != nil {
		return nil, errKey
	}
	return k.ec.ECDH(p)
}
