// Package wire is the codec of the TLS presentation language as RFC 9420,
// Section 2.1 uses it: fixed-size integers, variable-size vectors with a
// minimally encoded length, and optional values.
//
// Every structure of the protocol has a hand-written pair over it: an Encode
// method on a [Builder] and a Decode method on a [Reader]. Both carry a sticky
// error, so a pair is a straight list of fields; the error is looked at once,
// by [Marshal] and [Unmarshal].
//
// A Reader allocates only where it says so: a length is compared with the bytes that are left
// before anything is done with it, and vectors are sub-slices of the input.
//
// A Builder or a Reader is not safe for concurrent use.
package wire

import "errors"

// ErrMalformed is wrapped by every decoding error: the input is not the
// encoding of anything.
var ErrMalformed = errors.New("mls: malformed")

// MaxVector is the greatest length in bytes of a vector: the length prefix has
// 30 bits (RFC 9420, Section 2.1.2).
const MaxVector = 1<<30 - 1

// An Encoder appends its encoding to b, and reports through b.Fail that it has
// none.
type Encoder interface {
	Encode(b *Builder)
}

// A Decoder sets itself to the value at the start of r, and reports through
// r.Fail that there is none. What it keeps of the input it copies; what it is
// set to after a failure is unspecified.
type Decoder interface {
	Decode(r *Reader)
}

// Marshal returns the encoding of e.
func Marshal(e Encoder) ([]byte, error) {
	b := scratch.Get().(*Builder)
	first := b.buf
	defer func() {
		if cap(b.buf) <= maxScratch || b.err != nil {
			clear(b.buf) // else it is the result
		}
		giveBack(b, first)
	}()
	e.Encode(b)
	p, err := b.Bytes()
	if err != nil || len(p) == 0 {
		return nil, err
	}
	if cap(p) > maxScratch {
		return p, nil
	}
	return append(make([]byte, 0, len(p)), p...), nil
}

// Unmarshal decodes the whole of p into d. Bytes that are left over are an
// error, as is every other one wrapping [ErrMalformed] or what d reported.
func Unmarshal(p []byte, d Decoder) error { return unmarshal(NewReader(p), d) }

// UnmarshalOwned is Unmarshal of a p that nobody else has: d takes it over, and
// what it keeps is part of p. One copy of a message is much cheaper than a copy of
// each of its fields.
func UnmarshalOwned(p []byte, d Decoder) error { return unmarshal(NewOwnedReader(p), d) }

func unmarshal(r *Reader, d Decoder) error {
	d.Decode(r)
	if r.Err() == nil && !r.Empty() {
		r.Fail("%d trailing bytes", r.Len())
	}
	return r.Err()
}
