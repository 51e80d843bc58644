package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

// storeFlags say how a store is opened.
type storeFlags struct {
	passphrase, key string
}

func (a *app) storeCommand() *cobra.Command {
	f := &storeFlags{}
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Verify the store of a client, or show what is in it",
		Long: `store looks into the file in which an application keeps its identities, key
packages and groups. It changes nothing. The application must have closed the
file: it is locked while it is open.`,
		Example: `  mls store check app.db --passphrase -
  mls store dump app.db --key app.key`,
	}
	cmd.PersistentFlags().StringVar(&f.passphrase, "passphrase", "", "`file` with the passphrase of an encrypted store, - for standard input; a newline at its end is not part of it")
	cmd.PersistentFlags().StringVar(&f.key, "key", "", "`file` with the raw key of an encrypted store, 32 bytes, - for standard input")
	cmd.AddCommand(a.storeCheckCommand(f), a.storeDumpCommand(f))
	needSubcommand(cmd)
	return cmd
}

func (a *app) storeCheckCommand(f *storeFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Verify a store",
		Long: `check reads the whole store: every record decrypts and can be read, every
group's state can be restored and its tree is the one of its group context, and
nothing is left that belongs to no group. What is wrong goes to standard output,
one line each.`,
		Example: `  mls store check app.db --passphrase -`,
		Args:    cobra.ExactArgs(1),
	}
	return verb(cmd, func(args []string) error {
		return a.withStore(cmd, f, args[0], func(ctx context.Context, file *sqlite.DB, s store.Store) error {
			if err := file.Check(ctx); err != nil {
				return err
			}
			problems, err := client.Check(ctx, s)
			if err != nil {
				return err
			}
			for _, p := range problems {
				fmt.Fprintln(a.stdout, p)
			}
			if len(problems) > 0 {
				return hinted("restore what can be restored elsewhere; groups are joined again by external commits", "%d problems", len(problems))
			}
			fmt.Fprintf(a.stderr, "%s: in order\n", args[0])
			return nil
		})
	})
}

func (a *app) storeDumpCommand(f *storeFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dump FILE",
		Short:   "Show what a store holds, without secrets",
		Long:    `dump prints one line for each record: its key and what it is. No key material is shown.`,
		Example: `  mls store dump app.db`,
		Args:    cobra.ExactArgs(1),
	}
	return verb(cmd, func(args []string) error {
		return a.withStore(cmd, f, args[0], func(ctx context.Context, _ *sqlite.DB, s store.Store) error {
			return client.Dump(ctx, s, a.stdout)
		})
	})
}

// withStore opens a store that exists, and closes it afterwards.
func (a *app) withStore(cmd *cobra.Command, f *storeFlags, path string, use func(context.Context, *sqlite.DB, store.Store) error) (err error) {
	if f.passphrase != "" && f.key != "" {
		return usagef(cmd, "--passphrase and --key exclude each other")
	}
	key, err := a.storeKey(f)
	if err != nil {
		return err
	}
	ctx := context.Background()
	file, err := sqlite.Open(ctx, path, &sqlite.Options{MustExist: true})
	if err != nil {
		return storeHint(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sealed, err := store.IsSealed(ctx, file)
	switch {
	case err != nil:
		return err
	case !sealed && key != nil:
		return hinted("leave --passphrase and --key out", "%s is not encrypted", path)
	case !sealed:
		return use(ctx, file, file)
	case key == nil:
		return storeHint(store.ErrSealed)
	}
	s, err := store.OpenSealed(ctx, file, *key, store.SealOptions{MustExist: true})
	if err != nil {
		return storeHint(err)
	}
	return use(ctx, file, s)
}

// storeKey reads the key that the flags name; nil for none.
func (a *app) storeKey(f *storeFlags) (*store.Key, error) {
	name := f.passphrase + f.key
	if name == "" {
		return nil, nil
	}
	secret, err := a.input(name)
	if err != nil {
		return nil, err
	}
	if f.key != "" {
		key := store.RawKey(mls.NewSecret(secret))
		return &key, nil
	}
	secret = bytes.TrimSuffix(bytes.TrimSuffix(secret, []byte("\n")), []byte("\r"))
	if len(secret) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	key := store.Passphrase(mls.NewSecret(secret), store.Argon2{})
	return &key, nil
}

// storeHint says what to do about an error of opening a store.
func storeHint(err error) error {
	for _, h := range []struct {
		is   error
		hint string
	}{
		{store.ErrLocked, "close the application that has it open"},
		{store.ErrSealed, "--passphrase or --key opens it"},
		{store.ErrNewer, "use a newer mls"},
		{store.ErrCorrupt, "an old copy must not be used for messages again; groups are joined again by external commits"},
	} {
		if errors.Is(err, h.is) {
			return &hintError{err, h.hint}
		}
	}
	return err
}
