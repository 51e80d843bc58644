// Package state is the encoding of what is ours to save: deterministic CBOR
// (RFC 8949, Section 4.2.1). What RFC 9420 defines is in package wire's
// encoding instead.
package state

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/treekem/mls/internal/wire"
)

// MaxNesting bounds how deep arrays and maps nest, against exhausting the
// stack: the saved forms need fewer than ten levels.
const MaxNesting = 32

// The library's own limits on array and map sizes default to 2^17, fewer than
// the leaves of a large tree; the wellformedness pass, which comes first,
// bounds both by the bytes there are.
const maxItems = 1<<31 - 1

var encMode = must(func() (cbor.EncMode, error) {
	o := cbor.CoreDetEncOptions()
	o.TagsMd = cbor.TagsForbidden
	return o.EncMode()
}())

var decMode = must(cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	UTF8:              cbor.UTF8RejectInvalid,
	MaxNestedLevels:   MaxNesting,
	MaxArrayElements:  maxItems,
	MaxMapPairs:       maxItems,
}.DecMode())

func must[M any](mode M, err error) M {
	if err != nil {
		panic("mls: internal error: cbor options: " + err.Error())
	}
	return mode
}

// Marshal returns the deterministic encoding of v: equal values give equal
// bytes.
func Marshal(v any) ([]byte, error) {
	return encMode.Marshal(v)
}

// Unmarshal decodes p into v. It refuses what [Marshal] would not have
// written: unknown fields, duplicate or unsorted keys, trailing bytes, tags,
// indefinite lengths, and numbers not in their shortest form. Its errors wrap
// [wire.ErrMalformed].
func Unmarshal(p []byte, v any) error {
	if err := decMode.Wellformed(p); err != nil {
		return fmt.Errorf("%w: saved state: %w", wire.ErrMalformed, err)
	}
	if err := deterministic(p); err != nil {
		return err
	}
	if err := decMode.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: saved state: %w", wire.ErrMalformed, err)
	}
	return nil
}
