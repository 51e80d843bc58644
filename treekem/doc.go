// Package treekem is the ratchet tree of RFC 9420 and what lives in it: leaf
// and parent nodes, credentials and capabilities (Sections 5.3 and 7), key
// packages (Section 10), tree hashes and parent hashes (Sections 7.8 and 7.9),
// and the update paths of commits (Sections 7.4 to 7.6).
//
// # The tree
//
// A [Tree] is an immutable binary tree. Editing it ([Tree.Edit]) or setting a
// path in it ([Tree.NewPath], [Tree.MergePath]) yields another Tree that shares
// every untouched subtree with the first, so that both cost O(log n) for each
// leaf that changes, and a staged commit that is dropped leaves nothing to
// undo. Every node keeps what its subtree amounts to: its tree hash, the number
// of members below, the size of its resolution, and what all members below
// support. A rule that speaks of all members is therefore answered at the root.
// Whether a key is in use already (RFC 9420, Section 7.3) is answered by a
// table that the trees which come from one share; it only grows, and what it
// says is compared with the tree at hand.
//
// The array of RFC 9420, Appendix C is the wire form only: [ParseTree] and
// [Tree.Bytes].
//
// A tree can also be kept in a store, cut into records of which a commit changes
// O(log n) ([Stored]). Opened from there it is as any other tree, but that its
// nodes are read when they are needed; [Tree.Err] tells whether they could be.
//
// # Secrets
//
// A [Private] holds the private keys that one member has: its leaf's, and those
// of some of the leaf's ancestors. A [Path] is a commit's fresh keys before
// they are sealed to the others. Both are immutable while they are in use: the
// next Private shares with the one before the keys that both have, and
// [Private.DestroyExcept] and [Path.Destroy] overwrite what is over. Nothing
// here prints or logs a secret.
//
// Comparisons of public values (keys in the tree, hashes) use ordinary
// equality; nothing secret is compared.
//
// # Errors
//
// Input that is not an encoding gives [mls.ErrMalformed]. Input that breaks a
// rule gives an [mls.RuleError] with the section and the rule's name, and with
// the leaf at fault where one is known.
//
// # Concurrency
//
// A Tree, a Private and a Path are immutable and safe for concurrent use. An
// [Editor] is not safe for concurrent use. Verifying many leaves and sealing to
// many members use all the cores that GOMAXPROCS allows.
package treekem
