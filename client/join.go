package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// GroupOptions says what group to create.
type GroupOptions struct {
	// GroupID is the group's identifier; nil stands for a random one.
	GroupID []byte
	// Extensions are the group context's.
	Extensions []mls.Extension
}

// CreateGroup creates a group of one member.
func (c *Client) CreateGroup(ctx context.Context, identity IdentityID, opt GroupOptions) (*Group, error) {
	id, err := c.identity(identity)
	if err != nil {
		return nil, err
	}
	defer c.startEntering()()
	made, err := group.New(c.groupConfig(ctx), id.suite, group.CreateOptions{
		GroupID: opt.GroupID, Identity: id.Identity, Extensions: opt.Extensions,
	})
	if err != nil {
		return nil, err
	}
	if in, err := c.inGroup(ctx, made.ID()); err != nil {
		return nil, err
	} else if in {
		return nil, ErrGroupExists
	}
	return c.enter(ctx, made, nil, nil)
}

// startEntering begins the creation or joining of a group, one at a time. At its
// end the application is told of what happened: not before, as it may go on to
// the next group.
func (c *Client) startEntering() (done func()) {
	c.entering.Lock()
	return func() {
		c.entering.Unlock()
		c.tell()
	}
}

// inGroup reports whether we are in a group, or joining it.
func (c *Client) inGroup(ctx context.Context, id []byte) (bool, error) {
	var head headRecord
	err := c.store.View(ctx, func(tx store.Reader) error { return get(tx, headKey(groupName(id)), &head) })
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && Status(head.Status) != StatusRemoved, err
}

// enter stores a group that we have created or joined. What is left of a former
// membership goes.
func (c *Client) enter(ctx context.Context, made *group.Group, outcome Outcome, f func(tx store.Writer) error) (*Group, error) {
	g, err := c.handle(made.ID())
	if err != nil {
		return nil, err
	}
	if j, ok := outcome.(*Joined); ok {
		j.Group = g
	}
	err = g.replace(ctx, func() error {
		g.unload()
		g.head = headRecord{Group: made.ID(), Status: uint8(StatusActive)}
		var old headRecord
		err := c.store.View(ctx, func(tx store.Reader) error { return get(tx, headKey(g.name), &old) })
		if err == nil {
			g.head.Counter = old.Counter
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		g.g, g.loaded = made, true
		return g.write(ctx, outcome, func(tx store.Writer) error {
			if err := deleteAll(tx, partKey(g.name, partHeld), partKey(g.name, partLog)); err != nil {
				return err
			}
			if err := deleteParts(tx, g.name, slices.Concat(pendingParts, joinParts)...); err != nil {
				return err
			}
			if f == nil {
				return nil
			}
			return f(tx)
		})
	})
	return g, err
}

// replace runs f with the group locked, whatever is stored of it. What there is
// to tell the application is told at the end of entering.
func (g *Group) replace(ctx context.Context, f func() error) error {
	select {
	case g.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := f()
	if g.c.cfg.Notify != nil {
		g.c.events.add(g.events)
	}
	g.events = nil
	<-g.lock
	return err
}

func deleteAll(tx store.Writer, prefixes ...[]byte) error {
	var keys [][]byte
	for _, prefix := range prefixes {
		for e, err := range tx.Scan(prefix) {
			if err != nil {
				return err
			}
			keys = append(keys, e.Key)
		}
	}
	for _, key := range keys {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// JoinOptions says how to join by a Welcome.
type JoinOptions struct {
	// RatchetTree is the group's tree, if the Welcome does not bring it.
	RatchetTree []byte
}

// Join joins a group by a Welcome, an encoded MLSMessage. The outcome is
// *Joined, *AlreadyMember or *Duplicate. The key package is used up, unless it
// is one of last resort. ErrNoKeyPackage says that the Welcome is for none of
// ours. A Welcome of a group that continues another of ours is joined as such
// (RFC 9420, Sections 11.2 and 11.3).
func (c *Client) Join(ctx context.Context, welcome []byte, opt JoinOptions) (Outcome, error) {
	m, err := parseWelcome(welcome)
	if err != nil {
		return nil, err
	}
	defer c.startEntering()()
	usedKey := []byte(keyWelcome + hex.EncodeToString(shortHash(welcome)))
	var used welcomeRecord
	err = c.store.View(ctx, func(tx store.Reader) error { return get(tx, usedKey, &used) })
	if err == nil {
		return &Duplicate{Welcome: true, Group: used.Group}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	kp, err := c.findKeyPackage(ctx, m)
	if err != nil {
		return nil, err
	}
	spend := func(tx store.Writer) error {
		used.Time = c.cfg.Group.Time().Unix()
		if err := put(tx, usedKey, &used); err != nil {
			return err
		}
		return kp.consume(tx)
	}
	in, known := false, error(nil)
	made, err := c.follow(ctx, m, kp, opt, func(id []byte) bool {
		used.Group = bytes.Clone(id)
		in, known = c.inGroup(ctx, id)
		return in
	})
	switch {
	case known != nil:
		return nil, known
	case in:
		// Its one use was to get us where we are.
		return &AlreadyMember{Group: used.Group}, c.store.Update(ctx, spend)
	case err != nil:
		return nil, err
	}
	outcome := &Joined{}
	if _, err := c.enter(ctx, made, outcome, spend); err != nil {
		return nil, err
	}
	return outcome, nil
}

// ExternalOptions says how to join by an external commit.
type ExternalOptions struct {
	// RatchetTree is the group's tree, if the GroupInfo does not bring it.
	RatchetTree []byte
	// Resync joins only in the place of a former self. That can then also be a
	// member with our credential and another key, as after the state was lost
	// with its keys.
	Resync bool
	// PSKs are injected.
	PSKs []keyschedule.PreSharedKeyID
	// AuthenticatedData travels with the commit.
	AuthenticatedData []byte
}

// JoinExternal joins a group by an external commit (RFC 9420, Section 12.4.3.2)
// on the strength of a GroupInfo, an encoded MLSMessage. A former self of ours,
// a member with our signature key, is removed by it: this is also how to rejoin
// a group of which the state is lost or no longer that of the others. The
// commit is pending until Accept, or Discard, after which it can be tried again
// with the next epoch's GroupInfo; until then a state from before stays in
// force.
func (c *Client) JoinExternal(ctx context.Context, identity IdentityID, groupInfo []byte, opt ExternalOptions) (*Group, *Outgoing, error) {
	defer c.startEntering()()
	made, commit, err := c.makeExternal(ctx, identity, groupInfo, opt)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.handle(made.ID())
	if err != nil {
		return nil, nil, err
	}
	out := g.outgoing(KindCommit, made.Epoch()-1, commit)
	err = g.replace(ctx, func() error { return g.writeJoining(ctx, made, out) })
	return g, out, err
}

// Rejoin is [Client.JoinExternal] for a group that we are or were in, under the
// same signature key.
func (g *Group) Rejoin(ctx context.Context, groupInfo []byte, opt ExternalOptions) (*Outgoing, error) {
	var id IdentityID
	err := g.with(ctx, func() error {
		current := g.current()
		leaf, ok := current.Member(current.OwnLeaf())
		if !ok {
			return ErrUnknownIdentity
		}
		id = identityID(current.Suite().ID(), leaf.SignatureKey)
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, out, err := g.c.JoinExternal(ctx, id, groupInfo, opt)
	return out, err
}

// isMember reports whether the group of a GroupInfo counts us as a member.
func isMember(id *identity, info *framing.GroupInfo, ratchetTree []byte, maxLeaves uint32) (bool, error) {
	if inside, ok := mls.FindExtension(info.Extensions, mls.ExtensionRatchetTree); ok {
		ratchetTree = inside
	}
	if ratchetTree == nil {
		return false, nil // joining says what is missing
	}
	tree, err := treekem.ParseTree(id.suite, ratchetTree, maxLeaves)
	if err != nil {
		return false, err
	}
	_, member := tree.FindSignatureKey(id.Signer.Public())
	return member, nil
}

// writeJoining stores an external commit that was just made.
func (g *Group) writeJoining(ctx context.Context, made *group.Group, out *Outgoing) error {
	err := g.load(ctx)
	if errors.Is(err, ErrUnknownGroup) {
		g.head = headRecord{Group: bytes.Clone(g.id), Status: uint8(StatusJoining), Epoch: made.Epoch()}
	} else if err != nil {
		return err
	}
	if g.joining != nil || g.pending != nil {
		return mls.ErrPending
	}
	saved, err := made.StateApart()
	if err != nil {
		return err
	}
	defer clear(saved)
	tree, err := made.Tree().Bytes()
	if err != nil {
		return err
	}
	g.joining, g.loaded = &joining{g: made}, true
	return g.write(ctx, nil, func(tx store.Writer) error {
		if err := enqueue(tx, out); err != nil {
			return err
		}
		g.joining.record = joinRecord{Outbox: out.ID, Message: out.Message}
		record := g.joining.record
		record.State = stateRecord{State: saved}
		return putState(tx, g.name, partJoin, &record, partJoinTree, tree)
	})
}

// acceptJoin puts our pending external commit in place.
func (g *Group) acceptJoin(ctx context.Context) (*CommitApplied, error) {
	j := g.joining
	applied := &CommitApplied{
		Epoch: j.g.Epoch(), Own: true, Leaf: j.g.OwnLeaf(), Committer: framing.Sender{Type: framing.SenderNewMemberCommit},
	}
	if g.pending != nil {
		g.pending.staged.Destroy()
	}
	if g.g != nil {
		defer g.g.Destroy()
	}
	g.g, g.joining, g.pending, g.stored = j.g, nil, nil, nil
	g.head.Status = uint8(StatusActive)
	err := g.write(ctx, applied, func(tx store.Writer) error {
		if err := deleteParts(tx, g.name, slices.Concat(pendingParts, joinParts)...); err != nil {
			return err
		}
		if err := g.logMessage(tx, j.g.Epoch()-1, j.record.Message, logOwn); err != nil {
			return err
		}
		return dequeueEpoch(tx, g.id)
	})
	if err != nil {
		return nil, err
	}
	applied.Replayed, _ = g.replayHeld(ctx)
	return applied, nil
}

// forgetJoining drops an external commit of which nothing else is stored.
func (g *Group) forgetJoining(ctx context.Context, drop []string, entry uint64) error {
	defer g.unload()
	return g.c.store.Update(ctx, func(tx store.Writer) error {
		if err := deleteParts(tx, g.name, drop...); err != nil {
			return err
		}
		if err := deleteAll(tx, partKey(g.name, partHeld), partKey(g.name, partLog)); err != nil {
			return err
		}
		if err := tx.Delete(outboxKey(entry)); err != nil {
			return err
		}
		return tx.Delete(headKey(g.name))
	})
}
