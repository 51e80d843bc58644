package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

func (a *app) groupExternalJoinCommand(f *groupFlags) *cobra.Command {
	var out, tree string
	var resync bool
	cmd := &cobra.Command{
		Use:   "external-join GROUPINFO",
		Short: "Join a group by an external commit, without being added",
		Long: `external-join enters a group on the strength of a GroupInfo that a member
exported ("mls group export group-info"). It writes the commit that the members
must process (RFC 9420, Section 12.4.3.2). If they accept another commit for that
epoch first, say "mls group discard" and try again with the next GroupInfo.

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
		h, unlock, err := a.openHome()
		if err != nil {
			return err
		}
		defer unlock()
		m, err := a.readMessage(args[0])
		if err != nil {
			return err
		}
		if m.GroupInfo == nil {
			return hinted(`"mls inspect" shows what it is`, "%s is not a GroupInfo but %s", args[0], m.WireFormat)
		}
		if id := m.GroupInfo.GroupContext.GroupID; !resync && h.holdsActive(id) {
			return hinted("--resync replaces your former leaf", "you are in group %s already", label(id))
		}
		opt := group.ExternalJoinOptions{Identity: h.identity(), Resync: resync}
		if tree != "" {
			if opt.RatchetTree, err = a.input(tree); err != nil {
				return err
			}
		}
		return a.externalJoin(f, h, m.GroupInfo, opt, out)
	})
}

// externalJoin joins, asks, and hands out the commit.
func (a *app) externalJoin(f *groupFlags, h *home, info *framing.GroupInfo, opt group.ExternalJoinOptions, out string) error {
	g, commit, err := group.JoinExternal(h.config(), info, opt)
	if err != nil {
		return err
	}
	joined := h.adopt(g)
	joined.file.Unconfirmed = commit
	joined.describe(a.stdout)
	if err := a.confirm(f, "Join this group?"); err != nil {
		return err
	}
	if err := joined.saveThenOutput(a, out, commit); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "joined %s in epoch %d as leaf %d, if the members accept the commit\n", label(g.ID()), g.Epoch(), g.OwnLeaf())
	return nil
}
