package treekem

import (
	"errors"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/state"
)

// A Private holds the private keys of one member: that of its leaf, and those
// of the nodes above that it shares (RFC 9420, Section 4.2). It is immutable and
// safe for concurrent use, until [Private.DestroyExcept] ends its life. Outdated
// keys are not in the next Private, which shares the others with this one.
type Private struct {
	suite *mls.Suite
	leaf  mls.LeafIndex
	keys  []privateKey // the leaf's first, then upwards
}

type privateKey struct {
	x   NodeIndex
	key *mls.HPKEPrivateKey
}

// NewPrivate returns the private keys of a member that has none but its leaf's.
func NewPrivate(s *mls.Suite, leaf mls.LeafIndex, key *mls.HPKEPrivateKey) *Private {
	return &Private{suite: s, leaf: leaf, keys: []privateKey{{LeafNodeIndex(leaf), key}}}
}

// Leaf returns the member's leaf.
func (p *Private) Leaf() mls.LeafIndex { return p.leaf }

// Nodes returns the nodes that there are keys for, from the leaf up.
func (p *Private) Nodes() []NodeIndex {
	out := make([]NodeIndex, len(p.keys))
	for k := range p.keys {
		out[k] = p.keys[k].x
	}
	return out
}

// WithLeafKey returns the private keys of the member with another key for its
// leaf: after somebody has committed its own Update.
func (p *Private) WithLeafKey(key *mls.HPKEPrivateKey) *Private {
	keys := slices.Clone(p.keys)
	keys[0].key = key
	return &Private{suite: p.suite, leaf: p.leaf, keys: keys}
}

// Prune returns the private keys that are still of use in tree t: those whose
// node is not blank and has the same public key.
func (p *Private) Prune(t *Tree) *Private { return p.prune(t.upward(p.leaf)) }

// prune is Prune given the nodes above the member's leaf by level.
func (p *Private) prune(raws []string) *Private {
	keys := make([]privateKey, 0, len(p.keys))
	for _, k := range p.keys {
		if k.matches(raws) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 || keys[0].x != LeafNodeIndex(p.leaf) {
		// A Private always has its leaf's key, if only to be found wrong.
		keys = slices.Insert(keys, 0, p.keys[0])
	}
	return &Private{suite: p.suite, leaf: p.leaf, keys: keys}
}

// matches reports whether the key is that of its node, given the nodes above
// the member's leaf by level.
func (k *privateKey) matches(upward []string) bool {
	return k.x.Level() < len(upward) && k.isFor(upward[k.x.Level()])
}

// isFor reports whether the key is that of an encoded node.
func (k *privateKey) isFor(raw string) bool {
	return raw != "" && k.key.Matches(mls.HPKEPublicKey(encryptionKeyIn(raw)))
}

// Check checks that every key is that of its node in t.
func (p *Private) Check(t *Tree) error {
	raws := t.upward(p.leaf)
	for _, k := range p.keys {
		if !k.matches(raws) {
			return t.sure(fmt.Errorf("treekem: the private key for node %d is not that of the tree", k.x))
		}
	}
	return nil
}

// Open decrypts the path secret that an update path has for this member and
// derives its new private keys and the commit secret (RFC 9420, Section 7.5).
// t is the tree with the path merged ([Tree.MergePath]); groupContext is the
// provisional group context, encoded, and added are the leaves that the commit
// adds. The derived keys are checked against those of the tree.
func (p *Private) Open(t *Tree, sender mls.LeafIndex, path *UpdatePath, groupContext []byte, added []mls.LeafIndex) (next *Private, commitSecret mls.Secret, err error) {
	if !t.Has(sender) || !t.Has(p.leaf) || sender == p.leaf {
		return nil, mls.Secret{}, t.sure(fmt.Errorf("treekem: a path from leaf %d cannot be opened at leaf %d", sender, p.leaf))
	}
	steps := t.filteredSteps(sender)
	if len(steps) != len(path.Nodes) {
		return nil, mls.Secret{}, mls.InvalidAt(t.culprit(sender), "7.6", "path-length",
			"update path of %d nodes for a filtered direct path of %d", len(path.Nodes), len(steps))
	}
	common := commonAncestor(sender, p.leaf)
	first := slices.IndexFunc(steps, func(s step) bool { return s.x == common })
	if first < 0 {
		return nil, mls.Secret{}, t.impossible("a member below a blank copath child")
	}
	secret, err := p.decrypt(t.reading(), &steps[first], &path.Nodes[first], groupContext, added)
	if err := t.sure(t.at(sender, err)); err != nil {
		secret.Destroy()
		return nil, mls.Secret{}, err
	}
	above := make([]NodeIndex, 0, len(steps))
	for _, s := range steps[first:] {
		above = append(above, s.x)
	}
	next, commitSecret, err = p.derive(t, above, secret)
	return next, commitSecret, t.at(sender, err)
}

// decrypt finds the node of the copath child's resolution that this member has
// the key of, and decrypts what is encrypted to it.
func (p *Private) decrypt(r reading, s *step, n *UpdatePathNode, groupContext []byte, added []mls.LeafIndex) (mls.Secret, error) {
	var key *mls.HPKEPrivateKey
	at, count := 0, 0
	fresh := newLeafSet(added)
	r.eachResolution(s.sibling, s.copath, func(y NodeIndex, m *node) bool {
		if y.IsLeaf() && fresh.has(y.Leaf()) {
			return true
		}
		if k := p.keyAt(y); k != nil && k.isFor(m.raw(r.nh)) {
			key, at = k.key, count
		}
		count++
		return true
	})
	if key == nil {
		return mls.Secret{}, fmt.Errorf("treekem: no private key for any node that node %d is shared with", s.x)
	}
	if count != len(n.EncryptedPathSecret) {
		return mls.Secret{}, mls.Invalid("7.6", "path-ciphertexts",
			"update path with %d ciphertexts for a resolution of %d", len(n.EncryptedPathSecret), count)
	}
	secret, err := p.suite.DecryptWithLabel(key, labelUpdatePathNode, groupContext, n.EncryptedPathSecret[at])
	if err != nil {
		// RFC 9420, Section 7.5: the path secret is encrypted to each node of
		// the resolution.
		return mls.Secret{}, mls.Invalid("7.5", "path-secret", "path secret that does not decrypt: %w", err)
	}
	return mls.NewSecret(secret), nil
}

func (p *Private) keyAt(x NodeIndex) *privateKey {
	for k := range p.keys {
		if p.keys[k].x == x {
			return &p.keys[k]
		}
	}
	return nil
}

// derive derives the keys of the given nodes, each from the path secret after
// that of the one before, beginning with secret, which it consumes. It returns
// the keys that are of use in t and the path secret after the last.
func (p *Private) derive(t *Tree, nodes []NodeIndex, secret mls.Secret) (*Private, mls.Secret, error) {
	secrets := make([]mls.Secret, len(nodes))
	for k := range nodes {
		secrets[k] = secret
		secret = p.suite.DeriveSecret(secret, labelPath)
	}
	defer func() {
		for k := range secrets {
			secrets[k].Destroy()
		}
	}()
	keys, raws := make([]privateKey, len(nodes)), t.upward(p.leaf)
	err := parallel.Each(len(nodes), keyChunk, func(k int) error {
		key, err := nodeKey(p.suite, secrets[k])
		if err != nil {
			return err
		}
		keys[k] = privateKey{nodes[k], key}
		if !keys[k].matches(raws) {
			// RFC 9420, Section 7.5: derived public keys are those of the path.
			return mls.Invalid("7.5", "path-derived-key", "the path secret does not lead to the key of node %d", nodes[k])
		}
		return nil
	})
	next := p.prune(raws).with(keys)
	if err := t.sure(err); err != nil {
		secret.Destroy()
		return nil, mls.Secret{}, err
	}
	return next, secret, nil
}

// with returns the private keys with some more, ordered upwards.
func (p *Private) with(more []privateKey) *Private {
	keys := make([]privateKey, 0, len(p.keys)+len(more))
	for _, k := range p.keys {
		if !slices.ContainsFunc(more, func(m privateKey) bool { return m.x == k.x }) {
			keys = append(keys, k)
		}
	}
	keys = append(keys, more...)
	slices.SortFunc(keys, func(a, b privateKey) int { return a.x.Level() - b.x.Level() })
	return &Private{suite: p.suite, leaf: p.leaf, keys: keys}
}

// Join derives the keys that a Welcome's path secret gives to a new member: for
// the lowest node above both it and the signer, and for those that the signer's
// commit set above (RFC 9420, Section 12.4.3.1). The secret stays the caller's.
func (p *Private) Join(t *Tree, signer mls.LeafIndex, pathSecret mls.Secret) (*Private, error) {
	if !t.Has(signer) || !t.Has(p.leaf) || signer == p.leaf {
		return nil, t.sure(fmt.Errorf("treekem: leaf %d cannot join by a commit of leaf %d", p.leaf, signer))
	}
	common := commonAncestor(signer, p.leaf)
	var nodes []NodeIndex
	for _, s := range t.filteredSteps(signer) {
		if s.x.Level() >= common.Level() {
			nodes = append(nodes, s.x)
		}
	}
	next, secret, err := p.derive(t, nodes, pathSecret.Clone())
	secret.Destroy()
	if err != nil {
		return nil, t.at(signer, err)
	}
	return next, nil
}

// savedPrivate is the saved form of a Private, version 1.
type savedPrivate struct {
	Version int        `cbor:"1,keyasint"`
	Leaf    uint32     `cbor:"2,keyasint"`
	Keys    []savedKey `cbor:"3,keyasint"`
}

type savedKey struct {
	Node uint32 `cbor:"1,keyasint"`
	Key  []byte `cbor:"2,keyasint"`
}

const privateVersion = 1

// MarshalState returns the private keys for [RestorePrivate]. They are in the
// clear.
func (p *Private) MarshalState() ([]byte, error) {
	saved := savedPrivate{Version: privateVersion, Leaf: uint32(p.leaf)}
	for _, k := range p.keys {
		if k.key.IsZero() {
			return nil, errors.New("treekem: private keys that were destroyed have no state")
		}
		secret := k.key.Secret()
		defer secret.Destroy()
		saved.Keys = append(saved.Keys, savedKey{uint32(k.x), secret.UnsafeBytes()})
	}
	return state.Marshal(saved)
}

// RestorePrivate is the inverse of [Private.MarshalState]. Its errors wrap
// [mls.ErrMalformed], or [mls.ErrUnsupported] for a later version.
func RestorePrivate(s *mls.Suite, data []byte) (*Private, error) {
	var saved savedPrivate
	if err := state.Unmarshal(data, &saved); err != nil {
		return nil, err
	}
	if saved.Version != privateVersion {
		return nil, fmt.Errorf("%w: private keys of version %d", mls.ErrUnsupported, saved.Version)
	}
	p := &Private{suite: s, leaf: mls.LeafIndex(saved.Leaf)}
	for k, sk := range saved.Keys {
		x := NodeIndex(sk.Node)
		if !x.contains(p.leaf) || x.IsLeaf() != (k == 0) || k > 0 && x.Level() <= p.keys[k-1].x.Level() {
			return nil, fmt.Errorf("%w: private keys out of place", mls.ErrMalformed)
		}
		raw := mls.NewSecret(sk.Key)
		key, err := s.NewPrivateKey(raw)
		raw.Destroy()
		if err != nil {
			return nil, err
		}
		p.keys = append(p.keys, privateKey{x, key})
	}
	if len(p.keys) == 0 {
		return nil, fmt.Errorf("%w: no private key for the leaf", mls.ErrMalformed)
	}
	return p, nil
}
