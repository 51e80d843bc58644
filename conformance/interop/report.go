package interop

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Outcome is what became of one play of a scenario.
type Outcome string

// The outcomes.
const (
	Passed Outcome = "passed"
	Failed Outcome = "failed"
	// Unsupported: a client says that it does not do what the scenario asks for.
	Unsupported Outcome = "unsupported"
	// Known: it failed because of a peer's own bug, of which there is a note.
	Known Outcome = "known"
)

// Result is one play of a scenario.
type Result struct {
	Scenario  string   `json:"scenario"`
	Suite     uint16   `json:"suite"`
	Encrypted bool     `json:"encrypted"`
	Cast      []string `json:"cast"` // the clients' names, in the order of the actors, repeated as needed
	Outcome   Outcome  `json:"outcome"`
	Detail    string   `json:"detail,omitempty"`
	Note      string   `json:"note,omitempty"`
	Steps     int      `json:"steps"`
	Millis    int64    `json:"ms"`
}

// Report is what a run found.
type Report struct {
	Clients     []string `json:"clients"`
	Passed      int      `json:"passed"`
	Failed      int      `json:"failed"`
	Unsupported int      `json:"unsupported"`
	Known       int      `json:"known"`
	Steps       int      `json:"steps"`
	Results     []Result `json:"results"`
}

func (r *Report) add(res Result) {
	switch res.Outcome {
	case Passed:
		r.Passed++
	case Failed:
		r.Failed++
	case Unsupported:
		r.Unsupported++
	case Known:
		r.Known++
	}
	r.Steps += res.Steps
	r.Results = append(r.Results, res)
}

// scenarios are the names in order of their first play.
func (r *Report) scenarios() []string {
	var names []string
	for i := range r.Results {
		if !slices.Contains(names, r.Results[i].Scenario) {
			names = append(names, r.Results[i].Scenario)
		}
	}
	return names
}

// tally counts the plays that match.
func (r *Report) tally(match func(*Result) bool) (counts map[Outcome]int, steps int, details []string) {
	counts = make(map[Outcome]int)
	for i := range r.Results {
		res := &r.Results[i]
		if !match(res) {
			continue
		}
		counts[res.Outcome]++
		steps += res.Steps
		if res.Outcome != Passed {
			details = append(details, res.explain())
		}
	}
	return counts, steps, details
}

func (res *Result) explain() string {
	handshakes := "public"
	if res.Encrypted {
		handshakes = "private"
	}
	text := res.Detail
	if res.Note != "" {
		text += " (" + res.Note + ")"
	}
	return fmt.Sprintf("%s, suite %d, %s, %s: %s", res.Outcome, res.Suite, handshakes, strings.Join(res.Cast, "+"), text)
}

// WriteText prints a line for each scenario, the failures, and the total.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "clients: %s\n", strings.Join(r.Clients, ", "))
	for _, name := range r.scenarios() {
		counts, steps, details := r.tally(func(res *Result) bool { return res.Scenario == name })
		fmt.Fprintf(&b, "%-36s %s, %d steps\n", name, summary(counts), steps)
		for _, d := range slices.Compact(details) {
			fmt.Fprintf(&b, "    %s\n", d)
		}
	}
	total := map[Outcome]int{Passed: r.Passed, Failed: r.Failed, Unsupported: r.Unsupported, Known: r.Known}
	fmt.Fprintf(&b, "%-36s %s, %d steps\n", "total", summary(total), r.Steps)
	_, err := w.Write(b.Bytes())
	return err
}

func summary(counts map[Outcome]int) string {
	text := fmt.Sprintf("%d passed, %d failed", counts[Passed], counts[Failed])
	if n := counts[Unsupported]; n > 0 {
		text += fmt.Sprintf(", %d unsupported", n)
	}
	if n := counts[Known]; n > 0 {
		text += fmt.Sprintf(", %d known", n)
	}
	return text
}

// WriteJSON prints everything.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// peerBug is a bug of a peer's that makes scenarios fail.
type peerBug struct {
	// Client is how the peer's name begins.
	Client string `json:"client"`
	// Scenarios fail with it.
	Scenarios []string `json:"scenarios"`
	// Details are what the failure's text holds, one of them.
	Details []string `json:"details"`
	// Text says what the bug is, and what RFC 9420 says.
	Text string `json:"note"`
}

//go:embed notes.json
var noteFile []byte

func readNotes() ([]peerBug, error) {
	d := json.NewDecoder(bytes.NewReader(noteFile))
	d.DisallowUnknownFields()
	var notes []peerBug
	err := d.Decode(&notes)
	return notes, err
}

// findNote finds the note that a failure is explained by.
func findNote(notes []peerBug, res *Result) *peerBug {
	for i := range notes {
		n := &notes[i]
		plays := slices.ContainsFunc(res.Cast, func(c string) bool { return strings.HasPrefix(c, n.Client) })
		says := slices.ContainsFunc(n.Details, func(d string) bool { return strings.Contains(res.Detail, d) })
		if plays && says && slices.Contains(n.Scenarios, res.Scenario) {
			return n
		}
	}
	return nil
}
