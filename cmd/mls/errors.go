package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/treekem/mls"
	"github.com/treekem/mls/store"
)

// failedError marks what the body of a command returned: exit code 1.
type failedError struct{ err error }

func (e *failedError) Error() string { return e.err.Error() }
func (e *failedError) Unwrap() error { return e.err }

// usageError marks a command line that makes no sense: exit code 2.
type usageError struct {
	err  error
	path string // of the command whose --help answers
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), cmd.CommandPath()}
}

// hintError is an error together with what to do next.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// hinted returns an error with text from format and a hint for the reader.
func hinted(hint, format string, args ...any) error {
	return &hintError{fmt.Errorf(format, args...), hint}
}

// hintFor returns what to do about err, or "" when there is nothing useful to say.
func hintFor(err error) string {
	if h := (*hintError)(nil); errors.As(err, &h) {
		return h.hint
	}
	if u := (*usageError)(nil); errors.As(err, &u) {
		return fmt.Sprintf("%q shows how it is used", u.path+" --help")
	}
	epoch, rule := (*mls.EpochError)(nil), (*mls.RuleError)(nil)
	switch {
	case errors.As(err, &rule) && rule.Rule == "reinitialized":
		return `the group was shut down: one member says "mls group continue", the others join by its Welcome`
	case errors.As(err, &epoch) && epoch.Got > epoch.Want:
		return "process the commits in between first, in order"
	case errors.As(err, &epoch):
		return "the group has moved on since this message was made; nothing to do"
	case errors.Is(err, mls.ErrUnknownProposal):
		return "the commit refers to a proposal not seen yet; process the proposals of this epoch first"
	case errors.Is(err, mls.ErrPending):
		return `proposals of this epoch wait for a commit: make one with "mls group commit", or process another member's`
	case errors.Is(err, mls.ErrRemoved):
		return "you are no longer a member; another member can add you again with a new key package"
	case errors.Is(err, mls.ErrKeyConsumed):
		return "this message was read before; its key is gone, as forward secrecy wants it"
	case errors.Is(err, mls.ErrTooFar):
		return "too many messages of this sender are missing in between"
	case errors.Is(err, mls.ErrWrongGroup):
		return `the message belongs to another group; "mls inspect" shows its group ID, --name selects a group`
	case errors.Is(err, mls.ErrAuth):
		return `the message was changed on its way, or does not come from a member; "mls explain" shows how far it got`
	case errors.Is(err, mls.ErrInvalid):
		return `"mls explain" shows the rule in its place`
	case errors.Is(err, mls.ErrMalformed):
		return `"mls inspect" shows what the file holds`
	case errors.Is(err, store.ErrCorrupt):
		return damagedHint
	case errors.Is(err, store.ErrFull):
		return "make room on the disk; nothing has changed"
	case errors.Is(err, fs.ErrPermission):
		return "check the permissions of the file and its directory"
	}
	return ""
}
