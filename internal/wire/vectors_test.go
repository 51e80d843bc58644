package wire_test

import (
	"bytes"
	"testing"

	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
)

func TestDeserialization(t *testing.T) {
	cases := testkit.DecodeStrict[struct {
		Header testkit.Hex `json:"vlbytes_header"`
		Length int         `json:"length"`
	}](t, testkit.Vectors(t, "deserialization.json"))
	// Never written to beyond the header, so it takes up no memory.
	var input []byte
	for _, c := range cases {
		if n := len(c.Header) + c.Length; n > len(input) {
			input = make([]byte, n)
		}
	}
	for _, c := range cases {
		copy(input, c.Header)
		r := wire.NewReader(input[:len(c.Header)+c.Length])
		if got := r.Opaque(); r.Err() != nil || len(got) != c.Length || !r.Empty() {
			t.Errorf("%x: read %d bytes of %d, error %v", c.Header, len(got), c.Length, r.Err())
		}
		if got := wire.AppendVarint(nil, uint32(c.Length)); !bytes.Equal(got, c.Header) {
			t.Errorf("%d: header %x instead of %x", c.Length, got, c.Header)
		}
	}
}
