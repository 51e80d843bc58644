package treekem

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// A Credential binds identities to a signature key (RFC 9420, Section 5.3).
//
//	struct {
//	    CredentialType credential_type;
//	    select (Credential.credential_type) {
//	        case basic: opaque identity<V>;
//	        case x509:  Certificate certificates<V>;
//	    };
//	} Credential;
type Credential struct {
	Type mls.CredentialType
	// Identity is the application's name for the member (basic).
	Identity []byte
	// Certificates is a chain of DER certificates, the end entity's first
	// (x509).
	Certificates [][]byte
}

// BasicCredential returns a basic credential for an identity, which it copies.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: mls.CredentialBasic, Identity: bytes.Clone(identity)}
}

// X509Credential returns an x509 credential for a chain of DER certificates,
// the end entity's first. It copies the chain.
func X509Credential(chain [][]byte) Credential {
	return Credential{Type: mls.CredentialX509, Certificates: cloneEach(chain)}
}

func cloneEach(list [][]byte) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = bytes.Clone(list[i])
	}
	return out
}

// Encode appends the credential.
func (c *Credential) Encode(b *wire.Builder) {
	b.U16(uint16(c.Type))
	switch c.Type {
	case mls.CredentialBasic:
		b.Opaque(c.Identity)
	case mls.CredentialX509:
		b.Vector(func(b *wire.Builder) {
			for _, cert := range c.Certificates {
				b.Opaque(cert)
			}
		})
	default:
		b.Fail(unknownCredential(c.Type))
	}
}

// Decode reads a credential. A type that has no known syntax is
// [mls.ErrUnsupported]: where it ends cannot be told.
func (c *Credential) Decode(r *wire.Reader) {
	*c = Credential{Type: mls.CredentialType(r.U16())}
	if r.Err() != nil {
		return
	}
	switch c.Type {
	case mls.CredentialBasic:
		c.Identity = r.OpaqueCopy()
	case mls.CredentialX509:
		r.Vector(func(r *wire.Reader) {
			c.Certificates = append(c.Certificates, r.OpaqueCopy())
		})
	default:
		r.FailWith(unknownCredential(c.Type))
	}
}

func unknownCredential(t mls.CredentialType) error {
	return fmt.Errorf("%w: credential of type %v", mls.ErrUnsupported, t)
}

// Equal reports whether two credentials have the same encoding.
func (c Credential) Equal(o Credential) bool {
	return c.Type == o.Type && bytes.Equal(c.Identity, o.Identity) &&
		slices.EqualFunc(c.Certificates, o.Certificates, bytes.Equal)
}

// Clone returns a copy that shares nothing with c.
func (c Credential) Clone() Credential {
	c.Identity = bytes.Clone(c.Identity)
	if c.Certificates != nil {
		c.Certificates = cloneEach(c.Certificates)
	}
	return c
}

// maxPrinted is how much of an identity goes into messages for people: whoever
// chooses an identity must not be able to fill a log with it.
const maxPrinted = 64

// String names the member for people: the basic identity if it is printable
// text, else in hexadecimal; the subject of an X.509 end entity.
func (c Credential) String() string {
	switch c.Type {
	case mls.CredentialBasic:
		return printable(c.Identity)
	case mls.CredentialX509:
		if len(c.Certificates) > 0 {
			if cert, err := x509.ParseCertificate(c.Certificates[0]); err == nil {
				return printable([]byte(cert.Subject.String()))
			}
		}
		return "unreadable certificate"
	default:
		return "credential type " + strconv.Itoa(int(c.Type))
	}
}

func printable(p []byte) string {
	notPrintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.Valid(p) || bytes.ContainsFunc(p, notPrintable) {
		return fmt.Sprintf("0x%x", p[:min(len(p), maxPrinted/2)]) + ellipsis(len(p) > maxPrinted/2)
	}
	if len(p) <= maxPrinted {
		return string(p)
	}
	return strings.ToValidUTF8(string(p[:maxPrinted]), "") + ellipsis(true)
}

func ellipsis(cut bool) string {
	if cut {
		return "…"
	}
	return ""
}

// CheckKey checks what can be said of a credential and its signature key
// without an authority: an x509 chain parses, and its end entity certifies
// that very key for the suite's signature scheme (RFC 9420, Section 5.3).
func (c Credential) CheckKey(s *mls.Suite, key mls.SignaturePublicKey) error {
	if c.Type != mls.CredentialX509 {
		return nil
	}
	chain, err := parseChain(c)
	if err != nil {
		return err
	}
	return checkCertifiedKey(chain[0], s, key)
}
