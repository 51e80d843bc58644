package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// Status says how we stand with a group.
type Status uint8

// The statuses. They are stored: their numbers stay.
const (
	// StatusActive: we are a member.
	StatusActive Status = 1
	// StatusRemoved: we were removed.
	StatusRemoved Status = 2
	// StatusJoining: our external commit is pending and there is no state from
	// before.
	StatusJoining Status = 3
)

// String returns the status in a word.
func (s Status) String() string {
	switch s {
	case StatusActive:
		return "active"
	case StatusRemoved:
		return "removed"
	case StatusJoining:
		return "joining"
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// Group is a group of a client. It is safe for concurrent use: operations on it
// exclude each other.
type Group struct {
	c    *Client
	id   []byte
	name string

	// lock guards the fields below.
	lock   chan struct{}
	loaded bool
	head   headRecord
	// g is nil while we are joining without a state from before.
	g       *group.Group
	pending *pending
	joining *joining
	// stored is the tree that the store has in records of its own; nil for none.
	// laid is the one that the next batch writes, if it is another.
	stored *treekem.Stored
	laid   *laidTree
	// replay is set until held messages were looked through after loading, kept
	// while one that was looked at waits for what is not available. owed is what
	// became of those of which the application was not told yet.
	replay, kept bool
	owed         []Outcome
	events       []Event
	// block is how many generations were prepared last.
	block int
}

// pending is our pending commit.
type pending struct {
	staged *group.Staged
	record pendingRecord
}

// joining is our pending external commit.
type joining struct {
	g      *group.Group
	record joinRecord
}

// ID is the group's identifier.
func (g *Group) ID() []byte { return bytes.Clone(g.id) }

// with runs f with the group locked and loaded, and tells the application of
// what happened.
func (g *Group) with(ctx context.Context, f func() error) error {
	err := g.locked(ctx, f)
	g.c.tell()
	return err
}

// acquire waits for the lock of a group of a client that is open.
func (g *Group) acquire(ctx context.Context) error {
	select {
	case g.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := ctx.Err()
	if g.c.isClosed() {
		err = ErrClosed
	}
	if err != nil {
		<-g.lock
	}
	return err
}

// unlock releases the lock, and queues what there is to tell the application.
func (g *Group) unlock() {
	if g.c.cfg.Notify != nil {
		g.c.events.add(g.events)
	}
	g.events = nil
	<-g.lock
}

func (g *Group) locked(ctx context.Context, f func() error) error {
	if err := g.acquire(ctx); err != nil {
		return err
	}
	defer g.unlock()
	if err := g.load(ctx); err != nil {
		return err
	}
	if g.replay && g.c.told() {
		if _, err := g.replayHeld(ctx); err != nil {
			return err
		}
	}
	err := f()
	if failed := g.treeErr(); failed != nil {
		g.unload()
		return failed
	}
	return err
}

// load reads the group from the store, unless it is in memory and its trees can
// be read: who has kept one may have found that it can't.
func (g *Group) load(ctx context.Context) error {
	if g.loaded && g.treeErr() == nil {
		return nil
	}
	g.unload()
	var p parts
	defer p.clear()
	if err := g.c.store.View(ctx, func(tx store.Reader) error { return p.read(tx, g.name) }); err != nil {
		return err
	}
	if err := g.restore(ctx, &p); err != nil {
		g.unload()
		return err
	}
	g.loaded, g.replay = true, p.head.HeldCount > 0
	return nil
}

// unload drops what is in memory, because it may not be what is stored, and
// clears its secrets.
func (g *Group) unload() {
	if g.pending != nil {
		g.pending.staged.Destroy()
	}
	if g.g != nil {
		g.g.Destroy()
	}
	if g.joining != nil {
		g.joining.g.Destroy()
	}
	g.loaded, g.g, g.pending, g.joining, g.block = false, nil, nil, nil, 0
	g.stored, g.laid = nil, nil
}

// parts are the records of a group.
type parts struct {
	head    headRecord
	core    *stateRecord
	pending *pendingRecord
	join    *joinRecord
	// Trees that are stored whole; nil for those that are not.
	tree, pendingTree, joiningsTree []byte
	pendingDiff                     []byte
}

// clear clears the secrets: what is restored has copies.
func (p *parts) clear() {
	if p.core != nil {
		clear(p.core.State)
	}
	if p.pending != nil {
		clear(p.pending.State.State)
	}
	if p.join != nil {
		clear(p.join.State.State)
	}
}

func (p *parts) read(tx store.Reader, name string) error {
	if err := get(tx, headKey(name), &p.head); errors.Is(err, store.ErrNotFound) {
		return ErrUnknownGroup
	} else if err != nil {
		return err
	}
	var err error
	if Status(p.head.Status) != StatusJoining {
		p.core = new(stateRecord)
		if err := readState(tx, name, partCore, p.core); err != nil {
			return err
		}
		if p.tree, err = getIfThere(tx, partKey(name, partTree)); err != nil {
			return err
		}
		if p.core.Counter != p.head.Counter {
			return fmt.Errorf("%w: the state of a group is not that of its last batch", store.ErrRolledBack)
		}
	}
	if p.head.Pending {
		p.pending = new(pendingRecord)
		if err := readState(tx, name, partPending, p.pending); err != nil {
			return err
		}
		if p.pendingTree, err = getIfThere(tx, partKey(name, partPendingTree)); err != nil {
			return err
		}
		if p.pendingTree == nil {
			if p.pendingDiff, err = getRaw(tx, partKey(name, partPendingDiff)); err != nil {
				return must(err, "the tree of a pending commit")
			}
		}
	}
	if p.head.Joining {
		p.join = new(joinRecord)
		if err := readState(tx, name, partJoin, p.join); err != nil {
			return err
		}
		p.joiningsTree, err = getRaw(tx, partKey(name, partJoinTree))
	}
	return must(err, "the tree of a group")
}

func readState(tx store.Reader, name, part string, v any) error {
	return must(get(tx, partKey(name, part), v), "the state of a group")
}

// restore makes the group of its records.
func (g *Group) restore(ctx context.Context, p *parts) error {
	if !bytes.Equal(p.head.Group, g.id) {
		return fmt.Errorf("%w: a group under another's name", store.ErrCorrupt)
	}
	g.head = p.head
	suite := mls.CipherSuite(p.head.Suite)
	signers := g.c.signers()
	cfg := g.c.groupConfig(ctx)
	if p.core != nil {
		tree, err := g.restoreTree(suite, p.tree)
		if err != nil {
			return err
		}
		if g.g, err = restoreGroup(cfg, p.core, tree, signers); err != nil {
			return err
		}
		if err := g.checkRestored(); err != nil {
			return err
		}
	}
	if p.pending != nil {
		tree, err := g.restorePendingTree(suite, p)
		if err != nil {
			return err
		}
		waiting := &pending{record: *p.pending}
		waiting.staged, err = g.g.RestoreStagedApart(p.pending.State.State, tree, signers...)
		if failed := tree.Err(); failed != nil {
			return treeFailure(failed)
		}
		if err != nil {
			return damaged(err)
		}
		waiting.record.State = stateRecord{}
		g.pending = waiting
	}
	if p.join != nil {
		waiting := &joining{record: *p.join}
		tree, err := g.c.parseTree(suite, p.joiningsTree)
		if err != nil {
			return err
		}
		if waiting.g, err = restoreGroup(cfg, &p.join.State, tree, signers); err != nil {
			return err
		}
		waiting.record.State = stateRecord{}
		g.joining = waiting
	}
	return nil
}

func restoreGroup(cfg group.Config, r *stateRecord, tree *treekem.Tree, signers []mls.Signer) (*group.Group, error) {
	g, err := group.RestoreApart(cfg, r.State, tree, signers...)
	if failed := tree.Err(); failed != nil {
		return nil, treeFailure(failed)
	}
	if err != nil {
		return nil, damaged(err)
	}
	return g, nil
}

func (c *Client) parseTree(id mls.CipherSuite, encoded []byte) (*treekem.Tree, error) {
	suite, err := mls.LookupSuite(id)
	if err != nil {
		return nil, damaged(err)
	}
	tree, err := treekem.ParseTree(suite, encoded, c.cfg.Group.Limits.MaxLeaves)
	if err != nil {
		return nil, damaged(err)
	}
	return tree, nil
}

// damaged marks what a record of a group that was read whole cannot lead to.
func damaged(err error) error { return damagedIn("the state of a group", err) }

// damagedIn marks what a record cannot lead to. Where that is malformed or
// invalid, no message is: the error is not one of those.
func damagedIn(what string, err error) error {
	switch {
	case unreadable(err):
		return fmt.Errorf("client: %s: %w", what, err)
	case errors.Is(err, mls.ErrUnsupported):
		return fmt.Errorf("%w: %s: %w", store.ErrNewer, what, err)
	}
	return fmt.Errorf("%w: %s: %v", store.ErrCorrupt, what, err)
}

// checkRestored holds the state against the head.
func (g *Group) checkRestored() error {
	if !bytes.Equal(g.g.ID(), g.id) || g.g.Epoch() != g.head.Epoch {
		return fmt.Errorf("%w: the state of a group is not that of its head", store.ErrCorrupt)
	}
	return nil
}

// write makes what is in memory durable, in one batch with what f writes and
// with what the application makes of the outcome. If it fails, the group is
// dropped from memory, to be read again: what the store holds is what counts.
func (g *Group) write(ctx context.Context, o Outcome, f func(tx store.Writer) error) (err error) {
	written := false
	defer func() {
		if !written { // also when the application panics
			g.unload()
		} else if o != nil {
			g.events = append(g.events, Event{bytes.Clone(g.id), o})
		}
	}()
	head := g.head
	head.Counter++
	head.Pending, head.Joining = g.pending != nil, g.joining != nil
	head.Suite = uint16(g.current().Suite().ID())
	var core *stateRecord
	if g.g != nil {
		head.Epoch = g.g.Epoch()
		core = &stateRecord{Counter: head.Counter}
		if core.State, err = g.g.StateApart(); err != nil {
			return err
		}
		defer clear(core.State)
		if err = g.layTree(); err != nil {
			return err
		}
	}
	err = g.c.store.Update(ctx, func(tx store.Writer) error {
		if core != nil {
			if err := put(tx, partKey(g.name, partCore), core); err != nil {
				return err
			}
			if err := g.laid.write(tx, g.name); err != nil {
				return err
			}
		}
		if f != nil {
			if err := f(tx); err != nil {
				return err
			}
		}
		// Written last: f may have changed what is held.
		head.HeldCount, head.HeldBytes = g.head.HeldCount, g.head.HeldBytes
		if err := put(tx, headKey(g.name), &head); err != nil {
			return err
		}
		return g.c.save(tx, g.id, o)
	})
	if err != nil {
		return err
	}
	g.head, written = head, true
	if g.laid != nil {
		g.stored, g.laid = g.laid.stored, nil
	}
	return nil
}

// save lets the application take part in a batch.
func (c *Client) save(tx store.Writer, id []byte, o Outcome) error {
	if c.cfg.Save == nil || o == nil {
		return nil
	}
	return c.cfg.Save(prefixed{tx}, bytes.Clone(id), o)
}

// putState writes a saved state and its tree, or what it changes of the tree.
func putState(tx store.Writer, name, part string, v any, treePart string, tree []byte) error {
	if err := put(tx, partKey(name, part), v); err != nil {
		return err
	}
	return putRaw(tx, partKey(name, treePart), tree)
}

// Info is what there is to know of a group.
type Info struct {
	ID     []byte
	Status Status
	Suite  mls.CipherSuite
	// Epoch is the current one; while we are joining, the one that our commit
	// begins.
	Epoch   uint64
	OwnLeaf mls.LeafIndex
	Members int
	// Pending tells that a commit of ours waits for Accept; Joining that it is
	// an external one.
	Pending, Joining bool
	// Held is how many messages of later epochs are held.
	Held int
	// EpochAuthenticator is the same for all members of the epoch (RFC 9420,
	// Section 8.7).
	EpochAuthenticator []byte
}

// Info returns what there is to know of the group.
func (g *Group) Info(ctx context.Context) (info Info, err error) {
	err = g.with(ctx, func() error {
		current := g.current()
		info = Info{
			ID: bytes.Clone(g.id), Status: Status(g.head.Status), Suite: current.Suite().ID(),
			Epoch: current.Epoch(), OwnLeaf: current.OwnLeaf(), Members: current.Tree().Members(),
			Pending: g.pending != nil || g.joining != nil, Joining: g.joining != nil, Held: int(g.head.HeldCount),
			EpochAuthenticator: current.EpochAuthenticator(),
		}
		return nil
	})
	return info, err
}

// current is the state in force, else that of our pending external commit.
func (g *Group) current() *group.Group {
	if g.g != nil {
		return g.g
	}
	return g.joining.g
}

// View calls f with the protocol's state of the group, which f must not change
// or keep: to look at members, to export secrets, and the like. Meanwhile the
// group is locked: f must not call the client.
func (g *Group) View(ctx context.Context, f func(*group.Group) error) error {
	return g.with(ctx, func() error { return f(g.current()) })
}

// GroupInfo describes the current epoch, signed and encoded as an MLSMessage:
// with InfoOptions.ExternalPub, for external joiners (RFC 9420, Section
// 12.4.3.2).
func (g *Group) GroupInfo(ctx context.Context, opt group.InfoOptions) (message []byte, err error) {
	err = g.with(ctx, func() error {
		if g.g == nil {
			return mls.ErrPending
		}
		info, err := g.g.GroupInfo(opt)
		if err != nil {
			return err
		}
		message, err = (&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatGroupInfo, GroupInfo: info}).Bytes()
		return err
	})
	return message, err
}

// Forget deletes everything of the group, which need not be readable. It does
// not leave the group: others go on to count us as a member until they remove us.
// Of a Welcome that was used only that is kept: it must not be used again.
func (g *Group) Forget(ctx context.Context) error {
	if err := g.acquire(ctx); err != nil {
		return err
	}
	defer g.unlock()
	g.unload()
	g.owed = nil // nobody asks any more what became of its messages
	return g.c.store.Update(ctx, func(tx store.Writer) error {
		keys := [][]byte{headKey(g.name)}
		for e, err := range tx.Scan(partKey(g.name, "")) {
			if err != nil && e.Key == nil {
				return err
			}
			keys = append(keys, e.Key)
		}
		queued, err := g.queued(tx)
		if err != nil {
			return err
		}
		for _, key := range append(keys, queued...) {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return g.unnameWelcomes(tx)
	})
}

// queued lists the keys of the group's entries in the outbox. One that cannot be
// read is not known to be the group's.
func (g *Group) queued(tx store.Reader) (keys [][]byte, err error) {
	for e, err := range tx.Scan([]byte(keyOutbox)) {
		if err != nil && e.Key == nil {
			return nil, err
		}
		var r outboxRecord
		if err == nil && decode(e.Value, &r) == nil && bytes.Equal(r.Group, g.id) {
			keys = append(keys, e.Key)
		}
	}
	return keys, nil
}

// unnameWelcomes takes the group out of the records of the Welcomes that led to
// it.
func (g *Group) unnameWelcomes(tx store.Writer) error {
	used := make(map[string]*welcomeRecord)
	for e, err := range tx.Scan([]byte(keyWelcome)) {
		if err != nil && e.Key == nil {
			return err
		}
		var r welcomeRecord
		if err == nil && decode(e.Value, &r) == nil && bytes.Equal(r.Group, g.id) {
			used[string(e.Key)] = &welcomeRecord{Time: r.Time}
		}
	}
	for key, r := range used {
		if err := put(tx, []byte(key), r); err != nil {
			return err
		}
	}
	return nil
}
