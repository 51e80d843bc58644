package keyschedule

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/treekem/mls"
)

// model is what a SecretTree must do, in the naive way: it remembers which
// generations are gone and computes each key from encryption_secret.
type model struct {
	ref        reference
	encryption []byte
	depth      uint8
	bounds     Bounds
	ratchets   map[ratchetName]*modelRatchet
}

type ratchetName struct {
	leaf uint32
	kind RatchetKind
}

type modelRatchet struct {
	next    uint32
	skipped []uint32 // kept, in ascending order
	used    []uint32
}

func (m *model) ratchet(name ratchetName) *modelRatchet {
	if m.ratchets[name] == nil {
		m.ratchets[name] = &modelRatchet{}
	}
	return m.ratchets[name]
}

// verdict is what asking for a generation must give: nil or a sentinel.
func (m *model) verdict(name ratchetName, generation uint32) error {
	r := m.ratchet(name)
	switch {
	case slices.Contains(r.skipped, generation):
		return nil
	case generation < r.next:
		return mls.ErrKeyConsumed
	case generation-r.next > m.bounds.MaxForward:
		return mls.ErrTooFar
	}
	return nil
}

func (m *model) consume(name ratchetName, generation uint32) {
	r := m.ratchet(name)
	r.used = append(r.used, generation)
	if i := slices.Index(r.skipped, generation); i >= 0 {
		r.skipped = slices.Delete(r.skipped, i, i+1)
		return
	}
	for ; r.next < generation; r.next++ {
		r.skipped = append(r.skipped, r.next)
	}
	r.next = generation + 1
	r.skipped = r.skipped[max(0, len(r.skipped)-m.bounds.MaxSkipped):]
}

// consumed returns every value that must be gone (RFC 9420, Section 9.2): the
// keys and nonces used, the ratchet secrets up to the last one used or skipped,
// and the nodes above them.
func (m *model) consumed() map[string][]byte {
	gone := map[string][]byte{"encryption_secret": m.encryption}
	for name, r := range m.ratchets {
		if r.next == 0 {
			continue
		}
		nodes := m.ref.nodes(m.encryption, m.depth, name.leaf)
		for level, node := range nodes {
			gone[fmt.Sprintf("node %d above leaf %d", level, name.leaf)] = node
		}
		secrets := m.ref.ratchet(nodes[len(nodes)-1], name.kind, r.next-1)
		for g, secret := range secrets {
			gone[fmt.Sprintf("%v ratchet secret %d of leaf %d", name.kind, g, name.leaf)] = secret
			if !slices.Contains(r.skipped, uint32(g)) {
				key, nonce := m.ref.keyNonce(secret, uint32(g))
				gone[fmt.Sprintf("%v key %d of leaf %d", name.kind, g, name.leaf)] = key
				gone[fmt.Sprintf("%v nonce %d of leaf %d", name.kind, g, name.leaf)] = nonce
			}
		}
	}
	return gone
}

// driver holds the tree against the model, step by step.
type driver struct {
	suite *mls.Suite
	tree  *SecretTree
	model *model
}

var errForged = errors.New("forged")

func (d *driver) drawName(t *rapid.T) ratchetName {
	return ratchetName{
		leaf: rapid.Uint32Range(0, 1<<d.model.depth-1).Draw(t, "leaf"),
		kind: rapid.SampledFrom([]RatchetKind{Handshake, Application}).Draw(t, "kind"),
	}
}

// wantKey compares a key with the model's.
func (d *driver) wantKey(t *rapid.T, name ratchetName, generation uint32, key mls.Secret, nonce []byte) {
	t.Helper()
	m := d.model
	wantKey, wantNonce := m.ref.messageKey(m.encryption, m.depth, name.leaf, name.kind, generation)
	if !bytes.Equal(key.UnsafeBytes(), wantKey) || !bytes.Equal(nonce, wantNonce) {
		t.Fatalf("generation %d of %+v has another key or nonce", generation, name)
	}
}

func (d *driver) next(t *rapid.T) {
	name := d.drawName(t)
	generation, key, nonce, err := d.tree.Next(mls.LeafIndex(name.leaf), name.kind)
	if err != nil {
		t.Fatal(err)
	}
	if want := d.model.ratchet(name).next; generation != want {
		t.Fatalf("generation %d, want %d", generation, want)
	}
	d.wantKey(t, name, generation, key, nonce)
	d.model.consume(name, generation)
}

func (d *driver) open(t *rapid.T) {
	name := d.drawName(t)
	next := int64(d.model.ratchet(name).next)
	generation := uint32(max(0, next+rapid.Int64Range(-6, int64(d.model.bounds.MaxForward)+1).Draw(t, "distance")))
	forged := rapid.Bool().Draw(t, "forged")
	before := d.state(t)

	want, called := d.model.verdict(name, generation), false
	err := d.tree.Open(mls.LeafIndex(name.leaf), name.kind, generation, func(key mls.Secret, nonce []byte) error {
		called = true
		d.wantKey(t, name, generation, key, nonce)
		if forged {
			return errForged
		}
		return nil
	})
	if called != (want == nil) {
		t.Fatalf("generation %d: open called: %v, want %v", generation, called, want == nil)
	}
	if want == nil && forged {
		want = errForged
	}
	if !errors.Is(err, want) {
		t.Fatalf("generation %d: %v, want %v", generation, err, want)
	}
	if err != nil {
		if !bytes.Equal(d.state(t), before) {
			t.Fatalf("the state changed although Open returned %v", err)
		}
		return
	}
	d.model.consume(name, generation)
}

func (d *driver) state(t *rapid.T) []byte {
	data, err := d.tree.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// check runs after every step: the tree is replaced by its restored copy, which
// has the same state, and that state holds nothing consumed.
func (d *driver) check(t *rapid.T) {
	data := d.state(t)
	restored, err := RestoreSecretTree(d.suite, data, d.model.bounds)
	if err != nil {
		t.Fatal(err)
	}
	d.tree.Destroy()
	d.tree = restored
	if !bytes.Equal(d.state(t), data) {
		t.Fatal("the restored tree has another state")
	}
	for name, r := range d.model.ratchets {
		if got := d.tree.Generation(mls.LeafIndex(name.leaf), name.kind); got != r.next {
			t.Fatalf("%+v is at generation %d, want %d", name, got, r.next)
		}
	}
	for what, value := range d.model.consumed() {
		if bytes.Contains(data, value) {
			t.Fatalf("the state holds the %s", what)
		}
	}
}

func TestSecretTreeModel(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		ref := referenceFor(t, s.ID())
		rapid.Check(t, func(t *rapid.T) {
			encryption := fill(rapid.Byte().Draw(t, "encryption"), s.HashSize())
			depth := uint8(rapid.IntRange(0, 4).Draw(t, "depth"))
			bounds := Bounds{
				MaxForward: rapid.Uint32Range(1, 8).Draw(t, "MaxForward"),
				MaxSkipped: rapid.IntRange(1, 8).Draw(t, "MaxSkipped"),
			}
			d := &driver{
				suite: s,
				tree:  NewSecretTree(s, secretOf(encryption), 1<<depth, bounds),
				model: &model{
					ref: ref, encryption: encryption, depth: depth, bounds: bounds,
					ratchets: map[ratchetName]*modelRatchet{},
				},
			}
			t.Repeat(map[string]func(*rapid.T){"": d.check, "next": d.next, "open": d.open})
		})
	})
}
