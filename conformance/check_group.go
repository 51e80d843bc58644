package conformance

import (
	"bytes"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// checkPassiveClient follows a group as the member that it was added as: all
// of RFC 9420, Sections 12.4.2 and 12.4.3.1.
func checkPassiveClient(c *check) {
	kp, private := c.clientKeys()
	psks := c.externalPSKs()
	var opt group.JoinOptions
	if tree := c.get("ratchet_tree"); !tree.null() {
		opt.RatchetTree = tree.bytes()
	}
	cfg := group.Config{
		// The format says of nobody that he must not be in the group.
		Authenticate:  group.InsecureAnyCredential,
		Authorize:     func(group.Admission) error { return nil },
		AcceptExpired: c.opt.AcceptExpired,
		PSK:           psks.find,
	}
	v := c.get("welcome")
	g, err := group.Join(cfg, c.welcome(v), kp, private, opt)
	v.must(err)
	c.get("initial_epoch_authenticator").equal(g.EpochAuthenticator())
	for _, epoch := range c.get("epochs").list() {
		follow(g, epoch)
	}
}

// follow processes the messages of one epoch.
func follow(g *group.Group, epoch *node) {
	for _, v := range epoch.get("proposals").list() {
		received, err := g.Process(v.bytes())
		v.must(err)
		if _, ok := received.(*group.ReceivedProposal); !ok {
			v.fail("not a proposal for this epoch but %T", received)
		}
	}
	v := epoch.get("commit")
	received, err := g.Process(v.bytes())
	v.must(err)
	staged, ok := received.(*group.Staged)
	if !ok {
		v.fail("not a commit for this epoch but %T", received)
	}
	v.must(g.Merge(staged))
	epoch.get("epoch_authenticator").equal(g.EpochAuthenticator())
}

// clientKeys returns the key package and the private keys, which must be those
// of the key package.
func (c *check) clientKeys() (*treekem.KeyPackage, *treekem.KeyPackagePrivate) {
	kp := c.keyPackage(c.get("key_package"))
	hpke := func(name string, pub mls.HPKEPublicKey) *mls.HPKEPrivateKey {
		v := c.get(name)
		key, err := c.suite.NewPrivateKey(v.secret())
		v.must(err)
		if !bytes.Equal(key.Public(), pub) {
			v.fail("not the private key of the key package's")
		}
		return key
	}
	private := &treekem.KeyPackagePrivate{
		InitKey: hpke("init_priv", kp.InitKey),
		LeafKey: hpke("encryption_priv", kp.LeafNode.EncryptionKey),
	}
	v := c.get("signature_priv")
	signer, err := c.suite.NewSigner(v.secret())
	v.must(err)
	if !bytes.Equal(signer.Public(), kp.LeafNode.SignatureKey) {
		v.fail("not the private key of the key package's")
	}
	private.Signer = signer
	return kp, private
}

// pskStore is the pre-shared keys of a case.
type pskStore []*node

func (c *check) externalPSKs() pskStore { return c.get("external_psks").list() }

// find is the Config.PSK of a passive client. A PSK counts as read when the
// group asks for it: one that no epoch calls for is part of no check.
func (s pskStore) find(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	if id.Type == keyschedule.PSKExternal {
		for _, v := range s {
			if bytes.Equal(v.get("psk_id").bytes(), id.PSKID) {
				return v.get("psk").secret(), nil
			}
		}
	}
	return mls.Secret{}, errors.New("no such PSK in the case")
}
