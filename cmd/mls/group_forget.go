package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/store"
)

func (a *app) groupForgetCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget",
		Short: "Delete everything of a group from the state directory",
		Long: `forget deletes the state of a group with all its keys: one that you were removed
from, that was shut down, or that is damaged. It does not leave a group: the
others go on to count you as a member until they remove you, and you can't read
what they send.`,
		Example: `  mls group forget --name garden`,
	}
	return verb(cmd, func([]string) error {
		return a.withHome(a.dir, homeOptions{unchecked: true}, func(ctx context.Context, h *home) error {
			id, err := h.findGroup(ctx, f.name)
			if errors.Is(err, store.ErrCorrupt) && f.name != "" {
				id, err = []byte(f.name), nil // the list of groups is damaged
			}
			if err != nil {
				return err
			}
			g, err := h.Group(ctx, id)
			if err != nil {
				return err
			}
			return a.forget(ctx, f, h, g)
		})
	})
}

// forget shows a group, asks, and deletes it. It need not be readable.
func (a *app) forget(ctx context.Context, f *groupFlags, h *home, g *client.Group) error {
	shownGroup := &held{Group: g, home: h}
	err := shownGroup.refresh(ctx)
	if err == nil {
		err = shownGroup.show(ctx, func(s shown) error {
			s.describe(a.stdout)
			return nil
		})
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "group %s cannot be read: %s\n", label(g.ID()), errorText(err))
	}
	if err := a.confirm(f, "Delete this group for good?"); err != nil {
		return err
	}
	if err := h.forgetWelcomes(ctx, g.ID()); err != nil {
		return err
	}
	if err := g.Forget(ctx); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "forgot group %s\n", label(g.ID()))
	return nil
}
