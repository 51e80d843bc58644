package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		for _, name := range args {
			message, err := a.input(name)
			if err != nil {
				return err
			}
			if err := a.process(f, g, message); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

// process handles one handshake message.
func (a *app) process(f *groupFlags, g *held, message []byte) error {
	if g.isPending(message) {
		return a.accept(g, "")
	}
	if g.file.Unconfirmed != nil && bytes.Equal(g.file.Unconfirmed, message) {
		g.file.Unconfirmed = nil
		fmt.Fprintln(a.stderr, "your external commit: accepted")
		return g.save()
	}
	if err := handshakeOnly(message); err != nil {
		return err
	}
	received, err := g.Process(message)
	if err != nil {
		return err
	}
	switch r := received.(type) {
	case *group.ReceivedProposal:
		fmt.Fprintf(a.stdout, "proposal: %s\n", g.proposalText(&r.PendingProposal))
		return g.save()
	case *group.Staged:
		return a.decide(f, g, r)
	case *group.Removal:
		return a.decide(f, g, r.Staged)
	case *group.FutureEpoch:
		return &mls.EpochError{Got: r.Got, Want: r.Want}
	case *group.StaleEpoch:
		fmt.Fprintf(a.stderr, "skipped: a message of epoch %d, the group is in epoch %d\n", r.Got, r.Want)
	case *group.Duplicate:
		fmt.Fprintln(a.stderr, "skipped: processed before")
	case *group.OwnMessage:
		return a.ownMessage(r)
	default:
		return fmt.Errorf("nothing to do with %T", received)
	}
	return nil
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

func (a *app) ownMessage(r *group.OwnMessage) error {
	if r.ContentType == framing.ContentCommit {
		return hinted(`a commit that was discarded can't be taken back: join anew with "mls group external-join --resync"`,
			"a commit of your own that this state no longer knows")
	}
	fmt.Fprintf(a.stderr, "skipped: a %s of your own\n", r.ContentType)
	return nil
}

// decide shows a received commit, asks, and puts it in place.
func (a *app) decide(f *groupFlags, g *held, s *group.Staged) error {
	g.describeStaged(a.stdout, s)
	question := "Accept this commit?"
	if g.file.Pending != nil {
		question = "Accept this commit? Your own pending one is then lost."
	}
	if err := a.confirm(f, question); err != nil {
		return err
	}
	lost := g.file.Pending != nil
	if err := g.merge(s); err != nil {
		return err
	}
	if err := g.save(); err != nil {
		return err
	}
	if lost {
		fmt.Fprintln(a.stderr, "your own pending commit lost the race and is gone; make it again if it is still wanted")
	}
	if !g.Active() {
		fmt.Fprintln(a.stderr, "you are no longer a member")
		return nil
	}
	fmt.Fprintf(a.stderr, "epoch %d, authenticator %s\n", g.Epoch(), hex.EncodeToString(g.EpochAuthenticator()))
	return nil
}

// accept puts the own pending commit in place. Its Welcome is written first: after a crash in between
// the commit is still pending, and accepting it again finds the file already there.
func (a *app) accept(g *held, welcomeTo string) error {
	if g.file.Pending == nil {
		return errors.New("no commit of your own is pending")
	}
	welcome := g.file.Pending.Welcome
	if welcomeTo == "" {
		welcomeTo = g.file.Pending.WelcomeTo
	}
	if welcome != nil {
		if welcomeTo == "" {
			return hinted(`"mls group accept --welcome FILE" names it`, "no file for the Welcome")
		}
		if old, err := os.ReadFile(welcomeTo); err != nil || !bytes.Equal(old, welcome) {
			if err := a.output(welcomeTo, welcome); err != nil {
				return err
			}
		}
		fmt.Fprintf(a.stderr, "Welcome for the new members: %s\n", welcomeTo)
	}
	if err := g.merge(g.pending); err != nil {
		return err
	}
	if err := g.save(); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "accepted: epoch %d, authenticator %s\n", g.Epoch(), hex.EncodeToString(g.EpochAuthenticator()))
	return nil
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		if g.file.Pending == nil && g.file.Unconfirmed != nil {
			g.file.Unconfirmed = nil
			return g.save()
		}
		return a.accept(g, welcome)
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
		g, unlock, err := a.openGroup(f)
		if err != nil {
			return err
		}
		defer unlock()
		switch {
		case g.dropPending():
			fmt.Fprintf(a.stderr, "discarded; the group stays in epoch %d\n", g.Epoch())
			return g.save()
		case g.file.Unconfirmed != nil:
			fmt.Fprintf(a.stderr, "forgot group %s\n", label(g.ID()))
			return g.remove()
		}
		return errors.New("no commit of your own is pending")
	})
}
