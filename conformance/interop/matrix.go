package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/treekem/mls"
)

// ReadReport reads what [Report.WriteJSON] wrote.
func ReadReport(r io.Reader) (*Report, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	report := new(Report)
	if err := d.Decode(report); err != nil {
		return nil, fmt.Errorf("interop: a report: %w", err)
	}
	return report, nil
}

const matrixHead = `# Interoperability

Which implementations of RFC 9420 this one was run with, and what came of it. The scenarios are files in
conformance/interop/scenarios, played by "mls interop run"; README.md in conformance/interop says how to repeat it.
This page is made by "mls interop matrix" from the reports of runs, and not edited.

A cell counts the plays of a scenario that passed: handshakes in the clear and encrypted, and every client in every
role. "no": a client says that it does not do that; the reason is below. "bug": it fails because of a bug of the
peer’s, of which there is a note below. "FAILED" is what nobody has explained. A random scenario leaves out what a
client has no calls for.
`

// WriteMatrix prints reports as a page of Markdown: client, version, cipher
// suite, scenario.
func WriteMatrix(w io.Writer, reports []*Report) error {
	var b bytes.Buffer
	b.WriteString(matrixHead)
	for _, r := range reports {
		r.writeMatrix(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) writeMatrix(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## %s\n\n", strings.Join(r.Clients, " with "))
	if r.NoGREASE {
		b.WriteString("But for the scenario \"grease\", our own leaf nodes go without extensions of GREASE types.\n\n")
	}
	suites := r.suites()
	b.WriteString("| scenario |")
	for _, s := range suites {
		fmt.Fprintf(b, " suite %s |", suiteNumber(s))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(suites)) + "\n")
	for _, name := range r.scenarios() {
		fmt.Fprintf(b, "| %s |", name)
		for _, s := range suites {
			fmt.Fprintf(b, " %s |", r.cell(name, s))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "\n%d plays of %d steps: %d passed, %d failed, %d unsupported, %d with a known bug of the peer’s.\n",
		len(r.Results), r.Steps, r.Passed, r.Failed, r.Unsupported, r.Known)
	r.writeReasons(b, Unsupported, "Not supported:", func(res *Result) string { return res.Detail })
	r.writeReasons(b, Known, "Bugs of the peer’s:", func(res *Result) string { return res.Note })
	r.writeReasons(b, Failed, "Failures:", func(res *Result) string { return res.Detail })
}

// suiteNumber is a cipher suite as docs/suites.md writes it.
func suiteNumber(s uint16) string {
	if s <= uint16(mls.P384_AES256GCM_SHA384_P384) {
		return fmt.Sprint(s)
	}
	return fmt.Sprintf("%#04x", s)
}

func (r *Report) suites() []uint16 {
	var suites []uint16
	for i := range r.Results {
		if s := r.Results[i].Suite; !slices.Contains(suites, s) {
			suites = append(suites, s)
		}
	}
	slices.Sort(suites)
	return suites
}

func (r *Report) cell(scenario string, suite uint16) string {
	counts, _, _ := r.tally(func(res *Result) bool { return res.Scenario == scenario && res.Suite == suite })
	var parts []string
	if n := counts[Passed]; n > 0 {
		parts = append(parts, fmt.Sprint(n))
	}
	for _, o := range []struct {
		outcome Outcome
		text    string
	}{{Unsupported, "no"}, {Known, "bug"}, {Failed, "**FAILED**"}} {
		if n := counts[o.outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", o.text, n))
		}
	}
	return strings.Join(parts, ", ")
}

// writeReasons lists why scenarios had an outcome, each reason once.
func (r *Report) writeReasons(b *bytes.Buffer, o Outcome, title string, reason func(*Result) string) {
	seen := make(map[string]bool)
	for _, name := range r.scenarios() {
		for i := range r.Results {
			res := &r.Results[i]
			if res.Scenario != name || res.Outcome != o {
				continue
			}
			line := fmt.Sprintf("- %s: %s", name, withoutActor(reason(res)))
			if seen[line] {
				continue
			}
			if len(seen) == 0 {
				b.WriteString("\n" + title + "\n\n")
			}
			seen[line] = true
			b.WriteString(line + "\n")
		}
	}
}

// withoutActor drops the step and the actor from a failure's text: they differ
// from cast to cast, where the reason is the same.
func withoutActor(text string) string {
	if i := strings.Index(text, " ("); i >= 0 && strings.HasPrefix(text, "step ") {
		return text[i+1:]
	}
	return text
}
