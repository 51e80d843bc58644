package framing

import (
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Proposal is a proposed change to a group (RFC 9420, Section 12.1). The
// field that Type names is set.
//
//	struct {
//	    ProposalType proposal_type;
//	    select (Proposal.proposal_type) {
//	        case add:                      Add;
//	        case update:                   Update;
//	        case remove:                   Remove;
//	        case psk:                      PreSharedKey;
//	        case reinit:                   ReInit;
//	        case external_init:            ExternalInit;
//	        case group_context_extensions: GroupContextExtensions;
//	    };
//	} Proposal;
type Proposal struct {
	Type                   mls.ProposalType
	Add                    *Add
	Update                 *Update
	Remove                 *Remove
	PreSharedKey           *PreSharedKey
	ReInit                 *ReInit
	ExternalInit           *ExternalInit
	GroupContextExtensions *GroupContextExtensions
}

// Encode writes the wire form.
func (p *Proposal) Encode(b *wire.Builder) {
	b.U16(uint16(p.Type))
	switch {
	case p.Type == mls.ProposalAdd && p.Add != nil:
		p.Add.Encode(b)
	case p.Type == mls.ProposalUpdate && p.Update != nil:
		p.Update.Encode(b)
	case p.Type == mls.ProposalRemove && p.Remove != nil:
		p.Remove.Encode(b)
	case p.Type == mls.ProposalPSK && p.PreSharedKey != nil:
		p.PreSharedKey.Encode(b)
	case p.Type == mls.ProposalReInit && p.ReInit != nil:
		p.ReInit.Encode(b)
	case p.Type == mls.ProposalExternalInit && p.ExternalInit != nil:
		p.ExternalInit.Encode(b)
	case p.Type == mls.ProposalGroupContextExtensions && p.GroupContextExtensions != nil:
		p.GroupContextExtensions.Encode(b)
	default:
		fail(b, "no proposal of type %s", p.Type)
	}
}

// Decode reads the wire form. The body of an unknown type has no length on the
// wire, so nothing after it can be read either: the error is ErrUnsupported.
func (p *Proposal) Decode(r *wire.Reader) {
	*p = Proposal{Type: mls.ProposalType(r.U16())}
	if r.Err() != nil {
		return
	}
	switch p.Type {
	case mls.ProposalAdd:
		p.Add = decodeNew[Add](r)
	case mls.ProposalUpdate:
		p.Update = decodeNew[Update](r)
	case mls.ProposalRemove:
		p.Remove = decodeNew[Remove](r)
	case mls.ProposalPSK:
		p.PreSharedKey = decodeNew[PreSharedKey](r)
	case mls.ProposalReInit:
		p.ReInit = decodeNew[ReInit](r)
	case mls.ProposalExternalInit:
		p.ExternalInit = decodeNew[ExternalInit](r)
	case mls.ProposalGroupContextExtensions:
		p.GroupContextExtensions = decodeNew[GroupContextExtensions](r)
	default:
		unsupported(r, "proposal type %s", p.Type)
	}
}

// externalMayPropose is the Ext column of RFC 9420, Section 17.4.
func externalMayPropose(t mls.ProposalType) bool {
	switch t {
	case mls.ProposalAdd, mls.ProposalRemove, mls.ProposalPSK, mls.ProposalReInit,
		mls.ProposalGroupContextExtensions:
		return true
	}
	return false
}

// Add proposes a new member (RFC 9420, Section 12.1.1).
//
//	struct { KeyPackage key_package; } Add;
type Add struct {
	KeyPackage treekem.KeyPackage
}

// Encode writes the wire form.
func (a *Add) Encode(b *wire.Builder) { a.KeyPackage.Encode(b) }

// Decode reads the wire form.
func (a *Add) Decode(r *wire.Reader) { a.KeyPackage.Decode(r) }

// Update proposes a new leaf for its sender (RFC 9420, Section 12.1.2).
//
//	struct { LeafNode leaf_node; } Update;
type Update struct {
	LeafNode treekem.LeafNode
}

// Encode writes the wire form.
func (u *Update) Encode(b *wire.Builder) { u.LeafNode.Encode(b) }

// Decode reads the wire form.
func (u *Update) Decode(r *wire.Reader) { u.LeafNode.Decode(r) }

// Remove proposes to remove a member (RFC 9420, Section 12.1.3).
//
//	struct { uint32 removed; } Remove;
type Remove struct {
	Removed mls.LeafIndex
}

// Encode writes the wire form.
func (p *Remove) Encode(b *wire.Builder) { b.U32(uint32(p.Removed)) }

// Decode reads the wire form.
func (p *Remove) Decode(r *wire.Reader) { p.Removed = mls.LeafIndex(r.U32()) }

// PreSharedKey proposes to inject a PSK (RFC 9420, Section 12.1.4).
//
//	struct { PreSharedKeyID psk; } PreSharedKey;
type PreSharedKey struct {
	PSK keyschedule.PreSharedKeyID
}

// Encode writes the wire form.
func (p *PreSharedKey) Encode(b *wire.Builder) { p.PSK.Encode(b) }

// Decode reads the wire form.
func (p *PreSharedKey) Decode(r *wire.Reader) { p.PSK.Decode(r) }

// ReInit proposes to replace the group by a new one (RFC 9420, Section 12.1.5).
// Version and CipherSuite may be values this module does not know.
//
//	struct {
//	    opaque group_id<V>;
//	    ProtocolVersion version;
//	    CipherSuite cipher_suite;
//	    Extension extensions<V>;
//	} ReInit;
type ReInit struct {
	GroupID     []byte
	Version     mls.ProtocolVersion
	CipherSuite mls.CipherSuite
	Extensions  []mls.Extension
}

// Encode writes the wire form.
func (p *ReInit) Encode(b *wire.Builder) {
	b.Opaque(p.GroupID)
	b.U16(uint16(p.Version))
	b.U16(uint16(p.CipherSuite))
	mls.EncodeExtensions(b, p.Extensions)
}

// Decode reads the wire form.
func (p *ReInit) Decode(r *wire.Reader) {
	p.GroupID = r.OpaqueCopy()
	p.Version = mls.ProtocolVersion(r.U16())
	p.CipherSuite = mls.CipherSuite(r.U16())
	p.Extensions = mls.DecodeExtensions(r)
}

// ExternalInit carries the KEM output of an external commit (RFC 9420,
// Section 12.1.6).
//
//	struct { opaque kem_output<V>; } ExternalInit;
type ExternalInit struct {
	KEMOutput []byte
}

// Encode writes the wire form.
func (p *ExternalInit) Encode(b *wire.Builder) { b.Opaque(p.KEMOutput) }

// Decode reads the wire form.
func (p *ExternalInit) Decode(r *wire.Reader) { p.KEMOutput = r.OpaqueCopy() }

// GroupContextExtensions proposes to replace the extensions of the
// GroupContext, all of them (RFC 9420, Section 12.1.7).
//
//	struct { Extension extensions<V>; } GroupContextExtensions;
type GroupContextExtensions struct {
	Extensions []mls.Extension
}

// Encode writes the wire form.
func (p *GroupContextExtensions) Encode(b *wire.Builder) { mls.EncodeExtensions(b, p.Extensions) }

// Decode reads the wire form.
func (p *GroupContextExtensions) Decode(r *wire.Reader) { p.Extensions = mls.DecodeExtensions(r) }

// decodeNew decodes a new T.
func decodeNew[T any, P interface {
	*T
	wire.Decoder
}](r *wire.Reader) *T {
	v := new(T)
	P(v).Decode(r)
	return v
}

// unsupported makes decoding fail on a code point this module does not know.
func unsupported(r *wire.Reader, format string, args ...any) {
	r.FailWith(fmt.Errorf("%w: "+format, append([]any{mls.ErrUnsupported}, args...)...))
}
