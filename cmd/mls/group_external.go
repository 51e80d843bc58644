package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

func (a *app) groupExternalJoinCommand(f *groupFlags) *cobra.Command {
	var out, tree string
	var resync bool
	cmd := &cobra.Command{
		Use:   "external-join GROUPINFO",
		Short: "Join a group by an external commit, without being added",
		Long: `external-join enters a group on the strength of a GroupInfo that a member
exported ("mls group export group-info"). It writes the commit that the members
must process (RFC 9420, Section 12.4.3.2). You are in once you have seen that they
accept it: process its own file, or say "mls group accept". If they accept another
commit for that epoch first, say "mls group discard" and try again with the next
GroupInfo.

--resync is for members that lost track of the group: it removes their former
leaf in the same commit.`,
		Example: `  mls group external-join shared/garden.info -o shared/garden.3
  mls group external-join shared/garden.info -o shared/garden.3 --resync`,
		Args: cobra.ExactArgs(1),
	}
	outFlag(cmd, &out, "commit")
	cmd.Flags().StringVar(&tree, "tree", "", "`file` with the ratchet tree, if the GroupInfo does not bring it")
	cmd.Flags().BoolVar(&resync, "resync", false, "replace your former leaf in the group")
	return verb(cmd, func(args []string) error {
		if err := a.checkOutput(out); err != nil {
			return err
		}
		return a.withHome(a.dir, homeOptions{handshakes: f.handshakes(), unchecked: resync}, func(ctx context.Context, h *home) error {
			info, err := a.readGroupInfo(args[0])
			if err != nil {
				return err
			}
			if err := h.mayJoin(ctx, info.id, resync); err != nil {
				return err
			}
			opt := client.ExternalOptions{Resync: resync}
			if tree != "" {
				if opt.RatchetTree, err = a.input(tree); err != nil {
					return err
				}
			}
			return a.externalJoin(ctx, f, h, info, opt, out)
		})
	})
}

// groupInfo is a GroupInfo as it was read.
type groupInfo struct {
	message, id []byte
	suite       mls.CipherSuite
}

func (a *app) readGroupInfo(name string) (*groupInfo, error) {
	data, m, err := a.readMessage(name)
	if err != nil {
		return nil, err
	}
	if m.GroupInfo == nil {
		return nil, hinted(`"mls inspect" shows what it is`, "%s is not a GroupInfo but %s", name, m.WireFormat)
	}
	return &groupInfo{data, m.GroupInfo.GroupContext.GroupID, m.GroupInfo.GroupContext.CipherSuite}, nil
}

// mayJoin refuses to join a group again that we are in, unless we say so, or are about to join.
func (h *home) mayJoin(ctx context.Context, id []byte, resync bool) error {
	g, err := h.hold(ctx, id)
	if errors.Is(err, client.ErrUnknownGroup) || errors.Is(err, store.ErrCorrupt) && resync {
		return nil // a state that is damaged is as good as none
	}
	if err != nil {
		return err
	}
	if err := g.noPending(); err != nil {
		return err
	}
	active := false
	if err := g.View(ctx, func(g *group.Group) error { active = g.Active(); return nil }); err != nil {
		return err
	}
	if active && !resync {
		return hinted("--resync replaces your former leaf", "you are in group %s already", label(id))
	}
	return nil
}

// externalJoin shows the group, asks, joins, and hands out the commit.
func (a *app) externalJoin(ctx context.Context, f *groupFlags, h *home, info *groupInfo, opt client.ExternalOptions, out string) error {
	id, err := h.identityIn(ctx, info.id, info.suite)
	if err != nil {
		return err
	}
	err = h.TryJoinExternal(ctx, id, info.message, opt, func(trial *group.Group) error {
		if err := (shown{trial, client.Info{Joining: true}}).describe(a.stdout); err != nil {
			return err
		}
		return a.confirm(f, "Join this group?")
	})
	if err != nil {
		return err
	}
	g, commit, err := h.JoinExternal(ctx, id, info.message, opt)
	if err != nil {
		return err
	}
	if err := a.output(out, commit.Message); err != nil {
		return (&held{Group: g, home: h}).notHandedOut(ctx, commit, err)
	}
	p, err := g.PendingCommit(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "joined %s in epoch %d as leaf %d, if the members accept the commit\n", label(g.ID()), p.Epoch, p.Leaf)
	return nil
}
