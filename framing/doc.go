// Package framing is the message layer of MLS: the structures of RFC 9420,
// Sections 6 and 12, their wire forms, and the protection of messages.
//
// A message is made in three steps, and read in the same three backwards:
//
//	FramedContent --Sign--> AuthenticatedContent --ProtectPublic--> PublicMessage
//	                                             --ProtectPrivate-> PrivateMessage
//	PublicMessage, PrivateMessage, Welcome, GroupInfo, KeyPackage --Message.Bytes--> octets
//
// [Parse] and every Decode method yield unauthenticated values: they say what
// octets mean, not who sent them. [UnprotectPublic] checks the membership tag
// and [UnprotectPrivate] decrypts; both leave the signature to
// [AuthenticatedContent.Verify], because only the caller knows the ratchet
// tree the key comes from. UnprotectPrivate calls the caller's check before it
// gives up the message key, so that no forgery, however it fails, uses up a
// key that the genuine message needs. [OpenSender] is the first half of it, for a
// receiver who wants to know the sender first.
//
// What the wire leaves open is checked in the same place for sending and for
// receiving: which senders may send which content in which wire format
// (RFC 9420, Sections 6, 6.1 and 12.1.8). Rules that need a group's state, such
// as those for a list of proposals, are not here but in package group.
//
// # Decoding
//
// Encoding is canonical: a value that Decode accepts encodes to the octets it
// came from. Lengths are compared with the octets at hand before anything is
// allocated, nothing decoded aliases its input, and trailing octets are
// refused. The values of one parsed message share one copy of it: who keeps one
// of them keeps all. Extensions of unknown types are kept as they are. A
// proposal of an unknown type has no length on the wire, so the message that
// holds it cannot be parsed at all and the error is mls.ErrUnsupported.
//
// # Secrets and concurrency
//
// The values of this package are plain data, safe for concurrent reading.
// Functions which take a secret tree change it; a secret tree is not safe for
// concurrent use. [GroupSecrets] holds mls.Secret values, which no fmt verb
// prints.
package framing
