package bench

import (
	"fmt"
	"slices"
	"time"
)

// A Target is a bound that the library is held to, and what was measured.
type Target struct {
	What     string
	Bound    string
	Measured string
	// Known is false if the results don't have what it takes to tell; Held
	// tells whether the bound holds.
	Known, Held bool
}

// Sizes at which targets are measured: those of them that there are results
// for.
var targetSizes = []int{1024, 16384, 131072, 1048576}

const (
	maxCreate       = 1.25
	maxProcess      = 1.5
	maxGrowth       = 1.8 // in time, from the first target size to the last
	maxAllocGrowth  = 2.5
	maxJoin         = 1.2
	maxRejoin       = 0.25
	maxMemory       = 700
	maxMessage      = 1.15
	minStreams      = 1.7
	maxChange       = 1.3
	joinTargetSize  = 16384
	changeTarget    = 131072
	streamSenders   = 2
	baseTargetSize  = 1024
	largestTreeSize = 1048576
)

// Targets holds results of full trees against the bounds.
func Targets(results []Result) []Target {
	var list []Target
	for _, op := range []struct {
		name, what string
		bound      float64
	}{
		{"create-update", "create an update commit", maxCreate},
		{"process-far", "process it, receiver far", maxProcess},
		{"process-near", "process it, receiver near", maxProcess},
	} {
		for _, n := range targetSizes {
			list = append(list, ratioTarget(results, op.name, op.what, n, op.bound))
		}
	}
	list = append(list,
		growthTarget(results, "time to process, receiver far", maxGrowth, func(r Result) float64 { return float64(r.Time) }),
		growthTarget(results, "bytes allocated to process, receiver far", maxAllocGrowth, func(r Result) float64 { return float64(r.Alloc) }),
		ratioTarget(results, "join", "join, the tree in the Welcome", joinTargetSize, maxJoin),
		rejoinTarget(results),
		memoryTarget(results),
		ratioTarget(results, "protect", "protect 1 KiB", baseTargetSize, maxMessage),
		ratioTarget(results, "unprotect", "unprotect 1 KiB", baseTargetSize, maxMessage),
		streamTarget(results),
		ratioTarget(results, "create-add", "commit that adds one", changeTarget, maxChange),
		ratioTarget(results, "create-remove", "commit that removes one", changeTarget, maxChange),
	)
	return list
}

// find is the result of an operation in a full tree.
func find(results []Result, op string, n int) (Result, bool) {
	i := slices.IndexFunc(results, func(r Result) bool { return r.Op == op && r.Tree == "full" && r.Members == n })
	if i < 0 {
		return Result{}, false
	}
	return results[i], true
}

func ratioTarget(results []Result, op, what string, n int, bound float64) Target {
	t := Target{What: fmt.Sprintf("%s, %d members", what, n), Bound: fmt.Sprintf("≤ %.2f × floor", bound)}
	if r, ok := find(results, op, n); ok && r.Floor > 0 {
		t.Known, t.Held = true, r.Ratio <= bound
		t.Measured = fmt.Sprintf("%.2f × floor (%v)", r.Ratio, digits(r.Time))
	}
	return t
}

// growthTarget compares the largest size measured with the first.
func growthTarget(results []Result, what string, bound float64, value func(Result) float64) Target {
	t := Target{What: what, Bound: fmt.Sprintf("at %d ≤ %.1f × at %d", largestTreeSize, bound, baseTargetSize)}
	base, ok := find(results, "process-far", baseTargetSize)
	if !ok {
		return t
	}
	for _, n := range slices.Backward(targetSizes[1:]) {
		r, ok := find(results, "process-far", n)
		if !ok {
			continue
		}
		growth := value(r) / value(base)
		t.Known, t.Held = true, growth <= bound
		t.Measured = fmt.Sprintf("%.2f × at %d", growth, n)
		break
	}
	return t
}

// rejoinTarget compares with the verification of all leaves, the floor of
// joining.
func rejoinTarget(results []Result) Target {
	t := Target{
		What:  fmt.Sprintf("rejoin, leaves verified before, %d members", joinTargetSize),
		Bound: fmt.Sprintf("≤ %.2f × verifying them", maxRejoin),
	}
	join, ok := find(results, "join", joinTargetSize)
	again, ok2 := find(results, "rejoin", joinTargetSize)
	if ok && ok2 {
		ratio := float64(again.Time) / float64(join.Floor)
		t.Known, t.Held = true, ratio <= maxRejoin
		t.Measured = fmt.Sprintf("%.2f × (%v)", ratio, digits(again.Time))
	}
	return t
}

func memoryTarget(results []Result) Target {
	t := Target{What: "live heap of a member", Bound: fmt.Sprintf("≤ %d bytes per member", maxMemory)}
	for _, n := range slices.Backward(targetSizes) {
		if r, ok := find(results, "memory", n); ok {
			t.What = fmt.Sprintf("%s, %d members", t.What, n)
			t.Known, t.Held, t.Measured = true, r.Bytes <= maxMemory, fmt.Sprintf("%d", r.Bytes)
			break
		}
	}
	return t
}

func streamTarget(results []Result) Target {
	t := Target{What: "two groups at once, on two cores", Bound: fmt.Sprintf("≥ %.1f × one", minStreams)}
	if r, ok := find(results, "stream-two", baseTargetSize); ok && r.Ratio > 0 {
		gain := streamSenders / r.Ratio
		t.Known, t.Held = true, gain >= minStreams
		t.Measured = fmt.Sprintf("%.2f × (%v a message)", gain, digits(time.Duration(r.Time)))
	}
	return t
}
