package framing

import (
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// The values of ProposalOrRefType (RFC 9420, Section 12.4).
const (
	proposalByValue     = 1
	proposalByReference = 2
)

// ProposalOrRef is one entry of a commit's list: a proposal by value if
// Proposal is set, else the ProposalRef of one sent before (RFC 9420,
// Section 12.4).
//
//	struct {
//	  ProposalOrRefType type;
//	  select (ProposalOrRef.type) {
//	    case proposal:  Proposal proposal;
//	    case reference: ProposalRef reference;
//	  };
//	} ProposalOrRef;
type ProposalOrRef struct {
	Proposal *Proposal
	Ref      []byte // as computed by AuthenticatedContent.ProposalRef
}

// Encode writes the wire form.
func (p *ProposalOrRef) Encode(b *wire.Builder) {
	if p.Proposal == nil {
		b.U8(proposalByReference)
		b.Opaque(p.Ref)
		return
	}
	if p.Ref != nil {
		fail(b, "a proposal by value and by reference")
	}
	b.U8(proposalByValue)
	p.Proposal.Encode(b)
}

// Decode reads the wire form.
func (p *ProposalOrRef) Decode(r *wire.Reader) {
	*p = ProposalOrRef{}
	switch t := r.U8(); t {
	case proposalByValue:
		p.Proposal = decodeNew[Proposal](r)
	case proposalByReference:
		p.Ref = r.OpaqueCopy()
	default:
		r.Fail("ProposalOrRef type %d", t)
	}
}

// Commit starts a new epoch (RFC 9420, Section 12.4). Path is nil if the
// commit has none.
//
//	struct {
//	    ProposalOrRef proposals<V>;
//	    optional<UpdatePath> path;
//	} Commit;
type Commit struct {
	Proposals []ProposalOrRef
	Path      *treekem.UpdatePath
}

// Encode writes the wire form.
func (c *Commit) Encode(b *wire.Builder) {
	b.Vector(func(b *wire.Builder) {
		for i := range c.Proposals {
			c.Proposals[i].Encode(b)
		}
	})
	b.Optional(c.Path != nil)
	if c.Path != nil {
		c.Path.Encode(b)
	}
}

// Decode reads the wire form.
func (c *Commit) Decode(r *wire.Reader) {
	*c = Commit{}
	r.Vector(func(r *wire.Reader) {
		var p ProposalOrRef
		p.Decode(r)
		c.Proposals = append(c.Proposals, p)
	})
	if r.Optional() {
		c.Path = decodeNew[treekem.UpdatePath](r)
	}
}
