package wire

import "sync"

// scratch holds memory for encodings that are needed for one operation only:
// what is signed or hashed, and plaintexts. Messages are short and many: where
// each took fresh memory, a tenth of the time went into that.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch is the size up to which scratch memory is kept: for messages of
// people, not for those that carry a tree.
const maxScratch = 16 << 10

// WithScratch calls use with what encode encodes, about n bytes. It is cleared
// when use returns, which must not keep it.
func WithScratch(n int, encode func(*Builder) error, use func([]byte) error) error {
	var buf *[]byte
	if n <= maxScratch {
		buf = scratch.Get().(*[]byte)
	} else {
		buf = new([]byte) // which is not for the pool
	}
	if cap(*buf) < n {
		*buf = make([]byte, 0, n)
	}
	b := NewBuilder((*buf)[:0])
	defer func() {
		clear(b.buf)
		giveBack(buf, b.buf)
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

// giveBack puts scratch memory back for others, all of it cleared. last is what
// the encoding is in: buf itself, or what took its place when it was too small.
func giveBack(buf *[]byte, last []byte) {
	if cap(*buf) > 0 && cap(last) > 0 && &(*buf)[:1][0] != &last[:1][0] {
		clear((*buf)[:cap(*buf)])
	}
	if cap(last) <= maxScratch {
		*buf = last
	}
	if cap(*buf) <= maxScratch {
		*buf = (*buf)[:0]
		scratch.Put(buf)
	}
}
