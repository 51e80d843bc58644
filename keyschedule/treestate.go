package keyschedule

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

// treeState is the saved form of a SecretTree: the nodes that were not reached
// and the leaves that were, each in the order of the leaves. Together they
// cover every leaf once, so nothing consumed has a place in it.
type treeState struct {
	Version uint64          `cbor:"1,keyasint"`
	Suite   mls.CipherSuite `cbor:"2,keyasint"`
	Depth   uint8           `cbor:"3,keyasint"`
	Nodes   []nodeState     `cbor:"4,keyasint"`
	Leaves  []leafState     `cbor:"5,keyasint"`

	ApplicationOnly bool `cbor:"6,keyasint,omitempty"`
}

// nodeState is a node that was not reached. Index is its place in the array
// form of the tree (RFC 9420, Appendix C).
type nodeState struct {
	_      struct{} `cbor:",toarray"`
	Index  uint64
	Secret []byte
}

type leafState struct {
	_           struct{} `cbor:",toarray"`
	Leaf        uint32
	Handshake   ratchetState
	Application ratchetState
}

// ratchets returns the states of the ratchets in the order of their kinds.
func (st *leafState) ratchets() [ratchetKinds]*ratchetState {
	return [...]*ratchetState{Handshake: &st.Handshake, Application: &st.Application}
}

type ratchetState struct {
	_       struct{} `cbor:",toarray"`
	Next    uint64
	Secret  []byte // empty after the last generation
	Skipped []messageKeyState
}

type messageKeyState struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	KeyNonce   []byte
}

// maxDepth is the level of the root of the greatest tree: a leaf index is a
// uint32.
const maxDepth = 32

// MarshalState returns the saved form of t, which is secret and of the size of
// what t holds in memory. It has no consumed key, no node whose children exist,
// and never encryption_secret (RFC 9420, Section 9.2).
func (t *SecretTree) MarshalState() ([]byte, error) {
	if t.root == nil {
		return nil, errNothingToSave
	}
	st := treeState{
		Version: stateVersion,
		Suite:   t.suite.ID(),
		Depth:   t.depth,
		Nodes:   []nodeState{},
		Leaves:  []leafState{},

		ApplicationOnly: t.applicationOnly,
	}
	st.add(t.root, t.depth, 0)
	return state.Marshal(st)
}

// add appends the state of n, the given number of nodes from the left at its
// level, and of what is below it.
func (st *treeState) add(n *treeNode, level uint8, position uint64) {
	switch {
	case n.left != nil:
		st.add(n.left, level-1, 2*position)
		st.add(n.right, level-1, 2*position+1)
	case n.ratchets != nil:
		leaf := leafState{Leaf: uint32(position)}
		for k, ratchet := range leaf.ratchets() {
			*ratchet = n.ratchets[k].state()
		}
		st.Leaves = append(st.Leaves, leaf)
	default:
		st.Nodes = append(st.Nodes, nodeState{Index: nodeIndex(level, position), Secret: n.secret.UnsafeBytes()})
	}
}

// nodeIndex returns the index in the array form of a node (RFC 9420, Appendix C).
func nodeIndex(level uint8, position uint64) uint64 {
	return position<<(level+1) | (1<<level - 1)
}

func (r *ratchet) state() ratchetState {
	st := ratchetState{
		Next:    r.next,
		Secret:  []byte{},
		Skipped: make([]messageKeyState, len(r.skipped)),
	}
	if !r.secret.IsZero() {
		st.Secret = r.secret.UnsafeBytes()
	}
	for i, k := range r.skipped {
		st.Skipped[i] = messageKeyState{Generation: k.generation, KeyNonce: k.keyNonce.UnsafeBytes()}
	}
	return st
}

// RestoreSecretTree returns the tree that MarshalState saved, to go on exactly
// where it was, within the given bounds: of skipped keys beyond them the oldest
// are forgotten. data for another suite or version, or that no tree could have
// saved, is mls.ErrMalformed.
func RestoreSecretTree(s *mls.Suite, data []byte, b Bounds) (*SecretTree, error) {
	var st treeState
	if err := state.Unmarshal(data, &st); err != nil {
		return nil, err
	}
	if err := checkHeader(s, st.Version, st.Suite); err != nil {
		return nil, err
	}
	if st.Depth > maxDepth {
		return nil, malformed("a tree of depth %d", st.Depth)
	}
	t := &SecretTree{suite: s, bounds: b.orDefault(), depth: st.Depth, applicationOnly: st.ApplicationOnly}
	restored := treeReader{treeState: st, tree: t}
	root, err := restored.node(st.Depth, 0)
	if err != nil {
		return nil, err
	}
	if len(restored.Nodes) != 0 || len(restored.Leaves) != 0 {
		return nil, malformed("more nodes than the tree has, or out of order")
	}
	t.root = root
	return t, nil
}

// treeReader rebuilds a tree from its saved nodes and leaves, which it takes
// from the front of the two lists.
type treeReader struct {
	treeState
	tree *SecretTree
}

// node returns the node at that level and position, with what is below it.
// Every node it makes has something saved at or below it, so its work is
// bounded by the size of the saved form. The root has no saved secret: it would
// be encryption_secret.
func (r *treeReader) node(level uint8, position uint64) (*treeNode, error) {
	root := level == r.tree.depth
	if !root && len(r.Nodes) > 0 && r.Nodes[0].Index == nodeIndex(level, position) {
		return r.unreached()
	}
	if level == 0 {
		return r.leaf(position)
	}
	// The root is split from the start, any other node by a leaf below it.
	if !root && !r.reaches(level, position) {
		return nil, malformed("a node at level %d without a secret", level)
	}
	left, err := r.node(level-1, 2*position)
	if err != nil {
		return nil, err
	}
	right, err := r.node(level-1, 2*position+1)
	if err != nil {
		return nil, err
	}
	return &treeNode{left: left, right: right}, nil
}

// reaches reports whether a leaf that was reached comes next at or below a node.
func (r *treeReader) reaches(level uint8, position uint64) bool {
	return len(r.Leaves) > 0 && uint64(r.Leaves[0].Leaf)>>level == position
}

func (r *treeReader) unreached() (*treeNode, error) {
	secret := r.Nodes[0].Secret
	r.Nodes = r.Nodes[1:]
	if len(secret) != r.tree.suite.HashSize() {
		return nil, malformed("a node's secret of %d bytes", len(secret))
	}
	return &treeNode{secret: mls.NewSecret(secret)}, nil
}

func (r *treeReader) leaf(position uint64) (*treeNode, error) {
	if len(r.Leaves) == 0 || uint64(r.Leaves[0].Leaf) != position {
		return nil, malformed("leaf %d without a secret", position)
	}
	st := r.Leaves[0]
	r.Leaves = r.Leaves[1:]
	if r.ApplicationOnly && st.Handshake.Next != generations {
		return nil, malformed("a handshake ratchet that was dropped")
	}
	n := &treeNode{ratchets: new([ratchetKinds]ratchet)}
	for k, saved := range st.ratchets() {
		if err := n.ratchets[k].restore(r.tree.suite, saved); err != nil {
			return nil, err
		}
		n.ratchets[k].evict(r.tree.bounds.MaxSkipped)
	}
	return n, nil
}

func (r *ratchet) restore(s *mls.Suite, st *ratchetState) error {
	if st.Next > generations {
		return malformed("generation %d", st.Next)
	}
	want := s.HashSize()
	if st.Next == generations {
		want = 0
	}
	if len(st.Secret) != want {
		return malformed("a ratchet's secret of %d bytes", len(st.Secret))
	}
	if want != 0 {
		r.secret = mls.NewSecret(st.Secret)
	}
	r.next = st.Next
	last := int64(-1)
	for _, k := range st.Skipped {
		if int64(k.Generation) <= last || uint64(k.Generation) >= st.Next {
			return malformed("skipped generation %d out of order", k.Generation)
		}
		if len(k.KeyNonce) != s.KeySize()+s.NonceSize() {
			return malformed("a skipped key of %d bytes", len(k.KeyNonce))
		}
		last = int64(k.Generation)
		r.skipped = append(r.skipped, messageKey{k.Generation, mls.NewSecret(k.KeyNonce)})
	}
	return nil
}
