package sim

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// parallel calls f(0) … f(n-1) on all cores and returns the first error, after
// which no further call begins.
func parallel(n int, f func(i int) error) error {
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		failed atomic.Pointer[error]
	)
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// medianCost returns the cost whose time is the median.
func medianCost(costs []Cost) Cost {
	if len(costs) == 0 {
		return Cost{}
	}
	sorted := slices.SortedFunc(slices.Values(costs), func(a, b Cost) int { return int(a.Elapsed - b.Elapsed) })
	return sorted[len(sorted)/2]
}

// median is the median of the durations, 0 if there are none.
func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
