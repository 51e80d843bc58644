package treekem

import (
	"errors"
	"math/bits"
	"runtime"
	"sync"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
)

// A BuildMember is a member of a tree made by [BuildFull].
type BuildMember struct {
	Credential Credential
	Signer     mls.Signer
	// Capabilities are the member's; nil stands for [DefaultCapabilities].
	Capabilities *Capabilities
}

// BuiltKeys holds the private keys of all members of a tree made by
// [BuildFull]. It is immutable and safe for concurrent use.
type BuiltKeys struct {
	suite *mls.Suite
	width uint32
	keys  []*mls.HPKEPrivateKey // by node index
}

// Private returns the private keys of the member at leaf i, of its leaf and of
// all nodes above: its own copies, which it may destroy.
func (k *BuiltKeys) Private(i mls.LeafIndex) *Private {
	p := &Private{suite: k.suite, leaf: i}
	for x := LeafNodeIndex(i); ; x = x.parent() {
		p.keys = append(p.keys, privateKey{x, k.keys[x].Clone()})
		if x == Root(k.width) {
			return p
		}
	}
}

// BuildFull makes a tree without blanks for simulations and benchmarks, with
// all of its private keys: what a real group has only after each of its members
// has committed, at a cost of O(n log n) key pairs. Each parent is keyed as if
// the rightmost member below had been the last one there to commit, so that all
// parent hashes are valid. The number of members must be a power of two.
//
// No member of a real group may know the keys of others: this is no way to
// create a group.
func BuildFull(s *mls.Suite, members []BuildMember, groupID []byte) (*Tree, *BuiltKeys, error) {
	n := uint32(len(members))
	if bits.OnesCount32(n) != 1 || len(members) > MaxWidth/2 {
		return nil, nil, errors.New("treekem: the number of members is not a power of two")
	}
	f := fullBuilder{suite: s, members: members, groupID: groupID, blanks: new(blankHalves)}
	f.keys = make([]*mls.HPKEPrivateKey, NodeWidth(n))
	err := parallel.Each(len(f.keys), leafChunk, func(x int) (err error) {
		f.keys[x], err = s.GenerateKeyPair()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	f.slots = make(chan struct{}, runtime.GOMAXPROCS(0)-1)
	t := &Tree{suite: s, width: n, blanks: f.blanks}
	if t.root, err = f.chain(newForge(s, f.blanks), Root(n), ""); err != nil {
		return nil, nil, err
	}
	if err := t.indexKeys(); err != nil {
		return nil, nil, err
	}
	return t, &BuiltKeys{suite: s, width: n, keys: f.keys}, nil
}

// A fullBuilder builds the tree in chains of parent hashes. A chain leads from a
// node that is the root or a left child down its right children to a leaf, whose
// member is the last to have committed at all of them. What hangs left of a
// chain are the heads of others, which do not depend on it.
type fullBuilder struct {
	suite   *mls.Suite
	members []BuildMember
	groupID []byte
	keys    []*mls.HPKEPrivateKey
	blanks  *blankHalves
	slots   chan struct{} // one for each core but the first
}

// parallelLevel is the level from which on a chain is worth a goroutine.
const parallelLevel = 6

// chain builds the subtree whose root x is the head of a chain and has the
// given parent_hash.
func (b *fullBuilder) chain(f *forge, x NodeIndex, parentHash string) (*node, error) {
	heads, err := b.heads(f, x)
	if err != nil {
		return nil, err
	}
	var raws []string
	y := x
	for k := 0; !y.IsLeaf(); k, y = k+1, y.right() {
		key := string(b.keys[y].Public())
		raws = append(raws, encodeParent(key, parentHash, ""))
		parentHash = string(f.parentHash(raws[k], f.treeHash(heads[k], y.left())))
	}
	n, err := b.leaf(f, y, parentHash)
	if err != nil {
		return nil, err
	}
	for k := len(raws) - 1; k >= 0; k-- {
		y = y.parent()
		n = f.parent(y, raws[k], heads[k], n)
	}
	return n, nil
}

// heads builds the left children along the chain from x down. They were set
// before their parents were, so their own parent_hash fields are of nodes that
// have been replaced since: random values serve as well.
func (b *fullBuilder) heads(f *forge, x NodeIndex) ([]*node, error) {
	heads := make([]*node, x.Level())
	errs := make([]error, x.Level())
	build := func(f *forge, k int, head NodeIndex) {
		stale := string(mls.RandomSecret(b.suite.HashSize()).UnsafeBytes())
		heads[k], errs[k] = b.chain(f, head, stale)
	}
	var wg sync.WaitGroup
	for k := range heads {
		head := x.left()
		x = x.right()
		if head.Level() < parallelLevel || !b.acquire() {
			build(f, k, head)
			continue
		}
		wg.Go(func() {
			defer func() { <-b.slots }()
			build(newForge(b.suite, b.blanks), k, head)
		})
	}
	wg.Wait()
	return heads, errors.Join(errs...)
}

func (b *fullBuilder) acquire() bool {
	select {
	case b.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (b *fullBuilder) leaf(f *forge, x NodeIndex, parentHash string) (*node, error) {
	m := &b.members[x.Leaf()]
	l := LeafNode{
		EncryptionKey: b.keys[x].Public(),
		SignatureKey:  m.Signer.Public(),
		Credential:    m.Credential,
		Source:        SourceCommit,
		ParentHash:    []byte(parentHash),
	}
	if m.Capabilities != nil {
		l.Capabilities = *m.Capabilities
	} else {
		l.Capabilities = DefaultCapabilities()
	}
	if err := l.Sign(b.suite, m.Signer, b.groupID, x.Leaf()); err != nil {
		return nil, err
	}
	raw, err := wire.Marshal(&l)
	if err != nil {
		return nil, err
	}
	v := viewLeaf(string(raw))
	return f.leaf(x.Leaf(), string(raw), supportOf(&v)), nil
}
