// Package mls is the vocabulary of Messaging Layer Security (RFC 9420): cipher
// suites and their operations, secrets and keys that don't print, code points,
// and the errors that every package of this module returns. It stands to them
// as package crypto does to crypto/tls.
package mls
