package mls

import (
	"crypto/rand"
	"encoding"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// mldsaSeed is the size of every parameter set's private key: the seed that
// key generation starts from (FIPS 204, Algorithm 6).
const mldsaSeed = 32

// mldsaScheme is ML-DSA (FIPS 204) over the message itself, not a hash of it,
// with the empty context, as in TLS (draft-ietf-tls-mldsa). A private key is the
// seed, never the expanded key. PK and SK are CIRCL's types of one parameter
// set.
type mldsaScheme[PK, SK any, P mldsaPublic[PK]] struct {
	code                      SignatureScheme
	publicSize, signatureSize int
	expand                    func(*[mldsaSeed]byte) (*PK, *SK)
	signTo                    func(sk *SK, message, context []byte, randomized bool, signature []byte) error
	check                     func(pk *PK, message, context, signature []byte) bool
}

type mldsaPublic[PK any] interface {
	*PK
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

var (
	mldsa44Scheme = &mldsaScheme[mldsa44.PublicKey, mldsa44.PrivateKey, *mldsa44.PublicKey]{
		SignatureMLDSA44, mldsa44.PublicKeySize, mldsa44.SignatureSize,
		mldsa44.NewKeyFromSeed, mldsa44.SignTo, mldsa44.Verify,
	}
	mldsa65Scheme = &mldsaScheme[mldsa65.PublicKey, mldsa65.PrivateKey, *mldsa65.PublicKey]{
		SignatureMLDSA65, mldsa65.PublicKeySize, mldsa65.SignatureSize,
		mldsa65.NewKeyFromSeed, mldsa65.SignTo, mldsa65.Verify,
	}
	mldsa87Scheme = &mldsaScheme[mldsa87.PublicKey, mldsa87.PrivateKey, *mldsa87.PublicKey]{
		SignatureMLDSA87, mldsa87.PublicKeySize, mldsa87.SignatureSize,
		mldsa87.NewKeyFromSeed, mldsa87.SignTo, mldsa87.Verify,
	}
)

func (s *mldsaScheme[PK, SK, P]) id() SignatureScheme { return s.code }

func (s *mldsaScheme[PK, SK, P]) newKey(raw []byte) (*signatureKey, error) {
	if len(raw) != mldsaSeed {
		return nil, errKeySize
	}
	seed := [mldsaSeed]byte(raw)
	return s.take(&seed)
}

// take is newKey of a seed that it keeps.
func (s *mldsaScheme[PK, SK, P]) take(seed *[mldsaSeed]byte) (*signatureKey, error) {
	pk, sk := s.expand(seed)
	pub, err := P(pk).MarshalBinary()
	if err != nil {
		return nil, err
	}
	return &signatureKey{
		raw: seed[:], pub: pub,
		// Hedged: a fault in the machine must not yield two signatures that
		// give the key away (FIPS 204, Section 3.4).
		sign: func(message []byte) ([]byte, error) {
			signature := make([]byte, s.signatureSize)
			err := s.signTo(sk, message, nil, true, signature)
			return signature, err
		},
		wipe: func() {
			var zero SK
			*sk = zero
		},
	}, nil
}

func (s *mldsaScheme[PK, SK, P]) generateKey() (*signatureKey, error) {
	seed := new([mldsaSeed]byte)
	rand.Read(seed[:]) // never fails
	return s.take(seed)
}

// checkPublic has the length to look at and nothing else: every string of that
// length is a public key.
func (s *mldsaScheme[PK, SK, P]) checkPublic(pub []byte) error {
	if len(pub) != s.publicSize {
		return errKeySize
	}
	return nil
}

func (s *mldsaScheme[PK, SK, P]) verify(pub, message, signature []byte) bool {
	if len(pub) != s.publicSize || len(signature) != s.signatureSize {
		return false
	}
	var pk PK
	return P(&pk).UnmarshalBinary(pub) == nil && s.check(&pk, message, nil, signature)
}
