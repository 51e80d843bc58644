package group

import (
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// What the malicious member of the tests knows: everything that its own state
// holds.

func (g *Group) TestingEpoch() *keyschedule.EpochSecrets  { return g.epoch }
func (g *Group) TestingRatchets() *keyschedule.SecretTree { return g.ratchets }
func (g *Group) TestingPrivate() *treekem.Private         { return g.private }

// TestingForgetUpdates drops the private keys of own Updates.
func (g *Group) TestingForgetUpdates() { g.updates = nil }
