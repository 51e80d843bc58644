// Package parallel spreads work that only computes over all cores, and ends
// before the call returns.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls f for each i below n, on all cores, and returns the error for
// the least i that gives one: the same error whatever the timing. Later calls
// may be left out then. Indices are handed out in chunks, to amortize short
// calls.
func Each(n, chunk int, f func(i int) error) error {
	return Workers(n, chunk, func() func(int) error { return f })
}

// Workers is Each with a function for each worker, so that each can
// have its own scratch space.
func Workers(n, chunk int, worker func() func(i int) error) error {
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
	r := run{n: n, chunk: chunk}
	r.failed.Store(int64(n))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { r.work(worker()) })
	}
	wg.Wait()
	return r.err
}

type run struct {
	n, chunk int
	next     atomic.Int64
	failed   atomic.Int64 // the least index that failed, n if none
	mu       sync.Mutex
	err      error
}

func (r *run) work(f func(i int) error) {
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

func (r *run) fail(i int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i < r.failed.Load() {
		r.failed.Store(i)
		r.err = err
	}
}
