package client_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/treekem/mls/client"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
)

// TestForgetDamaged: a group whose state cannot be read can be forgotten, and nothing of it stays: not its name either.
func TestForgetDamaged(t *testing.T) {
	id, _, b, _ := trio(t)
	sum := sha256.Sum256(id)
	core := fmt.Appendf(nil, "g/%x/core", sum[:16])
	check(t, b.store.Update(ctx, func(tx store.Writer) error { return tx.Put(core, []byte{2, 0xff}) }))
	b.crash()
	_, err := b.group(id).Info(ctx)
	wantErr(t, err, store.ErrCorrupt)
	check(t, b.group(id).Forget(ctx))
	_, err = b.c.Group(ctx, id)
	wantErr(t, err, client.ErrUnknownGroup)
	welcomes := 0
	check(t, b.store.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) {
			check(t, err)
			if strings.HasPrefix(string(e.Key), "w/") {
				welcomes++
			}
			if strings.HasPrefix(string(e.Key), "g/") || bytes.Contains(e.Value, id) {
				t.Errorf("%q is left of the group", e.Key)
			}
		}
		return nil
	}))
	if welcomes != 1 {
		t.Errorf("%d Welcomes are known to be used, want 1", welcomes)
	}
	if problems := must(client.Check(ctx, b.store))(t); len(problems) > 0 {
		t.Errorf("after that: %q", problems)
	}
}

// TestCheckDamagedRows: a check and a dump name a row that the store cannot read, and go on.
func TestCheckDamagedRows(t *testing.T) {
	path := t.TempDir() + "/s.db"
	s := must(sqlite.Open(ctx, path, nil))(t)
	a := newMember(t, "alice", func(cfg *client.Config) { cfg.Store = s })
	id := a.create()
	sum := sha256.Sum256(id)
	core := fmt.Sprintf("g/%x/core", sum[:16])
	var value []byte
	check(t, s.View(ctx, func(tx store.Reader) (err error) {
		value, err = tx.Get([]byte(core))
		return err
	}))
	check(t, a.c.Close())
	file := must(os.ReadFile(path))(t)
	file[bytes.Index(file, value[20:80])+30] ^= 1
	check(t, os.WriteFile(path, file, 0o600))
	s = must(sqlite.Open(ctx, path, &sqlite.Options{ReadOnly: true}))(t)
	defer s.Close()
	problems := must(client.Check(ctx, s))(t)
	if text := strings.Join(problems, "\n"); !strings.Contains(text, `"`+core+`": store: damaged`) || !strings.Contains(text, fmt.Sprintf(`"h/%x": store: damaged`, sum[:16])) {
		t.Errorf("the problems are %q", problems)
	}
	var dump strings.Builder
	check(t, client.Dump(ctx, s, &dump))
	for _, want := range []string{core + "  store: damaged", "client, next number", "identity alice"} {
		if !strings.Contains(dump.String(), want) {
			t.Errorf("no %q in\n%s", want, &dump)
		}
	}
}
