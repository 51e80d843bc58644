package keyschedule

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
)

// wantSeeds checks that a corpus that is made from known answers is all there.
func wantSeeds(f *testing.F, got, want int) {
	f.Helper()
	if got != want {
		f.Fatalf("%d seeds, want %d", got, want)
	}
}

func FuzzGroupContext(f *testing.F) {
	seeds := 0
	for _, v := range testkit.DecodeStrict[keyScheduleVector](f, testkit.Vectors(f, "key-schedule.json")) {
		for _, epoch := range v.Epochs {
			f.Add([]byte(epoch.GroupContext))
			seeds++
		}
	}
	wantSeeds(f, seeds, 35)
	extended, err := testContext.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(extended)
	f.Fuzz(func(t *testing.T, p []byte) {
		var g GroupContext
		if err := wire.Unmarshal(p, &g); err != nil {
			wantErr(t, "refused", err, mls.ErrMalformed)
			return
		}
		again, err := g.Bytes()
		if err != nil || !bytes.Equal(again, p) {
			t.Errorf("decoded from %x, encodes to %x, %v", p, again, err)
		}
	})
}

func FuzzPreSharedKeyID(f *testing.F) {
	for _, psk := range testPSKs(suite1(f), 8) {
		p, err := wire.Marshal(psk.ID)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var id PreSharedKeyID
		if err := wire.Unmarshal(p, &id); err != nil {
			wantErr(t, "refused", err, mls.ErrMalformed)
			return
		}
		again, err := wire.Marshal(id)
		if err != nil || !bytes.Equal(again, p) {
			t.Errorf("decoded from %x, encodes to %x, %v", p, again, err)
		}
	})
}

// seedTrees returns saved trees of several shapes.
func seedTrees(f *testing.F, s *mls.Suite) [][]byte {
	var seeds [][]byte
	for _, leaves := range []uint32{1, 2, 8, 1 << 21} {
		tree := newTestTree(f, leaves, Bounds{})
		seeds = append(seeds, stateOf(f, tree))
		for _, g := range []uint32{0, 3, 2} {
			if err := opens(tree, g); err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, stateOf(f, tree))
		}
		if _, _, _, err := tree.Next(mls.LeafIndex(leaves-1), Handshake); err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, stateOf(f, tree))
		tree.DropHandshakes()
		seeds = append(seeds, stateOf(f, tree))
	}
	return seeds
}

func FuzzRestoreSecretTree(f *testing.F) {
	s := suite1(f)
	seeds := seedTrees(f, s)
	wantSeeds(f, len(seeds), 24)
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		bounds := Bounds{MaxForward: 4, MaxSkipped: len(p)}
		tree, err := RestoreSecretTree(s, p, bounds)
		if err != nil {
			wantErr(t, "refused", err, mls.ErrMalformed)
			return
		}
		first := stateOf(t, tree)
		again, err := RestoreSecretTree(s, first, bounds)
		if err != nil || !bytes.Equal(stateOf(t, again), first) {
			t.Fatalf("what was accepted is not restored again: %v", err)
		}
		for _, leaf := range []mls.LeafIndex{0, 1, 1<<32 - 1} {
			for _, kind := range []RatchetKind{Handshake, Application} {
				useRestored(t, again, leaf, kind)
			}
		}
	})
}

// useRestored checks that a ratchet, in whatever state, keeps its promises.
func useRestored(t *testing.T, tree *SecretTree, leaf mls.LeafIndex, kind RatchetKind) {
	t.Helper()
	known := []error{nil, mls.ErrKeyConsumed, mls.ErrTooFar, mls.ErrInvalid}
	for _, g := range []uint32{0, tree.Generation(leaf, kind), tree.Generation(leaf, kind) + 3} {
		open := func(mls.Secret, []byte) error { return nil }
		err := tree.Open(leaf, kind, g, open)
		if !isAny(err, known) {
			t.Errorf("Open: %v", err)
		}
		if err == nil {
			wantErr(t, "again", tree.Open(leaf, kind, g, open), mls.ErrKeyConsumed)
		}
	}
	if _, _, _, err := tree.Next(leaf, kind); !isAny(err, known) {
		t.Errorf("Next: %v", err)
	}
}

func isAny(err error, targets []error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func FuzzRestoreEpochSecrets(f *testing.F) {
	s := suite1(f)
	e := newTestEpoch(s)
	e.TakeSecretTree(2)
	for _, e := range []*EpochSecrets{e, e.Past()} {
		seed, err := e.MarshalState()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		e, err := RestoreEpochSecrets(s, p)
		if err != nil {
			wantErr(t, "refused", err, mls.ErrMalformed)
			return
		}
		first, err := e.MarshalState()
		if err != nil {
			t.Fatal(err)
		}
		again, err := RestoreEpochSecrets(s, first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.MarshalState()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("what was accepted is not restored again: %v", err)
		}
		again.SenderData(p)
		if init := again.Init(); init != nil {
			init.Joiner(mls.Secret{}, p).Epoch(PSKSecret{}, p)
		}
	})
}
