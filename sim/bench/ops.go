package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// An operation is something to measure: a task to run, or else a measurement of
// its own kind.
type operation struct {
	name    string
	prepare func(*bed) (*task, error)
	measure func(*bed, context.Context, time.Duration) (Result, error)
}

var operations = []operation{
	{name: "create-update", prepare: (*bed).createUpdate},
	{name: "create-add", prepare: func(b *bed) (*task, error) { return b.createAdd(1) }},
	{name: "create-remove", prepare: (*bed).createRemove},
	{name: "create-add100", prepare: func(b *bed) (*task, error) { return b.createAdd(100) }},
	{name: "process-far", prepare: func(b *bed) (*task, error) { return b.processUpdate(b.far) }},
	{name: "process-near", prepare: func(b *bed) (*task, error) { return b.processUpdate(b.near) }},
	{name: "process-add", prepare: (*bed).processAdd},
	{name: "process-remove", prepare: (*bed).processRemove},
	{name: "join", prepare: (*bed).join},
	{name: "join-apart", prepare: (*bed).joinApart},
	{name: "rejoin", prepare: (*bed).rejoin},
	{name: "external-join", prepare: (*bed).externalJoin},
	{name: "save", prepare: (*bed).save},
	{name: "restore", prepare: (*bed).restore},
	{name: "memory", measure: (*bed).memory},
	{name: "protect", prepare: (*bed).protect},
	{name: "unprotect", prepare: (*bed).unprotect},
	{name: "stream-two", measure: (*bed).streamTwo},
	{name: "merge", prepare: (*bed).merge}, // last: it leaves the epoch
}

// create measures the making of a commit. The path costs a key pair for each
// node and a seal for each node of the copath's resolutions; the leaf and the
// message are signed (RFC 9420, Section 12.4.1). What else is unavoidable, more
// says. (The leaf's own key pair is not counted, to keep to the floor as it is
// published.)
func (b *bed) create(opt group.CommitOptions, more work) (*task, error) {
	c, err := b.commit(opt)
	if err != nil {
		return nil, err
	}
	more.derive += c.path.nodes
	more.seal += c.path.seals
	more.sign += 2
	return &task{
		run:   func() error { _, err := b.committer.Commit(opt); return err },
		work:  more,
		bytes: len(c.message),
	}, nil
}

func (b *bed) createUpdate() (*task, error) { return b.create(group.CommitOptions{}, work{}) }

// createAdd: each key package has two signatures to verify; the Welcome has a
// GroupInfo to sign and a secret to seal to each.
func (b *bed) createAdd(k int) (*task, error) {
	opt, err := b.adding(k)
	if err != nil {
		return nil, err
	}
	return b.create(opt, work{verify: 2 * k, sign: 1, seal: k})
}

func (b *bed) createRemove() (*task, error) {
	return b.create(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(b.spare)}}, work{})
}

// adding are the options of a commit that adds k members.
func (b *bed) adding(k int) (group.CommitOptions, error) {
	opt := group.CommitOptions{TreeApart: true}
	for range k {
		n, err := newNewcomer(b.suite)
		if err != nil {
			return opt, err
		}
		opt.Proposals = append(opt.Proposals, group.AddProposal(n.kp))
	}
	return opt, nil
}

// Commits are processed in turn, unless they are too large to be made often.
const (
	commitsInTurn = 4
	largeCommit   = 1 << 20 // bytes
)

// process measures the processing of a commit up to the staged epoch: the
// signatures of message and leaf are verified, a path secret is opened, and
// the key pairs from there up derived (RFC 9420, Section 12.4.2).
func (b *bed) process(g *group.Group, opt group.CommitOptions, more work) (*task, error) {
	var list []*commit
	for len(list) < commitsInTurn {
		c, err := b.commit(opt)
		if err != nil {
			return nil, err
		}
		if list = append(list, c); len(c.message) > largeCommit {
			break
		}
	}
	more.verify += 2
	more.open++
	more.derive += sharedNodes(list[0].tree, b.committer.OwnLeaf(), g.OwnLeaf())
	next := 0
	return &task{
		run: func() error {
			c := list[next%len(list)]
			next++
			_, err := receive[*group.Staged](g, c.message)
			return err
		},
		work:  more,
		bytes: len(list[0].message),
	}, nil
}

func (b *bed) processUpdate(g *group.Group) (*task, error) {
	return b.process(g, group.CommitOptions{}, work{})
}

// processAdd: the key package has two signatures.
func (b *bed) processAdd() (*task, error) {
	opt, err := b.adding(1)
	if err != nil {
		return nil, err
	}
	return b.process(b.far, opt, work{verify: 2})
}

func (b *bed) processRemove() (*task, error) {
	if b.spare == b.far.OwnLeaf() { // in a group of two; it has nothing to open then
		return nil, fmt.Errorf("%w: process-remove takes three members", errNothing)
	}
	return b.process(b.far, group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(b.spare)}}, work{})
}

// merge measures putting a processed update commit in place. Everybody follows,
// so the group moves on.
func (b *bed) merge() (*task, error) {
	var staged *group.Staged
	return &task{
		refill: func() error {
			own, err := b.committer.Commit(group.CommitOptions{References: [][]byte{}})
			if err != nil {
				return err
			}
			message := own.Message()
			if err := b.committer.Merge(own); err != nil {
				return err
			}
			staged, err = receive[*group.Staged](b.far, message)
			if err != nil || b.near == b.far {
				return err
			}
			near, err := receive[*group.Staged](b.near, message)
			if err != nil {
				return err
			}
			return b.near.Merge(near)
		},
		run: func() error { return b.far.Merge(staged) },
	}, nil
}

// sharedNodes is the number of nodes on the committer's filtered direct path
// that the member at a leaf is below.
func sharedNodes(tree *treekem.Tree, committer, leaf mls.LeafIndex) int {
	n := 0
	for _, x := range tree.FilteredDirectPath(committer) {
		// x covers the leaves whose node indices are within 2^level of it.
		half := uint32(1)<<x.Level() - 1
		if node := uint32(treekem.LeafNodeIndex(leaf)); node >= uint32(x)-half && node <= uint32(x)+half {
			n++
		}
	}
	return n
}

// receive processes a message and checks what it is.
func receive[T group.Received](g *group.Group, message []byte) (T, error) {
	var want T
	received, err := g.Process(message)
	if err != nil {
		return want, err
	}
	got, ok := received.(T)
	if !ok {
		return want, fmt.Errorf("bench: %T where a %T was to come", received, want)
	}
	return got, nil
}
