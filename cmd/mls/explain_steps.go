package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
)

// A checkStep is a step of what a member does with a message, by the sections of RFC 9420 that tell it to.
type checkStep struct {
	sections []string // whose rules are checked here
	what     string
	// refuses tells whether the step is where err comes from, beyond what its sections tell.
	refuses func(err error) bool
	// proposals is set where the section's rules are about the proposals of a commit's list.
	proposals bool
}

// claims tells whether err was made by the step.
func (s *checkStep) claims(err error) bool {
	if s.refuses != nil && s.refuses(err) {
		return true
	}
	rule := (*mls.RuleError)(nil)
	if !errors.As(err, &rule) || !slices.Contains(s.sections, rule.Section) {
		return false
	}
	ofProposal := rule.Culprit != nil && rule.Culprit.Proposal != nil
	return !s.proposals || ofProposal || rule.Section[:2] == "12"
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		if rule := (*mls.RuleError)(nil); errors.As(err, &rule) {
			return false // the section says where
		}
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
}

// handshakeSteps are the steps for a message to the group; nil is one that does not parse.
func handshakeSteps(m *framing.Message) []checkStep {
	steps := []checkStep{
		{sections: []string{"2", "2.1.2", "6", "15.1"}, what: "an MLSMessage that parses", refuses: is(mls.ErrMalformed, mls.ErrUnsupported)},
		{sections: []string{"6"}, what: "for this group, and we are in it", refuses: is(mls.ErrWrongGroup, mls.ErrRemoved)},
		{sections: []string{"6", "8.1"}, what: "of this epoch", refuses: is(mls.ErrWrongEpoch)},
	}
	kind := framing.ContentType(0)
	switch {
	case m == nil:
		return steps[:1]
	case m.Public != nil:
		kind = m.Public.Content.ContentType
		steps = append(steps,
			checkStep{sections: []string{"6.1", "6.2", "12.1.8"}, what: "from somebody who may send it, with membership tag and signature", refuses: is(mls.ErrAuth)})
	case m.Private != nil:
		kind = m.Private.ContentType
		steps = append(steps,
			checkStep{sections: []string{"9", "9.1", "9.2", "15.3"}, what: "under a key that was not used before", refuses: is(mls.ErrKeyConsumed, mls.ErrTooFar)},
			checkStep{sections: []string{"6.1", "6.3", "6.3.1", "6.3.2"}, what: "sender data and content decrypt, and a member's signature verifies", refuses: is(mls.ErrAuth)})
	}
	switch kind {
	case framing.ContentProposal:
		steps = append(steps, proposalStep("the proposal is valid by itself"))
	case framing.ContentCommit:
		steps = append(steps, commitSteps()...)
	}
	return steps
}

// memberRules are the sections with rules about a single proposal.
var memberRules = []string{"5.1.1", "5.3.1", "7.2", "7.3", "10", "10.1", "12.1", "12.1.1", "12.1.2", "12.1.3", "12.1.4", "12.1.5", "12.1.6", "12.1.7", "12.1.8"}

func proposalStep(what string) checkStep { return checkStep{sections: memberRules, what: what} }

// commitSteps are the steps of RFC 9420, Section 12.4.2.
func commitSteps() []checkStep {
	return []checkStep{
		{sections: []string{"12.4"}, what: "the proposals it refers to are known", refuses: is(mls.ErrUnknownProposal)},
		{sections: memberRules, what: "each proposal is valid by itself", proposals: true},
		{sections: []string{"12.2", "12.3", "12.4.3.2"}, what: "the proposals are valid together"},
		{sections: []string{"12.4"}, what: "a path where one is needed"},
		{sections: []string{"5.1.1", "5.3.1", "7.2", "7.3", "7.6", "7.9", "7.9.2", "12.4.1"}, what: "the path fits the tree: leaf node, parent hashes, fresh keys"},
		{sections: []string{"11.1", "12.1.7", "13.4"}, what: "all members support what the group requires"},
		{sections: []string{"7.4", "7.5"}, what: "our path secret decrypts and leads to the path's keys"},
		{sections: []string{"8.3", "8.4"}, what: "pre-shared keys are there"},
		{sections: []string{"8.2", "12.4.2"}, what: "the confirmation tag is that of the new epoch"},
	}
}

func welcomeSteps() []checkStep {
	steps := []checkStep{
		{sections: []string{"6"}, what: "an MLSMessage that parses"},
		{sections: []string{"12.4.3.1"}, what: "for one of our key packages"},
		{sections: []string{"12.4.3.1", "12.4.3"}, what: "group secrets and GroupInfo decrypt, pre-shared keys are there", refuses: is(mls.ErrAuth, mls.ErrMalformed)},
	}
	steps[1].refuses = func(err error) bool {
		return errors.Is(err, &mls.RuleError{Section: "12.4.3.1", Rule: "no-key-package"})
	}
	steps[1].sections = nil
	return append(steps, treeSteps()...)
}

// treeSteps are the steps that verify a group before one enters it.
func treeSteps() []checkStep {
	return []checkStep{
		{sections: []string{"12.4.3.1", "12.4.3.3", "12.4.3"}, what: "a tree that is the group's, and a GroupInfo that a member signed"},
		{sections: []string{"5.1.1", "5.3.1", "7.1", "7.2", "7.3", "7.9", "7.9.2"}, what: "every leaf and every parent hash is valid"},
		{sections: []string{"11.1", "13.4"}, what: "all members support what the group requires"},
		{sections: []string{"7.5", "8", "11.2", "11.3"}, what: "our keys lead to the epoch's"},
	}
}

func groupInfoSteps() []checkStep {
	return append([]checkStep{{sections: []string{"6"}, what: "an MLSMessage that parses"}}, append(treeSteps()[:3],
		checkStep{sections: []string{"12.4.3.2"}, what: "a key for external joiners"})...)
}

func keyPackageSteps() []checkStep {
	return []checkStep{
		{sections: []string{"6"}, what: "an MLSMessage that parses"},
		{sections: memberRules, what: "a key package for this group, within its lifetime, with valid signatures"},
		{sections: []string{"12.2", "12.3"}, what: "somebody who is not a member already"},
		{sections: []string{"11.1", "13.4"}, what: "a client that supports what the group requires"},
	}
}

// An explanation is the outcome, laid out in steps.
type explanation struct {
	Message  string          `json:"message"`
	Context  string          `json:"context"`
	Steps    []explainedStep `json:"steps"`
	Accepted bool            `json:"accepted"`
	Verdict  string          `json:"verdict"` // what it would do, or why not
	Section  string          `json:"section"` // of the rule that refuses it, if it is one
	Rule     string          `json:"rule"`
	Hint     string          `json:"hint"`
}

type explainedStep struct {
	Sections string `json:"sections"`
	What     string `json:"what"`
	Result   string `json:"result"` // "ok", "refused" or "not reached"
}

// newExplanation lays err, nil for none, out in the steps.
func newExplanation(message, context string, steps []checkStep, err error, verdict string) *explanation {
	e := &explanation{Message: message, Context: context, Accepted: err == nil, Verdict: verdict, Hint: retryText(err)}
	refused := len(steps)
	if err != nil {
		e.Verdict = strings.TrimPrefix(err.Error(), "mls: ")
		if rule := (*mls.RuleError)(nil); errors.As(err, &rule) {
			e.Section, e.Rule = rule.Section, rule.Rule
		}
		refused = slices.IndexFunc(steps, func(s checkStep) bool { return s.claims(err) })
		if refused < 0 { // a rule in an unexpected place: it stands by itself, at the end
			refused = len(steps)
			steps = append(steps, checkStep{sections: []string{e.Section}, what: "everything else"})
		}
	}
	for i := range steps {
		result := "ok"
		if i == refused {
			result = "refused"
		} else if i > refused {
			result = "not reached"
		}
		e.Steps = append(e.Steps, explainedStep{sectionText(steps[i].sections, e.Section, i == refused), steps[i].what, result})
	}
	return e
}

// sectionText names a step's sections; where a rule refused, the rule's.
func sectionText(sections []string, rule string, refused bool) string {
	if refused && rule != "" {
		return rule
	}
	if len(sections) > 4 {
		return sections[0] + "–" + sections[len(sections)-1]
	}
	return strings.Join(sections, ", ")
}

// writeText writes the explanation for a reader.
func (e *explanation) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", e.Message)
	if e.Context != "" {
		fmt.Fprintf(&b, "%s\n", e.Context)
	}
	b.WriteString("\n")
	for _, s := range e.Steps {
		mark := map[string]string{"ok": "ok", "refused": "REFUSED", "not reached": "-"}[s.Result]
		fmt.Fprintf(&b, "  %-8s §%-24s %s\n", mark, s.Sections, s.What)
	}
	switch {
	case e.Accepted:
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSuffix(e.Verdict, "\n"))
	default:
		fmt.Fprintf(&b, "\nrefused: %s\n", e.Verdict)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "%s\n", e.Hint)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
