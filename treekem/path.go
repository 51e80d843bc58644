package treekem

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
)

const (
	labelPath           = "path"
	labelNode           = "node"
	labelUpdatePathNode = "UpdatePathNode"
)

// A Path is what a committer makes to replace the keys of its leaf and of its
// filtered direct path (RFC 9420, Section 7.4). It is immutable and safe for
// concurrent use, until it is destroyed.
type Path struct {
	tree         *Tree
	leaf         mls.LeafIndex
	leafNode     *LeafNode
	leafKey      *mls.HPKEPrivateKey
	nodes        []pathNode // from the leaf up
	commitSecret mls.Secret
}

// A pathNode is a node of a filtered direct path with its fresh secrets.
type pathNode struct {
	step
	secret mls.Secret // path_secret
	key    *mls.HPKEPrivateKey
}

// NewPath makes fresh keys for the member at leaf i and its filtered direct
// path in the tree that the commit's proposals have led to. The member's new
// leaf node has tmpl's credential, capabilities and extensions, and the
// signer's key.
func (t *Tree) NewPath(i mls.LeafIndex, tmpl *LeafNode, signer mls.Signer, groupID []byte) (*Path, error) {
	if !t.Has(i) {
		return nil, t.sure(errors.New("treekem: a path from a leaf without a member"))
	}
	return t.newPath(i, tmpl, signer, groupID)
}

// NewExternalPath is NewPath for somebody who joins by an external commit: in
// the leftmost blank leaf of the tree, which is extended if there is none (RFC
// 9420, Section 12.4.3.2). [Path.Leaf] tells which leaf that is.
func (t *Tree) NewExternalPath(tmpl *LeafNode, signer mls.Signer, groupID []byte) (*Path, error) {
	extended, i, err := t.withBlank()
	if err != nil {
		return nil, err
	}
	return extended.newPath(i, tmpl, signer, groupID)
}

// withBlank returns the tree, extended if need be, and its leftmost blank leaf.
func (t *Tree) withBlank() (*Tree, mls.LeafIndex, error) {
	i, err := t.Edit().blankLeaf()
	if err != nil || uint32(i) < t.width {
		return t, i, err
	}
	wide := *t
	wide.width *= 2
	x := Root(wide.width)
	f := t.forge()
	wide.root = f.parent(x, "", t.root, f.blankHalf(x.right()))
	return &wide, i, nil
}

func (t *Tree) newPath(i mls.LeafIndex, tmpl *LeafNode, signer mls.Signer, groupID []byte) (*Path, error) {
	p := &Path{leaf: i, leafNode: tmpl.Clone()}
	steps := t.steps(i)
	for _, s := range steps {
		if s.filtered() {
			p.nodes = append(p.nodes, pathNode{step: s})
		}
	}
	if err := p.generate(t.suite); err != nil {
		return nil, err
	}
	keys := make([]mls.HPKEPublicKey, len(p.nodes))
	for k := range p.nodes {
		keys[k] = p.nodes[k].key.Public()
	}
	m := t.newMerge(i, steps, keys)
	l := p.leafNode
	l.EncryptionKey = p.leafKey.Public()
	l.SignatureKey = slices.Clone(signer.Public())
	l.Source = SourceCommit
	l.Lifetime = Lifetime{}
	l.ParentHash = []byte(m.leafParentHash)
	if err := l.Check(t.suite, time.Time{}, true); err != nil {
		return nil, err
	}
	if err := l.Sign(t.suite, signer, groupID, i); err != nil {
		return nil, err
	}
	next, err := m.apply(l)
	if err := t.sure(err); err != nil {
		return nil, err
	}
	p.tree = next
	return p, nil
}

// generate makes the fresh keys. A path without nodes, in a group of one, has a
// commit secret all the same: it is the first of the sequence then.
func (p *Path) generate(s *mls.Suite) (err error) {
	if p.leafKey, err = s.GenerateKeyPair(); err != nil {
		return err
	}
	secret := mls.RandomSecret(s.HashSize())
	for k := range p.nodes {
		p.nodes[k].secret = secret
		secret = s.DeriveSecret(secret, labelPath)
	}
	p.commitSecret = secret
	return parallel.Each(len(p.nodes), keyChunk, func(k int) (err error) {
		p.nodes[k].key, err = nodeKey(s, p.nodes[k].secret)
		return err
	})
}

// keyChunk is how many key pairs a worker derives at a time: below that many,
// handing them to another core costs more than it gains.
const keyChunk = 4

// nodeKey derives a node's key pair from its path secret (RFC 9420, Section
// 7.4).
func nodeKey(s *mls.Suite, pathSecret mls.Secret) (*mls.HPKEPrivateKey, error) {
	nodeSecret := s.DeriveSecret(pathSecret, labelNode)
	defer nodeSecret.Destroy()
	return s.DeriveKeyPair(nodeSecret)
}

// Tree returns the tree with the path in it. Its hash goes into the provisional
// group context that [Path.Seal] takes.
func (p *Path) Tree() *Tree { return p.tree }

// Leaf returns the committer's leaf.
func (p *Path) Leaf() mls.LeafIndex { return p.leaf }

// LeafNode returns the committer's new leaf node.
func (p *Path) LeafNode() *LeafNode { return p.leafNode.Clone() }

// Private returns the committer's private keys in the new tree: the fresh ones,
// since all other nodes above its leaf are blank.
func (p *Path) Private() *Private {
	keys := make([]privateKey, 0, 1+len(p.nodes))
	keys = append(keys, privateKey{LeafNodeIndex(p.leaf), p.leafKey})
	for k := range p.nodes {
		keys = append(keys, privateKey{p.nodes[k].x, p.nodes[k].key})
	}
	return &Private{suite: p.tree.suite, leaf: p.leaf, keys: keys}
}

// CommitSecret returns a copy of the commit secret: the path secret after the
// last one of the filtered direct path (RFC 9420, Section 12.4.1).
func (p *Path) CommitSecret() mls.Secret { return p.commitSecret.Clone() }

// Destroy overwrites the path secrets and the commit secret, once they are
// sealed to everybody: members MUST delete them (RFC 9420, Section 7.5). The
// private keys are those of [Path.Private] and stay. A path that was destroyed
// can neither be sealed nor give out secrets.
func (p *Path) Destroy() {
	for k := range p.nodes {
		p.nodes[k].secret.Destroy()
	}
	p.commitSecret.Destroy()
}

// PathSecretFor returns a copy of the path secret for the lowest node that is
// above both the committer and a member that the commit adds (RFC 9420, Section
// 12.4.3.1); false if there is no such node.
func (p *Path) PathSecretFor(joiner mls.LeafIndex) (mls.Secret, bool) {
	if joiner == p.leaf || !p.tree.Has(joiner) {
		return mls.Secret{}, false
	}
	x := commonAncestor(p.leaf, joiner)
	for k := range p.nodes {
		if n := &p.nodes[k]; n.x == x && !n.secret.IsZero() {
			return n.secret.Clone(), true
		}
	}
	return mls.Secret{}, false
}

// Seal encrypts the path secrets to the other members, except those at the
// leaves that the same commit adds (RFC 9420, Section 7.5). The context is the
// provisional group context, encoded.
func (p *Path) Seal(groupContext []byte, added []mls.LeafIndex) (*UpdatePath, error) {
	if p.commitSecret.IsZero() {
		return nil, errors.New("treekem: the path was destroyed")
	}
	s := p.tree.suite
	out := &UpdatePath{LeafNode: *p.leafNode.Clone(), Nodes: make([]UpdatePathNode, len(p.nodes))}
	type job struct {
		secret mls.Secret
		key    string
		to     *mls.HPKECiphertext
	}
	var jobs []job
	fresh := newLeafSet(added)
	for k := range p.nodes {
		n := &p.nodes[k]
		recipients := n.recipients(p.tree.reading(), fresh)
		out.Nodes[k] = UpdatePathNode{
			EncryptionKey:       n.key.Public(),
			EncryptedPathSecret: make([]mls.HPKECiphertext, len(recipients)),
		}
		for j, raw := range recipients {
			jobs = append(jobs, job{n.secret, encryptionKeyIn(raw), &out.Nodes[k].EncryptedPathSecret[j]})
		}
	}
	encrypter := s.NewEncrypter(labelUpdatePathNode, groupContext)
	err := parallel.Each(len(jobs), sealChunk, func(k int) (err error) {
		j := &jobs[k]
		*j.to, err = encrypter.Encrypt(mls.HPKEPublicKey(j.key), j.secret.UnsafeBytes())
		return err
	})
	if err := p.tree.sure(err); err != nil {
		return nil, err
	}
	return out, nil
}

// sealChunk is how many path secrets a worker encrypts at a time.
const sealChunk = 2

// recipients returns the encoded nodes that a step's path secret is encrypted
// to: the resolution of the child on the copath without new leaves, which are
// told apart by who they are, not by where in the list they stand.
func (s *step) recipients(r reading, added leafSet) []string {
	out := make([]string, 0, s.sibling.resolutionSize())
	r.eachResolution(s.sibling, s.copath, func(y NodeIndex, n *node) bool {
		if !y.IsLeaf() || !added.has(y.Leaf()) {
			out = append(out, n.raw(r.nh))
		}
		return true
	})
	return out
}

// A merge puts new keys into the filtered direct path of a leaf (RFC 9420,
// Section 7.5).
type merge struct {
	*forge
	tree  *Tree
	leaf  mls.LeafIndex
	steps []step
	// raws are the new contents of the nodes at the steps, blank where the
	// path is filtered.
	raws           []string
	leafParentHash string
}

// newMerge computes the new parent nodes, from the top down, because each
// includes the parent hash of the next one above. steps are the leaf's direct
// path, keys those of the filtered one, from the leaf up.
func (t *Tree) newMerge(i mls.LeafIndex, steps []step, keys []mls.HPKEPublicKey) *merge {
	m := &merge{forge: t.forge(), tree: t, leaf: i, steps: steps}
	m.raws = make([]string, len(steps))
	// One piece of memory for all, as nodes keep copies.
	var encoded strings.Builder
	if len(keys) > 0 {
		encoded.Grow(len(keys) * (len(keys[0]) + m.nh + parentLengths))
	}
	var parentHash []byte // of the node above; zero-length at the top
	for k := len(steps) - 1; k >= 0; k-- {
		s := &steps[k]
		if !s.filtered() {
			continue
		}
		key := keys[len(keys)-1]
		keys = keys[:len(keys)-1]
		m.in = appendParent(m.in[:0], key, parentHash, "")
		start := encoded.Len()
		encoded.Write(m.in)
		m.raws[k] = encoded.String()[start:]
		// Nothing is unmerged at a node that is set anew, so the original tree
		// hash of the sibling is the one that it has.
		parentHash = m.parentHash(m.raws[k], m.treeHash(s.sibling, s.copath))
	}
	m.leafParentHash = string(parentHash)
	return m
}

// parentLengths is what the lengths of its fields take in a parent node, at most.
const parentLengths = 3 * 4

// apply returns the tree with the new parent nodes and the new leaf node. It
// checks that the new keys are unique and that all members support all
// credential types in use.
func (m *merge) apply(leaf *LeafNode) (*Tree, error) {
	encoded, err := wire.Marshal(leaf)
	if err != nil {
		return nil, err
	}
	raw := string(encoded)
	if err := m.checkNewKeys(raw); err != nil {
		return nil, err
	}
	old := m.tree
	t := old.with(old.width)
	keys := newKeys{tree: t, enc: make([]indexEntry, 0, 1+len(m.steps))}
	keys.leaf(m.leaf, raw)
	n := m.forge.leaf(m.leaf, raw, m.supportOf(raw))
	for k := range m.steps {
		s := &m.steps[k]
		if m.raws[k] != "" {
			keys.parent(s.x, m.raws[k])
		}
		if s.copath > s.x {
			n = m.parent(s.x, m.raws[k], n, s.sibling)
		} else {
			n = m.parent(s.x, m.raws[k], s.sibling, n)
		}
	}
	t.root = n
	if err := keys.install(old); err != nil {
		return nil, err
	}
	if err := t.checkAgreement([]mls.LeafIndex{m.leaf}); err != nil {
		return nil, err
	}
	return t, t.Err()
}

// supportOf is the support of the new leaf: mostly that of the old one.
func (m *merge) supportOf(raw string) Support {
	v := viewLeaf(raw)
	if n := m.tree.nodeAt(LeafNodeIndex(m.leaf)); n != nil {
		if old := viewLeaf(n.raw(m.nh)); v.supportsLike(&old) {
			return n.support
		}
	}
	return supportOf(&v)
}

// checkNewKeys checks that no key of the path is in the tree yet, not even in
// the nodes that the path replaces.
func (m *merge) checkNewKeys(leaf string) error {
	for k := -1; k < len(m.raws); k++ {
		raw := leaf
		if k >= 0 {
			raw = m.raws[k]
		}
		if raw == "" {
			continue
		}
		if x, ok := m.tree.holder(encryptionKeys, encryptionKeyIn(raw)); ok {
			// RFC 9420, Section 12.4.2: no key of the UpdatePath appears in any
			// node of the new ratchet tree.
			return mls.InvalidAt(m.tree.culprit(m.leaf), "12.4.2", "path-key-in-tree",
				"update path with the encryption key of node %d", x)
		}
	}
	return nil
}
