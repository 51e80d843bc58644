package group

import (
	"bytes"
	"errors"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Staged is a commit, made or received, that waits for the decision: the
// complete next epoch, with the confirmation tag checked. Merge it, or drop it.
// A Staged is not safe for concurrent use.
type Staged struct {
	// base is the epoch it was staged on.
	base *view
	next *view
	// secret is the next epoch's secret half; nil for an observer, and when
	// the commit removes us.
	secret *secrets
	// keeps are private keys of the epoch that an own commit was made in, which
	// the next one may share.
	keeps *treekem.Private
	// removed is set when the commit removes us, merged once it was merged.
	removed, merged bool
	// destroyed is set by Destroy.
	destroyed bool

	committer framing.Sender
	leaf      mls.LeafIndex
	changes   Changes // shared with the message, the group and its proposals

	// consumed is the ratchet key that carried a received commit. It is
	// consumed when the commit is merged.
	consumed *position

	message []byte
	welcome []byte
}

// position is a step on somebody's handshake ratchet.
type position struct {
	leaf       mls.LeafIndex
	generation uint32
}

// Changes is what a commit changes, for the application to inspect.
type Changes struct {
	// Added, Removed and Updated are the members concerned. A committer that
	// sends a path is among the updated, an external joiner among the added,
	// its former self among the removed.
	Added, Removed, Updated []Change
	// ExtensionsReplaced is true when the group context's extensions were
	// replaced, OldExtensions by NewExtensions.
	ExtensionsReplaced           bool
	OldExtensions, NewExtensions []mls.Extension
	// PSKs are the pre-shared keys that were injected, in order.
	PSKs []keyschedule.PreSharedKeyID
	// ReInit is set when the group was shut down in favour of another.
	ReInit *framing.ReInit
	// Path is true when the commit renewed the committer's path.
	Path bool
}

// Change is what happened at one leaf.
type Change struct {
	Leaf mls.LeafIndex
	// Old and New are the leaf node before and after; nil for none.
	Old, New *treekem.LeafNode
}

// Destroy clears the secrets of the next epoch from memory, when an own commit
// is not to be merged. After Merge they are the group's, and stay. The private keys
// that a received commit has led to may be shared with the group, and are left to
// the garbage collector.
func (s *Staged) Destroy() {
	if s.secret == nil || s.merged {
		return
	}
	s.secret.epoch.Destroy()
	s.secret.ratchets.Destroy()
	if s.message != nil { // else it may share the keys of own updates
		s.secret.private.DestroyExcept(s.keeps)
	}
	s.secret, s.destroyed = nil, true
}

// errDestroyed: a Staged is asked for what Destroy has cleared.
var errDestroyed = errors.New("mls: the staged commit was destroyed")

// Message is an own commit, an encoded MLSMessage; nil for a received one.
func (s *Staged) Message() []byte { return bytes.Clone(s.message) }

// Welcome is an encoded MLSMessage for all the members that an own commit
// adds; nil if it adds none. It must not be delivered before the commit is
// accepted (RFC 9420, Section 14).
func (s *Staged) Welcome() []byte { return bytes.Clone(s.welcome) }

// Epoch is the number of the epoch that the commit begins.
func (s *Staged) Epoch() uint64 { return s.base.context.Epoch + 1 }

// Committer is who sent the commit, and the leaf it holds in the new epoch.
func (s *Staged) Committer() (framing.Sender, mls.LeafIndex) { return s.committer, s.leaf }

// Changes is what the commit changes, for the caller to keep.
func (s *Staged) Changes() Changes {
	c := s.changes
	c.Added, c.Removed, c.Updated = cloneChanges(c.Added), cloneChanges(c.Removed), cloneChanges(c.Updated)
	c.OldExtensions, c.NewExtensions = cloneExtensions(c.OldExtensions), cloneExtensions(c.NewExtensions)
	c.PSKs = slices.Clone(c.PSKs)
	for i := range c.PSKs {
		c.PSKs[i] = clonePSKID(c.PSKs[i])
	}
	if c.ReInit != nil {
		c.ReInit = cloneReInit(c.ReInit)
	}
	return c
}

func cloneChanges(list []Change) []Change {
	list = slices.Clone(list)
	for i := range list {
		c := &list[i]
		if c.Old != nil {
			c.Old = c.Old.Clone()
		}
		if c.New != nil {
			c.New = c.New.Clone()
		}
	}
	return list
}

// SelfRemoved tells whether the commit removes us from the group.
func (s *Staged) SelfRemoved() bool { return s.removed }

// Tree is the new epoch's ratchet tree; nil if the commit removes us.
func (s *Staged) Tree() *treekem.Tree {
	if s.next == nil {
		return nil
	}
	return s.next.tree
}

// EpochAuthenticator is that of the new epoch (RFC 9420, Section 8.7); nil for
// an observer, and if the commit removes us.
func (s *Staged) EpochAuthenticator() []byte {
	if s.secret == nil {
		return nil
	}
	return s.secret.epoch.EpochAuthenticator()
}

// GroupInfo describes the new epoch to external joiners, to be published once
// the commit is accepted. Only a member's Staged can sign one.
func (s *Staged) GroupInfo(opt InfoOptions) (*framing.GroupInfo, error) {
	switch {
	case s.destroyed:
		return nil, errDestroyed
	case s.secret == nil:
		return nil, mls.ErrRemoved
	}
	return groupInfo(s.next, s.secret, opt)
}
