// Package group is the state machine of an MLS group (RFC 9420): create a
// group, join one, propose changes, commit them, follow the commits of others,
// and protect application messages.
//
// # Shape
//
// A [Group] is one member's view of one group. Creating or processing a commit
// never edits it: both yield a [Staged] that holds the complete next epoch with
// its confirmation tag checked, and [Group.Merge] puts it in place. Dropping a
// Staged is all there is to refusing or losing a commit. After any error the
// group is what it was.
//
// A [PublicGroup] follows the same group without a secret, for delivery
// services and external senders.
//
// # What the application decides
//
// Whether a credential is genuine is the application's to say:
// [Config.Authenticate] is required. Which of several commits for an epoch wins
// is the delivery service's to say; the application then merges that one.
//
// # Purity
//
// Nothing here does I/O, logs, locks, or reads a clock other than
// [Config.Time]. A Group is not safe for concurrent use. What methods return is
// the caller's own.
//
// # Secrets
//
// Keys are destroyed when they are consumed or when their epoch is left behind;
// a saved state ([Group.State]) holds no consumed key. Restoring an older saved
// state brings back the keys it held, so saved states must be replaced, not
// collected, and a state that was restored must not be continued twice.
package group
