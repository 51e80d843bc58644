// Package sim simulates groups whose every member is a complete implementation
// of RFC 9420, and compares what re-keying them costs with sealing a fresh key
// to each member.
//
// Groups start in two states: as one commit that adds everybody leaves them,
// with blank parents, so that the first re-key is linear; and with a full tree,
// as if each member had committed. Both are set up by a scenario builder, which
// makes every key pair and signature for real but spares the commits that lead
// there. From then on nothing is shortened: every commit and message is an
// encoded MLSMessage that every member processes by itself. Members share the
// memory of the public tree as far as it is the same, because trees never change.
//
// The schedule of a simulation, who does what when, follows from its seed. Keys
// are random, so times differ between runs and sizes can by a few bytes.
package sim
