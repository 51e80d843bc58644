package mls_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/treekem/mls"
)

var sentinels = []error{
	mls.ErrMalformed, mls.ErrUnsupported, mls.ErrWrongGroup, mls.ErrWrongEpoch, mls.ErrAuth, mls.ErrInvalid,
	mls.ErrKeyConsumed, mls.ErrTooFar, mls.ErrUnknownProposal, mls.ErrPending, mls.ErrRemoved, mls.ErrUnavailable,
}

func TestSentinelsDiffer(t *testing.T) {
	for i, a := range sentinels {
		for j, b := range sentinels {
			if errors.Is(a, b) != (i == j) {
				t.Errorf("%v is %v", a, b)
			}
		}
	}
}

func TestRuleError(t *testing.T) {
	err := mls.Invalid("12.2", "update-and-remove-same-leaf", "list: update and remove of leaf %d", 3)
	const want = "mls: invalid: list: update and remove of leaf 3 (RFC 9420, Section 12.2: update-and-remove-same-leaf)"
	if err.Error() != want {
		t.Errorf("%q", err)
	}
	wrapped := fmt.Errorf("commit: %w", err)
	if !errors.Is(wrapped, mls.ErrInvalid) || errors.Is(wrapped, mls.ErrAuth) {
		t.Error("not ErrInvalid alone")
	}
	for _, c := range []struct {
		section, rule string
		want          bool
	}{
		{"12.2", "update-and-remove-same-leaf", true},
		{"12.2", "another", false},
		{"12.3", "update-and-remove-same-leaf", false},
		{"", "", false},
	} {
		if errors.Is(wrapped, &mls.RuleError{Section: c.section, Rule: c.rule}) != c.want {
			t.Errorf("%s/%s: want %v", c.section, c.rule, c.want)
		}
	}
	var rule *mls.RuleError
	if !errors.As(wrapped, &rule) || rule.Section != "12.2" || rule.Culprit != nil || rule.Err != nil {
		t.Errorf("%+v", rule)
	}
}

func TestRuleErrorWithCause(t *testing.T) {
	err := mls.Invalid("7.3", "leaf-signature", "leaf node: %w", mls.ErrAuth)
	const want = "mls: invalid: leaf node: authentication failed (RFC 9420, Section 7.3: leaf-signature)"
	if err.Error() != want {
		t.Errorf("%q", err)
	}
	if !errors.Is(err, mls.ErrInvalid) || !errors.Is(err, mls.ErrAuth) {
		t.Error("the cause is lost")
	}
	err = mls.Invalid("7.3", "leaf-signature", "%w and %w", mls.ErrAuth, mls.ErrMalformed)
	if !errors.Is(err, mls.ErrInvalid) || !errors.Is(err, mls.ErrAuth) || !errors.Is(err, mls.ErrMalformed) {
		t.Error("a cause is lost")
	}
}

func TestRuleErrorNamesTheCulprit(t *testing.T) {
	leaf, proposal, sender := mls.LeafIndex(0), 0, mls.LeafIndex(7)
	for want, c := range map[string]mls.Culprit{
		"mls: invalid: x (RFC 9420, Section 7.3: r)":                                                 {},
		"mls: invalid: x [leaf 0] (RFC 9420, Section 7.3: r)":                                        {Leaf: &leaf},
		"mls: invalid: x [leaf 0, \"a\\nb\", proposal 0, sent by leaf 7] (RFC 9420, Section 7.3: r)": {Leaf: &leaf, Identity: "a\nb", Proposal: &proposal, Sender: &sender},
		"mls: invalid: x [proposal 0, sent by leaf 7] (RFC 9420, Section 7.3: r)":                    {Proposal: &proposal, Sender: &sender},
	} {
		err := mls.InvalidAt(c, "7.3", "r", "x")
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		var rule *mls.RuleError
		if !errors.As(err, &rule) || *rule.Culprit != c {
			t.Error("the culprit is lost")
		}
	}
}

func TestEpochError(t *testing.T) {
	err := error(&mls.EpochError{Got: 5, Want: 7})
	if !errors.Is(err, mls.ErrWrongEpoch) || err.Error() != "mls: epoch 5 where 7 is the current one" {
		t.Errorf("%v", err)
	}
}

// TestRuleErrorUnavailable: a rule that could not be checked is named, and not
// reported as broken.
func TestRuleErrorUnavailable(t *testing.T) {
	cause := errors.New("the disk is gone")
	err := mls.Invalid("12.4.2", "psk-unavailable", "key 1: %w: %w", mls.ErrUnavailable, cause)
	if errors.Is(err, mls.ErrInvalid) || !errors.Is(err, mls.ErrUnavailable) || !errors.Is(err, cause) || !mls.Retryable(err) {
		t.Errorf("%v is invalid, or not retryable", err)
	}
	if !errors.Is(err, &mls.RuleError{Section: "12.4.2", Rule: "psk-unavailable"}) {
		t.Errorf("%v does not name the rule", err)
	}
	const want = "mls: key 1: not available: the disk is gone (RFC 9420, Section 12.4.2: psk-unavailable)"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestRetryable(t *testing.T) {
	for _, err := range sentinels {
		want := err == mls.ErrUnknownProposal || err == mls.ErrPending || err == mls.ErrUnavailable
		if mls.Retryable(err) != want || mls.Retryable(fmt.Errorf("wrapped: %w", err)) != want {
			t.Errorf("%v: want %v", err, want)
		}
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("other"), false},
		{&mls.EpochError{Got: 8, Want: 7}, true},
		{&mls.EpochError{Got: 7, Want: 7}, false},
		{&mls.EpochError{Got: 6, Want: 7}, false},
		{fmt.Errorf("wrapped: %w", &mls.EpochError{Got: 8, Want: 7}), true},
		{mls.Invalid("12.2", "r", "x"), false},
	} {
		if mls.Retryable(c.err) != c.want {
			t.Errorf("%v: want %v", c.err, c.want)
		}
	}
}
