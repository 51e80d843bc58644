package wire

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzReader reads data by a script of getters and writes what it got back by
// the same script: whatever is accepted has one encoding.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, bytes.Repeat([]byte{1}, 64))
	f.Add([]byte{5}, []byte{0x40, 0x40})
	f.Add([]byte{5}, append([]byte{0x40, 0x40}, make([]byte, 64)...))
	f.Add([]byte{5}, []byte{0xbf, 0xff, 0xff, 0xff})
	f.Add([]byte{5, 5}, []byte{0xc0, 0, 0, 0, 0})
	f.Add([]byte{7, 6, 5}, []byte{5, 4, 3, 'a', 'b', 'c', 1, 2, 3})
	f.Fuzz(func(t *testing.T, script, data []byte) {
		r := NewReader(data)
		var b Builder
		for _, op := range script {
			step(r, &b, op, 0)
		}
		if err := r.Err(); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		got, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if want := data[:r.Mark()]; !bytes.Equal(got, want) || r.Len() != len(data)-len(want) {
			t.Fatalf("read %x and wrote %x", want, got)
		}
	})
}

func step(r *Reader, b *Builder, op byte, depth int) {
	switch op % 8 {
	case 0:
		b.U8(r.U8())
	case 1:
		b.U16(r.U16())
	case 2:
		b.U32(r.U32())
	case 3:
		b.U64(r.U64())
	case 4:
		b.Optional(r.Optional())
	case 5:
		b.Opaque(r.OpaqueCopy())
	case 6:
		b.Raw(r.Raw(int(op >> 3)))
	case 7:
		b.Vector(func(b *Builder) {
			r.Vector(func(r *Reader) {
				if depth < 4 {
					step(r, b, op/8, depth+1)
				}
			})
		})
	}
}
