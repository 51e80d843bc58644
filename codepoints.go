package mls

import (
	"fmt"

	"github.com/treekem/mls/internal/wire"
)

// ProtocolVersion is a version of MLS (RFC 9420, Section 6).
type ProtocolVersion uint16

// MLS10 is the version RFC 9420 defines.
const MLS10 ProtocolVersion = 1

// String returns the name RFC 9420 gives v.
func (v ProtocolVersion) String() string {
	if v == MLS10 {
		return "mls10"
	}
	return codePoint(uint16(v))
}

// CipherSuite is the code point of a cipher suite (RFC 9420, Section 17.1).
// [LookupSuite] returns its operations.
type CipherSuite uint16

// The cipher suites of RFC 9420, Section 17.1, without the prefix of the
// protocol version and, but for a NIST curve, the one of the KEM.
const (
	X25519_AES128GCM_SHA256_Ed25519        CipherSuite = 1
	P256_AES128GCM_SHA256_P256             CipherSuite = 2
	X25519_CHACHA20POLY1305_SHA256_Ed25519 CipherSuite = 3
	X448_AES256GCM_SHA512_Ed448            CipherSuite = 4
	P521_AES256GCM_SHA512_P521             CipherSuite = 5
	X448_CHACHA20POLY1305_SHA512_Ed448     CipherSuite = 6
	P384_AES256GCM_SHA384_P384             CipherSuite = 7
)

// The cipher suites of draft-ietf-mls-pq-ciphersuites-06, TBD1 to TBD11 in its
// order. None has an assigned code point yet: these are of the range for private
// use (RFC 9420, Section 17.1), 0xf6 for version 06 of the draft, then the
// number of its row, which differs from version to version. [SetCodePoints]
// gives the rows other ones.
const (
	MLKEM768X25519_AES128GCM_SHA256_Ed25519        CipherSuite = 0xf601
	MLKEM768X25519_AES256GCM_SHA384_Ed25519        CipherSuite = 0xf602
	MLKEM768P256_AES128GCM_SHA256_P256             CipherSuite = 0xf603
	MLKEM768P256_AES256GCM_SHA384_P256             CipherSuite = 0xf604
	MLKEM1024P384_AES256GCM_SHA384_P384            CipherSuite = 0xf605
	MLKEM768_AES256GCM_SHA384_Ed25519              CipherSuite = 0xf606
	MLKEM768_AES256GCM_SHA384_P256                 CipherSuite = 0xf607
	MLKEM1024_AES256GCM_SHA384_P384                CipherSuite = 0xf608
	MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44 CipherSuite = 0xf609
	MLKEM768_AES256GCM_SHA384_MLDSA65              CipherSuite = 0xf60a
	MLKEM1024_AES256GCM_SHA384_MLDSA87             CipherSuite = 0xf60b
)

// String returns the name that RFC 9420 or the draft gives c.
func (c CipherSuite) String() string {
	if s := table().find(c); s != nil {
		return s.name
	}
	return codePoint(uint16(c))
}

// SignatureScheme is the code point of a signature scheme: a suite's is one of
// TLS 1.3 (RFC 9420, Section 17.1).
type SignatureScheme uint16

// The signature schemes of the suites, as RFC 8446, Section 4.2.3 and
// draft-ietf-tls-mldsa number them.
const (
	SignatureECDSAP256SHA256 SignatureScheme = 0x0403
	SignatureECDSAP384SHA384 SignatureScheme = 0x0503
	SignatureECDSAP521SHA512 SignatureScheme = 0x0603
	SignatureEd25519         SignatureScheme = 0x0807
	SignatureEd448           SignatureScheme = 0x0808
	SignatureMLDSA44         SignatureScheme = 0x0904
	SignatureMLDSA65         SignatureScheme = 0x0905
	SignatureMLDSA87         SignatureScheme = 0x0906
)

var signatureNames = map[SignatureScheme]string{
	SignatureECDSAP256SHA256: "ecdsa_secp256r1_sha256", SignatureECDSAP384SHA384: "ecdsa_secp384r1_sha384",
	SignatureECDSAP521SHA512: "ecdsa_secp521r1_sha512", SignatureEd25519: "ed25519", SignatureEd448: "ed448",
	SignatureMLDSA44: "mldsa44", SignatureMLDSA65: "mldsa65", SignatureMLDSA87: "mldsa87",
}

// String returns the name TLS gives s.
func (s SignatureScheme) String() string {
	if name := signatureNames[s]; name != "" {
		return name
	}
	return codePoint(uint16(s))
}

// CredentialType is the type of a credential (RFC 9420, Section 5.3).
type CredentialType uint16

// The credential types of RFC 9420, Section 17.5.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// String returns the name RFC 9420 gives t.
func (t CredentialType) String() string {
	switch t {
	case CredentialBasic:
		return "basic"
	case CredentialX509:
		return "x509"
	}
	return codePoint(uint16(t))
}

// ProposalType is the type of a proposal (RFC 9420, Section 12.1).
type ProposalType uint16

// The proposal types of RFC 9420, Section 17.4.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

var proposalNames = [...]string{
	ProposalAdd: "add", ProposalUpdate: "update", ProposalRemove: "remove", ProposalPSK: "psk",
	ProposalReInit: "reinit", ProposalExternalInit: "external_init",
	ProposalGroupContextExtensions: "group_context_extensions",
}

// String returns the name RFC 9420 gives t.
func (t ProposalType) String() string { return name(proposalNames[:], uint16(t)) }

// ExtensionType is the type of an extension (RFC 9420, Section 13).
type ExtensionType uint16

// The extension types of RFC 9420, Section 17.3.
const (
	ExtensionApplicationID        ExtensionType = 1
	ExtensionRatchetTree          ExtensionType = 2
	ExtensionRequiredCapabilities ExtensionType = 3
	ExtensionExternalPub          ExtensionType = 4
	ExtensionExternalSenders      ExtensionType = 5
)

var extensionNames = [...]string{
	ExtensionApplicationID: "application_id", ExtensionRatchetTree: "ratchet_tree",
	ExtensionRequiredCapabilities: "required_capabilities", ExtensionExternalPub: "external_pub",
	ExtensionExternalSenders: "external_senders",
}

// String returns the name RFC 9420 gives t.
func (t ExtensionType) String() string { return name(extensionNames[:], uint16(t)) }

func name(names []string, v uint16) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return codePoint(v)
}

func codePoint(v uint16) string {
	if IsGREASE(v) {
		return fmt.Sprintf("GREASE(%#04x)", v)
	}
	return fmt.Sprintf("%#04x", v)
}

// IsGREASE reports whether v is one of the fifteen values, 0x0a0a to 0xeaea,
// that mean nothing and are sent so that receivers keep ignoring what they
// don't know (RFC 9420, Section 13.5).
func IsGREASE(v uint16) bool {
	return v&0x0f0f == 0x0a0a && v>>8 == v&0xff && v != 0xfafa
}

// LeafIndex is the place of a member in the ratchet tree, from 0 at the left
// (RFC 9420, Section 4.1.1). It isn't a node index.
type LeafIndex uint32

// Extension is an extension of a key package, a leaf node, a group context or
// a group info, with its contents still encoded (RFC 9420, Section 13).
//
//	struct {
//	    ExtensionType extension_type;
//	    opaque extension_data<V>;
//	} Extension;
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Encode appends x to b.
func (x Extension) Encode(b *wire.Builder) {
	b.U16(uint16(x.Type))
	b.Opaque(x.Data)
}

// Decode sets x to the extension at the start of r, with a copy of its data.
func (x *Extension) Decode(r *wire.Reader) {
	x.Type = ExtensionType(r.U16())
	x.Data = r.OpaqueCopy()
}

// EncodeExtensions appends the vector of extensions, in order: Extension
// extensions<V>.
func EncodeExtensions(b *wire.Builder, exts []Extension) {
	b.Vector(func(b *wire.Builder) {
		for _, x := range exts {
			x.Encode(b)
		}
	})
}

// longList is the length from which a list of extensions is searched by a map.
const longList = 16

// DecodeExtensions returns the vector of extensions at the start of r in its
// order, the unknown ones too. Two of one type are malformed
// (RFC 9420, Section 13.4).
func DecodeExtensions(r *wire.Reader) []Extension {
	var exts []Extension
	var seen map[ExtensionType]bool
	r.Vector(func(r *wire.Reader) {
		var x Extension
		x.Decode(r)
		if r.Err() != nil {
			return
		}
		// A list is short, and a map for each leaf of a tree would cost more
		// than reading it. One that isn't must not take quadratic time.
		if len(exts) == longList {
			seen = make(map[ExtensionType]bool, 2*longList)
			for _, y := range exts {
				seen[y.Type] = true
			}
		}
		dup := seen[x.Type]
		if seen != nil {
			seen[x.Type] = true
		} else {
			_, dup = FindExtension(exts, x.Type)
		}
		if dup {
			r.Fail("two extensions of type %v", x.Type)
			return
		}
		exts = append(exts, x)
	})
	if r.Err() != nil {
		return nil
	}
	return exts
}

// CheckExtensions refuses a list with two extensions of one type (RFC 9420,
// Section 13.4): others could not decode it. The error is RuleError
// 13.4/duplicate-extension.
func CheckExtensions(exts []Extension) error {
	if len(exts) < 2 {
		return nil
	}
	seen := make(map[ExtensionType]bool, len(exts))
	for _, x := range exts {
		if seen[x.Type] {
			return Invalid("13.4", "duplicate-extension", "two extensions of type %v in one list", x.Type)
		}
		seen[x.Type] = true
	}
	return nil
}

// FindExtension returns the data of the extension of type t, which is exts'
// own, and whether there is one.
func FindExtension(exts []Extension, t ExtensionType) ([]byte, bool) {
	for _, x := range exts {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}
