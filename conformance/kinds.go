package conformance

import (
	"slices"

	"github.com/treekem/mls"
)

// A kind is one of the working group's formats.
type kind struct {
	name     string
	suites   suiteUse
	check    func(*check)
	generate func(*generator) // adds the cases for the generator's suite
}

// suiteUse is what the cases of a kind have to do with cipher suites.
type suiteUse int

const (
	suiteNone    suiteUse = iota // nothing
	suiteUnnamed                 // what is in them is of a suite, but no field says which
	suiteField                   // the field "cipher_suite" is their suite
)

// A check is one case on its way through a kind's check.
type check struct {
	*node            // the case
	suite *mls.Suite // nil for the kinds without suites
	opt   Options
}

// allKinds has what the others build on first, so that the first file that
// fails is the one to look at.
var allKinds []kind

func init() {
	allKinds = []kind{
		{"tree-math", suiteNone, checkTreeMath, generateTreeMath},
		{"deserialization", suiteNone, checkDeserialization, generateDeserialization},
		{"crypto-basics", suiteField, checkCryptoBasics, generateCryptoBasics},
		{"secret-tree", suiteField, checkSecretTree, generateSecretTree},
		{"message-protection", suiteField, checkMessageProtection, generateMessageProtection},
		{"key-schedule", suiteField, checkKeySchedule, generateKeySchedule},
		{"psk_secret", suiteField, checkPSKSecret, generatePSKSecret},
		{"transcript-hashes", suiteField, checkTranscriptHashes, generateTranscriptHashes},
		{"welcome", suiteField, checkWelcome, generateWelcome},
		{"tree-operations", suiteField, checkTreeOperations, generateTreeOperations},
		{"tree-validation", suiteField, checkTreeValidation, generateTreeValidation},
		{"treekem", suiteField, checkTreeKEM, generateTreeKEM},
		{"messages", suiteUnnamed, checkMessages, generateMessages},
		{"passive-client-welcome", suiteField, checkPassiveClient, generatePassiveWelcome},
		{"passive-client-handling-commit", suiteField, checkPassiveClient, generatePassiveCommit},
		{"passive-client-random", suiteField, checkPassiveClient, generatePassiveRandom},
	}
}

// Kinds returns the names of the 16 formats. A file's name is its kind's, with
// the ending ".json".
func Kinds() []string {
	names := make([]string, len(allKinds))
	for i := range allKinds {
		names[i] = allKinds[i].name
	}
	return names
}

func findKind(name string) *kind {
	i := slices.IndexFunc(allKinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return findPartial(name)
	}
	return &allKinds[i]
}
