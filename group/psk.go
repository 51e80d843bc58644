package group

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/keyschedule"
)

// pskSecret looks up pre-shared keys and chains them (RFC 9420, Section 8.4).
func (g *Group) pskSecret(ids []keyschedule.PreSharedKeyID) (keyschedule.PSKSecret, error) {
	return chainPSKs(g.suite, ids, func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		if secret, ok := g.resumption(id); ok {
			return secret, nil
		}
		return g.cfg.findPSK(id)
	}, func(missing error) error {
		return mls.Invalid("12.4.2", "psk-unavailable", "%w", missing)
	})
}

// chainPSKs chains the PSKs that find finds. One that it does not find is
// mls.ErrUnavailable, of which rule makes the rule: the key may be there later,
// and its lack says nothing about the message.
func chainPSKs(suite *mls.Suite, ids []keyschedule.PreSharedKeyID, find func(keyschedule.PreSharedKeyID) (mls.Secret, error), rule func(missing error) error) (keyschedule.PSKSecret, error) {
	psks := make([]keyschedule.PSK, len(ids))
	defer func() {
		for _, p := range psks {
			p.Secret.Destroy()
		}
	}()
	for i, id := range ids {
		secret, err := find(id)
		if err != nil {
			return keyschedule.PSKSecret{}, rule(fmt.Errorf("pre-shared key %d of %d: %w: %w", i+1, len(ids), mls.ErrUnavailable, err))
		}
		psks[i] = keyschedule.PSK{ID: id, Secret: secret}
	}
	return keyschedule.NewPSKSecret(suite, psks)
}

// resumption finds the PSK of an epoch of this group that is still held.
func (g *Group) resumption(id keyschedule.PreSharedKeyID) (mls.Secret, bool) {
	if id.Type != keyschedule.PSKResumption || !bytes.Equal(id.PSKGroupID, g.context.GroupID) {
		return mls.Secret{}, false
	}
	var secret mls.Secret
	if id.PSKEpoch == g.context.Epoch {
		secret = g.epoch.ResumptionPSK()
	} else if p, ok := g.pastEpoch(id.PSKEpoch); ok {
		secret = p.secrets.ResumptionPSK()
	}
	return secret, !secret.IsZero()
}

var (
	errNoPSKs        = errors.New("provide it through Config.PSK")
	errNoPredecessor = errors.New("pass the group that it is of as JoinOptions.Predecessor, or provide it through Config.PSK")
	errZeroPSK       = errors.New("Config.PSK returned no secret")
)

// clonePSKID is a copy that shares nothing with id.
func clonePSKID(id keyschedule.PreSharedKeyID) keyschedule.PreSharedKeyID {
	id.PSKID, id.PSKGroupID, id.PSKNonce = bytes.Clone(id.PSKID), bytes.Clone(id.PSKGroupID), bytes.Clone(id.PSKNonce)
	return id
}

// findPSK asks the application. The secret it returns stays its own.
func (c *Config) findPSK(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	if c.PSK == nil {
		return mls.Secret{}, errNoPSKs
	}
	secret, err := c.PSK(clonePSKID(id))
	if err != nil {
		return mls.Secret{}, err
	}
	if secret.IsZero() {
		return mls.Secret{}, errZeroPSK
	}
	return secret.Clone(), nil
}
