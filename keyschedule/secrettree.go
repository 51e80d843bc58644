package keyschedule

import (
	"fmt"
	"math/bits"

	"github.com/treekem/mls"
)

// SecretTree holds the message keys of one epoch that are not consumed (RFC
// 9420, Section 9). Node secrets are derived where a sender is first heard,
// O(log n) of them, and a node is destroyed as its children come to be; so
// memory is O(s log n) for s senders heard in a group of n. A SecretTree is not
// safe for concurrent use.
type SecretTree struct {
	suite  *mls.Suite
	bounds Bounds
	depth  uint8 // the level of the root: there are 2^depth leaves
	root   *treeNode

	applicationOnly bool // see DropHandshakes
}

// treeNode is a node of the secret tree, in one of three states: not reached
// (secret), split (left and right), or a leaf that was reached (ratchets). The
// source of a state is destroyed when the next one is entered.
type treeNode struct {
	secret      mls.Secret
	left, right *treeNode
	ratchets    *[ratchetKinds]ratchet
}

// NewSecretTree returns the secret tree over a ratchet tree that is leaves wide,
// blank leaves included. The tree is perfect, so a width that is not a power of
// two is rounded up to one. encryptionSecret is consumed and destroyed: the
// tree starts out from its children (RFC 9420, Section 9.2).
func NewSecretTree(s *mls.Suite, encryptionSecret mls.Secret, leaves uint32, b Bounds) *SecretTree {
	t := &SecretTree{suite: s, bounds: b.orDefault(), depth: treeDepth(leaves), root: new(treeNode)}
	if t.depth == 0 {
		*t.root = t.leafNode(encryptionSecret)
	} else {
		*t.root = t.split(encryptionSecret)
	}
	encryptionSecret.Destroy()
	return t
}

// treeDepth returns the level of the root over that many leaves.
func treeDepth(leaves uint32) uint8 {
	return uint8(bits.Len32(max(leaves, 1) - 1))
}

// SetBounds replaces the bounds of the tree. Skipped keys beyond a smaller
// bound go when their ratchet next moves.
func (t *SecretTree) SetBounds(b Bounds) { t.bounds = b.orDefault() }

// Next returns the key and nonce for the next message that leaf sends, and its
// generation. They are consumed: the tree has moved past them, and the caller
// destroys them after their only use. A sender saves the state of the tree
// before the message leaves. After 2^32 generations the error is
// mls.ErrKeyConsumed.
func (t *SecretTree) Next(leaf mls.LeafIndex, kind RatchetKind) (generation uint32, key mls.Secret, nonce []byte, err error) {
	r, err := t.own(leaf, kind)
	if err != nil {
		return 0, mls.Secret{}, nil, err
	}
	return r.take(t.suite, t.bounds.MaxSkipped)
}

// own returns a ratchet to send from, reaching its leaf if need be.
func (t *SecretTree) own(leaf mls.LeafIndex, kind RatchetKind) (*ratchet, error) {
	if err := t.check(leaf, kind); err != nil {
		return nil, err
	}
	n, level := t.find(leaf)
	if n.ratchets == nil {
		n.become(t.settle(n.secret, leaf, t.descend(n.secret, level, leaf)))
		n, _ = t.find(leaf)
	}
	return &n.ratchets[kind], nil
}

// Reserve takes the keys of the next n generations that leaf sends out of the
// ratchet, for Next to return. They are in memory alone: a saved state stands
// past them. A sender that saves the state after Reserve can send n messages
// without saving it again; if it dies, the generations that are left are
// skipped. After 2^32 generations the error is mls.ErrKeyConsumed.
func (t *SecretTree) Reserve(leaf mls.LeafIndex, kind RatchetKind, n int) error {
	r, err := t.own(leaf, kind)
	if err != nil {
		return err
	}
	return r.reserve(t.suite, n)
}

// Reserved returns how many generations are reserved and not used.
func (t *SecretTree) Reserved(leaf mls.LeafIndex, kind RatchetKind) int {
	if t.check(leaf, kind) != nil {
		return 0
	}
	if n, _ := t.find(leaf); n.ratchets != nil {
		return len(n.ratchets[kind].reserved)
	}
	return 0
}

// Open calls open with the key and nonce for a message that leaf sent with that
// generation, and consumes them if open returns nil. Otherwise the tree is what
// it was before, and Open returns open's error. open must not keep the key or
// the nonce, which are cleared when it returns, nor use the tree.
//
// Open returns mls.ErrKeyConsumed for a generation that was consumed or has
// been forgotten, mls.ErrTooFar for one beyond Bounds.MaxForward, and RuleError
// 9/leaf-outside-secret-tree for a leaf that the tree does not have; then open
// is not called.
func (t *SecretTree) Open(leaf mls.LeafIndex, kind RatchetKind, generation uint32, open func(key mls.Secret, nonce []byte) error) error {
	if err := t.check(leaf, kind); err != nil {
		return err
	}
	n, level := t.find(leaf)
	if n.ratchets != nil {
		return n.ratchets[kind].open(t.suite, t.bounds, generation, open)
	}
	if err := t.bounds.check(0, generation); err != nil {
		return err // before the way to the leaf costs anything
	}
	// A forged message must leave no trace, so the way to the leaf is laid
	// aside, and takes n's place only if the message opens.
	w := t.descend(n.secret, level, leaf)
	if err := w.leaf.ratchets[kind].open(t.suite, t.bounds, generation, open); err != nil {
		w.destroy()
		return err
	}
	n.become(t.settle(n.secret, leaf, w))
	return nil
}

// Generation returns the next generation of a ratchet: one past the greatest
// that was consumed, 0 if none was. It is 2^32-1 also when that one is consumed,
// and 0 for a ratchet that does not exist or was dropped.
func (t *SecretTree) Generation(leaf mls.LeafIndex, kind RatchetKind) uint32 {
	if t.check(leaf, kind) != nil {
		return 0
	}
	n, _ := t.find(leaf)
	if n.ratchets == nil {
		return 0
	}
	return uint32(min(n.ratchets[kind].next, generations-1))
}

// DropHandshakes destroys the handshake ratchets and what is reserved, for an
// epoch that is over: a proposal or a commit that comes late is of no use, while
// application messages are (RFC 9420, Section 15.3). Asking for a handshake key
// is then mls.ErrKeyConsumed. Handshake secrets of senders who were not heard yet
// go as the node above them does, at the first application message.
func (t *SecretTree) DropHandshakes() {
	t.applicationOnly = true
	t.root.each(func(n *treeNode) {
		if n.ratchets != nil {
			n.ratchets[Handshake].exhaust()
			n.ratchets[Application].dropReserved() // nothing is sent in it
		}
	})
}

// Destroy clears everything in the tree; no keys can be had from it any more.
func (t *SecretTree) Destroy() {
	t.root.each((*treeNode).destroy)
	t.root = nil
}

func (t *SecretTree) check(leaf mls.LeafIndex, kind RatchetKind) error {
	if t.root == nil {
		return fmt.Errorf("%w: the secret tree was destroyed", mls.ErrKeyConsumed)
	}
	if uint64(leaf)>>t.depth != 0 {
		return mls.Invalid("9", "leaf-outside-secret-tree", "leaf %d of a tree of %d", leaf, uint64(1)<<t.depth)
	}
	if kind >= ratchetKinds {
		return fmt.Errorf("mls: there is no ratchet of kind %d", uint8(kind))
	}
	if kind == Handshake && t.applicationOnly {
		return fmt.Errorf("%w: the epoch is over", mls.ErrKeyConsumed)
	}
	return nil
}

// find returns the lowest node there is on the path from the root to leaf, and
// its level.
func (t *SecretTree) find(leaf mls.LeafIndex) (*treeNode, uint8) {
	n, level := t.root, t.depth
	for n.left != nil {
		level--
		n = n.child(leaf, level)
	}
	return n, level
}

// child returns the child of n, at the given level, on the path to leaf.
func (n *treeNode) child(leaf mls.LeafIndex, level uint8) *treeNode {
	if leaf>>level&1 == 0 {
		return n.left
	}
	return n.right
}

// split returns a node with the children that secret gives (RFC 9420, Section 9).
func (t *SecretTree) split(secret mls.Secret) treeNode {
	kids := new([2]treeNode)
	for side := range kids {
		kids[side].secret = t.childSecret(secret, side)
	}
	return treeNode{left: &kids[0], right: &kids[1]}
}

// childSecret returns the secret of the left child, 0, or of the right one, 1.
func (t *SecretTree) childSecret(secret mls.Secret, side int) mls.Secret {
	context := contextLeft
	if side == 1 {
		context = contextRight
	}
	return t.suite.ExpandWithLabel(secret, labelTree, context, t.suite.HashSize())
}

var contextLeft, contextRight = []byte("left"), []byte("right")

// leafNode returns a leaf with the ratchets that its secret gives (RFC 9420,
// Section 9).
func (t *SecretTree) leafNode(secret mls.Secret) treeNode {
	s, ratchets := t.suite, new([ratchetKinds]ratchet)
	ratchets[Application].secret = s.ExpandWithLabel(secret, labelApplication, nil, s.HashSize())
	if t.applicationOnly {
		ratchets[Handshake].exhaust()
	} else {
		ratchets[Handshake].secret = s.ExpandWithLabel(secret, labelHandshake, nil, s.HashSize())
	}
	return treeNode{ratchets: ratchets}
}

// A way leads from a node that was not reached yet down to a leaf. The children
// beside it are not derived: that would be half of the work, and is for nothing
// if the message turns out to be forged, or is a commit, whose key is consumed
// when it is merged.
type way struct {
	secrets []mls.Secret // of the nodes below, the leaf's last
	leaf    treeNode
}

// descend lays the way from the node with that secret, at that level, to leaf. It
// leaves secret alone.
func (t *SecretTree) descend(secret mls.Secret, level uint8, leaf mls.LeafIndex) way {
	w := way{secrets: make([]mls.Secret, level)}
	for k := range w.secrets {
		secret = t.childSecret(secret, w.side(k, leaf))
		w.secrets[k] = secret
	}
	w.leaf = t.leafNode(secret)
	return w
}

// side tells on which side step k goes on to leaf.
func (w *way) side(k int, leaf mls.LeafIndex) int {
	return int(leaf >> (len(w.secrets) - 1 - k) & 1)
}

// settle returns what the node with that secret becomes when w is taken. It
// consumes w, and leaves secret alone.
func (t *SecretTree) settle(secret mls.Secret, leaf mls.LeafIndex, w way) treeNode {
	var top treeNode
	n := &top
	for k, next := range w.secrets {
		side, kids := w.side(k, leaf), new([2]treeNode)
		kids[1-side].secret = t.childSecret(secret, 1-side)
		if k > 0 {
			secret.Destroy()
		}
		n.left, n.right = &kids[0], &kids[1]
		n, secret = &kids[side], next
	}
	if len(w.secrets) > 0 {
		secret.Destroy()
	}
	*n = w.leaf
	return top
}

// destroy clears the way.
func (w *way) destroy() {
	for k := range w.secrets {
		w.secrets[k].Destroy()
	}
	w.leaf.destroy()
}

// become puts the next state of n in the place of the one it has, whose secret
// is consumed.
func (n *treeNode) become(next treeNode) {
	n.secret.Destroy()
	*n = next
}

// each calls f for every node at and below n, the lower ones first.
func (n *treeNode) each(f func(*treeNode)) {
	if n == nil {
		return
	}
	n.left.each(f)
	n.right.each(f)
	f(n)
}

// destroy clears what n itself holds.
func (n *treeNode) destroy() {
	n.secret.Destroy()
	if n.ratchets != nil {
		for k := range n.ratchets {
			n.ratchets[k].exhaust()
		}
	}
}
