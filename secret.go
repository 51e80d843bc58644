package mls

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "REDACTED"

var errEncodeSecret = errors.New("mls: a secret is not encoded by itself: use UnsafeBytes")

// Secret is a byte string that is never printed: no verb of package fmt, no
// logger and no JSON encoder shows it, be it in a field, unexported or not, or
// behind a pointer. The zero value is no secret at all, which differs from one
// of no bytes.
//
// Copies of a Secret share its bytes, so [Secret.Destroy] empties them all; a
// [Secret.Clone] is independent. A method of this module that takes a Secret
// leaves it to the caller unless its name starts with Take or its comment says
// that it consumes it. Using a Secret that was destroyed in a derivation
// panics: it would yield a key that anybody can derive.
//
// A Secret is safe for concurrent use until it is destroyed.
type Secret struct {
	// Two pointers, because fmt cannot call Format on an unexported field and
	// then follows one.
	p **[]byte
}

// box is all of a Secret that the two pointers pass through, in one piece of
// memory with the bytes when these are few.
type box struct {
	p *[]byte
	b []byte
}

func (x *box) secret() Secret {
	x.p = &x.b
	return Secret{&x.p}
}

// NewSecret returns the secret b, which it takes over: the caller must not use
// b again.
func NewSecret(b []byte) Secret {
	if b == nil {
		b = []byte{}
	}
	return (&box{b: b}).secret()
}

// ZeroSecret returns the secret of n zero bytes.
func ZeroSecret(n int) Secret {
	switch {
	case n <= 32:
		x := new(struct {
			box
			buf [32]byte
		})
		x.b = x.buf[:n:n]
		return x.secret()
	case n <= 64:
		x := new(struct {
			box
			buf [64]byte
		})
		x.b = x.buf[:n:n]
		return x.secret()
	}
	return NewSecret(make([]byte, n))
}

// RandomSecret returns a secret of n random bytes.
func RandomSecret(n int) Secret {
	s := ZeroSecret(n)
	rand.Read(s.UnsafeBytes()) // never fails
	return s
}

// copySecret returns the secret of a copy of b.
func copySecret(b []byte) Secret {
	s := ZeroSecret(len(b))
	copy(s.UnsafeBytes(), b)
	return s
}

// UnsafeBytes returns the secret's own bytes, nil if there is none: the one way
// to the bytes. They change when the secret is destroyed, and must not be
// changed otherwise.
func (s Secret) UnsafeBytes() []byte {
	if s.p == nil || *s.p == nil {
		return nil
	}
	return **s.p
}

// key returns the bytes for a derivation.
func (s Secret) key() []byte {
	if s.IsZero() {
		panic("mls: internal error: a derivation from no secret, or from one that was destroyed")
	}
	return **s.p
}

// Len returns the number of bytes.
func (s Secret) Len() int { return len(s.UnsafeBytes()) }

// IsZero reports whether there is no secret: s is the zero value or was
// destroyed.
func (s Secret) IsZero() bool { return s.p == nil || *s.p == nil }

// Equal reports, in time that depends on the lengths only, whether s and t are
// the same bytes. No secret equals nothing.
func (s Secret) Equal(t Secret) bool {
	return !s.IsZero() && !t.IsZero() && subtle.ConstantTimeCompare(s.UnsafeBytes(), t.UnsafeBytes()) == 1
}

// Clone returns a copy that shares no bytes with s.
func (s Secret) Clone() Secret {
	if s.IsZero() {
		return Secret{}
	}
	return copySecret(s.UnsafeBytes())
}

// Destroy overwrites the bytes and makes s, with all of its copies, no secret.
// Doing it again does nothing.
func (s Secret) Destroy() {
	if s.IsZero() {
		return
	}
	clear(**s.p)
	*s.p = nil
}

// Format implements [fmt.Formatter]: every verb prints "REDACTED".
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] with "REDACTED".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements [json.Marshaler] with "REDACTED".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalBinary fails: an encoding that only seemed to hold the secret would
// lose it.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, errEncodeSecret }

// MarshalCBOR fails: an encoding that only seemed to hold the secret would
// lose it.
func (s Secret) MarshalCBOR() ([]byte, error) { return nil, errEncodeSecret }
