package main

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
)

func (a *app) groupExportCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export what others need: GroupInfo, tree, exported secrets",
		Example: `  mls group export group-info -o shared/garden.info
  mls group export secret backup --length 32`,
	}
	cmd.AddCommand(a.exportGroupInfoCommand(f), a.exportTreeCommand(f), a.exportSecretCommand(f), a.exportAuthenticatorCommand(f))
	needSubcommand(cmd)
	return cmd
}

func (a *app) exportGroupInfoCommand(f *groupFlags) *cobra.Command {
	var out string
	var noTree, noExternal bool
	cmd := &cobra.Command{
		Use:   "group-info",
		Short: "Write a signed GroupInfo, by which others can join from outside",
		Long: `group-info writes a GroupInfo of the current epoch (RFC 9420, Section 12.4.3):
public, signed by you. Whoever has it can join with "mls group external-join".`,
		Example: `  mls group export group-info -o shared/garden.info`,
	}
	outFlag(cmd, &out, "GroupInfo")
	cmd.Flags().BoolVar(&noTree, "no-tree", false, "leave the ratchet tree out; joiners then need it apart")
	cmd.Flags().BoolVar(&noExternal, "no-external", false, "leave out the key that external joiners need")
	return verb(cmd, func([]string) error {
		return a.export(f, out, func(ctx context.Context, g *held) ([]byte, error) {
			return g.GroupInfo(ctx, group.InfoOptions{Tree: !noTree, ExternalPub: !noExternal})
		})
	})
}

func (a *app) exportTreeCommand(f *groupFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "tree",
		Short:   "Write the ratchet tree of the current epoch",
		Long:    `tree writes the contents of a ratchet_tree extension (RFC 9420, Section 12.4.3.3).`,
		Example: `  mls group export tree -o shared/garden.tree`,
	}
	outFlag(cmd, &out, "tree")
	return verb(cmd, func([]string) error {
		return a.export(f, out, func(ctx context.Context, g *held) (tree []byte, err error) {
			err = g.View(ctx, func(g *group.Group) error {
				tree, err = g.Tree().Bytes()
				return err
			})
			return tree, err
		})
	})
}

// export writes something that changes no state.
func (a *app) export(f *groupFlags, out string, make func(context.Context, *held) ([]byte, error)) error {
	if err := a.checkOutput(out); err != nil {
		return err
	}
	return a.withJoined(f, func(ctx context.Context, g *held) error {
		data, err := make(ctx, g)
		if err != nil {
			return err
		}
		return a.output(out, data)
	})
}

// printHex prints what make takes from the group, in hex.
func (a *app) printHex(f *groupFlags, make func(*group.Group) ([]byte, error)) error {
	return a.withJoined(f, func(ctx context.Context, g *held) error {
		return g.View(ctx, func(g *group.Group) error {
			data, err := make(g)
			if err != nil {
				return err
			}
			defer clear(data)
			_, err = fmt.Fprintln(a.stdout, hex.EncodeToString(data))
			return err
		})
	})
}

func (a *app) exportSecretCommand(f *groupFlags) *cobra.Command {
	var context string
	var length int
	cmd := &cobra.Command{
		Use:   "secret LABEL",
		Short: "Print a secret that all members of the epoch can derive",
		Long: `secret derives a secret from the epoch for use outside of MLS (RFC 9420, Section
8.5) and prints it in hex. Members that use the same label, context and length
get the same secret; nobody else does.`,
		Example: `  mls group export secret backup --length 32`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&context, "context", "", "`text` that the secret depends on besides the label")
	cmd.Flags().IntVar(&length, "length", 32, "number of `bytes`")
	return verb(cmd, func(args []string) error {
		if length < 1 || length > 255*32 {
			return usagef(cmd, "--length must be from 1 to %d", 255*32)
		}
		return a.printHex(f, func(g *group.Group) ([]byte, error) {
			secret, err := g.Export(args[0], []byte(context), length)
			return secret.UnsafeBytes(), err
		})
	})
}

func (a *app) exportAuthenticatorCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "authenticator",
		Short: "Print the epoch authenticator, for members to compare",
		Long: `authenticator prints the epoch authenticator (RFC 9420, Section 8.7) in hex:
members who see the same value share the same group, members and keys.`,
		Example: `  mls group export authenticator`,
	}
	return verb(cmd, func([]string) error {
		return a.printHex(f, func(g *group.Group) ([]byte, error) {
			if !g.Active() {
				return nil, mls.ErrRemoved
			}
			return g.EpochAuthenticator(), nil
		})
	})
}
