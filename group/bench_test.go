package group_test

import (
	"fmt"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// fullGroup is a group with a full tree, of which some members are at hand.
func fullGroup(b testing.TB, n int, at ...int) []*group.Group {
	b.Helper()
	s := suite(b, mls.X25519_AES128GCM_SHA256_Ed25519)
	build := make([]treekem.BuildMember, n)
	for i := range build {
		build[i] = treekem.BuildMember{
			Credential: treekem.BasicCredential(fmt.Appendf(nil, "member-%09d", i)),
			Signer:     must[*mls.SignaturePrivateKey](b)(s.GenerateSigner()),
		}
	}
	tree, keys, err := treekem.BuildFull(s, build, []byte("full"))
	check(b, err)
	var members []group.AssembleMember
	for _, i := range at {
		members = append(members, group.AssembleMember{Private: keys.Private(mls.LeafIndex(i)), Signer: build[i].Signer})
	}
	groups, err := group.Assemble(config(), group.AssembleOptions{Suite: s, GroupID: []byte("full"), Epoch: 1, Tree: tree}, members)
	check(b, err)
	return groups
}

var benchSizes = []int{16, 1024, 16384}

func BenchmarkCreateUpdate(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := fullGroup(b, n, 0)[0]
			b.ReportAllocs()
			for b.Loop() {
				must[*group.Staged](b)(g.Commit(group.CommitOptions{}))
			}
		})
	}
}

func benchProcess(b *testing.B, receiver func(n int) int) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := fullGroup(b, n, 0, receiver(n))
			message := must[*group.Staged](b)(g[0].Commit(group.CommitOptions{})).Message()
			b.ReportAllocs()
			for b.Loop() {
				must[group.Received](b)(g[1].Process(message))
			}
		})
	}
}

func BenchmarkProcessFar(b *testing.B)  { benchProcess(b, func(n int) int { return n - 1 }) }
func BenchmarkProcessNear(b *testing.B) { benchProcess(b, func(int) int { return 1 }) }

func BenchmarkProtect(b *testing.B) {
	g := fullGroup(b, 1024, 0)[0]
	data := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		must[[]byte](b)(g.Protect(data, nil))
	}
}

func BenchmarkUnprotect(b *testing.B) {
	g := fullGroup(b, 1024, 0, 1)
	data := make([]byte, 1024)
	messages := make([][]byte, b.N)
	for i := range messages {
		messages[i] = must[[]byte](b)(g[0].Protect(data, nil))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, m := range messages {
		must[group.Received](b)(g[1].Process(m))
	}
}
