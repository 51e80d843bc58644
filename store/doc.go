// Package store is a small transactional key–value contract for what a client
// of MLS groups must not lose, and must not have twice.
//
// # The contract
//
// A [Store] holds byte strings under byte strings. [Store.View] reads a
// consistent state. [Store.Update] is one batch: everything it writes is there
// for good when it returns nil, and nothing of it is there when the process or
// the machine died before. What happened when it returned an error is not
// known until the store is read again. Package storetest has the tests that an
// adapter has to pass.
//
// [NewMemory] is an adapter for tests and simulations. The durable one is
// package sqlite below this one, which only those who import it compile.
//
// # Encryption at rest
//
// [OpenSealed] puts encryption over any adapter. Values are sealed under a
// random key that is itself wrapped by a key of the application or by one
// derived from a passphrase with Argon2id. A value is bound to its key, so
// that records cannot be swapped, and to the number of the batch that wrote
// it. Keys are not encrypted: who names records decides what they tell.
//
// # Rollback
//
// Nobody who only has the file can tell an old copy of all of it from the
// newest. What can be told, is: a counter that is older than a record, a
// record that the reader knows to be older than another, and a file older than
// the number that the application noted elsewhere ([SealOptions.AtLeast]).
// Continuing from an old copy uses message keys twice.
package store
