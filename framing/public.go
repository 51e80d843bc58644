package framing

import (
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// PublicMessage is a message that is signed but not encrypted (RFC 9420,
// Section 6.2). MembershipTag is there for members and for no other sender.
//
//	struct {
//	    FramedContent content;
//	    FramedContentAuthData auth;
//	    select (PublicMessage.content.sender.sender_type) {
//	        case member:              MAC membership_tag;
//	        case external:
//	        case new_member_commit:
//	        case new_member_proposal: struct{};
//	    };
//	} PublicMessage;
type PublicMessage struct {
	Content         FramedContent
	Signature       []byte
	ConfirmationTag []byte
	MembershipTag   []byte
}

// Encode writes the wire form.
func (m *PublicMessage) Encode(b *wire.Builder) {
	m.Content.Encode(b)
	authData{m.Signature, m.ConfirmationTag}.encode(b, m.Content.ContentType)
	switch {
	case m.Content.Sender.Type == SenderMember:
		encodeMAC(b, m.MembershipTag, "membership tag")
	case len(m.MembershipTag) > 0:
		fail(b, "membership tag of a sender of type %s", m.Content.Sender.Type)
	}
}

// Decode reads the wire form.
func (m *PublicMessage) Decode(r *wire.Reader) {
	*m = PublicMessage{}
	m.Content.Decode(r)
	auth := decodeAuthData(r, m.Content.ContentType)
	m.Signature, m.ConfirmationTag = auth.signature, auth.confirmationTag
	if m.Content.Sender.Type == SenderMember {
		m.MembershipTag = decodeMAC(r, "membership tag")
	}
}

// ProtectPublic frames a signed handshake message for members and for anybody
// who may read it, and computes a member's membership tag (RFC 9420,
// Section 6.2). epoch and groupContext are those of the message's epoch; both
// may be nil if the sender is not a member. The result is a serialized [Message]
// with a PublicMessage.
//
// The error is a *mls.RuleError if the message must not be a PublicMessage, as
// is the case for application data.
func ProtectPublic(s *mls.Suite, epoch *keyschedule.EpochSecrets, a *AuthenticatedContent, groupContext []byte) ([]byte, error) {
	if err := a.checkProtectable(s, WireFormatPublicMessage); err != nil {
		return nil, err
	}
	m := &PublicMessage{Content: a.Content, Signature: a.Signature, ConfirmationTag: a.ConfirmationTag}
	if a.Content.Sender.Type == SenderMember {
		err := a.withMembershipBytes(epoch, groupContext, func(tbm []byte) error {
			m.MembershipTag = epoch.MembershipTag(tbm)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return (&Message{Version: mls.MLS10, WireFormat: WireFormatPublicMessage, Public: m}).Bytes()
}

// UnprotectPublic checks that a PublicMessage may be one and, if its sender
// claims to be a member, its membership tag (RFC 9420, Section 6.2). epoch and
// groupContext are those of the message's epoch; the caller has compared group
// and epoch. The signature is not verified yet, see
// [AuthenticatedContent.Verify]. The result shares m's memory.
//
// The error is ErrAuth for a wrong membership tag and a *mls.RuleError for
// content that must not be sent so.
func UnprotectPublic(epoch *keyschedule.EpochSecrets, m *PublicMessage, groupContext []byte) (*AuthenticatedContent, error) {
	a, err := ObservePublic(m)
	if err != nil {
		return nil, err
	}
	if a.Content.Sender.Type != SenderMember {
		return a, nil
	}
	err = a.withMembershipBytes(epoch, groupContext, func(tbm []byte) error {
		if !epoch.VerifyMembershipTag(tbm, m.MembershipTag) {
			return mls.ErrAuth
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ObservePublic is UnprotectPublic for an observer, who has no secrets of the
// group and so cannot check a membership tag. What remains is the signature,
// which an observer must verify.
func ObservePublic(m *PublicMessage) (*AuthenticatedContent, error) {
	a := &AuthenticatedContent{
		WireFormat:      WireFormatPublicMessage,
		Content:         m.Content,
		Signature:       m.Signature,
		ConfirmationTag: m.ConfirmationTag,
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return a, nil
}

// withMembershipBytes calls use with the serialized AuthenticatedContentTBM, which
// is gone afterwards.
//
//	struct {
//	    FramedContentTBS content_tbs;
//	    FramedContentAuthData auth;
//	} AuthenticatedContentTBM;
func (a *AuthenticatedContent) withMembershipBytes(epoch *keyschedule.EpochSecrets, groupContext []byte, use func([]byte) error) error {
	if epoch == nil {
		return errors.New("mls: the membership tag needs the secrets of the epoch")
	}
	return wire.WithScratch(a.sizeHint()+len(groupContext), func(b *wire.Builder) error {
		if err := a.encodeTBS(b, groupContext); err != nil {
			return err
		}
		a.auth().encode(b, a.Content.ContentType)
		return nil
	}, use)
}
