package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

// KeySize is the size in bytes of a key for encryption at rest.
const KeySize = chacha20poly1305.KeySize

// Key opens a sealed store. It prints nothing of what it holds.
type Key struct {
	secret     mls.Secret
	passphrase bool
	cost       Argon2
}

// RawKey returns the key that consists of KeySize random bytes, which the
// application keeps elsewhere, such as in the keychain of the system.
func RawKey(secret mls.Secret) Key { return Key{secret: secret} }

// Passphrase returns the key that is derived from a passphrase. The cost applies
// to a store that is made with it or changed to it; a store that exists has its
// own.
func Passphrase(passphrase mls.Secret, cost Argon2) Key {
	return Key{secret: passphrase, passphrase: true, cost: cost.orDefault()}
}

// Argon2 is the cost of deriving a key from a passphrase with Argon2id (RFC
// 9106). A zero field stands for that of DefaultArgon2.
type Argon2 struct {
	Time    uint32 // passes over the memory
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultArgon2 is the second recommended option of RFC 9106, Section 4, for
// machines where 2 GiB are too much: a few tenths of a second.
var DefaultArgon2 = Argon2{Time: 3, Memory: 64 << 10, Threads: 4}

// Bounds on what a stored cost can make us spend: beyond them the file is
// damaged rather than careful.
const (
	maxArgonTime   = 1 << 10
	maxArgonMemory = 4 << 20 // KiB: 4 GiB
)

func (a Argon2) orDefault() Argon2 {
	if a.Time == 0 {
		a.Time = DefaultArgon2.Time
	}
	if a.Memory == 0 {
		a.Memory = DefaultArgon2.Memory
	}
	if a.Threads == 0 {
		a.Threads = DefaultArgon2.Threads
	}
	return a
}

func (a Argon2) check() error {
	if a.Time == 0 || a.Time > maxArgonTime || a.Memory < 8*uint32(a.Threads) || a.Memory > maxArgonMemory || a.Threads == 0 {
		return fmt.Errorf("%w: Argon2 parameters out of bounds", ErrCorrupt)
	}
	return nil
}

// headerVersion is the version of sealed stores: the first byte of the header.
const headerVersion = 1

// Ways from a Key to the key that wraps the data key.
const (
	kdfNone   = 0
	kdfArgon2 = 1
)

const saltSize = 16

// header is the record that says how a store is sealed.
type header struct {
	KDF     uint   `cbor:"1,keyasint"`
	Salt    []byte `cbor:"2,keyasint"`
	Time    uint32 `cbor:"3,keyasint,omitempty"`
	Memory  uint32 `cbor:"4,keyasint,omitempty"`
	Threads uint8  `cbor:"5,keyasint,omitempty"`
	// Wrapped is a nonce and the data key, sealed.
	Wrapped []byte `cbor:"6,keyasint,omitempty"`
	// Sum is the SHA-256 of the header without it: it tells damage from a
	// wrong passphrase.
	Sum []byte `cbor:"7,keyasint,omitempty"`
}

func (h header) bytes() ([]byte, error) {
	body, err := state.Marshal(h)
	return append([]byte{headerVersion}, body...), err
}

func (h header) withoutSum() ([]byte, error) {
	h.Sum = nil
	return h.bytes()
}

// unwrapped is what the wrapped key is bound to.
func (h header) unwrapped() ([]byte, error) {
	h.Wrapped = nil
	return h.withoutSum()
}

func (h header) cost() Argon2 { return Argon2{h.Time, h.Memory, h.Threads} }

// wrap makes the header that lets k open dataKey.
func wrap(k Key, dataKey mls.Secret) ([]byte, error) {
	h := header{KDF: kdfNone, Salt: make([]byte, saltSize)}
	rand.Read(h.Salt)
	if k.passphrase {
		h.KDF, h.Time, h.Memory, h.Threads = kdfArgon2, k.cost.Time, k.cost.Memory, k.cost.Threads
		if err := k.cost.check(); err != nil {
			return nil, errors.New("store: Argon2 parameters out of bounds")
		}
	}
	wrapping, err := h.wrappingKey(k)
	if err != nil {
		return nil, err
	}
	defer wrapping.Destroy()
	aead, err := chacha20poly1305.NewX(wrapping.UnsafeBytes())
	if err != nil {
		return nil, err
	}
	aad, err := h.unwrapped()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+KeySize+aead.Overhead())
	rand.Read(nonce)
	h.Wrapped = aead.Seal(nonce, nonce, dataKey.UnsafeBytes(), aad)
	body, err := h.withoutSum()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	h.Sum = sum[:]
	return h.bytes()
}

// unwrap returns the data key.
func unwrap(k Key, encoded []byte) (mls.Secret, error) {
	h, err := parseHeader(encoded)
	if err != nil {
		return mls.Secret{}, err
	}
	wrapping, err := h.wrappingKey(k)
	if err != nil {
		return mls.Secret{}, err
	}
	defer wrapping.Destroy()
	aead, err := chacha20poly1305.NewX(wrapping.UnsafeBytes())
	if err != nil {
		return mls.Secret{}, err
	}
	aad, err := h.unwrapped()
	if err != nil {
		return mls.Secret{}, err
	}
	nonce, sealed := h.Wrapped[:aead.NonceSize()], h.Wrapped[aead.NonceSize():]
	dataKey, err := aead.Open(nil, nonce, sealed, aad)
	if err != nil {
		return mls.Secret{}, ErrWrongKey
	}
	return mls.NewSecret(dataKey), nil
}

func parseHeader(encoded []byte) (*header, error) {
	if len(encoded) > 0 && encoded[0] > headerVersion {
		return nil, fmt.Errorf("%w: sealed by version %d, known is %d", ErrNewer, encoded[0], headerVersion)
	}
	var h header
	if len(encoded) == 0 || encoded[0] != headerVersion || state.Unmarshal(encoded[1:], &h) != nil {
		return nil, fmt.Errorf("%w: its header cannot be read", ErrCorrupt)
	}
	body, err := h.withoutSum()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	wrapped := chacha20poly1305.NonceSizeX + KeySize + chacha20poly1305.Overhead
	if !bytes.Equal(h.Sum, sum[:]) || len(h.Salt) != saltSize || len(h.Wrapped) != wrapped || h.KDF > kdfArgon2 {
		return nil, fmt.Errorf("%w: its header was changed", ErrCorrupt)
	}
	if h.KDF == kdfArgon2 {
		return &h, h.cost().check()
	}
	return &h, nil
}

// wrappingKey is the key that wraps the data key.
func (h *header) wrappingKey(k Key) (mls.Secret, error) {
	if k.secret.IsZero() {
		return mls.Secret{}, ErrSealed
	}
	if k.passphrase != (h.KDF == kdfArgon2) {
		if k.passphrase {
			return mls.Secret{}, fmt.Errorf("%w: the store has a raw key, not a passphrase", ErrWrongKey)
		}
		return mls.Secret{}, fmt.Errorf("%w: the store has a passphrase, not a raw key", ErrWrongKey)
	}
	if k.passphrase {
		return mls.NewSecret(argon2.IDKey(k.secret.UnsafeBytes(), h.Salt, h.Time, h.Memory, h.Threads, KeySize)), nil
	}
	if k.secret.Len() != KeySize {
		return mls.Secret{}, fmt.Errorf("store: a raw key of %d bytes: %d are needed", k.secret.Len(), KeySize)
	}
	return k.secret.Clone(), nil
}
