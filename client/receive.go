package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
)

// Receive deals with a message for this client: a Welcome, or a message to one
// of its groups, for which see [Group.Process].
func (c *Client) Receive(ctx context.Context, message []byte) (Outcome, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return nil, err
	}
	if m.Welcome != nil {
		return c.Join(ctx, message, JoinOptions{})
	}
	e, err := envelopeOf(m)
	if err != nil {
		return nil, err
	}
	g, err := c.Group(ctx, e.group)
	if err != nil {
		return nil, err
	}
	return g.Process(ctx, message)
}

// envelope is what a message to a group says of itself, unauthenticated.
type envelope struct {
	group []byte
	epoch uint64
	kind  framing.ContentType
}

// readEnvelope is envelopeOf for a message that is not needed but for that.
func readEnvelope(message []byte) (envelope, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return envelope{}, err
	}
	return envelopeOf(m)
}

func envelopeOf(m *framing.Message) (envelope, error) {
	switch {
	case m.Public != nil:
		c := &m.Public.Content
		return envelope{c.GroupID, c.Epoch, c.ContentType}, nil
	case m.Private != nil:
		return envelope{m.Private.GroupID, m.Private.Epoch, m.Private.ContentType}, nil
	}
	return envelope{}, fmt.Errorf("client: a %v is not a message to a group", m.WireFormat)
}

// Process deals with a message to the group. When it returns without an error,
// whatever the outcome, the message is dealt with durably and can be
// acknowledged.
//
// After an error nothing has changed. If mls.Retryable says so, the message can
// be processed later: what it needs is not there yet, or not available now.
// Otherwise it is invalid if the error is mls.ErrInvalid, mls.ErrAuth or
// mls.ErrMalformed; what else there is are failures of the store.
func (g *Group) Process(ctx context.Context, message []byte) (o Outcome, err error) {
	e, err := readEnvelope(message)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(e.group, g.id) {
		return nil, mls.ErrWrongGroup
	}
	err = g.with(ctx, func() error {
		if e.kind != framing.ContentApplication {
			if err := g.catchUp(ctx); err != nil {
				return err
			}
		}
		if o, err = g.process(ctx, message, e, nil); err == nil {
			g.settle(o)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// process deals with a message. held is its key if it was held, to be deleted in
// the same batch. If it fails for another reason than the message, the group is
// unloaded.
func (g *Group) process(ctx context.Context, message []byte, e envelope, held *heldMessage) (Outcome, error) {
	if o, err := g.known(ctx, message, e); o != nil || err != nil {
		if err != nil {
			g.unload()
		}
		return o, err
	}
	if j := g.joining; j != nil {
		if bytes.Equal(message, j.record.Message) {
			applied, err := g.acceptJoin(ctx)
			if err != nil {
				return nil, err
			}
			return &OwnEcho{Epoch: e.epoch, ContentType: e.kind, Commit: applied}, nil
		}
		if g.g == nil || Status(g.head.Status) == StatusRemoved {
			return g.beforeJoined(ctx, message, e)
		}
	}
	received, err := g.g.Process(message)
	if failed := g.treeErr(); failed != nil {
		g.unload()
		return nil, failed
	}
	if err != nil {
		return g.failed(ctx, message, e, err)
	}
	return g.received(ctx, message, e, received, held)
}

// known recognizes a handshake message that was dealt with before.
func (g *Group) known(ctx context.Context, message []byte, e envelope) (Outcome, error) {
	if e.kind == framing.ContentApplication {
		return nil, nil
	}
	kind, ok, err := g.logged(ctx, e.epoch, message)
	switch {
	case err != nil || !ok:
		return nil, err
	case kind == logOwn:
		return &OwnEcho{Epoch: e.epoch, ContentType: e.kind}, nil
	}
	return &Duplicate{Epoch: e.epoch, ContentType: e.kind}, nil
}

// beforeJoined deals with a message that arrives while our external commit is
// pending and we cannot read the group yet.
func (g *Group) beforeJoined(ctx context.Context, message []byte, e envelope) (Outcome, error) {
	if next := g.joining.g.Epoch(); e.epoch < next {
		return &Stale{Epoch: e.epoch, Current: next}, nil
	}
	return g.hold(ctx, message, e, false)
}

// failed says what an error means for the group.
func (g *Group) failed(ctx context.Context, message []byte, e envelope, err error) (Outcome, error) {
	switch {
	case errors.Is(err, mls.ErrUnknownProposal):
		return g.hold(ctx, message, e, true)
	case e.kind == framing.ContentCommit && (forked(err) || errors.Is(err, group.ErrOwnUpdateLost)):
		return &NeedsRejoin{Epoch: e.epoch, Reason: err}, nil
	}
	return nil, err
}

// shutOut are the rules that a commit breaks for us although its sender was
// authenticated and others may follow it: our state of the group is not theirs,
// or the sender has shut us out (RFC 9420, Section 16.12).
var shutOut = []string{"12.4.2/confirmation-tag", "7.5/path-secret", "7.5/path-derived-key"}

func forked(err error) bool { return breaks(err, shutOut) }

// breaks reports whether an error is the breach of one of some rules.
func breaks(err error, rules []string) bool {
	var rule *mls.RuleError
	return errors.As(err, &rule) && slices.Contains(rules, rule.Section+"/"+rule.Rule)
}

// ErrForked is why we are to rejoin when our own messages come back and this
// state has not made them: see NeedsRejoin.Reason.
var ErrForked = errors.New("client: a message of ours that this state has not sent: another copy of the state is in use, or an accepted commit was discarded")

// received makes what the group has read durable.
func (g *Group) received(ctx context.Context, message []byte, e envelope, r group.Received, held *heldMessage) (Outcome, error) {
	switch r := r.(type) {
	case *group.Application:
		return g.finish(ctx, &MessageReceived{*r}, held, nil)
	case *group.ReceivedProposal:
		p := &ProposalReceived{PendingProposal: r.PendingProposal}
		o, err := g.finish(ctx, p, held, func(tx store.Writer) error {
			return g.logMessage(tx, e.epoch, message, logReceived)
		})
		if err == nil && held == nil {
			p.Replayed, _ = g.replayHeld(ctx) // a commit may have waited for it
		}
		return o, err
	case *group.Staged:
		return g.commit(ctx, r, message, held)
	case *group.Removal:
		return g.commit(ctx, r.Staged, message, held)
	case *group.OwnMessage:
		return g.own(ctx, message, e, r, held)
	case *group.Duplicate:
		return &Duplicate{Epoch: e.epoch, ContentType: e.kind}, nil
	case *group.StaleEpoch:
		return &Stale{Epoch: r.Got, Current: r.Want}, nil
	case *group.FutureEpoch:
		return g.hold(ctx, message, e, false)
	}
	return nil, errors.New("client: internal error: the group returned something unknown")
}

// finish writes an outcome, and deletes the held message that it comes from.
func (g *Group) finish(ctx context.Context, o Outcome, held *heldMessage, f func(tx store.Writer) error) (Outcome, error) {
	err := g.write(ctx, o, func(tx store.Writer) error {
		if f != nil {
			if err := f(tx); err != nil {
				return err
			}
		}
		return g.release(tx, held)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// commit applies a commit of another.
func (g *Group) commit(ctx context.Context, staged *group.Staged, message []byte, held *heldMessage) (Outcome, error) {
	_, o, err := g.merge(ctx, staged, message, held)
	return o, err
}

// own deals with an echo.
func (g *Group) own(ctx context.Context, message []byte, e envelope, r *group.OwnMessage, held *heldMessage) (Outcome, error) {
	echo := &OwnEcho{Epoch: e.epoch, ContentType: e.kind}
	if r.ContentType == framing.ContentApplication {
		return echo, nil
	}
	if r.ContentType == framing.ContentCommit && g.pending != nil && bytes.Equal(message, g.pending.staged.Message()) {
		applied, _, err := g.merge(ctx, g.pending.staged, message, held)
		if err != nil {
			return nil, err
		}
		echo.Commit = applied
		return echo, nil
	}
	if r.ContentType == framing.ContentCommit || !r.Known {
		return &NeedsRejoin{Epoch: e.epoch, Reason: ErrForked}, nil
	}
	return echo, nil
}

// Discard drops our pending commit, or external commit: the delivery service has
// refused it. It must not have accepted it.
func (g *Group) Discard(ctx context.Context) error {
	return g.with(ctx, func() error {
		var drop []string
		var entry uint64
		switch {
		case g.joining != nil:
			drop, entry = joinParts, g.joining.record.Outbox
		case g.pending != nil:
			drop, entry = pendingParts, g.pending.record.Outbox
		default:
			return ErrNothingPending
		}
		if g.g == nil {
			return g.forgetJoining(ctx, drop, entry)
		}
		if g.joining != nil {
			g.joining.g.Destroy()
			g.joining = nil
		} else {
			g.pending.staged.Destroy()
			g.pending = nil
		}
		return g.write(ctx, nil, func(tx store.Writer) error {
			if err := deleteParts(tx, g.name, drop...); err != nil {
				return err
			}
			return tx.Delete(outboxKey(entry))
		})
	})
}
