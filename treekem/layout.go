package treekem

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/treekem/mls"
)

// Names of the records of a stored tree: a letter, then what it is about.
//
//	h             the head: width, layout, and the nodes above the highest pages
//	p NODE        the page below a node, 4 bytes
//	k HASH        where the key with this hash is, 16 bytes
//	b NUMBER      a bucket of the keys that the tree had when all of it was
//	              stored at once, 4 bytes
const (
	recordHead   = 'h'
	recordPage   = 'p'
	recordKey    = 'k'
	recordBucket = 'b'
)

func headName() []byte { return []byte{recordHead} }

func pageName(x NodeIndex) []byte {
	return binary.BigEndian.AppendUint32([]byte{recordPage}, uint32(x))
}

func bucketName(k uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{recordBucket}, k)
}

// A layout is what the names and values of a stored tree depend on.
type layout struct {
	// seed makes the hashes of keys different in each stored tree, so that
	// nobody can choose keys whose hashes meet.
	seed [16]byte
	// buckets is the number of buckets.
	buckets uint32
}

// bucketKeys is the mean number of keys in a bucket: few enough to read one for
// every key that is looked up.
const bucketKeys = 24

func newLayout(keys int) layout {
	l := layout{buckets: uint32((keys + bucketKeys - 1) / bucketKeys)}
	rand.Read(l.seed[:])
	return l
}

// A value is stored as
//
//	version (1) || checksum (8) || body
//
// The checksum covers the name too, and the seed but in the head. It is against
// damage: whoever can forge a record can forge its checksum.
const (
	storedVersion = 1
	checksumSize  = 8
	storedHead    = 1 + checksumSize
)

func (l *layout) checksum(name, body []byte) []byte {
	h := sha256.New()
	if name[0] != recordHead {
		h.Write(l.seed[:])
	}
	h.Write([]byte{storedVersion, byte(len(name))})
	h.Write(name)
	h.Write(body)
	return h.Sum(nil)[:checksumSize]
}

func (l *layout) wrap(name, body []byte) []byte {
	return slices.Concat([]byte{storedVersion}, l.checksum(name, body), body)
}

func (l *layout) unwrap(name, value []byte) ([]byte, error) {
	if len(value) > 0 && value[0] > storedVersion {
		return nil, fmt.Errorf("%w: a stored tree of version %d", mls.ErrUnsupported, value[0])
	}
	if len(value) < storedHead || value[0] != storedVersion {
		return nil, fmt.Errorf("%w: a record of a tree", mls.ErrMalformed)
	}
	body := value[storedHead:]
	if subtle.ConstantTimeCompare(l.checksum(name, body), value[1:storedHead]) != 1 {
		return nil, fmt.Errorf("%w: the checksum of a record of a tree", mls.ErrMalformed)
	}
	return body, nil
}

// A keyKind tells which keys are to be unique among each other.
type keyKind byte

const (
	encryptionKeys keyKind = 'e'
	signatureKeys  keyKind = 's'
)

// in returns the key of that kind of an encoded node.
func (k keyKind) in(raw string) string {
	if k == signatureKeys {
		return signatureKeyIn(raw)
	}
	return encryptionKeyIn(raw)
}

// A keyID stands for a key in a stored tree.
type keyID [24]byte

func (l *layout) id(kind keyKind, key string) keyID {
	h := sha256.New()
	h.Write(l.seed[:])
	h.Write([]byte{byte(kind)})
	h.Write([]byte(key))
	return keyID(h.Sum(nil)[:24])
}

func (id keyID) name() []byte { return slices.Concat([]byte{recordKey}, id[:16]) }

// fingerprint tells the keys of a bucket apart.
func (id keyID) fingerprint() uint32 { return binary.BigEndian.Uint32(id[20:]) }

// bucket is the number of the key's bucket.
func (l *layout) bucket(id keyID) uint32 {
	return uint32(uint64(binary.BigEndian.Uint32(id[16:])) * uint64(l.buckets) >> 32)
}

func encodeBucket(entries []indexEntry) []byte {
	slices.Sort(entries)
	out := make([]byte, 0, 8*len(entries))
	for _, e := range entries {
		out = binary.BigEndian.AppendUint64(out, uint64(e))
	}
	return out
}

func decodeBucket(body []byte) ([]indexEntry, error) {
	if len(body)%8 != 0 {
		return nil, fmt.Errorf("%w: a bucket of keys", mls.ErrMalformed)
	}
	entries := make([]indexEntry, len(body)/8)
	for k := range entries {
		entries[k] = indexEntry(binary.BigEndian.Uint64(body[8*k:]))
	}
	return entries, nil
}
