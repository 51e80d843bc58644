package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

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
		h, unlock, err := a.openHome()
		if err != nil {
			return err
		}
		defer unlock()
		m, err := a.readMessage(args[0])
		if err != nil {
			return err
		}
		if m.Welcome == nil {
			return hinted(`"mls inspect" shows what it is`, "%s is not a Welcome but %s", args[0], m.WireFormat)
		}
		var opt group.JoinOptions
		if tree != "" {
			if opt.RatchetTree, err = a.input(tree); err != nil {
				return err
			}
		}
		opt.Known = h.holdsActive
		return a.join(f, h, m.Welcome, opt)
	})
}

// join tries the Welcome with each of our key packages that it names.
func (a *app) join(f *groupFlags, h *home, welcome *framing.Welcome, opt group.JoinOptions) error {
	for i := range welcome.Secrets {
		ref := welcome.Secrets[i].NewMember
		kp, private, ours, err := h.keyPackage(ref)
		if err != nil {
			return err
		}
		if !ours {
			continue
		}
		g, err := group.Join(h.config(), welcome, kp, private, opt)
		if err != nil {
			return err
		}
		joined := h.adopt(g)
		joined.describe(a.stdout)
		if err := a.confirm(f, "Join this group?"); err != nil {
			return err
		}
		if err := joined.save(); err != nil {
			return err
		}
		if !kp.LastResort() { // used: nobody must be able to join with it again
			if err := os.Remove(h.keyPackagePath(ref)); err != nil {
				return err
			}
		}
		fmt.Fprintf(a.stderr, "joined %s in epoch %d as leaf %d\n", label(g.ID()), g.Epoch(), g.OwnLeaf())
		return nil
	}
	return hinted("a key package serves once; make another with \"mls keypackage\" and have it added",
		"the Welcome is for none of the key packages in %s", h.dir)
}

// holdsActive reports whether we are an active member of a group already. A group that removed us may be
// joined anew.
func (h *home) holdsActive(id []byte) bool {
	if !h.hasGroup(id) {
		return false
	}
	g, err := h.loadGroup(label(id))
	return err != nil || g.Active()
}

// readMessage reads an MLSMessage from a file.
func (a *app) readMessage(name string) (*framing.Message, error) {
	data, err := a.input(name)
	if err != nil {
		return nil, err
	}
	m, err := framing.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}
