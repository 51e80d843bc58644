package interop

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

//go:embed scenarios/*.json
var scenarioFiles embed.FS

// script is a scenario: a story of named actors, to be played by any mix of clients.
type script struct {
	Name string `json:"name"`
	// About says what it shows.
	About string `json:"about"`
	// GREASE: our own leaf nodes and key packages have extensions of GREASE types,
	// even where they go without elsewhere.
	GREASE bool         `json:"grease,omitempty"`
	Steps  []scriptStep `json:"steps"`
}

// scriptStep is one thing that happens in a group.
type scriptStep struct {
	// Do is create, commit, propose, external_join, new_member,
	// external_proposal, psk, talk, export, locked_out, reinit, branch or random.
	Do string `json:"do"`
	// By is the actor who does it.
	By string `json:"by,omitempty"`
	// Who are others concerned: for branch, those who come along; for talk,
	// those who speak (default all); for locked_out, those who are.
	Who []string `json:"who,omitempty"`
	// Group is the group it happens in; empty for the first one.
	Group string `json:"group,omitempty"`
	// Into is the group that a branch begins.
	Into string `json:"into,omitempty"`
	// Change is what propose and external_proposal propose.
	Change *proposalSpec `json:"change,omitempty"`
	// Value are the changes that a commit makes by value. What was proposed
	// before, it makes by reference, unless it is to leave that out.
	Value    []proposalSpec `json:"value,omitempty"`
	LeaveOut bool           `json:"leave_out,omitempty"`
	// Path asks for a path where the commit could do without.
	Path bool `json:"path,omitempty"`
	// TreeApart hands the ratchet tree to joiners beside the Welcome or GroupInfo.
	TreeApart bool `json:"tree_apart,omitempty"`
	// RemovePrior removes the former self of an external joiner.
	RemovePrior bool `json:"remove_prior,omitempty"`
	// PSKs are the external pre-shared keys that psk hands out to all members,
	// and that an external joiner injects.
	PSKs []string `json:"psks,omitempty"`
	// Welcomer makes the group after a reinit; default is By.
	Welcomer string `json:"welcomer,omitempty"`
	// Moves limits what a random scenario does; none stands for everything.
	Moves []string `json:"moves,omitempty"`
	// Without are types of proposals that a random scenario does not make.
	Without []string `json:"without,omitempty"`
	// Extensions are those of a branched group.
	Extensions []extensionSpec `json:"extensions,omitempty"`
}

// proposalSpec is a proposal.
type proposalSpec struct {
	// Type is add, update, remove, externalPSK, resumptionPSK,
	// groupContextExtensions, reinit or externalSigner.
	Type string `json:"type"`
	// Who is added, removed, or made an external signer.
	Who string `json:"who,omitempty"`
	// PSK is the external pre-shared key.
	PSK string `json:"psk,omitempty"`
	// Ago is how many epochs back the resumption PSK is from.
	Ago uint64 `json:"ago,omitempty"`
	// Extensions are those of groupContextExtensions and reinit.
	Extensions []extensionSpec `json:"extensions,omitempty"`
	// OtherSuite makes a reinit change the cipher suite, if there is another one.
	OtherSuite bool `json:"other_suite,omitempty"`
}

// extensionSpec is an extension of a group context.
type extensionSpec struct {
	Type uint16 `json:"type"`
	Data string `json:"data"` // hexadecimal
}

func wireExtensions(in []extensionSpec) ([]*mlsclient.Extension, error) {
	var out []*mlsclient.Extension
	for _, e := range in {
		data, err := hex.DecodeString(e.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, &mlsclient.Extension{ExtensionType: uint32(e.Type), ExtensionData: data})
	}
	return out, nil
}

// readScripts reads all that the binary has, in the order of their files.
func readScripts() ([]script, error) {
	var all []script
	files, err := fs.Glob(scenarioFiles, "scenarios/*.json")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		data, err := scenarioFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		list, err := parseScripts(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// parseScripts reads a file of scenarios.
func parseScripts(data []byte) ([]script, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var list []script
	if err := d.Decode(&list); err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == "" || len(list[i].Steps) == 0 {
			return nil, fmt.Errorf("scenario %d has no name or no steps", i+1)
		}
	}
	return list, nil
}

// actors are the names in a scenario, in the order in which they come up.
func (s *script) actors() []string {
	var names []string
	note := func(who ...string) {
		for _, n := range who {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		note(step.By, step.Welcomer)
		note(step.Who...)
		if step.Change != nil {
			note(step.Change.Who)
		}
		for _, c := range step.Value {
			note(c.Who)
		}
	}
	return names
}

// random tells whether the scenario brings actors of its own.
func (s *script) random() bool {
	return slices.ContainsFunc(s.Steps, func(step scriptStep) bool { return step.Do == "random" })
}
