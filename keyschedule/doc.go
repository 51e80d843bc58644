// Package keyschedule derives the symmetric secrets of a group: the key
// schedule of an epoch with its pre-shared keys, exporter and transcript
// hashes (RFC 9420, Section 8) and the secret tree whose ratchets give every
// message a key of its own (RFC 9420, Section 9).
//
// # One type per step
//
// The schedule is a chain of types, and each value offers only the steps that
// are legal from it:
//
//	InitSecret --commit_secret--> JoinerSecret --psk_secret--> EpochSecrets --> SecretTree
//	                                   |                            |
//	                                   +--psk_secret--> WelcomeSecret
//	                                                                +--> InitSecret of the next epoch
//
// Deriving never consumes what it derives from: a commit can be staged,
// dropped and staged again. What is over is consumed by name: Destroy on an
// epoch that has been left, Past for the little that a past epoch may keep,
// TakeSecretTree for encryption_secret. The epoch_secret itself is gone when
// [JoinerSecret.Epoch] returns.
//
// # Secret tree
//
// A [SecretTree] holds only what is not consumed (RFC 9420, Section 9.2). A
// node whose children exist is gone, a ratchet holds one secret and, for
// generations skipped, keys and nonces but never an older ratchet secret.
// Memory grows with the senders heard, not with the group. Neither memory nor
// saved state holds a key that was used; a copy of the state saved before it
// was used does, so a client must not go back to an older copy: sending from
// one would use a key twice.
//
// # Secrets
//
// Secrets are [mls.Secret] values: no fmt verb prints them and Destroy clears
// them. What Go copies by itself is out of reach: stacks that grew, buffers
// inside the standard library's hashes and the encoder of saved state.
// MarshalState output is secret and the caller's to protect.
//
// # Concurrency
//
// Nothing here locks. GroupContext and the functions on plain bytes are safe
// to use from several goroutines as long as nobody writes to the values; the
// types that hold secrets are not safe for concurrent use.
//
// Comparisons of tags and secrets are constant time; ids, nonces and hashes
// are public and compared with bytes.Equal.
package keyschedule
