package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/client"
)

func (a *app) groupOutboxCommand(f *groupFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "outbox [NUMBER]",
		Short: "List messages that may not have left, or write one again",
		Long: `outbox lists proposals, commits and Welcomes that were made and are not known to
have been written out: after a crash, or when a file could not be written. A
commit stays in the list until it is accepted or discarded. With the number of
one, outbox writes it again, byte by byte; a proposal or Welcome then leaves the
list.`,
		Example: `  mls group outbox
  mls group outbox 3 -o shared/garden.4`,
		Args: cobra.MaximumNArgs(1),
	}
	outFlag(cmd, &out, "message")
	return verb(cmd, func(args []string) error {
		return a.withGroup(f, func(ctx context.Context, g *held) error {
			list, damage := g.waiting(ctx) // what can be read is of use without the rest
			if len(args) == 0 {
				return errors.Join(a.listOutbox(list), damage)
			}
			number, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef(cmd, "%q is not a number of the list", args[0])
			}
			i := slices.IndexFunc(list, func(o client.Outgoing) bool { return o.ID == number })
			switch {
			case i >= 0:
				return a.resend(ctx, g, list[i], out)
			case damage != nil:
				return damage
			}
			return hinted(`"mls group outbox" lists what there is`, "no message %d waits", number)
		})
	})
}

// listOutbox lists messages that wait.
func (a *app) listOutbox(list []client.Outgoing) error {
	for _, o := range list {
		if _, err := fmt.Fprintf(a.stdout, "%d  %s of epoch %d, %d bytes\n", o.ID, o.Kind, o.Epoch, len(o.Message)); err != nil {
			return err
		}
	}
	return nil
}

// resend writes a message that waits.
func (a *app) resend(ctx context.Context, g *held, o client.Outgoing, out string) error {
	if err := a.checkOutput(out); err != nil {
		return err
	}
	if err := a.output(out, o.Message); err != nil || o.Kind == client.KindCommit {
		return err
	}
	if o.Kind == client.KindWelcome {
		return g.sentWelcome(ctx, o)
	}
	return g.home.Sent(ctx, o.ID)
}
