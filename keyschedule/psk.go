package keyschedule

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// PSKType says how a pre-shared key was provisioned (RFC 9420, Section 8.4).
type PSKType uint8

// The types of pre-shared keys (RFC 9420, Section 8.4).
const (
	// PSKExternal is a key that the application provides.
	PSKExternal PSKType = 1
	// PSKResumption is the resumption_psk of some epoch of some group.
	PSKResumption PSKType = 2
)

// String returns the name the RFC gives the type.
func (t PSKType) String() string {
	switch t {
	case PSKExternal:
		return "external"
	case PSKResumption:
		return "resumption"
	}
	return fmt.Sprintf("PSKType(%d)", uint8(t))
}

// ResumptionUsage says what a resumption PSK is used for (RFC 9420, Section 8.4).
type ResumptionUsage uint8

// The usages of resumption PSKs (RFC 9420, Section 8.4).
const (
	// UsageApplication is any use the application has for it.
	UsageApplication ResumptionUsage = 1
	// UsageReInit links a group to the one it replaces (RFC 9420, Section 11.2).
	UsageReInit ResumptionUsage = 2
	// UsageBranch links a subgroup to its parent (RFC 9420, Section 11.3).
	UsageBranch ResumptionUsage = 3
)

// String returns the name the RFC gives the usage.
func (u ResumptionUsage) String() string {
	switch u {
	case UsageApplication:
		return "application"
	case UsageReInit:
		return "reinit"
	case UsageBranch:
		return "branch"
	}
	return fmt.Sprintf("ResumptionUsage(%d)", uint8(u))
}

// MaxPSKs is the number of PSKs that can enter one epoch: PSKLabel counts
// them in a uint16 (RFC 9420, Section 8.4).
const MaxPSKs = 1<<16 - 1

// PreSharedKeyID names a pre-shared key (RFC 9420, Section 8.4). PSKID belongs
// to external keys; Usage, PSKGroupID and PSKEpoch to resumption keys.
//
//	struct {
//	    PSKType psktype;
//	    select (PreSharedKeyID.psktype) {
//	        case external:
//	            opaque psk_id<V>;
//	        case resumption:
//	            ResumptionPSKUsage usage;
//	            opaque psk_group_id<V>;
//	            uint64 psk_epoch;
//	    };
//	    opaque psk_nonce<V>;
//	} PreSharedKeyID;
type PreSharedKeyID struct {
	Type       PSKType
	PSKID      []byte
	Usage      ResumptionUsage
	PSKGroupID []byte
	PSKEpoch   uint64
	PSKNonce   []byte
}

// Encode appends the encoding of id to b. A type or usage that the RFC does
// not define fails the builder.
func (id PreSharedKeyID) Encode(b *wire.Builder) {
	b.U8(uint8(id.Type))
	switch id.Type {
	case PSKExternal:
		b.Opaque(id.PSKID)
	case PSKResumption:
		if !id.Usage.known() {
			b.Fail(fmt.Errorf("%w: resumption PSK usage %d", mls.ErrMalformed, uint8(id.Usage)))
		}
		b.U8(uint8(id.Usage))
		b.Opaque(id.PSKGroupID)
		b.U64(id.PSKEpoch)
	default:
		b.Fail(fmt.Errorf("%w: PSK type %d", mls.ErrMalformed, uint8(id.Type)))
	}
	b.Opaque(id.PSKNonce)
}

// Decode reads id from r, copying what it keeps unless r owns its input. A type
// that the RFC does not define cannot be read past; a usage it does not define is
// refused with it.
func (id *PreSharedKeyID) Decode(r *wire.Reader) {
	*id = PreSharedKeyID{Type: PSKType(r.U8())}
	switch id.Type {
	case PSKExternal:
		id.PSKID = r.OpaqueCopy()
	case PSKResumption:
		id.Usage = ResumptionUsage(r.U8())
		if !id.Usage.known() {
			r.Fail("resumption PSK usage %d", uint8(id.Usage))
		}
		id.PSKGroupID = r.OpaqueCopy()
		id.PSKEpoch = r.U64()
	default:
		r.Fail("PSK type %d", uint8(id.Type))
	}
	id.PSKNonce = r.OpaqueCopy()
}

func (u ResumptionUsage) known() bool { return u >= UsageApplication && u <= UsageBranch }

// Equal reports whether both name the same key with the same nonce: whether
// they have the same encoding.
func (id PreSharedKeyID) Equal(other PreSharedKeyID) bool {
	if id.Type != other.Type || !bytes.Equal(id.PSKNonce, other.PSKNonce) {
		return false
	}
	if id.Type == PSKResumption {
		return id.Usage == other.Usage && id.PSKEpoch == other.PSKEpoch &&
			bytes.Equal(id.PSKGroupID, other.PSKGroupID)
	}
	return bytes.Equal(id.PSKID, other.PSKID)
}

// CheckNonce reports a nonce that is not KDF.Nh bytes long as RuleError
// 8.4/psk-nonce-length. The rule binds PreSharedKey proposals and the psks of
// a Welcome alike (RFC 9420, Sections 8.4 and 12.1.4).
func (id PreSharedKeyID) CheckNonce(s *mls.Suite) error {
	if len(id.PSKNonce) != s.HashSize() {
		return mls.Invalid("8.4", "psk-nonce-length", "PSK nonce of %d bytes, want %d",
			len(id.PSKNonce), s.HashSize())
	}
	return nil
}

// NewPSKNonce returns a fresh nonce for a PreSharedKeyID: KDF.Nh random bytes
// (RFC 9420, Section 8.4).
func NewPSKNonce(s *mls.Suite) []byte {
	nonce := make([]byte, s.HashSize())
	rand.Read(nonce) // never fails: crypto/rand crashes the program instead
	return nonce
}

// PSK is a pre-shared key with its name. The secret stays the caller's.
type PSK struct {
	ID     PreSharedKeyID
	Secret mls.Secret
}

// PSKSecret is the psk_secret that enters an epoch (RFC 9420, Section 8.4). The
// zero value is that of an epoch without PSKs, the all-zero string.
type PSKSecret struct{ secret mls.Secret }

// NewPSKSecret chains psks, in the order in which the Commit or the Welcome
// lists them, into the psk_secret of an epoch (RFC 9420, Section 8.4). An empty
// list gives the zero PSKSecret. The error is a RuleError: 8.4/psk-count for
// more than MaxPSKs, 8.4/psk-nonce-length, or 8.4/psk-missing for an entry
// whose Secret is not set.
func NewPSKSecret(s *mls.Suite, psks []PSK) (PSKSecret, error) {
	if len(psks) > MaxPSKs {
		return PSKSecret{}, mls.Invalid("8.4", "psk-count", "%d PSKs in one epoch, at most %d", len(psks), MaxPSKs)
	}
	var chain PSKSecret
	for i, psk := range psks {
		input, err := pskInput(s, psk, uint16(i), uint16(len(psks)))
		if err != nil {
			chain.Destroy()
			return PSKSecret{}, err
		}
		next := s.Extract(input, chain.orZero(s))
		input.Destroy()
		chain.Destroy()
		chain = PSKSecret{next}
	}
	return chain, nil
}

// pskInput returns psk_input for one entry of the list.
//
//	struct {
//	    PreSharedKeyID id;
//	    uint16 index;
//	    uint16 count;
//	} PSKLabel;
func pskInput(s *mls.Suite, psk PSK, index, count uint16) (mls.Secret, error) {
	if psk.Secret.IsZero() {
		// An absent key must not pass for an empty one: the epoch would be
		// derived from what everybody knows.
		return mls.Secret{}, mls.Invalid("8.4", "psk-missing", "PSK %d of %d has no secret", index, count)
	}
	if err := psk.ID.CheckNonce(s); err != nil {
		return mls.Secret{}, err
	}
	var label wire.Builder
	psk.ID.Encode(&label)
	label.U16(index)
	label.U16(count)
	context, err := label.Bytes()
	if err != nil {
		return mls.Secret{}, err
	}
	extracted := s.Extract(mls.ZeroSecret(s.HashSize()), psk.Secret)
	defer extracted.Destroy()
	return s.ExpandWithLabel(extracted, labelDerivedPSK, context, s.HashSize()), nil
}

func (p PSKSecret) orZero(s *mls.Suite) mls.Secret { return orZero(s, p.secret) }

// orZero returns secret, or the all-zero string of KDF.Nh bytes if none was
// ever set. One that was destroyed stays so, and to derive from it panics:
// otherwise an epoch would silently lose its PSKs.
func orZero(s *mls.Suite, secret mls.Secret) mls.Secret {
	if secret == (mls.Secret{}) {
		return mls.ZeroSecret(s.HashSize())
	}
	return secret
}

// Destroy clears the secret. A psk_secret is consumed by the first message of
// the epoch it entered (RFC 9420, Section 9.2).
func (p PSKSecret) Destroy() { p.secret.Destroy() }
