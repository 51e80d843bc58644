package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
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
		if _, err := os.Stat(filepath.Join(dir, "identity.cbor")); err != nil {
			return hinted(`"mls init" makes one; --group names it`, "no state in %s", dir)
		}
		h, err := readHome(dir)
		if err != nil {
			return err
		}
		data, err := a.input(args[0])
		if err != nil {
			return err
		}
		x := &explainer{home: h, name: name, data: unhex(data)}
		if tree != "" {
			if x.tree, err = a.input(tree); err != nil {
				return err
			}
		}
		e, err := x.explain()
		if err != nil {
			return err
		}
		if asJSON {
			enc := json.NewEncoder(a.stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(e)
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
func (x *explainer) explain() (*explanation, error) {
	m, err := framing.Parse(x.data)
	if err != nil {
		return newExplanation("a message", "", handshakeSteps(nil), err, ""), nil
	}
	switch {
	case m.Welcome != nil:
		return x.explainWelcome(m)
	case m.GroupInfo != nil:
		return x.explainGroupInfo(m)
	case m.KeyPackage != nil:
		return x.explainKeyPackage(m)
	}
	g, err := x.home.loadGroup(x.name)
	if err != nil {
		return nil, err
	}
	context := fmt.Sprintf("group %s, epoch %d, as leaf %d", label(g.ID()), g.Epoch(), g.OwnLeaf())
	what := messageText(m)
	if g.isPending(x.data) {
		return newExplanation(what, context, handshakeSteps(m), nil,
			`your own pending commit: "mls group process" counts it as accepted`), nil
	}
	received, err := g.Process(x.data)
	verdict, err := g.verdict(received, err)
	return newExplanation(what, context, handshakeSteps(m), err, verdict), nil
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
func (g *held) verdict(received group.Received, err error) (string, error) {
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
func (g *held) stagedText(s *group.Staged) string {
	var b bytes.Buffer
	g.describeStaged(&b, s)
	return "a valid commit, to be decided about:\n" + b.String()
}

// explainWelcome tries to join, and drops the group.
func (x *explainer) explainWelcome(m *framing.Message) (*explanation, error) {
	context := fmt.Sprintf("%s with the key packages in %s", x.home.Name, x.home.dir)
	for i := range m.Welcome.Secrets {
		kp, private, ours, err := x.home.keyPackage(m.Welcome.Secrets[i].NewMember)
		if err != nil {
			return nil, err
		}
		if !ours {
			continue
		}
		opt := group.JoinOptions{RatchetTree: x.tree, Known: x.home.holdsActive}
		g, err := group.Join(x.home.config(), m.Welcome, kp, private, opt)
		verdict := ""
		if err == nil {
			verdict = fmt.Sprintf("would join group %s in epoch %d as leaf %d of %d members",
				label(g.ID()), g.Epoch(), g.OwnLeaf(), g.Tree().Members())
		}
		return newExplanation(messageText(m), context, welcomeSteps(), err, verdict), nil
	}
	err := &stepError{"10", "the Welcome is for none of the key packages here"}
	return newExplanation(messageText(m), context, welcomeSteps(), err, ""), nil
}

// explainGroupInfo verifies a GroupInfo as somebody who joins by it would.
func (x *explainer) explainGroupInfo(m *framing.Message) (*explanation, error) {
	p, err := group.Observe(x.home.config(), m.GroupInfo, x.tree)
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
func (x *explainer) explainKeyPackage(m *framing.Message) (*explanation, error) {
	g, err := x.home.loadGroup(x.name)
	if err != nil {
		return nil, err
	}
	staged, err := g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(m.KeyPackage)}, References: [][]byte{}})
	verdict := ""
	if err == nil {
		added := staged.Changes().Added
		verdict = "can be added: " + g.leafText(added[0].Leaf, added[0].New)
	}
	context := fmt.Sprintf("adding it to group %s", label(g.ID()))
	return newExplanation(messageText(m), context, keyPackageSteps(), err, verdict), nil
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
