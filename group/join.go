package group

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// JoinOptions says how to join by a Welcome.
type JoinOptions struct {
	// RatchetTree is the group's tree, when the Welcome does not bring it: the
	// contents of a ratchet_tree extension (RFC 9420, Section 12.4.3.3).
	RatchetTree []byte
	// Predecessor is the group that was reinitialized or branched into this
	// one (RFC 9420, Sections 11.2 and 11.3); nil if the Welcome is not such.
	Predecessor *Group
	// Known tells whether we are in a group of this identifier already (RFC
	// 9420, Section 12.4.3), given the epoch that the Welcome leads to. Nil
	// leaves that check to the application.
	Known func(groupID []byte, epoch uint64) bool
}

// Join joins a group by a Welcome (RFC 9420, Section 12.4.3.1), with the key
// package that it was made for and its private keys. Afterwards the key
// package's private keys should be deleted, unless it is one of last resort.
func Join(cfg Config, welcome *framing.Welcome, kp *treekem.KeyPackage, private *treekem.KeyPackagePrivate, opt JoinOptions) (*Group, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	suite, err := mls.LookupSuite(welcome.CipherSuite)
	if err != nil {
		return nil, err
	}
	if kp.CipherSuite != welcome.CipherSuite {
		return nil, mls.Invalid("12.4.3.1", "key-package-cipher-suite", "a Welcome of %v for a key package of %v", welcome.CipherSuite, kp.CipherSuite)
	}
	j := &joining{cfg: &cfg, suite: suite, welcome: welcome, kp: kp, private: private, opt: opt}
	if err := j.open(); err != nil {
		return nil, err
	}
	defer j.destroy()
	if j.view, err = enter(&cfg, suite, j.info, opt.RatchetTree); err != nil {
		return nil, err
	}
	return j.start()
}

// joining is a Welcome on its way to a group.
type joining struct {
	cfg     *Config
	suite   *mls.Suite
	welcome *framing.Welcome
	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
	opt     JoinOptions

	secrets *framing.GroupSecrets
	joiner  *keyschedule.JoinerSecret
	psk     keyschedule.PSKSecret
	// link is the PSK of usage reinit or branch, if there is one.
	link *keyschedule.PreSharedKeyID
	info *framing.GroupInfo
	view *view
}

func (j *joining) destroy() {
	j.secrets.Destroy()
	j.psk.Destroy()
	if j.joiner != nil {
		j.joiner.Destroy()
	}
}

// open decrypts the group secrets and the group info.
func (j *joining) open() error {
	entry, ok := j.welcome.Find(j.kp.Ref(j.suite))
	if !ok {
		return mls.Invalid("12.4.3.1", "no-key-package", "the Welcome is not for this key package")
	}
	var err error
	if j.secrets, err = entry.Open(j.suite, j.private.InitKey, j.welcome.EncryptedGroupInfo); err != nil {
		return err
	}
	if err = j.openInfo(); err != nil {
		j.destroy()
	}
	return err
}

func (j *joining) openInfo() (err error) {
	if j.joiner, err = keyschedule.ParseJoinerSecret(j.suite, j.secrets.JoinerSecret.Clone()); err != nil {
		return err
	}
	if err = j.findLink(); err != nil {
		return err
	}
	if j.psk, err = j.pskSecret(); err != nil {
		return err
	}
	secret := j.joiner.Welcome(j.psk)
	defer secret.Destroy()
	plain, err := secret.Open(j.welcome.EncryptedGroupInfo)
	if err != nil {
		return err
	}
	j.info = new(framing.GroupInfo)
	if err = wire.UnmarshalOwned(plain, j.info); err != nil {
		return err
	}
	if c := &j.info.GroupContext; c.CipherSuite != j.kp.CipherSuite || c.Version != j.kp.Version {
		return mls.Invalid("12.4.3.1", "cipher-suite", "the group uses version %d and %v, the key package %d and %v",
			c.Version, c.CipherSuite, j.kp.Version, j.kp.CipherSuite)
	}
	if c := &j.info.GroupContext; j.opt.Known != nil && j.opt.Known(bytes.Clone(c.GroupID), c.Epoch) {
		return mls.Invalid("12.4.3", "group-id", "we are in a group of that identifier already")
	}
	return nil
}

// isLink tells whether a PSK links a reinitialized or branched group to its
// predecessor.
func isLink(id *keyschedule.PreSharedKeyID) bool {
	return id.Type == keyschedule.PSKResumption && id.Usage != keyschedule.UsageApplication
}

// findLink finds the PSK that links a reinitialized or branched group to its
// predecessor: there is at most one (RFC 9420, Section 12.4.3.1).
func (j *joining) findLink() error {
	for i := range j.secrets.PSKs {
		id := &j.secrets.PSKs[i]
		if err := id.CheckNonce(j.suite); err != nil {
			return err
		}
		if !isLink(id) {
			continue
		}
		if j.link != nil {
			return mls.Invalid("12.4.3.1", "reinit-or-branch-psk-alone", "several PSKs of usage reinit or branch")
		}
		j.link = id
	}
	return nil
}

func (j *joining) pskSecret() (keyschedule.PSKSecret, error) {
	return chainPSKs(j.suite, j.secrets.PSKs, func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		if j.opt.Predecessor != nil {
			if secret, ok := j.opt.Predecessor.resumption(id); ok {
				return secret, nil
			}
		}
		secret, err := j.cfg.findPSK(id)
		if errors.Is(err, errNoPSKs) && isLink(&id) && j.opt.Predecessor == nil {
			err = errNoPredecessor
		}
		return secret, err
	}, func(missing error) error {
		return mls.Invalid("12.4.3.1", "psk-unavailable", "%w", missing)
	})
}

// start finds our leaf, takes the keys, and confirms the epoch.
func (j *joining) start() (*Group, error) {
	leaf, err := j.ownLeaf()
	if err != nil {
		return nil, err
	}
	// The group's own copy, which it destroys when it is done with it.
	private := treekem.NewPrivate(j.suite, leaf, j.private.LeafKey.Clone())
	if !j.secrets.PathSecret.IsZero() {
		if private, err = private.Join(j.view.tree, j.info.Signer, j.secrets.PathSecret); err != nil {
			return nil, err
		}
	}
	epoch := j.joiner.Epoch(j.psk, j.view.contextBytes)
	if !epoch.VerifyConfirmationTag(j.view.context.ConfirmedTranscriptHash, j.info.ConfirmationTag) {
		epoch.Destroy()
		return nil, withCause(mls.Invalid("12.4.3.1", "confirmation-tag", "the confirmation tag does not match the group"), mls.ErrAuth)
	}
	j.view.confirm(j.info.ConfirmationTag)
	if err := j.checkLink(); err != nil {
		epoch.Destroy()
		return nil, err
	}
	return start(*j.cfg, j.view, epoch, private, j.private.Signer), nil
}

// ownLeaf finds the leaf that is identical to our key package's, and checks
// that we support what the group uses (RFC 9420, Section 13.4).
func (j *joining) ownLeaf() (mls.LeafIndex, error) {
	own := &j.kp.LeafNode
	leaf, ok := j.view.tree.FindLeaf(own)
	if !ok {
		return 0, mls.Invalid("12.4.3.1", "own-leaf", "no leaf of the tree is that of our key package")
	}
	for _, e := range j.view.context.Extensions {
		if !own.Capabilities.SupportsExtension(e.Type) {
			return 0, mls.Invalid("13.4", "joiner-extension-support", "the group uses extension %#04x, which our key package does not support", uint16(e.Type))
		}
	}
	if j.private.Signer == nil || !bytes.Equal(j.private.Signer.Public(), own.SignatureKey) {
		return 0, mls.Invalid("12.4.3.1", "own-leaf", "the private keys are not those of the key package")
	}
	return leaf, nil
}

// enter verifies a group info and the tree that belongs to it, as somebody who
// joins by it must (RFC 9420, Section 12.4.3.1).
func enter(cfg *Config, suite *mls.Suite, info *framing.GroupInfo, ratchetTree []byte) (*view, error) {
	if v := info.GroupContext.Version; v != mls.MLS10 {
		return nil, fmt.Errorf("%w: a group of protocol version %d", mls.ErrUnsupported, v)
	}
	if inside, ok := mls.FindExtension(info.Extensions, mls.ExtensionRatchetTree); ok {
		ratchetTree = inside
	}
	if ratchetTree == nil {
		return nil, mls.Invalid("12.4.3.1", "tree-absent", "the GroupInfo brings no ratchet tree: provide it apart")
	}
	tree, err := treekem.ParseTree(suite, ratchetTree, cfg.Limits.MaxLeaves)
	if err != nil {
		return nil, err
	}
	v, err := newView(suite, info.GroupContext, tree)
	if err != nil {
		return nil, err
	}
	signer, ok := tree.Leaf(info.Signer)
	if !ok {
		return nil, mls.Invalid("12.4.3.1", "signer-leaf", "leaf %d, which signed the GroupInfo, holds no member", info.Signer)
	}
	if err := info.Verify(suite, signer.SignatureKey); err != nil {
		return nil, withCause(mls.InvalidAt(v.culprit(info.Signer), "12.4.3.1", "group-info-signature", "the GroupInfo's signature does not verify"), err)
	}
	if !bytes.Equal(tree.Hash(), v.context.TreeHash) {
		return nil, mls.Invalid("12.4.3.3", "tree-hash", "the ratchet tree is not that of the group context")
	}
	if err := tree.Validate(v.context.GroupID, treekem.ValidateOptions{Now: cfg.Time(), AllowExpired: cfg.AcceptExpired, Verified: cfg.Verified}); err != nil {
		return nil, err
	}
	return v, v.checkMembers(cfg)
}

// checkMembers holds all members against the group context and the
// application's judgement, as a joiner must.
func (v *view) checkMembers(cfg *Config) error {
	if err := v.tree.CheckRequired(v.required); err != nil {
		return err
	}
	if err := checkCapabilities(v.tree, &v.context); err != nil {
		return err
	}
	if err := cfg.authenticateExternalSenders(v.suite, v.context.GroupID, v.externalSenders, nil); err != nil {
		return err
	}
	k := v.checker(cfg, false)
	for i, member := range v.tree.Presentations() {
		err := k.lifetime(member, mls.Culprit{})
		if err == nil {
			err = cfg.authenticate(v.context.GroupID, member, nil, mls.Culprit{})
		}
		if err != nil {
			return blame(err, v.culprit(i)) // what was handed out says nothing any more
		}
	}
	return nil
}
