package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// stateVersion is the version of the saved form that is written; those from
// oldestState on are read. Version 2 brought savedSent.Ref.
const (
	stateVersion = 2
	oldestState  = 1
)

func checkVersion(v uint) error {
	if v < oldestState || v > stateVersion {
		return fmt.Errorf("%w: a saved state of version %d", mls.ErrUnsupported, v)
	}
	return nil
}

// savedGroup is the saved form of a Group: deterministic CBOR, its wire
// structures in the RFC's own encoding. New fields are added under new keys and
// a new version.
type savedGroup struct {
	Version   uint          `cbor:"1,keyasint"`
	Epoch     savedEpoch    `cbor:"2,keyasint"`
	Removed   bool          `cbor:"3,keyasint,omitempty"`
	Proposals [][]byte      `cbor:"4,keyasint,omitempty"`
	Updates   []savedUpdate `cbor:"5,keyasint,omitempty"`
	Sent      []savedSent   `cbor:"6,keyasint,omitempty"`
	Past      []savedPast   `cbor:"7,keyasint,omitempty"`
	Welcomed  bool          `cbor:"8,keyasint,omitempty"`
}

// savedEpoch is an epoch: its public view and its secrets.
type savedEpoch struct {
	Suite           uint16 `cbor:"1,keyasint"`
	Context         []byte `cbor:"2,keyasint"`
	Tree            []byte `cbor:"3,keyasint"`
	ConfirmationTag []byte `cbor:"4,keyasint"`
	ReInit          []byte `cbor:"5,keyasint,omitempty"`
	Secrets         []byte `cbor:"6,keyasint,omitempty"`
	Ratchets        []byte `cbor:"7,keyasint,omitempty"`
	Private         []byte `cbor:"8,keyasint,omitempty"`
	SignatureKey    []byte `cbor:"9,keyasint,omitempty"`
	// Leaf is what a removed member still knows of its keys.
	Leaf uint32 `cbor:"10,keyasint,omitempty"`
}

type savedUpdate struct {
	Key          []byte `cbor:"1,keyasint"`
	SignatureKey []byte `cbor:"2,keyasint"`
}

type savedSent struct {
	Hash []byte `cbor:"1,keyasint"`
	Kind uint8  `cbor:"2,keyasint"`
	Ref  []byte `cbor:"3,keyasint,omitempty"`
}

type savedPast struct {
	Context  []byte      `cbor:"1,keyasint"`
	Epoch    uint64      `cbor:"2,keyasint"`
	Width    uint32      `cbor:"3,keyasint"`
	Differ   []savedLeaf `cbor:"4,keyasint,omitempty"`
	Secrets  []byte      `cbor:"5,keyasint"`
	Ratchets []byte      `cbor:"6,keyasint"`
}

type savedLeaf struct {
	Leaf uint32 `cbor:"1,keyasint"`
	// Node is the encoded leaf node; empty for a blank leaf.
	Node []byte `cbor:"2,keyasint,omitempty"`
}

// State is the whole state of the group, to be continued by [Restore]: secret,
// but for signature keys, which stay with their Signers. No consumed key is in
// it. Save it before handing out what Protect, Propose or Commit made.
func (g *Group) State() ([]byte, error) { return g.save(false) }

// StateApart is State without the ratchet tree, which is Group.Tree: it is of
// the size of what was received, not of the group. The tree is immutable and
// changes with the epoch only, so it is for the caller to save once. To be
// continued by [RestoreApart].
func (g *Group) StateApart() ([]byte, error) { return g.save(true) }

func (g *Group) save(apart bool) ([]byte, error) {
	saved := savedGroup{Version: stateVersion, Removed: g.removed, Welcomed: g.welcomed}
	var err error
	if saved.Epoch, err = saveEpoch(g.view, g.secrets, g.removed, apart); err != nil {
		return nil, err
	}
	for _, p := range g.proposals.order {
		encoded, err := wire.Marshal(p.content)
		if err != nil {
			return nil, err
		}
		saved.Proposals = append(saved.Proposals, encoded)
	}
	for _, u := range g.updates {
		saved.Updates = append(saved.Updates, savedUpdate{Key: u.key.Secret().UnsafeBytes(), SignatureKey: u.signer.Public()})
	}
	slices.SortFunc(saved.Updates, func(a, b savedUpdate) int { return bytes.Compare(a.Key, b.Key) })
	for hash, m := range g.sent {
		saved.Sent = append(saved.Sent, savedSent{hash[:], uint8(m.kind), m.ref})
	}
	slices.SortFunc(saved.Sent, func(a, b savedSent) int { return bytes.Compare(a.Hash, b.Hash) })
	for _, p := range g.past {
		past, err := p.save(g.tree)
		if err != nil {
			return nil, err
		}
		saved.Past = append(saved.Past, past)
	}
	if err := g.sure(nil); err != nil {
		return nil, err
	}
	return state.Marshal(saved)
}

func saveEpoch(v *view, s *secrets, removed, apart bool) (savedEpoch, error) {
	e := savedEpoch{Suite: uint16(v.suite.ID()), Context: v.contextBytes, ConfirmationTag: v.confirmationTag}
	var err error
	if !apart {
		if e.Tree, err = v.tree.Bytes(); err != nil {
			return e, err
		}
	}
	if v.reinit != nil {
		if e.ReInit, err = wire.Marshal(v.reinit); err != nil {
			return e, err
		}
	}
	if removed {
		e.Leaf = uint32(s.private.Leaf())
		return e, nil
	}
	e.SignatureKey = s.signer.Public()
	if e.Private, err = s.private.MarshalState(); err != nil {
		return e, err
	}
	if e.Secrets, err = s.epoch.MarshalState(); err != nil {
		return e, err
	}
	e.Ratchets, err = s.ratchets.MarshalState()
	return e, err
}

// save writes a past epoch, its roster as the differences from the current
// tree.
func (p *pastEpoch) save(tree *treekem.Tree) (savedPast, error) {
	s := savedPast{Context: p.contextBytes, Epoch: p.number, Width: p.roster.width}
	changed := p.roster.tree.ChangedLeaves(tree)
	if err := p.roster.tree.Err(); err != nil {
		return s, err
	}
	for i := range p.roster.differ {
		changed = append(changed, i)
	}
	slices.Sort(changed)
	for _, i := range slices.Compact(changed) {
		if uint32(i) >= p.roster.width {
			continue
		}
		then, err := encodedLeaf(p.roster.leaf(i))
		if err != nil {
			return s, err
		}
		now, err := encodedLeaf(tree.Leaf(i))
		if err != nil {
			return s, err
		}
		if bytes.Equal(then, now) {
			continue // it differed from the tree in between
		}
		s.Differ = append(s.Differ, savedLeaf{Leaf: uint32(i), Node: then})
	}
	var err error
	if s.Secrets, err = p.secrets.MarshalState(); err != nil {
		return s, err
	}
	s.Ratchets, err = p.ratchets.MarshalState()
	return s, err
}

// encodedLeaf is empty for a blank leaf.
func encodedLeaf(node *treekem.LeafNode, ok bool) ([]byte, error) {
	if !ok {
		return nil, nil
	}
	return wire.Marshal(node)
}

// Restore continues a group from its saved state. signers hold the keys that
// the state refers to: the current one, and those of pending own updates.
func Restore(cfg Config, saved []byte, signers ...mls.Signer) (*Group, error) {
	return restore(cfg, saved, nil, signers)
}

// RestoreApart is Restore for a state without its tree, from Group.StateApart.
func RestoreApart(cfg Config, saved []byte, tree *treekem.Tree, signers ...mls.Signer) (*Group, error) {
	if tree == nil {
		return nil, errors.New("mls: RestoreApart was given no tree")
	}
	return restore(cfg, saved, tree, signers)
}

func restore(cfg Config, saved []byte, tree *treekem.Tree, signers []mls.Signer) (*Group, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	var s savedGroup
	if err := state.Unmarshal(saved, &s); err != nil {
		return nil, err
	}
	if err := checkVersion(s.Version); err != nil {
		return nil, err
	}
	g := &Group{cfg: cfg, removed: s.Removed, welcomed: s.Welcomed}
	if g.view, g.secrets, err = restoreEpoch(&cfg, &s.Epoch, tree, s.Removed, signers); err != nil {
		return nil, err
	}
	if err := g.restoreProposals(&s, signers); err != nil {
		return nil, err
	}
	for i := range s.Past {
		p, err := restorePast(&cfg, g.view, &s.Past[i])
		if err != nil {
			return nil, err
		}
		g.past = append(g.past, p)
	}
	return g, nil
}

func restoreEpoch(cfg *Config, e *savedEpoch, apart *treekem.Tree, removed bool, signers []mls.Signer) (*view, *secrets, error) {
	suite, err := mls.LookupSuite(mls.CipherSuite(e.Suite))
	if err != nil {
		return nil, nil, err
	}
	var context keyschedule.GroupContext
	if err := wire.Unmarshal(e.Context, &context); err != nil {
		return nil, nil, err
	}
	tree, err := e.tree(suite, &context, apart)
	if err != nil {
		return nil, nil, err
	}
	v, err := newView(suite, context, tree)
	if err != nil {
		return nil, nil, err
	}
	v.confirm(e.ConfirmationTag)
	if e.ReInit != nil {
		v.reinit = new(framing.ReInit)
		if err := wire.Unmarshal(e.ReInit, v.reinit); err != nil {
			return nil, nil, err
		}
	}
	s, err := restoreSecrets(cfg, v, e, removed, signers)
	return v, s, err
}

// tree is the tree of a saved epoch, from the state or from apart.
func (e *savedEpoch) tree(suite *mls.Suite, context *keyschedule.GroupContext, apart *treekem.Tree) (*treekem.Tree, error) {
	tree := apart
	if tree == nil {
		var err error
		// Our own tree, which grew by commits: no bound on others' input applies.
		if tree, err = treekem.ParseTree(suite, e.Tree, treekem.MaxWidth); err != nil {
			return nil, err
		}
	} else if e.Tree != nil || tree.Suite().ID() != suite.ID() {
		return nil, errOtherTree
	}
	if !bytes.Equal(tree.Hash(), context.TreeHash) {
		return nil, errOtherTree
	}
	return tree, nil
}

var errOtherTree = fmt.Errorf("%w: saved state: the tree is not that of the group context", mls.ErrMalformed)

func restoreSecrets(cfg *Config, v *view, e *savedEpoch, removed bool, signers []mls.Signer) (*secrets, error) {
	if removed {
		return &secrets{
			epoch: new(keyschedule.EpochSecrets), ratchets: new(keyschedule.SecretTree),
			private: treekem.NewPrivate(v.suite, mls.LeafIndex(e.Leaf), nil),
		}, nil
	}
	s := &secrets{}
	var err error
	if s.signer, err = findSigner(signers, e.SignatureKey); err != nil {
		return nil, err
	}
	if s.private, err = treekem.RestorePrivate(v.suite, e.Private); err != nil {
		return nil, err
	}
	if err := s.private.Check(v.tree); err != nil {
		return nil, err
	}
	if s.epoch, err = keyschedule.RestoreEpochSecrets(v.suite, e.Secrets); err != nil {
		return nil, err
	}
	s.ratchets, err = keyschedule.RestoreSecretTree(v.suite, e.Ratchets, cfg.Limits.bounds())
	return s, err
}

func findSigner(signers []mls.Signer, key []byte) (mls.Signer, error) {
	for _, s := range signers {
		if s != nil && bytes.Equal(s.Public(), key) {
			return s, nil
		}
	}
	return nil, errors.New("mls: Restore was given no Signer for a signature key of the state")
}

func (g *Group) restoreProposals(s *savedGroup, signers []mls.Signer) error {
	for _, encoded := range s.Proposals {
		ac := new(framing.AuthenticatedContent)
		if err := wire.Unmarshal(encoded, ac); err != nil {
			return err
		}
		if ac.Content.Proposal == nil {
			return mls.ErrMalformed
		}
		ref, err := ac.ProposalRef(g.suite)
		if err != nil {
			return err
		}
		g.proposals.put(&proposal{body: ac.Content.Proposal, sender: ac.Content.Sender, ref: ref, content: ac})
	}
	for _, u := range s.Updates {
		signer, err := findSigner(signers, u.SignatureKey)
		if err != nil {
			return err
		}
		key, err := g.suite.NewPrivateKey(mls.NewSecret(u.Key))
		if err != nil {
			return err
		}
		if g.updates == nil {
			g.updates = make(map[string]ownUpdate)
		}
		g.updates[string(key.Public())] = ownUpdate{key, signer}
	}
	for _, m := range s.Sent {
		if len(m.Hash) != sha256.Size {
			return mls.ErrMalformed
		}
		g.remember([sha256.Size]byte(m.Hash), sent{framing.ContentType(m.Kind), m.Ref})
	}
	return nil
}

func restorePast(cfg *Config, v *view, s *savedPast) (*pastEpoch, error) {
	p := &pastEpoch{contextBytes: s.Context, number: s.Epoch, roster: roster{tree: v.tree, width: s.Width}}
	for _, d := range s.Differ {
		if p.roster.differ == nil {
			p.roster.differ = make(map[mls.LeafIndex]*treekem.LeafNode)
		}
		var node *treekem.LeafNode
		if len(d.Node) > 0 {
			node = new(treekem.LeafNode)
			if err := wire.Unmarshal(d.Node, node); err != nil {
				return nil, err
			}
		}
		p.roster.differ[mls.LeafIndex(d.Leaf)] = node
	}
	var err error
	if p.secrets, err = keyschedule.RestoreEpochSecrets(v.suite, s.Secrets); err != nil {
		return nil, err
	}
	p.ratchets, err = keyschedule.RestoreSecretTree(v.suite, s.Ratchets, cfg.Limits.bounds())
	return p, err
}
