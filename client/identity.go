package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// IdentityID names an identity of a client. It follows from the suite and the
// signature key.
type IdentityID string

// IdentityOptions describe an identity.
type IdentityOptions struct {
	Suite      *mls.Suite
	Credential treekem.Credential
	// Signer signs for the credential's key; nil stands for a fresh key. A
	// *mls.SignaturePrivateKey is stored; of any other only the public key is,
	// and Config.Signers has to bring it.
	Signer mls.Signer
	// Capabilities are what the software supports; nil stands for
	// treekem.DefaultCapabilities.
	Capabilities *treekem.Capabilities
	// Extensions are those of leaf nodes.
	Extensions []mls.Extension
}

// identity is an identity in memory.
type identity struct {
	group.Identity
	id    IdentityID
	suite *mls.Suite
}

func identityID(suite mls.CipherSuite, public []byte) IdentityID {
	h := sha256.New()
	binary.Write(h, binary.BigEndian, uint16(suite))
	h.Write(public)
	return IdentityID(hex.EncodeToString(h.Sum(nil)[:hashSize]))
}

// AddIdentity stores an identity. One that is there already stays.
func (c *Client) AddIdentity(ctx context.Context, opt IdentityOptions) (IdentityID, error) {
	if opt.Suite == nil {
		return "", errors.New("client: IdentityOptions.Suite is nil")
	}
	if opt.Signer == nil {
		signer, err := opt.Suite.GenerateSigner()
		if err != nil {
			return "", err
		}
		opt.Signer = signer
	}
	if err := opt.Credential.CheckKey(opt.Suite, opt.Signer.Public()); err != nil {
		return "", err
	}
	id := identityID(opt.Suite.ID(), opt.Signer.Public())
	record, err := opt.record()
	if err != nil {
		return "", err
	}
	defer clear(record.Private)
	c.identifying.Lock()
	defer c.identifying.Unlock()
	err = c.store.Update(ctx, func(tx store.Writer) error {
		key := []byte(keyIdentity + id)
		if _, err := tx.Get(key); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return put(tx, key, record)
	})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.identities[id]; !ok {
		c.identities[id] = &identity{id: id, suite: opt.Suite, Identity: group.Identity{
			Credential: opt.Credential.Clone(), Signer: opt.Signer, Capabilities: opt.Capabilities, Extensions: opt.Extensions,
		}}
	}
	return id, nil
}

func (opt *IdentityOptions) record() (*identityRecord, error) {
	r := &identityRecord{Suite: uint16(opt.Suite.ID()), Public: opt.Signer.Public()}
	var errs [3]error
	r.Credential, errs[0] = wire.Marshal(&opt.Credential)
	if opt.Capabilities != nil {
		r.Capabilities, errs[1] = wire.Marshal(opt.Capabilities)
	}
	if opt.Extensions != nil {
		r.Extensions, errs[2] = wire.Marshal((*extensions)(&opt.Extensions))
	}
	if key, ok := opt.Signer.(*mls.SignaturePrivateKey); ok {
		r.Private = key.Secret().UnsafeBytes()
	}
	return r, cmp.Or(errs[:]...)
}

// extensions is a list of extensions with its encoding.
type extensions []mls.Extension

func (e *extensions) Encode(b *wire.Builder) { mls.EncodeExtensions(b, *e) }
func (e *extensions) Decode(r *wire.Reader)  { *e = mls.DecodeExtensions(r) }

// loadIdentities reads all identities.
func (c *Client) loadIdentities(ctx context.Context) error {
	return c.store.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan([]byte(keyIdentity)) {
			if err != nil {
				return err
			}
			id, err := readIdentity(e, c.cfg.Signers)
			clear(e.Value)
			if err != nil {
				return err
			}
			c.identities[id.id] = id
		}
		return nil
	})
}

func readIdentity(e store.Entry, signers []mls.Signer) (*identity, error) {
	id, err := parseIdentity(e, signers)
	if err != nil && !errors.Is(err, mls.ErrUnsupported) {
		return nil, damagedIn(fmt.Sprintf("the identity %q", e.Key[len(keyIdentity):]), err)
	}
	return id, err
}

func parseIdentity(e store.Entry, signers []mls.Signer) (*identity, error) {
	var r identityRecord
	if err := decode(e.Value, &r); err != nil {
		return nil, err
	}
	suite, err := mls.LookupSuite(mls.CipherSuite(r.Suite))
	if err != nil {
		return nil, err
	}
	id := &identity{id: IdentityID(e.Key[len(keyIdentity):]), suite: suite}
	if id.id != identityID(suite.ID(), r.Public) {
		return nil, fmt.Errorf("%w: an identity under another's name", store.ErrCorrupt)
	}
	if err := wire.Unmarshal(r.Credential, &id.Credential); err != nil {
		return nil, err
	}
	if r.Capabilities != nil {
		id.Capabilities = new(treekem.Capabilities)
		if err := wire.Unmarshal(r.Capabilities, id.Capabilities); err != nil {
			return nil, err
		}
	}
	if r.Extensions != nil {
		if err := wire.Unmarshal(r.Extensions, (*extensions)(&id.Extensions)); err != nil {
			return nil, err
		}
	}
	if r.Private != nil {
		if id.Signer, err = suite.NewSigner(mls.NewSecret(r.Private)); err != nil {
			return nil, err
		}
	} else if id.Signer = findSigner(signers, r.Public); id.Signer == nil {
		id.Signer = absentSigner(r.Public)
	}
	if !bytes.Equal(id.Signer.Public(), r.Public) {
		return nil, fmt.Errorf("%w: an identity with another's key", store.ErrCorrupt)
	}
	return id, nil
}

func findSigner(signers []mls.Signer, public []byte) mls.Signer {
	for _, s := range signers {
		if s != nil && bytes.Equal(s.Public(), public) {
			return s
		}
	}
	return nil
}

// absentSigner stands for a key that is kept elsewhere and was not brought: its
// groups can be read, not written.
type absentSigner mls.SignaturePublicKey

func (s absentSigner) Public() mls.SignaturePublicKey { return mls.SignaturePublicKey(s) }

func (absentSigner) Sign([]byte) ([]byte, error) {
	return nil, errors.New("client: the signature key is kept elsewhere: bring it in Config.Signers")
}

// Identities lists the identities.
func (c *Client) Identities() []IdentityID {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]IdentityID, 0, len(c.identities))
	for id := range c.identities {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Identity returns how an identity presents itself.
func (c *Client) Identity(id IdentityID) (group.Identity, *mls.Suite, error) {
	i, err := c.identity(id)
	if err != nil {
		return group.Identity{}, nil, err
	}
	return i.Identity, i.suite, nil
}

func (c *Client) identity(id IdentityID) (*identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.identities[id]
	if !ok {
		return nil, ErrUnknownIdentity
	}
	return i, nil
}

// RemoveIdentity deletes an identity with its signature key. It fails with
// ErrIdentityInUse as long as a key package is of that identity, or a group
// cannot be read without the key: because it is our member's, or that of
// something pending. An identity that was just read, to be committed, must not be
// removed at the same time.
func (c *Client) RemoveIdentity(ctx context.Context, id IdentityID) error {
	if _, err := c.identity(id); err != nil {
		return err
	}
	defer c.startEntering()()
	c.identifying.Lock()
	defer c.identifying.Unlock()
	if err := c.groupsWithout(ctx, id); err != nil {
		return err
	}
	err := c.store.Update(ctx, func(tx store.Writer) error {
		for e, err := range tx.Scan([]byte(keyKeyPackage)) {
			if err != nil {
				return err
			}
			var r keyPackageRecord
			err = decode(e.Value, &r)
			clear(e.Value)
			r.clear()
			if err != nil {
				return err
			}
			if r.Identity == string(id) {
				return ErrIdentityInUse
			}
		}
		return tx.Delete([]byte(keyIdentity + id))
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.identities, id)
	return nil
}

// groupsWithout reads every group as if an identity were gone.
func (c *Client) groupsWithout(ctx context.Context, id IdentityID) error {
	list, err := c.Groups(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	without := &Client{cfg: c.cfg, store: c.store, identities: maps.Clone(c.identities), groups: make(map[string]*Group)}
	c.mu.Unlock()
	delete(without.identities, id)
	for _, group := range list {
		err := c.readWithout(ctx, without, group)
		if errors.Is(err, ErrUnknownGroup) {
			continue // forgotten meanwhile
		}
		if errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("%w: %x", ErrIdentityInUse, group)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readWithout reads a group as another client, while ours changes nothing of it.
func (c *Client) readWithout(ctx context.Context, without *Client, id []byte) error {
	ours, err := c.handle(id)
	if err != nil {
		return err
	}
	if err := ours.acquire(ctx); err != nil {
		return err
	}
	defer ours.unlock()
	g, err := without.handle(id)
	if err != nil {
		return err
	}
	defer g.unload()
	return g.load(ctx)
}

// signers are all signature keys that a saved state can refer to.
func (c *Client) signers() []mls.Signer {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.cfg.Signers)
	for _, i := range c.identities {
		list = append(list, i.Signer)
	}
	return list
}
