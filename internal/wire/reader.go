package wire

import (
	"encoding/binary"
	"fmt"
)

// A Reader takes values off the front of its input. The first failure sticks:
// every getter returns the zero value from then on.
type Reader struct {
	p     []byte // the input, up to the end of the innermost open vector
	off   int
	owned bool // the input is ours: nothing of it needs copying
	err   error
}

// NewReader returns a Reader of p. It keeps p, and so does what [Reader.Raw],
// [Reader.Opaque] and [Reader.Since] return.
func NewReader(p []byte) *Reader { return &Reader{p: p} }

// NewOwnedReader returns a Reader that takes p over: what [Reader.OpaqueCopy]
// returns is a part of p then, for inputs that nobody else has.
func NewOwnedReader(p []byte) *Reader { return &Reader{p: p, owned: true} }

// Len returns the number of bytes left, within the innermost open vector.
func (r *Reader) Len() int { return len(r.p) - r.off }

// Empty reports whether no bytes are left, within the innermost open vector.
func (r *Reader) Empty() bool { return r.Len() == 0 }

// Err returns the first failure, or nil.
func (r *Reader) Err() error { return r.err }

// Fail makes the Reader fail with an error that wraps [ErrMalformed], unless
// it has failed already. The text must hold nothing secret; a %w in it is
// wrapped too.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

// FailWith makes the Reader fail with err itself, unless it has failed
// already: for input that is well formed and still of no use.
func (r *Reader) FailWith(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Mark returns the place the Reader is at, for [Reader.Since].
func (r *Reader) Mark() int { return r.off }

// Since returns the bytes read since mark: a sub-slice of the input, nil after
// a failure.
func (r *Reader) Since(mark int) []byte {
	if r.err != nil {
		return nil
	}
	return r.p[mark:r.off:r.off]
}

// Raw returns the next n bytes: a sub-slice of the input, not a copy.
func (r *Reader) Raw(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.Len() {
		r.Fail("%d bytes where %d are left", n, r.Len())
		return nil
	}
	p := r.p[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

// U8 returns the next byte.
func (r *Reader) U8() uint8 {
	if p := r.Raw(1); p != nil {
		return p[0]
	}
	return 0
}

// U16 returns the next two bytes as a number.
func (r *Reader) U16() uint16 {
	if p := r.Raw(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// U32 returns the next four bytes as a number.
func (r *Reader) U32() uint32 {
	if p := r.Raw(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// U64 returns the next eight bytes as a number.
func (r *Reader) U64() uint64 {
	if p := r.Raw(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// Optional returns whether an optional value is present. Any byte but 0 and 1
// is malformed (RFC 9420, Section 2.1.1).
func (r *Reader) Optional() bool {
	switch v := r.U8(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.Fail("presence byte %d", v)
		return false
	}
}

// Opaque returns the contents of a vector of bytes: a sub-slice of the input,
// not a copy.
func (r *Reader) Opaque() []byte { return r.Raw(r.length()) }

// OpaqueCopy returns a copy of the contents of a vector of bytes, nil if it
// has none.
func (r *Reader) OpaqueCopy() []byte {
	p := r.Opaque()
	switch {
	case len(p) == 0:
		return nil
	case r.owned:
		return p
	}
	return append([]byte(nil), p...)
}

// Vector calls item until the contents of a vector are used up. Within item
// the Reader ends where the vector does. An item that reads nothing is
// malformed: it could be read for ever.
func (r *Reader) Vector(item func(*Reader)) {
	n := r.length()
	if r.err != nil {
		return
	}
	outer := r.p
	r.p = r.p[:r.off+n]
	for r.err == nil && !r.Empty() {
		before := r.off
		item(r)
		if r.off == before {
			r.Fail("an item of a vector takes no bytes")
		}
	}
	r.p = outer
}

// length returns the length prefix of a vector, which is never more than the
// bytes left after it (RFC 9420, Section 2.1.2).
func (r *Reader) length() int {
	first := r.U8()
	n := uint32(first & 0x3f)
	switch first >> 6 {
	case 0:
	case 1:
		n = n<<8 | uint32(r.U8())
	case 2:
		p := r.Raw(3)
		if p == nil {
			return 0
		}
		n = n<<24 | uint32(p[0])<<16 | uint32(p[1])<<8 | uint32(p[2])
	default:
		r.Fail("length prefix %#02x", first)
		return 0
	}
	if r.err != nil {
		return 0
	}
	if VarintSize(n) != 1<<(first>>6) {
		r.Fail("length %d is not encoded in the fewest bytes", n)
		return 0
	}
	if int(n) > r.Len() {
		r.Fail("a vector of %d bytes where %d are left", n, r.Len())
		return 0
	}
	return int(n)
}
