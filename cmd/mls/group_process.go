package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

func (a *app) groupProcessCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "process FILE...",
		Short: "Process proposals and commits, in order",
		Long: `process takes the proposals and commits of members, in the order of the files. A
proposal is kept for the commit that will bring it. A commit is shown, who is
added, removed and updated, and takes effect when you accept it. The file of your
own pending commit is how it is accepted: its Welcome is written then.

Messages of past epochs are skipped, so that a whole folder can be processed
again; one of a future epoch is an error.`,
		Example: `  mls group process shared/garden.4
  mls group process --yes shared/garden.*`,
		Args: cobra.MinimumNArgs(1),
	}
	return verb(cmd, func(args []string) error {
		return a.withGroup(f, func(ctx context.Context, g *held) error {
			for _, name := range args {
				message, err := a.input(name)
				if err != nil {
					return err
				}
				if err := a.process(ctx, f, g, message); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		})
	})
}

// process handles one handshake message.
func (a *app) process(ctx context.Context, f *groupFlags, g *held, message []byte) error {
	own, err := g.isPending(ctx, message)
	if err != nil {
		return err
	}
	if !own {
		if err := handshakeOnly(message); err != nil {
			return err
		}
		if err := a.review(ctx, f, g, message); err != nil {
			return err
		}
	}
	o, err := g.Group.Process(ctx, message)
	if err != nil {
		return err
	}
	if err := g.refresh(ctx); err != nil {
		return err
	}
	if stale, ok := o.(*client.Stale); ok && g.lostJoin(stale, message) {
		return hinted(`if the members took that one: "mls group discard", then "mls group external-join" with a newer GroupInfo`,
			"another commit of epoch %d, for which your external commit is pending", stale.Epoch)
	}
	return a.processed(ctx, g, o)
}

// lostJoin reports whether a message is a commit that our pending external one competes with.
func (g *held) lostJoin(o *client.Stale, message []byte) bool {
	if g.info.Status != client.StatusJoining || o.Epoch+1 != o.Current {
		return false
	}
	m, err := framing.Parse(message)
	switch {
	case err != nil:
		return false
	case m.Private != nil:
		return m.Private.ContentType == framing.ContentCommit
	}
	return m.Public != nil && m.Public.Content.ContentType == framing.ContentCommit
}

// review shows a received commit and asks whether to accept it. What cannot be processed yet is refused
// rather than held: it would be applied later without being asked about.
func (a *app) review(ctx context.Context, f *groupFlags, g *held, message []byte) error {
	return g.Try(ctx, func(trial *group.Group) error {
		received, err := trial.Process(message)
		switch r := received.(type) {
		case *group.Staged:
			return a.ask(f, g, trial, r)
		case *group.Removal:
			return a.ask(f, g, trial, r.Staged)
		case *group.FutureEpoch:
			return &mls.EpochError{Got: r.Got, Want: r.Want}
		}
		if errors.Is(err, mls.ErrUnknownProposal) {
			return err
		}
		return nil // what else it is, the client says
	})
}

func (a *app) ask(f *groupFlags, g *held, trial *group.Group, s *group.Staged) error {
	if err := g.joined(); err != nil {
		return err
	}
	if err := (shown{trial, g.info}).describeCommit(a.stdout, receivedCommit(s)); err != nil {
		return err
	}
	question := "Accept this commit?"
	if g.info.Pending {
		question = "Accept this commit? Your own pending one is then lost."
	}
	return a.confirm(f, question)
}

// processed says what became of a handshake message.
func (a *app) processed(ctx context.Context, g *held, o client.Outcome) error {
	switch o := o.(type) {
	case *client.ProposalReceived:
		return g.show(ctx, func(s shown) error {
			_, err := fmt.Fprintf(a.stdout, "proposal: %s\n", s.proposalText(&o.PendingProposal))
			return err
		})
	case *client.CommitApplied:
		a.epoch(g, "")
		return a.replayed(ctx, g, o)
	case *client.LostRace:
		return a.lostRace(ctx, g, o)
	case *client.Removed:
		fmt.Fprintln(a.stderr, "you are no longer a member")
	case *client.OwnEcho:
		return a.ownEcho(ctx, g, o)
	case *client.Stale:
		fmt.Fprintf(a.stderr, "skipped: a message of epoch %d, the group is in epoch %d\n", o.Epoch, o.Current)
	case *client.Duplicate:
		fmt.Fprintf(a.stderr, "skipped: a message of epoch %d, processed before\n", o.Epoch)
	case *client.Held:
		fmt.Fprintf(a.stderr, "kept: a message of epoch %d, to be processed when the group is there\n", o.Epoch)
	case *client.Refused:
		fmt.Fprintf(a.stderr, "refused: a message of epoch %d that was kept: %s\n", o.Epoch, errorText(o.Err))
	case *client.NeedsRejoin:
		return needsRejoin(o)
	default:
		return fmt.Errorf("nothing to do with %T", o)
	}
	return nil
}

// replayed says what became of the messages that were kept for the epoch which a commit began.
func (a *app) replayed(ctx context.Context, g *held, applied *client.CommitApplied) error {
	for _, o := range applied.Replayed {
		if err := a.processed(ctx, g, o); err != nil {
			return err
		}
	}
	return nil
}

// epoch prints where the group is now.
func (a *app) epoch(g *held, before string) {
	fmt.Fprintf(a.stderr, "%sepoch %d, authenticator %s\n", before, g.info.Epoch, hex.EncodeToString(g.info.EpochAuthenticator))
}

func (a *app) lostRace(ctx context.Context, g *held, o *client.LostRace) error {
	fmt.Fprintln(a.stderr, "your own pending commit lost the race and is gone; make it again if it is still wanted")
	err := g.show(ctx, func(s shown) error {
		for i := range o.Repeat {
			fmt.Fprintf(a.stderr, "  it was to %s\n", s.actionText(&o.Repeat[i]))
		}
		return nil
	})
	a.epoch(g, "")
	return errors.Join(err, a.replayed(ctx, g, &o.CommitApplied))
}

// ownEcho deals with a message of our own: the pending commit, or one from before.
func (a *app) ownEcho(ctx context.Context, g *held, o *client.OwnEcho) error {
	switch {
	case o.Commit != nil:
		return a.accepted(ctx, g, o.Commit, "")
	case o.ContentType == framing.ContentCommit:
		fmt.Fprintf(a.stderr, "skipped: your own commit of epoch %d, accepted before\n", o.Epoch)
		return a.deliverWelcome(ctx, g, o.Epoch+1, "") // a crash may have come between
	}
	fmt.Fprintf(a.stderr, "skipped: a %s of your own\n", o.ContentType)
	return nil
}

// needsRejoin says what to do about a message that this state cannot follow.
func needsRejoin(o *client.NeedsRejoin) error {
	const how = `join anew with "mls group external-join --resync" and a GroupInfo that another member exports`
	if errors.Is(o.Reason, client.ErrForked) {
		return hinted("a commit that was discarded can't be taken back, and a copy of the state knows nothing of the other: "+how,
			"a message of your own that this state no longer knows")
	}
	return &hintError{o.Reason, "if others follow this message, this state is not theirs: " + how}
}

// handshakeOnly refuses what other commands are for, before it uses up a key.
func handshakeOnly(message []byte) error {
	m, err := framing.Parse(message)
	switch {
	case err != nil:
		return err
	case m.Private != nil && m.Private.ContentType == framing.ContentApplication:
		return hinted(`"mls group receive" reads it`, "this is an application message")
	case m.Welcome != nil:
		return hinted(`"mls group join" takes it`, "this is a Welcome")
	case m.GroupInfo != nil:
		return hinted(`"mls group external-join" takes it`, "this is a GroupInfo")
	case m.KeyPackage != nil:
		return hinted(`"mls group add" takes it`, "this is a key package")
	}
	return nil
}

// accept puts the own pending commit in place.
func (a *app) accept(ctx context.Context, g *held, welcomeTo string) error {
	applied, err := g.Accept(ctx)
	if err != nil {
		return err
	}
	if err := g.refresh(ctx); err != nil {
		return err
	}
	return a.accepted(ctx, g, applied, welcomeTo)
}

// accepted says that an own commit is in place, and writes its Welcome.
func (a *app) accepted(ctx context.Context, g *held, applied *client.CommitApplied, welcomeTo string) error {
	if applied.Committer.Type == framing.SenderNewMemberCommit {
		a.epoch(g, "your external commit: accepted: ")
		return a.replayed(ctx, g, applied)
	}
	a.epoch(g, "accepted: ")
	return errors.Join(a.deliverWelcome(ctx, g, applied.Epoch, welcomeTo), a.replayed(ctx, g, applied), g.home.forgetIdentities(ctx))
}

func (a *app) groupAcceptCommand(f *groupFlags) *cobra.Command {
	var welcome string
	cmd := &cobra.Command{
		Use:   "accept",
		Short: "Count your own pending commit as accepted",
		Long: `accept puts your own pending commit in place. Say it only when the other members
take this commit and no other for the epoch.`,
		Example: `  mls group accept`,
	}
	cmd.Flags().StringVarP(&welcome, "welcome", "w", "", "`file` for the Welcome, other than the one named when committing")
	return verb(cmd, func([]string) error {
		return a.withGroup(f, func(ctx context.Context, g *held) error {
			if g.info.Pending {
				return a.accept(ctx, g, welcome)
			}
			list, err := g.waitingWelcomes(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return errors.New("no commit of your own is pending")
			}
			return a.deliverWelcomes(ctx, g, list, welcome)
		})
	})
}

func (a *app) groupDiscardCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard",
		Short: "Drop your own pending commit, or an external join that was not accepted",
		Long: `discard drops your own pending commit: the group stays in its epoch. Say it only
when nobody has taken the commit. If you joined by an external commit that was
not accepted, discard forgets the group.`,
		Example: `  mls group discard`,
	}
	return verb(cmd, func([]string) error {
		return a.withGroup(f, func(ctx context.Context, g *held) error {
			if err := g.Discard(ctx); errors.Is(err, client.ErrNothingPending) {
				return errors.New("no commit of your own is pending")
			} else if err != nil {
				return err
			}
			if g.info.Status == client.StatusJoining {
				fmt.Fprintf(a.stderr, "forgot group %s\n", label(g.ID()))
				return nil
			}
			fmt.Fprintf(a.stderr, "discarded; the group stays in epoch %d\n", g.info.Epoch)
			return nil
		})
	})
}
