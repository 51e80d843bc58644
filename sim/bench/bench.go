package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/treekem/mls"
)

// Ops are the operations that can be measured, in the order in which they are.
//
//	create-update   make a commit that renews the committer's keys
//	create-add      make a commit that adds a member, with its Welcome but
//	                without the tree in it
//	create-remove   make a commit that removes a member
//	create-add100   make a commit that adds 100 members, with the Welcome but
//	                without the tree in it
//	process-far     process an update commit as a member of the other half
//	process-near    process it as the committer's neighbour
//	process-add     process a commit that adds a member, in the other half
//	process-remove  process a commit that removes one, in the other half
//	join            join by a Welcome with the tree inside, validating everything
//	join-apart      join by a Welcome, the tree coming from elsewhere
//	rejoin          join where the leaves were verified before
//	external-join   join by an external commit, the tree inside the GroupInfo
//	save            encode the whole state of a member
//	restore         continue from it
//	memory          what a member holds: live heap, in bytes per member
//	protect         encrypt and sign a message of 1 KiB
//	unprotect       decrypt and verify it
//	stream-two      protect messages in two groups at once, on two cores; the
//	                floor is what they take one after the other, by the cores
//	merge           put a processed commit in place
func Ops() []string {
	names := make([]string, len(operations))
	for i := range operations {
		names[i] = operations[i].name
	}
	return names
}

// Trees are the states of a tree to measure in.
//
//	full     no blank parents, as when every member has committed
//	blank    all parents blank, as after a bulk add
//	history  blanks and unmerged leaves in between, after many additions,
//	         removals and updates
func Trees() []string { return []string{"full", "blank", "history"} }

// Config says what to measure. The zero value of each field is a default.
type Config struct {
	Members []int      // sizes; nil: 16, 1024, 16384
	Trees   []string   // of Trees; nil: full
	Ops     []string   // of Ops; nil: all
	Suite   *mls.Suite // nil: suite 1
	// Time is how long to measure each operation, about. 0: DefaultTime.
	Time time.Duration
	// Cores is how many cores to use, by operations and floor alike. 0: all. On
	// one, a ratio compares work with work; on several, an operation that spreads
	// its work can come below a floor that is that of one core.
	Cores int
	// Progress, if not nil, is called before each operation.
	Progress func(doing string, done, total int)
}

// DefaultTime is enough for medians that hold within a few per cent on an idle
// machine.
const DefaultTime = 400 * time.Millisecond

// MinMembers is the smallest group to measure in: one to send and one to
// receive.
const MinMembers = 2

// Result is one measurement. Its JSON form is
//
//	{"op","tree","n","suite","ns","floor_ns","ratio","bytes","alloc_bytes"}
type Result struct {
	Op      string        `json:"op"`
	Tree    string        `json:"tree"`
	Members int           `json:"n"`
	Suite   string        `json:"suite"`
	Time    time.Duration `json:"ns"`
	// Floor is 0 where no primitive operation is unavoidable.
	Floor time.Duration `json:"floor_ns"`
	Ratio float64       `json:"ratio"` // Time over Floor, 0 if that is 0
	// Bytes is the size of the message or state made or read; for commits that
	// add, without the Welcome; for memory, the live heap per member.
	Bytes int `json:"bytes"`
	// Alloc is how many bytes one operation allocates.
	Alloc int64 `json:"alloc_bytes"`
}

func (c Config) withDefaults() (Config, error) {
	if c.Members == nil {
		c.Members = []int{16, 1024, 16384}
	}
	if c.Trees == nil {
		c.Trees = []string{"full"}
	}
	if c.Ops == nil {
		c.Ops = Ops()
	}
	if c.Time == 0 {
		c.Time = DefaultTime
	}
	if c.Suite == nil {
		var err error
		if c.Suite, err = mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519); err != nil {
			return c, err
		}
	}
	for _, n := range c.Members {
		if n < MinMembers {
			return c, fmt.Errorf("bench: a group of %d: it takes %d", n, MinMembers)
		}
	}
	for _, t := range c.Trees {
		if !slices.Contains(Trees(), t) {
			return c, fmt.Errorf("bench: no tree %q", t)
		}
	}
	for _, op := range c.Ops {
		if !slices.Contains(Ops(), op) {
			return c, fmt.Errorf("bench: no operation %q", op)
		}
	}
	return c, nil
}

// steps is how many times a run with this configuration reports progress.
func (c *Config) steps() int { return len(c.Members) * len(c.Trees) * (len(c.Ops) + 1) }

// Run measures. After an error it returns what was measured until then.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Cores > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cfg.Cores))
	}
	r := &run{ctx: ctx, cfg: cfg}
	for _, tree := range cfg.Trees {
		for _, n := range cfg.Members {
			if err := r.group(tree, n); err != nil {
				return r.results, err
			}
		}
	}
	if len(r.results) == 0 {
		return nil, r.skipped
	}
	return r.results, nil
}

// run is a run of measurements under way.
type run struct {
	ctx     context.Context
	cfg     Config
	done    int
	results []Result
	skipped error // why the last operation that was left out was
}

func (r *run) progress(format string, args ...any) error {
	if r.cfg.Progress != nil {
		r.cfg.Progress(fmt.Sprintf(format, args...), r.done, r.cfg.steps())
	}
	r.done++
	return r.ctx.Err()
}

// group measures all operations in one group.
func (r *run) group(tree string, n int) error {
	where := fmt.Sprintf("%s tree of %d", tree, n)
	if err := r.progress("%s: setting up", where); err != nil {
		return err
	}
	b, err := newBed(r.cfg.Suite, tree, n)
	if err != nil {
		return fmt.Errorf("bench: %s: %w", where, err)
	}
	for _, op := range operations {
		if !slices.Contains(r.cfg.Ops, op.name) {
			continue
		}
		if err := r.progress("%s: %s", where, op.name); err != nil {
			return err
		}
		result, err := b.result(r.ctx, op, r.cfg.Time)
		if errors.Is(err, errNothing) {
			r.skipped = err
			continue
		}
		if err != nil {
			return fmt.Errorf("bench: %s: %s: %w", where, op.name, err)
		}
		r.results = append(r.results, result)
	}
	return nil
}

// errNothing is for operations that a group is too small for, or a machine.
var errNothing = errors.New("bench: nothing to measure")

// result measures one operation.
func (b *bed) result(ctx context.Context, op operation, budget time.Duration) (Result, error) {
	measure := op.measure
	if measure == nil {
		measure = func(b *bed, ctx context.Context, budget time.Duration) (Result, error) {
			t, err := op.prepare(b)
			if err != nil {
				return Result{}, err
			}
			return b.measure(ctx, t, budget)
		}
	}
	r, err := measure(b, ctx, budget)
	if err != nil {
		return Result{}, err
	}
	r.Op, r.Tree, r.Members, r.Suite = op.name, b.tree, b.members, b.suite.String()
	if r.Floor > 0 {
		r.Ratio = float64(r.Time) / float64(r.Floor)
	}
	return r, nil
}

// A task is an operation prepared to be run.
type task struct {
	run   func() error
	work  work // what is unavoidable in it
	bytes int
	// refill prepares more runs, for tasks that use something up; it is not
	// measured.
	refill func() error
}

// Bounds of the number of rounds: few enough for operations of seconds, many
// enough for those of microseconds.
const (
	minRounds = 5
	maxRounds = 400
	warmUps   = 3
)

// rounds is how often to run an operation that takes so long, at least, and how
// often before that to warm up.
func rounds(once time.Duration) (least, before int) {
	switch {
	case once > 5*time.Second:
		return 2, 0
	case once > time.Second:
		return 3, 0
	case once > 300*time.Millisecond:
		return 2 * minRounds, 0
	}
	return minRounds, warmUps - 1
}

// measure runs an operation again and again, its primitives in between, for
// about the given time.
func (b *bed) measure(ctx context.Context, t *task, budget time.Duration) (Result, error) {
	floor, err := newFloor(b.suite, t.work)
	if err != nil {
		return Result{}, err
	}
	// The runs that warm up tell what is allocated: the least, as other
	// goroutines may allocate meanwhile.
	once, alloc, err := allocated(t)
	if err != nil {
		return Result{}, err
	}
	least, before := rounds(once)
	for range before {
		_, again, err := allocated(t)
		if err != nil {
			return Result{}, err
		}
		alloc = min(alloc, again)
		floor.round()
	}
	runtime.GC() // what setting up left behind is not the operation's
	var samples []sample
	floorBefore := floor.beside(once)
	for start := time.Now(); len(samples) < least || len(samples) < maxRounds && time.Since(start) < budget; {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		elapsed, err := timed(t)
		if err != nil {
			return Result{}, err
		}
		after := floor.beside(elapsed)
		samples = append(samples, sample{elapsed, (floorBefore + after) / 2})
		floorBefore = after
	}
	took, bound := summarize(samples)
	return Result{Time: took, Floor: bound, Bytes: t.bytes, Alloc: alloc}, nil
}

// timed runs a task once.
func timed(t *task) (time.Duration, error) {
	if t.refill != nil {
		if err := t.refill(); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	err := t.run()
	return time.Since(start), err
}

// allocated runs a task once and tells how long that took and how many bytes it
// allocated.
func allocated(t *task) (time.Duration, int64, error) {
	if t.refill != nil {
		if err := t.refill(); err != nil {
			return 0, 0, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := t.run()
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	return elapsed, int64(after.TotalAlloc - before.TotalAlloc), err
}

// A sample is what a run took, and what its floor was right before and after it.
type sample struct{ run, floor time.Duration }

// summarize returns the median of the runs, and the floor that their median ratio
// to their own floors makes of it. A machine's clock changes while it measures: the
// median of the runs and that of the floors may be of different states, the two
// halves of a sample are of one. The floor is 0 if nothing is unavoidable.
func summarize(samples []sample) (took, floor time.Duration) {
	var runs []time.Duration
	var ratios []float64
	for _, s := range samples {
		runs = append(runs, s.run)
		if s.run > 0 && s.floor > 0 { // what a coarse clock sees nothing of says nothing
			ratios = append(ratios, float64(s.run)/float64(s.floor))
		}
	}
	took = median(runs)
	if len(ratios) > 0 {
		floor = time.Duration(float64(took) / median(ratios))
	}
	return took, floor
}

func median[T cmp.Ordered](list []T) T {
	if len(list) == 0 {
		return *new(T)
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
