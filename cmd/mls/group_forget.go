package main

import (
	"bytes"
	"context"
	"encoding/hex"
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
			g, err := h.anyGroup(ctx, f.name)
			if err != nil {
				return err
			}
			return a.forget(ctx, f, h, g)
		})
	})
}

// anyGroup opens the group called name, or the only one, also if the list of groups is damaged: then it has to be named.
func (h *home) anyGroup(ctx context.Context, name string) (*client.Group, error) {
	const how = "give the identifier that it was created with, or has in the messages that you kept: \"mls inspect\" shows it"
	id, err := h.findGroup(ctx, name)
	damaged := errors.Is(err, store.ErrCorrupt)
	switch {
	case damaged && name == "":
		return nil, hinted("--name says which group to delete; "+how, "the list of groups cannot be read: %w", err)
	case damaged:
		id = []byte(name)
	case err != nil:
		return nil, err
	}
	g, err := h.Group(ctx, id)
	if damaged && errors.Is(err, client.ErrUnknownGroup) {
		if binary, notHex := hex.DecodeString(name); notHex == nil { // as identifiers that are no text are shown
			g, err = h.Group(ctx, binary)
		}
	}
	if damaged && errors.Is(err, client.ErrUnknownGroup) {
		return nil, hinted(how, "no group %q in %s", name, h.dir)
	}
	return g, err
}

// forget shows a group, asks, and deletes it. It need not be readable.
func (a *app) forget(ctx context.Context, f *groupFlags, h *home, g *client.Group) error {
	var text bytes.Buffer
	shownGroup := &held{Group: g, home: h}
	err := shownGroup.refresh(ctx)
	if err == nil {
		err = shownGroup.show(ctx, func(s shown) error { return s.describe(&text) })
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "group %s cannot be read: %s\n", label(g.ID()), errorText(err))
	} else if _, err := a.stdout.Write(text.Bytes()); err != nil {
		return err
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
