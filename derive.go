package mls

import (
	"encoding/binary"

	"github.com/treekem/mls/internal/wire"
)

// labelPrefix goes before every label of RFC 9420, Sections 5.1 and 8.
const labelPrefix = "MLS 1.0 "

// Labels of [Suite.RefHash] (RFC 9420, Section 5.2).
const (
	LabelKeyPackageRef = labelPrefix + "KeyPackage Reference"
	LabelProposalRef   = labelPrefix + "Proposal Reference"
)

// Extract returns KDF.Extract(salt, ikm) (RFC 9420, Section 8).
func (s *Suite) Extract(salt, ikm Secret) Secret {
	out := ZeroSecret(s.hash.size())
	s.hash.extract(out.key()[:0], salt.key(), ikm.key())
	return out
}

// ExpandWithLabel returns length bytes of KDF.Expand(secret, KDFLabel)
// (RFC 9420, Section 8), at most 255 times HashSize; more panics, so a length
// from outside has to be checked before.
//
//	struct {
//	    uint16 length;
//	    opaque label<V> = "MLS 1.0 " + Label;
//	    opaque context<V> = Context;
//	} KDFLabel;
func (s *Suite) ExpandWithLabel(secret Secret, label string, context []byte, length int) Secret {
	out := ZeroSecret(length)
	var buf [128]byte
	head := binary.BigEndian.AppendUint16(buf[:0], uint16(length))
	head = appendLabel(head, labelPrefix, label)
	head = wire.AppendVarint(head, uint32(len(context)))
	s.hash.expand(out.key(), secret.key(), head, context)
	return out
}

// DeriveSecret returns ExpandWithLabel with the empty context and HashSize
// bytes (RFC 9420, Section 8).
func (s *Suite) DeriveSecret(secret Secret, label string) Secret {
	return s.ExpandWithLabel(secret, label, nil, s.hash.size())
}

// DeriveTreeSecret returns ExpandWithLabel with the generation as context
// (RFC 9420, Section 9).
func (s *Suite) DeriveTreeSecret(secret Secret, label string, generation uint32, length int) Secret {
	var context [4]byte
	binary.BigEndian.PutUint32(context[:], generation)
	return s.ExpandWithLabel(secret, label, context[:], length)
}

// RefHash returns the hash that refers to value (RFC 9420, Section 5.2). label
// is one of the constants, or whole as they are: nothing is put before it.
//
//	struct {
//	    opaque label<V>;
//	    opaque value<V>;
//	} RefHashInput;
func (s *Suite) RefHash(label string, value []byte) []byte {
	var buf [64]byte
	head := appendLabel(buf[:0], "", label)
	head = wire.AppendVarint(head, uint32(len(value)))
	return s.Hash(head, value)
}

// appendLabel appends the vector of prefix || label.
func appendLabel(p []byte, prefix, label string) []byte {
	p = wire.AppendVarint(p, uint32(len(prefix)+len(label)))
	p = append(p, prefix...)
	return append(p, label...)
}

// labelledHead returns what comes before the content, of n bytes, in the structure
// that signatures and encryptions are over (RFC 9420, Sections 5.1.2 and 5.1.3),
// which differ in names only. The content is no longer than a vector can be.
//
//	struct {
//	    opaque label<V> = "MLS 1.0 " + Label;
//	    opaque content<V> = Content;
//	} SignContent;
func labelledHead(label string, n int) []byte {
	head := appendLabel(make([]byte, 0, 48), labelPrefix, label)
	return wire.AppendVarint(head, uint32(n))
}

// withLabelled calls use with the whole structure, which is gone afterwards.
func withLabelled(label string, content []byte, use func([]byte) error) error {
	head := labelledHead(label, len(content))
	return wire.WithScratch(len(head)+len(content), func(b *wire.Builder) error {
		b.Raw(head)
		b.Raw(content)
		return nil
	}, use)
}
