package conformance

import (
	"slices"

	"github.com/treekem/mls"
)

// partialPrefix begins the names of the files of draft-ietf-mls-partial.
const partialPrefix = "test-vector-partial-"

// partialKinds are the formats of draft-ietf-mls-partial. A partial client is
// no part of RFC 9420, but what such a client is told is made of RFC 9420's
// parts: the checks read the draft's structures and hold the keys, signatures,
// HPKE ciphertexts, tree hashes and secrets in them against the code for whole
// clients. Nothing generates these files, and they don't belong to the sixteen.
//
// They are also the only published vectors with post-quantum cipher suites.
var partialKinds = []kind{
	{partialPrefix + "message-syntax", suiteUnnamed, checkPartialSyntax, nil},
	{partialPrefix + "membership-proofs", suiteUnnamed, checkMembershipProofs, nil},
	{partialPrefix + "sender-authenticated-messages", suiteUnnamed, checkSenderAuthenticated, nil},
	{partialPrefix + "annotated-welcome", suiteUnnamed, checkAnnotatedWelcome, nil},
	{partialPrefix + "tree-operations", suiteUnnamed, checkPartialPath, nil},
	{partialPrefix + "annotated-commit", suiteUnnamed, checkAnnotatedCommit, nil},
	{partialPrefix + "passive-client-scenarios", suiteUnnamed, checkPassivePartial, nil},
}

// publishedSuites are the names of the suites that these files number
// themselves, which [mls.PublishedCodePoints] gives to a whole program. Names
// do not change when a program has set other code points.
var publishedSuites = map[uint64]string{
	8:  "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519",
	9:  "MLS_128_MLKEM768P256_AES256GCM_SHA384_P256",
	10: "MLS_192_MLKEM1024P384_AES256GCM_SHA384_P384",
}

// published sets c's suite to the one that the field "cipher_suite" stands for
// in these files, with the code point it has there.
func (c *check) published() {
	v := c.get("cipher_suite")
	id := v.uint(16)
	name, ok := publishedSuites[id]
	if !ok {
		c.suite = c.node.suite()
		return
	}
	for _, s := range mls.Suites() {
		if s.String() == name {
			c.suite = s.WithID(mls.CipherSuite(id))
			return
		}
	}
	v.fail("no suite %s", name)
}

// findPartial returns the kind of that name, or nil.
func findPartial(name string) *kind {
	i := slices.IndexFunc(partialKinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &partialKinds[i]
}

// expectedKinds returns the kinds of which a directory with these files has to
// have one each: the draft's if it has any of them, and the sixteen unless it
// has the draft's only.
func expectedKinds(names []string) []string {
	hasAny := func(kinds []string) bool {
		return slices.ContainsFunc(kinds, func(kind string) bool { return slices.Contains(names, kind+".json") })
	}
	var partial []string
	for i := range partialKinds {
		partial = append(partial, partialKinds[i].name)
	}
	switch {
	case !hasAny(partial):
		return Kinds()
	case hasAny(Kinds()):
		return append(Kinds(), partial...)
	}
	return partial
}
