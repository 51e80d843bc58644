package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

// commitFlags are the flags of all commands that make a commit.
type commitFlags struct {
	out, welcome, tree string
	accept             bool
}

func (c *commitFlags) define(cmd *cobra.Command, adds bool) {
	outFlag(cmd, &c.out, "commit")
	cmd.Flags().BoolVar(&c.accept, "accept", false, "count the commit as accepted at once: nobody else can commit in this epoch")
	if adds {
		cmd.Flags().StringVarP(&c.welcome, "welcome", "w", "", "`file` for the Welcome of new members, written when the commit is accepted")
		cmd.Flags().StringVar(&c.tree, "tree", "", "`file` for the ratchet tree, which the Welcome then leaves out")
	}
}

// commitRequest is what a commit shall do, in the words of the command line.
type commitRequest struct {
	add, remove, psk []string
	omitPath         bool
	newKey           bool
}

func (a *app) groupCommitCommand(f *groupFlags) *cobra.Command {
	var c commitFlags
	var r commitRequest
	cmd := &cobra.Command{
		Use:   "commit",
		Short: "Commit the proposals of this epoch, and others at once",
		Long: `commit makes a commit (RFC 9420, Section 12.4) of all proposals processed in this
epoch that go together, and of those that the flags name. Unless --no-path is
given and allowed, it also renews your keys.

The commit is pending until it is seen to be accepted: see "mls group".`,
		Example: `  mls group commit -o shared/garden.4
  mls group commit --add shared/carol.kp --remove bob -o shared/garden.4 --welcome shared/carol.welcome`,
	}
	c.define(cmd, true)
	cmd.Flags().StringArrayVar(&r.add, "add", nil, "add the member of this key package `file` (repeatable)")
	cmd.Flags().StringArrayVar(&r.remove, "remove", nil, "remove this `member`, by name or leaf:N (repeatable)")
	cmd.Flags().StringArrayVar(&r.psk, "psk", nil, "inject the pre-shared key with this `ID` (repeatable)")
	cmd.Flags().BoolVar(&r.omitPath, "no-path", false, "leave the path out where that is allowed: smaller, but renews no keys")
	return verb(cmd, func([]string) error { return a.commit(f, &c, &r) })
}

func (a *app) groupAddCommand(f *groupFlags) *cobra.Command {
	var c commitFlags
	cmd := &cobra.Command{
		Use:   "add KEYPACKAGE...",
		Short: "Commit the addition of members",
		Long: `add makes a commit that adds the members whose key packages are given, and commits
the proposals of this epoch along. Their Welcome, one file for all of them, is
written when the commit is accepted: it must not be read before.`,
		Example: `  mls group add shared/bob.kp -o shared/garden.0 --welcome shared/bob.welcome
  mls group process shared/garden.0`,
		Args: cobra.MinimumNArgs(1),
	}
	c.define(cmd, true)
	return verb(cmd, func(args []string) error { return a.commit(f, &c, &commitRequest{add: args}) })
}

func (a *app) groupRemoveCommand(f *groupFlags) *cobra.Command {
	var c commitFlags
	cmd := &cobra.Command{
		Use:   "remove MEMBER...",
		Short: "Commit the removal of members",
		Long: `remove makes a commit that removes members, named as "mls group info" shows them
or as leaf:N, and commits the proposals of this epoch along. What is sent after
it they can't read.`,
		Example: `  mls group remove bob -o shared/garden.5
  mls group remove leaf:3 -o shared/garden.5`,
		Args: cobra.MinimumNArgs(1),
	}
	c.define(cmd, false)
	return verb(cmd, func(args []string) error { return a.commit(f, &c, &commitRequest{remove: args}) })
}

func (a *app) groupUpdateCommand(f *groupFlags) *cobra.Command {
	var c commitFlags
	var r commitRequest
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Commit fresh keys of your own",
		Long: `update makes a commit that renews your keys, so that whoever stole the old ones
is shut out again, and commits the proposals of this epoch along.`,
		Example: `  mls group update -o shared/garden.6
  mls group update --new-key -o shared/garden.6`,
	}
	c.define(cmd, false)
	cmd.Flags().BoolVar(&r.newKey, "new-key", false, "replace the signature key too; others will be asked whether it is yours")
	return verb(cmd, func([]string) error { return a.commit(f, &c, &r) })
}

// commit makes a commit, which is then pending, and hands it out.
func (a *app) commit(f *groupFlags, c *commitFlags, r *commitRequest) error {
	return a.makeCommit(f, c, func(ctx context.Context, g *held) (group.CommitOptions, error) {
		return a.commitOptions(ctx, g, r)
	})
}

// makeCommit makes a commit of what options says.
func (a *app) makeCommit(f *groupFlags, c *commitFlags, options func(context.Context, *held) (group.CommitOptions, error)) error {
	for _, name := range []string{c.out, c.welcome, c.tree} {
		if name != "" {
			if err := a.checkOutput(name); err != nil {
				return err
			}
		}
	}
	if err := checkDistinct(c.out, c.welcome, c.tree); err != nil {
		return err
	}
	var note func(store.Writer, *client.Outgoing) error
	home := homeOptions{saveOutgoing: func(tx store.Writer, o *client.Outgoing) error { return note(tx, o) }}
	return a.withGroupOptions(f, home, func(ctx context.Context, g *held) (err error) {
		if err := g.noPending(); err != nil {
			return err
		}
		if note, err = g.noteWelcome(ctx, c.welcome); err != nil {
			return err
		}
		opt, err := options(ctx, g)
		if err != nil {
			return err
		}
		opt.TreeApart = c.tree != ""
		made, err := g.Commit(ctx, opt)
		if err != nil {
			return err
		}
		return a.handOut(ctx, g, c, made)
	})
}

// handOut writes the commit that was just made. If nobody can have seen it, because that fails, it is dropped.
func (a *app) handOut(ctx context.Context, g *held, c *commitFlags, made *client.Outgoing) error {
	p, err := g.PendingCommit(ctx)
	if err != nil {
		return err
	}
	if len(p.Changes.Added) > 0 && c.welcome == "" {
		err := &usageError{errors.New("the commit adds members: --welcome names the file for their Welcome"), "mls group commit"}
		return errors.Join(err, g.Discard(ctx))
	}
	if err := a.output(c.out, p.Message); err != nil {
		return g.notHandedOut(ctx, made, err)
	}
	if c.tree != "" {
		if err := a.handOutTree(ctx, g, c.tree); err != nil {
			return &hintError{err, `the commit is out, and stays pending: once it is accepted, "mls group export tree -o FILE" writes the tree`}
		}
	}
	err = g.show(ctx, func(s shown) error {
		_ = s.describeCommit(a.stderr, ownCommit(p)) // the commit is out
		return nil
	})
	if err != nil {
		return err
	}
	if c.accept {
		return a.accept(ctx, g, c.welcome)
	}
	fmt.Fprintf(a.stderr, "pending: process the commit once it is accepted, or say \"mls group accept\"\n")
	return nil
}

// handOutTree writes the tree to which the pending commit leads.
func (a *app) handOutTree(ctx context.Context, g *held, file string) error {
	tree, err := g.PendingTree(ctx)
	if err != nil {
		return err
	}
	return a.output(file, tree)
}

// notHandedOut deals with a commit, which is pending, whose output failed with err.
func (g *held) notHandedOut(ctx context.Context, made *client.Outgoing, err error) error {
	if isUnpublished(err) {
		return errors.Join(err, g.Discard(ctx))
	}
	return &hintError{err, fmt.Sprintf(`others may have the commit, so it stays pending: "mls group outbox %d -o FILE" writes it again; "mls group discard" if nobody has taken it`, made.ID)}
}

// commitOptions turns the request into the library's terms.
func (a *app) commitOptions(ctx context.Context, g *held, r *commitRequest) (group.CommitOptions, error) {
	opt := group.CommitOptions{OmitPath: r.omitPath}
	for _, name := range r.add {
		kp, err := a.readKeyPackage(name)
		if err != nil {
			return opt, err
		}
		opt.Proposals = append(opt.Proposals, group.AddProposal(kp))
	}
	for _, who := range r.remove {
		leaf, err := g.findMember(ctx, who)
		if err != nil {
			return opt, err
		}
		if leaf == g.info.OwnLeaf {
			return opt, hinted("another member can remove you", "a member cannot remove itself by its own commit")
		}
		opt.Proposals = append(opt.Proposals, group.RemoveProposal(leaf))
	}
	for _, id := range r.psk {
		p, err := g.pskProposal(id)
		if err != nil {
			return opt, err
		}
		opt.Proposals = append(opt.Proposals, p)
	}
	if r.newKey {
		id, err := g.newKey(ctx)
		if err != nil {
			return opt, err
		}
		opt.Identity = &id
	}
	return opt, nil
}

// newKey makes a fresh signature key for the group.
func (g *held) newKey(ctx context.Context) (group.Identity, error) {
	suite, err := mls.LookupSuite(g.info.Suite)
	if err != nil {
		return group.Identity{}, err
	}
	id, err := g.home.newIdentity(ctx, suite)
	if err != nil {
		return group.Identity{}, err
	}
	identity, _, err := g.home.Identity(id)
	return identity, err
}

// pskProposal injects a pre-shared key.
func (g *held) pskProposal(id string) (framing.Proposal, error) {
	suite, err := mls.LookupSuite(g.info.Suite)
	if err != nil {
		return framing.Proposal{}, err
	}
	return group.PSKProposal(suite, []byte(id)), nil
}

func (a *app) groupProposeCommand(f *groupFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Propose a change for another member to commit",
		Long: `propose makes a proposal (RFC 9420, Section 12.1). It takes effect when a member
commits it. Until then nothing else can be sent in the group.`,
		Example: `  mls group propose remove bob -o shared/garden.4.p1
  mls group propose update -o shared/garden.4.p2`,
	}
	propose := func(use, short, example string, args cobra.PositionalArgs, make func(context.Context, *held, []string) (framing.Proposal, error)) {
		var out string
		sub := &cobra.Command{Use: use, Short: short, Example: example, Args: args}
		outFlag(sub, &out, "proposal")
		cmd.AddCommand(verb(sub, func(args []string) error {
			return a.propose(f, out, func(ctx context.Context, g *held) (*client.Outgoing, error) {
				p, err := make(ctx, g, args)
				if err != nil {
					return nil, err
				}
				if p.Type == mls.ProposalUpdate {
					return g.ProposeUpdate(ctx, nil)
				}
				return g.Propose(ctx, p, nil)
			})
		}))
	}
	propose("add KEYPACKAGE", "Propose to add a member", "  mls group propose add shared/bob.kp -o shared/p1", cobra.ExactArgs(1),
		func(_ context.Context, _ *held, args []string) (framing.Proposal, error) {
			kp, err := a.readKeyPackage(args[0])
			if err != nil {
				return framing.Proposal{}, err
			}
			return group.AddProposal(kp), nil
		})
	propose("remove MEMBER", "Propose to remove a member, which may be yourself", "  mls group propose remove bob -o shared/p1", cobra.ExactArgs(1),
		func(ctx context.Context, g *held, args []string) (framing.Proposal, error) {
			leaf, err := g.findMember(ctx, args[0])
			return group.RemoveProposal(leaf), err
		})
	propose("update", "Propose fresh keys of your own", "  mls group propose update -o shared/p1", cobra.NoArgs,
		func(context.Context, *held, []string) (framing.Proposal, error) {
			return framing.Proposal{Type: mls.ProposalUpdate}, nil
		})
	propose("psk ID", "Propose to inject a pre-shared key", "  mls group propose psk dinner -o shared/p1", cobra.ExactArgs(1),
		func(_ context.Context, g *held, args []string) (framing.Proposal, error) {
			return g.pskProposal(args[0])
		})
	needSubcommand(cmd)
	return cmd
}

// propose makes a proposal and hands it out.
func (a *app) propose(f *groupFlags, out string, make func(context.Context, *held) (*client.Outgoing, error)) error {
	if err := a.checkOutput(out); err != nil {
		return err
	}
	return a.withJoined(f, func(ctx context.Context, g *held) error {
		made, err := make(ctx, g)
		if err != nil {
			return err
		}
		if err := a.output(out, made.Message); err != nil {
			return &hintError{err, fmt.Sprintf(`the proposal is kept: "mls group outbox %d -o FILE" writes it`, made.ID)}
		}
		if err := g.home.Sent(ctx, made.ID); err != nil {
			return err
		}
		return g.show(ctx, func(s shown) error {
			all := s.Proposals()
			fmt.Fprintf(a.stderr, "proposed in epoch %d: %s\n", s.Epoch(), s.proposalText(&all[len(all)-1]))
			return nil
		})
	})
}
