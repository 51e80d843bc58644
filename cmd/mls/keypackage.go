package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/treekem"
)

func (a *app) keyPackageCommand() *cobra.Command {
	var out, suiteName string
	var days int
	var lastResort bool
	cmd := &cobra.Command{
		Use:   "keypackage",
		Short: "Make a key package, by which others can add you to a group",
		Long: `keypackage makes a key package (RFC 9420, Section 10) and writes it as an
MLSMessage. Its private keys stay in the state directory. One key package serves
for one group; make another for the next.`,
		Example: `  mls keypackage -o shared/bob.kp
  mls keypackage > bob.kp`,
	}
	outFlag(cmd, &out, "key package")
	cmd.Flags().IntVar(&days, "days", 90, "for how many `days` it can be used")
	cmd.Flags().StringVar(&suiteName, "suite", "", "cipher `suite`, by number or name, for a group that has another one than you were made with")
	cmd.Flags().BoolVar(&lastResort, "last-resort", false, "mark it as one that may be used more than once")
	return verb(cmd, func([]string) error {
		if days < 1 || days > 365 {
			return usagef(cmd, "--days must be from 1 to 365")
		}
		if err := a.checkOutput(out); err != nil {
			return err
		}
		suite, err := givenSuite(cmd, suiteName)
		if err != nil {
			return err
		}
		return a.withHome(a.dir, homeOptions{}, func(ctx context.Context, h *home) error {
			if suite == nil {
				suite = h.suite
			}
			id, err := h.identityFor(ctx, suite.ID())
			if err != nil {
				return err
			}
			made, err := h.NewKeyPackages(ctx, id, client.KeyPackageOptions{
				Lifetime: time.Duration(days) * 24 * time.Hour, LastResort: lastResort,
			})
			if err != nil {
				return err
			}
			if err := a.output(out, made[0]); err != nil {
				return err
			}
			identity, _, err := h.Identity(id)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "key package of %s, key %s, for %d days\n", h.name, fingerprint(suite, identity.Signer.Public()), days)
			return nil
		})
	})
}

// outFlag defines -o.
func outFlag(cmd *cobra.Command, value *string, what string) {
	cmd.Flags().StringVarP(value, "out", "o", "-", "`file` for the "+what+"; it must not exist yet. - is standard output")
}

// readKeyPackage reads a key package from a file, as an MLSMessage or bare.
func (a *app) readKeyPackage(name string) (*treekem.KeyPackage, error) {
	data, err := a.input(name)
	if err != nil {
		return nil, err
	}
	if m, err := framing.Parse(data); err == nil {
		if m.KeyPackage == nil {
			return nil, hinted(`"mls inspect" shows what it is`, "%s is not a key package but %s", name, m.WireFormat)
		}
		return m.KeyPackage, nil
	}
	kp, err := treekem.ParseKeyPackage(data)
	if err != nil {
		return nil, fmt.Errorf("%s is not a key package: %w", name, err)
	}
	return kp, nil
}
