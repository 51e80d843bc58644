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
	// Call is the call that failed, and By the client that answered it; empty if
	// the failure is something else.
	Call string `json:"call,omitempty"`
	By   string `json:"by,omitempty"`
	// Commit is the commit that was under way.
	Commit *CommitSummary `json:"commit,omitempty"`
	Steps  int            `json:"steps"`
	Millis int64          `json:"ms"`
}

// CommitSummary is what tells one commit from others.
type CommitSummary struct {
	// From is the client that makes it.
	From string `json:"from"`
	// Proposals are the types in its list, LeftOut those that were proposed and
	// that it leaves out.
	Proposals []string `json:"proposals,omitempty"`
	LeftOut   []string `json:"left_out,omitempty"`
}

// Report is what a run found.
type Report struct {
	Clients []string `json:"clients"`
	// NoGREASE: see Options.
	NoGREASE    bool     `json:"no_grease,omitempty"`
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
	return fmt.Sprintf("%s, suite %s, %s, %s: %s", res.Outcome, suiteNumber(res.Suite), handshakes, strings.Join(res.Cast, "+"), text)
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
	// Suites limits it to some cipher suites; nil stands for all.
	Suites []uint16 `json:"suites,omitempty"`
	// Signs are how it shows, one of them.
	Signs []sign `json:"signs"`
	// Text says what the bug is, and what RFC 9420 says.
	Text string `json:"note"`
}

// sign tells failures of one cause from others: all that it gives has to hold.
// Where a peer misreads random bytes, the texts of errors differ from run to run,
// and only the call and what the commit held tell the cause.
type sign struct {
	// Call is the call that fails.
	Call string `json:"call,omitempty"`
	// By is how the name of the client that answers it begins.
	By string `json:"by,omitempty"`
	// From is how the name of the client that made the commit begins.
	From string `json:"from,omitempty"`
	// Proposal is a type in the list of the commit, LeftOut one that it leaves out.
	Proposal string `json:"proposal,omitempty"`
	LeftOut  string `json:"left_out,omitempty"`
	// Text is part of the failure's text.
	Text string `json:"text,omitempty"`
}

func (s *sign) matches(res *Result) bool {
	var c CommitSummary
	if res.Commit != nil {
		c = *res.Commit
	}
	return (s.Call == "" || s.Call == res.Call) && strings.HasPrefix(res.By, s.By) && strings.HasPrefix(c.From, s.From) &&
		(s.Proposal == "" || slices.Contains(c.Proposals, s.Proposal)) &&
		(s.LeftOut == "" || slices.Contains(c.LeftOut, s.LeftOut)) && strings.Contains(res.Detail, s.Text)
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

// findNote finds the note that a failure is explained by. Whoever stumbles over a
// peer's bug may say that it does not support what it finds; that the peer itself
// does not support something is no bug.
func findNote(notes []peerBug, res *Result) *peerBug {
	for i := range notes {
		n := &notes[i]
		if res.Outcome == Unsupported && strings.HasPrefix(res.By, n.Client) {
			continue
		}
		plays := slices.ContainsFunc(res.Cast, func(c string) bool { return strings.HasPrefix(c, n.Client) })
		says := slices.ContainsFunc(n.Signs, func(s sign) bool { return s.matches(res) })
		if plays && says && slices.Contains(n.Scenarios, res.Scenario) && (n.Suites == nil || slices.Contains(n.Suites, res.Suite)) {
			return n
		}
	}
	return nil
}
