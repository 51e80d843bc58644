package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// Try calls f with a copy of the group's state, to see what a message or a
// change would do before it is done: to show a commit to somebody who decides
// about it, for example. Nothing that f does is kept, and the copy cannot be
// used afterwards. What the copy makes must never leave the process: the group
// will use the same keys again.
//
// While we are joining, the copy is of the group as our commit makes it.
func (g *Group) Try(ctx context.Context, f func(*group.Group) error) error {
	var trial *group.Group
	err := g.with(ctx, func() (err error) {
		current := g.current()
		saved, err := current.StateApart()
		if err != nil {
			return err
		}
		defer clear(saved)
		trial, err = group.RestoreApart(g.c.groupConfig(ctx), saved, current.Tree(), g.c.signers()...)
		return err
	})
	if err != nil {
		return err
	}
	defer trial.Destroy()
	err = f(trial)
	if failed := trial.Tree().Err(); failed != nil {
		// What f has seen does not count. The group has the same tree, and drops
		// it at its next operation.
		if err := g.with(ctx, func() error { return nil }); err != nil {
			return err
		}
		return treeFailure(failed)
	}
	return err
}

// TryJoin calls f with the group that a Welcome leads to, verified as Join does,
// without joining it: nothing is stored, and the key package is not used up.
// ErrGroupExists is what Join reports as *AlreadyMember.
func (c *Client) TryJoin(ctx context.Context, welcome []byte, opt JoinOptions, f func(*group.Group) error) error {
	defer c.tell()
	m, err := parseWelcome(welcome)
	if err != nil {
		return err
	}
	kp, err := c.findKeyPackage(ctx, m)
	if err != nil {
		return err
	}
	defer kp.destroy()
	known := error(nil)
	made, err := c.follow(ctx, m, kp, opt, func(id []byte, epoch uint64) bool {
		known = c.mayFollow(ctx, id, epoch)
		return known != nil
	})
	if errors.Is(known, errFollowed) {
		return ErrGroupExists
	}
	if known != nil {
		return known
	}
	if err != nil {
		return err
	}
	defer made.Destroy()
	return f(made)
}

// TryJoinExternal calls f with the group that a GroupInfo leads to, without
// joining it.
func (c *Client) TryJoinExternal(ctx context.Context, identity IdentityID, groupInfo []byte, opt ExternalOptions, f func(*group.Group) error) error {
	made, _, err := c.makeExternal(ctx, identity, groupInfo, opt)
	if err != nil {
		return err
	}
	defer made.Destroy()
	return f(made)
}

// makeExternal makes the group that an external commit leads to, and the commit.
func (c *Client) makeExternal(ctx context.Context, identity IdentityID, groupInfo []byte, opt ExternalOptions) (*group.Group, []byte, error) {
	id, err := c.identity(identity)
	if err != nil {
		return nil, nil, err
	}
	info, err := parseGroupInfo(groupInfo)
	if err != nil {
		return nil, nil, err
	}
	resync, err := isMember(id, info, opt.RatchetTree, c.cfg.Group.Limits.MaxLeaves)
	if err != nil {
		return nil, nil, err
	}
	return group.JoinExternal(c.groupConfig(ctx), info, group.ExternalJoinOptions{
		Identity: id.Identity, RatchetTree: opt.RatchetTree, Resync: resync || opt.Resync,
		PSKs: opt.PSKs, AuthenticatedData: opt.AuthenticatedData,
	})
}

func parseGroupInfo(message []byte) (*framing.GroupInfo, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return nil, err
	}
	if m.GroupInfo == nil {
		return nil, fmt.Errorf("client: a %v is not a GroupInfo", m.WireFormat)
	}
	return m.GroupInfo, nil
}

func parseWelcome(message []byte) (*framing.Welcome, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return nil, err
	}
	if m.Welcome == nil {
		return nil, fmt.Errorf("client: a %v is not a Welcome", m.WireFormat)
	}
	return m.Welcome, nil
}

// PendingCommit is a commit of ours that waits for Accept or Discard.
type PendingCommit struct {
	// Message is the commit, an encoded MLSMessage.
	Message []byte
	// Epoch is the one that it begins.
	Epoch uint64
	// Leaf is our leaf in that epoch.
	Leaf mls.LeafIndex
	// External tells that we join by it: then Changes is empty.
	External bool
	// Changes is what it changes.
	Changes group.Changes
}

// PendingCommit returns our pending commit, also after a restart. The error is
// ErrNothingPending if there is none.
func (g *Group) PendingCommit(ctx context.Context) (p *PendingCommit, err error) {
	err = g.with(ctx, func() error {
		switch {
		case g.joining != nil:
			made := g.joining.g
			p = &PendingCommit{Message: g.joining.record.Message, Epoch: made.Epoch(), Leaf: made.OwnLeaf(), External: true}
		case g.pending != nil:
			s := g.pending.staged
			p = &PendingCommit{Message: s.Message(), Epoch: s.Epoch(), Changes: s.Changes()}
			_, p.Leaf = s.Committer()
		default:
			return ErrNothingPending
		}
		p.Message = bytes.Clone(p.Message)
		return nil
	})
	return p, err
}

// PendingTree returns the ratchet tree of the epoch that our pending commit
// begins, the contents of a ratchet_tree extension: for a Welcome that leaves it
// out (RFC 9420, Section 12.4.3.3).
func (g *Group) PendingTree(ctx context.Context) (tree []byte, err error) {
	err = g.with(ctx, func() error {
		switch {
		case g.joining != nil:
			tree, err = g.joining.g.Tree().Bytes()
		case g.pending != nil:
			tree, err = g.pending.staged.Tree().Bytes()
		default:
			err = ErrNothingPending
		}
		return err
	})
	return tree, err
}
