package client_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
	"github.com/treekem/mls/treekem"
)

// The files testdata/v*-NAME.db are the stores of two members as each version of
// the format wrote them. They stay for good: whoever changes the format adds
// files, by MLS_WRITE_FIXTURES=v2 go test -run TestWriteFixtures ./client, and
// adds the version to fixtureVersions.
const writeFixturesEnv = "MLS_WRITE_FIXTURES"

var (
	fixtureVersions = []string{"v1", "v2"}
	fixtureTime     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	fixtureGroup    = []byte("the group of the fixtures")
	fixturePSK      = []byte("psk")
	fixtureKey      = store.Passphrase(mls.NewSecret([]byte("fixture")), store.Argon2{Time: 1, Memory: 64, Threads: 1})
)

func openFixture(t *testing.T, path string) (*client.Client, *sqlite.DB, store.Store) {
	t.Helper()
	db := must(sqlite.Open(ctx, path, nil))(t)
	sealed := must(store.OpenSealed(ctx, db, fixtureKey, store.SealOptions{}))(t)
	c := must(client.Open(ctx, client.Config{Store: sealed, Group: group.Config{
		Authenticate: group.InsecureAnyCredential, Time: func() time.Time { return fixtureTime },
	}}))(t)
	return c, db, sealed
}

// TestWriteFixtures writes files for the present version: alice with a pending
// commit, bob with a message of the epoch after it, and everything else a store
// can hold.
func TestWriteFixtures(t *testing.T) {
	version := os.Getenv(writeFixturesEnv)
	if version == "" {
		t.Skip("writes files when " + writeFixturesEnv + " names a version")
	}
	path := func(name string) string { return filepath.Join("testdata", version+"-"+name+".db") }
	a, _, _ := openFixture(t, path("alice"))
	b, _, _ := openFixture(t, path("bob"))
	identity := func(c *client.Client, name string) client.IdentityID {
		return must(c.AddIdentity(ctx, client.IdentityOptions{Suite: suite(t), Credential: treekem.BasicCredential([]byte(name))}))(t)
	}
	alice, bob := identity(a, "alice"), identity(b, "bob")
	kps := must(b.NewKeyPackages(ctx, bob, client.KeyPackageOptions{Count: 2}))(t)
	must(b.NewKeyPackages(ctx, bob, client.KeyPackageOptions{LastResort: true}))(t)
	for _, c := range []*client.Client{a, b} {
		check(t, c.AddPSK(ctx, fixturePSK, mls.NewSecret([]byte("secret of the fixtures"))))
	}
	ga := must(a.CreateGroup(ctx, alice, client.GroupOptions{GroupID: fixtureGroup}))(t)
	adds := []framing.Proposal{group.AddProposal(must(framing.Parse(kps[0]))(t).KeyPackage)}
	for i := range 30 { // so that the tree has several pages
		kp, _, err := group.NewKeyPackage(group.Config{Authenticate: group.InsecureAnyCredential, Time: func() time.Time { return fixtureTime }},
			suite(t), group.KeyPackageOptions{Identity: group.Identity{
				Credential: treekem.BasicCredential(fmt.Appendf(nil, "member %d", i)), Signer: must(suite(t).GenerateSigner())(t),
			}})
		check(t, err)
		adds = append(adds, group.AddProposal(kp))
	}
	must(ga.Commit(ctx, group.CommitOptions{Proposals: adds}))(t)
	welcome := must(ga.Accept(ctx))(t).Welcome
	must(b.Receive(ctx, welcome.Message))(t)
	commit := must(ga.Commit(ctx, group.CommitOptions{Proposals: []framing.Proposal{group.PSKProposal(suite(t), fixturePSK)}}))(t)

	// Bob is given a message of the next epoch by a copy of alice.
	check(t, a.Close())
	copied := filepath.Join(t.TempDir(), "copy.db")
	check(t, os.WriteFile(copied, must(os.ReadFile(path("alice")))(t), 0o600))
	ahead, _, _ := openFixture(t, copied)
	gAhead := must(ahead.Group(ctx, fixtureGroup))(t)
	must(gAhead.Accept(ctx))(t)
	message := must(gAhead.Send(ctx, []byte("from the next epoch"), nil))(t)
	want[*client.Held](t, must(b.Receive(ctx, message))(t))
	check(t, os.WriteFile(filepath.Join("testdata", version+"-commit"), commit.Message, 0o644))
	check(t, b.Close())
	for _, name := range []string{"alice", "bob"} {
		check(t, os.Remove(path(name)+"-mark"))
	}
}

func TestFixtures(t *testing.T) {
	for _, version := range fixtureVersions {
		t.Run(version, func(t *testing.T) { useFixture(t, version) })
	}
}

func useFixture(t *testing.T, version string) {
	dir := t.TempDir()
	stores := map[string]store.Store{}
	open := func(name string) (*client.Client, *client.Group) {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, must(os.ReadFile(filepath.Join("testdata", version+"-"+name+".db")))(t), 0o600))
		c, db, s := openFixture(t, path)
		check(t, db.Check(ctx))
		if problems := must(client.Check(ctx, s))(t); len(problems) > 0 {
			t.Errorf("%s: %q", name, problems)
		}
		stores[name] = s
		return c, must(c.Group(ctx, fixtureGroup))(t)
	}
	a, ga := open("alice")
	b, gb := open("bob")
	defer a.Close()
	defer b.Close()
	commit := must(os.ReadFile(filepath.Join("testdata", version+"-commit")))(t)
	if n := must(b.KeyPackages(ctx, b.Identities()[0]))(t); n.Ready != 1 || n.LastResort != 1 {
		t.Errorf("key packages: %+v", n)
	}
	out := must(a.Outbox(ctx))(t)
	if len(out) != 2 || !bytes.Equal(out[1].Message, commit) {
		t.Errorf("%d messages in the outbox", len(out))
	}
	if o := want[*client.OwnEcho](t, must(ga.Process(ctx, commit))(t)); o.Commit == nil {
		t.Error("the pending commit was not applied")
	}
	applied := want[*client.CommitApplied](t, must(gb.Process(ctx, commit))(t))
	if len(applied.Replayed) != 1 {
		t.Fatalf("replayed: %+v", applied.Replayed)
	}
	if r := want[*client.MessageReceived](t, applied.Replayed[0]); string(r.Data) != "from the next epoch" {
		t.Errorf("the held message is %q", r.Data)
	}
	message := must(gb.Send(ctx, []byte("today"), nil))(t)
	want[*client.MessageReceived](t, must(ga.Process(ctx, message))(t))
	one, other := must(ga.Info(ctx))(t), must(gb.Info(ctx))(t)
	if one.Epoch != 2 || !bytes.Equal(one.EpochAuthenticator, other.EpochAuthenticator) {
		t.Errorf("%+v\n%+v", one, other)
	}
	for name, s := range stores {
		if problems := must(client.Check(ctx, s))(t); len(problems) > 0 {
			t.Errorf("%s, written to: %q", name, problems)
		}
		for key := range records(t, s) {
			if strings.HasSuffix(key, "/tree") || strings.HasSuffix(key, "/ptree") {
				t.Errorf("%s still has %s", name, key)
			}
		}
	}
}

// TestDump shows that nothing secret is in a dump.
func TestDump(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	check(t, os.WriteFile(path, must(os.ReadFile("testdata/v2-bob.db"))(t), 0o600))
	c, _, s := openFixture(t, path)
	defer c.Close()
	var dump bytes.Buffer
	check(t, client.Dump(ctx, s, &dump))
	for _, text := range []string{"identity", "bob", "group " + fmt.Sprintf("%x", fixtureGroup), "epoch 1", "held: 1", `pre-shared key "psk"`, "last resort: true", "a ratchet tree, "} {
		if !bytes.Contains(dump.Bytes(), []byte(text)) {
			t.Errorf("the dump lacks %q:\n%s", text, dump.Bytes())
		}
	}
	id, _, err := c.Identity(c.Identities()[0])
	check(t, err)
	signer := id.Signer.(*mls.SignaturePrivateKey)
	for name, secret := range map[string][]byte{"signature key": signer.Secret().UnsafeBytes(), "pre-shared key": []byte("secret of the fixtures")} {
		for _, shown := range [][]byte{secret, fmt.Appendf(nil, "%x", secret), fmt.Append(nil, secret)} {
			if bytes.Contains(dump.Bytes(), shown) {
				t.Errorf("the dump shows the %s", name)
			}
		}
	}
}
