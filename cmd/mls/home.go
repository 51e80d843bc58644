package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
	"github.com/treekem/mls/treekem"
)

// storeName is the store in a state directory.
const storeName = "mls.db"

// What the command keeps in the store beside the client's own records.
const (
	// keyIdentity names the identity that we go by now. Groups keep older ones until their member commits
	// the new one.
	keyIdentity = "identity"
	// keySuiteIdentity, and the number of a cipher suite other than that one's: who we are there.
	keySuiteIdentity = "identity/"
	// keyWelcome, a hash of the group's identifier and an epoch: where the Welcome of our commit that begins
	// it goes, an absolute path.
	keyWelcome = "welcome/"
)

// A home is a state directory: a store with one person's identities, key packages, pre-shared keys and
// groups. It is locked for other processes while it is open.
type home struct {
	*client.Client
	dir   string
	name  string // in the basic credential
	id    client.IdentityID
	suite *mls.Suite
}

// homeOptions say how the groups of a home are worked with.
type homeOptions struct {
	// handshakes is how own proposals and commits are framed; 0 is the default.
	handshakes framing.WireFormat
	// save takes part in the batch that makes an outcome durable.
	save func(store.Writer, []byte, client.Outcome) error
	// saveOutgoing takes part in the batch that puts a message into the outbox.
	saveOutgoing func(store.Writer, *client.Outgoing) error
	// unchecked opens a store that is damaged.
	unchecked bool
}

// groupConfig is how groups are run from the command line.
func groupConfig(opt homeOptions) group.Config {
	return group.Config{Authenticate: authenticate, PSK: missingPSK, Handshakes: opt.handshakes}
}

// withHome opens the state directory dir for use, and closes it afterwards.
func (a *app) withHome(dir string, opt homeOptions, use func(context.Context, *home) error) (err error) {
	path := filepath.Join(dir, storeName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := refuseOld(dir); err != nil {
			return err
		}
		return hinted(`"mls init --name NAME" makes one; --dir or MLS_DIR says where it is`, "no state in %s", dir)
	}
	key, err := a.passphrase()
	if err != nil {
		return err
	}
	ctx := context.Background()
	_, s, err := openStore(ctx, path, key, sqlite.Options{MustExist: true, Unchecked: opt.unchecked})
	if err != nil {
		return err
	}
	h, err := newHome(ctx, dir, s, opt)
	if err != nil {
		return errors.Join(storeHint(path, err), s.Close())
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := h.load(ctx); err != nil {
		return err
	}
	return use(ctx, h)
}

// refuseOld refuses a directory that holds the state of an mls from before there were stores.
func refuseOld(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "identity.cbor")); err != nil {
		return nil // also if it cannot be told: opening the store will
	}
	return hinted(`it cannot be taken over: "mls init --name NAME" with another --dir makes a new identity, which members add by a key package; then remove your old leaf`,
		"%s holds the state of an early version of mls (identity.cbor)", dir)
}

// newHome opens the client of a store.
func newHome(ctx context.Context, dir string, s store.Store, opt homeOptions) (*home, error) {
	c, err := client.Open(ctx, client.Config{Store: s, Group: groupConfig(opt), Save: opt.save, SaveOutgoing: opt.saveOutgoing})
	if err != nil {
		return nil, err
	}
	return &home{Client: c, dir: dir}, nil
}

// load finds out who we are.
func (h *home) load(ctx context.Context) error {
	id, err := h.note(ctx, keyIdentity)
	if errors.Is(err, store.ErrNotFound) {
		return hinted(`"mls init --name NAME" makes one`, "no identity in %s", h.dir)
	}
	if err != nil {
		return err
	}
	h.id = client.IdentityID(id)
	identity, suite, err := h.Identity(h.id)
	if err != nil {
		return err
	}
	h.suite, h.name = suite, string(identity.Credential.Identity)
	return nil
}

// note reads something that the command has kept.
func (h *home) note(ctx context.Context, key string) (value string, err error) {
	err = h.View(ctx, func(tx store.Reader) error {
		v, err := tx.Get([]byte(key))
		value = string(v)
		return err
	})
	return value, err
}

func (h *home) setNote(ctx context.Context, key, value string) error {
	return h.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), []byte(value)) })
}

// createHome makes a state directory with a fresh identity. One that a crash left without is completed.
func (a *app) createHome(dir, name string, suite *mls.Suite) (fp string, err error) {
	key, err := a.passphrase()
	if err != nil {
		return "", err
	}
	if err := refuseOld(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	ctx := context.Background()
	path := filepath.Join(dir, storeName)
	s, err := createStore(ctx, path, key)
	if err != nil {
		return "", err
	}
	h, err := newHome(ctx, dir, s, homeOptions{})
	if err != nil {
		return "", errors.Join(storeHint(path, err), s.Close())
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if _, err := h.note(ctx, keyIdentity); err == nil {
		return "", hinted("--dir names another directory for another identity", "%s holds an identity already", dir)
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	h.name, h.suite = name, suite
	id, err := h.newIdentity(ctx, suite)
	if err != nil {
		return "", err
	}
	identity, _, err := h.Identity(id)
	if err != nil {
		return "", err
	}
	return fingerprint(suite, identity.Signer.Public()), nil
}

// newIdentity makes a fresh signature key under our name, by which we go from now on in groups of its suite.
func (h *home) newIdentity(ctx context.Context, suite *mls.Suite) (client.IdentityID, error) {
	id, err := h.AddIdentity(ctx, client.IdentityOptions{Suite: suite, Credential: treekem.BasicCredential([]byte(h.name))})
	if err != nil {
		return "", err
	}
	if err := h.setNote(ctx, h.identityNote(suite.ID()), string(id)); err != nil {
		return "", err
	}
	if suite.ID() == h.suite.ID() {
		h.id = id
	}
	return id, nil
}

// forgetIdentities deletes the identities that we no longer go by and nothing needs: those that a commit has replaced,
// or that were made for one that came to nothing.
func (h *home) forgetIdentities(ctx context.Context) error {
	current := make(map[client.IdentityID]bool)
	err := h.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan([]byte(keyIdentity)) { // with that of keySuiteIdentity
			if err != nil {
				return err
			}
			current[client.IdentityID(e.Value)] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range h.Identities() {
		if current[id] {
			continue
		}
		if err := h.RemoveIdentity(ctx, id); err != nil && !errors.Is(err, client.ErrIdentityInUse) {
			return err
		}
	}
	return nil
}

// identityNote is where it is kept who we are in groups of a cipher suite.
func (h *home) identityNote(suite mls.CipherSuite) string {
	if suite == h.suite.ID() {
		return keyIdentity
	}
	return keySuiteIdentity + fmt.Sprint(uint16(suite))
}

// identityFor is our latest identity of a cipher suite, made if there is none.
func (h *home) identityFor(ctx context.Context, id mls.CipherSuite) (client.IdentityID, error) {
	if id == h.suite.ID() {
		return h.id, nil
	}
	suite, err := mls.LookupSuite(id)
	if err != nil {
		return "", err
	}
	have, err := h.note(ctx, h.identityNote(id))
	if errors.Is(err, store.ErrNotFound) {
		return h.newIdentity(ctx, suite)
	}
	return client.IdentityID(have), err
}

// authenticate admits basic credentials with a printable name. That the name is genuine nobody can tell
// from the message: the reader is shown every newcomer with its key's fingerprint and asked.
func authenticate(a group.Authentication) error {
	if a.Credential.Type != mls.CredentialBasic {
		return fmt.Errorf("a credential of type %s: only basic credentials are held from the command line", a.Credential.Type)
	}
	if name := string(a.Credential.Identity); name == "" || !printable(name) {
		return errors.New("a name that is empty or not printable")
	}
	return nil
}

// missingPSK is asked for a pre-shared key that the store does not have.
func missingPSK(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	if id.Type != keyschedule.PSKExternal {
		return mls.Secret{}, hinted("members of that epoch can commit without it", "a resumption PSK of an epoch that is no longer kept")
	}
	return mls.Secret{}, hinted(`"mls psk ID --secret FILE" imports it`, "no pre-shared key %q", id.PSKID)
}

// findGroup returns the identifier of the group called name, or of the only one if name is empty.
func (h *home) findGroup(ctx context.Context, name string) ([]byte, error) {
	ids, err := h.Groups(ctx)
	var names []string
	for _, id := range ids {
		if name != "" && (label(id) == name || hex.EncodeToString(id) == name) {
			return id, nil // whatever is wrong with others
		}
		names = append(names, label(id))
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	switch {
	case name != "":
		return nil, hinted("groups here: "+strings.Join(names, ", "), "no group %q in %s", name, h.dir)
	case len(ids) == 0:
		return nil, hinted(`"mls group create" makes one, "mls group join" enters one`, "no group in %s", h.dir)
	case len(ids) > 1:
		return nil, hinted("--name selects one of: "+strings.Join(names, ", "), "%d groups in %s", len(ids), h.dir)
	}
	return ids[0], nil
}

// group opens the group called name, or the only one.
func (h *home) group(ctx context.Context, name string) (*held, error) {
	id, err := h.findGroup(ctx, name)
	if err != nil {
		return nil, err
	}
	return h.hold(ctx, id)
}

// hold opens the group with an identifier.
func (h *home) hold(ctx context.Context, id []byte) (*held, error) {
	g, err := h.Group(ctx, id)
	if err != nil {
		return nil, err
	}
	held := &held{Group: g, home: h}
	return held, held.refresh(ctx)
}

// identityIn is the identity that we have in a group, or go by now in groups of its suite.
func (h *home) identityIn(ctx context.Context, groupID []byte, suite mls.CipherSuite) (client.IdentityID, error) {
	g, err := h.Group(ctx, groupID)
	if errors.Is(err, client.ErrUnknownGroup) {
		return h.identityFor(ctx, suite)
	}
	if err != nil {
		return "", err
	}
	var key []byte
	err = g.View(ctx, func(g *group.Group) error {
		if leaf, ok := g.Member(g.OwnLeaf()); ok {
			key = leaf.SignatureKey
		}
		return nil
	})
	if errors.Is(err, store.ErrCorrupt) {
		return h.identityFor(ctx, suite)
	}
	if err != nil {
		return "", err
	}
	for _, id := range h.Identities() {
		if identity, _, err := h.Identity(id); err == nil && bytes.Equal(identity.Signer.Public(), key) {
			return id, nil
		}
	}
	return h.identityFor(ctx, suite)
}

// printable reports whether s can be shown on a terminal as it is.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == '\uFFFD' || r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 })
}

// label shows bytes that are usually a name: as text if they are printable, else in hex.
func label(b []byte) string {
	if s := string(b); s != "" && printable(s) {
		return s
	}
	return hex.EncodeToString(b)
}

// fingerprint is a short hash of a public key for people to compare.
func fingerprint(s *mls.Suite, key []byte) string {
	return hex.EncodeToString(s.Hash(key)[:8])
}
