package framing

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// MaxCiphertext is the largest PrivateMessage.ciphertext in bytes: the most a
// vector can hold (RFC 9420, Section 2.1.2). It also keeps every message far
// below the per-message limits of the AEADs (RFC 9420, Section 6.3.1).
const MaxCiphertext = wire.MaxVector

// Sizes in bytes of SenderData.reuse_guard and of the whole SenderData.
const (
	reuseGuardSize = 4
	senderDataSize = 4 + 4 + reuseGuardSize
)

// PrivateMessage is a message that is signed and encrypted (RFC 9420,
// Section 6.3).
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    ContentType content_type;
//	    opaque authenticated_data<V>;
//	    opaque encrypted_sender_data<V>;
//	    opaque ciphertext<V>;
//	} PrivateMessage;
type PrivateMessage struct {
	GroupID             []byte
	Epoch               uint64
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

// Encode writes the wire form.
func (m *PrivateMessage) Encode(b *wire.Builder) {
	m.encodeContentAAD(b)
	b.Opaque(m.EncryptedSenderData)
	b.Opaque(m.Ciphertext)
}

// Decode reads the wire form.
func (m *PrivateMessage) Decode(r *wire.Reader) {
	*m = PrivateMessage{GroupID: r.OpaqueCopy(), Epoch: r.U64()}
	m.ContentType = decodeContentType(r)
	m.AuthenticatedData = r.OpaqueCopy()
	m.EncryptedSenderData = r.OpaqueCopy()
	m.Ciphertext = r.OpaqueCopy()
}

// encodeContentAAD writes the PrivateContentAAD (RFC 9420, Section 6.3.1),
// which is also how a PrivateMessage begins.
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    ContentType content_type;
//	    opaque authenticated_data<V>;
//	} PrivateContentAAD;
func (m *PrivateMessage) encodeContentAAD(b *wire.Builder) {
	m.encodeSenderDataAAD(b)
	b.Opaque(m.AuthenticatedData)
}

// encodeSenderDataAAD writes the SenderDataAAD (RFC 9420, Section 6.3.2).
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    ContentType content_type;
//	} SenderDataAAD;
func (m *PrivateMessage) encodeSenderDataAAD(b *wire.Builder) {
	if !m.ContentType.known() {
		fail(b, "content type %s", m.ContentType)
	}
	b.Opaque(m.GroupID)
	b.U64(m.Epoch)
	b.U8(uint8(m.ContentType))
}

// aads appends the AADs to b, which has room for them, and returns them: that of
// the sender data is how that of the content begins.
func (m *PrivateMessage) aads(b *wire.Builder) (content, senderData []byte, err error) {
	start := b.Len()
	m.encodeSenderDataAAD(b)
	n := b.Len()
	b.Opaque(m.AuthenticatedData)
	p, err := b.Bytes()
	if err != nil {
		return nil, nil, err
	}
	return p[start:], p[start:n:n], nil
}

// aadsSize is the size of both AADs together, at most.
func (m *PrivateMessage) aadsSize() int {
	return len(m.GroupID) + len(m.AuthenticatedData) + 2*wire.VarintSize(wire.MaxVector) + 8 + 1
}

// ratchet says which of the sender's two ratchets encrypts content of a type
// (RFC 9420, Section 6.3.1).
func (c ContentType) ratchet() keyschedule.RatchetKind {
	if c == ContentApplication {
		return keyschedule.Application
	}
	return keyschedule.Handshake
}

// senderData is the SenderData of RFC 9420, Section 6.3.2.
//
//	struct {
//	    uint32 leaf_index;
//	    uint32 generation;
//	    opaque reuse_guard[4];
//	} SenderData;
type senderData struct {
	leaf       mls.LeafIndex
	generation uint32
	reuseGuard [reuseGuardSize]byte
}

// Encode writes the wire form.
func (d *senderData) Encode(b *wire.Builder) {
	b.U32(uint32(d.leaf))
	b.U32(d.generation)
	b.Raw(d.reuseGuard[:])
}

// Decode reads the wire form.
func (d *senderData) Decode(r *wire.Reader) {
	d.leaf = mls.LeafIndex(r.U32())
	d.generation = r.U32()
	copy(d.reuseGuard[:], r.Raw(reuseGuardSize))
}

// guardNonce returns the nonce XORed with the reuse guard (RFC 9420,
// Section 6.3.1). The secret tree's own copy stays as it is: the key may be
// needed again if this message turns out to be a forgery.
func (d *senderData) guardNonce(nonce []byte) []byte {
	out := bytes.Clone(nonce)
	subtle.XORBytes(out, out, d.reuseGuard[:])
	return out
}

// ProtectPrivate encrypts a signed message with the next key of the sender's
// ratchet for its content type (RFC 9420, Section 6.3). The sender's leaf is
// a.Content.Sender.Leaf. padding is the number of zero bytes to append to hide
// the length of the content. The result is a serialized [Message] with a
// PrivateMessage.
//
// The key is used up even if the message is never sent: whoever saves state
// must save that of st before the message leaves. Errors before that leave st
// as it was: a *mls.RuleError if the message must not be a PrivateMessage or
// is too large.
func ProtectPrivate(s *mls.Suite, epoch *keyschedule.EpochSecrets, st *keyschedule.SecretTree, a *AuthenticatedContent, padding int) ([]byte, error) {
	if err := a.checkProtectable(s, WireFormatPrivateMessage); err != nil {
		return nil, err
	}
	var message []byte
	err := withPrivateContent(a, padding, MaxCiphertext-s.TagSize(), func(plaintext []byte) (err error) {
		message, err = sealPrivate(s, epoch, st, a, plaintext)
		return err
	})
	return message, err
}

// sealPrivate encrypts the plaintext of a message into its place in an MLSMessage,
// whose memory is all that a message takes: short messages are many.
func sealPrivate(s *mls.Suite, epoch *keyschedule.EpochSecrets, st *keyschedule.SecretTree, a *AuthenticatedContent, plaintext []byte) ([]byte, error) {
	c := &a.Content
	m := PrivateMessage{GroupID: c.GroupID, Epoch: c.Epoch, ContentType: c.ContentType, AuthenticatedData: c.AuthenticatedData}
	sealedSize := len(plaintext) + s.TagSize()
	var b wire.Builder
	b.Grow(headerSize + m.aadsSize() + senderDataSize + s.TagSize() + sealedSize)
	encodeHeader(&b, mls.MLS10, WireFormatPrivateMessage)
	contentAAD, senderAAD, err := m.aads(&b)
	if err != nil {
		return nil, err
	}
	generation, key, nonce, err := st.Next(c.Sender.Leaf, c.ContentType.ratchet())
	if err != nil {
		return nil, err
	}
	defer key.Destroy()
	sender := senderData{leaf: c.Sender.Leaf, generation: generation}
	rand.Read(sender.reuseGuard[:])

	b.Opaque(make([]byte, senderDataSize+s.TagSize())) // sealed last, as its key depends on the ciphertext
	senderEnd := b.Len()
	out, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	out = wire.AppendVarint(out, uint32(sealedSize))
	out, err = s.Seal(out, key, sender.guardNonce(nonce), contentAAD, plaintext)
	if err != nil {
		return nil, err
	}
	place := out[senderEnd-senderDataSize-s.TagSize() : senderEnd : senderEnd]
	if err := sender.seal(place, s, epoch, out[len(out)-sealedSize:], senderAAD); err != nil {
		return nil, err
	}
	return out, nil
}

// seal encrypts the sender data of a message with that ciphertext into place.
func (d *senderData) seal(place []byte, s *mls.Suite, epoch *keyschedule.EpochSecrets, ciphertext, aad []byte) error {
	b := wire.NewBuilder(place[:0])
	d.Encode(b)
	plaintext, err := b.Bytes()
	if err != nil {
		return err
	}
	key, nonce := epoch.SenderData(ciphertext)
	defer key.Destroy()
	_, err = s.Seal(place[:0], key, nonce, aad, plaintext)
	return err
}

// openSenderData decrypts EncryptedSenderData into d.
func (m *PrivateMessage) openSenderData(s *mls.Suite, epoch *keyschedule.EpochSecrets, d *senderData, aad []byte) error {
	key, nonce := epoch.SenderData(m.Ciphertext)
	defer key.Destroy()
	plaintext, err := s.Open(key, nonce, aad, m.EncryptedSenderData)
	if err != nil {
		return err
	}
	return wire.Unmarshal(plaintext, d)
}

// UnprotectPrivate decrypts a PrivateMessage (RFC 9420, Section 6.3). epoch and
// st are those of the message's epoch; the caller has compared the group.
//
// verify is called with the decrypted message and decides whether it is
// genuine. It must check that the sender's leaf is not blank (RFC 9420,
// Section 6.3.2) and verify the signature (Section 6.1), with the key and the
// GroupContext of the message's epoch. Only if verify returns nil is the
// message key used up; after any error st is as it was. The result shares m's
// group ID and authenticated data.
//
// The error is ErrAuth if a decryption fails, ErrKeyConsumed or ErrTooFar if
// the key is gone or too far ahead, ErrMalformed or a *mls.RuleError for
// content that is not as it must be, and verify's error as it came.
func UnprotectPrivate(s *mls.Suite, epoch *keyschedule.EpochSecrets, st *keyschedule.SecretTree, m *PrivateMessage, verify func(*AuthenticatedContent) error) (*AuthenticatedContent, error) {
	from, err := OpenSender(s, epoch, m)
	if err != nil {
		return nil, err
	}
	return from.Unprotect(st, verify)
}

// PrivateSender is who claims to have sent a PrivateMessage, and with which key:
// its decrypted SenderData (RFC 9420, Section 6.3.2). It lets a receiver look at
// the sender's leaf, which must not be blank, before any key is derived for it.
// Any member could have written it, until Unprotect has succeeded.
type PrivateSender struct {
	// Leaf is the sender's leaf, Generation counts the messages on the ratchet
	// that the content type uses.
	Leaf       mls.LeafIndex
	Generation uint32

	suite      *mls.Suite
	message    *PrivateMessage
	data       senderData
	contentAAD []byte
}

// OpenSender is the first half of [UnprotectPrivate]: it decrypts the sender
// data. The error is ErrAuth if that fails.
func OpenSender(s *mls.Suite, epoch *keyschedule.EpochSecrets, m *PrivateMessage) (*PrivateSender, error) {
	var b wire.Builder
	b.Grow(m.aadsSize())
	contentAAD, senderAAD, err := m.aads(&b)
	if err != nil {
		return nil, err
	}
	p := &PrivateSender{suite: s, message: m, contentAAD: contentAAD}
	if err := m.openSenderData(s, epoch, &p.data, senderAAD); err != nil {
		return nil, err
	}
	p.Leaf, p.Generation = p.data.leaf, p.data.generation
	return p, nil
}

// Unprotect is the second half of [UnprotectPrivate]: it decrypts the content
// with the sender's key in st, and has the same errors.
func (p *PrivateSender) Unprotect(st *keyschedule.SecretTree, verify func(*AuthenticatedContent) error) (*AuthenticatedContent, error) {
	if verify == nil {
		return nil, errors.New("mls: a PrivateMessage is unprotected without a function to verify it")
	}
	var a *AuthenticatedContent
	// Open refuses a leaf outside of the tree before it uses the index.
	err := st.Open(p.Leaf, p.message.ContentType.ratchet(), p.Generation, func(key mls.Secret, nonce []byte) error {
		plaintext, err := p.suite.Open(key, p.data.guardNonce(nonce), p.contentAAD, p.message.Ciphertext)
		if err != nil {
			return err
		}
		if a, err = p.message.decodeContent(plaintext, p.Leaf); err != nil {
			return err
		}
		return verify(a)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// withPrivateContent calls use with the plaintext of a PrivateMessage, of at most
// limit bytes (RFC 9420, Section 6.3.1), which is gone afterwards.
//
//	struct {
//	    select (PrivateMessage.content_type) {
//	        case application: opaque application_data<V>;
//	        case proposal:    Proposal proposal;
//	        case commit:      Commit commit;
//	    };
//	    FramedContentAuthData auth;
//	    opaque padding[length_of_padding];
//	} PrivateMessageContent;
func withPrivateContent(a *AuthenticatedContent, padding, limit int, use func([]byte) error) error {
	room := a.sizeHint() + min(max(padding, 0), limit)
	return wire.WithScratch(room, func(b *wire.Builder) error {
		a.Content.encodeBody(b)
		a.auth().encode(b, a.Content.ContentType)
		if _, err := b.Bytes(); err != nil {
			return err
		}
		if padding < 0 || padding > limit-b.Len() {
			return mls.Invalid("6.3.1", "ciphertext-size",
				"%d bytes of padding for a content of %d bytes", padding, b.Len())
		}
		b.Raw(make([]byte, padding))
		return nil
	}, use)
}

// decodeContent reads a PrivateMessageContent, taking the plaintext over.
func (m *PrivateMessage) decodeContent(plaintext []byte, leaf mls.LeafIndex) (*AuthenticatedContent, error) {
	a := &AuthenticatedContent{
		WireFormat: WireFormatPrivateMessage,
		Content: FramedContent{
			GroupID:           m.GroupID,
			Epoch:             m.Epoch,
			Sender:            Member(leaf),
			AuthenticatedData: m.AuthenticatedData,
			ContentType:       m.ContentType,
		},
	}
	r := wire.NewOwnedReader(plaintext)
	a.Content.decodeBody(r)
	auth := decodeAuthData(r, m.ContentType)
	a.Signature, a.ConfirmationTag = auth.signature, auth.confirmationTag
	padding := r.Raw(r.Len())
	if err := r.Err(); err != nil {
		return nil, err
	}
	if len(plaintext) > 2*len(a.Content.Application)+fieldsSize && a.Content.ContentType == ContentApplication {
		// A short text must not keep a long padding in memory.
		a.Content.Application = bytes.Clone(a.Content.Application)
	}
	if !allZero(padding) {
		return nil, mls.Invalid("6.3.1", "padding-not-zero", "padding, which is not all zero: %w", mls.ErrMalformed)
	}
	return a, nil
}

func allZero(p []byte) bool {
	for _, v := range p {
		if v != 0 {
			return false
		}
	}
	return true
}
