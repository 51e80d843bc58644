package keyschedule

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// GroupContext summarizes the state of a group in one epoch (RFC 9420,
// Section 8.1). Every secret of the epoch is bound to its encoding.
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    CipherSuite cipher_suite;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque tree_hash<V>;
//	    opaque confirmed_transcript_hash<V>;
//	    Extension extensions<V>;
//	} GroupContext;
//
// A version or suite that is unknown here is kept as data: whether it can be
// used is for the reader of the context to decide.
type GroupContext struct {
	Version                 mls.ProtocolVersion
	CipherSuite             mls.CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              []mls.Extension
}

// Encode appends the encoding of g to b.
func (g GroupContext) Encode(b *wire.Builder) {
	b.U16(uint16(g.Version))
	b.U16(uint16(g.CipherSuite))
	b.Opaque(g.GroupID)
	b.U64(g.Epoch)
	b.Opaque(g.TreeHash)
	b.Opaque(g.ConfirmedTranscriptHash)
	mls.EncodeExtensions(b, g.Extensions)
}

// Decode reads g from r, copying what it keeps unless r owns its input. Two
// extensions of one type are an error (RFC 9420, Section 13.4).
func (g *GroupContext) Decode(r *wire.Reader) {
	*g = GroupContext{
		Version:                 mls.ProtocolVersion(r.U16()),
		CipherSuite:             mls.CipherSuite(r.U16()),
		GroupID:                 r.OpaqueCopy(),
		Epoch:                   r.U64(),
		TreeHash:                r.OpaqueCopy(),
		ConfirmedTranscriptHash: r.OpaqueCopy(),
		Extensions:              mls.DecodeExtensions(r),
	}
}

// Bytes returns the encoding of g, the form in which the key schedule takes
// it. It fails only if g cannot be encoded: a field of 2^30 bytes or more.
func (g GroupContext) Bytes() ([]byte, error) {
	return wire.Marshal(g)
}
