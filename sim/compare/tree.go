package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/treekem/mls/internal/parallel"
)

// TreeConfig says what to find out about the ratchet tree.
type TreeConfig struct {
	// Sizes are the numbers of members for histories with Update proposals.
	Sizes []int
	// Large is the size for comparing committers and for healing.
	Large int
	// Paper is the largest i of the workload of the Tainted TreeKEM paper, whose
	// groups begin with 2^(i-1) members and live for 10·2^i operations.
	Paper int
	Seed  uint64
	// Progress is told how many commits of all histories are done; nil is fine.
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
	Bytes   float64 `json:"bytes"` // of an update path on the wire, on average
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

// RunTree plays histories on the tree of package treekem, as many at once as there
// are cores: key pairs, hashes and signatures are made for real with each commit.
// Of each history some paths are also sealed, and the ciphertexts counted on the
// wire.
func RunTree(ctx context.Context, cfg TreeConfig) (*TreeReport, error) {
	r := new(TreeReport)
	list := r.histories(cfg)
	var mu sync.Mutex
	done, total := 0, 0
	for i := range list {
		total += list[i].commits
	}
	tick := func(say string, commits int) error {
		mu.Lock()
		defer mu.Unlock()
		done += commits
		if cfg.Progress != nil {
			cfg.Progress(say, done, total)
		}
		return ctx.Err()
	}
	runs := make([]TreeRun, len(list))
	err := parallel.Each(len(list), 1, func(i int) error {
		h := &list[i]
		if err := tick(h.say, 0); err != nil {
			return err
		}
		var err error
		if runs[i], err = h.play(func(commits int) error { return tick(h.say, commits) }); err != nil {
			return fmt.Errorf("%s: %w", h.say, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range list {
		*list[i].to = append(*list[i].to, runs[i])
	}
	return r, nil
}

// A history is a group's life to be played.
type history struct {
	to      *[]TreeRun // where the result belongs
	say     string
	commits int // that it has
	play    func(tick func(commits int) error) (TreeRun, error)
}

// histories lists what to play.
func (r *TreeReport) histories(cfg TreeConfig) []history {
	var list []history
	for _, n := range cfg.Sizes {
		for _, k := range []int{0, 1, 2, 8} {
			list = append(list, history{&r.Updates, fmt.Sprintf("%d members, %d updates per commit", n, k), randomSpan(n, k).commits(), func(tick func(int) error) (TreeRun, error) {
				run, err := updates(tick, n, k, randomSpan(n, k), randomCommitter, fmt.Sprintf("%d updates per commit", k), cfg.Seed)
				run.Expected = published[k][n]
				return run, err
			}})
		}
	}
	for _, p := range committers {
		list = append(list, history{&r.Committers, "committer: " + p.name, chosenSpan(cfg.Large).commits(), func(tick func(int) error) (TreeRun, error) {
			return updates(tick, cfg.Large, 1, chosenSpan(cfg.Large), p.pick, p.name, cfg.Seed)
		}}, history{&r.Healing, "healing, committer: " + p.name, cfg.Large, func(tick func(int) error) (TreeRun, error) {
			return healing(tick, cfg.Large, p.pick, p.name, cfg.Seed)
		}})
	}
	for i := 3; i <= cfg.Paper; i++ {
		for _, admins := range []bool{false, true} {
			list = append(list, history{&r.Paper, fmt.Sprintf("workload of Tainted TreeKEM, i = %d", i), paperLength(i), func(tick func(int) error) (TreeRun, error) {
				return paper(tick, i, admins, cfg.Seed)
			}})
		}
	}
	return list
}

// run sums up what was measured after the warm-up.
func (f *forest) run(name string, n int) TreeRun {
	r := TreeRun{Name: name, Members: n, Commits: len(f.costs) - f.warm, First: f.costs[0]}
	r.Series = thin(f.costs)
	measured := slices.Sorted(slices.Values(f.costs[f.warm:]))
	sum := 0
	for _, c := range measured {
		sum += c
	}
	r.Mean = float64(sum) / float64(len(measured))
	r.Median, r.P95, r.Max = measured[len(measured)/2], measured[len(measured)*95/100], measured[len(measured)-1]
	r.Bytes = float64(f.besides)/float64(max(f.sealed, 1)) + r.Mean*float64(f.each)
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
