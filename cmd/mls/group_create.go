package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/group"
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
		if id == "" || !printable(id) {
			return usagef(cmd, "the identifier is empty or not printable text")
		}
		h, unlock, err := a.openHome()
		if err != nil {
			return err
		}
		defer unlock()
		if h.hasGroup([]byte(id)) {
			return fmt.Errorf("there is a group %q in %s already", id, h.dir)
		}
		g, err := group.New(h.config(), h.suite, group.CreateOptions{GroupID: []byte(id), Identity: h.identity()})
		if err != nil {
			return err
		}
		if err := h.adopt(g).save(); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "created group %s: epoch 0, 1 member\n", id)
		return nil
	})
}

func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
