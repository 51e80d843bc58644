package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// SuccessionOptions says how to continue a group in another one.
type SuccessionOptions struct {
	// GroupID and Extensions are a subgroup's: a nil identifier stands for a
	// random one. For Reinitialize they are not looked at: the ReInit says them.
	GroupID    []byte
	Extensions []mls.Extension
	// Identity is ours in the new group; empty for the one in the old group,
	// unless a ReInit changes the cipher suite.
	Identity IdentityID
	// KeyPackages are fresh ones of the other members of the new group: for
	// Reinitialize, of all other members and of the new cipher suite.
	KeyPackages []*treekem.KeyPackage
	// OmitPath leaves out the path of the new group's first commit.
	OmitPath bool
	// TreeApart leaves the ratchet tree out of the Welcome.
	TreeApart bool
}

// Branch makes a subgroup of the group's members (RFC 9420, Section 11.3), and
// the Welcome for them, nil if there are none. The group itself goes on.
func (g *Group) Branch(ctx context.Context, opt SuccessionOptions) (*Group, *Outgoing, error) {
	return g.succeed(ctx, func(cfg group.Config) (*group.Group, []byte, error) {
		if err := g.active(); err != nil {
			return nil, nil, err
		}
		id, err := g.successorIdentity(opt.Identity, g.g.Suite())
		if err != nil {
			return nil, nil, err
		}
		return g.g.Branch(cfg, group.BranchOptions{
			GroupID: opt.GroupID, Identity: id, KeyPackages: opt.KeyPackages, Extensions: opt.Extensions,
			OmitPath: opt.OmitPath, TreeApart: opt.TreeApart,
		})
	})
}

// Reinitialize makes the group that a ReInit asks for, which was committed as
// the last change of this one, and the Welcome for its other members (RFC 9420,
// Section 11.2). One member does it; the others [Client.Join] by the Welcome.
// The old group stays, and can be read, until Forget.
func (g *Group) Reinitialize(ctx context.Context, opt SuccessionOptions) (*Group, *Outgoing, error) {
	return g.succeed(ctx, func(cfg group.Config) (*group.Group, []byte, error) {
		if err := g.active(); err != nil {
			return nil, nil, err
		}
		suite := g.g.Suite()
		if reinit, ok := g.g.ReInit(); ok {
			var err error
			if suite, err = mls.LookupSuite(reinit.CipherSuite); err != nil {
				return nil, nil, err
			}
		}
		id, err := g.successorIdentity(opt.Identity, suite)
		if err != nil {
			return nil, nil, err
		}
		return g.g.Reinitialize(cfg, group.ReinitializeOptions{
			Identity: id, KeyPackages: opt.KeyPackages, OmitPath: opt.OmitPath, TreeApart: opt.TreeApart,
		})
	})
}

// successorIdentity is an identity of ours for a suite; the group's for "".
func (g *Group) successorIdentity(id IdentityID, suite *mls.Suite) (group.Identity, error) {
	if id == "" {
		leaf, ok := g.g.Member(g.g.OwnLeaf())
		if !ok {
			return group.Identity{}, ErrUnknownIdentity
		}
		id = identityID(g.g.Suite().ID(), leaf.SignatureKey)
	}
	i, err := g.c.identity(id)
	if err != nil {
		return group.Identity{}, err
	}
	if i.suite.ID() != suite.ID() {
		return group.Identity{}, errIdentitySuite
	}
	return i.Identity, nil
}

var errIdentitySuite = errors.New("client: the identity is of another cipher suite than the new group: name one in SuccessionOptions.Identity")

// succeed makes a group that continues this one, and stores it together with its
// Welcome.
func (g *Group) succeed(ctx context.Context, make func(group.Config) (*group.Group, []byte, error)) (*Group, *Outgoing, error) {
	c := g.c
	defer c.startEntering()()
	var made *group.Group
	var welcome []byte
	err := g.locked(ctx, func() (err error) {
		made, welcome, err = make(c.groupConfig(ctx))
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var out *Outgoing
	next, err := c.enter(ctx, made, entry{may: c.mayCreate, write: func(tx store.Writer) error {
		if len(welcome) == 0 {
			return nil
		}
		out = &Outgoing{Group: made.ID(), Kind: KindWelcome, Epoch: made.Epoch(), Message: welcome}
		return c.enqueue(tx, out)
	}})
	if err != nil {
		return nil, nil, err
	}
	return next, out, nil
}

// follow opens a Welcome. One of a reinitialized or branched group needs the
// group that it continues, which only its decrypted contents name (RFC 9420,
// Section 12.4.3.1): so it is opened again with that one, if we have it.
func (c *Client) follow(ctx context.Context, w *framing.Welcome, kp *keyPackage, opt JoinOptions, known func(id []byte, epoch uint64) bool) (*group.Group, error) {
	var link *keyschedule.PreSharedKeyID
	cfg := c.groupConfig(ctx)
	find := cfg.PSK
	cfg.PSK = func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		if id.Type == keyschedule.PSKResumption && id.Usage != keyschedule.UsageApplication {
			id.PSKGroupID = bytes.Clone(id.PSKGroupID)
			link = &id
			return mls.Secret{}, store.ErrNotFound
		}
		return find(id)
	}
	join := group.JoinOptions{RatchetTree: opt.RatchetTree, Known: known}
	made, err := group.Join(cfg, w, kp.public, kp.private, join)
	if err == nil || link == nil {
		return made, err
	}
	parent, missing := c.Group(ctx, link.PSKGroupID)
	if errors.Is(missing, ErrUnknownGroup) {
		return nil, fmt.Errorf("client: the group that a Welcome continues: %w: %w", ErrUnknownGroup, err)
	}
	if missing != nil {
		return nil, missing
	}
	err = parent.locked(ctx, func() (err error) {
		join.Predecessor = parent.current()
		if now := parent.current().Epoch(); link.PSKEpoch > now {
			return parentEpoch(link.PSKEpoch, now)
		}
		made, err = group.Join(c.groupConfig(ctx), w, kp.public, kp.private, join)
		if now := parent.current().Epoch(); errors.Is(err, mls.ErrUnavailable) && link.PSKEpoch < now {
			return fmt.Errorf("%w: %w", parentEpoch(link.PSKEpoch, now), err)
		}
		return err
	})
	return made, err
}

// parentEpoch is the error for a Welcome that continues a group from another
// epoch than the one in which we are there. A later one we can wait for.
func parentEpoch(got, now uint64) error {
	return fmt.Errorf("client: the group that a Welcome continues: %w", &mls.EpochError{Got: got, Want: now})
}
