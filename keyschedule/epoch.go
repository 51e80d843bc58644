package keyschedule

import (
	"slices"

	"github.com/treekem/mls"
)

// EpochSecrets are the secrets of one epoch (RFC 9420, Section 8, Table 4),
// each reachable only through what the RFC uses it for. An EpochSecrets is not
// safe for concurrent use.
//
// A value that stands for a past epoch (see Past) or was destroyed lacks most
// of them: there, tags are nil and do not verify, keys are nil, and methods
// with an error return [mls.ErrKeyConsumed]. SenderData panics if the epoch was
// destroyed.
type EpochSecrets struct {
	suite *mls.Suite

	senderData    mls.Secret
	encryption    mls.Secret // gone after TakeSecretTree
	exporter      mls.Secret
	external      mls.Secret
	confirmation  mls.Secret
	membership    mls.Secret
	resumption    mls.Secret
	authenticator mls.Secret
	init          InitSecret

	externalKey *mls.HPKEPrivateKey // derived from external on first need
}

// FirstEpoch returns the secrets of epoch 0 of a new group, from fresh
// randomness that is bound to the group's encoded GroupContext (RFC 9420,
// Section 11).
func FirstEpoch(s *mls.Suite, groupContext []byte) *EpochSecrets {
	// Any fresh random epoch_secret will do. This one is the key schedule's
	// last step over fresh randomness, so that two groups differ even where a
	// random number generator repeats itself.
	seed := mls.RandomSecret(s.HashSize())
	defer seed.Destroy()
	return newEpochSecrets(s, seed, groupContext)
}

// newEpochSecrets derives everything that hangs off the epoch_secret, so that
// the epoch_secret itself need not outlive the call.
func newEpochSecrets(s *mls.Suite, member mls.Secret, groupContext []byte) *EpochSecrets {
	epoch := s.ExpandWithLabel(member, labelEpoch, groupContext, s.HashSize())
	defer epoch.Destroy()
	return &EpochSecrets{
		suite:         s,
		senderData:    s.DeriveSecret(epoch, labelSenderData),
		encryption:    s.DeriveSecret(epoch, labelEncryption),
		exporter:      s.DeriveSecret(epoch, labelExporter),
		external:      s.DeriveSecret(epoch, labelExternal),
		confirmation:  s.DeriveSecret(epoch, labelConfirm),
		membership:    s.DeriveSecret(epoch, labelMembership),
		resumption:    s.DeriveSecret(epoch, labelResumption),
		authenticator: s.DeriveSecret(epoch, labelAuthentication),
		init:          InitSecret{s, s.DeriveSecret(epoch, labelInit)},
	}
}

// ConfirmationTag returns the confirmation tag of the Commit that starts the
// epoch, the MAC of its confirmed transcript hash (RFC 9420, Section 6.1).
func (e *EpochSecrets) ConfirmationTag(confirmedTranscriptHash []byte) []byte {
	return e.mac(e.confirmation, confirmedTranscriptHash)
}

// VerifyConfirmationTag reports whether tag is the confirmation tag over the
// hash. It takes the same time for every tag of the right length.
func (e *EpochSecrets) VerifyConfirmationTag(confirmedTranscriptHash, tag []byte) bool {
	return e.verifyMAC(e.confirmation, confirmedTranscriptHash, tag)
}

// MembershipTag returns the membership tag of a PublicMessage whose encoded
// AuthenticatedContentTBM is tbm (RFC 9420, Section 6.2).
func (e *EpochSecrets) MembershipTag(tbm []byte) []byte {
	return e.mac(e.membership, tbm)
}

// VerifyMembershipTag reports whether tag is the membership tag over tbm. It
// takes the same time for every tag of the right length.
func (e *EpochSecrets) VerifyMembershipTag(tbm, tag []byte) bool {
	return e.verifyMAC(e.membership, tbm, tag)
}

func (e *EpochSecrets) mac(key mls.Secret, data []byte) []byte {
	if key.IsZero() {
		return nil
	}
	return e.suite.MAC(key, data)
}

func (e *EpochSecrets) verifyMAC(key mls.Secret, data, tag []byte) bool {
	return !key.IsZero() && e.suite.VerifyMAC(key, data, tag)
}

// EpochAuthenticator returns a copy of the epoch_authenticator, KDF.Nh bytes
// that members compare to confirm that they have the same view of the group
// (RFC 9420, Section 8.7). It is meant to be shown.
func (e *EpochSecrets) EpochAuthenticator() []byte {
	return slices.Clone(e.authenticator.UnsafeBytes())
}

// ResumptionPSK returns a copy of the resumption_psk, with which a later epoch
// or another group proves membership in this one (RFC 9420, Section 8.6).
func (e *EpochSecrets) ResumptionPSK() mls.Secret {
	return e.resumption.Clone()
}

// ExternalPub returns external_pub, the public key with which a client outside
// the group makes an external commit (RFC 9420, Section 8). The key pair is
// derived on the first call and kept.
func (e *EpochSecrets) ExternalPub() mls.HPKEPublicKey {
	key, err := e.externalKeyPair()
	if err != nil {
		return nil
	}
	return key.Public()
}

// OpenExternalInit returns the init_secret that kem_output of an ExternalInit
// proposal carries (RFC 9420, Section 8.3).
func (e *EpochSecrets) OpenExternalInit(kemOutput []byte) (*InitSecret, error) {
	key, err := e.externalKeyPair()
	if err != nil {
		return nil, err
	}
	sec, err := e.suite.OpenExternalInit(key, kemOutput)
	if err != nil {
		return nil, err
	}
	return &InitSecret{e.suite, sec}, nil
}

func (e *EpochSecrets) externalKeyPair() (*mls.HPKEPrivateKey, error) {
	if e.externalKey != nil {
		return e.externalKey, nil
	}
	if e.external.IsZero() {
		return nil, mls.ErrKeyConsumed
	}
	key, err := e.suite.DeriveKeyPair(e.external)
	if err != nil {
		return nil, err
	}
	e.externalKey = key
	return key, nil
}

// Exporter derives length bytes for use outside of MLS, for the given label
// and context (RFC 9420, Section 8.5). Labels are to be unique to a purpose. A
// length outside 1..255*KDF.Nh, which is all the KDF can give, is RuleError
// 8.5/exporter-length.
func (e *EpochSecrets) Exporter(label string, context []byte, length int) (mls.Secret, error) {
	if e.exporter.IsZero() {
		return mls.Secret{}, mls.ErrKeyConsumed
	}
	if most := 255 * e.suite.HashSize(); length < 1 || length > most {
		return mls.Secret{}, mls.Invalid("8.5", "exporter-length", "exported length of %d bytes, not in 1..%d", length, most)
	}
	derived := e.suite.DeriveSecret(e.exporter, label)
	defer derived.Destroy()
	return e.suite.ExpandWithLabel(derived, labelExported, e.suite.Hash(context), length), nil
}

// SenderData returns the key and nonce for the sender data of a PrivateMessage
// with the given ciphertext, whose first KDF.Nh bytes they depend on (RFC 9420,
// Section 6.3.2).
func (e *EpochSecrets) SenderData(ciphertext []byte) (key mls.Secret, nonce []byte) {
	sample := ciphertext[:min(len(ciphertext), e.suite.HashSize())]
	return expandKeyNonce(e.suite, e.senderData, sample)
}

// TakeSecretTree returns the secret tree of the epoch, for a ratchet tree that
// is leaves wide (blank leaves included; see [NewSecretTree]), with the default
// bounds. It consumes encryption_secret: a second call returns nil, as it does
// for a restored epoch, whose tree is restored on its own.
func (e *EpochSecrets) TakeSecretTree(leaves uint32) *SecretTree {
	if e.encryption.IsZero() {
		return nil
	}
	return NewSecretTree(e.suite, e.encryption, leaves, Bounds{})
}

// Init returns the init_secret from which the next epoch follows, nil if e is
// past. It shares the secret with e: destroying e destroys it.
func (e *EpochSecrets) Init() *InitSecret {
	if e.init.secret.IsZero() {
		return nil
	}
	return &e.init
}

// Past returns what an epoch keeps once it is left: copies of sender_data_secret,
// to read messages that arrive late, and of resumption_psk. Neither gives
// anything of a later epoch. The caller destroys e.
func (e *EpochSecrets) Past() *EpochSecrets {
	return &EpochSecrets{
		suite:      e.suite,
		senderData: e.senderData.Clone(),
		resumption: e.resumption.Clone(),
	}
}

// Destroy clears every secret of the epoch, which consumes it.
func (e *EpochSecrets) Destroy() {
	for _, named := range e.named() {
		named.secret.Destroy()
	}
	if e.externalKey != nil {
		e.externalKey.Destroy()
		e.externalKey = nil
	}
}

type namedSecret struct {
	name   string
	secret *mls.Secret
}

// named lists the secrets of the epoch under the names of RFC 9420, Section 8.
func (e *EpochSecrets) named() []namedSecret {
	return []namedSecret{
		{"sender_data_secret", &e.senderData},
		{"encryption_secret", &e.encryption},
		{"exporter_secret", &e.exporter},
		{"external_secret", &e.external},
		{"confirmation_key", &e.confirmation},
		{"membership_key", &e.membership},
		{"resumption_psk", &e.resumption},
		{"epoch_authenticator", &e.authenticator},
		{"init_secret", &e.init.secret},
	}
}
