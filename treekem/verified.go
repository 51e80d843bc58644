package treekem

import (
	"crypto/sha256"

	"github.com/treekem/mls"
)

// VerifiedLeaves remembers whose signatures were verified, so that joining a
// group again need not verify them again. What it remembers of a leaf is its tree
// hash, which covers its place and every byte of it, together with the suite and
// the group. Only the signature is taken as read: lifetimes, capabilities and
// credentials are judged anew.
//
// A VerifiedLeaves is not safe for concurrent use. The zero value remembers
// nothing; [NewVerifiedLeaves] makes one.
type VerifiedLeaves struct {
	limit int
	known map[verifiedLeaf]struct{}
}

// verifiedLeaf is a digest of the suite and group, and one of the leaf.
type verifiedLeaf struct{ group, leaf [sha256.Size]byte }

// NewVerifiedLeaves returns a cache for up to limit leaves, of some hundred bytes
// each. When it is full, arbitrary ones make room.
func NewVerifiedLeaves(limit int) *VerifiedLeaves {
	return &VerifiedLeaves{limit: limit, known: make(map[verifiedLeaf]struct{})}
}

// Len returns how many leaves are remembered.
func (v *VerifiedLeaves) Len() int { return len(v.known) }

// verifiedGroup is the group's half of a key.
func verifiedGroup(s *mls.Suite, groupID []byte) [sha256.Size]byte {
	return sha256.Sum256(append([]byte{byte(s.ID() >> 8), byte(s.ID())}, groupID...))
}

// has reports whether a leaf is known. A nil cache knows none.
func (v *VerifiedLeaves) has(k verifiedLeaf) bool {
	if v == nil {
		return false
	}
	_, ok := v.known[k]
	return ok
}

func (v *VerifiedLeaves) add(k verifiedLeaf) {
	if v == nil || v.limit <= 0 {
		return
	}
	for other := range v.known {
		if len(v.known) < v.limit {
			break
		}
		delete(v.known, other)
	}
	v.known[k] = struct{}{}
}
