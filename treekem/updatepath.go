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
func (n *UpdatePathNode) Decode(r *wire.Reader) {
	n.EncryptionKey = r.OpaqueCopy()
	n.EncryptedPathSecret = nil
	r.Vector(func(r *wire.Reader) {
		var c mls.HPKECiphertext
		c.Decode(r)
		n.EncryptedPathSecret = append(n.EncryptedPathSecret, c)
	})
}

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

// Decode reads a path.
func (p *UpdatePath) Decode(r *wire.Reader) {
	p.LeafNode.Decode(r)
	p.Nodes = nil
	r.Vector(func(r *wire.Reader) {
		var n UpdatePathNode
		n.Decode(r)
		p.Nodes = append(p.Nodes, n)
	})
}
