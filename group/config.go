package group

import (
	"errors"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Config is what an application decides for its groups. It is passed by value;
// the zero value of every field but Authenticate is a safe default. The
// functions must not call back into the group.
type Config struct {
	// Authenticate is asked about every credential that is new to the group
	// (RFC 9420, Section 5.3.1). A nil function is an error;
	// [InsecureAnyCredential] accepts everything. If it cannot tell now, because
	// a directory does not answer, its error must wrap [mls.ErrUnavailable]: any
	// other makes what brought the credential invalid.
	Authenticate func(Authentication) error

	// Authorize is asked about everything that comes from outside the group:
	// proposals of external senders and of new members, and external commits
	// (RFC 9420, Sections 12.1.8 and 12.4.3.2). If it is nil, listed external
	// senders and external commits are admitted, and new members' proposals to
	// add themselves are refused.
	Authorize func(Admission) error

	// SameClient tells whether two leaves belong to the same client. It serves
	// the rules that the RFC leaves to the application: duplicate Adds (Section
	// 12.2; nil compares signature keys) and the memberships of reinitialized
	// and branched groups (Sections 11.2, 11.3; nil compares credentials). A
	// non-nil function costs a walk over all members for each Add.
	SameClient func(a, b *treekem.LeafNode) bool

	// PSK finds pre-shared keys: external ones, and resumption PSKs that the
	// group itself no longer holds. Nil means that there are none. Its error is
	// that of what needed the key, which is mls.ErrUnavailable, too.
	PSK func(keyschedule.PreSharedKeyID) (mls.Secret, error)

	// Time is the clock for lifetimes; nil is time.Now.
	Time func() time.Time

	// AcceptExpired accepts, on joining, leaves whose lifetime has run out, and
	// everywhere leaves of others whose lifetime has not begun or is longer than
	// Limits.MaxLifetime. Members follow commits that add expired key packages
	// in any case, because those may have expired only since; own key packages
	// are always held to their lifetime.
	AcceptExpired bool

	// Handshakes is how own proposals and commits are framed:
	// framing.WireFormatPrivateMessage (the default) or
	// framing.WireFormatPublicMessage.
	Handshakes framing.WireFormat

	// Padding says how many bytes of padding to add to a content of n bytes in
	// a PrivateMessage (RFC 9420, Section 15.1). Nil adds none.
	Padding func(n int) int

	// Verified remembers the leaves whose signatures were verified on joining,
	// so that joining again is cheap. Nil remembers nothing. It must not be
	// shared between goroutines.
	Verified *treekem.VerifiedLeaves

	// Limits bounds what others can make us hold or compute.
	Limits Limits
}

// Limits are bounds on what a peer's message can cost. A zero field stands for
// the default.
type Limits struct {
	// MaxForward is how far one message may move a sender's ratchet forward
	// (RFC 9420, Section 15.3). Default keyschedule.DefaultMaxForward.
	MaxForward uint32
	// MaxSkipped is how many keys of skipped messages are kept for each
	// ratchet. Default keyschedule.DefaultMaxSkipped.
	MaxSkipped int
	// PastEpochs is for how many past epochs late application messages can
	// still be read. Default DefaultPastEpochs; negative means none.
	PastEpochs int
	// MaxLeaves bounds the width of the tree. Default DefaultMaxLeaves.
	MaxLeaves uint32
	// MaxMessage bounds the size of an encoded message in bytes. Default
	// DefaultMaxMessage.
	MaxMessage int
	// MaxProposals bounds how many proposals an epoch caches. Default
	// DefaultMaxProposals.
	MaxProposals int
	// MaxLifetime is the longest lifetime a key package may claim (RFC 9420,
	// Section 7.2). Default DefaultMaxLifetime.
	MaxLifetime time.Duration
}

// Defaults of Limits.
const (
	// DefaultPastEpochs keeps late messages of the last few epochs readable:
	// enough for reordering around a commit, short for forward secrecy.
	DefaultPastEpochs = 3
	// DefaultMaxLeaves is 2^21: the largest tree that the costs were measured
	// for is 2^20.
	DefaultMaxLeaves = 1 << 21
	// DefaultMaxMessage is 256 MiB: the first commit after a million members
	// were added at once is about 85 MB, and what is decoded can take many
	// times the memory of what was read.
	DefaultMaxMessage = 256 << 20
	// DefaultMaxProposals is 2^16: no honest epoch holds more.
	DefaultMaxProposals = 1 << 16
	// DefaultMaxLifetime is 400 days: a year of validity, an hour's clock skew,
	// and room for applications that count generously.
	DefaultMaxLifetime = 400 * 24 * time.Hour
)

// Authentication is what Config.Authenticate is asked about.
type Authentication struct {
	// Credential and SignatureKey are presented together.
	Credential   treekem.Credential
	SignatureKey mls.SignaturePublicKey
	// Replaces is the credential that this one succeeds, when a member
	// replaces its own: the application then also decides whether the new one
	// is an acceptable successor (RFC 9420, Section 5.3.1).
	Replaces *treekem.Credential
	// ExternalSender is true for an entry of the external_senders extension.
	ExternalSender bool
	// GroupID is the group in which it is presented.
	GroupID []byte
}

// Admission is what Config.Authorize is asked about.
type Admission struct {
	// Sender is external, new_member_proposal or new_member_commit.
	Sender framing.Sender
	// Proposal is the proposal; nil for an external commit.
	Proposal *framing.Proposal
	// Leaf is the leaf of the client that wants to join; nil otherwise.
	Leaf *treekem.LeafNode
	// Removes is the leaf that an external commit removes; nil if none.
	Removes *mls.LeafIndex
}

// InsecureAnyCredential is a Config.Authenticate that accepts every credential.
// Anybody can then join under any name: use it in tests and simulations only.
func InsecureAnyCredential(Authentication) error { return nil }

var errNoAuthenticate = errors.New("mls: Config.Authenticate is nil: say how credentials are validated (group.InsecureAnyCredential accepts all)")

// withDefaults checks c once and fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	if c.Authenticate == nil {
		return c, errNoAuthenticate
	}
	if c.Time == nil {
		c.Time = time.Now
	}
	switch c.Handshakes {
	case 0:
		c.Handshakes = framing.WireFormatPrivateMessage
	case framing.WireFormatPrivateMessage, framing.WireFormatPublicMessage:
	default:
		return c, errors.New("mls: Config.Handshakes is neither PrivateMessage nor PublicMessage")
	}
	c.Limits = c.Limits.withDefaults()
	return c, nil
}

func (l Limits) withDefaults() Limits {
	l.MaxForward = orDefault(l.MaxForward, keyschedule.DefaultMaxForward)
	l.MaxSkipped = orDefault(l.MaxSkipped, keyschedule.DefaultMaxSkipped)
	l.PastEpochs = max(orDefault(l.PastEpochs, DefaultPastEpochs), 0)
	l.MaxLeaves = orDefault(l.MaxLeaves, DefaultMaxLeaves)
	l.MaxMessage = orDefault(l.MaxMessage, DefaultMaxMessage)
	l.MaxProposals = orDefault(l.MaxProposals, DefaultMaxProposals)
	l.MaxLifetime = orDefault(l.MaxLifetime, DefaultMaxLifetime)
	return l
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (l Limits) bounds() keyschedule.Bounds {
	return keyschedule.Bounds{MaxForward: l.MaxForward, MaxSkipped: l.MaxSkipped}
}

// padding is the number of padding bytes for a content of n bytes.
func (c *Config) padding(n int) int {
	if c.Padding == nil {
		return 0
	}
	return max(c.Padding(n), 0)
}

// Identity is how a member presents itself.
type Identity struct {
	Credential treekem.Credential
	// Signer signs for the credential's key.
	Signer mls.Signer
	// Capabilities are what the member's software supports; nil stands for
	// treekem.DefaultCapabilities.
	Capabilities *treekem.Capabilities
	// Extensions are the leaf node's extensions.
	Extensions []mls.Extension
}

// leaf is an unsigned leaf node for the identity, without its encryption key.
func (id *Identity) leaf() (*treekem.LeafNode, error) {
	if id.Signer == nil {
		return nil, errors.New("mls: Identity.Signer is nil")
	}
	if err := mls.CheckExtensions(id.Extensions); err != nil {
		return nil, err
	}
	caps := treekem.DefaultCapabilities()
	if id.Capabilities != nil {
		caps = *id.Capabilities
	}
	return &treekem.LeafNode{
		SignatureKey: id.Signer.Public(),
		Credential:   id.Credential,
		Capabilities: caps,
		Extensions:   withGREASE(id.Extensions, &caps),
	}, nil
}
