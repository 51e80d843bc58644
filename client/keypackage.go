package client

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// KeyPackageOptions says what key packages to make.
type KeyPackageOptions struct {
	// Count is how many; 0 stands for 1.
	Count int
	// Lifetime is how long they can be used; zero stands for
	// group.DefaultLifetime.
	Lifetime time.Duration
	// LastResort marks one that may be used more than once, when the delivery
	// service has no other left (RFC 9420, Section 16.8).
	LastResort bool
	// Extensions are those of the key package.
	Extensions []mls.Extension
}

// NewKeyPackages makes key packages, stores their private keys, and returns them
// as encoded MLSMessages, to be published.
func (c *Client) NewKeyPackages(ctx context.Context, identity IdentityID, opt KeyPackageOptions) ([][]byte, error) {
	id, err := c.identity(identity)
	if err != nil {
		return nil, err
	}
	var messages [][]byte
	records := make(map[string]*keyPackageRecord)
	for range max(opt.Count, 1) {
		kp, private, err := group.NewKeyPackage(c.cfg.Group, id.suite, group.KeyPackageOptions{
			Identity: id.Identity, Lifetime: opt.Lifetime, LastResort: opt.LastResort, Extensions: opt.Extensions,
		})
		if err != nil {
			return nil, err
		}
		record, err := newKeyPackageRecord(identity, kp, private)
		if err != nil {
			return nil, err
		}
		defer record.clear()
		records[keyPackageKey(kp.Ref(id.suite))] = record
		message, err := (&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatKeyPackage, KeyPackage: kp}).Bytes()
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	err = c.store.Update(ctx, func(tx store.Writer) error {
		if _, err := tx.Get([]byte(keyIdentity + identity)); errors.Is(err, store.ErrNotFound) {
			return ErrUnknownIdentity // it was removed meanwhile
		}
		for key, record := range records {
			if err := put(tx, []byte(key), record); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return messages, nil
}

func keyPackageKey(ref []byte) string { return keyKeyPackage + hex.EncodeToString(ref) }

// newKeyPackageRecord makes the record of a key package, which has its private
// keys from then on.
func newKeyPackageRecord(identity IdentityID, kp *treekem.KeyPackage, private *treekem.KeyPackagePrivate) (*keyPackageRecord, error) {
	defer private.InitKey.Destroy()
	defer private.LeafKey.Destroy()
	encoded, err := kp.Bytes()
	if err != nil {
		return nil, err
	}
	return &keyPackageRecord{
		Identity: string(identity), KeyPackage: encoded,
		InitKey: private.InitKey.Secret().UnsafeBytes(), LeafKey: private.LeafKey.Secret().UnsafeBytes(),
		NotAfter: kp.LeafNode.Lifetime.NotAfter, LastResort: kp.LastResort(),
	}, nil
}

// keyPackage is a key package of ours with its private keys.
type keyPackage struct {
	key        string
	public     *treekem.KeyPackage
	private    *treekem.KeyPackagePrivate
	lastResort bool
}

func (c *Client) restoreKeyPackage(key string, r *keyPackageRecord) (*keyPackage, error) {
	id, err := c.identity(IdentityID(r.Identity))
	if err != nil {
		return nil, fmt.Errorf("%w: a key package of no identity", store.ErrCorrupt)
	}
	k := &keyPackage{key: key, private: &treekem.KeyPackagePrivate{Signer: id.Signer}, lastResort: r.LastResort}
	var errs [3]error
	k.public, errs[0] = treekem.ParseKeyPackage(r.KeyPackage)
	k.private.InitKey, errs[1] = id.suite.NewPrivateKey(mls.NewSecret(r.InitKey))
	k.private.LeafKey, errs[2] = id.suite.NewPrivateKey(mls.NewSecret(r.LeafKey))
	if err := cmp.Or(errs[:]...); err != nil {
		return nil, damagedIn("a key package of ours", err)
	}
	return k, nil
}

// findKeyPackage finds the key package that a Welcome is for.
func (c *Client) findKeyPackage(ctx context.Context, w *framing.Welcome) (*keyPackage, error) {
	var r keyPackageRecord
	key := ""
	err := c.store.View(ctx, func(tx store.Reader) error {
		for i := range w.Secrets {
			ref := w.Secrets[i].NewMember
			if len(ref) > store.MaxKey/4 {
				continue // no hash is as long
			}
			err := get(tx, []byte(keyPackageKey(ref)), &r)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			key = keyPackageKey(ref)
			return err
		}
		return ErrNoKeyPackage
	})
	if err != nil {
		return nil, err
	}
	return c.restoreKeyPackage(key, &r)
}

// destroy clears the private keys: a group that was joined has its own copies.
func (k *keyPackage) destroy() {
	k.private.InitKey.Destroy()
	k.private.LeafKey.Destroy()
}

// consume deletes a key package that was used.
func (k *keyPackage) consume(tx store.Writer) error {
	if k.lastResort {
		return nil
	}
	return tx.Delete([]byte(k.key))
}

// KeyPackageCount says how many key packages can still be used.
type KeyPackageCount struct {
	// Ready can be used once each, LastResort again and again.
	Ready, LastResort int
}

// KeyPackages counts the key packages of an identity that are not used and not
// expired: it is time for more when few are left. One that cannot be read cannot
// be used.
func (c *Client) KeyPackages(ctx context.Context, identity IdentityID) (n KeyPackageCount, err error) {
	now := uint64(c.cfg.Group.Time().Unix())
	err = c.eachKeyPackage(ctx, func(_ []byte, r *keyPackageRecord) {
		switch {
		case r.Identity != string(identity) || r.NotAfter < now:
		case r.LastResort:
			n.LastResort++
		default:
			n.Ready++
		}
	})
	return n, err
}

// eachKeyPackage calls f with the key packages that can be read.
func (c *Client) eachKeyPackage(ctx context.Context, f func(key []byte, r *keyPackageRecord)) error {
	return c.store.View(ctx, func(tx store.Reader) error {
		return eachRecord(tx, keyKeyPackage, func(key []byte, r *keyPackageRecord) {
			f(key, r)
			r.clear()
		})
	})
}

// welcomeAge is for how long a Welcome that was used is known again, in seconds.
const welcomeAge = 100 * 24 * 60 * 60

// removeExpired deletes the private keys of key packages that nobody may use any
// more, and forgets old Welcomes. What cannot be read stays, and keeps nothing else
// from being used.
func (c *Client) removeExpired(ctx context.Context) error {
	now := c.cfg.Group.Time().Unix()
	var old [][]byte
	err := c.eachKeyPackage(ctx, func(key []byte, r *keyPackageRecord) {
		if r.NotAfter < uint64(now) {
			old = append(old, key)
		}
	})
	if err != nil {
		return err
	}
	err = c.store.View(ctx, func(tx store.Reader) error {
		return eachRecord(tx, keyWelcome, func(key []byte, r *welcomeRecord) {
			if r.Time < now-welcomeAge {
				old = append(old, key)
			}
		})
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return c.store.Update(ctx, func(tx store.Writer) error {
		for _, key := range old {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveExpired does what Open does: for clients that stay open for long.
func (c *Client) RemoveExpired(ctx context.Context) error { return c.removeExpired(ctx) }

// AddPSK stores an external pre-shared key (RFC 9420, Section 8.4).
func (c *Client) AddPSK(ctx context.Context, id []byte, secret mls.Secret) error {
	return c.store.Update(ctx, func(tx store.Writer) error {
		return put(tx, pskKey(id), &pskRecord{ID: id, Secret: secret.UnsafeBytes()})
	})
}

// RemovePSK deletes an external pre-shared key.
func (c *Client) RemovePSK(ctx context.Context, id []byte) error {
	return c.store.Update(ctx, func(tx store.Writer) error { return tx.Delete(pskKey(id)) })
}

func pskKey(id []byte) []byte { return []byte(keyPSK + hex.EncodeToString(shortHash(id))) }

func (c *Client) findPSK(ctx context.Context, id []byte) (mls.Secret, error) {
	var r pskRecord
	err := c.store.View(ctx, func(tx store.Reader) error { return get(tx, pskKey(id), &r) })
	if err != nil {
		return mls.Secret{}, err
	}
	return mls.NewSecret(r.Secret), nil
}
