package treekem

import (
	"slices"
	"sort"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// Nodes are kept as their encodings, which decoding has found to be well
// formed. What follows reads fields where they lie.

// opaqueAt splits the vector at the start of s from what comes after it.
func opaqueAt(s string) (contents, rest string) {
	n, size := int(s[0]&0x3f), 1
	switch s[0] >> 6 {
	case 1:
		n, size = n<<8|int(s[1]), 2
	case 2:
		n, size = n<<24|int(s[1])<<16|int(s[2])<<8|int(s[3]), 4
	}
	return s[size : size+n], s[size+n:]
}

// encryptionKeyIn returns the encryption key of an encoded leaf or parent node:
// both begin with it (RFC 9420, Sections 7.1 and 7.2).
func encryptionKeyIn(raw string) string {
	key, _ := opaqueAt(raw)
	return key
}

// signatureKeyIn returns the signature key of an encoded leaf node.
func signatureKeyIn(raw string) string {
	_, rest := opaqueAt(raw)
	key, _ := opaqueAt(rest)
	return key
}

// A leafView is an encoded leaf node taken apart, without copies.
type leafView struct {
	encryptionKey, signatureKey string
	credentialType              string // two bytes
	credential                  string // the credential, with its type
	capabilities                string
	versions, suites            string // lists of two-byte values
	extensionTypes              string
	proposalTypes               string
	credentialTypes             string
	source                      LeafNodeSource
	lifetime                    string // of a leaf from a key package
	parentHash                  string // of a leaf from a commit
	extensions                  string
	// tbs is everything before the signature: the LeafNodeTBS but for the
	// group's ID and the leaf index (RFC 9420, Section 7.2).
	tbs, signature string
}

func viewLeaf(raw string) leafView {
	var v leafView
	rest := raw
	v.encryptionKey, rest = opaqueAt(rest)
	v.signatureKey, rest = opaqueAt(rest)

	start := rest
	v.credentialType, rest = rest[:2], rest[2:]
	_, rest = opaqueAt(rest)
	v.credential = start[:len(start)-len(rest)]

	start = rest
	v.versions, rest = opaqueAt(rest)
	v.suites, rest = opaqueAt(rest)
	v.extensionTypes, rest = opaqueAt(rest)
	v.proposalTypes, rest = opaqueAt(rest)
	v.credentialTypes, rest = opaqueAt(rest)
	v.capabilities = start[:len(start)-len(rest)]

	v.source, rest = LeafNodeSource(rest[0]), rest[1:]
	switch v.source {
	case SourceKeyPackage:
		v.lifetime, rest = rest[:16], rest[16:]
	case SourceCommit:
		v.parentHash, rest = opaqueAt(rest)
	}
	v.extensions, rest = opaqueAt(rest)
	v.tbs = raw[:len(raw)-len(rest)]
	v.signature, _ = opaqueAt(rest)
	return v
}

// decodeLifetime returns the lifetime of a leaf from a key package, the zero value
// for others.
func (v *leafView) decodeLifetime() (l Lifetime) {
	if v.lifetime != "" {
		l.Decode(wire.NewReader([]byte(v.lifetime)))
	}
	return l
}

// usedExtensions returns the types of the leaf's extensions, as a list of
// two-byte values.
func (v *leafView) usedExtensions() string {
	var types []byte
	for rest := v.extensions; rest != ""; {
		types = append(types, rest[:2]...)
		_, rest = opaqueAt(rest[2:])
	}
	return string(types)
}

// skipLeaf reads past a leaf node whose contents are checked later.
func skipLeaf(r *wire.Reader) {
	r.Opaque()
	r.Opaque()
	switch t := mls.CredentialType(r.U16()); t {
	case mls.CredentialBasic, mls.CredentialX509:
	default:
		r.FailWith(unknownCredential(t))
	}
	for range 6 { // the credential's body and five lists of capabilities
		r.Opaque()
	}
	switch s := LeafNodeSource(r.U8()); s {
	case SourceKeyPackage:
		r.Raw(16)
	case SourceUpdate:
	case SourceCommit:
		r.Opaque()
	default:
		r.Fail("leaf node source %d", s)
	}
	r.Opaque()
	r.Opaque()
}

// skipParent reads past a parent node whose contents are checked later.
func skipParent(r *wire.Reader) {
	r.Opaque()
	r.Opaque()
	r.Opaque()
}

// parentFields takes an encoded parent node apart.
func parentFields(raw string) (key, parentHash string, unmerged leafList) {
	key, rest := opaqueAt(raw)
	parentHash, rest = opaqueAt(rest)
	list, _ := opaqueAt(rest)
	return key, parentHash, leafList(list)
}

// keyAndParentHash returns the part of an encoded parent node that a
// ParentHashInput begins with, too (RFC 9420, Sections 7.1 and 7.9).
func keyAndParentHash(raw string) string {
	_, rest := opaqueAt(raw)
	_, rest = opaqueAt(rest)
	return raw[:len(raw)-len(rest)]
}

// unmergedIn returns the unmerged leaves of an encoded parent node.
func unmergedIn(raw string) leafList {
	_, _, unmerged := parentFields(raw)
	return unmerged
}

// appendParent appends the encoding of a parent node.
func appendParent[K, H ~string | ~[]byte](dst []byte, key K, parentHash H, unmerged leafList) []byte {
	dst = wire.AppendVarint(dst, uint32(len(key)))
	dst = append(dst, key...)
	dst = wire.AppendVarint(dst, uint32(len(parentHash)))
	dst = append(dst, parentHash...)
	dst = wire.AppendVarint(dst, uint32(len(unmerged)))
	return append(dst, unmerged...)
}

// encodeParent returns the encoding of a parent node.
func encodeParent(key, parentHash string, unmerged leafList) string {
	var stack [256]byte
	return string(appendParent(stack[:0], key, parentHash, unmerged))
}

// A leafList is a list of leaf indices as it is encoded, four bytes each, in
// ascending order.
type leafList string

func (l leafList) len() int { return len(l) / 4 }

func (l leafList) at(i int) mls.LeafIndex {
	s := l[4*i : 4*i+4]
	return mls.LeafIndex(s[0])<<24 | mls.LeafIndex(s[1])<<16 | mls.LeafIndex(s[2])<<8 | mls.LeafIndex(s[3])
}

// search returns how many entries are less than i.
func (l leafList) search(i uint64) int {
	return sort.Search(l.len(), func(k int) bool { return uint64(l.at(k)) >= i })
}

func (l leafList) has(i mls.LeafIndex) bool {
	k := l.search(uint64(i))
	return k < l.len() && l.at(k) == i
}

// below returns the entries that are leaves below node x.
func (l leafList) below(x NodeIndex) leafList {
	first, end := x.leaves()
	return l[4*l.search(first) : 4*l.search(end)]
}

// ascending reports whether the list is sorted, without repeats.
func (l leafList) ascending() bool {
	for i := 1; i < l.len(); i++ {
		if l.at(i-1) >= l.at(i) {
			return false
		}
	}
	return true
}

// merge returns the list with the entries of o, which it has none of.
func (l leafList) merge(o []mls.LeafIndex) leafList {
	out := make([]byte, 0, len(l)+4*len(o))
	i := 0
	for _, leaf := range o {
		k := i + l[4*i:].search(uint64(leaf))
		out = append(out, l[4*i:4*k]...)
		out = append(out, byte(leaf>>24), byte(leaf>>16), byte(leaf>>8), byte(leaf))
		i = k
	}
	return leafList(append(out, l[4*i:]...))
}

// without returns the list without the entries of o.
func (l leafList) without(o leafList) leafList {
	out := make([]byte, 0, len(l))
	k := 0
	for i := range l.len() {
		for k < o.len() && o.at(k) < l.at(i) {
			k++
		}
		if k < o.len() && o.at(k) == l.at(i) {
			continue
		}
		out = append(out, l[4*i:4*i+4]...)
	}
	return leafList(out)
}

func (l leafList) slice() []mls.LeafIndex {
	if l == "" {
		return nil
	}
	out := make([]mls.LeafIndex, l.len())
	for i := range out {
		out[i] = l.at(i)
	}
	return out
}

// A leafSet is a set of leaves, ascending: those that a commit adds. There may
// be as many as the tree has.
type leafSet []mls.LeafIndex

func newLeafSet(leaves []mls.LeafIndex) leafSet {
	if !slices.IsSorted(leaves) {
		leaves = slices.Sorted(slices.Values(leaves))
	}
	return leaves
}

func (l leafSet) has(i mls.LeafIndex) bool {
	_, ok := slices.BinarySearch(l, i)
	return ok
}

// countBelow returns how many of the leaves are below x.
func (l leafSet) countBelow(x NodeIndex) int {
	first, end := x.leaves()
	from := sort.Search(len(l), func(k int) bool { return uint64(l[k]) >= first })
	return sort.Search(len(l), func(k int) bool { return uint64(l[k]) >= end }) - from
}
