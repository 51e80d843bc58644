// Package protocols holds the ways in which people build encrypted group chat,
// each as real code with real cryptography, to be run side by side by package
// compare: from a server that reads everything to MLS.
//
// None of this is for use. Most of these designs lack a property that a group
// needs, which is what they are here to show, and the transport is a function
// call. An application imports package group.
//
// # Shape
//
// A [Design] makes a [Device] for each user. Operations of a device return
// packets, which the caller delivers to the devices they are addressed to, in
// any order and with any change it likes: it is the server, and the adversary.
// A device knows of others only what a [Directory] tells it, which may lie.
//
// All designs use the primitives of cipher suite 1 of RFC 9420: HPKE with
// X25519, Ed25519, AES-128-GCM and SHA-256. Where a design needs a bare
// Diffie-Hellman function it is the standard library's X25519, for
// Burmester-Desmedt its P-256. What a design's file simplifies is said in the
// comment of its type and in [Design.Simplified].
//
// # Concurrency
//
// A Device is not safe for concurrent use. Different devices may be used at the
// same time.
package protocols
