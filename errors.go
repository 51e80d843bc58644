package mls

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/treekem/mls/internal/wire"
)

// What a caller can do about an error is what it wraps. No error holds bytes
// of a message or of a key.
var (
	// ErrMalformed: the input is not the encoding of anything. Drop it.
	ErrMalformed = wire.ErrMalformed
	// ErrUnsupported: a version, cipher suite, credential or message of a kind
	// this implementation doesn't have.
	ErrUnsupported = errors.New("mls: unsupported")
	// ErrWrongGroup: the message is for another group. Hand it to that one.
	ErrWrongGroup = errors.New("mls: wrong group")
	// ErrWrongEpoch: the message is of another epoch; an [*EpochError] says
	// which. Keep one from a later epoch until the commits in between came.
	ErrWrongEpoch = errors.New("mls: wrong epoch")
	// ErrAuth: a signature, a MAC or an authenticated decryption failed. Which
	// one, and why, an attacker must not learn.
	ErrAuth = errors.New("mls: authentication failed")
	// ErrInvalid: the input breaks a rule; a [*RuleError] says which.
	ErrInvalid = errors.New("mls: invalid")
	// ErrUnavailable: what it takes to judge the input, and is not in it, is not
	// at hand: a pre-shared key, or an answer of the application, which reports
	// it by an error that wraps this one. Keep the input and try again.
	ErrUnavailable = errors.New("mls: not available")
	// ErrKeyConsumed: the key of the message was used before and is gone: the
	// message is a duplicate, or was too far out of order.
	ErrKeyConsumed = errors.New("mls: key already consumed")
	// ErrTooFar: the message is further ahead of the ratchet than the bound on
	// forward derivations allows.
	ErrTooFar = errors.New("mls: generation too far ahead")
	// ErrUnknownProposal: a commit names a proposal that has not been received
	// yet. Keep the commit until it has been.
	ErrUnknownProposal = errors.New("mls: unknown proposal")
	// ErrPending: a commit of one's own is pending. Merge or discard it first.
	ErrPending = errors.New("mls: a commit is pending")
	// ErrRemoved: this member was removed from the group.
	ErrRemoved = errors.New("mls: removed from the group")
)

// EpochError is a message of epoch Got where the group is at epoch Want. It
// wraps [ErrWrongEpoch].
type EpochError struct {
	Got, Want uint64
}

// Error implements error.
func (e *EpochError) Error() string {
	return fmt.Sprintf("mls: epoch %d where %d is the current one", e.Got, e.Want)
}

// Unwrap returns [ErrWrongEpoch].
func (e *EpochError) Unwrap() error { return ErrWrongEpoch }

// RuleError is a broken rule of RFC 9420. It wraps [ErrInvalid], and Err if
// there is one. If Err is [ErrUnavailable], the rule could not be checked: then
// it does not wrap ErrInvalid.
//
// errors.Is(err, &RuleError{Section: s, Rule: r}) reports whether err is the
// breach of that one rule.
type RuleError struct {
	Section string   // of RFC 9420, such as "12.2"
	Rule    string   // the rule within the section, such as "update-and-remove-same-leaf"
	Detail  string   // what broke it, in words
	Culprit *Culprit // who broke it, if that is known
	Err     error    // the cause, or nil
}

// Error implements error.
func (e *RuleError) Error() string {
	verdict := "invalid: "
	if errors.Is(e.Err, ErrUnavailable) {
		verdict = ""
	}
	return fmt.Sprintf("mls: %s%s%v (RFC 9420, Section %s: %s)", verdict, e.Detail, e.Culprit, e.Section, e.Rule)
}

// Unwrap returns [ErrInvalid], unless the rule could not be checked, and the
// cause, if there is one.
func (e *RuleError) Unwrap() []error {
	switch {
	case e.Err == nil:
		return []error{ErrInvalid}
	case errors.Is(e.Err, ErrUnavailable):
		return []error{e.Err}
	}
	return []error{ErrInvalid, e.Err}
}

// Is reports whether target is a *RuleError for the same rule.
func (e *RuleError) Is(target error) bool {
	t, ok := target.(*RuleError)
	return ok && t.Section == e.Section && t.Rule == e.Rule
}

// Culprit says where the breach of a rule is. A field without meaning for it
// is nil or empty.
type Culprit struct {
	Leaf     *LeafIndex // the leaf that breaks the rule
	Identity string     // its credential, printable
	Proposal *int       // the index in the commit's list of proposals
	Sender   *LeafIndex // who sent the proposal
}

// String returns the fields that are set, in brackets after a space, or
// nothing.
func (c *Culprit) String() string {
	if c == nil {
		return ""
	}
	var parts []string
	if c.Leaf != nil {
		parts = append(parts, fmt.Sprintf("leaf %d", *c.Leaf))
	}
	if c.Identity != "" {
		parts = append(parts, strconv.Quote(c.Identity))
	}
	if c.Proposal != nil {
		parts = append(parts, fmt.Sprintf("proposal %d", *c.Proposal))
	}
	if c.Sender != nil {
		parts = append(parts, fmt.Sprintf("sent by leaf %d", *c.Sender))
	}
	if parts == nil {
		return ""
	}
	return " [" + strings.Join(parts, ", ") + "]"
}

// Invalid returns the [*RuleError] for a rule of RFC 9420, with a detail in
// words that complete "invalid …". The error of a %w is its cause.
func Invalid(section, rule, format string, args ...any) error {
	return ruleError(nil, section, rule, fmt.Errorf(format, args...))
}

// InvalidAt is [Invalid] with what is known of the culprit.
func InvalidAt(c Culprit, section, rule, format string, args ...any) error {
	return ruleError(&c, section, rule, fmt.Errorf(format, args...))
}

func ruleError(c *Culprit, section, rule string, detail error) *RuleError {
	// The text starts with the prefix once; that of a cause is dropped.
	text := strings.ReplaceAll(detail.Error(), ": mls: ", ": ")
	e := &RuleError{Section: section, Rule: rule, Detail: text, Culprit: c}
	switch detail.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		e.Err = detail
	}
	return e
}

// Retryable reports whether the same input can succeed later: a message of an
// epoch still to come, a commit whose proposal has not arrived, a call that
// waits for the pending commit to be merged or discarded, or what needs
// something that is not available.
func Retryable(err error) bool {
	var epoch *EpochError
	if errors.As(err, &epoch) {
		return epoch.Got > epoch.Want
	}
	return errors.Is(err, ErrUnknownProposal) || errors.Is(err, ErrPending) || errors.Is(err, ErrUnavailable)
}
