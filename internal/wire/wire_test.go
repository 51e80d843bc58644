package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/treekem/mls/internal/testkit"
)

func TestVarintBoundaries(t *testing.T) {
	for _, c := range []struct {
		n    uint32
		want string
	}{
		{0, "00"}, {1, "01"},
		{0x3f, "3f"}, {0x40, "4040"},
		{0x3fff, "7fff"}, {0x4000, "80004000"},
		{0x3fffffff, "bfffffff"},
	} {
		got := AppendVarint(nil, c.n)
		if fmt.Sprintf("%x", got) != c.want || VarintSize(c.n) != len(got) {
			t.Errorf("%#x is written as %x in %d bytes, want %s", c.n, got, VarintSize(c.n), c.want)
		}
		r := NewReader(append(got, make([]byte, min(c.n, 0x4000))...))
		n := r.length()
		if c.n <= 0x4000 && (r.Err() != nil || uint32(n) != c.n) {
			t.Errorf("%s is read as %d, %v", c.want, n, r.Err())
		}
	}
}

func TestVectorBeyondTheLimitSticks(t *testing.T) {
	var b Builder
	if !b.fits(MaxVector) {
		t.Fatal("2^30-1 bytes refused")
	}
	b.Opaque(make([]byte, MaxVector+1)) // never written to, so it takes up no memory
	b.U8(1)
	if p, err := b.Bytes(); err == nil || p != nil || b.Len() > 1 {
		t.Errorf("a vector of 2^30 bytes gave %d bytes, error %v", len(p), err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a length of 2^30 was written")
		}
	}()
	AppendVarint(nil, MaxVector+1)
}

func TestMalformedLengths(t *testing.T) {
	for name, p := range map[string][]byte{
		"no bytes":                  {},
		"prefix 11":                 {0xc0, 0, 0, 0, 0, 0, 0, 0},
		"prefix 11, all ones":       bytes.Repeat([]byte{0xff}, 16),
		"0 in two bytes":            {0x40, 0x00},
		"63 in two bytes":           append([]byte{0x40, 0x3f}, make([]byte, 63)...),
		"0 in four bytes":           {0x80, 0, 0, 0},
		"16383 in four bytes":       append([]byte{0x80, 0, 0x3f, 0xff}, make([]byte, 0x3fff)...),
		"one byte missing":          {0x02, 1},
		"two-byte prefix cut":       {0x40},
		"four-byte prefix cut to 1": {0x80},
		"four-byte prefix cut to 2": {0x80, 0x01},
		"four-byte prefix cut to 3": {0x80, 0x01, 0x00},
		"2^30-1 bytes missing":      {0xbf, 0xff, 0xff, 0xff},
	} {
		for getter, read := range getters {
			r := NewReader(p)
			read(r)
			if !errors.Is(r.Err(), ErrMalformed) {
				t.Errorf("%s, %s: %v", name, getter, r.Err())
			}
		}
	}
}

var getters = map[string]func(*Reader){
	"Opaque":     func(r *Reader) { r.Opaque() },
	"OpaqueCopy": func(r *Reader) { r.OpaqueCopy() },
	"Vector":     func(r *Reader) { r.Vector(func(r *Reader) { r.U8() }) },
}

func TestFourBytesOfInputAllocateNoGigabyte(t *testing.T) {
	p := []byte{0xbf, 0xff, 0xff, 0xff}
	for name, read := range getters {
		const limit = 1024 // the error
		if got := testkit.AllocatedBy(limit, func() { read(NewReader(p)) }); got > limit {
			t.Errorf("%s allocates %d bytes", name, got)
		}
	}
}

func TestReadingAllocatesTheReaderOnly(t *testing.T) {
	testkit.CountsAllocations(t)
	p := []byte{1, 0, 2, 0, 0, 0, 3, 2, 'a', 'b', 3, 1, 'c', 0, 1}
	allocs := testing.AllocsPerRun(100, func() {
		r := NewReader(p)
		r.U8()
		r.U16()
		r.U32()
		r.Opaque()
		r.Vector(func(r *Reader) { r.Opaque() })
		if !r.Optional() || r.Err() != nil || !r.Empty() {
			t.Fatal(r.Err())
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestVectorIsWrittenInPlace(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 0x3fff, 0x4000, 70000} {
		contents := bytes.Repeat([]byte{'x'}, n)
		var flat, nested Builder
		flat.Opaque(contents)
		nested.Vector(func(b *Builder) { b.Raw(contents) })
		want, _ := flat.Bytes()
		got, err := nested.Bytes()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d encoded, error %v", n, len(got), err)
		}
	}
	b := NewBuilder(make([]byte, 0, 1<<16))
	contents := make([]byte, 20000)
	allocs := testing.AllocsPerRun(10, func() {
		b.buf = b.buf[:0]
		b.Vector(func(b *Builder) {
			b.Vector(func(b *Builder) { b.Raw(contents) })
			b.Vector(func(b *Builder) { b.Opaque(contents[:100]) })
		})
	})
	if allocs != 0 {
		t.Errorf("nested vectors take %v allocations", allocs)
	}
	r := NewReader(b.buf)
	var lengths []int
	r.Vector(func(r *Reader) { lengths = append(lengths, len(r.Opaque())) })
	if r.Err() != nil || len(lengths) != 2 || lengths[0] != 20000 || lengths[1] != 102 {
		t.Errorf("read back as %v, %v", lengths, r.Err())
	}
}

func TestVectorEndsWhereItsItemsDo(t *testing.T) {
	for name, p := range map[string][]byte{
		"item longer than the vector": {3, 0, 1, 0, 2}, // a u16 and a half
		"item takes nothing":          {1, 9},
	} {
		r := NewReader(p)
		r.Vector(func(r *Reader) {
			if name == "item takes nothing" {
				return
			}
			r.U16()
		})
		if !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
	r := NewReader([]byte{2, 1, 2, 3})
	r.Vector(func(r *Reader) { r.U8() })
	if r.Err() != nil || r.U8() != 3 || !r.Empty() {
		t.Errorf("after the vector: %v, %d left", r.Err(), r.Len())
	}
}

func TestPresenceByte(t *testing.T) {
	for v := range 256 {
		r := NewReader([]byte{byte(v)})
		got := r.Optional()
		if got != (v == 1) || (r.Err() == nil) != (v < 2) {
			t.Errorf("%d: %v, %v", v, got, r.Err())
		}
	}
}

func TestFailureSticks(t *testing.T) {
	r := NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	r.Fail("first: %w", errors.ErrUnsupported)
	r.FailWith(errors.New("second"))
	if r.U8() != 0 || r.U16() != 0 || r.U32() != 0 || r.U64() != 0 || r.Optional() ||
		r.Raw(1) != nil || r.Opaque() != nil || r.OpaqueCopy() != nil || r.Since(0) != nil {
		t.Error("a getter returned something after a failure")
	}
	r.Vector(func(*Reader) { t.Error("an item was read after a failure") })
	if err := r.Err(); !errors.Is(err, ErrMalformed) || !errors.Is(err, errors.ErrUnsupported) || strings.Contains(err.Error(), "second") {
		t.Errorf("error %v", err)
	}
	if r := NewReader([]byte{1}); r.Raw(-1) != nil || r.Err() == nil {
		t.Error("a negative length was read")
	}
}

func TestSubSlicesDontReachBeyond(t *testing.T) {
	p := []byte{2, 'a', 'b', 'c'}
	r := NewReader(p)
	mark := r.Mark()
	got := r.Opaque()
	_ = append(got, 'X')
	_ = append(r.Since(mark), 'Y')
	if p[3] != 'c' {
		t.Error("appending to a result overwrote the input")
	}
	if !bytes.Equal(r.Since(mark), p[:3]) {
		t.Errorf("bytes read since the mark: %v", r.Since(mark))
	}
	r = NewReader(p)
	kept := r.OpaqueCopy()
	p[1] = 'z'
	if string(kept) != "ab" {
		t.Error("the copy follows the input")
	}
	if NewReader([]byte{0}).OpaqueCopy() != nil {
		t.Error("no bytes are not nil")
	}
}

type pair struct{ a, b uint16 }

func (p *pair) Encode(b *Builder) { b.U16(p.a); b.U16(p.b) }
func (p *pair) Decode(r *Reader)  { p.a, p.b = r.U16(), r.U16() }

func TestUnmarshalTakesAllOfItsInput(t *testing.T) {
	want := pair{1, 0xfffe}
	p, err := Marshal(&want)
	if err != nil {
		t.Fatal(err)
	}
	var got pair
	if err := Unmarshal(p, &got); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	if err := Unmarshal(append(p, 0), &got); !errors.Is(err, ErrMalformed) {
		t.Errorf("a trailing byte: %v", err)
	}
	for n := range p {
		if err := Unmarshal(p[:n], &got); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes of %d: %v", n, len(p), err)
		}
	}
}

// TestUnmarshalOwned: what is kept is part of the input, which is taken over.
func TestUnmarshalOwned(t *testing.T) {
	p := []byte{2, 'a', 'b'}
	var copied, part copying
	if err := Unmarshal(p, &copied); err != nil {
		t.Fatal(err)
	}
	if err := UnmarshalOwned(p, &part); err != nil {
		t.Fatal(err)
	}
	p[1] = 'z'
	if string(copied) != "ab" || string(part) != "zb" {
		t.Errorf("%q was to be a copy, %q a part", copied, part)
	}
	if err := UnmarshalOwned(append(p, 0), &part); !errors.Is(err, ErrMalformed) {
		t.Errorf("a trailing byte: %v", err)
	}
}

type copying []byte

func (c *copying) Decode(r *Reader) { *c = r.OpaqueCopy() }

func TestNumbersAreBigEndian(t *testing.T) {
	var b Builder
	b.Grow(16)
	b.U8(1)
	b.U16(0x0203)
	b.U32(0x04050607)
	b.U64(0x08090a0b0c0d0e0f)
	b.Optional(true)
	b.Optional(false)
	p, err := b.Bytes()
	if err != nil || fmt.Sprintf("%x", p) != "0102030405060708090a0b0c0d0e0f0100" {
		t.Fatalf("%x, %v", p, err)
	}
	r := NewReader(p)
	if r.U8() != 1 || r.U16() != 0x0203 || r.U32() != 0x04050607 || r.U64() != 0x08090a0b0c0d0e0f || !r.Optional() || r.Optional() || r.Err() != nil {
		t.Error("read back differently")
	}
}
