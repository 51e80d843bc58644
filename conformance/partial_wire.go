package conformance

import (
	"bytes"
	"math/bits"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// Node types of tree hash inputs (RFC 9420, Section 7.8).
const (
	nodeTypeLeaf   = 1
	nodeTypeParent = 2
)

// A pathNode is one node of a membership proof; blank if neither is set.
type pathNode struct {
	leaf   *treekem.LeafNode
	parent *treekem.ParentNode
}

func (n *pathNode) blank() bool { return n.leaf == nil && n.parent == nil }

func (n *pathNode) encode(b *wire.Builder) {
	b.Optional(!n.blank())
	switch {
	case n.leaf != nil:
		b.U8(nodeTypeLeaf)
		n.leaf.Encode(b)
	case n.parent != nil:
		b.U8(nodeTypeParent)
		n.parent.Encode(b)
	}
}

func (n *pathNode) decode(r *wire.Reader) {
	*n = pathNode{}
	if !r.Optional() {
		return
	}
	switch t := r.U8(); t {
	case nodeTypeLeaf:
		n.leaf = new(treekem.LeafNode)
		n.leaf.Decode(r)
	case nodeTypeParent:
		n.parent = new(treekem.ParentNode)
		n.parent.Decode(r)
	default:
		r.Fail("node type %d", t)
	}
}

// A membershipProof shows the nodes from a leaf to the root, with the hashes
// that make the tree hash of them.
//
//	struct {
//	    opaque hash_value<V>;
//	} CopathHash;
//
//	struct {
//	    uint32 leaf_index;
//	    uint32 n_leaves;
//	    optional<Node> direct_path_nodes<V>;
//	    CopathHash copath_hashes<V>;
//	} MembershipProof;
type membershipProof struct {
	leaf   mls.LeafIndex
	leaves uint32
	path   []pathNode // leaf first, root last
	copath [][]byte
}

func (p *membershipProof) Encode(b *wire.Builder) {
	b.U32(uint32(p.leaf))
	b.U32(p.leaves)
	b.Vector(func(b *wire.Builder) {
		for i := range p.path {
			p.path[i].encode(b)
		}
	})
	b.Vector(func(b *wire.Builder) {
		for _, hash := range p.copath {
			b.Opaque(hash)
		}
	})
}

// Decode reads a proof and refuses one whose parts are not those of a path in a
// tree with so many leaves.
func (p *membershipProof) Decode(r *wire.Reader) {
	p.leaf, p.leaves = mls.LeafIndex(r.U32()), r.U32()
	p.path, p.copath = nil, nil
	r.Vector(func(r *wire.Reader) {
		var n pathNode
		n.decode(r)
		p.path = append(p.path, n)
	})
	r.Vector(func(r *wire.Reader) { p.copath = append(p.copath, r.OpaqueCopy()) })
	if r.Err() != nil {
		return
	}
	if bits.OnesCount32(p.leaves) != 1 || uint32(p.leaf) >= p.leaves ||
		len(p.copath) != p.depth() || len(p.path) != p.depth()+1 {
		r.Fail("a membership proof that fits no tree")
		return
	}
	for i := range p.path {
		if i == 0 && p.path[i].leaf == nil || i > 0 && p.path[i].leaf != nil {
			r.Fail("a membership proof with a node of the wrong type")
			return
		}
	}
}

// depth is the level of the root.
func (p *membershipProof) depth() int { return bits.TrailingZeros32(p.leaves) }

// member is the leaf that the proof is about.
func (p *membershipProof) member() *treekem.LeafNode { return p.path[0].leaf }

// index returns the index of the leaf's ancestor at a level.
func (p *membershipProof) index(level int) treekem.NodeIndex {
	return treekem.NodeIndex(uint32(p.leaf)>>level<<(level+1) + 1<<level - 1)
}

// hash returns the tree hash of the root (RFC 9420, Section 7.8).
func (p *membershipProof) hash(s *mls.Suite) ([]byte, error) {
	var sum []byte
	for level := range p.path {
		b := wire.NewBuilder(nil)
		if level == 0 {
			b.U8(nodeTypeLeaf)
			b.U32(uint32(p.leaf))
			b.Optional(true)
			p.member().Encode(b)
		} else {
			b.U8(nodeTypeParent)
			n := p.path[level].parent
			b.Optional(n != nil)
			if n != nil {
				n.Encode(b)
			}
			left, right := sum, p.copath[level-1]
			if uint32(p.leaf)>>(level-1)&1 == 1 {
				left, right = right, left
			}
			b.Opaque(left)
			b.Opaque(right)
		}
		in, err := b.Bytes()
		if err != nil {
			return nil, err
		}
		sum = s.Hash(in)
	}
	return sum, nil
}

// ancestor returns the level of the lowest common ancestor with another leaf.
func (p *membershipProof) ancestor(other mls.LeafIndex) int {
	return bits.Len32(uint32(p.leaf) ^ uint32(other))
}

// senderAuthenticated is SenderAuthenticatedMessage: a message, and the proof
// of its sender's membership.
type senderAuthenticated[T any, M codec[T]] struct {
	message T
	proof   membershipProof
}

type codec[T any] interface {
	*T
	wire.Encoder
	wire.Decoder
}

func (m *senderAuthenticated[T, M]) Encode(b *wire.Builder) {
	M(&m.message).Encode(b)
	m.proof.Encode(b)
}

func (m *senderAuthenticated[T, M]) Decode(r *wire.Reader) {
	M(&m.message).Decode(r)
	m.proof.Decode(r)
}

type (
	authenticatedWelcome   = senderAuthenticated[framing.Welcome, *framing.Welcome]
	authenticatedGroupInfo = senderAuthenticated[framing.GroupInfo, *framing.GroupInfo]
	authenticatedPublic    = senderAuthenticated[framing.PublicMessage, *framing.PublicMessage]
	authenticatedMessage   = senderAuthenticated[framing.Message, *framing.Message]
	authenticatedPrivate   = senderAuthenticated[framing.PrivateMessage, *framing.PrivateMessage]
)

// annotatedWelcome is a Welcome with the proofs of the sender's and the
// joiner's membership.
//
//	struct {
//	    SenderAuthenticatedMessage<Welcome> welcome;
//	    MembershipProof joiner_membership_proof;
//	} AnnotatedWelcome;
type annotatedWelcome struct {
	authenticatedWelcome
	joiner membershipProof
}

func (w *annotatedWelcome) Encode(b *wire.Builder) {
	w.authenticatedWelcome.Encode(b)
	w.joiner.Encode(b)
}

func (w *annotatedWelcome) Decode(r *wire.Reader) {
	w.authenticatedWelcome.Decode(r)
	w.joiner.Decode(r)
}

// annotatedCommit is a commit with all that it takes to follow it without the
// tree.
//
//	struct {
//	    MLSMessage commit;
//	    optional<MembershipProof> sender_membership_proof;
//	    opaque tree_hash_after<V>;
//	    optional<uint32> resolution_index;
//	    MembershipProof sender_membership_proof_after;
//	    MembershipProof receiver_membership_proof_after;
//	} AnnotatedCommit;
type annotatedCommit struct {
	commit          framing.Message
	sender          *membershipProof
	treeHash        []byte
	resolutionIndex *uint32
	senderAfter     membershipProof
	receiverAfter   membershipProof
}

func (c *annotatedCommit) Encode(b *wire.Builder) {
	c.commit.Encode(b)
	b.Optional(c.sender != nil)
	if c.sender != nil {
		c.sender.Encode(b)
	}
	b.Opaque(c.treeHash)
	b.Optional(c.resolutionIndex != nil)
	if c.resolutionIndex != nil {
		b.U32(*c.resolutionIndex)
	}
	c.senderAfter.Encode(b)
	c.receiverAfter.Encode(b)
}

func (c *annotatedCommit) Decode(r *wire.Reader) {
	*c = annotatedCommit{}
	c.commit.Decode(r)
	if r.Optional() {
		c.sender = new(membershipProof)
		c.sender.Decode(r)
	}
	c.treeHash = r.OpaqueCopy()
	if r.Optional() {
		i := r.U32()
		c.resolutionIndex = &i
	}
	c.senderAfter.Decode(r)
	c.receiverAfter.Decode(r)
}

// copathHash is CopathHash.
type copathHash struct{ hash []byte }

func (h *copathHash) Encode(b *wire.Builder) { b.Opaque(h.hash) }
func (h *copathHash) Decode(r *wire.Reader)  { h.hash = r.OpaqueCopy() }

// decode reads a structure that fills the field, and checks that it encodes to
// the bytes it came from.
func (n *node) decode(value interface {
	wire.Encoder
	wire.Decoder
}) {
	n.must(wire.Unmarshal(n.bytes(), value))
	again, err := wire.Marshal(value)
	n.must(err)
	if !bytes.Equal(again, n.bytes()) {
		n.fail("does not encode to what it was decoded from")
	}
}
