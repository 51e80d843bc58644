package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/framing"
)

// groupFlags are the flags of all commands under "mls group".
type groupFlags struct {
	name   string
	public bool
	yes    bool
}

func (a *app) groupCommand() *cobra.Command {
	f := &groupFlags{}
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Hold groups: messages are files, the state is a directory",
		Long: `group holds real groups. The state lives in the state directory; what members
send each other are files, to be brought to them by any means, such as a shared
folder. One process at a time can work in a state directory.

Everything is stored before it is written out, so that no crash loses a message
or uses a key twice: "mls group outbox" lists what may not have left.

A commit that you make is pending until you see it accepted: process its own
file, or say "mls group accept". If another member's commit comes first, process
that; yours is then over. Of several commits for an epoch the group must choose
one, the same for all: agree on one file name for each epoch, as in the
examples. A file is never overwritten, so whoever writes it first has won.

Names prove nothing in a basic credential. Compare key fingerprints, or the epoch
authenticator that "mls group info" prints, over a channel you trust.`,
		Example: `  # Alice                                     # Bob
  mls init --name alice                       mls init --name bob
  mls group create garden                     mls keypackage -o shared/bob.kp
  mls group add shared/bob.kp -o shared/garden.0 --welcome shared/bob.welcome
  mls group process shared/garden.0           mls group join shared/bob.welcome
  echo hello | mls group send -o shared/m1    mls group receive shared/m1`,
	}
	cmd.PersistentFlags().StringVar(&f.name, "name", "", "which `group`, if the directory holds several")
	cmd.PersistentFlags().BoolVar(&f.public, "public", false, "frame own proposals and commits as PublicMessage, readable by whoever delivers them")
	cmd.PersistentFlags().BoolVarP(&f.yes, "yes", "y", false, "accept what would be asked on a terminal")
	cmd.AddCommand(
		a.groupCreateCommand(f), a.groupJoinCommand(f), a.groupExternalJoinCommand(f),
		a.groupAddCommand(f), a.groupRemoveCommand(f), a.groupUpdateCommand(f),
		a.groupProposeCommand(f), a.groupCommitCommand(f),
		a.groupProcessCommand(f), a.groupAcceptCommand(f), a.groupDiscardCommand(f),
		a.groupSendCommand(f), a.groupReceiveCommand(f),
		a.groupReinitCommand(f), a.groupContinueCommand(f), a.groupBranchCommand(f), a.groupForgetCommand(f),
		a.groupExportCommand(f), a.groupOutboxCommand(f), a.groupInfoCommand(f),
	)
	needSubcommand(cmd)
	return cmd
}

// handshakes is how own proposals and commits are framed; 0 is the default.
func (f *groupFlags) handshakes() framing.WireFormat {
	if f.public {
		return framing.WireFormatPublicMessage
	}
	return 0
}

// withGroup opens the state directory and the group that the flags name, for use.
func (a *app) withGroup(f *groupFlags, use func(context.Context, *held) error) error {
	return a.withGroupOptions(f, homeOptions{}, use)
}

func (a *app) withGroupOptions(f *groupFlags, opt homeOptions, use func(context.Context, *held) error) error {
	opt.handshakes = f.handshakes()
	return a.withHome(a.dir, opt, func(ctx context.Context, h *home) error {
		g, err := h.group(ctx, f.name)
		if err != nil {
			return err
		}
		return use(ctx, g)
	})
}

// withJoined is withGroup for what only a member can do.
func (a *app) withJoined(f *groupFlags, use func(context.Context, *held) error) error {
	return a.withGroup(f, func(ctx context.Context, g *held) error {
		if err := g.joined(); err != nil {
			return err
		}
		return use(ctx, g)
	})
}

// confirm asks on the terminal. Without a terminal only --yes says yes.
func (a *app) confirm(f *groupFlags, question string) error {
	if f.yes {
		return nil
	}
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return hinted("look at it above, then say --yes", "not accepted: nobody to ask (standard input is not a terminal)")
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return hinted("nothing has changed", "not accepted")
}
