package client_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
	"github.com/treekem/mls/treekem"
)

// tour:begin

// open opens the device's store, and makes its identity the first time.
func open(ctx context.Context, path, name string, key mls.Secret) (*client.Client, client.IdentityID) {
	sealed := try(store.OpenSealed(ctx, try(sqlite.Open(ctx, path, nil)), store.RawKey(key.Clone()), store.SealOptions{}))
	c := try(client.Open(ctx, client.Config{
		Store: sealed,
		Group: group.Config{Authenticate: func(a group.Authentication) error {
			if n := string(a.Credential.Identity); n != "phone" && n != "laptop" { // ask your directory here
				return fmt.Errorf("who is %q?", n)
			}
			return nil
		}},
		Notify: func(e client.Event) {
			if m, ok := e.Outcome.(*client.MessageReceived); ok {
				fmt.Printf("%s reads from %s: %s\n", name, m.Credential.Identity, m.Data)
			}
		},
	}))
	if ids := c.Identities(); len(ids) > 0 {
		return c, ids[0]
	}
	suite := try(mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519))
	return c, try(c.AddIdentity(ctx, client.IdentityOptions{Suite: suite, Credential: treekem.BasicCredential([]byte(name))}))
}

func Example() {
	ctx, key := context.Background(), mls.RandomSecret(store.KeySize) // the key is from the system's keychain
	dir := try(os.MkdirTemp("", "tour"))
	defer os.RemoveAll(dir)
	phone, phoneID := open(ctx, filepath.Join(dir, "phone"), "phone", key)
	laptop, laptopID := open(ctx, filepath.Join(dir, "laptop"), "laptop", key)

	// The laptop publishes key packages; the phone makes a group and adds it.
	published := try(laptop.NewKeyPackages(ctx, laptopID, client.KeyPackageOptions{Count: 10}))
	garden := try(phone.CreateGroup(ctx, phoneID, client.GroupOptions{}))
	add := group.AddProposal(try(framing.Parse(published[0])).KeyPackage)
	commit := try(garden.Commit(ctx, group.CommitOptions{Proposals: []framing.Proposal{add}}))
	accepted := try(garden.Accept(ctx)) // the delivery service has taken commit.Message for the epoch
	joined := try(laptop.Receive(ctx, accepted.Welcome.Message)).(*client.Joined)
	phone.Sent(ctx, commit.ID, accepted.Welcome.ID)
	try(laptop.Receive(ctx, try(garden.Send(ctx, []byte("the tomatoes are ripe"), nil))))

	// The laptop restarts, and replaces its keys; the phone follows.
	laptop.Close()
	laptop, _ = open(ctx, filepath.Join(dir, "laptop"), "laptop", key)
	again := try(laptop.Group(ctx, joined.Group.ID()))
	update := try(again.Commit(ctx, group.CommitOptions{}))
	try(laptop.Receive(ctx, update.Message)) // its echo: it was accepted
	try(phone.Receive(ctx, update.Message))
	a, b := try(garden.Info(ctx)), try(again.Info(ctx))
	fmt.Println("epoch", a.Epoch, "agreed:", bytes.Equal(a.EpochAuthenticator, b.EpochAuthenticator))
	phone.Close()
	laptop.Close()
	// Output:
	// laptop reads from phone: the tomatoes are ripe
	// epoch 2 agreed: true
}

// tour:end

func try[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
