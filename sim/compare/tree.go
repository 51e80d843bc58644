package compare

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// TreeConfig says what to find out about the ratchet tree.
type TreeConfig struct {
	// Sizes are the numbers of members for histories with Update proposals.
	Sizes []int
	// Large is the size for comparing committers and for healing.
	Large int
	// Paper is the largest i of the workload of the Tainted TreeKEM paper, whose
	// groups begin with 2^(i-1) members and live for 10·2^i operations.
	Paper    int
	Seed     uint64
	Progress func(doing string, done, total int)
}

// TreeRun is one history. Costs are HPKE ciphertexts per commit.
type TreeRun struct {
	Name    string  `json:"name"`
	Members int     `json:"members"`
	Commits int     `json:"commits"` // that were measured
	Mean    float64 `json:"mean"`
	Median  int     `json:"median"`
	P95     int     `json:"p95"`
	Max     int     `json:"max"`
	First   int     `json:"first"` // of the whole history
	Bytes   float64 `json:"bytes"` // of an update path, on average
	// Expected is a published figure for the mean, 0 if there is none.
	Expected float64 `json:"expected,omitempty"`
	// Series are costs along the history, thinned out.
	Series []TreePoint `json:"series,omitempty"`
}

// TreePoint is the cost at one commit of a history.
type TreePoint struct {
	Commit int `json:"commit"`
	Cost   int `json:"ciphertexts"`
}

// TreeReport is what was found about the tree.
type TreeReport struct {
	Updates    []TreeRun `json:"updates"`    // by Update proposals per commit and size
	Healing    []TreeRun `json:"healing"`    // after a bulk add, by who commits
	Committers []TreeRun `json:"committers"` // with one Update proposal per commit
	Paper      []TreeRun `json:"paper"`      // the Tainted TreeKEM workload
}

// published are the means of the counting model behind eprint 2025/1035, by
// Update proposals per commit and number of members.
var published = map[int]map[int]float64{
	0: {256: 8, 1024: 10, 4096: 12, 65536: 16},
	1: {256: 55, 1024: 127, 4096: 285, 65536: 1443},
}

// RunTree plays histories on the tree of package treekem: key pairs, hashes and
// signatures are made for real with each commit; every sealEvery-th path is also
// sealed, and the ciphertexts counted on the wire.
func RunTree(ctx context.Context, cfg TreeConfig) (*TreeReport, error) {
	r := new(TreeReport)
	type job struct {
		to  *[]TreeRun
		run func() (TreeRun, error)
		say string
	}
	var jobs []job
	add := func(to *[]TreeRun, say string, f func() (TreeRun, error)) { jobs = append(jobs, job{to, f, say}) }
	for _, n := range cfg.Sizes {
		for _, k := range []int{0, 1, 2, 8} {
			add(&r.Updates, fmt.Sprintf("%d members, %d updates per commit", n, k), func() (TreeRun, error) {
				run, err := updates(ctx, n, k, randomCommitter, fmt.Sprintf("%d updates per commit", k), cfg.Seed)
				run.Expected = published[k][n]
				return run, err
			})
		}
	}
	for _, p := range committers {
		add(&r.Committers, "committer: "+p.name, func() (TreeRun, error) {
			return updates(ctx, cfg.Large, 1, p.pick, p.name, cfg.Seed)
		})
		add(&r.Healing, "healing, committer: "+p.name, func() (TreeRun, error) {
			return healing(ctx, cfg.Large, p.pick, p.name, cfg.Seed)
		})
	}
	for i := 3; i <= cfg.Paper; i++ {
		for _, admins := range []bool{false, true} {
			add(&r.Paper, fmt.Sprintf("paper's workload, i = %d", i), func() (TreeRun, error) {
				return paper(ctx, i, admins, cfg.Seed)
			})
		}
	}
	for k, j := range jobs {
		if cfg.Progress != nil {
			cfg.Progress(j.say, k, len(jobs))
		}
		run, err := j.run()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.say, err)
		}
		*j.to = append(*j.to, run)
	}
	return r, nil
}

// sealEvery says how often a path is sealed and counted on the wire.
const sealEvery = 64

// forest is a group's tree with what it takes to go on.
type forest struct {
	suite   *mls.Suite
	tree    *treekem.Tree
	caps    treekem.Capabilities
	random  *rand.Rand
	members []mls.LeafIndex // in order of joining
	serial  int
	costs   []int
	bytes   int
	sealed  int
}

var treeGroup = []byte("tree")

func newForest(n int, full bool, seed uint64) (*forest, error) {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		return nil, err
	}
	f := &forest{suite: suite, caps: treekem.DefaultCapabilities(), random: rand.New(rand.NewPCG(seed, uint64(n)))}
	for i := range n {
		f.members = append(f.members, mls.LeafIndex(i))
	}
	f.serial = n
	if full {
		members := make([]treekem.BuildMember, n)
		for i := range members {
			signer, err := suite.GenerateSigner()
			if err != nil {
				return nil, err
			}
			members[i] = treekem.BuildMember{Credential: treekem.BasicCredential(fmt.Append(nil, i)), Signer: signer, Capabilities: &f.caps}
		}
		f.tree, _, err = treekem.BuildFull(suite, members, treeGroup)
		return f, err
	}
	first, err := f.leaf(treekem.SourceKeyPackage)
	if err != nil {
		return nil, err
	}
	if f.tree, err = treekem.NewTree(suite, first); err != nil {
		return nil, err
	}
	edit := f.tree.Edit()
	for range n - 1 {
		leaf, err := f.leaf(treekem.SourceKeyPackage)
		if err != nil {
			return nil, err
		}
		if _, err := edit.Add(leaf); err != nil {
			return nil, err
		}
	}
	f.tree, err = edit.Done()
	return f, err
}

// leaf makes a leaf node with keys of its own.
func (f *forest) leaf(source treekem.LeafNodeSource) (*treekem.LeafNode, error) {
	key, err := f.suite.GenerateKeyPair()
	if err != nil {
		return nil, err
	}
	signer, err := f.suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	f.serial++
	return &treekem.LeafNode{
		EncryptionKey: key.Public(), SignatureKey: signer.Public(),
		Credential:   treekem.BasicCredential(fmt.Append(nil, f.serial)),
		Capabilities: f.caps, Source: source, Lifetime: treekem.LifetimeFrom(time.Now(), 24*time.Hour),
	}, nil
}

// commit has a member commit, after an edit of the tree if there is one, and
// notes the cost. added is how many leaves the edit added: the commit doesn't
// encrypt to them.
func (f *forest) commit(by mls.LeafIndex, edit *treekem.Editor, added []mls.LeafIndex) error {
	if edit != nil {
		var err error
		if f.tree, err = edit.Done(); err != nil {
			return err
		}
	}
	signer, err := f.suite.GenerateSigner()
	if err != nil {
		return err
	}
	old, ok := f.tree.Leaf(by)
	if !ok {
		return fmt.Errorf("compare: leaf %d is blank", by)
	}
	tmpl := old.Clone()
	tmpl.SignatureKey = signer.Public()
	path, err := f.tree.NewPath(by, tmpl, signer, treeGroup)
	if err != nil {
		return err
	}
	cost := f.tree.CommitCost(by) - len(added)
	if len(f.costs)%sealEvery == 0 {
		if err := f.seal(path, added, cost); err != nil {
			return err
		}
	}
	f.costs = append(f.costs, cost)
	f.tree = path.Tree()
	return nil
}

// seal encrypts a path for real and counts.
func (f *forest) seal(path *treekem.Path, added []mls.LeafIndex, cost int) error {
	update, err := path.Seal(treeGroup, added)
	if err != nil {
		return err
	}
	n := 0
	for i := range update.Nodes {
		n += len(update.Nodes[i].EncryptedPathSecret)
	}
	if n != cost {
		return fmt.Errorf("compare: %d ciphertexts on the wire where CommitCost says %d", n, cost)
	}
	b, err := wire.Marshal(update)
	f.bytes += len(b)
	f.sealed++
	return err
}

func (f *forest) any() mls.LeafIndex { return f.members[f.random.IntN(len(f.members))] }

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

// updates plays a group whose every commit has k Update proposals of random
// members: long enough to forget how it began, and then measured.
func updates(ctx context.Context, n, k int, pick picker, name string, seed uint64) (TreeRun, error) {
	f, err := newForest(n, true, seed)
	if err != nil {
		return TreeRun{}, err
	}
	warm, measured := 2*n, n
	if k == 0 {
		warm = 0
		measured = min(n, 1024)
	}
	for i := range warm + measured {
		if i%64 == 0 && ctx.Err() != nil {
			return TreeRun{}, ctx.Err()
		}
		if i == warm {
			f.bytes, f.sealed = 0, 0
		}
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
	return f.run(name, n, warm), nil
}

// healing plays commits without proposals after a bulk add.
func healing(ctx context.Context, n int, pick picker, name string, seed uint64) (TreeRun, error) {
	f, err := newForest(n, false, seed)
	if err != nil {
		return TreeRun{}, err
	}
	for i := range n {
		if i%64 == 0 && ctx.Err() != nil {
			return TreeRun{}, ctx.Err()
		}
		if err := f.commit(pick(f), nil, nil); err != nil {
			return TreeRun{}, err
		}
	}
	return f.run(name, n, 0), nil
}

// paper plays the workload of Tainted TreeKEM (eprint 2019/1489): from 2^(i-1)
// members 10·2^i operations, one in ten an add, one in ten a removal, else an
// update by a member that a Zipf distribution chooses. Adds and removals are by
// random members or by a few administrators.
func paper(ctx context.Context, i int, admins bool, seed uint64) (TreeRun, error) {
	n := 1 << (i - 1)
	f, err := newForest(n, false, seed)
	if err != nil {
		return TreeRun{}, err
	}
	name, chiefs := "random members", n
	if admins {
		name, chiefs = "administrators", max(n/64, 1)
	}
	ops := 10 << i
	for k := range ops {
		if k%64 == 0 && ctx.Err() != nil {
			return TreeRun{}, ctx.Err()
		}
		if err := f.paperStep(min(chiefs, len(f.members)), admins); err != nil {
			return TreeRun{}, err
		}
	}
	return f.run(name, n, 0), nil
}

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

// run sums up what was measured after the warm-up.
func (f *forest) run(name string, n, warm int) TreeRun {
	r := TreeRun{Name: name, Members: n, Commits: len(f.costs) - warm, First: f.costs[0]}
	r.Series = thin(f.costs)
	measured := slices.Sorted(slices.Values(f.costs[warm:]))
	sum := 0
	for _, c := range measured {
		sum += c
	}
	r.Mean = float64(sum) / float64(len(measured))
	r.Median, r.P95, r.Max = measured[len(measured)/2], measured[len(measured)*95/100], measured[len(measured)-1]
	r.Bytes = float64(f.bytes) / float64(max(f.sealed, 1))
	return r
}

// thin keeps about 100 points, denser at the start.
func thin(costs []int) []TreePoint {
	var out []TreePoint
	last := -1
	for k := range 101 {
		i := int(math.Pow(float64(len(costs)), float64(k)/100)) - 1
		if i > last {
			out = append(out, TreePoint{i + 1, costs[i]})
			last = i
		}
	}
	return out
}
