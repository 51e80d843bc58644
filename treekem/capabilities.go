package treekem

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// Capabilities is what a client supports (RFC 9420, Section 7.2). Values that
// nobody knows are kept as they are.
//
//	struct {
//	    ProtocolVersion versions<V>;
//	    CipherSuite cipher_suites<V>;
//	    ExtensionType extensions<V>;
//	    ProposalType proposals<V>;
//	    CredentialType credentials<V>;
//	} Capabilities;
type Capabilities struct {
	Versions     []mls.ProtocolVersion
	CipherSuites []mls.CipherSuite
	Extensions   []mls.ExtensionType
	Proposals    []mls.ProposalType
	Credentials  []mls.CredentialType
}

// DefaultCapabilities returns what this module supports, with a random GREASE
// value in each list that should have one (RFC 9420, Section 13.5). It is the
// same value in all of them, so that the members of a group have few different
// capabilities.
func DefaultCapabilities() Capabilities {
	grease := uint16(rand.N(15))*0x1010 + 0x0a0a
	c := Capabilities{
		Versions:    []mls.ProtocolVersion{mls.MLS10},
		Extensions:  []mls.ExtensionType{mls.ExtensionType(grease)},
		Proposals:   []mls.ProposalType{mls.ProposalType(grease)},
		Credentials: []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509, mls.CredentialType(grease)},
	}
	for _, s := range mls.Suites() {
		c.CipherSuites = append(c.CipherSuites, s.ID())
	}
	c.CipherSuites = append(c.CipherSuites, mls.CipherSuite(grease))
	return c
}

// Encode appends the capabilities.
func (c *Capabilities) Encode(b *wire.Builder) {
	encodeCodes(b, c.Versions)
	encodeCodes(b, c.CipherSuites)
	encodeCodes(b, c.Extensions)
	encodeCodes(b, c.Proposals)
	encodeCodes(b, c.Credentials)
}

// Decode reads capabilities.
func (c *Capabilities) Decode(r *wire.Reader) {
	c.Versions = decodeCodes[mls.ProtocolVersion](r)
	c.CipherSuites = decodeCodes[mls.CipherSuite](r)
	c.Extensions = decodeCodes[mls.ExtensionType](r)
	c.Proposals = decodeCodes[mls.ProposalType](r)
	c.Credentials = decodeCodes[mls.CredentialType](r)
}

// Clone returns a copy that shares nothing with c.
func (c Capabilities) Clone() Capabilities {
	return Capabilities{
		Versions:     slices.Clone(c.Versions),
		CipherSuites: slices.Clone(c.CipherSuites),
		Extensions:   slices.Clone(c.Extensions),
		Proposals:    slices.Clone(c.Proposals),
		Credentials:  slices.Clone(c.Credentials),
	}
}

func encodeCodes[T ~uint16](b *wire.Builder, codes []T) {
	b.Vector(func(b *wire.Builder) {
		for _, v := range codes {
			b.U16(uint16(v))
		}
	})
}

func decodeCodes[T ~uint16](r *wire.Reader) []T {
	p := r.Opaque()
	if len(p)%2 != 0 {
		r.Fail("a list of two-byte values of %d bytes", len(p))
	}
	if r.Err() != nil || len(p) == 0 {
		return nil
	}
	codes := make([]T, len(p)/2)
	for i := range codes {
		codes[i] = T(p[2*i])<<8 | T(p[2*i+1])
	}
	return codes
}

// Default types are supported by everybody and not listed in capabilities
// (RFC 9420, Section 7.2).

func defaultExtension(t mls.ExtensionType) bool {
	return t >= mls.ExtensionApplicationID && t <= mls.ExtensionExternalSenders
}

func defaultProposal(t mls.ProposalType) bool {
	return t >= mls.ProposalAdd && t <= mls.ProposalGroupContextExtensions
}

// RequiredCapabilities is the contents of the required_capabilities extension
// of a group context (RFC 9420, Section 11.1).
//
//	struct {
//	    ExtensionType extension_types<V>;
//	    ProposalType proposal_types<V>;
//	    CredentialType credential_types<V>;
//	} RequiredCapabilities;
type RequiredCapabilities struct {
	Extensions  []mls.ExtensionType
	Proposals   []mls.ProposalType
	Credentials []mls.CredentialType
}

// Encode appends the required capabilities.
func (c *RequiredCapabilities) Encode(b *wire.Builder) {
	encodeCodes(b, c.Extensions)
	encodeCodes(b, c.Proposals)
	encodeCodes(b, c.Credentials)
}

// Decode reads required capabilities.
func (c *RequiredCapabilities) Decode(r *wire.Reader) {
	c.Extensions = decodeCodes[mls.ExtensionType](r)
	c.Proposals = decodeCodes[mls.ProposalType](r)
	c.Credentials = decodeCodes[mls.CredentialType](r)
}

// Lifetime is when a key package may be used, in seconds since 1970-01-01
// 00:00 UTC, both ends included (RFC 9420, Section 7.2). The zero value ended
// then.
//
//	struct {
//	    uint64 not_before;
//	    uint64 not_after;
//	} Lifetime;
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// clockSkew is how far a peer's clock may be behind: a key package that is used
// at once must not be from its receiver's future.
const clockSkew = time.Hour

// LifetimeFrom returns the lifetime that ends d after now. It begins an hour
// before now, because others' clocks may be behind.
func LifetimeFrom(now time.Time, d time.Duration) Lifetime {
	return Lifetime{
		NotBefore: uint64(max(now.Add(-clockSkew).Unix(), 0)),
		NotAfter:  uint64(max(now.Add(d).Unix(), 0)),
	}
}

// Contains reports whether now is within the lifetime.
func (l Lifetime) Contains(now time.Time) bool {
	t := now.Unix()
	return t >= 0 && uint64(t) >= l.NotBefore && uint64(t) <= l.NotAfter
}

// Duration returns the length of the lifetime, which applications must bound
// (RFC 9420, Section 7.2): zero if it ends before it begins, and the greatest
// duration there is if it is longer.
func (l Lifetime) Duration() time.Duration {
	if l.NotAfter < l.NotBefore {
		return 0
	}
	if d := l.NotAfter - l.NotBefore; d < uint64(math.MaxInt64/time.Second) {
		return time.Duration(d) * time.Second
	}
	return math.MaxInt64
}

// Encode appends the lifetime.
func (l *Lifetime) Encode(b *wire.Builder) {
	b.U64(l.NotBefore)
	b.U64(l.NotAfter)
}

// Decode reads a lifetime.
func (l *Lifetime) Decode(r *wire.Reader) {
	l.NotBefore = r.U64()
	l.NotAfter = r.U64()
}
