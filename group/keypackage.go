package group

import (
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/treekem"
)

// DefaultLifetime is how long a key package can be used unless its owner says
// otherwise: twelve weeks, so that a device that was off for a season still
// finds its group's invitations, while lost keys go out of use.
const DefaultLifetime = 12 * 7 * 24 * time.Hour

// KeyPackageOptions says what key package to make.
type KeyPackageOptions struct {
	// Identity is the owner's.
	Identity Identity
	// Lifetime is how long it can be used, from now on; zero stands for
	// DefaultLifetime.
	Lifetime time.Duration
	// LastResort marks a key package that may be used more than once, when no
	// other is left (RFC 9420, Section 16.8).
	LastResort bool
	// Extensions are further extensions of the key package.
	Extensions []mls.Extension
}

// NewKeyPackage makes a key package (RFC 9420, Section 10), by which others can
// add its owner to groups, and its private keys, which [Join] needs. It is
// good for one group; the private keys are to be deleted once it was used.
func NewKeyPackage(cfg Config, suite *mls.Suite, opt KeyPackageOptions) (*treekem.KeyPackage, *treekem.KeyPackagePrivate, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	lifetime, err := cfg.lifetime(opt.Lifetime)
	if err != nil {
		return nil, nil, err
	}
	id := &opt.Identity
	leaf, err := id.leaf()
	if err != nil {
		return nil, nil, err
	}
	if err := mls.CheckExtensions(opt.Extensions); err != nil {
		return nil, nil, err
	}
	exts := opt.Extensions
	if opt.LastResort {
		exts = append(exts[:len(exts):len(exts)], mls.Extension{Type: treekem.ExtensionLastResort})
		leaf.Capabilities = leaf.Capabilities.Clone()
		if !leaf.Capabilities.SupportsExtension(treekem.ExtensionLastResort) {
			leaf.Capabilities.Extensions = append(leaf.Capabilities.Extensions, treekem.ExtensionLastResort)
		}
	}
	return treekem.NewKeyPackage(suite, treekem.KeyPackageOptions{
		Credential: id.Credential, Signer: id.Signer, Capabilities: &leaf.Capabilities,
		Lifetime: lifetime, LeafExtensions: leaf.Extensions, Extensions: withGREASE(exts, &leaf.Capabilities),
	})
}

// lifetime begins now, and is no longer than others accept if their limit is
// ours (RFC 9420, Section 7.2).
func (c *Config) lifetime(d time.Duration) (treekem.Lifetime, error) {
	limit := c.Limits.MaxLifetime
	if d == 0 {
		l := treekem.LifetimeFrom(c.Time(), DefaultLifetime)
		l.NotAfter = min(l.NotAfter, l.NotBefore+uint64(limit/time.Second))
		return l, nil
	}
	l := treekem.LifetimeFrom(c.Time(), d)
	if l.Duration() > limit {
		return l, mls.Invalid("7.2", "lifetime-too-long", "a lifetime of %v exceeds Limits.MaxLifetime", l.Duration())
	}
	return l, nil
}

// withGREASE adds an extension of the GREASE type that the capabilities list,
// if they list one (RFC 9420, Section 13.5).
func withGREASE(exts []mls.Extension, caps *treekem.Capabilities) []mls.Extension {
	for _, t := range caps.Extensions {
		if _, there := mls.FindExtension(exts, t); mls.IsGREASE(uint16(t)) && !there {
			return append(exts[:len(exts):len(exts)], mls.Extension{Type: t})
		}
	}
	return exts
}
