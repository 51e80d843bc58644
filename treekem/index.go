package treekem

import (
	"hash/maphash"
	"slices"
	"sync"
)

// A keyTable finds the nodes that may have a key. One table serves a tree and
// the trees that come from it: an entry says that in one of them, staged ones
// that were dropped included, a node has a key with that fingerprint. Whether it
// has the key in the tree at hand is for the tree itself to say. So entries are
// only ever added, nothing is copied for a new tree, and a stale entry finds
// nothing. It is safe for concurrent use.
//
// A table holds no keys. An entry is a fingerprint and a node index, eight
// bytes. The fingerprints are keyed at random for each process, so that nobody
// can choose keys that collide.
type keyTable struct {
	mu    sync.RWMutex
	slots []indexEntry // open addressing, by the fingerprint's upper bits
	used  int
}

var fingerprintSeed = maphash.MakeSeed()

// fingerprint is never 0, so that no entry is.
func fingerprint(key string) uint32 {
	return max(1, uint32(maphash.String(fingerprintSeed, key)>>32))
}

// An indexEntry has the fingerprint in its upper half, the node index in the
// lower.
type indexEntry uint64

func newEntry(fp uint32, x NodeIndex) indexEntry { return indexEntry(fp)<<32 | indexEntry(x) }
func (e indexEntry) fingerprint() uint32         { return uint32(e >> 32) }
func (e indexEntry) node() NodeIndex             { return NodeIndex(e) }

// A table is made with two slots to the entry, and made anew when there are
// fewer than five to four.
func slotsFor(entries int) int      { return 2*entries + 32 }
func (k *keyTable) room(n int) bool { return 5*(k.used+n) <= 4*len(k.slots) }

// home is where an entry with the fingerprint is looked for first.
func (k *keyTable) home(fp uint32) int { return int(uint64(fp) * uint64(len(k.slots)) >> 32) }

// newKeyTable makes a table of entries.
func newKeyTable(entries []indexEntry) *keyTable {
	k := &keyTable{slots: make([]indexEntry, slotsFor(len(entries)))}
	for _, e := range entries {
		k.put(e)
	}
	return k
}

// slot is where an entry is, or else where there is a place for it.
func (k *keyTable) slot(e indexEntry) int {
	i := k.home(e.fingerprint())
	for k.slots[i] != 0 && k.slots[i] != e {
		if i++; i == len(k.slots) {
			i = 0
		}
	}
	return i
}

// put adds an entry, unless it is there. There must be room.
func (k *keyTable) put(e indexEntry) {
	if i := k.slot(e); k.slots[i] == 0 {
		k.slots[i] = e
		k.used++
	}
}

// add adds entries. It reports whether the table had to grow for it, which it has
// not for those that are there already.
func (k *keyTable) add(entries []indexEntry) (grown bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	missing := 0
	for _, e := range entries {
		if k.slots[k.slot(e)] == 0 {
			missing++
		}
	}
	if !k.room(missing) {
		old := k.slots
		k.slots, k.used, grown = make([]indexEntry, slotsFor(k.used+len(entries))), 0, true
		for _, e := range old {
			if e != 0 {
				k.put(e)
			}
		}
	}
	for _, e := range entries {
		k.put(e)
	}
	return grown
}

// candidates appends to dst the nodes that may have a key.
func (k *keyTable) candidates(dst []NodeIndex, fp uint32) []NodeIndex {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for i := k.home(fp); k.slots[i] != 0; {
		if k.slots[i].fingerprint() == fp {
			dst = append(dst, k.slots[i].node())
		}
		if i++; i == len(k.slots) {
			i = 0
		}
	}
	return dst
}

// entries returns the entries for which keep is true, ascending.
func (k *keyTable) entries(keep func(indexEntry) bool) []indexEntry {
	k.mu.RLock()
	all := slices.DeleteFunc(slices.Clone(k.slots), func(e indexEntry) bool { return e == 0 })
	k.mu.RUnlock()
	slices.Sort(all)
	return slices.DeleteFunc(all, func(e indexEntry) bool { return !keep(e) })
}

// len returns the number of entries.
func (k *keyTable) len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.used
}

// find returns the least of the nodes that may have a key for which match is
// true.
func (k *keyTable) find(key string, match func(NodeIndex) bool) (NodeIndex, bool) {
	var stack [4]NodeIndex
	nodes := k.candidates(stack[:0], fingerprint(key))
	if len(nodes) > 1 {
		slices.Sort(nodes)
	}
	for _, x := range nodes {
		if match(x) {
			return x, true
		}
	}
	return 0, false
}
