package compare

import (
	"math"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/treekem"
)

// picker chooses who commits.
type picker func(*forest) mls.LeafIndex

func randomCommitter(f *forest) mls.LeafIndex { return f.any() }

// extreme chooses the member whose commit costs least or most, of a sample.
func extreme(most bool) picker {
	return func(f *forest) mls.LeafIndex {
		best := f.any()
		cost := f.tree.CommitCost(best)
		for range 63 {
			m := f.any()
			if c := f.tree.CommitCost(m); c > cost == most && c != cost {
				best, cost = m, c
			}
		}
		return best
	}
}

// committers are the ways of choosing who commits.
var committers = []struct {
	name string
	pick picker
}{
	{"a random member", randomCommitter},
	{"always the last added", func(f *forest) mls.LeafIndex { return f.members[len(f.members)-1] }},
	{"the cheapest of 64", extreme(false)},
	{"the one with most blanks of 64", extreme(true)},
}

// A span says how many commits a history goes on before it is measured, until the
// tree has forgotten how it began, and then.
type span struct{ warm, measured int }

func (s span) commits() int { return s.warm + s.measured }

// randomSpan is for histories with k Update proposals of random members in each
// commit of a random member. A parent of two leaves is filled or blanked by 2(k+1)
// of n commits on average, and those above it more often, so that what was at the
// start has been lost after a few times n/2(k+1). Without proposals a full tree
// stays full.
func randomSpan(n, k int) span {
	if k == 0 {
		return span{0, min(n, 1024)}
	}
	return span{2 * n / (k + 1), min(max(n, 512), 16384)}
}

// chosenSpan is for committers that aren't random: nodes away from their paths
// are filled seldom or never, and blanked by 2 of n commits.
func chosenSpan(n int) span { return span{3 * n, n} }

// updates plays a group whose every commit has k Update proposals of random
// members.
func updates(tick func(int) error, n, k int, long span, pick picker, name string, seed uint64) (TreeRun, error) {
	f, err := newForest(n, true, seed, long, tick)
	if err != nil {
		return TreeRun{}, err
	}
	for range long.commits() {
		by := pick(f)
		var edit *treekem.Editor
		if k > 0 {
			edit = f.tree.Edit()
			updated := map[mls.LeafIndex]bool{by: true}
			for len(updated) <= k {
				m := f.any()
				if updated[m] {
					continue
				}
				updated[m] = true
				leaf, err := f.leaf(treekem.SourceUpdate)
				if err != nil {
					return TreeRun{}, err
				}
				if err := edit.Update(m, leaf); err != nil {
					return TreeRun{}, err
				}
			}
		}
		if err := f.commit(by, edit, nil); err != nil {
			return TreeRun{}, err
		}
	}
	return f.run(name, n), nil
}

// healing plays commits without proposals after a bulk add.
func healing(tick func(int) error, n int, pick picker, name string, seed uint64) (TreeRun, error) {
	f, err := newForest(n, false, seed, span{0, n}, tick)
	if err != nil {
		return TreeRun{}, err
	}
	for range n {
		if err := f.commit(pick(f), nil, nil); err != nil {
			return TreeRun{}, err
		}
	}
	return f.run(name, n), nil
}

// paper plays the workload of Tainted TreeKEM (eprint 2019/1489): from 2^(i-1)
// members 10·2^i operations, one in ten an add, one in ten a removal, else an
// update by a member that a Zipf distribution chooses. Adds and removals are by
// random members or by a few administrators.
func paper(tick func(int) error, i int, admins bool, seed uint64) (TreeRun, error) {
	n := 1 << (i - 1)
	f, err := newForest(n, false, seed, span{0, paperLength(i)}, tick)
	if err != nil {
		return TreeRun{}, err
	}
	name, chiefs := "random members", n
	if admins {
		name, chiefs = "administrators", max(n/64, 1)
	}
	for range paperLength(i) {
		if err := f.paperStep(min(chiefs, len(f.members)), admins); err != nil {
			return TreeRun{}, err
		}
	}
	return f.run(name, n), nil
}

// paperLength is the number of operations, each of which is a commit.
func paperLength(i int) int { return 10 << i }

func (f *forest) paperStep(chiefs int, admins bool) error {
	by := f.any()
	if admins {
		by = f.members[f.random.IntN(chiefs)]
	}
	switch roll := f.random.IntN(10); {
	case roll == 0:
		leaf, err := f.leaf(treekem.SourceKeyPackage)
		if err != nil {
			return err
		}
		edit := f.tree.Edit()
		at, err := edit.Add(leaf)
		if err != nil {
			return err
		}
		f.members = append(f.members, at)
		return f.commit(by, edit, []mls.LeafIndex{at})
	case roll == 1 && len(f.members) > 2 && (!admins || len(f.members) > chiefs):
		k := f.random.IntN(len(f.members))
		if admins {
			k = chiefs + f.random.IntN(len(f.members)-chiefs)
		}
		gone := f.members[k]
		if gone == by {
			return f.paperStep(chiefs, admins)
		}
		f.members = slices.Delete(f.members, k, k+1)
		edit := f.tree.Edit()
		if err := edit.Remove(gone); err != nil {
			return err
		}
		return f.commit(by, edit, nil)
	}
	return f.commit(f.members[f.zipf(len(f.members))], nil, nil)
}

// zipf draws a rank below n with probability in proportion to 1/(rank+1).
func (f *forest) zipf(n int) int {
	// The inverse of the harmonic numbers' approximation ln(n+1).
	u := f.random.Float64() * math.Log(float64(n)+1)
	return min(int(math.Exp(u))-1, n-1)
}
