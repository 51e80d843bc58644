package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

// fullDirEnv names a directory on a small file system, for TestFullDisk to fill:
//
//	mount -t tmpfs -o size=1m tmpfs DIR
const fullDirEnv = "MLS_FULL_DIR"

// TestFullDisk lets a group grow until its file can't: each operation then fails
// and has changed nothing, what is stored can be read, and once there is space
// again it goes on.
func TestFullDisk(t *testing.T) {
	dir, limited := os.Getenv(fullDirEnv), true
	if dir == "" {
		dir, limited = t.TempDir(), false
	}
	path := filepath.Join(dir, "full.db")
	key := store.RawKey(mls.NewSecret(bytes.Repeat([]byte{9}, store.KeySize)))
	open := func(opt *sqlite.Options) store.Store {
		db := must(sqlite.Open(ctx, path, opt))(t)
		return must(store.OpenSealed(ctx, db, key, store.SealOptions{}))(t)
	}
	a := newMember(t, "alice")
	b := newMember(t, "bob", func(cfg *client.Config) { cfg.Store = open(nil) })
	reopen := func(opt *sqlite.Options) {
		check(t, b.c.Close())
		b.cfg.Store = open(opt)
		b.c = must(client.Open(ctx, b.cfg))(t)
	}
	id := a.create()
	a.add(id, nil, b)
	opt, filler := &sqlite.Options{}, filepath.Join(dir, "filler")
	if limited {
		check(t, os.WriteFile(filler, make([]byte, 256<<10), 0o600))
	} else {
		opt.MaxBytes = must(os.Stat(path))(t).Size() + 64<<10
	}
	reopen(opt)

	var last []byte
	var err error
	for n := 0; err == nil && n < 2000; n++ {
		last = a.commit(id, group.CommitOptions{Proposals: strangers(t, 8)}).Message
		must(a.group(id).Accept(ctx))(t)
		_, err = b.c.Receive(ctx, last)
	}
	wantErr(t, err, store.ErrFull)
	epoch := a.info(id).Epoch - 1
	full := 0
	for range 3 {
		_, err := b.c.Receive(ctx, last)
		wantErr(t, err, store.ErrFull)
		if _, err := b.group(id).Commit(ctx, group.CommitOptions{Proposals: strangers(t, 20)}); errors.Is(err, store.ErrFull) {
			full++
		} else {
			check(t, err) // it may be small enough
			check(t, b.group(id).Discard(ctx))
		}
		if info := b.info(id); info.Epoch != epoch || info.Pending {
			t.Fatalf("%+v, want epoch %d", info, epoch)
		}
		clean(t, b)
	}
	if full == 0 {
		t.Error("a commit of ours fits")
	}
	if limited {
		check(t, os.Remove(filler))
	} else {
		reopen(nil)
	}
	b.process(last)
	agree(t, id, a, b)
	b.reads(a.send(id, "there is room again"), "there is room again")
	clean(t, b)
	check(t, b.c.Close())
}
