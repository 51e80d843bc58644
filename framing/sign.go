package framing

import (
	"bytes"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// labelFramedContentTBS is the signature label of RFC 9420, Section 6.1.
const labelFramedContentTBS = "FramedContentTBS"

// errNoContext guards the binding of a signature to its group and epoch.
var errNoContext = errors.New("mls: this sender's signature covers the GroupContext, and none was given")

// Sign signs content for a wire format (RFC 9420, Section 6.1).
//
// groupContext is the serialized GroupContext of the content's epoch. It is
// part of what a member or a new_member_commit sender signs, and is ignored
// for other senders. The result shares the content's memory. A commit has no
// confirmation tag yet: the caller derives it from the next epoch's key
// schedule and ConfirmedTranscriptHash, and then sets ConfirmationTag.
//
// The error is a *mls.RuleError if RFC 9420 does not let this sender send this
// content in this wire format.
func Sign(s *mls.Suite, signer mls.Signer, f WireFormat, content FramedContent, groupContext []byte) (*AuthenticatedContent, error) {
	a := &AuthenticatedContent{WireFormat: f, Content: content}
	if err := a.check(); err != nil {
		return nil, err
	}
	err := a.withSignedBytes(groupContext, func(tbs []byte) (err error) {
		a.Signature, err = s.SignWithLabel(signer, labelFramedContentTBS, tbs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Verify checks the signature with the sender's public key, which the caller
// takes from where RFC 9420, Section 6.1 says for the sender's type.
// groupContext is as for Sign. The error is ErrAuth if the signature is not
// the key's over this content, and a *mls.RuleError if RFC 9420 does not let
// this sender send this content in this wire format.
//
// Verify does not check the confirmation tag of a commit.
func (a *AuthenticatedContent) Verify(s *mls.Suite, pub mls.SignaturePublicKey, groupContext []byte) error {
	if err := a.check(); err != nil {
		return err
	}
	return a.withSignedBytes(groupContext, func(tbs []byte) error {
		return s.VerifyWithLabel(pub, labelFramedContentTBS, tbs, a.Signature)
	})
}

// signedBytes returns the serialized FramedContentTBS.
func (a *AuthenticatedContent) signedBytes(groupContext []byte) (out []byte, err error) {
	err = a.withSignedBytes(groupContext, func(tbs []byte) error {
		out = bytes.Clone(tbs)
		return nil
	})
	return out, err
}

// withSignedBytes calls use with the serialized FramedContentTBS, which is gone
// afterwards.
func (a *AuthenticatedContent) withSignedBytes(groupContext []byte, use func([]byte) error) error {
	return wire.WithScratch(a.sizeHint()+len(groupContext), func(b *wire.Builder) error {
		return a.encodeTBS(b, groupContext)
	}, use)
}

// encodeTBS writes the FramedContentTBS (RFC 9420, Section 6.1).
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    WireFormat wire_format;
//	    FramedContent content;
//	    select (FramedContentTBS.content.sender.sender_type) {
//	        case member:
//	        case new_member_commit:   GroupContext context;
//	        case external:
//	        case new_member_proposal: struct{};
//	    };
//	} FramedContentTBS;
func (a *AuthenticatedContent) encodeTBS(b *wire.Builder, groupContext []byte) error {
	b.U16(uint16(mls.MLS10))
	b.U16(uint16(a.WireFormat))
	a.Content.Encode(b)
	if !a.Content.Sender.Type.signsContext() {
		return nil
	}
	if len(groupContext) == 0 {
		return errNoContext
	}
	b.Raw(groupContext)
	return nil
}

// ProposalRef returns the reference by which a commit can name this proposal
// (RFC 9420, Section 5.2): a hash over the whole AuthenticatedContent, so the
// same proposal in the other wire format has another reference.
func (a *AuthenticatedContent) ProposalRef(s *mls.Suite) ([]byte, error) {
	if a.Content.ContentType != ContentProposal {
		return nil, errors.New("mls: only a proposal has a ProposalRef, not a message of type " + a.Content.ContentType.String())
	}
	data, err := wire.Marshal(a)
	if err != nil {
		return nil, err
	}
	return s.RefHash(mls.LabelProposalRef, data), nil
}

// ConfirmedTranscriptHash returns the confirmed transcript hash of the epoch that
// this commit starts, interim being the interim transcript hash of the epoch that
// it was made in (RFC 9420, Section 8.2). It does not cover the confirmation tag,
// which need not be set yet.
//
//	struct {
//	    WireFormat wire_format;
//	    FramedContent content; /* with content_type == commit */
//	    opaque signature<V>;
//	} ConfirmedTranscriptHashInput;
func (a *AuthenticatedContent) ConfirmedTranscriptHash(s *mls.Suite, interim []byte) (hash []byte, err error) {
	if a.Content.ContentType != ContentCommit {
		return nil, errors.New("mls: only a commit is part of the transcript, not a message of type " + a.Content.ContentType.String())
	}
	err = wire.WithScratch(a.sizeHint(), func(b *wire.Builder) error {
		b.U16(uint16(a.WireFormat))
		a.Content.Encode(b)
		b.Opaque(a.Signature)
		return nil
	}, func(input []byte) error {
		hash = keyschedule.ConfirmedTranscriptHash(s, interim, input)
		return nil
	})
	return hash, err
}
