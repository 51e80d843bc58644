package keyschedule

import (
	"slices"

	"github.com/treekem/mls"
)

// TestingOnlySecret returns a copy of a secret of the epoch under its name in
// RFC 9420, Section 8, such as "exporter_secret", or the zero Secret if there
// is none. It serves known-answer tests and has no other use.
func (e *EpochSecrets) TestingOnlySecret(name string) mls.Secret {
	for _, named := range e.named() {
		if named.name == name {
			return named.secret.Clone()
		}
	}
	return mls.Secret{}
}

// TestingOnlySecret returns a copy of the welcome_secret. It serves
// known-answer tests and has no other use.
func (w *WelcomeSecret) TestingOnlySecret() mls.Secret { return w.secret.Clone() }

// TestingOnlySecret returns a copy of the psk_secret, all zero if there are no
// PSKs. It serves known-answer tests and has no other use.
func (p PSKSecret) TestingOnlySecret(s *mls.Suite) mls.Secret { return p.orZero(s).Clone() }

// TestingOnlyPSKSecret returns a PSKSecret with the given value, which it
// copies. It serves known-answer tests and has no other use.
func TestingOnlyPSKSecret(value []byte) PSKSecret {
	return PSKSecret{mls.NewSecret(slices.Clone(value))}
}

// TestingOnlyEpochSecrets returns EpochSecrets that hold copies of the given
// secrets, under their names in RFC 9420, Section 8, and no others. Known-answer
// tests start from single secrets; nothing else does.
func TestingOnlyEpochSecrets(s *mls.Suite, secrets map[string][]byte) *EpochSecrets {
	e := &EpochSecrets{suite: s, init: InitSecret{suite: s}}
	for _, named := range e.named() {
		if value, ok := secrets[named.name]; ok {
			*named.secret = mls.NewSecret(slices.Clone(value))
		}
	}
	return e
}
