package wire

import "sync"

// scratch holds memory for encodings that are needed for one operation only:
// what is signed or hashed, and plaintexts. Messages are short and many: where
// each took fresh memory, a tenth of the time went into that.
//
// A new builder has room for most messages, as what is encoded into memory that is
// outgrown more than once stays there.
var scratch = sync.Pool{New: func() any { return NewBuilder(make([]byte, 0, 2<<10)) }}

// maxScratch is the size up to which scratch memory is kept: for messages of
// people, not for those that carry a tree.
const maxScratch = 16 << 10

// WithScratch calls use with what encode encodes, about n bytes. It is cleared
// when use returns, which must not keep it.
func WithScratch(n int, encode func(*Builder) error, use func([]byte) error) error {
	b := scratch.Get().(*Builder)
	b.Grow(n)
	first := b.buf
	defer func() {
		clear(b.buf)
		giveBack(b, first)
	}()
	if err := encode(b); err != nil {
		return err
	}
	p, err := b.Bytes()
	if err != nil {
		return err
	}
	return use(p)
}

// giveBack puts b back for others, with the memory that it has now, or that in
// which it began if that is too much, unless both are. What was encoded is cleared
// in the latter here, and in the former by the caller.
func giveBack(b *Builder, first []byte) {
	first, now := first[:cap(first)], b.buf[:cap(b.buf)]
	if len(first) > 0 && &first[0] != &now[0] {
		clear(first) // it was outgrown
	}
	if len(now) > maxScratch {
		now = first
	}
	if len(now) <= maxScratch {
		*b = Builder{buf: now[:0]}
		scratch.Put(b)
	}
}
