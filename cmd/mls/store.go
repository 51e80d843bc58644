package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

// storeFlags say how a store is opened.
type storeFlags struct {
	key string
}

func (a *app) storeCommand() *cobra.Command {
	f := &storeFlags{}
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Verify the store of a client, or show what is in it",
		Long: `store looks into the file in which an application keeps its identities, key
packages and groups, or into that of the state directory. It changes nothing, but
that a log which a crash has left beside the file is emptied into it. The
application must have closed the file: it is locked while it is open.`,
		Example: `  mls store check
  mls store check app.db --passphrase-file app.passphrase
  mls store dump app.db --key app.key`,
	}
	cmd.PersistentFlags().StringVar(&f.key, "key", "", "`file` with the raw key of an encrypted store, 32 bytes, - for standard input")
	cmd.AddCommand(a.storeCheckCommand(f), a.storeDumpCommand(f))
	needSubcommand(cmd)
	return cmd
}

func (a *app) storeCheckCommand(f *storeFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Verify a store",
		Long: `check reads the whole store: every record decrypts and can be read, every
group's state can be restored and its tree is the one of its group context, and
nothing is left that belongs to no group. What is wrong goes to standard output,
one line each.`,
		Example: `  mls store check
  mls store check app.db --passphrase-file -`,
		Args: cobra.MaximumNArgs(1),
	}
	return verb(cmd, func(args []string) error {
		return a.withStore(cmd, f, args, func(ctx context.Context, file *sqlite.DB, s store.Store) error {
			damage := file.Check(ctx)
			problems, err := client.Check(ctx, s)
			for _, p := range append(damageLines(damage, err != nil), problems...) {
				fmt.Fprintln(a.stdout, p)
			}
			if err != nil {
				return storeHint(a.storePath(args), err)
			}
			if damage != nil || len(problems) > 0 {
				return hinted(damagedHint, "%s is not in order", a.storePath(args))
			}
			fmt.Fprintf(a.stderr, "%s: in order\n", a.storePath(args))
			return nil
		})
	})
}

// damageLines lists what a check of the file has found. Damaged rows the check of the client names too, unless it
// failed: with what they are needed for.
func damageLines(damage error, rows bool) (lines []string) {
	list := []error{damage}
	if joined, ok := damage.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if row := (*sqlite.RowError)(nil); err != nil && (rows || !errors.As(err, &row)) {
			lines = append(lines, err.Error())
		}
	}
	return lines
}

func (a *app) storeDumpCommand(f *storeFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump [FILE]",
		Short: "Show what a store holds, without secrets",
		Long:  `dump prints one line for each record: its key and what it is. No key material is shown.`,
		Example: `  mls store dump
  mls store dump app.db`,
		Args: cobra.MaximumNArgs(1),
	}
	return verb(cmd, func(args []string) error {
		return a.withStore(cmd, f, args, func(ctx context.Context, _ *sqlite.DB, s store.Store) error {
			return client.Dump(ctx, s, a.stdout)
		})
	})
}

// withStore opens a store that exists, and closes it afterwards.
func (a *app) withStore(cmd *cobra.Command, f *storeFlags, args []string, use func(context.Context, *sqlite.DB, store.Store) error) (err error) {
	if a.passphraseFile != "" && f.key != "" {
		return usagef(cmd, "--passphrase-file and --key exclude each other")
	}
	key, err := a.storeKey(f)
	if err != nil {
		return err
	}
	ctx := context.Background()
	file, s, err := openStore(ctx, a.storePath(args), key, sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return use(ctx, file, s)
}

// storePath is the store that the arguments name, or that of the state directory.
func (a *app) storePath(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return filepath.Join(a.dir, storeName)
}

// storeKey reads the key that the flags name; nil for none.
func (a *app) storeKey(f *storeFlags) (*store.Key, error) {
	if f.key == "" {
		return a.passphrase()
	}
	secret, err := a.input(f.key)
	if err != nil {
		return nil, err
	}
	key := store.RawKey(mls.NewSecret(secret))
	return &key, nil
}
