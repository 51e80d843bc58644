package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
)

// Defaults of [Config]. Together they run sizes 2 to 1,024 in well under 20
// seconds on two cores: a commit costs each of n members 0.2 to 0.4 ms.
const (
	DefaultMaxMembers = 1024
	DefaultCommits    = 4
	// measuredUpdates are the commits of each size that the cost of TreeKEM is
	// the median of. They keep the tree full.
	measuredUpdates = 3
	// AutoSample is the group size above which not every member processes, if
	// Sample does not say: a million of them would need hours.
	AutoSample = 4096
	// SampleSize is how many do, then.
	SampleSize = 1000
	// bulkSample is how many process commits after a bulk add in groups above
	// AutoSample: such a commit is as large as the group, for each of them.
	bulkSample = 32
)

// Config says what to simulate. The zero value of each field is a default.
type Config struct {
	// Sizes are the numbers of members, at least 2 each. Nil: [SizesUpTo]
	// DefaultMaxMembers.
	Sizes []int
	// Suite is the cipher suite. Nil: the mandatory suite 1.
	Suite *mls.Suite
	// Commits is the number of commits of the schedule at each size, besides
	// those that are measured. 0: DefaultCommits; negative: none.
	Commits int
	// Mix is what these commits do. Zero: DefaultMix.
	Mix Mix
	// Seed determines the schedule.
	Seed uint64
	// Sample is how many members process each commit and message; the leaves
	// and keys of the others are real, but nobody acts for them. 0: all members
	// of groups up to AutoSample, else SampleSize.
	Sample int
	// Progress, if not nil, is told how far the simulation is, by one goroutine.
	Progress func(Progress)
}

// Progress is how far a simulation is. Units are about equally long.
type Progress struct {
	Members     int    // of the group at work
	Doing       string // in a few words
	Done, Total int    // units
}

// Doublings returns from, 2·from, 4·from … and last to.
func Doublings(from, to int) []int { return multiples(from, to, 2) }

// SizesUpTo returns sizes from 2 to max, which double, or quadruple if max is
// above AutoSample.
func SizesUpTo(max int) []int {
	if max > AutoSample {
		return multiples(2, max, 4)
	}
	return multiples(2, max, 2)
}

func multiples(from, to, factor int) []int {
	var sizes []int
	for n := from; n < to; n *= factor {
		sizes = append(sizes, n)
	}
	return append(sizes, to)
}

func (c Config) withDefaults() (Config, error) {
	if c.Sizes == nil {
		c.Sizes = SizesUpTo(DefaultMaxMembers)
	}
	for _, n := range c.Sizes {
		if n < 2 {
			return c, fmt.Errorf("sim: a group of %d: two members are the fewest that can re-key", n)
		}
	}
	if c.Suite == nil {
		var err error
		if c.Suite, err = mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519); err != nil {
			return c, err
		}
	}
	switch {
	case c.Commits == 0:
		c.Commits = DefaultCommits
	case c.Commits < 0:
		c.Commits = 0
	}
	if c.Mix == (Mix{}) {
		c.Mix = DefaultMix
	}
	if c.Sample < 0 || c.Sample == 1 {
		return c, errors.New("sim: a sample needs two members at least")
	}
	return c, c.Mix.check()
}

// acting is how many members of a group of n process.
func (c *Config) acting(n int) int {
	switch {
	case c.Sample > 0:
		return min(c.Sample, n)
	case n > AutoSample:
		return SampleSize
	}
	return n
}

// bulkActing is how many members process commits after a bulk add.
func (c *Config) bulkActing(n int) int {
	if n > AutoSample {
		return min(c.acting(n), bulkSample)
	}
	return c.acting(n)
}

// times is how often to measure something that is linear in n.
func times(n int) int {
	if n > AutoSample {
		return 1
	}
	return measuredUpdates
}

// units is the work at a size: a unit is a commit processed by a member, or what
// takes about as long.
func (c *Config) units(n int) int {
	return (measuredUpdates+c.Commits)*c.acting(n) + bulkCommits*c.bulkActing(n) + 2*setupUnits(n) + times(n)*setupUnits(n)
}

// setupUnits is about what setting up a group of n members takes, or re-keying
// it without a tree.
func setupUnits(n int) int { return (n + 1) / 2 }

// Run simulates. The error is ctx's, or says what was not as it must be; the
// report is then of what was done until there, with Agreed false for the size
// that failed.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	report := &Report{Suite: cfg.Suite.String(), Seed: cfg.Seed, Cores: runtime.GOMAXPROCS(0)}
	total := 0
	for _, n := range cfg.Sizes {
		total += cfg.units(n)
	}
	done := 0
	for _, n := range cfg.Sizes {
		s := &simulation{ctx: ctx, cfg: &cfg, end: done + cfg.units(n), progress: Progress{Members: n, Done: done, Total: total}}
		s.report.Members = n
		start := time.Now()
		err := s.run(n)
		s.report.Agreed = err == nil
		s.report.Elapsed = time.Since(start)
		report.Sizes = append(report.Sizes, s.report)
		if err != nil {
			return report, fmt.Errorf("sim: %d members: %w", n, err)
		}
		done += cfg.units(n)
	}
	report.fit()
	return report, nil
}

// simulation is the work at one size.
type simulation struct {
	ctx      context.Context
	cfg      *Config
	report   SizeReport
	progress Progress
	end      int // units done when this size is: an estimate, as members come and go

	took []time.Duration // what each member took for each measured commit
}

// doing reports progress by some units of work.
func (s *simulation) doing(what string, units int) error {
	s.progress.Done = min(s.progress.Done+units, s.end)
	s.progress.Doing = what
	if s.cfg.Progress != nil {
		s.cfg.Progress(s.progress)
	}
	return s.ctx.Err()
}

// run plays the full tree's group, the bulk-added group and the protocol that
// both are compared with.
func (s *simulation) run(n int) error {
	acting := s.cfg.acting(n)
	if acting < n {
		s.report.Acting = acting
	}
	steps := Schedule(s.cfg.Seed, n, measuredUpdates+s.cfg.Commits, s.cfg.Mix)
	for i := range steps[:measuredUpdates] {
		steps[i].Kind = Update
	}
	// The schedule's own kinds begin after the measured commits.
	for i, step := range Schedule(s.cfg.Seed, n, s.cfg.Commits, s.cfg.Mix) {
		steps[measuredUpdates+i].Kind = step.Kind
	}
	if err := s.doing("setting up a full tree", 0); err != nil {
		return err
	}
	full, err := s.setUp(fullTree, n, acting)
	if err != nil {
		return err
	}
	if err := s.doing("updates", setupUnits(n)); err != nil {
		return err
	}
	var costs []Cost
	for i, step := range steps {
		cost, err := s.play(full, step)
		if err != nil {
			return fmt.Errorf("commit %d (%s): %w", i+1, step.Kind, err)
		}
		if i < measuredUpdates {
			costs = append(costs, cost)
			s.report.Process = median(s.took)
		}
	}
	s.report.TreeKEM = medianCost(costs)
	if err := s.runBulk(n, s.cfg.bulkActing(n)); err != nil {
		return err
	}
	if err := s.doing("sealing a key to each member", 0); err != nil {
		return err
	}
	each, err := newPerMember(s.cfg.Suite, n, acting)
	if err != nil {
		return err
	}
	if s.report.PerMember, err = each.cost(times(n)); err != nil {
		return err
	}
	return s.doing("done", s.end)
}

// bulkCommits are the commits in the bulk-added group: the first re-key is
// linear, and the second shows that the group goes on.
const bulkCommits = 2

func (s *simulation) runBulk(n, acting int) error {
	if err := s.doing("setting up a bulk-added group", 0); err != nil {
		return err
	}
	bulk, err := s.setUp(blankTree, n, acting)
	if err != nil {
		return err
	}
	if err := s.doing("first re-key after a bulk add", setupUnits(n)); err != nil {
		return err
	}
	for i, step := range Schedule(s.cfg.Seed, n, bulkCommits, Mix{Update: 1}) {
		cost, err := s.play(bulk, step)
		if err != nil {
			return fmt.Errorf("after a bulk add: commit %d: %w", i+1, err)
		}
		if i == 0 {
			s.report.BulkAdd = cost
		}
	}
	return nil
}

// play makes one commit, has all others process it, and checks what must hold
// after it.
func (s *simulation) play(w *world, step Step) (Cost, error) {
	acting := len(w.members)
	before := w.speaker(step.Speaker)
	earlier, err := before.group.Protect([]byte("before the commit"), nil)
	if err != nil {
		return Cost{}, err
	}
	c, err := w.commit(step)
	if err != nil {
		return Cost{}, err
	}
	if err := s.process(w, c); err != nil {
		return Cost{}, err
	}
	s.report.Commits++
	if err := w.agree(); err != nil {
		return Cost{}, err
	}
	later, err := w.roundTrip(w.speaker(step.Speaker))
	if err != nil {
		return Cost{}, err
	}
	s.report.Messages++
	if err := s.shutOut(c, earlier, later); err != nil {
		return Cost{}, err
	}
	return c.cost, s.doing("commits", acting)
}

// process has every member but the committer process the commit, and new ones
// join.
func (s *simulation) process(w *world, c *committed) error {
	took := make([]time.Duration, len(w.members))
	err := parallel.Each(len(w.members), 1, func(i int) error {
		m := w.members[i]
		if m == c.committer || m == c.removed {
			return nil
		}
		start := time.Now()
		err := m.follow(c.message)
		took[i] = time.Since(start)
		return err
	})
	if err != nil {
		return err
	}
	s.took = append(s.took, slices.DeleteFunc(took, func(d time.Duration) bool { return d == 0 })...)
	if err := c.committer.group.Merge(c.staged); err != nil {
		return err
	}
	if c.removed != nil {
		w.members = slices.DeleteFunc(w.members, func(m *member) bool { return m == c.removed })
		s.report.Removed++
	}
	if c.added != nil {
		joined, err := c.added.join(c.staged.Welcome())
		if err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		w.members = append(w.members, joined)
		c.joined = joined
		s.report.Joined++
	}
	return nil
}
