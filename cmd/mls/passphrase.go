package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/treekem/mls"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

// passphraseEnv holds the passphrase of an encrypted store, where --passphrase-file does not say it. On the
// command line itself it would be seen by everybody who lists processes.
const passphraseEnv = "MLS_PASSPHRASE"

// passphrase is the key of an encrypted store, nil for none. One that is empty is a mistake, not none.
func (a *app) passphrase() (*store.Key, error) {
	text, set := os.LookupEnv(passphraseEnv)
	secret := []byte(text)
	if a.passphraseFile != "" {
		var err error
		if secret, err = a.input(a.passphraseFile); err != nil {
			return nil, err
		}
		secret = bytes.TrimSuffix(bytes.TrimSuffix(secret, []byte("\n")), []byte("\r"))
		if len(secret) == 0 {
			return nil, errors.New("the passphrase is empty")
		}
	} else if set && text == "" {
		return nil, hinted("unset it to work without encryption", "the passphrase in $%s is empty", passphraseEnv)
	}
	if len(secret) == 0 {
		return nil, nil
	}
	key := store.Passphrase(mls.NewSecret(secret), store.Argon2{})
	return &key, nil
}

// openStore opens a store that exists, with its key if it is encrypted: the file, and what is in it.
// Closing the latter closes both.
func openStore(ctx context.Context, path string, key *store.Key, opt sqlite.Options) (*sqlite.DB, store.Store, error) {
	file, err := sqlite.Open(ctx, path, &opt)
	if err != nil {
		return nil, nil, storeHint(path, err)
	}
	s, err := unseal(ctx, file, key)
	if err != nil {
		return nil, nil, errors.Join(storeHint(path, err), file.Close())
	}
	return file, s, nil
}

// unseal decrypts a store that is encrypted, and refuses a key for one that is not.
func unseal(ctx context.Context, file *sqlite.DB, key *store.Key) (store.Store, error) {
	sealed, err := store.IsSealed(ctx, file)
	switch {
	case err != nil:
		return nil, err
	case !sealed && key != nil:
		return nil, hinted("leave the passphrase or key out, also in $"+passphraseEnv, "it is not encrypted")
	case !sealed:
		return file, nil
	case key == nil:
		return nil, store.ErrSealed
	}
	return store.OpenSealed(ctx, file, *key, store.SealOptions{MustExist: true})
}

// createStore makes a store, encrypted if there is a key for it, or opens one that was made so.
func createStore(ctx context.Context, path string, key *store.Key) (store.Store, error) {
	file, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return nil, storeHint(path, err)
	}
	if key == nil {
		s, err := unseal(ctx, file, nil)
		if err != nil {
			return nil, errors.Join(storeHint(path, err), file.Close())
		}
		return s, nil
	}
	s, err := store.OpenSealed(ctx, file, *key, store.SealOptions{})
	if err != nil {
		return nil, errors.Join(storeHint(path, err), file.Close())
	}
	return s, nil
}

// damagedHint is what to do about damage, without a way back to an earlier state.
const damagedHint = `"mls store check" names what is damaged; "mls group forget" deletes a group that is, and "mls group external-join --resync" joins it again. An old copy must not be used for messages again`

// storeHint says which store an error is about, and what to do.
func storeHint(path string, err error) error {
	hint := ""
	for _, h := range []struct {
		is   error
		hint string
	}{
		{store.ErrLocked, "another process has it open: try again when that has ended"},
		{store.ErrSealed, "--passphrase-file, $" + passphraseEnv + " or \"mls store --key\" opens it"},
		{store.ErrWrongKey, "it was made under another passphrase or key than --passphrase-file, $" + passphraseEnv + " or \"mls store --key\" say"},
		{store.ErrNotSealed, "leave the passphrase or key out, also in $" + passphraseEnv},
		{mls.ErrUnsupported, "if it was made under other numbers of cipher suites: --code-points or $" + codePointsEnv + " as then; else use a newer mls"},
		{store.ErrNewer, "use a newer mls"},
		{store.ErrRolledBack, "this is an old copy: it must not be used for messages again; groups are joined again by external commits"},
		{sqlite.ErrNoStore, "it is another file, or its beginning is damaged; nothing was changed"},
		{store.ErrCorrupt, damagedHint},
		{fs.ErrPermission, "the file and its directory have to be writable; \"mls store\" looks into a copy that is not"},
	} {
		if hint == "" && errors.Is(err, h.is) {
			hint = h.hint
		}
	}
	if h := (*hintError)(nil); hint == "" && errors.As(err, &h) {
		hint = h.hint
	}
	return &hintError{fmt.Errorf("%s: %w", path, err), hint}
}
