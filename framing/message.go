package framing

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// Message is an MLSMessage, the outermost structure on the wire (RFC 9420,
// Section 6). The field that WireFormat names is set.
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    WireFormat wire_format;
//	    select (MLSMessage.wire_format) {
//	        case mls_public_message:  PublicMessage public_message;
//	        case mls_private_message: PrivateMessage private_message;
//	        case mls_welcome:         Welcome welcome;
//	        case mls_group_info:      GroupInfo group_info;
//	        case mls_key_package:     KeyPackage key_package;
//	    };
//	} MLSMessage;
type Message struct {
	Version    mls.ProtocolVersion
	WireFormat WireFormat
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *treekem.KeyPackage
}

// Parse reads a serialized MLSMessage. Nothing about the result is
// authenticated. The error is ErrUnsupported for a protocol version, wire
// format, proposal type or credential type this module does not know, and
// ErrMalformed for everything else that is not an MLSMessage.
func Parse(data []byte) (*Message, error) {
	m := new(Message)
	if err := wire.UnmarshalOwned(bytes.Clone(data), m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes returns the serialized MLSMessage.
func (m *Message) Bytes() ([]byte, error) {
	return wire.Marshal(m)
}

// encodeHeader writes how every MLSMessage begins.
func encodeHeader(b *wire.Builder, v mls.ProtocolVersion, f WireFormat) {
	if v != mls.MLS10 {
		fail(b, "protocol version %d", uint16(v))
	}
	b.U16(uint16(v))
	b.U16(uint16(f))
}

// headerSize is more than the version, the wire format and the lengths of the two
// ciphertexts of a PrivateMessage take.
const headerSize = 2 + 2 + 2*4

// Encode writes the wire form.
func (m *Message) Encode(b *wire.Builder) {
	encodeHeader(b, m.Version, m.WireFormat)
	switch {
	case m.WireFormat == WireFormatPublicMessage && m.Public != nil:
		m.Public.Encode(b)
	case m.WireFormat == WireFormatPrivateMessage && m.Private != nil:
		m.Private.Encode(b)
	case m.WireFormat == WireFormatWelcome && m.Welcome != nil:
		m.Welcome.Encode(b)
	case m.WireFormat == WireFormatGroupInfo && m.GroupInfo != nil:
		m.GroupInfo.Encode(b)
	case m.WireFormat == WireFormatKeyPackage && m.KeyPackage != nil:
		m.KeyPackage.Encode(b)
	default:
		fail(b, "no message of wire format %s", m.WireFormat)
	}
}

// Decode reads the wire form.
func (m *Message) Decode(r *wire.Reader) {
	*m = Message{Version: mls.ProtocolVersion(r.U16()), WireFormat: WireFormat(r.U16())}
	if r.Err() != nil {
		return
	}
	if m.Version != mls.MLS10 {
		unsupported(r, "protocol version %d", uint16(m.Version))
		return
	}
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.Public = decodeNew[PublicMessage](r)
	case WireFormatPrivateMessage:
		m.Private = decodeNew[PrivateMessage](r)
	case WireFormatWelcome:
		m.Welcome = decodeNew[Welcome](r)
	case WireFormatGroupInfo:
		m.GroupInfo = decodeNew[GroupInfo](r)
	case WireFormatKeyPackage:
		m.KeyPackage = decodeNew[treekem.KeyPackage](r)
	default:
		unsupported(r, "wire format %s", m.WireFormat)
	}
}
