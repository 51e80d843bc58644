package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/client"
)

func (a *app) groupCreateCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create [ID]",
		Short: "Create a group with yourself as its only member",
		Long: `create makes a group of one member. ID becomes the group's identifier, which all
members see and use as its name; without one it is random.`,
		Example: `  mls group create garden`,
		Args:    cobra.MaximumNArgs(1),
	}
	return verb(cmd, func(args []string) error {
		id := randomID()
		if len(args) > 0 {
			id = args[0]
		}
		if err := checkGroupID(cmd, id); err != nil {
			return err
		}
		return a.withHome(a.dir, homeOptions{}, func(ctx context.Context, h *home) error {
			_, err := h.CreateGroup(ctx, h.id, client.GroupOptions{GroupID: []byte(id)})
			if errors.Is(err, client.ErrGroupExists) {
				return fmt.Errorf("there is a group %q in %s already", id, h.dir)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "created group %s: epoch 0, 1 member\n", id)
			return nil
		})
	})
}

// checkGroupID refuses an identifier that could not be shown or named.
func checkGroupID(cmd *cobra.Command, id string) error {
	if id == "" || !printable(id) {
		return usagef(cmd, "the identifier is empty or not printable text")
	}
	return nil
}

func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
