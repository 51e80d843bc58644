package client

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// Outcome is what became of a message, or of a commit of ours: one of
// *MessageReceived, *ProposalReceived, *CommitApplied, *LostRace, *Removed,
// *OwnEcho, *Duplicate, *Stale, *Held, *NeedsRejoin, *Joined, *AlreadyMember
// and, for messages that were held, *Refused.
type Outcome interface{ outcome() }

// MessageReceived is an application message.
type MessageReceived struct{ group.Application }

// ProposalReceived is a valid proposal of the current epoch. It waits for a
// commit.
type ProposalReceived struct {
	group.PendingProposal
	// Replayed is what became of held messages that waited for it.
	Replayed []Outcome
}

// CommitApplied is a commit, another's or our own, that began a new epoch.
type CommitApplied struct {
	// Epoch is the epoch that it began.
	Epoch uint64
	// Committer is who sent it, Leaf its leaf in the new epoch.
	Committer framing.Sender
	Leaf      mls.LeafIndex
	// Own is true for our own commit.
	Own bool
	// Changes is what it changed.
	Changes group.Changes
	// Welcome is for those whom our own commit added: to be delivered now. It
	// is in the outbox.
	Welcome *Outgoing
	// Repeat are proposals of ours that it did not apply; after a Rejoin, those of
	// the state from before. UpdateLost is true if there was an update of ours
	// among them, whose keys are gone.
	Repeat     []framing.Proposal
	UpdateLost bool
	// Unclear are Removes of ours, from before a Rejoin, of which it can't be told
	// whether they came about, as the state from before is damaged: whoever holds
	// the leaf now may be somebody else.
	Unclear []framing.Proposal
	// Replayed is what became of held messages of the new epoch, in order.
	Replayed []Outcome
}

// LostRace is a commit of another that won over our pending one, or our pending
// external one, which was dropped: Repeat says what to commit again.
type LostRace struct{ CommitApplied }

// Removed is a commit that removed us. The group is over for us.
type Removed struct{ CommitApplied }

// OwnEcho is a message of ours that the delivery service brought back.
type OwnEcho struct {
	Epoch       uint64
	ContentType framing.ContentType
	// Commit is set when the echo showed that our pending commit was accepted:
	// it was applied.
	Commit *CommitApplied
}

// Duplicate is a message that was dealt with before.
type Duplicate struct {
	Epoch       uint64
	ContentType framing.ContentType
	// Welcome is true for a Welcome that was used before, Group says for which
	// group.
	Welcome bool
	Group   []byte
}

// Stale is a message of an epoch that is over, which came too late or lost the
// race to be its commit.
type Stale struct{ Epoch, Current uint64 }

// Held is a message that cannot be used yet: of an epoch still to come, or a
// commit of which a proposal has not arrived. It is stored, and processed when
// its time comes: see CommitApplied.Replayed and Config.Notify.
type Held struct {
	Epoch, Current  uint64
	MissingProposal bool
}

// NeedsRejoin tells that this state cannot follow the group: it is behind, or
// the group has forked. [Group.Rejoin] is the way out. Nothing was changed. The
// message that shows it may be forged by a member: an application asks others
// before it believes it.
type NeedsRejoin struct {
	Epoch  uint64
	Reason error
}

// Joined is a Welcome by which we are in a group.
type Joined struct{ Group *Group }

// AlreadyMember is a Welcome to an epoch of a group that we are in, or an
// earlier one. It is used up.
type AlreadyMember struct{ Group []byte }

// Refused is a held message that turned out to be invalid, or could not be
// judged, or of which the record is damaged (store.ErrCorrupt).
type Refused struct {
	Epoch uint64
	Err   error
	// Held is true if it is held still and will be tried again, because that can
	// help: a pre-shared key is missing, or the application has refused a
	// credential or could not tell. See [Group.Replay].
	Held bool
}

func (*MessageReceived) outcome()  {}
func (*ProposalReceived) outcome() {}
func (*CommitApplied) outcome()    {}
func (*LostRace) outcome()         {}
func (*Removed) outcome()          {}
func (*OwnEcho) outcome()          {}
func (*Duplicate) outcome()        {}
func (*Stale) outcome()            {}
func (*Held) outcome()             {}
func (*NeedsRejoin) outcome()      {}
func (*Joined) outcome()           {}
func (*AlreadyMember) outcome()    {}
func (*Refused) outcome()          {}
