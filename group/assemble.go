package group

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// AssembleOptions describe a group that simulations and benchmarks put together
// without playing its history.
type AssembleOptions struct {
	Suite      *mls.Suite
	GroupID    []byte
	Epoch      uint64
	Tree       *treekem.Tree
	Extensions []mls.Extension
}

// AssembleMember is one member's private half.
type AssembleMember struct {
	Private *treekem.Private
	Signer  mls.Signer
}

// Assemble puts the members of one group together, as if they had come to an
// epoch by commits: they share the immutable tree and are given the same fresh
// epoch secret, and everything from there on is theirs alone. It is for
// simulations and benchmarks, which could not afford the n commits that it
// takes to fill a tree of n members: whoever calls it knows every secret.
func Assemble(cfg Config, opt AssembleOptions, members []AssembleMember) ([]*Group, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	// A transcript that no commits have written: any value will do, as long as
	// it is the same for all.
	v, err := newView(opt.Suite, keyschedule.GroupContext{
		Version: mls.MLS10, CipherSuite: opt.Suite.ID(), GroupID: bytes.Clone(opt.GroupID), Epoch: opt.Epoch,
		TreeHash: opt.Tree.Hash(), ConfirmedTranscriptHash: opt.Suite.Hash(opt.GroupID), Extensions: opt.Extensions,
	}, opt.Tree)
	if err != nil {
		return nil, err
	}
	joiner, err := keyschedule.ParseJoinerSecret(opt.Suite, mls.RandomSecret(opt.Suite.HashSize()))
	if err != nil {
		return nil, err
	}
	defer joiner.Destroy()
	first := joiner.Epoch(keyschedule.PSKSecret{}, v.contextBytes)
	defer first.Destroy()
	v.confirm(first.ConfirmationTag(v.context.ConfirmedTranscriptHash))
	groups := make([]*Group, len(members))
	err = parallel.Each(len(members), 1, func(i int) error {
		epoch := joiner.Epoch(keyschedule.PSKSecret{}, v.contextBytes)
		m := &members[i]
		if err := m.Private.Check(v.tree); err != nil {
			return err
		}
		groups[i] = start(cfg, v, epoch, m.Private, m.Signer)
		return nil
	})
	return groups, err
}
