package conformance

import (
	"fmt"
	"strings"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// checkTreeMath checks RFC 9420, Appendix C.
func checkTreeMath(c *check) {
	leaves, nodes := c.get("n_leaves").u32(), c.get("n_nodes").u32()
	if leaves == 0 || leaves > treekem.MaxWidth {
		c.get("n_leaves").fail("no tree has so many leaves")
	}
	if treekem.NodeWidth(leaves) != nodes {
		c.get("n_nodes").fail("mismatch")
	}
	if uint32(treekem.Root(leaves)) != c.get("root").u32() {
		c.get("root").fail("mismatch")
	}
	relation := func(name string, of func(treekem.NodeIndex) (treekem.NodeIndex, bool)) {
		list := c.get(name).list()
		if uint32(len(list)) != nodes {
			c.get(name).fail("not an entry for every node")
		}
		for i, item := range list {
			want, there := item.optional()
			if got, ok := of(treekem.NodeIndex(i)); ok != there || uint32(got) != want {
				item.fail("mismatch")
			}
		}
	}
	relation("left", treekem.NodeIndex.Left)
	relation("right", treekem.NodeIndex.Right)
	relation("parent", func(x treekem.NodeIndex) (treekem.NodeIndex, bool) { return x.Parent(leaves) })
	relation("sibling", func(x treekem.NodeIndex) (treekem.NodeIndex, bool) { return x.Sibling(leaves) })
}

// maxContent bounds the vectors that are made up for a length, of up to 1 GiB.
const maxContent = 1 << 20

// checkDeserialization checks the length prefix of a vector (RFC 9420,
// Section 2.1.2).
func checkDeserialization(c *check) {
	header, length := c.get("vlbytes_header"), c.get("length").u32()
	if length > wire.MaxVector {
		c.get("length").fail("beyond the greatest length of a vector")
	}
	header.equal(wire.AppendVarint(nil, length))

	// The reader hands out no length without the content. Where there is less,
	// it says how much there should be.
	content := make([]byte, min(length, maxContent))
	r := wire.NewReader(append(header.bytes(), content...))
	got, err := r.Opaque(), r.Err()
	switch {
	case length <= maxContent && (err != nil || uint32(len(got)) != length || !r.Empty()):
		header.fail("decodes to another length")
	case length > maxContent && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("a vector of %d bytes", length))):
		header.fail("decodes to another length: %v", err)
	}
}

// checkCryptoBasics checks the operations of RFC 9420, Sections 5.1, 5.2, 8
// and 9.1.
func checkCryptoBasics(c *check) {
	s := c.suite

	v := c.get("ref_hash")
	v.get("out").equal(s.RefHash(v.get("label").str(), v.get("value").bytes()))

	v = c.get("expand_with_label")
	v.get("out").equalSecret(s.ExpandWithLabel(v.get("secret").secret(), v.get("label").str(),
		v.get("context").bytes(), c.outputLength(v.get("length"))))

	v = c.get("derive_secret")
	v.get("out").equalSecret(s.DeriveSecret(v.get("secret").secret(), v.get("label").str()))

	v = c.get("derive_tree_secret")
	v.get("out").equalSecret(s.DeriveTreeSecret(v.get("secret").secret(), v.get("label").str(),
		v.get("generation").u32(), c.outputLength(v.get("length"))))

	c.checkSignWithLabel(c.get("sign_with_label"))
	c.checkEncryptWithLabel(c.get("encrypt_with_label"))
}

// outputLength returns a length that the suite's KDF can give (RFC 5869,
// Section 2.3).
func (c *check) outputLength(n *node) int {
	length := int(n.uint(16))
	if length > 255*c.suite.HashSize() {
		n.fail("more than the KDF can give")
	}
	return length
}

func (c *check) checkSignWithLabel(v *node) {
	s := c.suite
	pub, label, content := mls.SignaturePublicKey(v.get("pub").bytes()), v.get("label").str(), v.get("content").bytes()
	signature := v.get("signature")
	signature.must(s.VerifyWithLabel(pub, label, content, signature.bytes()))

	signer := c.signer(v.get("priv"), v.get("pub"))
	fresh, err := s.SignWithLabel(signer, label, content)
	v.get("priv").must(err)
	v.get("priv").must(s.VerifyWithLabel(pub, label, content, fresh))
}

func (c *check) checkEncryptWithLabel(v *node) {
	s := c.suite
	priv := c.privateKey(v.get("priv"), v.get("pub"))
	label, context, plaintext := v.get("label").str(), v.get("context").bytes(), v.get("plaintext")
	open := func(n *node, ct mls.HPKECiphertext) {
		got, err := s.DecryptWithLabel(priv, label, context, ct)
		n.must(err)
		plaintext.equal(got)
	}
	open(v.get("ciphertext"), mls.HPKECiphertext{
		KEMOutput:  v.get("kem_output").bytes(),
		Ciphertext: v.get("ciphertext").bytes(),
	})
	fresh, err := s.EncryptWithLabel(v.get("pub").bytes(), label, context, plaintext.bytes())
	v.get("pub").must(err)
	open(v.get("pub"), fresh)
}

// signer returns the signature key pair of two fields.
func (c *check) signer(priv, pub *node) mls.Signer {
	signer, err := c.suite.NewSigner(priv.secret())
	priv.must(err)
	if string(signer.Public()) != string(pub.bytes()) {
		priv.fail("not the private key of the public key")
	}
	return signer
}

// privateKey returns the HPKE key pair of two fields.
func (c *check) privateKey(priv, pub *node) *mls.HPKEPrivateKey {
	key, err := c.suite.NewPrivateKey(priv.secret())
	priv.must(err)
	if string(key.Public()) != string(pub.bytes()) {
		priv.fail("not the private key of the public key")
	}
	return key
}
