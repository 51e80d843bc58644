package keyschedule

import (
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
)

// What happens for every commit or message has a fixed number of allocations.
func TestAllocations(t *testing.T) {
	testkit.CountsAllocations(t)
	s := suite1(t)
	e, commitSecret, hash := newTestEpoch(s), mls.RandomSecret(s.HashSize()), make([]byte, s.HashSize())
	tree := newTestTree(t, 1<<17, Bounds{})
	wantErr(t, "opening", opens(tree, 0), nil)
	generation := uint32(0)
	for _, test := range []struct {
		name string
		most float64
		f    func()
	}{
		// One for each secret and each of the objects that hold them.
		{"staging an epoch", 24, func() { stageEpoch(s, e, commitSecret, hash) }},
		{"Exporter", 4, func() {
			if _, err := e.Exporter("label", benchContext, 32); err != nil {
				t.Error(err)
			}
		}},
		// The key, the nonce and the next ratchet secret.
		{"Next", 3, func() {
			if _, _, _, err := tree.Next(1, Handshake); err != nil {
				t.Error(err)
			}
		}},
		{"Open", 3, func() {
			generation++
			if err := opens(tree, generation); err != nil {
				t.Error(err)
			}
		}},
		{"a duplicate", 4, func() {
			if err := opens(tree, generation); err == nil {
				t.Error("a duplicate opens")
			}
		}},
		{"Generation", 0, func() { tree.Generation(5, Handshake) }},
		{"TakeSecretTree of 2^21 leaves", 8, func() {
			NewSecretTree(s, mls.ZeroSecret(32), 1<<21, Bounds{})
		}},
	} {
		test.f() // what the first call of its kind allocates is not the rule
		if got := testing.AllocsPerRun(100, test.f); got > test.most {
			t.Errorf("%s: %v allocations, want %v at most", test.name, got, test.most)
		}
	}
}
