package treekem

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
)

// A benchTree is a full tree that benchmarks share.
type benchTree struct {
	tree    *Tree
	keys    *BuiltKeys
	members []BuildMember
}

var (
	benchMu    sync.Mutex
	benchTrees = map[int]*benchTree{}
)

func benchFull(b *testing.B, n int) *benchTree {
	b.Helper()
	benchMu.Lock()
	defer benchMu.Unlock()
	if benchTrees[n] == nil {
		tree, keys, members := builtGroup(b, suite1(b), n)
		benchTrees[n] = &benchTree{tree, keys, members}
	}
	return benchTrees[n]
}

// sizes runs a benchmark on full trees. Run with -cpu 1 to compare with floors,
// which are for one core.
func sizes(b *testing.B, f func(b *testing.B, t *benchTree)) {
	for _, n := range []int{1 << 10, 1 << 14} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			t := benchFull(b, n)
			b.ReportAllocs()
			f(b, t)
		})
	}
}

// benchPath is a path of member 0.
func (t *benchTree) path(b *testing.B) (*Path, *UpdatePath, *Tree) {
	b.Helper()
	leaf, _ := t.tree.Leaf(0)
	p := must[*Path](b)(t.tree.NewPath(0, leaf, t.members[0].Signer, testGroupID))
	u := must[*UpdatePath](b)(p.Seal(benchContext, nil))
	return p, u, must[*Tree](b)(t.tree.MergePath(0, u, testGroupID, nil))
}

var benchContext = make([]byte, 150)

// BenchmarkCreate makes a commit's path and seals it.
func BenchmarkCreate(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		leaf, _ := t.tree.Leaf(0)
		for b.Loop() {
			p := must[*Path](b)(t.tree.NewPath(0, leaf, t.members[0].Signer, testGroupID))
			must[*UpdatePath](b)(p.Seal(benchContext, nil))
		}
	})
}

// BenchmarkCreateFloor does what BenchmarkCreate cannot do without: a key pair
// and a signature for the leaf, a key pair and an encryption for each node.
func BenchmarkCreateFloor(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		s := t.tree.Suite()
		_, u, _ := t.path(b)
		raw, _ := u.LeafNode.Bytes()
		secret := mls.RandomSecret(32)
		for b.Loop() {
			must[*mls.HPKEPrivateKey](b)(s.GenerateKeyPair())
			must[[]byte](b)(s.SignWithLabel(t.members[0].Signer, labelLeafNode, raw))
			for k := range u.Nodes {
				must[*mls.HPKEPrivateKey](b)(s.DeriveKeyPair(secret))
				must[mls.HPKECiphertext](b)(s.EncryptWithLabel(u.Nodes[k].EncryptionKey, labelUpdatePathNode, benchContext, secret.UnsafeBytes()))
			}
		}
	})
}

func benchProcess(b *testing.B, near bool) {
	sizes(b, func(b *testing.B, t *benchTree) {
		_, u, _ := t.path(b)
		at := mls.LeafIndex(t.tree.Width() - 1)
		if near {
			at = 1
		}
		p := t.keys.Private(at)
		for b.Loop() {
			after, err := t.tree.MergePath(0, u, testGroupID, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := p.Open(after, 0, u, benchContext, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchProcessFloor(b *testing.B, near bool) {
	sizes(b, func(b *testing.B, t *benchTree) {
		s := t.tree.Suite()
		_, u, _ := t.path(b)
		raw, _ := u.LeafNode.Bytes()
		signature := must[[]byte](b)(s.SignWithLabel(t.members[0].Signer, labelLeafNode, raw))
		key := must[*mls.HPKEPrivateKey](b)(s.GenerateKeyPair())
		secret := mls.RandomSecret(32)
		ct := must[mls.HPKECiphertext](b)(s.EncryptWithLabel(key.Public(), labelUpdatePathNode, benchContext, secret.UnsafeBytes()))
		derivations := 1
		if near {
			derivations = len(u.Nodes)
		}
		for b.Loop() {
			if err := s.VerifyWithLabel(u.LeafNode.SignatureKey, labelLeafNode, raw, signature); err != nil {
				b.Fatal(err)
			}
			must[[]byte](b)(s.DecryptWithLabel(key, labelUpdatePathNode, benchContext, ct))
			for range derivations {
				must[*mls.HPKEPrivateKey](b)(s.DeriveKeyPair(secret))
			}
		}
	})
}

// BenchmarkProcessFar merges and opens a path at the other end of the tree,
// BenchmarkProcessNear next to the committer, where every key has to be derived.
func BenchmarkProcessFar(b *testing.B)       { benchProcess(b, false) }
func BenchmarkProcessFarFloor(b *testing.B)  { benchProcessFloor(b, false) }
func BenchmarkProcessNear(b *testing.B)      { benchProcess(b, true) }
func BenchmarkProcessNearFloor(b *testing.B) { benchProcessFloor(b, true) }

// BenchmarkMerge is the part of processing that needs no secrets, and but for
// one signature no public keys.
func BenchmarkMerge(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		_, u, _ := t.path(b)
		var keys []mls.HPKEPublicKey
		for k := range u.Nodes {
			keys = append(keys, u.Nodes[k].EncryptionKey)
		}
		for b.Loop() {
			must[*Tree](b)(t.tree.newMerge(0, t.tree.steps(0), keys).apply(&u.LeafNode))
		}
	})
}

// BenchmarkJoin parses a tree and validates it.
func BenchmarkJoin(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		p := treeBytes(b, t.tree)
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			tree := must[*Tree](b)(ParseTree(t.tree.Suite(), p, 0))
			if err := tree.Validate(testGroupID, ValidateOptions{Now: testNow}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(t.tree.Members()), "ns/member")
	})
}

// BenchmarkJoinFloor verifies as many signatures, on all cores too.
func BenchmarkJoinFloor(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		s := t.tree.Suite()
		leaf, _ := t.tree.Leaf(0)
		raw := must[[]byte](b)(leaf.Bytes())
		signature := must[[]byte](b)(s.SignWithLabel(t.members[0].Signer, labelLeafNode, raw))
		for b.Loop() {
			err := parallel.Each(t.tree.Members(), leafChunk, func(int) error {
				return s.VerifyWithLabel(leaf.SignatureKey, labelLeafNode, raw, signature)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(t.tree.Members()), "ns/member")
	})
}

func BenchmarkParse(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		p := treeBytes(b, t.tree)
		for b.Loop() {
			must[*Tree](b)(ParseTree(t.tree.Suite(), p, 0))
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(t.tree.Members()), "ns/member")
	})
}

func BenchmarkEncode(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		for b.Loop() {
			treeBytes(b, t.tree)
		}
	})
}

// BenchmarkReplace removes a member and adds another.
func BenchmarkReplace(b *testing.B) {
	sizes(b, func(b *testing.B, t *benchTree) {
		kp, _ := newKeyPackage(b, t.tree.Suite(), "new")
		for b.Loop() {
			e := t.tree.Edit()
			if err := e.Remove(5); err != nil {
				b.Fatal(err)
			}
			must[mls.LeafIndex](b)(e.Add(&kp.LeafNode))
			must[*Tree](b)(e.Done())
		}
	})
}

// BenchmarkMemory reports the live heap of a parsed full tree for each member,
// whose identities have 16 bytes.
func BenchmarkMemory(b *testing.B) {
	n := 1 << 14
	if !testing.Short() {
		n = 1 << 17
	}
	p := treeBytes(b, benchFull(b, n).tree)
	var tree *Tree
	for b.Loop() {
		tree = nil
		before := liveHeap()
		tree = must[*Tree](b)(ParseTree(suite1(b), p, 0))
		b.ReportMetric(float64(liveHeap()-before)/float64(n), "B/member")
	}
	runtime.KeepAlive(tree)
	runtime.KeepAlive(p)
}
