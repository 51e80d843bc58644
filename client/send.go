package client

import (
	"bytes"
	"context"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/store"
)

// active refuses what only a member can do.
func (g *Group) active() error {
	if g.g == nil {
		return mls.ErrPending
	}
	if Status(g.head.Status) == StatusRemoved {
		return mls.ErrRemoved
	}
	return nil
}

// Send encrypts an application message to the group and returns it as an encoded
// MLSMessage. It fails with mls.ErrPending while proposals wait for a commit
// (RFC 9420, Section 12.4).
//
// Keys are prepared in blocks, and the disk waits for a block only: the stored
// state stands past it. If the process dies, the generations that are left of
// the block are skipped.
//
// The message is not in the outbox: if the process dies before it left, the
// application has to send its contents again.
func (g *Group) Send(ctx context.Context, data, authenticatedData []byte) (message []byte, err error) {
	err = g.with(ctx, func() error {
		if err := g.active(); err != nil {
			return err
		}
		if len(g.g.Proposals()) > 0 {
			return mls.ErrPending
		}
		if g.g.Reserved() == 0 {
			if err := g.reserve(ctx); err != nil {
				return err
			}
		}
		message, err = g.g.Protect(data, authenticatedData)
		return err
	})
	return message, err
}

// maxBlock is how many generations are prepared at a time, at most: a crash
// skips as many, and a receiver keeps the keys of what it skips (RFC 9420,
// Section 15.3).
const maxBlock = 64

// reserve prepares the next block. Blocks grow while the group stays in memory,
// so that a process that sends one message and ends skips nothing.
func (g *Group) reserve(ctx context.Context) error {
	g.block = min(max(2*g.block, 1), maxBlock)
	if err := g.g.Reserve(g.block); err != nil {
		return err
	}
	return g.write(ctx, nil, nil)
}

// Propose makes a proposal to the group: see [group.Group.Propose].
func (g *Group) Propose(ctx context.Context, p framing.Proposal, authenticatedData []byte) (*Outgoing, error) {
	return g.propose(ctx, func() ([]byte, error) { return g.g.Propose(p, authenticatedData) })
}

// ProposeUpdate proposes to replace our leaf: see [group.Group.ProposeUpdate].
func (g *Group) ProposeUpdate(ctx context.Context, authenticatedData []byte) (*Outgoing, error) {
	return g.propose(ctx, func() ([]byte, error) {
		return g.g.ProposeUpdate(group.UpdateOptions{AuthenticatedData: authenticatedData})
	})
}

func (g *Group) propose(ctx context.Context, propose func() ([]byte, error)) (out *Outgoing, err error) {
	err = g.with(ctx, func() error {
		if err := g.active(); err != nil {
			return err
		}
		message, err := propose()
		if err != nil {
			return err
		}
		made := g.outgoing(KindProposal, g.g.Epoch(), message)
		err = g.write(ctx, nil, func(tx store.Writer) error {
			if err := g.logMessage(tx, made.Epoch, message, logOwn); err != nil {
				return err
			}
			return g.c.enqueue(tx, made)
		})
		if err == nil {
			out = made
		}
		return err
	})
	return out, err
}

func (g *Group) outgoing(kind Kind, epoch uint64, message []byte) *Outgoing {
	return &Outgoing{Group: bytes.Clone(g.id), Kind: kind, Epoch: epoch, Message: message}
}

// Commit makes a commit: see [group.Group.Commit]. It is pending until
// [Group.Accept], the processing of its echo, or of another's commit. While it
// is, another Commit fails with mls.ErrPending.
func (g *Group) Commit(ctx context.Context, opt group.CommitOptions) (out *Outgoing, err error) {
	err = g.with(ctx, func() error {
		if err := g.active(); err != nil {
			return err
		}
		if g.pending != nil || g.joining != nil {
			return mls.ErrPending
		}
		staged, err := g.g.Commit(opt)
		if err != nil {
			return err
		}
		if out, err = g.writePending(ctx, staged, opt.Proposals); err != nil {
			out = nil
		}
		return err
	})
	return out, err
}

// writePending stores a commit of ours that was just made.
func (g *Group) writePending(ctx context.Context, staged *group.Staged, proposals []framing.Proposal) (*Outgoing, error) {
	p := &pending{staged: staged}
	for i := range proposals {
		encoded, err := wire.Marshal(&proposals[i])
		if err != nil {
			return nil, err
		}
		p.record.Proposals = append(p.record.Proposals, encoded)
	}
	saved, err := staged.StateApart()
	if err != nil {
		return nil, err
	}
	defer clear(saved)
	diff, err := g.pendingDiff(staged.Tree())
	if err != nil {
		return nil, err
	}
	made := g.outgoing(KindCommit, g.g.Epoch(), staged.Message())
	g.pending = p
	err = g.write(ctx, nil, func(tx store.Writer) error {
		if err := g.c.enqueue(tx, made); err != nil {
			return err
		}
		p.record.Outbox = made.ID
		record := p.record
		record.State = stateRecord{State: saved}
		return putState(tx, g.name, partPending, &record, partPendingDiff, diff)
	})
	return made, err
}

// Accept puts our pending commit in place: the delivery service has accepted it
// for its epoch. For a pending external commit, the group is then joined.
func (g *Group) Accept(ctx context.Context) (outcome *CommitApplied, err error) {
	err = g.with(ctx, func() error {
		if err := g.catchUp(ctx); err != nil {
			return err
		}
		if outcome, err = g.accept(ctx); err == nil {
			g.settle(outcome)
		}
		return err
	})
	return outcome, err
}

func (g *Group) accept(ctx context.Context) (*CommitApplied, error) {
	switch {
	case g.joining != nil:
		return g.acceptJoin(ctx)
	case g.pending != nil:
		applied, _, err := g.merge(ctx, g.pending.staged, g.pending.staged.Message(), nil)
		return applied, err
	}
	return nil, ErrNothingPending
}

// merge applies a commit, ours or another's, and then what was held for the
// epoch that it begins.
func (g *Group) merge(ctx context.Context, staged *group.Staged, message []byte, held *heldMessage) (*CommitApplied, Outcome, error) {
	m := &merge{epoch: g.g.Epoch(), message: message, held: held}
	m.own = g.pending != nil && g.pending.staged == staged
	// An external commit of ours for this epoch, or an earlier one, has lost.
	m.lostJoin = g.joining != nil && g.joining.g.Epoch() <= m.epoch+1
	lost := g.pending != nil && !m.own || m.lostJoin
	m.applied = applied(staged, m.own)
	if err := g.lostProposals(m.applied, m.own); err != nil {
		g.unload()
		return nil, nil, err
	}
	if welcome := staged.Welcome(); m.own && len(welcome) > 0 {
		m.applied.Welcome = g.outgoing(KindWelcome, m.epoch+1, welcome)
	}
	removed := staged.SelfRemoved()
	if err := g.g.Merge(staged); err != nil {
		g.unload()
		return nil, nil, err
	}
	if g.pending != nil && !m.own {
		g.pending.staged.Destroy()
	}
	g.pending = nil
	if m.lostJoin {
		g.joining.g.Destroy()
		g.joining = nil
	}
	if removed {
		g.head.Status = uint8(StatusRemoved)
	}
	outcome := outcomeOf(m.applied, lost, removed)
	if err := g.write(ctx, outcome, func(tx store.Writer) error { return g.writeMerge(tx, m) }); err != nil {
		return nil, nil, err
	}
	if !removed {
		// The commit is applied, whatever becomes of what was held: what fails
		// now is looked at again: see Replay.
		m.applied.Replayed, _ = g.replayHeld(ctx)
	}
	return m.applied, outcomeOf(m.applied, lost, removed), nil
}

// merge is a commit on its way into the store.
type merge struct {
	applied       *CommitApplied
	epoch         uint64 // the one that it ends
	message       []byte
	held          *heldMessage
	own, lostJoin bool
}

// outcomeOf is a commit under the type that says most.
func outcomeOf(applied *CommitApplied, lost, removed bool) Outcome {
	switch {
	case removed:
		return &Removed{*applied}
	case lost:
		return &LostRace{*applied}
	}
	return applied
}

// writeMerge is what a commit changes beside the state.
func (g *Group) writeMerge(tx store.Writer, m *merge) error {
	kind := byte(logReceived)
	if m.own {
		kind = logOwn
	}
	drop := pendingParts
	if m.lostJoin {
		drop = slices.Concat(pendingParts, joinParts)
	}
	if err := deleteParts(tx, g.name, drop...); err != nil {
		return err
	}
	if err := g.logMessage(tx, m.epoch, m.message, kind); err != nil {
		return err
	}
	if err := g.pruneLog(tx, m.epoch+1); err != nil {
		return err
	}
	if err := dequeue(tx, g.id, m.epoch+1); err != nil {
		return err
	}
	if err := g.release(tx, m.held); err != nil {
		return err
	}
	if m.applied.Welcome == nil {
		return nil
	}
	return g.c.enqueue(tx, m.applied.Welcome)
}

func deleteParts(tx store.Writer, name string, parts ...string) error {
	for _, part := range parts {
		if err := tx.Delete(partKey(name, part)); err != nil {
			return err
		}
	}
	return nil
}

func applied(staged *group.Staged, own bool) *CommitApplied {
	a := &CommitApplied{Epoch: staged.Epoch(), Own: own, Changes: staged.Changes()}
	a.Committer, a.Leaf = staged.Committer()
	return a
}

// lostProposals finds what of ours a commit leaves undone: what our pending
// commit held by value, and what we had proposed. It is called before the merge.
func (g *Group) lostProposals(a *CommitApplied, own bool) error {
	var ours []framing.Proposal
	if !own && g.pending != nil {
		for _, encoded := range g.pending.record.Proposals {
			var p framing.Proposal
			if err := wire.Unmarshal(encoded, &p); err != nil {
				return damaged(err)
			}
			ours = append(ours, p)
		}
	}
	for _, p := range g.g.Proposals() {
		if p.Sender == framing.Member(g.g.OwnLeaf()) {
			ours = append(ours, p.Proposal)
		}
	}
	for i := range ours {
		switch p := &ours[i]; {
		case did(&a.Changes, p, g.g.OwnLeaf()):
		case p.Type == mls.ProposalUpdate && own && a.Changes.Path:
			// Our commit has renewed our leaf itself.
		case p.Type == mls.ProposalUpdate:
			a.UpdateLost = true
		default:
			a.Repeat = append(a.Repeat, *p)
		}
	}
	return nil
}
