package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// infoJSON is the machine-readable form of "mls group info".
type infoJSON struct {
	Group         string       `json:"group"`
	GroupID       string       `json:"group_id"` // hex
	Suite         string       `json:"suite"`
	Epoch         uint64       `json:"epoch"`
	Authenticator string       `json:"epoch_authenticator"` // hex
	Active        bool         `json:"active"`
	OwnLeaf       int          `json:"own_leaf"` // -1 when no longer a member
	Members       []memberJSON `json:"members"`
	Proposals     []string     `json:"proposals"`
	Pending       bool         `json:"pending_commit"`
	Unconfirmed   bool         `json:"unconfirmed_join"`
}

type memberJSON struct {
	Leaf mls.LeafIndex `json:"leaf"`
	Name string        `json:"name"`
	Key  string        `json:"key"` // fingerprint of the signature key
}

func (a *app) groupInfoCommand(f *groupFlags) *cobra.Command {
	var asJSON, drawTree bool
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show a group: members, epoch, proposals, what is pending",
		Example: `  mls group info
  mls group info --tree
  mls group info --json`,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&drawTree, "tree", false, "draw the ratchet tree, too")
	return verb(cmd, func([]string) error {
		return a.withGroup(f, func(ctx context.Context, g *held) error {
			return g.show(ctx, func(s shown) error {
				if asJSON {
					return a.printJSON(s.summary())
				}
				if err := s.describe(a.stdout); err != nil || !drawTree {
					return err
				}
				fmt.Fprintln(a.stdout)
				return s.Tree().Draw(a.stdout)
			})
		})
	})
}

// shown is a group as it is shown to a reader.
type shown struct {
	*group.Group
	info client.Info
}

// summary is what there is to know about a group.
func (g shown) summary() infoJSON {
	i := infoJSON{
		Group: label(g.ID()), GroupID: hex.EncodeToString(g.ID()), Suite: g.Suite().String(), Epoch: g.Epoch(),
		Active: g.Active(), OwnLeaf: -1, Members: []memberJSON{}, Proposals: []string{},
		Pending: g.info.Pending && !g.info.Joining, Unconfirmed: g.info.Joining,
	}
	if i.Active {
		i.OwnLeaf = int(g.OwnLeaf())
		i.Authenticator = hex.EncodeToString(g.EpochAuthenticator())
	}
	for leaf, node := range g.Members() {
		i.Members = append(i.Members, memberJSON{leaf, node.Credential.String(), fingerprint(g.Suite(), node.SignatureKey)})
	}
	for _, p := range g.Proposals() {
		i.Proposals = append(i.Proposals, g.proposalText(&p))
	}
	return i
}

// describe prints the group for a reader, in one write.
func (g shown) describe(to io.Writer) error {
	w := new(bytes.Buffer)
	i := g.summary()
	fmt.Fprintf(w, "group %s, %s\n", i.Group, i.Suite)
	fmt.Fprintf(w, "epoch %d, %s\n", i.Epoch, membersText(len(i.Members)))
	if r, ok := g.ReInit(); ok {
		fmt.Fprintf(w, "the group was shut down, to be continued as %s with %s: \"mls group continue\" makes that\n", label(r.GroupID), r.CipherSuite)
	} else if !i.Active {
		fmt.Fprintln(w, "you are no longer a member")
	} else {
		fmt.Fprintf(w, "authenticator %s\n", i.Authenticator)
	}
	for _, m := range i.Members {
		you := ""
		if int(m.Leaf) == i.OwnLeaf {
			you = "  (you)"
		}
		fmt.Fprintf(w, "  leaf %-4d %-20s key %s%s\n", m.Leaf, m.Name, m.Key, you)
	}
	for _, p := range i.Proposals {
		fmt.Fprintf(w, "  proposed: %s\n", p)
	}
	if i.Pending {
		fmt.Fprintln(w, "a commit of your own is pending")
	}
	if i.Unconfirmed {
		fmt.Fprintln(w, "joined by an external commit that is not confirmed yet")
	}
	_, err := to.Write(w.Bytes())
	return err
}

func membersText(n int) string {
	if n == 1 {
		return "1 member"
	}
	return fmt.Sprintf("%d members", n)
}

// aCommit is a commit as it is shown: one that was received, or our own.
type aCommit struct {
	sender  framing.Sender
	leaf    mls.LeafIndex
	epoch   uint64 // the one that it begins
	changes group.Changes
	removed bool // it removes us
}

func receivedCommit(s *group.Staged) aCommit {
	c := aCommit{epoch: s.Epoch(), changes: s.Changes(), removed: s.SelfRemoved()}
	c.sender, c.leaf = s.Committer()
	return c
}

func ownCommit(p *client.PendingCommit) aCommit {
	return aCommit{sender: framing.Member(p.Leaf), leaf: p.Leaf, epoch: p.Epoch, changes: p.Changes}
}

// describeCommit prints what a commit would change, in one write.
func (g shown) describeCommit(to io.Writer, s aCommit) error {
	w := new(bytes.Buffer)
	fmt.Fprintf(w, "commit by %s: epoch %d to %d\n", g.committerText(s), g.Epoch(), s.epoch)
	c := s.changes
	for _, x := range c.Added {
		fmt.Fprintf(w, "  adds     %s\n", g.leafText(x.Leaf, x.New))
	}
	for _, x := range c.Removed {
		you := ""
		if s.removed && x.Leaf == g.OwnLeaf() {
			you = "  (you)"
		}
		fmt.Fprintf(w, "  removes  %s%s\n", g.leafText(x.Leaf, x.Old), you)
	}
	for _, x := range c.Updated {
		fmt.Fprintf(w, "  updates  %s%s\n", g.leafText(x.Leaf, x.New), changedIdentity(x))
	}
	for _, p := range c.PSKs {
		fmt.Fprintf(w, "  injects  %s\n", pskText(&p))
	}
	if c.ExtensionsReplaced {
		fmt.Fprintf(w, "  replaces the group's extensions: %d before, %d after\n", len(c.OldExtensions), len(c.NewExtensions))
	}
	if r := c.ReInit; r != nil {
		fmt.Fprintf(w, "  shuts the group down, to be continued as %s with %s\n", label(r.GroupID), r.CipherSuite)
	}
	if !c.Path {
		fmt.Fprintln(w, "  renews no keys (no path)")
	}
	_, err := to.Write(w.Bytes())
	return err
}

// changedIdentity says what else than its encryption key a member changes.
func changedIdentity(c group.Change) string {
	switch {
	case c.Old == nil || c.New == nil:
		return ""
	case !c.Old.Credential.Equal(c.New.Credential):
		return fmt.Sprintf("  NEW NAME, was %s", c.Old.Credential)
	case string(c.Old.SignatureKey) != string(c.New.SignatureKey):
		return "  NEW SIGNATURE KEY"
	}
	return ""
}

func (g shown) committerText(s aCommit) string {
	if s.sender.Type == framing.SenderNewMemberCommit {
		return "a new member, from outside"
	}
	node, _ := g.Member(s.leaf)
	return g.leafText(s.leaf, node)
}

// leafText names a leaf for a reader.
func (g shown) leafText(leaf mls.LeafIndex, node *treekem.LeafNode) string {
	if node == nil {
		return fmt.Sprintf("leaf %d", leaf)
	}
	return fmt.Sprintf("%s (leaf %d, key %s)", node.Credential, leaf, fingerprint(g.Suite(), node.SignatureKey))
}

func (g shown) memberText(leaf mls.LeafIndex) string {
	node, _ := g.Member(leaf)
	if node == nil {
		return fmt.Sprintf("leaf %d", leaf)
	}
	return fmt.Sprintf("%s (leaf %d)", node.Credential, leaf)
}

// proposalText says who proposes what.
func (g shown) proposalText(p *group.PendingProposal) string {
	who := p.Sender.Type.String() + " sender"
	if p.Sender.Type == framing.SenderMember {
		who = g.memberText(p.Sender.Leaf)
	}
	return who + ": " + g.actionText(&p.Proposal)
}

func (g shown) actionText(p *framing.Proposal) string {
	switch p.Type {
	case mls.ProposalAdd:
		leaf := &p.Add.KeyPackage.LeafNode
		return fmt.Sprintf("add %s (key %s)", leaf.Credential, fingerprint(g.Suite(), leaf.SignatureKey))
	case mls.ProposalUpdate:
		return "update own keys"
	case mls.ProposalRemove:
		return "remove " + g.memberText(p.Remove.Removed)
	case mls.ProposalPSK:
		return "inject " + pskText(&p.PreSharedKey.PSK)
	case mls.ProposalReInit:
		return "shut the group down in favour of " + label(p.ReInit.GroupID)
	case mls.ProposalGroupContextExtensions:
		return fmt.Sprintf("replace the group's extensions by %d others", len(p.GroupContextExtensions.Extensions))
	}
	return p.Type.String()
}
