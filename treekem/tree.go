package treekem

import (
	"bytes"
	"iter"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// A Tree is a ratchet tree (RFC 9420, Sections 4 and 7). It is immutable and
// safe for concurrent use; values that its methods return are the caller's own.
type Tree struct {
	suite  *mls.Suite
	root   *node
	width  uint32    // leaves, blank ones too: a power of two
	enc    *keyTable // of encryption keys
	sig    *keyTable // of signature keys
	blanks *blankHalves
	// src has the nodes that are not in memory, and the keys that the indices
	// do not have; nil if there are none.
	src *source
}

// NewTree returns the tree of a group with one member (RFC 9420, Section 11).
func NewTree(s *mls.Suite, leaf *LeafNode) (*Tree, error) {
	raw, err := wire.Marshal(leaf)
	if err != nil {
		return nil, err
	}
	t := &Tree{suite: s, width: 1, blanks: new(blankHalves)}
	view := viewLeaf(string(raw))
	t.root = newForge(s, t.blanks).leaf(0, string(raw), supportOf(&view))
	if err := t.checkAgreement([]mls.LeafIndex{0}); err != nil {
		return nil, err
	}
	return t, t.indexKeys()
}

// Suite returns the tree's cipher suite.
func (t *Tree) Suite() *mls.Suite { return t.suite }

// Width returns the number of leaves, blank ones too.
func (t *Tree) Width() uint32 { return t.width }

// Members returns the number of leaves that are not blank.
func (t *Tree) Members() int { return int(t.root.memberCount()) }

// Hash returns the tree hash (RFC 9420, Section 7.8).
func (t *Tree) Hash() []byte { return t.NodeHash(Root(t.width)) }

func (t *Tree) forge() *forge {
	f := newForge(t.suite, t.blanks)
	f.src = t.src
	return f
}

// with returns a tree that has yet to get its root and indices.
func (t *Tree) with(width uint32) *Tree {
	return &Tree{suite: t.suite, width: width, blanks: t.blanks, src: t.src}
}

// nodeAt returns the node at x, nil if it is in a subtree of blanks or outside
// the tree.
func (t *Tree) nodeAt(x NodeIndex) *node {
	if uint32(x) >= NodeWidth(t.width) {
		return nil
	}
	n, y := t.root, Root(t.width)
	for y != x {
		if n.resolutionSize() == 0 {
			return nil
		}
		left, right := n.kids(y, t.src)
		if x < y {
			n, y = left, y.left()
		} else {
			n, y = right, y.right()
		}
	}
	return n
}

func (t *Tree) rawAt(x NodeIndex) string { return t.nodeAt(x).raw(t.suite.HashSize()) }

// upward returns the encodings of leaf i and of the nodes above it, by level;
// those outside the tree are missing.
func (t *Tree) upward(i mls.LeafIndex) []string {
	if !t.inTree(i) {
		return nil
	}
	nh := t.suite.HashSize()
	n, x := t.root, Root(t.width)
	raws := make([]string, x.Level()+1)
	for ; n.resolutionSize() > 0; n, x = n.toward(x, i, t.src) {
		raws[x.Level()] = n.raw(nh)
		if x.IsLeaf() {
			break
		}
	}
	return raws
}

// toward returns the child of parent node n at x that is above leaf i.
func (n *node) toward(x NodeIndex, i mls.LeafIndex, src *source) (*node, NodeIndex) {
	left, right := n.kids(x, src)
	if LeafNodeIndex(i) < x {
		return left, x.left()
	}
	return right, x.right()
}

func (t *Tree) leafAt(i mls.LeafIndex) string {
	if uint32(i) >= t.width {
		return ""
	}
	return t.rawAt(LeafNodeIndex(i))
}

// NodeHash returns the tree hash of the subtree at x (RFC 9420, Section 7.8),
// nil if x is not in the tree.
func (t *Tree) NodeHash(x NodeIndex) []byte {
	if uint32(x) >= NodeWidth(t.width) {
		return nil
	}
	n := t.nodeAt(x)
	if n == nil {
		return t.forge().appendBlankHash(nil, x)
	}
	return []byte(n.data[:t.suite.HashSize()])
}

// IsBlank reports whether there is nothing at x.
func (t *Tree) IsBlank(x NodeIndex) bool { return t.rawAt(x) == "" }

// Leaf returns the leaf node of the member at leaf i; false if it is blank.
func (t *Tree) Leaf(i mls.LeafIndex) (*LeafNode, bool) {
	raw := t.leafAt(i)
	if raw == "" {
		return nil, false
	}
	return decodeLeaf(raw), true
}

func decodeLeaf(raw string) *LeafNode {
	l := new(LeafNode)
	l.fromTree([]byte(raw))
	return l
}

// fromTree sets l to a leaf node that was encoded or decoded before, and takes its
// encoding over.
func (l *LeafNode) fromTree(encoded []byte) {
	if err := wire.UnmarshalOwned(encoded, l); err != nil {
		panic("mls: internal error: a leaf node of the tree does not decode")
	}
}

// Has reports whether leaf i holds a member.
func (t *Tree) Has(i mls.LeafIndex) bool { return t.leafAt(i) != "" }

// SignatureKey returns the signature key of the member at leaf i; false if it
// is blank.
func (t *Tree) SignatureKey(i mls.LeafIndex) (mls.SignaturePublicKey, bool) {
	raw := t.leafAt(i)
	if raw == "" {
		return nil, false
	}
	return mls.SignaturePublicKey(signatureKeyIn(raw)), true
}

// Credential returns the credential of the member at leaf i; false if it is
// blank. It is much cheaper than the whole leaf.
func (t *Tree) Credential(i mls.LeafIndex) (Credential, bool) {
	raw := t.leafAt(i)
	if raw == "" {
		return Credential{}, false
	}
	v := viewLeaf(raw)
	return v.decodeCredential(), true
}

func (v *leafView) decodeCredential() (c Credential) {
	if err := wire.UnmarshalOwned([]byte(v.credential), &c); err != nil {
		panic("mls: internal error: a leaf node of the tree does not decode")
	}
	return c
}

// Parent returns the contents of parent node x; false if it is blank or no
// parent node.
func (t *Tree) Parent(x NodeIndex) (*ParentNode, bool) {
	raw := t.rawAt(x)
	if raw == "" || x.IsLeaf() {
		return nil, false
	}
	key, parentHash, unmerged := parentFields(raw)
	p := &ParentNode{EncryptionKey: mls.HPKEPublicKey(key), UnmergedLeaves: unmerged.slice()}
	if parentHash != "" {
		p.ParentHash = []byte(parentHash)
	}
	return p, true
}

// EncryptionKey returns the public key of leaf or parent node x; false if it is
// blank.
func (t *Tree) EncryptionKey(x NodeIndex) (mls.HPKEPublicKey, bool) {
	raw := t.rawAt(x)
	if raw == "" {
		return nil, false
	}
	return mls.HPKEPublicKey(encryptionKeyIn(raw)), true
}

// Err returns the error that kept a part of a stored tree from being read, nil
// if there was none. From then on the parts that are not in memory look blank,
// in this tree and in all that come from the same store: what any of them was
// asked since counts for nothing. Methods that return an error check for it.
func (t *Tree) Err() error { return t.src.Err() }

// sure returns err, but for what could not be read, which comes first: it is
// why err may be wrong.
func (t *Tree) sure(err error) error {
	if failed := t.Err(); failed != nil {
		return failed
	}
	return err
}

// Leaves yields the members by ascending leaf index.
func (t *Tree) Leaves() iter.Seq2[mls.LeafIndex, *LeafNode] {
	return func(yield func(mls.LeafIndex, *LeafNode) bool) {
		for i, n := range t.leafNodes() {
			if !yield(i, decodeLeaf(n.raw(t.suite.HashSize()))) {
				return
			}
		}
	}
}

// A Presentation is what others judge a member by: what it presents to them (RFC
// 9420, Section 5.3.1), and where its leaf node is from.
type Presentation struct {
	Credential   Credential
	SignatureKey mls.SignaturePublicKey
	Source       LeafNodeSource
	Lifetime     Lifetime // if Source is SourceKeyPackage
}

// Presentation returns what the leaf node presents. It shares nothing with l.
func (l *LeafNode) Presentation() Presentation {
	return Presentation{l.Credential.Clone(), bytes.Clone(l.SignatureKey), l.Source, l.Lifetime}
}

// Presentations yields what the members present, by ascending leaf index, at a
// fraction of the cost of [Tree.Leaves].
func (t *Tree) Presentations() iter.Seq2[mls.LeafIndex, Presentation] {
	return func(yield func(mls.LeafIndex, Presentation) bool) {
		for i, n := range t.leafNodes() {
			v := viewLeaf(n.raw(t.suite.HashSize()))
			p := Presentation{v.decodeCredential(), mls.SignaturePublicKey(v.signatureKey), v.source, v.decodeLifetime()}
			if !yield(i, p) {
				return
			}
		}
	}
}

// leafNodes yields the nodes of the leaves that are not blank, in order.
func (t *Tree) leafNodes() iter.Seq2[mls.LeafIndex, *node] {
	return func(yield func(mls.LeafIndex, *node) bool) {
		t.src.eachLeaf(t.root, Root(t.width), yield)
	}
}

func (s *source) eachLeaf(n *node, x NodeIndex, yield func(mls.LeafIndex, *node) bool) bool {
	if n.memberCount() == 0 {
		return true
	}
	if x.IsLeaf() {
		return yield(x.Leaf(), n)
	}
	left, right := n.kids(x, s)
	return s.eachLeaf(left, x.left(), yield) && s.eachLeaf(right, x.right(), yield)
}

// lastMember returns the rightmost leaf below n that is not blank; n has one.
func (s *source) lastMember(n *node, x NodeIndex) mls.LeafIndex {
	for !x.IsLeaf() {
		left, right := n.kids(x, s)
		if right.memberCount() > 0 {
			n, x = right, x.right()
		} else {
			n, x = left, x.left()
		}
	}
	return x.Leaf()
}

// nextBlank returns the first blank leaf below n that is not before from.
func (s *source) nextBlank(n *node, x NodeIndex, from uint64) (mls.LeafIndex, bool) {
	first, end := x.leaves()
	if end <= from || n.memberCount() == x.capacity() {
		return 0, false
	}
	if n.memberCount() == 0 {
		return mls.LeafIndex(max(first, from)), true
	}
	left, right := n.kids(x, s)
	if i, ok := s.nextBlank(left, x.left(), from); ok {
		return i, true
	}
	return s.nextBlank(right, x.right(), from)
}

// EveryMember returns what every member supports and which types some member
// uses, in constant time.
func (t *Tree) EveryMember() Support {
	if t.root == nil {
		return Support{}
	}
	return t.root.support
}

// FindSignatureKey returns the leaf of the member with a signature key.
func (t *Tree) FindSignatureKey(key mls.SignaturePublicKey) (mls.LeafIndex, bool) {
	x, ok := t.holder(signatureKeys, string(key))
	return x.Leaf(), ok
}

// FindEncryptionKey returns the leaf or parent node with an encryption key.
func (t *Tree) FindEncryptionKey(key mls.HPKEPublicKey) (NodeIndex, bool) {
	return t.holder(encryptionKeys, string(key))
}

// holder returns the node that has a key.
func (t *Tree) holder(kind keyKind, key string) (NodeIndex, bool) {
	return t.findKey(kind, key, func(x NodeIndex) bool { return t.hasKey(kind, x, key) })
}

// hasKey reports whether node x has a key.
func (t *Tree) hasKey(kind keyKind, x NodeIndex, key string) bool {
	raw := t.rawAt(x)
	return raw != "" && kind.in(raw) == key
}

// findKey looks into the table of keys and then into the store, both of which
// may name nodes that had the key once.
func (t *Tree) findKey(kind keyKind, key string, match func(NodeIndex) bool) (NodeIndex, bool) {
	if x, ok := t.table(kind).find(key, match); ok {
		return x, true
	}
	return t.src.find(kind, key, match)
}

func (t *Tree) table(kind keyKind) *keyTable {
	if kind == signatureKeys {
		return t.sig
	}
	return t.enc
}

// FindLeaf returns the leaf with exactly this leaf node, as a joiner looks for
// its own (RFC 9420, Section 12.4.3.1).
func (t *Tree) FindLeaf(l *LeafNode) (mls.LeafIndex, bool) {
	i, ok := t.FindSignatureKey(l.SignatureKey)
	if !ok {
		return 0, false
	}
	raw, err := l.Bytes()
	return i, err == nil && bytes.Equal(raw, []byte(t.leafAt(i)))
}
