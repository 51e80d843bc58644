package wire

import (
	"bytes"
	"errors"
	"testing"
)

// secret encodes n bytes that are looked for afterwards.
type secret struct {
	n    int
	fail bool
}

var mark = []byte("SECRET--")

func (s secret) Encode(b *Builder) {
	b.Raw(bytes.Repeat(mark, s.n/len(mark)))
	if s.fail {
		b.Fail(errors.New("failed"))
	}
}

// TestScratchIsCleared looks for what was encoded in the memory that is used
// again, whatever became of the encoding.
func TestScratchIsCleared(t *testing.T) {
	use := func([]byte) error { return nil }
	encode := func(s secret) func(*Builder) error {
		return func(b *Builder) error { s.Encode(b); return nil }
	}
	for name, f := range map[string]func(){
		"Marshal":               func() { _, _ = Marshal(secret{n: 80}) },
		"Marshal fails":         func() { _, _ = Marshal(secret{n: 80, fail: true}) },
		"Marshal of much":       func() { _, _ = Marshal(secret{n: 2 * maxScratch}) },
		"used":                  func() { _ = WithScratch(80, encode(secret{n: 80}), use) },
		"longer than said":      func() { _ = WithScratch(1, encode(secret{n: 8000}), use) },
		"much longer than said": func() { _ = WithScratch(1, encode(secret{n: 2 * maxScratch}), use) },
		"encoding fails":        func() { _ = WithScratch(1, encode(secret{n: 80, fail: true}), use) },
		"encoding gives up":     func() { _ = WithScratch(1, func(b *Builder) error { b.Raw(mark); return ErrMalformed }, use) },
		"whoever uses it fails": func() { _ = WithScratch(1, encode(secret{n: 80}), func([]byte) error { return ErrMalformed }) },
		"whoever uses it panics": func() {
			defer func() { _ = recover() }()
			_ = WithScratch(1, encode(secret{n: 80}), func([]byte) error { panic(1) })
		},
	} {
		for range 4 { // the pool drops some of what it gets
			f()
			if inPool(mark) {
				t.Errorf("%s: it is in memory that is used again", name)
			}
		}
	}
	var kept []byte
	_ = WithScratch(2*maxScratch, encode(secret{n: maxScratch}), func(p []byte) error { kept = p; return nil })
	if len(kept) == 0 || bytes.Contains(kept, mark) {
		t.Error("long scratch memory is not cleared")
	}
}

// TestOutgrownScratchIsCleared: what was made for an encoding that turned out longer
// than said is cleared, too.
func TestOutgrownScratchIsCleared(t *testing.T) {
	for _, n := range []int{4000, maxScratch + 1} {
		scratch.Put(new(Builder))
		var first []byte
		_ = WithScratch(n, func(b *Builder) error {
			b.Raw(mark)
			first = b.buf
			b.Raw(make([]byte, cap(b.buf)))
			return nil
		}, func([]byte) error { return nil })
		if bytes.Contains(first[:cap(first)], mark) {
			t.Errorf("%d bytes: the memory that was outgrown still has them", n)
		}
	}
}

// inPool looks for something in the pool's memory, and clears it.
func inPool(what []byte) (found bool) {
	var all []*Builder
	for range 8 {
		b := scratch.Get().(*Builder)
		all = append(all, b)
		whole := b.buf[:cap(b.buf)]
		found = found || bytes.Contains(whole, what)
		clear(whole)
	}
	for _, b := range all {
		scratch.Put(b)
	}
	return found
}

func TestMarshalOfNothing(t *testing.T) {
	if p, err := Marshal(secret{}); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
}
