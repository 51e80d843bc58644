package client

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// counting is a store that counts the bytes that are written to it, and how often
// a key is read.
type counting struct {
	store.Store
	bytes, reads atomic.Int64
}

type countingReader struct {
	store.Reader
	c *counting
}

func (c *counting) View(ctx context.Context, f func(store.Reader) error) error {
	return c.Store.View(ctx, func(tx store.Reader) error { return f(countingReader{tx, c}) })
}

func (r countingReader) Get(key []byte) ([]byte, error) {
	r.c.reads.Add(1)
	return r.Reader.Get(key)
}

type countingWriter struct {
	store.Writer
	c *counting
}

func (c *counting) Update(ctx context.Context, f func(store.Writer) error) error {
	return c.Store.Update(ctx, func(tx store.Writer) error { return f(countingWriter{tx, c}) })
}

func (w countingWriter) Put(key, value []byte) error {
	w.c.bytes.Add(int64(len(key) + len(value)))
	return w.Writer.Put(key, value)
}

// bench is two members of a full group of n, as clients.
type bench struct {
	stores  [2]*counting
	clients [2]*Client
	groups  [2]*Group
	enter   [2]time.Duration // how long it took to store them
}

var benchGroup = []byte("a full group")

// newBench makes them; the second one's store is given, or one in memory.
func newBench(b testing.TB, n int, second store.Store) *bench {
	b.Helper()
	fail := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	ctx := context.Background()
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	fail(err)
	members := make([]treekem.BuildMember, n)
	for i := range members {
		members[i] = treekem.BuildMember{Credential: treekem.BasicCredential(fmt.Append(nil, i))}
		members[i].Signer, err = suite.GenerateSigner()
		fail(err)
	}
	tree, keys, err := treekem.BuildFull(suite, members, benchGroup)
	fail(err)
	pair := []mls.LeafIndex{0, mls.LeafIndex(n - 1)}
	cfg := group.Config{Authenticate: group.InsecureAnyCredential}
	var halves []group.AssembleMember
	for _, i := range pair {
		halves = append(halves, group.AssembleMember{Private: keys.Private(i), Signer: members[i].Signer})
	}
	groups, err := group.Assemble(cfg, group.AssembleOptions{Suite: suite, GroupID: benchGroup, Epoch: 1, Tree: tree}, halves)
	fail(err)
	t := &bench{}
	for i := range pair {
		t.stores[i] = &counting{Store: store.NewMemory()}
		if i == 1 && second != nil {
			t.stores[i].Store = second
		}
		t.clients[i], err = Open(ctx, Config{Store: t.stores[i], Group: cfg})
		fail(err)
		_, err = t.clients[i].AddIdentity(ctx, IdentityOptions{Suite: suite, Credential: members[pair[i]].Credential, Signer: members[pair[i]].Signer})
		fail(err)
		start := time.Now()
		t.groups[i], err = t.clients[i].enter(ctx, groups[i], entry{may: t.clients[i].mayCreate})
		fail(err)
		t.enter[i] = time.Since(start)
	}
	return t
}

// each runs f for groups of several sizes and reports what one run wrote.
func each(b *testing.B, side int, f func(b *testing.B, t *bench, ctx context.Context) error) {
	for _, n := range []int{64, 1024, 16384} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			t := newBench(b, n, nil)
			b.ResetTimer()
			before := t.stores[side].bytes.Load()
			for range b.N {
				if err := f(b, t, context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(t.stores[side].bytes.Load()-before)/float64(b.N), "B-written/op")
		})
	}
}

func BenchmarkSend(b *testing.B) {
	each(b, 0, func(_ *testing.B, t *bench, ctx context.Context) error {
		_, err := t.groups[0].Send(ctx, make([]byte, 1024), nil)
		return err
	})
}

func BenchmarkReceive(b *testing.B) {
	each(b, 1, func(b *testing.B, t *bench, ctx context.Context) error {
		b.StopTimer()
		message, err := t.groups[0].Send(ctx, make([]byte, 1024), nil)
		b.StartTimer()
		if err == nil {
			_, err = t.groups[1].Process(ctx, message)
		}
		return err
	})
}

func BenchmarkProcessCommit(b *testing.B) {
	each(b, 1, func(b *testing.B, t *bench, ctx context.Context) error {
		b.StopTimer()
		commit, err := t.groups[0].Commit(ctx, group.CommitOptions{})
		if err == nil {
			_, err = t.groups[0].Accept(ctx)
		}
		b.StartTimer()
		if err == nil {
			_, err = t.groups[1].Process(ctx, commit.Message)
		}
		return err
	})
}

func BenchmarkOpen(b *testing.B) {
	each(b, 1, func(_ *testing.B, t *bench, ctx context.Context) error {
		t.groups[1].unload()
		return t.groups[1].load(ctx)
	})
}
