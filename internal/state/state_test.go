package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/treekem/mls/internal/wire"
)

type saved struct {
	Version int               `cbor:"1,keyasint"`
	Name    string            `cbor:"2,keyasint"`
	Key     []byte            `cbor:"3,keyasint"`
	Items   []uint32          `cbor:"4,keyasint"`
	Map     map[string]uint64 `cbor:"5,keyasint,omitempty"`
	Real    float64           `cbor:"6,keyasint,omitempty"`
}

func TestRoundTrip(t *testing.T) {
	want := saved{
		Version: 1, Name: "group", Key: []byte{1, 2}, Items: make([]uint32, 200_000),
		Map: map[string]uint64{"": 0, "b": math.MaxUint64, "aa": 23, "a": 24}, Real: 0.1,
	}
	p, err := Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got saved
	if err := Unmarshal(p, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("read back with error %v", err)
	}
	for range 20 { // the order of a map's keys is random in Go
		if again, _ := Marshal(got); !bytes.Equal(again, p) {
			t.Fatal("encoded differently")
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                        "",
		"trailing byte":                  "a1010100",
		"truncated":                      "a101",
		"unknown field":                  "a1186401",
		"duplicate key":                  "a201010102",
		"keys out of order":              "a202617801" + "01",
		"indefinite map":                 "bf0101ff",
		"indefinite string":              "a1027f6161ff",
		"indefinite array":               "a1049f01ff",
		"tag":                            "a101c101",
		"1 in two bytes":                 "a1011801",
		"255 in three bytes":             "a1011900ff",
		"65535 in five bytes":            "a1011a0000ffff",
		"2^32-1 in nine bytes":           "a1011b00000000ffffffff",
		"-1 in two bytes":                "a1013800",
		"text length in two bytes":       "a102780161",
		"array length in two bytes":      "a104980101",
		"map length in two bytes":        "b8010101",
		"1.5 in 64 bits":                 "a106fb3ff8000000000000",
		"1.5 in 32 bits":                 "a106fa3fc00000",
		"NaN in 32 bits":                 "a106fa7fc00000",
		"undefined":                      "a106f7",
		"simple value":                   "a106f820",
		"text for a number":              "a10161" + "31",
		"number beyond the field's":      "a104811b0000000100000000",
		"invalid UTF-8":                  "a10261ff",
		"field name in another's stead":  "a1617601",
		"map key out of order, in depth": "a105a2616201616101",
		"array longer than the input":    "a1049affffffff00",
		"map longer than the input":      "baffffffff",
		"reserved head":                  "a1011c",
	} {
		p, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(name, err)
		}
		var got saved
		if err := Unmarshal(p, &got); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	nested := func(n int) []byte {
		return append(bytes.Repeat([]byte{0x81}, n), 0)
	}
	var v any
	if err := Unmarshal(nested(MaxNesting), &v); err != nil {
		t.Errorf("%d levels: %v", MaxNesting, err)
	}
	if err := Unmarshal(nested(MaxNesting+1), &v); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("%d levels: %v", MaxNesting+1, err)
	}
	if err := Unmarshal(nested(1_000_000), &v); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a million levels: %v", err)
	}
}

func TestShortestFloats(t *testing.T) {
	for _, f := range []float64{
		0, math.Copysign(0, -1), 1, 1.5, 65504, 65505, 65536, 0.1, -2.25, 1e300,
		math.Inf(1), math.Inf(-1), 0x1p-14, 0x1p-24, 0x1.8p-24, 0x1p-25, 0x1.004p0, 0x1.002p0,
		math.SmallestNonzeroFloat32, math.SmallestNonzeroFloat64, math.MaxFloat32, math.Pi,
	} {
		p, err := Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var got float64
		if err := Unmarshal(p, &got); err != nil || math.Float64bits(got) != math.Float64bits(f) {
			t.Errorf("%g, encoded as %x: %g, %v", f, p, got, err)
		}
	}
}

func TestErrorsHoldNoValues(t *testing.T) {
	p, _ := Marshal(map[int]any{1: "a-secret-in-the-wrong-field"})
	var got saved
	if err := Unmarshal(p, &got); err == nil || strings.Contains(err.Error(), "a-secret") {
		t.Errorf("error %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, v := range []any{saved{Version: 1}, []any{1.5, "x", nil, true}, map[string]any{"a": []byte{1}}} {
		p, _ := Marshal(v)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var typed saved
		if err := Unmarshal(p, &typed); err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("error %v", err)
		}
		var v any
		if err := Unmarshal(p, &v); err != nil {
			return
		}
		if got, err := Marshal(v); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("%x is encoded again as %x, %v", p, got, err)
		}
	})
}
