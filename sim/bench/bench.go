package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/treekem/mls"
)

// Ops are the operations that can be measured, in the order in which they are.
//
//	create-update  make a commit that renews the committer's keys
//	create-add     make a commit that adds a member, with its Welcome but
//	               without the tree in it
//	create-remove  make a commit that removes a member
//	process-far    process an update commit as a member of the other half
//	process-near   process it as the committer's neighbour
//	join           join by a Welcome with the tree inside, validating everything
//	protect        encrypt and sign a message of 1 KiB
//	unprotect      decrypt and verify it
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

// Result is one measurement. Its JSON form is
//
//	{"op","tree","n","suite","ns","floor_ns","ratio","bytes","alloc_bytes"}
type Result struct {
	Op      string        `json:"op"`
	Tree    string        `json:"tree"`
	Members int           `json:"n"`
	Suite   string        `json:"suite"`
	Time    time.Duration `json:"ns"`
	Floor   time.Duration `json:"floor_ns"`
	Ratio   float64       `json:"ratio"` // Time over Floor
	// Bytes is the size of the message made or read; for create-add, of the
	// commit without the Welcome.
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
		if n < 4 {
			return c, fmt.Errorf("bench: a group of %d: it takes 4 to have a near and a far member", n)
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

// Run measures. After an error it returns what was measured until then.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Cores > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cfg.Cores))
	}
	total, done := len(cfg.Members)*len(cfg.Trees)*(len(cfg.Ops)+1), 0
	progress := func(format string, args ...any) error {
		if cfg.Progress != nil {
			cfg.Progress(fmt.Sprintf(format, args...), done, total)
		}
		done++
		return ctx.Err()
	}
	var results []Result
	for _, tree := range cfg.Trees {
		for _, n := range cfg.Members {
			if err := progress("%s tree of %d: setting up", tree, n); err != nil {
				return results, err
			}
			b, err := newBed(cfg.Suite, tree, n)
			if err != nil {
				return results, fmt.Errorf("bench: %s tree of %d: %w", tree, n, err)
			}
			for _, op := range operations {
				if !slices.Contains(cfg.Ops, op.name) {
					continue
				}
				if err := progress("%s tree of %d: %s", tree, n, op.name); err != nil {
					return results, err
				}
				r, err := b.measure(op, cfg.Time)
				if err != nil {
					return results, fmt.Errorf("bench: %s tree of %d: %s: %w", tree, n, op.name, err)
				}
				results = append(results, r)
			}
		}
	}
	return results, nil
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
	warmUps   = 2
)

// measure runs an operation again and again, its primitives in between, for
// about the given time.
func (b *bed) measure(op operation, budget time.Duration) (Result, error) {
	t, err := op.prepare(b)
	if err != nil {
		return Result{}, err
	}
	floor, err := newFloor(b.suite, t.work)
	if err != nil {
		return Result{}, err
	}
	for range warmUps {
		if _, err := timed(t); err != nil {
			return Result{}, err
		}
		floor.round()
	}
	floor.reset()
	alloc, err := allocated(t)
	if err != nil {
		return Result{}, err
	}
	runtime.GC() // what setting up left behind is not the operation's
	var times []time.Duration
	for start := time.Now(); len(times) < minRounds || len(times) < maxRounds && time.Since(start) < budget; {
		elapsed, err := timed(t)
		if err != nil {
			return Result{}, err
		}
		times = append(times, elapsed)
		floor.round()
	}
	r := Result{
		Op: op.name, Tree: b.tree, Members: b.members, Suite: b.suite.String(),
		Time: median(times), Floor: floor.total(), Bytes: t.bytes, Alloc: alloc,
	}
	if r.Floor > 0 {
		r.Ratio = float64(r.Time) / float64(r.Floor)
	}
	return r, nil
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

// allocated is how many bytes a run of the task allocates: the least of some
// runs, as other goroutines may allocate meanwhile.
func allocated(t *task) (int64, error) {
	least := int64(-1)
	for range 3 {
		if t.refill != nil {
			if err := t.refill(); err != nil {
				return 0, err
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := t.run()
		runtime.ReadMemStats(&after)
		if err != nil {
			return 0, err
		}
		if n := int64(after.TotalAlloc - before.TotalAlloc); least < 0 || n < least {
			least = n
		}
	}
	return least, nil
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// WriteTable writes results for a reader, and how process-far grows.
func WriteTable(w io.Writer, results []Result) error {
	if len(results) == 0 {
		return errors.New("bench: nothing measured")
	}
	fmt.Fprintf(w, "%s\nFloor: the unavoidable primitive operations, at their cost in this run.\n\n", results[0].Suite)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "op\ttree\tmembers\ttime\tfloor\tratio\tbytes\tallocated\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%.2f\t%d\t%d\t\n", r.Op, r.Tree, r.Members, digits(r.Time), digits(r.Floor), r.Ratio, r.Bytes, r.Alloc)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeGrowth(w, results)
}

// writeGrowth says how the time to process a commit grows with the group.
func writeGrowth(w io.Writer, results []Result) error {
	for _, tree := range Trees() {
		for _, op := range []string{"process-far", "process-near"} {
			var list []Result
			for _, r := range results {
				if r.Op == op && r.Tree == tree {
					list = append(list, r)
				}
			}
			if len(list) < 2 {
				continue
			}
			byMembers := func(a, b Result) int { return a.Members - b.Members }
			a, b := slices.MinFunc(list, byMembers), slices.MaxFunc(list, byMembers)
			_, err := fmt.Fprintf(w, "\n%s, %s tree: from %d to %d members, %.0f times as many, takes %.2f times as long.",
				op, tree, a.Members, b.Members, float64(b.Members)/float64(a.Members), float64(b.Time)/float64(a.Time))
			if err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// digits rounds to about three digits.
func digits(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
