package wire

import (
	"encoding/binary"
	"fmt"
)

// A Builder appends encodings to one buffer. The zero value is ready to use.
// The first failure sticks, whatever is appended after it.
type Builder struct {
	buf []byte
	err error
}

// NewBuilder returns a Builder that appends to buf, which it takes over.
func NewBuilder(buf []byte) *Builder { return &Builder{buf: buf} }

// Grow makes room for n more bytes, so that appending them allocates nothing.
func (b *Builder) Grow(n int) {
	if cap(b.buf)-len(b.buf) < n {
		b.buf = append(make([]byte, 0, len(b.buf)+n), b.buf...)
	}
}

// Len returns the number of bytes appended so far.
func (b *Builder) Len() int { return len(b.buf) }

// U8 appends one byte.
func (b *Builder) U8(v uint8) { b.buf = append(b.buf, v) }

// U16 appends v as two bytes, the most significant first.
func (b *Builder) U16(v uint16) { b.buf = binary.BigEndian.AppendUint16(b.buf, v) }

// U32 appends v as four bytes, the most significant first.
func (b *Builder) U32(v uint32) { b.buf = binary.BigEndian.AppendUint32(b.buf, v) }

// U64 appends v as eight bytes, the most significant first.
func (b *Builder) U64(v uint64) { b.buf = binary.BigEndian.AppendUint64(b.buf, v) }

// Raw appends p as it is.
func (b *Builder) Raw(p []byte) { b.buf = append(b.buf, p...) }

// Opaque appends p as a vector of bytes: opaque<V>.
func (b *Builder) Opaque(p []byte) {
	if !b.fits(len(p)) {
		return
	}
	b.buf = AppendVarint(b.buf, uint32(len(p)))
	b.buf = append(b.buf, p...)
}

// Optional appends the presence byte of an optional value
// (RFC 9420, Section 2.1.1); a value that is present follows it.
func (b *Builder) Optional(present bool) {
	if present {
		b.U8(1)
	} else {
		b.U8(0)
	}
}

// Vector appends the vector whose contents f appends.
//
// The length is written in place afterwards, in the one byte left for it or,
// for 64 bytes and more, after the contents have moved up by what its prefix
// takes: far cheaper than a buffer of its own for each nested vector.
func (b *Builder) Vector(f func(*Builder)) {
	start := len(b.buf)
	b.buf = append(b.buf, 0)
	f(b)
	if b.err != nil {
		return
	}
	n := len(b.buf) - start - 1
	if !b.fits(n) {
		return
	}
	if extra := VarintSize(uint32(n)) - 1; extra > 0 {
		var room [3]byte
		b.buf = append(b.buf, room[:extra]...)
		copy(b.buf[start+1+extra:], b.buf[start+1:start+1+n])
	}
	AppendVarint(b.buf[:start], uint32(n))
}

func (b *Builder) fits(n int) bool {
	if n > MaxVector {
		b.Fail(fmt.Errorf("mls: a vector of %d bytes exceeds the limit of 2^30-1", n))
	}
	return b.err == nil
}

// Fail makes the Builder fail with err, unless it has failed already.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Bytes returns the encoding, which is the Builder's own buffer, or nil and
// the first failure.
func (b *Builder) Bytes() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.buf, nil
}

// VarintSize returns the size in bytes of the length prefix for n, at most
// [MaxVector].
func VarintSize(n uint32) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	default:
		return 4
	}
}

// AppendVarint appends n, at most [MaxVector], as a length prefix
// (RFC 9420, Section 2.1.2): the fewest bytes that hold it, and in the first
// two bits how many these are.
func AppendVarint(p []byte, n uint32) []byte {
	switch VarintSize(n) {
	case 1:
		return append(p, byte(n))
	case 2:
		return binary.BigEndian.AppendUint16(p, 1<<14|uint16(n))
	default:
		if n > MaxVector {
			panic("mls: internal error: length prefix beyond 2^30-1")
		}
		return binary.BigEndian.AppendUint32(p, 2<<30|n)
	}
}
