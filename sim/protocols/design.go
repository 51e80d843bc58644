package protocols

import (
	"errors"
	"slices"

	"github.com/treekem/mls"
)

// ID is a user with one device.
type ID int

// Kind says what a packet is for.
type Kind uint8

const (
	// Handshake packets change keys or membership.
	Handshake Kind = iota
	// Message packets carry a text.
	Message
)

// Packet is what a device hands to the server.
type Packet struct {
	From ID
	To   []ID
	Kind Kind
	Body []byte
}

// Event is what a device makes of a packet. The zero Event is a packet that was
// taken in and has nothing to show.
type Event struct {
	// Text is what the user is shown, From who is said to have written it.
	Text []byte
	From ID
	// Notice is what the user is warned of, "" if nothing.
	Notice string
	// Replies are to be delivered.
	Replies []Packet
}

// Errors of devices.
var (
	// ErrRefused: the packet is not what it claims to be.
	ErrRefused = errors.New("protocols: packet refused")
	// ErrReplayed: the packet was taken in before.
	ErrReplayed = errors.New("protocols: packet seen before")
	// ErrNoKey: the device holds no key for the packet.
	ErrNoKey = errors.New("protocols: no key for the packet")
	// ErrNone: the design has no such operation.
	ErrNone = errors.New("protocols: the design has no such operation")
)

// Device is one user's end of one group.
type Device interface {
	// Create starts the group with these members, the device's user included.
	Create(members []ID) ([]Packet, error)
	// Add and Remove change the membership.
	Add(who ID) ([]Packet, error)
	Remove(who ID) ([]Packet, error)
	// Update renews the device's own keys. ErrNone if the design can't.
	Update() ([]Packet, error)
	// Send writes a text to the group.
	Send(text []byte) ([]Packet, error)
	// Receive takes in a packet. After an error nothing has changed.
	Receive(p Packet) (Event, error)
	// Forge makes the best packets the design's insider can that claim to be
	// a text of another member.
	Forge(as ID, text []byte) ([]Packet, error)
	// Fingerprint is what this device holds the user's identity keys to be, for
	// comparison out of band; nil if the design has no identity keys.
	Fingerprint(of ID) []byte
	// Seize returns an adversary that has a copy of the device's whole state.
	Seize() (Adversary, error)
	// StateSize is the size of the device's state in bytes.
	StateSize() int
	// Meter counts the device's work.
	Meter() *Meter
}

// Adversary holds keys and tries packets.
type Adversary interface {
	// Try attempts to read a packet that was recorded, whoever it was for. It
	// returns the texts found. Keys found are kept for later packets.
	Try(p Packet) [][]byte
}

// Server is a delivery service that does more than pass packets on.
type Server interface {
	// Accept takes a packet in and returns what the server then holds.
	Accept(p Packet) (held []byte, err error)
	// Forward makes of what it holds, perhaps changed, the packet for one of
	// the recipients of p.
	Forward(held []byte, p Packet, to ID) (Packet, error)
}

// Directory tells devices of each other. It is run by the server.
type Directory interface {
	Publish(id ID, bundle []byte)
	Lookup(asker, id ID) ([]byte, error)
	// Stock has a device supply keys that are used once; the directory asks for
	// one when it hands one out. Take hands out one, nil if there are none.
	Stock(id ID, supply func() []byte)
	Take(asker, id ID) []byte
}

// Meter counts a device's work.
type Meter struct {
	// PublicKey counts operations with a public or private key: key pairs made,
	// Diffie-Hellman functions, encapsulations, decapsulations, signatures and
	// verifications. Symmetric counts AEAD, MAC and KDF calls.
	PublicKey, Symmetric int
	// Fetched counts bytes from the directory.
	Fetched int
}

// Env is what the devices of a world share.
type Env struct {
	Suite     *mls.Suite
	Directory Directory
	// Passive says whose device answers handshakes but never reads, so that
	// designs may spare it work that nobody would look at. Nil: nobody's.
	Passive func(ID) bool
	// Flaw breaks the design on purpose, to show that a property depends on it.
	Flaw Flaw
	// Server is the design's server, if it has one.
	Server Server
}

func (e *Env) passive(id ID) bool { return e.Passive != nil && e.Passive(id) }

// Flaw is a part of a design left out on purpose.
type Flaw uint8

// The flaws. A design without the part in question ignores the flaw.
const (
	NoFlaw         Flaw = iota
	KeepOnLeave         // nothing is renewed when somebody leaves
	KeepOnJoin          // nothing is renewed when somebody joins
	KeepKeys            // used keys are kept, and used again
	SkipSignatures      // signatures are not checked
	SkipHistory         // members don't confirm to have seen the same
	IdleUpdate          // an update announces keys that the device had before
)

// Design is one way to build group chat.
type Design struct {
	Number int    // in the list of designs
	Name   string // short, for flags and tables
	Title  string
	// Simplified says what the code here leaves out.
	Simplified string
	// Interactive: every member has to be online to change keys.
	Interactive bool
	// MaxMembers is the largest group it is run with; 0 for any.
	MaxMembers int
	// NewServer makes the design's server; nil for one that passes packets on.
	NewServer func(*mls.Suite) (Server, error)
	New       func(*Env, ID) (Device, error)
}

// All returns the designs in order.
func All() []Design {
	return []Design{
		relayDesign(), tlsDesign(), sealedDesign(), groupKeyDesign(), hybridDesign(), hybridLaxDesign(), pgpDesign(),
		mpotrDesign(), signalDesign(), omemoDesign(), senderKeysDesign(), artDesign(), mlsPrivateDesign(), mlsPublicDesign(),
	}
}

// Find returns the designs with the given names; all for none.
func Find(names []string) ([]Design, error) {
	all := All()
	if len(names) == 0 {
		return all, nil
	}
	var out []Design
	for _, name := range names {
		i := slices.IndexFunc(all, func(d Design) bool { return d.Name == name })
		if i < 0 {
			return nil, errors.New("there is no design " + name)
		}
		out = append(out, all[i])
	}
	return out, nil
}
