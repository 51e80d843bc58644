package keyschedule

import "github.com/treekem/mls"

// Labels of the key schedule, the secret tree and PSKs, in the order of their
// sections (RFC 9420, Sections 8, 8.3, 8.4, 8.5, 9, 9.1).
const (
	labelJoiner         = "joiner"
	labelWelcome        = "welcome"
	labelEpoch          = "epoch"
	labelSenderData     = "sender data"
	labelEncryption     = "encryption"
	labelExporter       = "exporter"
	labelExternal       = "external"
	labelConfirm        = "confirm"
	labelMembership     = "membership"
	labelResumption     = "resumption"
	labelAuthentication = "authentication"
	labelInit           = "init"
	labelDerivedPSK     = "derived psk"
	labelExported       = "exported"
	labelTree           = "tree"
	labelHandshake      = "handshake"
	labelApplication    = "application"
	labelNonce          = "nonce"
	labelKey            = "key"
	labelSecret         = "secret"
)

// InitSecret is the init_secret that links an epoch to the next one (RFC 9420,
// Section 8).
type InitSecret struct {
	suite  *mls.Suite
	secret mls.Secret
}

// NewInitSecret returns a random init_secret, which no earlier epoch is needed
// for.
func NewInitSecret(s *mls.Suite) *InitSecret {
	return &InitSecret{s, mls.RandomSecret(s.HashSize())}
}

// ExternalInitSecret returns the init_secret of an external commit, from the
// joiner's side: sec is what [mls.Suite.ExternalInit] returned, and is taken
// over (RFC 9420, Section 8.3).
func ExternalInitSecret(s *mls.Suite, sec mls.Secret) *InitSecret {
	return &InitSecret{s, sec}
}

// Joiner derives the joiner_secret of the next epoch from commit_secret and
// the encoded GroupContext of that epoch (RFC 9420, Section 8). The zero
// Secret stands for the all-zero commit_secret of a Commit without a path (RFC
// 9420, Section 12.4.1). Nothing is consumed: commitSecret stays the caller's,
// and a commit can be staged from i again.
func (i *InitSecret) Joiner(commitSecret mls.Secret, groupContext []byte) *JoinerSecret {
	s, size := i.suite, i.suite.HashSize()
	extracted := s.Extract(i.secret, orZero(s, commitSecret))
	defer extracted.Destroy()
	return &JoinerSecret{s, s.ExpandWithLabel(extracted, labelJoiner, groupContext, size)}
}

// Destroy clears the secret. It is consumed once the epoch derived from it is
// in use (RFC 9420, Section 9.2).
func (i *InitSecret) Destroy() { i.secret.Destroy() }

// JoinerSecret is the joiner_secret of an epoch: what a Welcome hands to a new
// member (RFC 9420, Sections 8 and 12.4.3.1).
type JoinerSecret struct {
	suite  *mls.Suite
	secret mls.Secret
}

// ParseJoinerSecret takes over the joiner_secret of a GroupSecrets (RFC 9420,
// Section 12.4.3.1). A length other than KDF.Nh is RuleError
// 8/joiner-secret-length.
func ParseJoinerSecret(s *mls.Suite, sec mls.Secret) (*JoinerSecret, error) {
	if sec.Len() != s.HashSize() {
		return nil, mls.Invalid("8", "joiner-secret-length", "joiner_secret of %d bytes, want %d",
			sec.Len(), s.HashSize())
	}
	return &JoinerSecret{s, sec}, nil
}

// Secret returns a copy of the joiner_secret, to put into GroupSecrets.
func (j *JoinerSecret) Secret() mls.Secret { return j.secret.Clone() }

// Welcome derives the welcome_secret, the key of the GroupInfo in a Welcome
// (RFC 9420, Section 12.4.3.1). It consumes nothing.
func (j *JoinerSecret) Welcome(psk PSKSecret) *WelcomeSecret {
	member := j.member(psk)
	defer member.Destroy()
	return &WelcomeSecret{j.suite, j.suite.DeriveSecret(member, labelWelcome)}
}

// Epoch derives the secrets of the epoch whose encoded GroupContext is given
// (RFC 9420, Section 8). It consumes nothing, and keeps neither the
// epoch_secret nor anything before it.
func (j *JoinerSecret) Epoch(psk PSKSecret, groupContext []byte) *EpochSecrets {
	member := j.member(psk)
	defer member.Destroy()
	return newEpochSecrets(j.suite, member, groupContext)
}

// member returns the secret between joiner_secret and epoch_secret, to which
// the RFC gives no name.
func (j *JoinerSecret) member(psk PSKSecret) mls.Secret {
	return j.suite.Extract(j.secret, psk.orZero(j.suite))
}

// Destroy clears the secret. It is consumed once the epoch derived from it is
// in use (RFC 9420, Section 9.2).
func (j *JoinerSecret) Destroy() { j.secret.Destroy() }

// WelcomeSecret is the welcome_secret of an epoch (RFC 9420, Section 12.4.3.1).
// Its key and nonce are fixed, so it seals one GroupInfo, once.
type WelcomeSecret struct {
	suite  *mls.Suite
	secret mls.Secret
}

// Seal encrypts an encoded GroupInfo into encrypted_group_info (RFC 9420,
// Section 12.4.3.1). It consumes w: a second GroupInfo under the same key and
// nonce would give both away, so a second call fails with mls.ErrKeyConsumed.
func (w *WelcomeSecret) Seal(groupInfo []byte) ([]byte, error) {
	if w.secret.IsZero() {
		return nil, mls.ErrKeyConsumed
	}
	key, nonce := w.keyNonce()
	defer key.Destroy()
	w.Destroy()
	return w.suite.Seal(nil, key, nonce, nil, groupInfo)
}

// Open decrypts encrypted_group_info (RFC 9420, Section 12.4.3.1). The error is
// mls.ErrAuth if it was not sealed with this secret, which is also what a
// wrong PSK gives. It consumes nothing.
func (w *WelcomeSecret) Open(encryptedGroupInfo []byte) ([]byte, error) {
	if w.secret.IsZero() {
		return nil, mls.ErrKeyConsumed
	}
	key, nonce := w.keyNonce()
	defer key.Destroy()
	return w.suite.Open(key, nonce, nil, encryptedGroupInfo)
}

func (w *WelcomeSecret) keyNonce() (key mls.Secret, nonce []byte) {
	return expandKeyNonce(w.suite, w.secret, nil)
}

// Destroy clears the secret.
func (w *WelcomeSecret) Destroy() { w.secret.Destroy() }

// expandKeyNonce derives an AEAD key and nonce from secret in the way that
// Welcomes and sender data share (RFC 9420, Sections 6.3.2 and 12.4.3.1).
func expandKeyNonce(s *mls.Suite, secret mls.Secret, context []byte) (key mls.Secret, nonce []byte) {
	key = s.ExpandWithLabel(secret, labelKey, context, s.KeySize())
	return key, s.ExpandWithLabel(secret, labelNonce, context, s.NonceSize()).UnsafeBytes()
}
