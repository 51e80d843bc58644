package main

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
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
		return a.export(f, out, func(g *held) ([]byte, error) {
			info, err := g.GroupInfo(group.InfoOptions{Tree: !noTree, ExternalPub: !noExternal})
			if err != nil {
				return nil, err
			}
			m := framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatGroupInfo, GroupInfo: info}
			return m.Bytes()
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
		return a.export(f, out, func(g *held) ([]byte, error) { return g.Tree().Bytes() })
	})
}

// export writes something that changes no state.
func (a *app) export(f *groupFlags, out string, make func(*held) ([]byte, error)) error {
	if err := a.checkOutput(out); err != nil {
		return err
	}
	g, unlock, err := a.openGroup(f)
	if err != nil {
		return err
	}
	defer unlock()
	data, err := make(g)
	if err != nil {
		return err
	}
	return a.output(out, data)
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		secret, err := g.Export(args[0], []byte(context), length)
		if err != nil {
			return err
		}
		defer secret.Destroy()
		_, err = fmt.Fprintln(a.stdout, hex.EncodeToString(secret.UnsafeBytes()))
		return err
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		if !g.Active() {
			return mls.ErrRemoved
		}
		_, err = fmt.Fprintln(a.stdout, hex.EncodeToString(g.EpochAuthenticator()))
		return err
	})
}
