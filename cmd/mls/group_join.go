package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

func (a *app) groupJoinCommand(f *groupFlags) *cobra.Command {
	var tree string
	cmd := &cobra.Command{
		Use:   "join WELCOME",
		Short: "Join a group by the Welcome that a member sent",
		Long: `join enters the group of a Welcome that was made for one of your key packages.
The whole group is verified and its members are shown before you accept. The key
package's private keys are deleted then.`,
		Example: `  mls group join shared/bob.welcome
  mls group join shared/bob.welcome --tree shared/garden.tree`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&tree, "tree", "", "`file` with the ratchet tree, if the Welcome does not bring it")
	return verb(cmd, func(args []string) error {
		return a.withHome(a.dir, homeOptions{}, func(ctx context.Context, h *home) error {
			welcome, m, err := a.readMessage(args[0])
			if err != nil {
				return err
			}
			if m.Welcome == nil {
				return hinted(`"mls inspect" shows what it is`, "%s is not a Welcome but %s", args[0], m.WireFormat)
			}
			var opt client.JoinOptions
			if tree != "" {
				if opt.RatchetTree, err = a.input(tree); err != nil {
					return err
				}
			}
			return a.join(ctx, f, h, welcome, opt)
		})
	})
}

// join shows the group of a Welcome, asks, and joins it.
func (a *app) join(ctx context.Context, f *groupFlags, h *home, welcome []byte, opt client.JoinOptions) error {
	err := h.TryJoin(ctx, welcome, opt, func(trial *group.Group) error {
		if err := (shown{Group: trial}).describe(a.stdout); err != nil {
			return err
		}
		return a.confirm(f, "Join this group?")
	})
	switch {
	case errors.Is(err, client.ErrNoKeyPackage):
		return h.noKeyPackage(ctx, welcome, opt)
	case errors.Is(err, mls.ErrPending):
		return hinted(`if the members took that commit, process its file or say "mls group accept"; if not, "mls group discard", then join`,
			"the Welcome is for an epoch before the one that your external commit begins, which is pending")
	case errors.Is(err, client.ErrGroupExists):
		return hinted(`"mls group info" shows it; "mls group discard" drops an external join that was not accepted. If this is another group of that name, as when two members said "mls group continue": agree on one, "mls group forget" yours, then join`,
			"you are in this group already")
	case err != nil:
		return err
	}
	o, err := h.Join(ctx, welcome, opt)
	if err != nil {
		return err
	}
	joined, ok := o.(*client.Joined)
	if used, duplicate := o.(*client.Duplicate); duplicate { // for a key package of last resort
		return h.usedWelcome(ctx, used)
	} else if !ok {
		return fmt.Errorf("nothing to do with %T", o)
	}
	info, err := joined.Group.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "joined %s in epoch %d as leaf %d\n", label(info.ID), info.Epoch, info.OwnLeaf)
	return nil
}

// noKeyPackage says why there is no key package for a Welcome: it was used before, or is for others.
func (h *home) noKeyPackage(ctx context.Context, welcome []byte, opt client.JoinOptions) error {
	o, err := h.Join(ctx, welcome, opt) // which cannot join, and knows what was used
	if used, ok := o.(*client.Duplicate); ok && err == nil {
		return h.usedWelcome(ctx, used)
	}
	if err != nil && !errors.Is(err, client.ErrNoKeyPackage) {
		return err
	}
	return hinted("a key package serves once; make another with \"mls keypackage\" and have it added",
		"the Welcome is for none of the key packages in %s", h.dir)
}

// usedWelcome refuses a Welcome that was used before.
func (h *home) usedWelcome(ctx context.Context, used *client.Duplicate) error {
	err := errors.New("the Welcome was used before")
	if g, unknown := h.hold(ctx, used.Group); unknown == nil && g.info.Status == client.StatusActive {
		return &hintError{err, fmt.Sprintf(`you are in group %s: "mls group info" shows it`, label(used.Group))}
	}
	return &hintError{err, "a Welcome serves once, also if the group was forgotten since; have another member add you with a new key package"}
}

// readMessage reads an MLSMessage from a file.
func (a *app) readMessage(name string) ([]byte, *framing.Message, error) {
	data, err := a.input(name)
	if err != nil {
		return nil, nil, err
	}
	m, err := framing.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, m, nil
}
