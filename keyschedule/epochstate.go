package keyschedule

import (
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

// stateVersion is the version of the saved forms in this package. A form that
// changes gets a new number; nothing restores a number it does not know.
const stateVersion = 1

// epochState is the saved form of EpochSecrets. A past epoch has the first two
// secrets, a current one all of them. encryption_secret is in neither: what it
// becomes is saved with the secret tree.
type epochState struct {
	Version       uint64          `cbor:"1,keyasint"`
	Suite         mls.CipherSuite `cbor:"2,keyasint"`
	SenderData    []byte          `cbor:"3,keyasint"`
	Resumption    []byte          `cbor:"4,keyasint"`
	Exporter      []byte          `cbor:"5,keyasint,omitempty"`
	External      []byte          `cbor:"6,keyasint,omitempty"`
	Confirmation  []byte          `cbor:"7,keyasint,omitempty"`
	Membership    []byte          `cbor:"8,keyasint,omitempty"`
	Authenticator []byte          `cbor:"9,keyasint,omitempty"`
	Init          []byte          `cbor:"10,keyasint,omitempty"`
}

// saved pairs each secret in the saved form with its place in e.
func (e *EpochSecrets) saved(st *epochState) []savedSecret {
	return []savedSecret{
		{&e.senderData, &st.SenderData},
		{&e.resumption, &st.Resumption},
		{&e.exporter, &st.Exporter},
		{&e.external, &st.External},
		{&e.confirmation, &st.Confirmation},
		{&e.membership, &st.Membership},
		{&e.authenticator, &st.Authenticator},
		{&e.init.secret, &st.Init},
	}
}

type savedSecret struct {
	secret *mls.Secret
	bytes  *[]byte
}

// savedPast is how many of the saved secrets a past epoch has.
const savedPast = 2

var errNothingToSave = errors.New("mls: a destroyed epoch has no state")
var errTreeNotTaken = errors.New("mls: the secret tree is to be taken before the epoch is saved")

// MarshalState returns the saved form of e, which is secret. The secret tree
// must have been taken (and is saved on its own): encryption_secret is never
// written anywhere.
func (e *EpochSecrets) MarshalState() ([]byte, error) {
	if e.senderData.IsZero() {
		return nil, errNothingToSave
	}
	if !e.encryption.IsZero() {
		return nil, errTreeNotTaken
	}
	st := epochState{Version: stateVersion, Suite: e.suite.ID()}
	for _, field := range e.saved(&st) {
		if !field.secret.IsZero() {
			*field.bytes = field.secret.UnsafeBytes()
		}
	}
	return state.Marshal(st)
}

// RestoreEpochSecrets returns the EpochSecrets that MarshalState saved. data
// for another suite or version, or with a secret missing or of a wrong length,
// is mls.ErrMalformed.
func RestoreEpochSecrets(s *mls.Suite, data []byte) (*EpochSecrets, error) {
	var st epochState
	if err := state.Unmarshal(data, &st); err != nil {
		return nil, err
	}
	if err := checkHeader(s, st.Version, st.Suite); err != nil {
		return nil, err
	}
	e := &EpochSecrets{suite: s, init: InitSecret{suite: s}}
	fields := e.saved(&st)
	if st.Exporter == nil {
		for _, field := range fields[savedPast:] {
			if *field.bytes != nil {
				return nil, malformed("a past epoch with a current one's secrets")
			}
		}
		fields = fields[:savedPast]
		e.init = InitSecret{}
	}
	for _, field := range fields {
		if len(*field.bytes) != s.HashSize() {
			return nil, malformed("an epoch's secret of %d bytes", len(*field.bytes))
		}
		*field.secret = mls.NewSecret(*field.bytes)
	}
	return e, nil
}

// checkHeader checks the fields with which every saved form begins.
func checkHeader(s *mls.Suite, version uint64, suite mls.CipherSuite) error {
	if version != stateVersion {
		return malformed("version %d", version)
	}
	if suite != s.ID() {
		return malformed("suite %v where the group has %v", suite, s.ID())
	}
	return nil
}

// malformed describes saved state that cannot be restored, and never quotes it.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: saved key schedule: %s", mls.ErrMalformed, fmt.Sprintf(format, args...))
}
