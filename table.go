package mls

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// suiteTable is the rows under the code points they go by. It is immutable.
type suiteTable struct {
	numbers map[CipherSuite]CipherSuite // what SetCodePoints was given
	suites  []*Suite                    // in the order of code points
}

// installed is the table of the process. Its first use puts the default one
// there, and nothing ever replaces it: no two parts of a program, and no two
// moments of its life, see different code points.
var installed atomic.Pointer[suiteTable]

func table() *suiteTable {
	if t := installed.Load(); t != nil {
		return t
	}
	t, err := newTable(nil)
	if err != nil {
		panic("mls: internal error: " + err.Error())
	}
	installed.CompareAndSwap(nil, t)
	return installed.Load()
}

// errTableInUse is what SetCodePoints returns when it comes too late.
var errTableInUse = errors.New("mls: the code points of cipher suites are in use and cannot change: set them before anything else is done")

// SetCodePoints gives rows of the table code points other than the constants
// of this package: from numbers' keys, the constants, to its values, which are
// then what goes over the wire and what [LookupSuite] and [Suite.ID] go by.
// A constant that was replaced names nothing then. Only the suites whose
// constants are for private use can be renumbered, and no two suites can have
// one number.
//
// It is for the whole program and for good: call it first thing in main. It
// fails once the table is in use, which any look at a cipher suite makes it,
// unless the numbers are those in use. The two cannot race: a call that returns
// nil has decided for everybody.
func SetCodePoints(numbers map[CipherSuite]CipherSuite) error {
	t, err := newTable(numbers)
	if err != nil {
		return err
	}
	if installed.CompareAndSwap(nil, t) || maps.Equal(installed.Load().numbers, t.numbers) {
		return nil
	}
	return errTableInUse
}

// PublishedCodePoints returns the numbers, for [SetCodePoints], that the only
// published vectors with post-quantum suites use, those of
// draft-ietf-mls-partial: 8, 9 and 10 for TBD2, TBD4 and TBD5.
func PublishedCodePoints() map[CipherSuite]CipherSuite {
	return map[CipherSuite]CipherSuite{
		MLKEM768X25519_AES256GCM_SHA384_Ed25519: 8,
		MLKEM768P256_AES256GCM_SHA384_P256:      9,
		MLKEM1024P384_AES256GCM_SHA384_P384:     10,
	}
}

// firstPrivateUse is where the range for private use begins
// (RFC 9420, Section 17.1).
const firstPrivateUse CipherSuite = 0xf000

func newTable(numbers map[CipherSuite]CipherSuite) (*suiteTable, error) {
	t := &suiteTable{numbers: make(map[CipherSuite]CipherSuite)}
	for _, s := range rows {
		id, ok := numbers[s.id]
		if !ok || id == s.id {
			t.suites = append(t.suites, s)
			continue
		}
		if s.id < firstPrivateUse {
			return nil, fmt.Errorf("mls: the code point of %s is assigned", s.name)
		}
		if id == 0 || IsGREASE(uint16(id)) {
			return nil, fmt.Errorf("mls: %s is no code point for a cipher suite", codePoint(uint16(id)))
		}
		t.numbers[s.id] = id
		t.suites = append(t.suites, s.WithID(id))
	}
	for id := range numbers {
		if !slices.ContainsFunc(rows, func(s *Suite) bool { return s.id == id }) {
			return nil, fmt.Errorf("%w: cipher suite %s", ErrUnsupported, codePoint(uint16(id)))
		}
	}
	slices.SortFunc(t.suites, func(a, b *Suite) int { return int(a.id) - int(b.id) })
	for i, s := range t.suites[1:] {
		if before := t.suites[i]; before.id == s.id {
			return nil, fmt.Errorf("mls: %s and %s under the code point %s", before.name, s.name, codePoint(uint16(s.id)))
		}
	}
	return t, nil
}

func (t *suiteTable) find(id CipherSuite) *Suite {
	for _, s := range t.suites {
		if s.id == id {
			return s
		}
	}
	return nil
}

// LookupSuite returns the suite with code point id, or an error that wraps
// [ErrUnsupported].
func LookupSuite(id CipherSuite) (*Suite, error) {
	if s := table().find(id); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: cipher suite %s", ErrUnsupported, codePoint(uint16(id)))
}

// Suites returns all suites, in the order of their code points.
func Suites() []*Suite { return slices.Clone(table().suites) }

// WithID returns the suite under another code point. It isn't in the table:
// [LookupSuite], and so a group, doesn't know it. It is for reading what others
// numbered differently; [SetCodePoints] is for talking to them.
func (s *Suite) WithID(id CipherSuite) *Suite {
	c := *s
	c.id = id
	return &c
}
