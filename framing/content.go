package framing

import (
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// WireFormat says how a message is framed (RFC 9420, Section 17.2).
type WireFormat uint16

// The wire formats of RFC 9420, Section 17.2.
const (
	WireFormatPublicMessage  WireFormat = 1
	WireFormatPrivateMessage WireFormat = 2
	WireFormatWelcome        WireFormat = 3
	WireFormatGroupInfo      WireFormat = 4
	WireFormatKeyPackage     WireFormat = 5
)

// String returns the name in the IANA registry, or the value in hexadecimal.
func (f WireFormat) String() string {
	switch f {
	case WireFormatPublicMessage:
		return "mls_public_message"
	case WireFormatPrivateMessage:
		return "mls_private_message"
	case WireFormatWelcome:
		return "mls_welcome"
	case WireFormatGroupInfo:
		return "mls_group_info"
	case WireFormatKeyPackage:
		return "mls_key_package"
	}
	return fmt.Sprintf("0x%04x", uint16(f))
}

// ContentType says what a FramedContent carries (RFC 9420, Section 6).
type ContentType uint8

// The content types of RFC 9420, Section 6.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// String returns the name RFC 9420 gives the content type.
func (c ContentType) String() string {
	switch c {
	case ContentApplication:
		return "application"
	case ContentProposal:
		return "proposal"
	case ContentCommit:
		return "commit"
	}
	return fmt.Sprintf("0x%02x", uint8(c))
}

func (c ContentType) known() bool {
	return c >= ContentApplication && c <= ContentCommit
}

func decodeContentType(r *wire.Reader) ContentType {
	c := ContentType(r.U8())
	if r.Err() == nil && !c.known() {
		r.Fail("content type %s", c)
	}
	return c
}

// SenderType says in which role a message was sent (RFC 9420, Section 6).
type SenderType uint8

// The sender types of RFC 9420, Section 6.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// String returns the name RFC 9420 gives the sender type.
func (t SenderType) String() string {
	switch t {
	case SenderMember:
		return "member"
	case SenderExternal:
		return "external"
	case SenderNewMemberProposal:
		return "new_member_proposal"
	case SenderNewMemberCommit:
		return "new_member_commit"
	}
	return fmt.Sprintf("0x%02x", uint8(t))
}

// signsContext reports whether the signature of such a sender covers the
// GroupContext (RFC 9420, Section 6.1).
func (t SenderType) signsContext() bool {
	return t == SenderMember || t == SenderNewMemberCommit
}

// Sender names the author of a message (RFC 9420, Section 6).
//
//	struct {
//	    SenderType sender_type;
//	    select (Sender.sender_type) {
//	        case member:              uint32 leaf_index;
//	        case external:            uint32 sender_index;
//	        case new_member_commit:
//	        case new_member_proposal: struct{};
//	    };
//	} Sender;
type Sender struct {
	Type        SenderType
	Leaf        mls.LeafIndex // the sender's leaf, for SenderMember
	SenderIndex uint32        // index in external_senders, for SenderExternal
}

// Member returns the Sender for the member at a leaf.
func Member(leaf mls.LeafIndex) Sender {
	return Sender{Type: SenderMember, Leaf: leaf}
}

// Encode writes the wire form.
func (s *Sender) Encode(b *wire.Builder) {
	b.U8(uint8(s.Type))
	switch s.Type {
	case SenderMember:
		b.U32(uint32(s.Leaf))
	case SenderExternal:
		b.U32(s.SenderIndex)
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		fail(b, "sender type %s", s.Type)
	}
}

// Decode reads the wire form.
func (s *Sender) Decode(r *wire.Reader) {
	*s = Sender{Type: SenderType(r.U8())}
	switch s.Type {
	case SenderMember:
		s.Leaf = mls.LeafIndex(r.U32())
	case SenderExternal:
		s.SenderIndex = r.U32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		r.Fail("sender type %s", s.Type)
	}
}

// FramedContent is a message before it is signed (RFC 9420, Section 6).
// Which of Application, Proposal and Commit counts follows from ContentType.
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    Sender sender;
//	    opaque authenticated_data<V>;
//	    ContentType content_type;
//	    select (FramedContent.content_type) {
//	        case application: opaque application_data<V>;
//	        case proposal:    Proposal proposal;
//	        case commit:      Commit commit;
//	    };
//	} FramedContent;
type FramedContent struct {
	GroupID           []byte
	Epoch             uint64
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	Application       []byte
	Proposal          *Proposal
	Commit            *Commit
}

// Encode writes the wire form.
func (c *FramedContent) Encode(b *wire.Builder) {
	b.Opaque(c.GroupID)
	b.U64(c.Epoch)
	c.Sender.Encode(b)
	b.Opaque(c.AuthenticatedData)
	b.U8(uint8(c.ContentType))
	c.encodeBody(b)
}

// Decode reads the wire form.
func (c *FramedContent) Decode(r *wire.Reader) {
	*c = FramedContent{GroupID: r.OpaqueCopy(), Epoch: r.U64()}
	c.Sender.Decode(r)
	c.AuthenticatedData = r.OpaqueCopy()
	c.ContentType = decodeContentType(r)
	c.decodeBody(r)
}

// encodeBody writes what the content type selects. PrivateMessageContent
// holds the same select without the fields before it.
func (c *FramedContent) encodeBody(b *wire.Builder) {
	switch {
	case c.ContentType == ContentApplication:
		b.Opaque(c.Application)
	case c.ContentType == ContentProposal && c.Proposal != nil:
		c.Proposal.Encode(b)
	case c.ContentType == ContentCommit && c.Commit != nil:
		c.Commit.Encode(b)
	default:
		fail(b, "no content of type %s", c.ContentType)
	}
}

func (c *FramedContent) decodeBody(r *wire.Reader) {
	if r.Err() != nil {
		return
	}
	switch c.ContentType {
	case ContentApplication:
		c.Application = r.OpaqueCopy()
	case ContentProposal:
		c.Proposal = new(Proposal)
		c.Proposal.Decode(r)
	case ContentCommit:
		c.Commit = new(Commit)
		c.Commit.Decode(r)
	}
}

// authData is FramedContentAuthData, whose form follows from the content type
// (RFC 9420, Section 6.1).
//
//	struct {
//	    opaque signature<V>;
//	    select (FramedContent.content_type) {
//	        case commit:      MAC confirmation_tag;
//	        case application:
//	        case proposal:    struct{};
//	    };
//	} FramedContentAuthData;
type authData struct {
	signature       []byte
	confirmationTag []byte
}

func (a authData) encode(b *wire.Builder, c ContentType) {
	b.Opaque(a.signature)
	switch {
	case c == ContentCommit:
		encodeMAC(b, a.confirmationTag, "confirmation tag")
	case len(a.confirmationTag) > 0:
		fail(b, "confirmation tag with content of type %s", c)
	}
}

func decodeAuthData(r *wire.Reader, c ContentType) authData {
	a := authData{signature: r.OpaqueCopy()}
	if c == ContentCommit {
		a.confirmationTag = decodeMAC(r, "confirmation tag")
	}
	return a
}

// encodeMAC refuses an empty MAC: it would verify nowhere, so it can only be a
// tag that was not computed.
func encodeMAC(b *wire.Builder, tag []byte, name string) {
	if len(tag) == 0 {
		fail(b, "no %s", name)
	}
	b.Opaque(tag)
}

func decodeMAC(r *wire.Reader, name string) []byte {
	tag := r.OpaqueCopy()
	if r.Err() == nil && len(tag) == 0 {
		r.Fail("empty %s", name)
	}
	return tag
}

// AuthenticatedContent is a signed message, before it is protected for the
// wire and after it is unprotected (RFC 9420, Section 6). ConfirmationTag is
// there for commits and for nothing else.
//
//	struct {
//	    WireFormat wire_format;
//	    FramedContent content;
//	    FramedContentAuthData auth;
//	} AuthenticatedContent;
type AuthenticatedContent struct {
	WireFormat      WireFormat
	Content         FramedContent
	Signature       []byte
	ConfirmationTag []byte
}

// Encode writes the wire form. A commit must have its confirmation tag.
func (a *AuthenticatedContent) Encode(b *wire.Builder) {
	if !a.WireFormat.framesContent() {
		fail(b, "content framed as %s", a.WireFormat)
	}
	b.U16(uint16(a.WireFormat))
	a.Content.Encode(b)
	a.auth().encode(b, a.Content.ContentType)
}

// Decode reads the wire form.
func (a *AuthenticatedContent) Decode(r *wire.Reader) {
	*a = AuthenticatedContent{WireFormat: WireFormat(r.U16())}
	if r.Err() == nil && !a.WireFormat.framesContent() {
		r.Fail("content framed as %s", a.WireFormat)
	}
	a.Content.Decode(r)
	auth := decodeAuthData(r, a.Content.ContentType)
	a.Signature, a.ConfirmationTag = auth.signature, auth.confirmationTag
}

// Clone returns a copy that shares nothing with a, and keeps nothing else: a decoded
// one keeps the whole message, padding included.
func (a *AuthenticatedContent) Clone() (*AuthenticatedContent, error) {
	encoded, err := wire.Marshal(a)
	if err != nil {
		return nil, err
	}
	c := new(AuthenticatedContent)
	return c, wire.UnmarshalOwned(encoded, c)
}

func (a *AuthenticatedContent) auth() authData {
	return authData{signature: a.Signature, confirmationTag: a.ConfirmationTag}
}

// fieldsSize is more than the fields of fixed size in a framed message, its
// signature and its tags take together, for the suites of RFC 9420.
const fieldsSize = 384

// sizeHint returns about the size of the encoding, so that application data and
// update paths are encoded into memory of the right size. Proposals may take
// more.
func (a *AuthenticatedContent) sizeHint() int {
	c := &a.Content
	n := len(c.GroupID) + len(c.AuthenticatedData) + len(c.Application) + len(a.Signature) + fieldsSize
	if c.Commit != nil && c.Commit.Path != nil {
		n += c.Commit.Path.SizeHint()
	}
	return n
}

// framesContent reports whether messages of the format carry a FramedContent.
func (f WireFormat) framesContent() bool {
	return f == WireFormatPublicMessage || f == WireFormatPrivateMessage
}

// fail makes encoding fail because the value has no wire form.
func fail(b *wire.Builder, format string, args ...any) {
	b.Fail(fmt.Errorf("%w: cannot encode: %w", mls.ErrMalformed, fmt.Errorf(format, args...)))
}
