package keyschedule

import (
	"strconv"
	"testing"

	"github.com/treekem/mls"
)

var benchContext = make([]byte, 150) // about what a group context without extensions takes

// stageEpoch is all that the key schedule does for a commit that is processed:
// from the init secret to the next epoch, its tag checked and its tree ready.
func stageEpoch(s *mls.Suite, e *EpochSecrets, commitSecret mls.Secret, hash []byte) (*EpochSecrets, *SecretTree) {
	joiner := e.Init().Joiner(commitSecret, benchContext)
	next := joiner.Epoch(PSKSecret{}, benchContext)
	joiner.Destroy()
	next.VerifyConfirmationTag(hash, hash)
	return next, next.TakeSecretTree(1 << 17)
}

func BenchmarkEpoch(b *testing.B) {
	for _, s := range mls.Suites() {
		b.Run(s.String(), func(b *testing.B) {
			e, commitSecret, hash := newTestEpoch(s), mls.RandomSecret(s.HashSize()), make([]byte, s.HashSize())
			b.ReportAllocs()
			for b.Loop() {
				stageEpoch(s, e, commitSecret, hash)
			}
		})
	}
}

func BenchmarkPSKSecret(b *testing.B) {
	s := suite1(b)
	for _, n := range []int{1, 10} {
		psks := testPSKs(s, n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewPSKSecret(s, psks); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExporter(b *testing.B) {
	e := newTestEpoch(suite1(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Exporter("label", benchContext, 32); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	tree := newTestTree(b, 1<<17, Bounds{})
	b.ReportAllocs()
	for b.Loop() {
		_, key, _, err := tree.Next(7, Application)
		if err != nil {
			b.Fatal(err)
		}
		key.Destroy()
	}
}

func BenchmarkOpen(b *testing.B) {
	tree := newTestTree(b, 1<<17, Bounds{})
	generation := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := opens(tree, generation); err != nil {
			b.Fatal(err)
		}
		generation++
	}
}

// BenchmarkOpenSkip skips as many generations as one message can by default.
func BenchmarkOpenSkip(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := opens(newTestTree(b, 2, Bounds{}), DefaultMaxForward); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstTouch reaches the leaves of trees of several sizes, from
// scattered places.
func BenchmarkFirstTouch(b *testing.B) {
	for _, depth := range []int{10, 17, 21} {
		b.Run(strconv.Itoa(1<<depth), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tree := newTestTree(b, 1<<depth, Bounds{})
				if err := opens(tree, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkState saves and restores a tree in which many senders were heard.
func BenchmarkState(b *testing.B) {
	tree := newTestTree(b, 1<<10, Bounds{})
	for leaf := range mls.LeafIndex(1 << 9) {
		if _, _, _, err := tree.Next(leaf*2, Application); err != nil {
			b.Fatal(err)
		}
	}
	data := stateOf(b, tree)
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			stateOf(b, tree)
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := RestoreSecretTree(suite1(b), data, Bounds{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
