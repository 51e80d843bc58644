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

// A checkStep is a step of what a member does with a message.
type checkStep struct {
	section string // of RFC 9420 that tells to
	what    string
	// rules are the sections whose rules are checked here, besides section.
	rules []string
	// refuses tells whether an error that names no rule comes from here.
	refuses func(err error) bool
	// each is set where the rules are those for each proposal of a commit's list; the same rules hold for
	// the leaf of its path, which comes later.
	each bool
}

// claims tells whether err was made by the step.
func (s *checkStep) claims(err error) bool {
	if here := (*stepError)(nil); errors.As(err, &here) {
		return here.section == s.section
	}
	rule := (*mls.RuleError)(nil)
	if !errors.As(err, &rule) {
		return s.refuses != nil && s.refuses(err)
	}
	if rule.Section != s.section && !slices.Contains(s.rules, rule.Section) {
		return false
	}
	return !s.each || rule.Culprit != nil && rule.Culprit.Proposal != nil || strings.HasPrefix(rule.Section, "12.1")
}

// A stepError is a refusal that is found here and not by the library.
type stepError struct{ section, text string }

func (e *stepError) Error() string { return e.text }

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
}

// parses is the first step of all messages.
func parses() checkStep {
	return checkStep{section: "6", what: "an MLSMessage that parses", rules: []string{"2", "2.1.2", "15.1"},
		refuses: is(mls.ErrMalformed, mls.ErrUnsupported)}
}

// handshakeSteps are the steps for a message to the group; nil is one that does not parse.
func handshakeSteps(m *framing.Message) []checkStep {
	steps := []checkStep{parses()}
	if m == nil {
		return steps
	}
	steps = append(steps,
		checkStep{section: "6", what: "for this group, and we are in it", refuses: is(mls.ErrWrongGroup, mls.ErrRemoved)},
		checkStep{section: "8.1", what: "of this epoch", refuses: is(mls.ErrWrongEpoch)})
	kind := framing.ContentType(0)
	if m.Public != nil {
		kind = m.Public.Content.ContentType
		steps = append(steps, checkStep{section: "6.2", what: "membership tag and signature verify, from somebody who may send it",
			rules: []string{"6", "6.1", "12.1.8"}, refuses: is(mls.ErrAuth)})
	} else {
		kind = m.Private.ContentType
		steps = append(steps, checkStep{section: "6.3", what: "decrypts, with a key not used before, and the sender's signature verifies",
			rules: []string{"6.1", "6.3.1", "6.3.2", "9", "9.1", "9.2", "15.3"}, refuses: is(mls.ErrAuth, mls.ErrKeyConsumed, mls.ErrTooFar)})
	}
	switch kind {
	case framing.ContentProposal:
		steps = append(steps, checkStep{section: "12.1", what: "the proposal is valid by itself", rules: proposalRules})
	case framing.ContentCommit:
		steps = append(steps, commitSteps()...)
	}
	return steps
}

// leafRules are the sections with rules about a leaf node, proposalRules those about a proposal.
var (
	leafRules     = []string{"5.1.1", "5.3", "5.3.1", "7.2", "7.3"}
	proposalRules = append([]string{"8.4", "10", "10.1", "12.1.1", "12.1.2", "12.1.3", "12.1.4", "12.1.5", "12.1.6", "12.1.7", "12.1.8", "13.4", "13.5"}, leafRules...)
)

// commitSteps are the steps of RFC 9420, Section 12.4.2.
func commitSteps() []checkStep {
	return []checkStep{
		{section: "12.4", what: "the proposals it refers to are known", refuses: is(mls.ErrUnknownProposal)},
		{section: "12.1", what: "each proposal is valid by itself", rules: proposalRules, each: true},
		{section: "12.2", what: "the proposals are valid together, with a path if they need one", rules: []string{"12.3", "12.4", "12.4.3.2"}},
		{section: "7.5", what: "the path fits the tree and decrypts: leaf node, parent hashes, fresh keys",
			rules: append([]string{"7.4", "7.6", "7.9", "7.9.2", "12.4.1", "12.4.3.1"}, leafRules...)},
		{section: "11.1", what: "all members support what the group requires", rules: []string{"12.1.7", "13.4"}},
		{section: "8.4", what: "pre-shared keys are there", rules: []string{"8.3"}},
		{section: "12.4.2", what: "the confirmation tag is that of the new epoch", rules: []string{"8", "8.1", "8.2"}},
	}
}

func welcomeSteps() []checkStep {
	return append([]checkStep{
		parses(),
		{section: "10", what: "for one of our key packages"},
		{section: "12.4.3.1", what: "group secrets and GroupInfo decrypt, by a member's signature", rules: []string{"12.4.3", "8.4"},
			refuses: is(mls.ErrAuth)},
	}, treeSteps()...)
}

// treeSteps are the steps that verify a group before one enters it.
func treeSteps() []checkStep {
	return []checkStep{
		{section: "12.4.3.3", what: "the ratchet tree is the group's", rules: []string{"7.1", "7.8"}},
		{section: "7.9.2", what: "every leaf and every parent hash is valid", rules: append([]string{"7.9"}, leafRules...)},
		{section: "11.1", what: "all members support what the group requires", rules: []string{"13.4"}},
		{section: "8", what: "our keys lead to the epoch's", rules: []string{"7.4", "7.5", "11.2", "11.3"}},
	}
}

func groupInfoSteps() []checkStep {
	steps := []checkStep{parses(), {section: "12.4.3.1", what: "signed by a member", rules: []string{"12.4.3"}, refuses: is(mls.ErrAuth)}}
	return append(append(steps, treeSteps()[:3]...), checkStep{section: "12.4.3.2", what: "a key for external joiners"})
}

func keyPackageSteps() []checkStep {
	return []checkStep{
		parses(),
		{section: "10.1", what: "for this group, within its lifetime, with valid signatures, of a new member", rules: proposalRules},
		{section: "12.2", what: "its addition can be committed", rules: []string{"12.3", "12.4"}},
		{section: "11.1", what: "a client that supports what the group requires"},
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
	Section string `json:"section"`
	What    string `json:"what"`
	Result  string `json:"result"` // "ok", "refused" or "not reached"
}

// newExplanation lays err, nil for none, out in the steps.
func newExplanation(message, context string, steps []checkStep, err error, verdict string) *explanation {
	e := &explanation{Message: message, Context: context, Accepted: err == nil, Verdict: verdict, Hint: retryText(err)}
	refused := len(steps)
	if err != nil {
		e.Verdict = errorText(err)
		if rule := (*mls.RuleError)(nil); errors.As(err, &rule) {
			e.Section, e.Rule = rule.Section, rule.Rule
		}
		refused = slices.IndexFunc(steps, func(s checkStep) bool { return s.claims(err) })
		if refused < 0 { // a rule in an unexpected place: it stands by itself, at the end
			refused = len(steps)
			steps = append(steps, checkStep{section: e.Section, what: "everything else"})
		}
	}
	for i := range steps {
		result := "ok"
		if i == refused {
			result = "refused"
		} else if i > refused {
			result = "not reached"
		}
		section := steps[i].section
		if i == refused && e.Section != "" {
			section = e.Section // the rule's own
		}
		e.Steps = append(e.Steps, explainedStep{section, steps[i].what, result})
	}
	return e
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
		fmt.Fprintf(&b, "  %-8s %-10s %s\n", mark, "§"+s.Section, s.What)
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
