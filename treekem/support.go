package treekem

import (
	"encoding/binary"
	"iter"
	"slices"
	"unique"

	"github.com/treekem/mls"
)

// Support is what a set of members amounts to in the rules that speak of all
// of them: what every one supports, and which types any one uses. Computing it
// for a subtree from its halves costs nothing while members are alike, because
// equal values are one value. The zero value is that of no members.
type Support struct {
	h unique.Handle[supportSet]
}

// supportSet holds sets of code points: two bytes each, ascending, no repeats.
type supportSet struct {
	// Supported by every member: the intersection of their capabilities.
	versions, suites, extensions, proposals, credentials codeSet
	// Used by some member: the union of their leaf nodes' types.
	credentialsUsed, extensionsUsed codeSet
}

func makeSupport(set supportSet) Support { return Support{unique.Make(set)} }

func (s Support) set() supportSet {
	if s == (Support{}) {
		return supportSet{}
	}
	return s.h.Value()
}

// supportOf returns the support of the one member with this leaf.
func supportOf(v *leafView) Support {
	return makeSupport(supportSet{
		versions:        sortedCodes(v.versions),
		suites:          sortedCodes(v.suites),
		extensions:      sortedCodes(v.extensionTypes),
		proposals:       sortedCodes(v.proposalTypes),
		credentials:     sortedCodes(v.credentialTypes),
		credentialsUsed: codeSet(v.credentialType),
		extensionsUsed:  sortedCodes(v.usedExtensions()),
	})
}

// supportsLike reports whether supportOf gives the same for both, from all that it
// looks at.
func (v *leafView) supportsLike(o *leafView) bool {
	return v.capabilities == o.capabilities && v.credentialType == o.credentialType && v.extensions == o.extensions
}

// A supportMemo remembers supportOf, for a worker that reads many leaves: most
// members' capabilities are the same bytes. Its keys are what supportOf looks at
// in a leaf without extensions.
type supportMemo map[supportKey]Support

type supportKey struct{ credentialType, capabilities string }

func (m supportMemo) of(v *leafView) Support {
	if v.extensions != "" {
		return supportOf(v)
	}
	key := supportKey{v.credentialType, v.capabilities}
	s, ok := m[key]
	if !ok {
		s = supportOf(v)
		if len(m) < maxSupportMemo {
			m[key] = s
		}
	}
	return s
}

// maxSupportMemo is more than there are makes of clients in a group, and little
// to hold: every member could be of its own make.
const maxSupportMemo = 64

// combine returns the support of two disjoint sets of members.
func combine(a, b Support) Support {
	switch {
	case a == b || b == (Support{}):
		return a
	case a == (Support{}):
		return b
	}
	x, y := a.h.Value(), b.h.Value()
	return makeSupport(supportSet{
		versions:        intersection(x.versions, y.versions),
		suites:          intersection(x.suites, y.suites),
		extensions:      intersection(x.extensions, y.extensions),
		proposals:       intersection(x.proposals, y.proposals),
		credentials:     intersection(x.credentials, y.credentials),
		credentialsUsed: union(x.credentialsUsed, y.credentialsUsed),
		extensionsUsed:  union(x.extensionsUsed, y.extensionsUsed),
	})
}

// SupportsVersion reports whether every member supports v.
func (s Support) SupportsVersion(v mls.ProtocolVersion) bool {
	return s.set().versions.has(uint16(v))
}

// SupportsSuite reports whether every member supports cipher suite c.
func (s Support) SupportsSuite(c mls.CipherSuite) bool { return s.set().suites.has(uint16(c)) }

// SupportsExtension reports whether every member supports extensions of type t:
// by default, or because each lists it (RFC 9420, Section 7.2).
func (s Support) SupportsExtension(t mls.ExtensionType) bool {
	return defaultExtension(t) || s.set().extensions.has(uint16(t))
}

// SupportsProposal reports whether every member supports proposals of type t:
// by default, or because each lists it (RFC 9420, Section 7.2).
func (s Support) SupportsProposal(t mls.ProposalType) bool {
	return defaultProposal(t) || s.set().proposals.has(uint16(t))
}

// SupportsCredential reports whether every member supports credentials of type
// t. No type is supported by default.
func (s Support) SupportsCredential(t mls.CredentialType) bool {
	return s.set().credentials.has(uint16(t))
}

// CredentialsInUse returns the types of the members' credentials, ascending.
func (s Support) CredentialsInUse() []mls.CredentialType {
	return codesOf[mls.CredentialType](s.set().credentialsUsed)
}

// ExtensionsInUse returns the types of the extensions of the members' leaf
// nodes, ascending.
func (s Support) ExtensionsInUse() []mls.ExtensionType {
	return codesOf[mls.ExtensionType](s.set().extensionsUsed)
}

// agrees reports whether every member supports every credential type in use
// (RFC 9420, Section 7.3).
func (s Support) agrees() bool {
	set := s.set()
	return set.credentials.hasAll(set.credentialsUsed)
}

// A codeSet is a set of code points: two bytes each, ascending, no repeats.
type codeSet string

func (c codeSet) len() int        { return len(c) / 2 }
func (c codeSet) at(i int) uint16 { return uint16(c[2*i])<<8 | uint16(c[2*i+1]) }

func (c codeSet) all() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i := range c.len() {
			if !yield(c.at(i)) {
				return
			}
		}
	}
}

// has scans: the sets are short.
func (c codeSet) has(v uint16) bool {
	for i := range c.len() {
		if c.at(i) >= v {
			return c.at(i) == v
		}
	}
	return false
}

func (c codeSet) hasAll(o codeSet) bool {
	j := 0
	for i := range o.len() {
		for j < c.len() && c.at(j) < o.at(i) {
			j++
		}
		if j == c.len() || c.at(j) != o.at(i) {
			return false
		}
	}
	return true
}

func codesOf[T ~uint16](c codeSet) []T {
	out := make([]T, 0, c.len())
	for v := range c.all() {
		out = append(out, T(v))
	}
	return out
}

// sortedCodes returns the set of a list of two-byte values as it stands in an
// encoding, which usually is in order already.
func sortedCodes(list string) codeSet {
	c := codeSet(list)
	for i := 1; i < c.len(); i++ {
		if c.at(i-1) >= c.at(i) {
			return makeCodeSet(slices.Collect(c.all()))
		}
	}
	return c
}

func makeCodeSet(codes []uint16) codeSet {
	slices.Sort(codes)
	codes = slices.Compact(codes)
	out := make([]byte, 0, 2*len(codes))
	for _, v := range codes {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return codeSet(out)
}

func intersection(a, b codeSet) codeSet {
	if a == b {
		return a
	}
	var out []byte
	for i, j := 0, 0; i < a.len() && j < b.len(); {
		switch x, y := a.at(i), b.at(j); {
		case x < y:
			i++
		case x > y:
			j++
		default:
			out = binary.BigEndian.AppendUint16(out, x)
			i, j = i+1, j+1
		}
	}
	return codeSet(out)
}

func union(a, b codeSet) codeSet {
	if a == b {
		return a
	}
	return makeCodeSet(slices.AppendSeq(slices.Collect(a.all()), b.all()))
}
