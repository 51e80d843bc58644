package framing

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// labelGroupInfoTBS is the signature label of RFC 9420, Section 12.4.3.
const labelGroupInfoTBS = "GroupInfoTBS"

// GroupInfo describes the state of a group to somebody who joins it (RFC 9420,
// Section 12.4.3). Extensions of unknown types are kept, and to be ignored.
//
//	struct {
//	    GroupContext group_context;
//	    Extension extensions<V>;
//	    MAC confirmation_tag;
//	    uint32 signer;
//	    opaque signature<V>;
//	} GroupInfo;
type GroupInfo struct {
	GroupContext    keyschedule.GroupContext
	Extensions      []mls.Extension
	ConfirmationTag []byte
	Signer          mls.LeafIndex
	Signature       []byte
}

// Encode writes the wire form.
func (g *GroupInfo) Encode(b *wire.Builder) {
	g.encodeTBS(b)
	b.Opaque(g.Signature)
}

// Decode reads the wire form.
func (g *GroupInfo) Decode(r *wire.Reader) {
	*g = GroupInfo{}
	g.GroupContext.Decode(r)
	g.Extensions = mls.DecodeExtensions(r)
	g.ConfirmationTag = decodeMAC(r, "confirmation tag")
	g.Signer = mls.LeafIndex(r.U32())
	g.Signature = r.OpaqueCopy()
}

// encodeTBS writes the GroupInfoTBS, which is all but the signature.
func (g *GroupInfo) encodeTBS(b *wire.Builder) {
	n := fieldsSize + len(g.GroupContext.GroupID)
	for i := range g.Extensions { // one may be a ratchet tree of megabytes
		n += len(g.Extensions[i].Data)
	}
	b.Grow(n)
	g.GroupContext.Encode(b)
	mls.EncodeExtensions(b, g.Extensions)
	encodeMAC(b, g.ConfirmationTag, "confirmation tag")
	b.U32(uint32(g.Signer))
}

// Sign sets Signature with the key of the member at leaf Signer.
func (g *GroupInfo) Sign(s *mls.Suite, signer mls.Signer) error {
	var b wire.Builder
	g.encodeTBS(&b)
	tbs, err := b.Bytes()
	if err != nil {
		return err
	}
	g.Signature, err = s.SignWithLabel(signer, labelGroupInfoTBS, tbs)
	return err
}

// Verify checks the signature with the signature key in the leaf at Signer. The
// error is a *mls.RuleError that wraps ErrAuth.
func (g *GroupInfo) Verify(s *mls.Suite, pub mls.SignaturePublicKey) error {
	var b wire.Builder
	g.encodeTBS(&b)
	tbs, err := b.Bytes()
	if err != nil {
		return err
	}
	if err := s.VerifyWithLabel(pub, labelGroupInfoTBS, tbs, g.Signature); err != nil {
		return mls.Invalid("12.4.3", "group-info-signature", "signature of the GroupInfo: %w", err)
	}
	return nil
}
