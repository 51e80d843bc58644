package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/treekem/mls/internal/wire"
)

// Major types of RFC 8949, Section 3.1.
const (
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorSimple = 7
)

// Additional information of [majorSimple] (RFC 8949, Section 3.3): false, true
// and null follow one another, and a byte holds the rarer simple values.
const (
	simpleFalse = 20
	simpleNull  = 22
	simpleByte  = 24
)

// deterministic checks the rules of RFC 8949, Section 4.2.1 that
// wellformedness does not cover: shortest heads, shortest floats, and the keys
// of a map in bytewise order, each once. p is well formed, and nests no deeper
// than [MaxNesting].
func deterministic(p []byte) error {
	_, err := item(p)
	return err
}

// item checks the item at the start of p and returns what follows it.
func item(p []byte) (rest []byte, err error) {
	major, arg, rest, err := head(p)
	if err != nil {
		return nil, err
	}
	switch major {
	case majorBytes, majorText:
		return rest[arg:], nil
	case majorArray:
		for ; arg > 0 && err == nil; arg-- {
			rest, err = item(rest)
		}
	case majorMap:
		rest, err = pairs(rest, arg)
	}
	return rest, err
}

func pairs(p []byte, n uint64) (rest []byte, err error) {
	var last []byte
	for ; n > 0; n-- {
		if rest, err = item(p); err != nil {
			return nil, err
		}
		key := p[:len(p)-len(rest)]
		if last != nil && bytes.Compare(last, key) >= 0 {
			return nil, notDeterministic("map keys out of order")
		}
		last = key
		if p, err = item(rest); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func head(p []byte) (major byte, arg uint64, rest []byte, err error) {
	major, info := p[0]>>5, p[0]&0x1f
	if major == majorSimple && (info < simpleFalse || simpleNull < info && info <= simpleByte) {
		return 0, 0, nil, notDeterministic("a simple value but false, true and null")
	}
	if info < 24 {
		return major, uint64(info), p[1:], nil
	}
	size := 1 << (info - 24)
	if info > 27 || len(p) < 1+size {
		return 0, 0, nil, notDeterministic("indefinite length")
	}
	var wide [8]byte
	copy(wide[8-size:], p[1:1+size])
	arg = binary.BigEndian.Uint64(wide[:])
	rest = p[1+size:]
	short := size == 1 && arg < 24 || size > 1 && arg>>(size*4) == 0
	if major == majorSimple {
		short = longFloat(arg, size)
	}
	if short {
		return 0, 0, nil, notDeterministic("a number not in its shortest form")
	}
	return major, arg, rest, nil
}

// longFloat reports whether the float of size bytes with these bits has a
// shorter encoding, or is a not-a-number other than the one that counts.
func longFloat(bits uint64, size int) bool {
	const infinity, notANumber = 0x7c00, 0x7e00
	switch size {
	case 2:
		return bits&0x7fff > infinity && bits != notANumber
	case 4:
		return fitsFloat16(math.Float32frombits(uint32(bits)))
	default:
		return fitsFloat32(math.Float64frombits(bits))
	}
}

// fitsFloat32 reports whether f keeps its value in 32 bits; so does every
// not-a-number, whose one encoding is the 16-bit one.
func fitsFloat32(f float64) bool {
	return math.IsNaN(f) || float64(float32(f)) == f
}

// fitsFloat16 reports whether f keeps its value in 16 bits: 11 significant
// bits, and an exponent no smaller than the least subnormal's, 2^-24, nor
// greater than 2^15's.
func fitsFloat16(f float32) bool {
	if f == 0 || math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return true
	}
	abs := math.Abs(float64(f))
	_, exp := math.Frexp(abs)
	ulp := math.Ldexp(1, max(exp-11, -24))
	return abs <= 65504 && math.Mod(abs, ulp) == 0
}

func notDeterministic(what string) error {
	return fmt.Errorf("%w: saved state: %s", wire.ErrMalformed, what)
}
