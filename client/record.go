package client

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/store"
)

// recordVersion is the version of the records: the first byte of each. The rest
// is deterministic CBOR. Version 1 had a group's tree in one record; a store of
// that version is read, and its groups become of this one as they are written.
const (
	recordVersion      = 2
	firstRecordVersion = 1
)

// Keys. GROUP stands for the first 16 bytes of SHA-256 of the group's
// identifier, in hex.
//
//	m                     meta: marks the store as a client's
//	i/ID                  an identity
//	k/REF                 a key package and its private keys
//	p/HASH                a pre-shared key
//	w/HASH                a Welcome that was used
//	o/NUMBER              an entry of the outbox
//	h/GROUP               a group: the head
//	g/GROUP/core          its state without the tree
//	g/GROUP/t/NAME        the tree: see treekem.Stored
//	g/GROUP/tree          the tree of version 1, whole
//	g/GROUP/pend          a pending commit
//	g/GROUP/pdiff         what it changes of the tree
//	g/GROUP/ptree         its tree of version 1, whole
//	g/GROUP/join, jtree   a pending external commit of ours and its tree
//	g/GROUP/f/EPOCH HASH  a message of an epoch to come
//	g/GROUP/l/EPOCH HASH  a handshake message that was dealt with
//	a/...                 the application's
const (
	keyMeta        = "m"
	keyIdentity    = "i/"
	keyKeyPackage  = "k/"
	keyPSK         = "p/"
	keyWelcome     = "w/"
	keyOutbox      = "o/"
	keyHead        = "h/"
	keyGroup       = "g/"
	keyApplication = "a/"

	partCore        = "core"
	partNodes       = "t/"
	partTree        = "tree"
	partPending     = "pend"
	partPendingDiff = "pdiff"
	partPendingTree = "ptree"
	partJoin        = "join"
	partJoinTree    = "jtree"
	partHeld        = "f/"
	partLog         = "l/"
)

// What goes when nothing is pending any more.
var (
	pendingParts = []string{partPending, partPendingDiff, partPendingTree}
	joinParts    = []string{partJoin, partJoinTree}
)

// hashSize is how much of a SHA-256 stands for something in a key.
const hashSize = 16

func shortHash(p []byte) []byte {
	sum := sha256.Sum256(p)
	return sum[:hashSize]
}

// groupName is the name of a group in keys.
func groupName(id []byte) string { return hex.EncodeToString(shortHash(id)) }

func headKey(name string) []byte { return []byte(keyHead + name) }

func partKey(name, part string) []byte { return []byte(keyGroup + name + "/" + part) }

// epochKey is the key of something of an epoch below a part.
func epochKey(name, part string, epoch uint64, message []byte) []byte {
	key := binary.BigEndian.AppendUint64(partKey(name, part), epoch)
	return append(key, shortHash(message)...)
}

// epochOf is the epoch in such a key; false if it is none.
func epochOf(key []byte, name, part string) (uint64, bool) {
	rest := key[len(partKey(name, part)):]
	if len(rest) != 8+hashSize {
		return 0, false
	}
	return binary.BigEndian.Uint64(rest), true
}

func outboxKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte(keyOutbox), id) }

type metaRecord struct {
	// NextOutbox is the number of the next entry of the outbox.
	NextOutbox uint64 `cbor:"1,keyasint"`
}

type identityRecord struct {
	Suite      uint16 `cbor:"1,keyasint"`
	Credential []byte `cbor:"2,keyasint"`
	Public     []byte `cbor:"3,keyasint"`
	// Private is empty for a key that is kept elsewhere.
	Private      []byte `cbor:"4,keyasint,omitempty"`
	Capabilities []byte `cbor:"5,keyasint,omitempty"`
	Extensions   []byte `cbor:"6,keyasint,omitempty"`
}

type keyPackageRecord struct {
	Identity   string `cbor:"1,keyasint"`
	KeyPackage []byte `cbor:"2,keyasint"`
	InitKey    []byte `cbor:"3,keyasint"`
	LeafKey    []byte `cbor:"4,keyasint"`
	NotAfter   uint64 `cbor:"5,keyasint"`
	LastResort bool   `cbor:"6,keyasint,omitempty"`
}

// clear clears the private keys.
func (r *keyPackageRecord) clear() {
	clear(r.InitKey)
	clear(r.LeafKey)
}

type pskRecord struct {
	ID     []byte `cbor:"1,keyasint"`
	Secret []byte `cbor:"2,keyasint"`
}

type welcomeRecord struct {
	Group []byte `cbor:"1,keyasint"`
	Time  int64  `cbor:"2,keyasint"`
}

type outboxRecord struct {
	Group   []byte `cbor:"1,keyasint"`
	Kind    uint8  `cbor:"2,keyasint"`
	Epoch   uint64 `cbor:"3,keyasint"`
	Message []byte `cbor:"4,keyasint"`
}

// headRecord is what a group is found by. It is written with every batch of the
// group, and its counter is in the core too, so that neither of them can be an
// older copy alone.
type headRecord struct {
	Group     []byte `cbor:"1,keyasint"`
	Counter   uint64 `cbor:"2,keyasint"`
	Status    uint8  `cbor:"3,keyasint"`
	Epoch     uint64 `cbor:"4,keyasint"`
	HeldCount uint64 `cbor:"5,keyasint,omitempty"`
	HeldBytes uint64 `cbor:"6,keyasint,omitempty"`
	// Pending tells that there is a pending commit, Joining a pending external
	// one of ours.
	Pending bool `cbor:"7,keyasint,omitempty"`
	Joining bool `cbor:"8,keyasint,omitempty"`
	// Suite is the group's: the tree is read by it.
	Suite uint16 `cbor:"9,keyasint"`
}

// stateRecord is a saved state without its tree, which is in a record of its
// own, so that a message writes what it changes. The state names the tree by its
// hash.
type stateRecord struct {
	Counter uint64 `cbor:"1,keyasint"`
	State   []byte `cbor:"2,keyasint"`
}

type pendingRecord struct {
	State stateRecord `cbor:"1,keyasint"`
	// Outbox is the commit's entry in the outbox.
	Outbox uint64 `cbor:"2,keyasint"`
	// Proposals are what the commit held by value, encoded.
	Proposals [][]byte `cbor:"3,keyasint,omitempty"`
}

type joinRecord struct {
	State   stateRecord `cbor:"1,keyasint"`
	Outbox  uint64      `cbor:"2,keyasint"`
	Message []byte      `cbor:"3,keyasint"`
}

// Kinds of entries in the log of handshake messages.
const (
	logReceived = 0
	logOwn      = 1
)

// encode makes a record.
func encode(v any) ([]byte, error) {
	body, err := state.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append([]byte{recordVersion}, body...), nil
}

// decode reads a record.
func decode(record []byte, v any) error {
	if err := checkVersion(record); err != nil {
		return err
	}
	if err := state.Unmarshal(record[1:], v); err != nil {
		return fmt.Errorf("%w: a record of the client: %v", store.ErrCorrupt, err)
	}
	return nil
}

func checkVersion(record []byte) error {
	if len(record) > 0 && record[0] > recordVersion {
		return fmt.Errorf("%w: a record of version %d, known is %d", store.ErrNewer, record[0], recordVersion)
	}
	if len(record) == 0 || record[0] < firstRecordVersion {
		return fmt.Errorf("%w: a record of no known version", store.ErrCorrupt)
	}
	return nil
}

func get(tx store.Reader, key []byte, v any) error {
	record, err := tx.Get(key)
	if err != nil {
		return err
	}
	defer clear(record) // v has copies of what is secret
	return decode(record, v)
}

// eachRecord calls f with the records below a prefix that can be read.
func eachRecord[R any](tx store.Reader, prefix string, f func(key []byte, r *R)) error {
	for e, err := range tx.Scan([]byte(prefix)) {
		r := new(R)
		if err == nil {
			err = decode(e.Value, r)
			clear(e.Value)
		}
		switch {
		case err == nil:
			f(e.Key, r)
		case e.Key == nil || !unreadable(err):
			return err
		}
	}
	return nil
}

func put(tx store.Writer, key []byte, v any) error {
	record, err := encode(v)
	if err != nil {
		return err
	}
	defer clear(record)
	return tx.Put(key, record)
}

// unreadable reports whether a record is damaged, or of a later version, not the
// store.
func unreadable(err error) bool {
	return errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNewer)
}

// must turns a record that another one promises into damage if it is gone.
func must(err error, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %s is gone", store.ErrCorrupt, what)
	}
	return err
}

// putRaw and getRaw are for records that are one byte string.
func putRaw(tx store.Writer, key, value []byte) error {
	return tx.Put(key, append([]byte{recordVersion}, value...))
}

func getRaw(tx store.Reader, key []byte) ([]byte, error) {
	record, err := tx.Get(key)
	if err != nil {
		return nil, err
	}
	return raw(record)
}

func raw(record []byte) ([]byte, error) {
	if err := checkVersion(record); err != nil {
		return nil, err
	}
	return record[1:], nil
}
