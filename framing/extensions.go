package framing

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// ExternalSender is somebody outside of the group who may send proposals to it
// (RFC 9420, Section 12.1.8.1).
//
//	struct {
//	  SignaturePublicKey signature_key;
//	  Credential credential;
//	} ExternalSender;
type ExternalSender struct {
	SignatureKey mls.SignaturePublicKey
	Credential   treekem.Credential
}

// Encode writes the wire form.
func (e *ExternalSender) Encode(b *wire.Builder) {
	b.Opaque(e.SignatureKey)
	e.Credential.Encode(b)
}

// Decode reads the wire form.
func (e *ExternalSender) Decode(r *wire.Reader) {
	e.SignatureKey = r.OpaqueCopy()
	e.Credential.Decode(r)
}

// Bytes returns the wire form of one sender, by which it can make itself known
// to a group: a list of senders is what EncodeExternalSenders writes.
func (e *ExternalSender) Bytes() ([]byte, error) { return wire.Marshal(e) }

// ParseExternalSender reads the wire form of one sender and refuses trailing
// bytes. Neither key nor credential is verified.
func ParseExternalSender(data []byte) (*ExternalSender, error) {
	e := new(ExternalSender)
	if err := wire.Unmarshal(data, e); err != nil {
		return nil, err
	}
	return e, nil
}

// externalSenders is the body of the external_senders extension.
//
//	ExternalSender external_senders<V>;
type externalSenders []ExternalSender

func (l *externalSenders) Encode(b *wire.Builder) {
	b.Vector(func(b *wire.Builder) {
		for i := range *l {
			(*l)[i].Encode(b)
		}
	})
}

func (l *externalSenders) Decode(r *wire.Reader) {
	*l = nil
	r.Vector(func(r *wire.Reader) {
		var e ExternalSender
		e.Decode(r)
		*l = append(*l, e)
	})
}

// EncodeExternalSenders returns the extension_data of an external_senders
// extension: the vector of senders with its own length, inside the length that
// every extension_data has (RFC 9420, Section 12.1.8.1).
func EncodeExternalSenders(senders []ExternalSender) ([]byte, error) {
	return wire.Marshal((*externalSenders)(&senders))
}

// DecodeExternalSenders reads the extension_data of an external_senders
// extension and refuses trailing bytes.
func DecodeExternalSenders(data []byte) ([]ExternalSender, error) {
	var l externalSenders
	if err := wire.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	return l, nil
}

// externalPub is the body of the external_pub extension.
//
//	struct { HPKEPublicKey external_pub; } ExternalPub;
type externalPub struct {
	key mls.HPKEPublicKey
}

func (e *externalPub) Encode(b *wire.Builder) { b.Opaque(e.key) }
func (e *externalPub) Decode(r *wire.Reader)  { e.key = r.OpaqueCopy() }

// EncodeExternalPub returns the extension_data of an external_pub extension:
// the key with its own length (RFC 9420, Section 12.4.3.2).
func EncodeExternalPub(key mls.HPKEPublicKey) ([]byte, error) {
	return wire.Marshal(&externalPub{key})
}

// DecodeExternalPub reads the extension_data of an external_pub extension and
// refuses trailing bytes. The key is not checked against a cipher suite.
func DecodeExternalPub(data []byte) (mls.HPKEPublicKey, error) {
	var e externalPub
	if err := wire.Unmarshal(data, &e); err != nil {
		return nil, err
	}
	return e.key, nil
}
