package bench

import (
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// An operation is something to measure.
type operation struct {
	name    string
	prepare func(*bed) (*task, error)
}

var operations = []operation{
	{"create-update", (*bed).createUpdate},
	{"create-add", (*bed).createAdd},
	{"create-remove", (*bed).createRemove},
	{"process-far", func(b *bed) (*task, error) { return b.process(b.far) }},
	{"process-near", func(b *bed) (*task, error) { return b.process(b.near) }},
	{"join", (*bed).join},
	{"protect", (*bed).protect},
	{"unprotect", (*bed).unprotect},
}

// create measures the making of a commit. The path costs a key pair for each
// node and a seal for each node of the copath's resolutions; the leaf and the
// message are signed (RFC 9420, Section 12.4.1). What else is unavoidable, more
// says. (The leaf's own key pair is not counted, to keep to the floor as it is
// published.)
func (b *bed) create(opt group.CommitOptions, more work) (*task, error) {
	opt.References = [][]byte{}
	commit := func() (*group.Staged, error) { return b.committer.Commit(opt) }
	staged, err := commit()
	if err != nil {
		return nil, err
	}
	p, err := countPath(staged.Message())
	if err != nil {
		return nil, err
	}
	more.derive += p.nodes
	more.seal += p.seals
	more.sign += 2
	return &task{
		run:   func() error { _, err := commit(); return err },
		work:  more,
		bytes: len(staged.Message()),
	}, nil
}

func (b *bed) createUpdate() (*task, error) { return b.create(group.CommitOptions{}, work{}) }

// createAdd: the key package has two signatures to verify, the Welcome a
// GroupInfo to sign and a secret to seal.
func (b *bed) createAdd() (*task, error) {
	kp, _, err := newKeyPackage(b.suite)
	if err != nil {
		return nil, err
	}
	return b.create(group.CommitOptions{
		Proposals: []framing.Proposal{group.AddProposal(kp)}, TreeApart: true,
	}, work{verify: 2, sign: 1, seal: 1})
}

func (b *bed) createRemove() (*task, error) {
	return b.create(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(b.spare)}}, work{})
}

// updateCommits are how many commits are processed in turn.
const updateCommits = 4

// process measures the processing of an update commit up to the staged epoch:
// the signatures of message and leaf are verified, a path secret is opened, and
// the key pairs from there up derived (RFC 9420, Section 12.4.2).
func (b *bed) process(g *group.Group) (*task, error) {
	for len(b.updates) < updateCommits {
		staged, err := b.committer.Commit(group.CommitOptions{})
		if err != nil {
			return nil, err
		}
		p, err := countPath(staged.Message())
		if err != nil {
			return nil, err
		}
		b.updates = append(b.updates, update{staged.Message(), p})
	}
	derive := b.sharedNodes(b.committer.Tree(), g.OwnLeaf())
	next := 0
	return &task{
		run: func() error {
			u := b.updates[next%updateCommits]
			next++
			received, err := g.Process(u.message)
			if err != nil {
				return err
			}
			if _, ok := received.(*group.Staged); !ok {
				return fmt.Errorf("bench: a commit taken for %T", received)
			}
			return nil
		},
		work:  work{verify: 2, open: 1, derive: derive},
		bytes: len(b.updates[0].message),
	}, nil
}

// sharedNodes is the number of nodes on the committer's filtered direct path
// that the member at a leaf is below.
func (b *bed) sharedNodes(tree *treekem.Tree, leaf mls.LeafIndex) int {
	n := 0
	for _, x := range tree.FilteredDirectPath(b.committer.OwnLeaf()) {
		// x covers the leaves whose node indices are within 2^level of it.
		half := uint32(1)<<x.Level() - 1
		if node := uint32(treekem.LeafNodeIndex(leaf)); node >= uint32(x)-half && node <= uint32(x)+half {
			n++
		}
	}
	return n
}

// join measures joining with everything that a joiner verifies: the signatures
// of all leaves but its own and of the GroupInfo; then the group secrets are
// opened and the path above the joiner is derived (RFC 9420, Section 12.4.3.1).
func (b *bed) join() (*task, error) {
	kp, private, err := newKeyPackage(b.suite)
	if err != nil {
		return nil, err
	}
	staged, err := b.committer.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}, References: [][]byte{}})
	if err != nil {
		return nil, err
	}
	welcome := staged.Welcome()
	members := b.committer.Tree().Members()
	derive := b.sharedNodes(staged.Tree(), staged.Changes().Added[0].Leaf)
	return &task{
		run: func() error {
			m, err := framing.Parse(welcome)
			if err != nil {
				return err
			}
			_, err = group.Join(config(), m.Welcome, kp, private, group.JoinOptions{})
			return err
		},
		work:  work{verify: members + 1, open: 1, derive: derive},
		bytes: len(welcome),
	}, nil
}

func (b *bed) protect() (*task, error) {
	data := make([]byte, messageSize)
	message, err := b.committer.Protect(data, nil)
	if err != nil {
		return nil, err
	}
	return &task{
		run:   func() error { _, err := b.committer.Protect(data, nil); return err },
		work:  work{sign: 1, aeadSeal: 1},
		bytes: len(message),
	}, nil
}

func (b *bed) unprotect() (*task, error) {
	data := make([]byte, messageSize)
	message, err := b.committer.Protect(data, nil)
	if err != nil {
		return nil, err
	}
	var queue [][]byte
	return &task{
		// A message can be read once, so each run needs another.
		refill: func() error {
			message, err := b.committer.Protect(data, nil)
			queue = append(queue[:0], message)
			return err
		},
		run: func() error {
			received, err := b.far.Process(queue[0])
			if err != nil {
				return err
			}
			if _, ok := received.(*group.Application); !ok {
				return errors.New("bench: no application message")
			}
			return nil
		},
		work:  work{verify: 1, aeadOpen: 1},
		bytes: len(message),
	}, nil
}
