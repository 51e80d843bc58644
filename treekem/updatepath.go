package treekem

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// An UpdatePathNode is the new public key of a parent node, and the path secret
// that it follows from, encrypted to the other members below that node (RFC
// 9420, Section 7.6).
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    HPKECiphertext encrypted_path_secret<V>;
//	} UpdatePathNode;
type UpdatePathNode struct {
	EncryptionKey       mls.HPKEPublicKey
	EncryptedPathSecret []mls.HPKECiphertext
}

// Encode appends the node.
func (n *UpdatePathNode) Encode(b *wire.Builder) {
	b.Opaque(n.EncryptionKey)
	b.Vector(func(b *wire.Builder) {
		for i := range n.EncryptedPathSecret {
			n.EncryptedPathSecret[i].Encode(b)
		}
	})
}

// Decode reads a node.
func (n *UpdatePathNode) Decode(r *wire.Reader) { n.decode(r, nil) }

// decode reads a node. Its ciphertexts go behind the others of all, which is
// returned: a path has many nodes with one each.
func (n *UpdatePathNode) decode(r *wire.Reader, all []mls.HPKECiphertext) []mls.HPKECiphertext {
	n.EncryptionKey = r.OpaqueCopy()
	start := len(all)
	r.Vector(func(r *wire.Reader) {
		var c mls.HPKECiphertext
		c.Decode(r)
		all = append(all, c)
	})
	n.EncryptedPathSecret = nil
	if len(all) > start {
		n.EncryptedPathSecret = all[start:len(all):len(all)]
	}
	return all
}

// typicalNode is about the size of an encoded node with one ciphertext, in
// suites whose keys are short; it is more than both take in memory.
const typicalNode = 110

// An UpdatePath replaces the committer's leaf and the nodes of its filtered
// direct path, in order from the leaf up (RFC 9420, Section 7.6).
//
//	struct {
//	    LeafNode leaf_node;
//	    UpdatePathNode nodes<V>;
//	} UpdatePath;
type UpdatePath struct {
	LeafNode LeafNode
	Nodes    []UpdatePathNode
}

// Encode appends the path.
func (p *UpdatePath) Encode(b *wire.Builder) {
	p.LeafNode.Encode(b)
	b.Vector(func(b *wire.Builder) {
		for i := range p.Nodes {
			p.Nodes[i].Encode(b)
		}
	})
}

// SizeHint returns about the size of the encoding.
func (p *UpdatePath) SizeHint() int {
	l := &p.LeafNode
	n := len(l.EncryptionKey) + len(l.SignatureKey) + len(l.Credential.Identity) + len(l.ParentHash) + len(l.Signature)
	for _, c := range l.Credential.Certificates {
		n += len(c) + 4
	}
	n += leafFieldsSize
	for i := range p.Nodes {
		n += len(p.Nodes[i].EncryptionKey) + 4
		for _, c := range p.Nodes[i].EncryptedPathSecret {
			n += len(c.KEMOutput) + len(c.Ciphertext) + 4
		}
	}
	return n
}

// leafFieldsSize is what the fields of a leaf node take that SizeHint doesn't
// count, in most leaf nodes.
const leafFieldsSize = 128

// Decode reads a path.
func (p *UpdatePath) Decode(r *wire.Reader) {
	p.LeafNode.Decode(r)
	p.Nodes = nil
	var all []mls.HPKECiphertext
	r.Vector(func(r *wire.Reader) {
		if p.Nodes == nil {
			n := 1 + r.Len()/typicalNode
			p.Nodes, all = make([]UpdatePathNode, 0, n), make([]mls.HPKECiphertext, 0, n)
		}
		var n UpdatePathNode
		all = n.decode(r, all)
		p.Nodes = append(p.Nodes, n)
	})
}
