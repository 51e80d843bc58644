package conformance

import (
	_ "embed"
	"encoding/json"

	"github.com/treekem/mls"
)

// A Manifest pins the working group's files.
type Manifest struct {
	Repository string       `json:"repository"` // of the working group
	Commit     string       `json:"commit"`     // or a branch: the hashes say what the files are
	Directory  string       `json:"directory"`  // within the repository
	Files      []PinnedFile `json:"files"`      // in the order of Kinds
}

// A PinnedFile is one file of a [Manifest].
type PinnedFile struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"`
	SHA256 string            `json:"sha256"` // in hexadecimal
	Bytes  int64             `json:"bytes"`
	Cases  int               `json:"cases"`
	Suites []mls.CipherSuite `json:"suites"` // code points that have cases
}

//go:embed manifest.json
var manifestJSON []byte

// Pinned returns the manifest of the working group's files that this version
// of the module is held against.
func Pinned() Manifest { return pinned() }

var pinned = func() Manifest { // a variable for tests of Fetch
	var m Manifest
	if err := json.Unmarshal(manifestJSON, &m); err != nil {
		panic("mls: internal error: conformance/manifest.json: " + err.Error())
	}
	return m
}
