package mls

import (
	"bytes"
	stdhpke "crypto/hpke"
	"slices"
)

// stdKEM is a KEM of package crypto/hpke, which gives no shared secrets away:
// HPKE as a whole is from there. A private key is the seed of 32 bytes.
type stdKEM struct {
	kem    stdhpke.KEM
	rank   int     // k of FIPS 203
	hybrid dhGroup // whose part of a public key comes after ML-KEM's
}

// stdMode is the base mode over a stdKEM.
type stdMode struct {
	*stdKEM
	kdf  stdhpke.KDF
	aead stdhpke.AEAD
}

func (s *stdKEM) baseMode(h hashAlg, a aeadAlg) publicKeyScheme {
	kdf, err := stdhpke.NewKDF(uint16(h))
	if err != nil {
		panic("mls: internal error: " + err.Error())
	}
	aead, err := stdhpke.NewAEAD(uint16(a))
	if err != nil {
		panic("mls: internal error: " + err.Error())
	}
	return &stdMode{s, kdf, aead}
}

func (s *stdKEM) wrap(k stdhpke.PrivateKey, err error) (*hpkeKey, error) {
	if err != nil {
		return nil, errKeySize // all that can be wrong with a seed
	}
	raw, err := k.Bytes()
	if err != nil {
		return nil, err
	}
	return &hpkeKey{of: s, raw: bytes.Clone(raw), pub: k.PublicKey().Bytes(), std: k}, nil
}

func (s *stdKEM) newKey(raw []byte) (*hpkeKey, error)    { return s.wrap(s.kem.NewPrivateKey(raw)) }
func (s *stdKEM) deriveKey(ikm []byte) (*hpkeKey, error) { return s.wrap(s.kem.DeriveKeyPair(ikm)) }
func (s *stdKEM) generateKey() (*hpkeKey, error)         { return s.wrap(s.kem.GenerateKey()) }
func (s *stdKEM) checkPublic(pub []byte) error           { return checkEncapsulationKey(pub, s.rank, s.hybrid) }

func (m *stdMode) sender(pub, info []byte) (enc []byte, s *stdhpke.Sender, err error) {
	if err := m.checkPublic(pub); err != nil {
		return nil, nil, err
	}
	public, err := m.kem.NewPublicKey(pub)
	if err != nil {
		return nil, nil, errLattice
	}
	return stdhpke.NewSender(public, m.kdf, m.aead, info)
}

func (m *stdMode) recipient(k *hpkeKey, info, enc []byte) (*stdhpke.Recipient, error) {
	if k.of != m.stdKEM {
		return nil, errOtherGroup
	}
	return stdhpke.NewRecipient(enc, k.std, m.kdf, m.aead, info)
}

// prepare returns the info itself: crypto/hpke hashes it anew each time.
func (m *stdMode) prepare(head, content []byte) []byte { return slices.Concat(head, content) }

func (m *stdMode) seal(pub, info, plaintext []byte) (enc, ciphertext []byte, err error) {
	enc, s, err := m.sender(pub, info)
	if err != nil {
		return nil, nil, err
	}
	ciphertext, err = s.Seal(nil, plaintext)
	return enc, ciphertext, err
}

func (m *stdMode) open(k *hpkeKey, head, content, enc, ciphertext []byte) ([]byte, error) {
	r, err := m.recipient(k, slices.Concat(head, content), enc)
	if err != nil {
		return nil, err
	}
	return r.Open(nil, ciphertext)
}

func (m *stdMode) sendExport(pub []byte, exporterContext string, n int) (enc []byte, secret Secret, err error) {
	enc, s, err := m.sender(pub, nil)
	if err != nil {
		return nil, Secret{}, err
	}
	out, err := s.Export(exporterContext, n)
	if err != nil {
		return nil, Secret{}, err
	}
	return enc, NewSecret(out), nil
}

func (m *stdMode) receiveExport(k *hpkeKey, enc []byte, exporterContext string, n int) (Secret, error) {
	r, err := m.recipient(k, nil, enc)
	if err != nil {
		return Secret{}, err
	}
	out, err := r.Export(exporterContext, n)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(out), nil
}
