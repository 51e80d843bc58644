package group

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// savedStaged is the saved form of an own pending commit.
type savedStaged struct {
	Version uint         `cbor:"1,keyasint"`
	Base    []byte       `cbor:"2,keyasint"`
	Next    savedEpoch   `cbor:"3,keyasint"`
	Message []byte       `cbor:"4,keyasint"`
	Welcome []byte       `cbor:"5,keyasint,omitempty"`
	Changes savedChanges `cbor:"6,keyasint"`
}

type savedChanges struct {
	Added    []savedChange `cbor:"1,keyasint,omitempty"`
	Removed  []savedChange `cbor:"2,keyasint,omitempty"`
	Updated  []savedChange `cbor:"3,keyasint,omitempty"`
	Replaced bool          `cbor:"4,keyasint,omitempty"`
	PSKs     [][]byte      `cbor:"5,keyasint,omitempty"`
	Path     bool          `cbor:"6,keyasint,omitempty"`
}

type savedChange struct {
	Leaf uint32 `cbor:"1,keyasint"`
	Old  []byte `cbor:"2,keyasint,omitempty"`
	New  []byte `cbor:"3,keyasint,omitempty"`
}

// State is the state of an own pending commit, to be continued by
// [Group.RestoreStaged] on the group's own restored state. It holds the secrets
// of the next epoch.
func (s *Staged) State() ([]byte, error) { return s.save(false) }

// StateApart is State without the ratchet tree, which is Staged.Tree. To be
// continued by [Group.RestoreStagedApart].
func (s *Staged) StateApart() ([]byte, error) { return s.save(true) }

func (s *Staged) save(apart bool) ([]byte, error) {
	if s.destroyed {
		return nil, errDestroyed
	}
	if s.secret == nil || s.message == nil {
		return nil, errors.New("mls: only an own commit has a state to save: process a received one again")
	}
	saved := savedStaged{Version: stateVersion, Base: s.base.contextBytes, Message: s.message, Welcome: s.welcome}
	var err error
	if saved.Next, err = saveEpoch(s.next, s.secret, false, apart); err != nil {
		return nil, err
	}
	if saved.Changes, err = s.changes.save(); err != nil {
		return nil, err
	}
	return state.Marshal(saved)
}

// RestoreStaged continues an own pending commit from its saved state. The group
// must be in the epoch that it was made in. signers hold the keys that the state
// refers to.
func (g *Group) RestoreStaged(saved []byte, signers ...mls.Signer) (*Staged, error) {
	return g.restoreStaged(saved, nil, signers)
}

// RestoreStagedApart is RestoreStaged for a state without its tree, from
// Staged.StateApart.
func (g *Group) RestoreStagedApart(saved []byte, tree *treekem.Tree, signers ...mls.Signer) (*Staged, error) {
	if tree == nil {
		return nil, errors.New("mls: RestoreStagedApart was given no tree")
	}
	return g.restoreStaged(saved, tree, signers)
}

func (g *Group) restoreStaged(saved []byte, tree *treekem.Tree, signers []mls.Signer) (*Staged, error) {
	var s savedStaged
	if err := state.Unmarshal(saved, &s); err != nil {
		return nil, err
	}
	if err := checkVersion(s.Version); err != nil {
		return nil, err
	}
	if !bytes.Equal(s.Base, g.contextBytes) {
		return nil, mls.ErrWrongEpoch
	}
	v, secret, err := restoreEpoch(&g.cfg, &s.Next, tree, false, signers)
	if err != nil {
		return nil, err
	}
	staged := &Staged{
		base: g.view, next: v, secret: secret, keeps: g.private, message: s.Message, welcome: s.Welcome,
		committer: framing.Member(g.OwnLeaf()), leaf: g.OwnLeaf(),
	}
	if staged.changes, err = s.Changes.restore(); err != nil {
		return nil, err
	}
	c := &staged.changes
	c.ReInit = v.reinit
	if c.ExtensionsReplaced {
		c.OldExtensions, c.NewExtensions = g.context.Extensions, v.context.Extensions
	}
	return staged, nil
}

func (c *Changes) save() (savedChanges, error) {
	s := savedChanges{Replaced: c.ExtensionsReplaced, Path: c.Path}
	var errs [3]error
	s.Added, errs[0] = saveChanges(c.Added)
	s.Removed, errs[1] = saveChanges(c.Removed)
	s.Updated, errs[2] = saveChanges(c.Updated)
	for i := range c.PSKs {
		encoded, err := wire.Marshal(&c.PSKs[i])
		if err != nil {
			return s, err
		}
		s.PSKs = append(s.PSKs, encoded)
	}
	return s, cmp.Or(errs[:]...)
}

func saveChanges(list []Change) ([]savedChange, error) {
	saved := make([]savedChange, len(list))
	for i, c := range list {
		saved[i].Leaf = uint32(c.Leaf)
		var err error
		if saved[i].Old, err = saveNode(c.Old); err != nil {
			return nil, err
		}
		if saved[i].New, err = saveNode(c.New); err != nil {
			return nil, err
		}
	}
	return saved, nil
}

func saveNode(node *treekem.LeafNode) ([]byte, error) {
	if node == nil {
		return nil, nil
	}
	return wire.Marshal(node)
}

func (s *savedChanges) restore() (Changes, error) {
	c := Changes{ExtensionsReplaced: s.Replaced, Path: s.Path}
	var errs [3]error
	c.Added, errs[0] = restoreChanges(s.Added)
	c.Removed, errs[1] = restoreChanges(s.Removed)
	c.Updated, errs[2] = restoreChanges(s.Updated)
	for _, encoded := range s.PSKs {
		var id keyschedule.PreSharedKeyID
		if err := wire.Unmarshal(encoded, &id); err != nil {
			return c, err
		}
		c.PSKs = append(c.PSKs, id)
	}
	return c, cmp.Or(errs[:]...)
}

func restoreChanges(saved []savedChange) ([]Change, error) {
	var list []Change
	for _, s := range saved {
		c := Change{Leaf: mls.LeafIndex(s.Leaf)}
		var err error
		if c.Old, err = restoreNode(s.Old); err != nil {
			return nil, err
		}
		if c.New, err = restoreNode(s.New); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func restoreNode(encoded []byte) (*treekem.LeafNode, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	node := new(treekem.LeafNode)
	return node, wire.Unmarshal(encoded, node)
}
