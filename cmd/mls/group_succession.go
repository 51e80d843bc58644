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
	"github.com/treekem/mls/treekem"
)

func (a *app) groupReinitCommand(f *groupFlags) *cobra.Command {
	var c commitFlags
	var suiteName string
	cmd := &cobra.Command{
		Use:   "reinit ID",
		Short: "Commit the end of a group, to be continued under another identifier or cipher suite",
		Long: `reinit makes a commit that shuts the group down in favour of one called ID (RFC
9420, Section 11.2). Once it is accepted nothing can be sent in the group any
more. Each member then makes a key package (of the new cipher suite, if that
changes), and one of them says "mls group continue" with those of all others.`,
		Example: `  mls group reinit garden2 --suite MLKEM768X25519_AES256GCM_SHA384_Ed25519 -o shared/garden.7
  mls keypackage --suite MLKEM768X25519_AES256GCM_SHA384_Ed25519 -o shared/bob2.kp`,
		Args: cobra.ExactArgs(1),
	}
	c.define(cmd, false)
	cmd.Flags().StringVar(&suiteName, "suite", "", "cipher `suite` of the group to come, by number or name; the same if not given")
	return verb(cmd, func(args []string) error {
		if err := checkGroupID(cmd, args[0]); err != nil {
			return err
		}
		suite, err := givenSuite(cmd, suiteName)
		if err != nil {
			return err
		}
		return a.makeCommit(f, &c, func(_ context.Context, g *held) (group.CommitOptions, error) {
			if string(g.ID()) == args[0] {
				return group.CommitOptions{}, errors.New("the group to come needs another identifier")
			}
			id := g.info.Suite
			if suite != nil {
				id = suite.ID()
			}
			// Nothing else may be in the commit (RFC 9420, Section 12.2).
			return group.CommitOptions{
				Proposals: []framing.Proposal{group.ReInitProposal([]byte(args[0]), id, nil)}, References: [][]byte{},
			}, nil
		})
	})
}

func (a *app) groupContinueCommand(f *groupFlags) *cobra.Command {
	var welcome string
	cmd := &cobra.Command{
		Use:   "continue KEYPACKAGE...",
		Short: "Make the group in favour of which this one was shut down",
		Long: `continue makes the group that "mls group reinit" asked for, with the same members:
the key packages are fresh ones of all others. They join it by the Welcome. One
member does this; the old group stays readable.`,
		Example: `  mls group continue shared/bob2.kp shared/carol2.kp --welcome shared/garden2.welcome`,
	}
	cmd.Args = cobra.ArbitraryArgs
	welcomeFlag(cmd, &welcome)
	return verb(cmd, func(args []string) error {
		return a.succeed(cmd, f, args, welcome, func(ctx context.Context, g *held, kps []*treekem.KeyPackage) (*client.Group, *client.Outgoing, error) {
			suite := g.info.Suite
			err := g.View(ctx, func(g *group.Group) error {
				if r, ok := g.ReInit(); ok {
					suite = r.CipherSuite
				}
				return nil
			})
			opt := client.SuccessionOptions{KeyPackages: kps}
			if err == nil && suite != g.info.Suite {
				opt.Identity, err = g.home.identityFor(ctx, suite)
			}
			if err != nil {
				return nil, nil, err
			}
			return g.Reinitialize(ctx, opt)
		})
	})
}

func (a *app) groupBranchCommand(f *groupFlags) *cobra.Command {
	var welcome string
	cmd := &cobra.Command{
		Use:   "branch ID KEYPACKAGE...",
		Short: "Make a subgroup of some members",
		Long: `branch makes another group, called ID, with members of this one (RFC 9420, Section
11.3): the key packages are fresh ones of theirs. They join it by the Welcome, and
can tell that it was made by a member of the group. That goes on as before.`,
		Example: `  mls group branch shed shared/carol2.kp --welcome shared/shed.welcome`,
		Args:    cobra.MinimumNArgs(2),
	}
	welcomeFlag(cmd, &welcome)
	return verb(cmd, func(args []string) error {
		if err := checkGroupID(cmd, args[0]); err != nil {
			return err
		}
		return a.succeed(cmd, f, args[1:], welcome, func(ctx context.Context, g *held, kps []*treekem.KeyPackage) (*client.Group, *client.Outgoing, error) {
			return g.Branch(ctx, client.SuccessionOptions{GroupID: []byte(args[0]), KeyPackages: kps})
		})
	})
}

func welcomeFlag(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVarP(value, "welcome", "w", "", "`file` for the Welcome of the other members")
}

// successionHint adds what to do where a group to come breaks a rule: there is no message yet to explain.
func successionHint(err error) error {
	rule := (*mls.RuleError)(nil)
	if !errors.As(err, &rule) {
		return err
	}
	switch rule.Section + "/" + rule.Rule {
	case "11.2/no-reinit":
		return &hintError{err, `"mls group reinit" shuts a group down, so that it can be continued; "mls group branch" leaves it as it is`}
	case "11.2/members":
		return &hintError{err, `fresh key packages of all other members are needed: "mls group info" lists them`}
	case "10.1/cipher-suite":
		return &hintError{err, `"mls keypackage --suite" makes one for another cipher suite`}
	}
	return err
}

// succeed makes a group that continues another, and writes its Welcome.
func (a *app) succeed(cmd *cobra.Command, f *groupFlags, names []string, welcome string,
	make func(context.Context, *held, []*treekem.KeyPackage) (*client.Group, *client.Outgoing, error)) error {
	if welcome == "" && len(names) > 0 {
		return usagef(cmd, "--welcome is required: the file for the Welcome of the other members")
	}
	if welcome != "" {
		if err := a.checkOutput(welcome); err != nil {
			return err
		}
	}
	var kps []*treekem.KeyPackage
	for _, name := range names {
		kp, err := a.readKeyPackage(name)
		if err != nil {
			return err
		}
		kps = append(kps, kp)
	}
	return a.withJoined(f, func(ctx context.Context, g *held) error {
		made, out, err := make(ctx, g, kps)
		if errors.Is(err, client.ErrGroupExists) {
			return hinted(`"mls group info" shows it`, "there is a group of that identifier in %s already", g.home.dir)
		}
		if err != nil {
			return successionHint(err)
		}
		next, err := g.home.hold(ctx, made.ID())
		if err != nil {
			return err
		}
		if out != nil {
			if err := a.writeWelcome(ctx, next, *out, welcome); err != nil {
				return &hintError{err, fmt.Sprintf(`the group is made, and its Welcome is kept: "mls group outbox %d --name %s -o FILE" writes it`, out.ID, label(made.ID()))}
			}
		}
		fmt.Fprintf(a.stderr, "created group %s: epoch %d, %s\n", label(made.ID()), next.info.Epoch, membersText(next.info.Members))
		return nil
	})
}
