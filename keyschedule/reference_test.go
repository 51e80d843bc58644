package keyschedule

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"slices"
	"testing"

	"github.com/treekem/mls"
)

// reference is RFC 9420's formulas written out over crypto/hkdf, with nothing
// of the code under test: every value is derived from the top each time.
type reference struct {
	newHash    func() hash.Hash
	nh, nk, nn int
}

func referenceFor(t testing.TB, id mls.CipherSuite) reference {
	t.Helper()
	switch id {
	case 1, 2, mls.MLKEM768X25519_AES128GCM_SHA256_Ed25519, mls.MLKEM768P256_AES128GCM_SHA256_P256:
		return reference{sha256.New, 32, 16, 12}
	case 3:
		return reference{sha256.New, 32, 32, 12}
	case 4, 5, 6:
		return reference{sha512.New, 64, 32, 12}
	case 7:
		return reference{sha512.New384, 48, 32, 12}
	}
	if id >= mls.MLKEM768X25519_AES128GCM_SHA256_Ed25519 && id <= mls.MLKEM1024_AES256GCM_SHA384_MLDSA87 {
		return reference{sha512.New384, 48, 32, 12} // all but the two above
	}
	t.Fatalf("no reference for suite %v", id)
	panic("unreachable")
}

// expand is ExpandWithLabel (RFC 9420, Section 8), for labels and contexts of
// fewer than 64 bytes.
func (ref reference) expand(secret []byte, label string, context []byte, length int) []byte {
	label = "MLS 1.0 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(append(info, byte(len(label))), label...)
	info = append(append(info, byte(len(context))), context...)
	if len(label) > 63 || len(context) > 63 {
		panic("the reference has one-byte lengths only")
	}
	out, err := hkdf.Expand(ref.newHash, secret, string(info), length)
	if err != nil {
		panic(err)
	}
	return out
}

// nodes returns the secrets from the root to a leaf of a tree of the given
// depth (RFC 9420, Section 9).
func (ref reference) nodes(encryption []byte, depth uint8, leaf uint32) [][]byte {
	path := [][]byte{encryption}
	for level := int(depth) - 1; level >= 0; level-- {
		side := "left"
		if leaf>>level&1 == 1 {
			side = "right"
		}
		path = append(path, ref.expand(path[len(path)-1], "tree", []byte(side), ref.nh))
	}
	return path
}

// ratchet returns the ratchet secrets of generations 0 to last (RFC 9420,
// Section 9.1).
func (ref reference) ratchet(leafSecret []byte, kind RatchetKind, last uint32) [][]byte {
	label := map[RatchetKind]string{Handshake: "handshake", Application: "application"}[kind]
	secrets := [][]byte{ref.expand(leafSecret, label, nil, ref.nh)}
	for j := range last {
		secrets = append(secrets, ref.expand(secrets[j], "secret", generationContext(j), ref.nh))
	}
	return secrets
}

func (ref reference) keyNonce(ratchetSecret []byte, generation uint32) (key, nonce []byte) {
	context := generationContext(generation)
	return ref.expand(ratchetSecret, "key", context, ref.nk), ref.expand(ratchetSecret, "nonce", context, ref.nn)
}

func generationContext(j uint32) []byte { return binary.BigEndian.AppendUint32(nil, j) }

// messageKey returns the key and nonce of one generation, from the top.
func (ref reference) messageKey(encryption []byte, depth uint8, leaf uint32, kind RatchetKind, generation uint32) (key, nonce []byte) {
	nodes := ref.nodes(encryption, depth, leaf)
	secrets := ref.ratchet(nodes[len(nodes)-1], kind, generation)
	return ref.keyNonce(secrets[generation], generation)
}

// allSuites runs f once for every cipher suite.
func allSuites(t *testing.T, f func(t *testing.T, s *mls.Suite)) {
	t.Helper()
	suites := mls.Suites()
	if len(suites) < 7 {
		t.Fatalf("%d suites, want the 7 of RFC 9420, Section 17.1 at least", len(suites))
	}
	for _, s := range suites {
		t.Run(s.String(), func(t *testing.T) { f(t, s) })
	}
}

// suite1 is the suite of tests in which it makes no difference.
func suite1(t testing.TB) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// secretOf returns a secret of a copy of b.
func secretOf(b []byte) mls.Secret { return mls.NewSecret(slices.Clone(b)) }

// fill returns n bytes, at most 64, that differ from those for any other start.
func fill(start byte, n int) []byte {
	sum := sha512.Sum512([]byte{start})
	return slices.Clone(sum[:n])
}
