package group

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/keyschedule"
)

// pskSecret looks up pre-shared keys and chains them (RFC 9420, Section 8.4).
func (g *Group) pskSecret(ids []keyschedule.PreSharedKeyID) (keyschedule.PSKSecret, error) {
	return chainPSKs(g.suite, ids, func(id keyschedule.PreSharedKeyID) (mls.Secret, bool) {
		if secret, ok := g.resumption(id); ok {
			return secret, true
		}
		return g.cfg.findPSK(id)
	}, func(i int) error {
		return mls.InvalidAt(mls.Culprit{}, "12.4.2", "psk-unavailable",
			"pre-shared key %d of %d is not available: provide it through Config.PSK", i+1, len(ids))
	})
}

func chainPSKs(suite *mls.Suite, ids []keyschedule.PreSharedKeyID, find func(keyschedule.PreSharedKeyID) (mls.Secret, bool), missing func(int) error) (keyschedule.PSKSecret, error) {
	psks := make([]keyschedule.PSK, len(ids))
	defer func() {
		for _, p := range psks {
			p.Secret.Destroy()
		}
	}()
	for i, id := range ids {
		secret, ok := find(id)
		if !ok {
			return keyschedule.PSKSecret{}, missing(i)
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

// findPSK asks the application. The secret it returns stays its own.
func (c *Config) findPSK(id keyschedule.PreSharedKeyID) (mls.Secret, bool) {
	if c.PSK == nil {
		return mls.Secret{}, false
	}
	secret, err := c.PSK(id)
	if err != nil || secret.IsZero() {
		return mls.Secret{}, false
	}
	return secret.Clone(), true
}
