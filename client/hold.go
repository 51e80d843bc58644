package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/store"
)

// keptEpochs is for how many past epochs handshake messages are known again.
const keptEpochs = 64

// logMessage notes a handshake message as dealt with.
func (g *Group) logMessage(tx store.Writer, epoch uint64, message []byte, kind byte) error {
	return putRaw(tx, epochKey(g.name, partLog, epoch, message), []byte{kind})
}

// logged looks a handshake message up. An entry is there under the message's hash:
// one that is damaged no longer says whether the message was our own.
func (g *Group) logged(ctx context.Context, epoch uint64, message []byte) (kind byte, ok bool, err error) {
	err = g.c.store.View(ctx, func(tx store.Reader) error {
		value, err := getRaw(tx, epochKey(g.name, partLog, epoch, message))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if errors.Is(err, store.ErrCorrupt) || err == nil && len(value) != 1 {
			value, err = []byte{logReceived}, nil
		}
		if err == nil {
			kind, ok = value[0], true
		}
		return err
	})
	return kind, ok, err
}

// pruneLog forgets the messages of epochs long past.
func (g *Group) pruneLog(tx store.Writer, epoch uint64) error {
	var old [][]byte
	for e, err := range tx.Scan(partKey(g.name, partLog)) {
		if err != nil && e.Key == nil { // what is damaged is forgotten in its time
			return err
		}
		of, ok := epochOf(e.Key, g.name, partLog)
		if !ok {
			continue // Check names it
		}
		if of >= epoch || epoch-of <= keptEpochs {
			break
		}
		old = append(old, e.Key)
	}
	for _, key := range old {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// heldMessage is a message that is held in the store.
type heldMessage struct {
	key     []byte
	message []byte
	envelope
	// released is set when it was deleted.
	released bool
	// bad is what is wrong with the record.
	bad error
}

// hold stores a message for later.
func (g *Group) hold(ctx context.Context, message []byte, e envelope, missing bool) (Outcome, error) {
	o := &Held{Epoch: e.epoch, Current: g.current().Epoch(), MissingProposal: missing}
	key := epochKey(g.name, partHeld, e.epoch, message)
	there, counted := false, false
	err := g.c.store.View(ctx, func(tx store.Reader) error {
		have, err := getRaw(tx, key)
		there = err == nil && bytes.Equal(have, message)
		counted = err == nil || errors.Is(err, store.ErrCorrupt) // written again if it is damaged
		if counted || errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		g.unload()
		return nil, err
	}
	if there {
		return o, nil
	}
	if counted {
		return g.finish(ctx, o, nil, func(tx store.Writer) error { return putRaw(tx, key, message) })
	}
	if g.head.HeldCount >= uint64(g.c.cfg.MaxHeld) || g.head.HeldBytes+uint64(len(message)) > uint64(g.c.cfg.MaxHeldBytes) {
		return nil, ErrHoldFull
	}
	return g.finish(ctx, o, nil, func(tx store.Writer) error {
		g.head.HeldCount++
		g.head.HeldBytes += uint64(len(message))
		return putRaw(tx, key, message)
	})
}

// release deletes a held message in the batch that deals with it.
func (g *Group) release(tx store.Writer, held *heldMessage) error {
	if held == nil {
		return nil
	}
	held.released = true
	if _, err := tx.Get(held.key); errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	g.head.HeldCount -= min(1, g.head.HeldCount)
	g.head.HeldBytes -= min(uint64(len(held.message)), g.head.HeldBytes)
	if g.head.HeldCount == 0 {
		g.head.HeldBytes = 0 // of a damaged one we do not know how many there were
	}
	return tx.Delete(held.key)
}

// Replay processes the held messages of which the time has come, and returns what
// became of them.
//
// There is no need of it but for those that were not dealt with when their commit
// was: because the process died in between, because a read failed, or because
// something was not available (Refused.Held). With Config.Notify or Config.Save
// the next operation looks at them, too; without, the next commit or proposal.
func (g *Group) Replay(ctx context.Context) (outcomes []Outcome, err error) {
	err = g.with(ctx, func() error {
		replayed, err := g.replayHeld(ctx)
		outcomes, g.owed = append(g.owed, replayed...), nil
		return err
	})
	return outcomes, err
}

// catchUp looks at what was left before something that can end the epoch. What
// became of it is returned with what follows.
func (g *Group) catchUp(ctx context.Context) error {
	if !g.replay && !g.kept {
		return nil
	}
	outcomes, err := g.replayHeld(ctx)
	if !g.c.told() {
		g.owed = append(g.owed, outcomes...)
	}
	return err
}

// settle adds what is owed to an outcome that has a place for it.
func (g *Group) settle(o Outcome) {
	var replayed *[]Outcome
	switch o := o.(type) {
	case *CommitApplied:
		replayed = &o.Replayed
	case *LostRace:
		replayed = &o.Replayed
	case *Removed:
		replayed = &o.Replayed
	case *ProposalReceived:
		replayed = &o.Replayed
	case *OwnEcho:
		if o.Commit == nil {
			return
		}
		replayed = &o.Commit.Replayed
	default:
		return
	}
	*replayed, g.owed = append(g.owed, *replayed...), nil
}

// replayHeld processes the messages that were held for the current epoch or an
// earlier one, and again after each commit among them.
func (g *Group) replayHeld(ctx context.Context) ([]Outcome, error) {
	var outcomes []Outcome
	g.replay, g.kept = false, false
	if g.head.HeldCount == 0 || g.g == nil || Status(g.head.Status) != StatusActive {
		return nil, nil
	}
	due, err := g.due(ctx)
	if err != nil {
		g.replay = true
		return nil, err
	}
	for _, held := range due {
		epoch := g.g.Epoch()
		o, err := g.processHeld(ctx, held)
		if err != nil {
			g.replay = true
			return outcomes, err
		}
		if o == nil {
			continue // it waits on
		}
		outcomes = append(outcomes, o)
		if g.g == nil || g.g.Epoch() != epoch {
			break // a commit: what was held for its epoch is in o
		}
	}
	return outcomes, nil
}

// due lists the held messages whose time has come: by epoch, proposals before
// application messages before commits.
func (g *Group) due(ctx context.Context) (list []*heldMessage, err error) {
	err = g.c.store.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(partKey(g.name, partHeld)) {
			if err != nil && (e.Key == nil || !unreadable(err)) {
				return err
			}
			h := readHeld(e, err, g.id)
			if errors.Is(h.bad, store.ErrNewer) {
				continue // not ours to drop
			}
			if h.epoch > g.g.Epoch() {
				break
			}
			list = append(list, h)
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b *heldMessage) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(rank(a.kind), rank(b.kind)))
	})
	return list, err
}

// readHeld reads the record of a held message of a group, which the store could
// not read if damage says so.
func readHeld(e store.Entry, damage error, id []byte) *heldMessage {
	h := &heldMessage{key: e.Key, bad: damage}
	if h.bad == nil {
		h.bad = h.read(e, id)
	}
	if h.bad != nil {
		h.epoch, _ = epochOf(e.Key, groupName(id), partHeld) // by which it is stored
	}
	return h
}

// read reads a record that the store could read.
func (h *heldMessage) read(e store.Entry, id []byte) (err error) {
	if h.message, err = raw(e.Value); err != nil {
		return err
	}
	if h.envelope, err = readEnvelope(h.message); err != nil {
		return fmt.Errorf("%w: a held message: %v", store.ErrCorrupt, err)
	}
	if !bytes.Equal(e.Key, epochKey(groupName(id), partHeld, h.epoch, h.message)) || !bytes.Equal(h.group, id) {
		return fmt.Errorf("%w: a held message under a wrong key", store.ErrCorrupt)
	}
	return nil
}

func rank(kind framing.ContentType) int {
	return slices.Index([]framing.ContentType{framing.ContentProposal, framing.ContentApplication, framing.ContentCommit}, kind)
}

// judged are the rules of which the application is the judge, who may think
// better of it.
var judged = []string{"5.3.1/credential", "5.3.1/successor-credential", "5.3.1/external-sender", "12.1.8/unauthorized"}

// mayChange reports whether a held message can be valid another time although
// nothing has changed in the group.
func mayChange(err error) bool {
	return errors.Is(err, mls.ErrUnavailable) || breaks(err, judged)
}

// processHeld deals with a held message, nil if it has to wait on.
func (g *Group) processHeld(ctx context.Context, held *heldMessage) (Outcome, error) {
	if held.bad != nil {
		return g.finish(ctx, &Refused{Epoch: held.epoch, Err: held.bad}, held, nil)
	}
	o, err := g.process(ctx, held.message, held.envelope, held)
	if failed := (*storeError)(nil); errors.As(err, &failed) && !unreadable(failed) {
		return nil, err // else the key is to be added again
	}
	if err != nil && g.loaded && mayChange(err) {
		g.kept = true
		return g.finish(ctx, &Refused{Epoch: held.epoch, Err: err, Held: true}, nil, nil)
	}
	if err != nil && g.loaded {
		// Not the store, but the message.
		return g.finish(ctx, &Refused{Epoch: held.epoch, Err: err}, held, nil)
	}
	if err != nil {
		return nil, err
	}
	if _, waits := o.(*Held); waits {
		return nil, nil
	}
	if held.released {
		return o, nil
	}
	// Dealt with before: only the held copy is left to delete.
	told := Outcome(nil)
	if _, lost := o.(*NeedsRejoin); lost {
		told = o // with the copy goes what shows it
	}
	return o, g.write(ctx, told, func(tx store.Writer) error { return g.release(tx, held) })
}
