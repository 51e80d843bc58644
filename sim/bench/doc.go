// Package bench measures what the operations of a group cost, each beside its
// floor: the number of primitive operations that the protocol makes unavoidable
// times what each costs in the same run.
//
// Times are medians. The primitives are measured between the runs of the operation
// that they belong to, so that whatever slows the machine down slows both. The
// ratio is the median of those of each run to the primitives right beside it, the
// floor the time divided by that: a machine's clock changes, and medians of runs
// and of primitives taken apart may be of different states of it. Their costs are
// those of the suite's own operations (RFC 9420, Section 5), one after the other
// on one core; where an operation consists of many alike (sealing to a large
// resolution, verifying all leaves), their cost is what they take on all cores
// together.
package bench
