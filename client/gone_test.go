package client_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store/sqlite"
)

// window is the length of what is searched for: half of the shortest secret.
const window = 16

// half of a window is long enough to tell what it is a part of.
type half [window / 2]byte

func halves(into map[half]bool, value []byte) {
	for i := 0; i+len(half{}) <= len(value); i++ {
		into[half(value[i:])] = true
	}
}

func windows(into map[[window]byte]bool, value []byte) {
	for i := 0; i+window <= len(value); i++ {
		into[[window]byte(value[i:])] = true
	}
}

// readOpen reads a file that SQLite has open. On Unix another process does: the
// locks of this one would go when it closes the file.
func readOpen(path string) ([]byte, error) {
	if runtime.GOOS == "windows" {
		return os.ReadFile(path)
	}
	return exec.Command("cat", path).Output()
}

// TestConsumedKeysAreGone plays a history in a store that is not encrypted, and
// then searches the file and its log for anything that a record once held and
// that no record holds any more: consumed keys are among that.
func TestConsumedKeysAreGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bob.db")
	db := must(sqlite.Open(ctx, path, &sqlite.Options{ScrubEvery: 1 << 30}))(t)
	b := newMember(t, "bob", func(cfg *client.Config) { cfg.Store = db })
	a, c := newMember(t, "alice"), newMember(t, "carol")
	old := map[[window]byte]bool{}
	note := func() {
		for _, value := range records(t, db) {
			windows(old, value)
		}
	}
	must(b.c.NewKeyPackages(ctx, b.id, client.KeyPackageOptions{Count: 5}))(t)
	note()
	id := a.create()
	a.add(id, nil, b, c)
	note()
	for round := range 8 {
		for i := range 4 {
			a.process(b.send(id, fmt.Sprintf("bob %d %d", round, i)))
			note()
			b.process(a.send(id, fmt.Sprintf("alice %d %d", round, i)))
			note()
		}
		switch round % 3 {
		case 0:
			commit := b.commit(id, group.CommitOptions{})
			note()
			for _, m := range []*member{a, c, b} {
				m.process(commit.Message)
			}
		case 1:
			commit := a.commit(id, group.CommitOptions{})
			for _, m := range []*member{a, c, b} {
				m.process(commit.Message)
			}
		case 2:
			update := must(b.group(id).ProposeUpdate(ctx, nil))(t)
			note()
			a.process(update.Message)
			c.process(update.Message)
			commit := a.commit(id, group.CommitOptions{})
			for _, m := range []*member{a, c, b} {
				m.process(commit.Message)
			}
		}
		note()
	}
	leftovers := func() (found int) {
		// A name that an old record held, of a record that is there, may by chance
		// be followed in the file by the byte that followed it in the old one: a
		// piece counts if neither half of it is of what is there.
		now := map[half]bool{}
		for key, value := range records(t, db) {
			halves(now, value)
			halves(now, []byte(key))
		}
		isLive := func(w [window]byte) bool { return now[half(w[:])] || now[half(w[window/2:])] }
		file := must(readOpen(path))(t)
		if log, err := readOpen(path + "-wal"); err == nil {
			file = append(file, log...)
		}
		inFile := map[[window]byte]bool{}
		windows(inFile, file)
		for w := range old {
			if inFile[w] && !isLive(w) && w != [window]byte{} {
				found++
			}
		}
		return found
	}
	if leftovers() == 0 {
		t.Error("nothing is found before the log is emptied: the search finds nothing")
	}
	check(t, db.Scrub(ctx))
	if n := leftovers(); n > 0 {
		t.Errorf("%d pieces of old records are in the file", n)
	}
	if len(old) < 10_000 {
		t.Errorf("only %d pieces were searched for", len(old))
	}
	leaf := b.info(id).OwnLeaf
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(leaf)}})
	note()
	want[*client.Removed](t, b.process(commit.Message))
	check(t, db.Scrub(ctx))
	if n := leftovers(); n > 0 {
		t.Errorf("%d pieces of old records are in the file after the removal", n)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Error("there is no file")
	}
}

// TestDroppedGroupsAreCleared: what a client no longer has in memory is cleared
// there, not left for the garbage collector.
func TestDroppedGroupsAreCleared(t *testing.T) {
	id, a, b, c := trio(t)
	kept := make(map[*member]*group.Group)
	for _, m := range []*member{a, b, c} {
		check(t, m.group(id).View(ctx, func(g *group.Group) error {
			kept[m] = g
			return nil
		}))
	}
	commit := a.commit(id, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(1)}})
	want[*client.Removed](t, b.process(commit.Message))
	check(t, c.group(id).Forget(ctx))
	check(t, a.c.Close())
	for m, g := range kept {
		if len(g.EpochAuthenticator()) != 0 {
			t.Errorf("%s still has the epoch's secrets", m.name)
		}
		if _, err := g.Protect(nil, nil); err == nil {
			t.Errorf("%s can still send", m.name)
		}
	}
}
