// Package mls is the vocabulary of Messaging Layer Security (RFC 9420): cipher
// suites and their operations, secrets and keys that don't print, code points,
// and the errors that every package of this module returns. It stands to them
// as package crypto does to crypto/tls. Applications use package group, and
// come here for a [Signer], for [Retryable] and for the names of things.
//
// # Cipher suites
//
// A [Suite] is one row of a table: a KEM, a hash function with its HKDF, an
// AEAD and a signature scheme. [LookupSuite] returns the row of a code point;
// its methods are the operations of RFC 9420, Section 5 and the derivations of
// Section 8. HPKE is the base mode of RFC 9180, in one shot: MLS never sends a
// second message under a context. Which suites there are is in [Suites]: the
// seven of RFC 9420, and the eleven of draft-ietf-mls-pq-ciphersuites, with
// ML-KEM alone or with a curve and, for three of them, ML-DSA. The draft has no
// code points yet: theirs here are for private use, and [SetCodePoints] changes
// them for a whole program.
//
// Public keys and ciphertexts are bytes from outside. Every operation takes any
// bytes and returns an error for bad ones. A public key that every encryption
// would fail for, such as a point of low order, is refused by
// [Suite.ValidatePublicKey] already, before it can sit in a ratchet tree.
//
// # Errors
//
// An error wraps one of about ten sentinels, which tell apart what a caller can
// do about it, and a broken rule of the RFC is a [*RuleError] that names the
// section and the rule. A failed signature, MAC or decryption is [ErrAuth] and
// nothing more. Errors hold no bytes of messages or keys.
//
// # Concurrency
//
// A Suite is immutable. A [Secret], an [HPKEPrivateKey] and a
// [SignaturePrivateKey] are safe for concurrent use until the first call of
// Destroy, which must not run beside any other use. Slices that are returned
// are the caller's own, except for [Secret.UnsafeBytes].
//
// # Secrets, and what overwriting them is worth
//
// No formatter, logger or JSON encoder prints a Secret or a private key, in
// whatever struct it is, and the binary encoders refuse it. The one way to the
// bytes is [Secret.UnsafeBytes], so a search for that name finds every use.
//
// Destroy overwrites the bytes it has a hold on. That isn't every copy there
// ever was: Go moves stacks when they grow, leaving what was on them; the
// parsed forms that crypto/ecdsa, crypto/ecdh and crypto/aes keep cannot be
// overwritten from outside, nor can those that CIRCL and crypto/hpke keep of
// ML-KEM keys; and the operating system may have written memory
// to disk. What can be relied on is that a secret once consumed is out of reach
// of the program: no value of this module leads to it, and no saved state holds
// it.
//
// Secrets are compared in constant time. Public keys, hashes and signatures
// are public, and compared as any bytes are.
//
// # Compatibility
//
// What goes over the wire is fixed by RFC 9420. What is exported here may
// change until version 1 of this module.
package mls
