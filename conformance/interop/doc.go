// Package interop holds this implementation against others, live: it serves the
// gRPC service of the MLS working group's interop runner, and it is a runner that
// drives any mix of clients behind that service through scenarios.
//
// The service ([Serve]) does everything through package group, as an
// application would. It hands out private keys and accepts every credential,
// because the interface asks for that: it is for tests and listens on the
// loopback interface unless told otherwise.
//
// The runner ([Run]) reads its scenarios from JSON files that are part of the
// binary. A scenario names actors and what they do; the runner decides which
// client plays which actor, for every cipher suite that the clients share, with
// handshakes in the clear and encrypted. After every step, all states of a group
// must have the same epoch authenticator.
package interop
