package treekem

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f for each i below n, on all cores, and returns the error for
// the least i that gives one: the same error whatever the timing. Later calls
// may be left out then. Indices are handed out in chunks, to amortize short
// calls.
func parallel(n, chunk int, f func(i int) error) error {
	return parallelWorkers(n, chunk, func() func(int) error { return f })
}

// parallelWorkers is parallel with a function for each worker, so that each can
// have its own scratch space.
func parallelWorkers(n, chunk int, worker func() func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk)
	if workers <= 1 {
		f := worker()
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	run := parallelRun{n: n, chunk: chunk}
	run.failed.Store(int64(n))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { run.work(worker()) })
	}
	wg.Wait()
	return run.err
}

type parallelRun struct {
	n, chunk int
	next     atomic.Int64
	failed   atomic.Int64 // the least index that failed, n if none
	mu       sync.Mutex
	err      error
}

func (r *parallelRun) work(f func(i int) error) {
	for {
		end := int(r.next.Add(int64(r.chunk)))
		// Chunks are handed out in order, so whatever is below a failure is
		// done or under way.
		for i := end - r.chunk; i < min(end, r.n); i++ {
			if int64(i) > r.failed.Load() {
				return
			}
			if err := f(i); err != nil {
				r.fail(int64(i), err)
				return
			}
		}
		if end >= r.n {
			return
		}
	}
}

func (r *parallelRun) fail(i int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i < r.failed.Load() {
		r.failed.Store(i)
		r.err = err
	}
}
