package mls

import (
	"bytes"
	"crypto/rand"
	"crypto/sha3"
	"encoding/binary"

	circlkem "github.com/cloudflare/circl/kem"
)

// latticeKEM is ML-KEM (FIPS 203), or X-Wing, which is ML-KEM-768 with X25519,
// as a KEM of HPKE (draft-ietf-hpke-pq). A private key is the seed that the
// decapsulation key is generated from: 64 bytes, d and z, for ML-KEM alone, 32
// bytes for X-Wing.
type latticeKEM struct {
	id     uint16
	scheme circlkem.Scheme
	rank   int     // k of FIPS 203
	hybrid dhGroup // whose part comes after ML-KEM's, in keys and ciphertexts; or nil
}

func (l *latticeKEM) baseMode(h hashAlg, a aeadAlg) publicKeyScheme { return newBaseMode(l, h, a) }

func (l *latticeKEM) kemID() uint16 { return l.id }

func (l *latticeKEM) newKey(raw []byte) (*hpkeKey, error) {
	if len(raw) != l.scheme.SeedSize() {
		return nil, errKeySize
	}
	return l.take(bytes.Clone(raw))
}

// take is newKey of a raw of the right size that it keeps.
func (l *latticeKEM) take(raw []byte) (*hpkeKey, error) {
	public, private := l.scheme.DeriveKeyPair(raw)
	pub, err := public.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return &hpkeKey{of: l, raw: raw, pub: pub, lattice: private}, nil
}

func (l *latticeKEM) generateKey() (*hpkeKey, error) {
	raw := make([]byte, l.scheme.SeedSize())
	rand.Read(raw) // never fails
	return l.take(raw)
}

// deriveKey is DeriveKeyPair of draft-ietf-hpke-pq: whatever the KDF of the
// suite, the seed comes from SHAKE256.
func (l *latticeKEM) deriveKey(ikm []byte) (*hpkeKey, error) {
	raw := make([]byte, l.scheme.SeedSize())
	labeledDerive(raw, l.id, ikm, "DeriveKeyPair")
	return l.take(raw)
}

func (l *latticeKEM) checkPublic(pub []byte) error {
	if len(pub) != l.scheme.PublicKeySize() {
		return errKeySize
	}
	return checkEncapsulationKey(pub, l.rank, l.hybrid)
}

// encap refuses the public keys that checkPublic does: CIRCL's X-Wing would
// take an X25519 point of low order.
func (l *latticeKEM) encap(pub []byte) (enc, shared []byte, err error) {
	if err := l.checkPublic(pub); err != nil {
		return nil, nil, err
	}
	public, err := l.scheme.UnmarshalBinaryPublicKey(pub)
	if err != nil {
		return nil, nil, errLattice
	}
	return l.scheme.Encapsulate(public)
}

// decap fails for a ciphertext that no encapsulation gives. It doesn't for one
// to another key: ML-KEM then gives a secret that nobody else has, and it is
// the AEAD that fails.
func (l *latticeKEM) decap(k *hpkeKey, enc []byte) ([]byte, error) {
	if k.of != l {
		return nil, errOtherGroup
	}
	if len(enc) != l.scheme.CiphertextSize() {
		return nil, errKeySize
	}
	if l.hybrid != nil {
		if err := l.hybrid.checkPublic(enc[len(enc)-l.pointSize():]); err != nil {
			return nil, err
		}
	}
	return l.scheme.Decapsulate(k.lattice, enc)
}

// pointSize is the size of the group's part of a public key.
func (l *latticeKEM) pointSize() int { return l.scheme.PublicKeySize() - encapsulationKeySize(l.rank) }

// encapsulationKeySize is the size of ByteEncode12 of a vector, and of the
// matrix's seed (FIPS 203, Table 3).
func encapsulationKeySize(rank int) int { return 384*rank + 32 }

// checkEncapsulationKey checks an ML-KEM encapsulation key with a point of
// hybrid after it: every coefficient is below q (FIPS 203, Section 7.2). Parsing
// it would make sure too, and expand a matrix for every node of a tree.
func checkEncapsulationKey(pub []byte, rank int, hybrid dhGroup) error {
	const q = 3329
	size := encapsulationKeySize(rank)
	if len(pub) < size {
		return errKeySize
	}
	for p := pub[:384*rank]; len(p) > 0; p = p[3:] {
		if int(p[0])|int(p[1]&0x0f)<<8 >= q || int(p[1])>>4|int(p[2])<<4 >= q {
			return errLattice
		}
	}
	if hybrid == nil {
		return nil
	}
	return hybrid.checkPublic(pub[size:])
}

// labeledDerive fills out with SHAKE256.LabeledDerive(ikm, label, "", Nsk) under
// the suite_id of a KEM (draft-ietf-hpke-pq).
func labeledDerive(out []byte, kemID uint16, ikm []byte, label string) {
	h := sha3.NewSHAKE256()
	h.Write(ikm)
	head := binary.BigEndian.AppendUint16([]byte("HPKE-v1KEM"), kemID)
	head = binary.BigEndian.AppendUint16(head, uint16(len(label)))
	head = append(head, label...)
	head = binary.BigEndian.AppendUint16(head, uint16(len(out)))
	h.Write(head)
	h.Read(out)
}
