package framing

import (
	"errors"
	"fmt"

	"github.com/treekem/mls"
)

// check holds a message against what RFC 9420 allows a sender to put into a
// wire format, whatever the group. It runs for every message that is signed,
// verified, protected or unprotected, so that both directions obey one list.
func (a *AuthenticatedContent) check() error {
	c := &a.Content
	if !c.complete() {
		return fmt.Errorf("%w: no content of type %s", mls.ErrMalformed, c.ContentType)
	}
	switch a.WireFormat {
	case WireFormatPublicMessage:
		// RFC 9420, Section 6: applications MUST use PrivateMessage.
		if c.ContentType == ContentApplication {
			return mls.Invalid("6", "application-in-public-message", "application data in a PublicMessage")
		}
	case WireFormatPrivateMessage:
		// RFC 9420, Sections 6 and 12.1.8: only members have the keys.
		if c.Sender.Type != SenderMember {
			return mls.Invalid("6.3.2", "private-message-sender",
				"PrivateMessage of a sender of type %s", c.Sender.Type)
		}
	default:
		return fmt.Errorf("%w: content framed as %s", mls.ErrMalformed, a.WireFormat)
	}
	return c.checkSender()
}

// checkSender enforces what each sender type may send (RFC 9420, Section 6.1).
func (c *FramedContent) checkSender() error {
	switch c.Sender.Type {
	case SenderMember:
		return nil
	case SenderExternal:
		if c.ContentType != ContentProposal {
			return mls.Invalid("6.1", "external-sender-content",
				"%s of an external sender", c.ContentType)
		}
		// RFC 9420, Section 12.1.8: MUST be rejected as malformed.
		if !externalMayPropose(c.Proposal.Type) {
			return mls.Invalid("12.1.8", "external-sender-proposal-type",
				"%s proposal of an external sender: %w", c.Proposal.Type, mls.ErrMalformed)
		}
	case SenderNewMemberProposal:
		if c.ContentType != ContentProposal {
			return mls.Invalid("6.1", "new-member-proposal-content",
				"%s of a sender of type new_member_proposal", c.ContentType)
		}
		if c.Proposal.Type != mls.ProposalAdd {
			return mls.Invalid("6.1", "new-member-proposal-type",
				"%s proposal of a sender of type new_member_proposal", c.Proposal.Type)
		}
	case SenderNewMemberCommit:
		if c.ContentType != ContentCommit {
			return mls.Invalid("6.1", "new-member-commit-content",
				"%s of a sender of type new_member_commit", c.ContentType)
		}
	default:
		return fmt.Errorf("%w: sender type %s", mls.ErrMalformed, c.Sender.Type)
	}
	return nil
}

// complete reports whether the content that ContentType names is there.
func (c *FramedContent) complete() bool {
	switch c.ContentType {
	case ContentApplication:
		return true
	case ContentProposal:
		return c.Proposal != nil
	case ContentCommit:
		return c.Commit != nil
	}
	return false
}

// checkProtectable is what protecting requires of a message beyond check: a
// signature, and the confirmation tag of exactly a commit, at its full length.
func (a *AuthenticatedContent) checkProtectable(s *mls.Suite, f WireFormat) error {
	if err := a.check(); err != nil {
		return err
	}
	if a.WireFormat != f {
		return fmt.Errorf("mls: message is signed as %s and cannot be protected as %s", a.WireFormat, f)
	}
	if len(a.Signature) == 0 {
		return errors.New("mls: message is not signed")
	}
	want := 0
	if a.Content.ContentType == ContentCommit {
		want = s.HashSize()
	}
	if len(a.ConfirmationTag) != want {
		return mls.Invalid("6.1", "confirmation-tag-length",
			"%s with a confirmation tag of %d bytes, not %d", a.Content.ContentType, len(a.ConfirmationTag), want)
	}
	return nil
}
