package sim

import (
	"slices"
	"time"
)

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
