package wire

import "sync"

// scratch holds memory for encodings that are needed for one operation only:
// what is signed or hashed, and plaintexts. Messages are short and many: where each took
// fresh memory, a tenth of the time went into that.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch is the size up to which scratch memory is used and kept: for
// messages of people, not for those that carry a tree.
const maxScratch = 16 << 10

// WithScratch calls use with what encode encodes, about n bytes. It is cleared
// when use returns, which must not keep it.
func WithScratch(n int, encode func(*Builder) error, use func([]byte) error) error {
	if n > maxScratch {
		var b Builder
		b.Grow(n)
		return encodeAndUse(&b, encode, use)
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	if cap(*buf) < n {
		*buf = make([]byte, 0, n)
	}
	return encodeAndUse(NewBuilder((*buf)[:0]), encode, func(p []byte) error {
		if cap(p) <= maxScratch {
			*buf = p[:0]
		}
		defer clear(p)
		return use(p)
	})
}

func encodeAndUse(b *Builder, encode func(*Builder) error, use func([]byte) error) error {
	if err := encode(b); err != nil {
		return err
	}
	p, err := b.Bytes()
	if err != nil {
		return err
	}
	return use(p)
}
