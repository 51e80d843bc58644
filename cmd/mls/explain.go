package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

func (a *app) explainCommand() *cobra.Command {
	var dir, name, tree string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Say what a group's state makes of a message, and which rule refuses it",
		Long: `explain takes a message through the sections of RFC 9420 that a member applies to
it, in their order, up to the rule that refuses it, and says what would change if
nothing does. It changes nothing: no key is used up, no proposal is kept.

The exit code is 0 when there is an explanation, whatever it says.`,
		Example: `  mls explain shared/garden.4 --group .mls
  mls explain shared/m1 --group bob --name garden --json`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&dir, "group", "", "state `directory` of a member (default that of --dir)")
	cmd.Flags().StringVar(&name, "name", "", "which `group`, if the directory holds several")
	cmd.Flags().StringVar(&tree, "tree", "", "`file` with the ratchet tree, for a Welcome or GroupInfo without one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return verb(cmd, func(args []string) error {
		if dir == "" {
			dir = a.dir
		}
		data, err := a.input(args[0])
		if err != nil {
			return err
		}
		x := &explainer{name: name, data: unhex(data)}
		if tree != "" {
			if x.tree, err = a.input(tree); err != nil {
				return err
			}
		}
		var e *explanation
		err = a.withHome(dir, homeOptions{}, func(ctx context.Context, h *home) error {
			x.home = h
			e, err = x.explain(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(e)
		}
		return e.writeText(a.stdout)
	})
}

// explainer explains one message against a state that it has read, and never writes.
type explainer struct {
	home *home
	name string // of the group
	data []byte
	tree []byte
}

// explain runs the message through a copy of the state and lays the outcome out in steps.
func (x *explainer) explain(ctx context.Context) (*explanation, error) {
	m, err := framing.Parse(x.data)
	if err != nil {
		return newExplanation("a message", "", handshakeSteps(nil), err, ""), nil
	}
	switch {
	case m.Welcome != nil:
		return x.explainWelcome(ctx, m)
	case m.GroupInfo != nil:
		return x.explainGroupInfo(m)
	case m.KeyPackage != nil:
		return x.explainKeyPackage(ctx, m)
	}
	g, err := x.home.group(ctx, x.name)
	if err != nil {
		return nil, err
	}
	pending, err := g.isPending(ctx, x.data)
	if err != nil {
		return nil, err
	}
	var e *explanation
	err = g.Try(ctx, func(trial *group.Group) error {
		s := shown{trial, g.info}
		context := fmt.Sprintf("group %s, epoch %d, as leaf %d", label(s.ID()), s.Epoch(), s.OwnLeaf())
		if pending {
			e = newExplanation(messageText(m), context, handshakeSteps(m), nil,
				`your own pending commit: "mls group process" counts it as accepted`)
			return nil
		}
		verdict, err := s.verdict(trial.Process(x.data))
		e = newExplanation(messageText(m), context, handshakeSteps(m), err, verdict)
		return nil
	})
	return e, err
}

// messageText names a message in a line.
func messageText(m *framing.Message) string {
	switch {
	case m.Public != nil:
		return fmt.Sprintf("%s: %s of epoch %d from %s", m.WireFormat, m.Public.Content.ContentType,
			m.Public.Content.Epoch, senderText(m.Public.Content.Sender))
	case m.Private != nil:
		return fmt.Sprintf("%s: %s of epoch %d", m.WireFormat, m.Private.ContentType, m.Private.Epoch)
	}
	return m.WireFormat.String()
}

// verdict says what processing a message would do. What is no error but no success either becomes one.
func (g shown) verdict(received group.Received, err error) (string, error) {
	if err != nil {
		return "", err
	}
	switch r := received.(type) {
	case *group.ReceivedProposal:
		return "a valid proposal, to be kept: " + g.proposalText(&r.PendingProposal), nil
	case *group.Staged:
		return g.stagedText(r), nil
	case *group.Removal:
		return g.stagedText(r.Staged), nil
	case *group.Application:
		return fmt.Sprintf("an application message of %d bytes from %s", len(r.Data), g.memberText(r.Sender)), nil
	case *group.OwnMessage:
		return fmt.Sprintf("your own %s, come back: nothing to do", r.ContentType), nil
	case *group.FutureEpoch:
		return "", &mls.EpochError{Got: r.Got, Want: r.Want}
	case *group.StaleEpoch:
		return "", &mls.EpochError{Got: r.Got, Want: r.Want}
	case *group.Duplicate:
		return "", mls.ErrKeyConsumed
	}
	return "", fmt.Errorf("nothing known about %T", received)
}

// stagedText is the description of a commit.
func (g shown) stagedText(s *group.Staged) string {
	var b bytes.Buffer
	g.describeCommit(&b, receivedCommit(s))
	return "a valid commit, to be decided about:\n" + b.String()
}

// explainWelcome tries to join, and drops the group.
func (x *explainer) explainWelcome(ctx context.Context, m *framing.Message) (*explanation, error) {
	context := fmt.Sprintf("%s with the key packages in %s", x.home.name, x.home.dir)
	verdict := ""
	err := x.home.TryJoin(ctx, x.data, client.JoinOptions{RatchetTree: x.tree}, func(g *group.Group) error {
		verdict = fmt.Sprintf("would join group %s in epoch %d as leaf %d of %d members",
			label(g.ID()), g.Epoch(), g.OwnLeaf(), g.Tree().Members())
		return nil
	})
	switch {
	case errors.Is(err, client.ErrNoKeyPackage):
		err = &stepError{"10", "the Welcome is for none of the key packages here"}
	case errors.Is(err, client.ErrGroupExists):
		err = mls.Invalid("12.4.3", "group-id", "we are in a group of that identifier already")
	}
	return newExplanation(messageText(m), context, welcomeSteps(), err, verdict), nil
}

// explainGroupInfo verifies a GroupInfo as somebody who joins by it would.
func (x *explainer) explainGroupInfo(m *framing.Message) (*explanation, error) {
	p, err := group.Observe(groupConfig(homeOptions{}), m.GroupInfo, x.tree)
	verdict := ""
	if err == nil {
		_, external := mls.FindExtension(m.GroupInfo.Extensions, mls.ExtensionExternalPub)
		if !external {
			err = &stepError{"12.4.3.2", "the GroupInfo brings no key for external joiners"}
		} else {
			verdict = fmt.Sprintf("could join group %s, %d members, after epoch %d by an external commit", label(p.ID()), p.Tree().Members(), p.Epoch())
		}
	}
	return newExplanation(messageText(m), "joining from outside", groupInfoSteps(), err, verdict), nil
}

// explainKeyPackage commits the addition to a copy of the group, and drops it.
func (x *explainer) explainKeyPackage(ctx context.Context, m *framing.Message) (*explanation, error) {
	g, err := x.home.group(ctx, x.name)
	if err != nil {
		return nil, err
	}
	var e *explanation
	err = g.Try(ctx, func(trial *group.Group) error {
		staged, err := trial.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(m.KeyPackage)}, References: [][]byte{}})
		verdict := ""
		if err == nil {
			added := staged.Changes().Added
			verdict = "can be added: " + shown{trial, g.info}.leafText(added[0].Leaf, added[0].New)
		}
		context := fmt.Sprintf("adding it to group %s", label(g.ID()))
		e = newExplanation(messageText(m), context, keyPackageSteps(), err, verdict)
		return nil
	})
	return e, err
}

// retryText says whether trying again later can help.
func retryText(err error) string {
	switch {
	case err == nil:
		return ""
	case mls.Retryable(err):
		return "later it may be accepted: " + hintFor(err)
	case errors.Is(err, mls.ErrAuth):
		return "trying again will not help"
	}
	return hintForExplained(err)
}

// hintForExplained is hintFor without the hint to explain.
func hintForExplained(err error) string {
	if errors.Is(err, mls.ErrInvalid) {
		return "trying again will not help: whoever made it broke a rule"
	}
	return hintFor(err)
}
