package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
)

func (a *app) pskCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "psk ID",
		Short: "Import a pre-shared key, to be injected into a group",
		Long: `psk stores a secret that members agreed on elsewhere, under an identifier that
all of them use (RFC 9420, Section 8.4). "mls group propose psk ID" or
"mls group commit --psk ID" then brings it into a group.`,
		Example: `  mls psk dinner --secret dinner.key
  head -c 32 /dev/urandom | mls psk dinner --secret -`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&file, "secret", "", "`file` with the secret's bytes, - for standard input (required)")
	return verb(cmd, func(args []string) error {
		if file == "" {
			return usagef(cmd, "--secret is required: a file with the secret's bytes")
		}
		secret, err := a.input(file)
		if err != nil {
			return err
		}
		defer clear(secret)
		if len(secret) == 0 {
			return errors.New("the secret is empty")
		}
		return a.withHome(a.dir, homeOptions{}, func(ctx context.Context, h *home) error {
			if err := h.AddPSK(ctx, []byte(args[0]), mls.NewSecret(secret)); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "pre-shared key %q: %d bytes\n", args[0], len(secret))
			return nil
		})
	})
}
