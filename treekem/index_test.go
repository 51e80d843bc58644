package treekem

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// entriesOf returns everything in an index.
func entriesOf(ix keyIndex) []indexEntry {
	var out []indexEntry
	ix.all(func(e indexEntry) { out = append(out, e) })
	slices.Sort(out)
	return out
}

// checkShape checks that every entry is where it is looked for, and that
// buckets are neither too full nor, since the last edit, needlessly split.
func checkShape(t tb, ix keyIndex) {
	t.Helper()
	var walk func(n *indexNode, depth int, prefix uint32) int
	walk = func(n *indexNode, depth int, prefix uint32) int {
		if n == nil {
			return 0
		}
		if n.bucket() {
			if len(n.entries) == 0 || len(n.entries) > maxBucket && depth < maxDepth {
				t.Fatalf("bucket of %d entries at depth %d", len(n.entries), depth)
			}
			for _, e := range n.entries {
				if depth > 0 && e.fingerprint()>>(32-indexBits*depth) != prefix {
					t.Fatalf("entry %x in a bucket for %x", e, prefix)
				}
			}
			return len(n.entries)
		}
		total, buckets := 0, true
		for i, k := range n.kids {
			buckets = buckets && (k == nil || k.bucket())
			total += walk(k, depth+1, prefix<<indexBits|uint32(i))
		}
		if buckets && total <= minBucket {
			t.Fatalf("%d entries split at depth %d", total, depth)
		}
		return total
	}
	walk(ix.root, 0, 0)
}

// TestIndexAgainstMap edits indices in batches: each is what a map says, and
// none changes when another is made from it.
func TestIndexAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few fingerprints, to have equal ones and deep buckets.
		fps := rapid.SampledFrom([]uint32{4, 1 << 12, 1<<32 - 1}).Draw(t, "fingerprints")
		draw := rapid.Uint32Range(0, fps)
		want := map[indexEntry]bool{}
		var ix keyIndex
		type version struct {
			ix   keyIndex
			want []indexEntry
		}
		var versions []version
		next := NodeIndex(0)
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			e := ix.edit()
			grow := rapid.Bool().Draw(t, "grow")
			for range rapid.IntRange(1, 100).Draw(t, "changes") {
				if grow || len(want) == 0 || rapid.IntRange(0, 3).Draw(t, "insert") == 0 {
					fp := draw.Draw(t, "fingerprint")
					e.insert(fp, next)
					want[newEntry(fp, next)] = true
					next++
				} else {
					entries := slices.Sorted(maps.Keys(want))
					gone := rapid.SampledFrom(entries).Draw(t, "gone")
					e.remove(gone.fingerprint(), gone.node())
					delete(want, gone)
				}
			}
			ix = e.done()
			checkShape(t, ix)
			versions = append(versions, version{ix, slices.Sorted(maps.Keys(want))})
		}
		for _, v := range versions {
			if !slices.Equal(entriesOf(v.ix), v.want) {
				t.Fatalf("index of %d entries, want %d", len(entriesOf(v.ix)), len(v.want))
			}
			for _, e := range v.want {
				if x, ok := v.ix.find(e.fingerprint(), func(x NodeIndex) bool { return x == e.node() }); !ok || x != e.node() {
					t.Fatalf("entry %x is not found", e)
				}
			}
			if _, ok := v.ix.find(fps, func(NodeIndex) bool { return false }); ok {
				t.Fatal("found what does not match")
			}
		}
		all := slices.Collect(maps.Keys(want))
		built := keyIndex{buildIndex(all, 0, 0)}
		if !slices.Equal(entriesOf(built), slices.Sorted(maps.Keys(want))) {
			t.Fatal("the index built at once differs")
		}
		e := built.edit()
		e.remove(7, next+1) // absent
		if !slices.Equal(entriesOf(e.done()), entriesOf(built)) {
			t.Fatal("removing an absent entry changes the index")
		}
	})
}

// TestIndexHitIsVerified: an equal fingerprint alone finds nothing.
func TestIndexHitIsVerified(t *testing.T) {
	g := full(t, suite1(t), 4)
	key, _ := g.tree.EncryptionKey(3)
	other := slices.Clone(key)
	other[0] ^= 1
	forged := *g.tree
	e := forged.enc.edit()
	e.insert(fingerprint(string(other)), 3)
	forged.enc = e.done()
	if x, ok := forged.FindEncryptionKey(other); ok {
		t.Errorf("a key that is nowhere is found at %d", x)
	}
	if x, ok := forged.FindEncryptionKey(key); !ok || x != 3 {
		t.Errorf("the root's key is found at %d, %v", x, ok)
	}
	if err := forged.CheckAggregates(); err == nil {
		t.Error("the check of aggregates passes a stale entry")
	}
}

// TestIndexEditCost: a commit's worth of changes copies little of a large index.
func TestIndexEditCost(t *testing.T) {
	allocated := func(n int) uint64 {
		entries := make([]indexEntry, n)
		for i := range entries {
			entries[i] = newEntry(fingerprint(fmt.Sprint(i)), NodeIndex(i))
		}
		ix := keyIndex{buildIndex(slices.Clone(entries), 0, 0)}
		return allocatedBy(func() {
			e := ix.edit()
			for i := range 20 {
				x := entries[i*(n/20)]
				e.remove(x.fingerprint(), x.node())
				e.insert(^x.fingerprint(), x.node())
			}
		})
	}
	small, large := allocated(1<<10), allocated(1<<18)
	t.Logf("%d bytes with 2^10 entries, %d with 2^18", small, large)
	if large > 4*small {
		t.Errorf("40 changes allocate %d bytes in 2^18 entries, %d in 2^10", large, small)
	}
}
