// Package client keeps the groups of a client of MLS durably: identities, key
// packages, pre-shared keys and groups in a [store.Store], so that nothing is
// lost and no key is used twice, whenever the process dies.
//
// # Order of things
//
// Every operation computes its result, writes one atomic batch, and only then
// changes what is in memory and hands bytes out. What was handed out is
// therefore always older than what is stored: a crash can lose a message that
// nobody has seen, and never brings a key back. After a failed write the group
// is read from the store again.
//
// # Sending
//
// A proposal, a commit and a Welcome stay in the outbox until [Client.Sent]
// says that the delivery service has them; after a crash [Client.Outbox] lists
// what may not have left. A commit is pending until the delivery service has
// accepted it for its epoch ([Group.Accept], or its own echo in
// [Group.Process]) or another's is processed, which drops it and says what to
// repeat.
//
// # Receiving
//
// Messages can be processed again and in any order. The [Outcome] says what
// became of one. Without an error the message is dealt with, durably, and can be
// acknowledged to the delivery service; after an error it is to be processed
// again, unless the error says that it is invalid and is not mls.Retryable. What
// an application makes of a message it can write in the same batch
// ([Config.Save]); otherwise a crash between the batch and the application's own
// write loses a message whose key is gone.
//
// # Large groups
//
// When a group is created or joined, its ratchet tree is stored in pieces. From
// then on a commit writes those that it changes, O(log n), and after a restart
// only what is needed is read. So a tree of package client reads from the store:
// not within [Config.Save] or another transaction, and not once the store is
// closed or the group forgotten. If something of it cannot be read, the operation
// fails, has changed nothing, and can be tried again; whoever walks the tree in
// [Group.View] need not look after it, who keeps one asks [treekem.Tree.Err].
//
// # One store, one client
//
// A store belongs to one Client at a time, and an older copy of it must not be
// used again: its message keys were used already.
package client
