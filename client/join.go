package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
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
	defer c.startEntering()()
	id, err := c.identity(identity)
	if err != nil {
		return nil, err
	}
	made, err := group.New(c.groupConfig(ctx), id.suite, group.CreateOptions{
		GroupID: opt.GroupID, Identity: id.Identity, Extensions: opt.Extensions,
	})
	if err != nil {
		return nil, err
	}
	return c.enter(ctx, made, entry{may: c.mayCreate})
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

// mayCreate refuses a group that we are in, or joining.
func (c *Client) mayCreate(ctx context.Context, id []byte, _ uint64) error {
	var head headRecord
	err := c.store.View(ctx, func(tx store.Reader) error { return get(tx, headKey(groupName(id)), &head) })
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err == nil && Status(head.Status) != StatusRemoved:
		return ErrGroupExists
	}
	return err
}

// entry is how a group is entered.
type entry struct {
	// outcome is set if it is joined by a Welcome.
	outcome *Joined
	// may is asked once nobody else can change what we have of the group.
	may func(ctx context.Context, id []byte, epoch uint64) error
	// write takes part in the batch. It may be nil.
	write func(tx store.Writer) error
}

// enter stores a group that we have created or joined. What is left of a former
// membership goes. If it fails, the group is destroyed.
func (c *Client) enter(ctx context.Context, made *group.Group, e entry) (g *Group, err error) {
	defer func() {
		if err != nil {
			made.Destroy()
		}
	}()
	if g, err = c.handle(made.ID()); err != nil {
		return nil, err
	}
	var outcome Outcome
	if e.outcome != nil {
		e.outcome.Group, outcome = g, e.outcome
	}
	err = g.replace(ctx, func() error {
		if err := e.may(ctx, made.ID(), made.Epoch()); err != nil {
			return err
		}
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
			// Proposals and commits of the former membership are for epochs that
			// are over.
			if err := dequeue(tx, g.id, anyEpoch); err != nil {
				return err
			}
			if e.write == nil {
				return nil
			}
			return e.write(tx)
		})
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// replace runs f with the group locked, whatever is stored of it. What there is
// to tell the application is told at the end of entering.
func (g *Group) replace(ctx context.Context, f func() error) error {
	if err := g.acquire(ctx); err != nil {
		return err
	}
	defer g.unlock()
	return f()
}

func deleteAll(tx store.Writer, prefixes ...[]byte) error {
	var keys [][]byte
	for _, prefix := range prefixes {
		for e, err := range tx.Scan(prefix) {
			if err != nil && e.Key == nil { // what is damaged goes too
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
//
// A Welcome to an epoch ahead of a group that we are in is an *mls.EpochError:
// the commit that made it may have removed us, too, and is to be processed
// first. While an external commit of ours is pending, a Welcome to the epoch
// that it begins, or a later one, takes its place; one to an epoch before is
// mls.ErrPending. For both mls.Retryable is true: nothing has changed.
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
	defer kp.destroy()
	spend := func(tx store.Writer) error {
		used.Time = c.cfg.Group.Time().Unix()
		if err := put(tx, usedKey, &used); err != nil {
			return err
		}
		return kp.consume(tx)
	}
	known := error(nil)
	made, err := c.follow(ctx, m, kp, opt, func(id []byte, epoch uint64) bool {
		used.Group = bytes.Clone(id)
		known = c.mayFollow(ctx, id, epoch)
		return known != nil
	})
	if known == nil && err == nil {
		outcome := &Joined{}
		if _, known = c.enter(ctx, made, entry{outcome: outcome, may: c.mayFollow, write: spend}); known == nil {
			return outcome, nil
		}
	}
	switch {
	case errors.Is(known, errFollowed):
		// Its one use was to get us where we are.
		if err := c.store.Update(ctx, spend); err != nil {
			return nil, err
		}
		return &AlreadyMember{Group: used.Group}, nil
	case known != nil:
		return nil, known
	}
	return nil, err
}

// errFollowed: a Welcome leads no further than where we are.
var errFollowed = errors.New("client: we are in the group already")

// mayFollow says what keeps us from following a Welcome to an epoch of a group.
//
// One of an epoch still to come may be our next membership: the commit that made
// it may have removed us, too, and be on its way yet. While an external commit of
// ours is pending, a Welcome to the epoch that it begins, or to a later one, is
// proof that it has lost, or that we were removed and added since.
func (c *Client) mayFollow(ctx context.Context, id []byte, epoch uint64) error {
	return c.store.View(ctx, func(tx store.Reader) error {
		var head headRecord
		if err := get(tx, headKey(groupName(id)), &head); errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case Status(head.Status) == StatusActive && epoch <= head.Epoch:
			return errFollowed
		case Status(head.Status) == StatusActive:
			return fmt.Errorf("client: a Welcome to a group that we are in: %w", &mls.EpochError{Got: epoch, Want: head.Epoch})
		case !head.Joining:
			return nil
		}
		next, err := joiningEpoch(tx, groupName(id))
		if err == nil && epoch < next {
			err = fmt.Errorf("client: a Welcome to an epoch before that of our external commit: %w", mls.ErrPending)
		}
		return err
	})
}

// joiningEpoch is the epoch that our pending external commit begins.
func joiningEpoch(tx store.Reader, name string) (uint64, error) {
	var r joinRecord
	err := readState(tx, name, partJoin, &r)
	if err != nil {
		return 0, err
	}
	clear(r.State.State)
	e, err := readEnvelope(r.Message)
	if err != nil {
		return 0, damaged(err)
	}
	return e.epoch + 1, nil
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
// a group of which the state is lost, damaged, or no longer that of the others.
// The commit is pending until Accept, or Discard, after which it can be tried
// again with the next epoch's GroupInfo; until then a state from before stays in
// force, unless it is damaged (store.ErrCorrupt): then it is deleted.
func (c *Client) JoinExternal(ctx context.Context, identity IdentityID, groupInfo []byte, opt ExternalOptions) (*Group, *Outgoing, error) {
	defer c.startEntering()()
	made, commit, err := c.makeExternal(ctx, identity, groupInfo, opt)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.handle(made.ID())
	if err != nil {
		made.Destroy()
		return nil, nil, err
	}
	out := g.outgoing(KindCommit, made.Epoch()-1, commit)
	if err := g.replace(ctx, func() error { return g.writeJoining(ctx, made, out) }); err != nil {
		made.Destroy()
		return nil, nil, err
	}
	return g, out, nil
}

// Rejoin is [Client.JoinExternal] for a group that we are or were in, under the
// same signature key. If our state is damaged, that is the one of our identities
// that the group of the GroupInfo has as a member; ErrUnknownIdentity if there is
// none.
func (g *Group) Rejoin(ctx context.Context, groupInfo []byte, opt ExternalOptions) (*Outgoing, error) {
	m, err := parseGroupInfo(groupInfo)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(m.GroupContext.GroupID, g.id) {
		return nil, mls.ErrWrongGroup
	}
	var id IdentityID
	err = g.with(ctx, func() error {
		current := g.current()
		leaf, ok := current.Member(current.OwnLeaf())
		if !ok {
			return ErrUnknownIdentity
		}
		id = identityID(current.Suite().ID(), leaf.SignatureKey)
		return nil
	})
	if errors.Is(err, store.ErrCorrupt) {
		id, err = g.c.memberOf(m, opt.RatchetTree)
	}
	if err != nil {
		return nil, err
	}
	_, out, err := g.c.JoinExternal(ctx, id, groupInfo, opt)
	return out, err
}

// memberOf finds the identity that the group of a GroupInfo has as a member.
func (c *Client) memberOf(info *framing.GroupInfo, ratchetTree []byte) (IdentityID, error) {
	for _, name := range c.Identities() {
		id, err := c.identity(name)
		if err != nil {
			return "", err
		}
		if id.suite.ID() != info.GroupContext.CipherSuite {
			continue
		}
		if ok, err := isMember(id, info, ratchetTree, c.cfg.Group.Limits.MaxLeaves); ok || err != nil {
			return name, err
		}
	}
	return "", ErrUnknownIdentity
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

// writeJoining stores an external commit that was just made. A state that is
// damaged is as good as none: it goes.
func (g *Group) writeJoining(ctx context.Context, made *group.Group, out *Outgoing) error {
	err := g.load(ctx)
	unusable := errors.Is(err, store.ErrCorrupt)
	if errors.Is(err, ErrUnknownGroup) || unusable {
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
		if unusable {
			if err := deleteAll(tx, partKey(g.name, "")); err != nil {
				return err
			}
			if err := dequeue(tx, g.id, anyEpoch); err != nil {
				return err
			}
		}
		if err := g.c.enqueue(tx, out); err != nil {
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
	if g.g != nil {
		applied.Repeat, applied.Unclear = undone(g.g, j.g)
		// What can't be read now may be read later. Damage, which is a reason to
		// rejoin, is no reason not to.
		if failed := treeFailure(g.g.Err()); failed != nil && !errors.Is(failed, store.ErrCorrupt) {
			g.unload()
			return nil, failed
		}
		defer g.g.Destroy()
	}
	if g.pending != nil {
		g.pending.staged.Destroy()
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
		return dequeue(tx, g.id, anyEpoch)
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
