package client

import (
	"context"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// nodeKey is the key of a record of a group's tree.
func nodeKey(name string, record []byte) []byte { return append(partKey(name, partNodes), record...) }

// readTree reads a record of the group's tree as it is stored. It must not be
// called while a batch is written: all that a batch needs of the tree is
// computed before.
func (g *Group) readTree(record []byte) ([]byte, error) {
	var value []byte
	err := g.c.store.View(context.Background(), func(tx store.Reader) (err error) {
		value, err = getIfThere(tx, nodeKey(g.name, record))
		return err
	})
	return value, err
}

// getIfThere is getRaw, with nil for what is not there.
func getIfThere(tx store.Reader, key []byte) ([]byte, error) {
	value, err := getRaw(tx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// restoreTree opens the group's tree, or parses it if it is stored whole.
func (g *Group) restoreTree(id mls.CipherSuite, whole []byte) (*treekem.Tree, error) {
	if whole != nil {
		return g.c.parseTree(id, whole)
	}
	stored, err := openTree(id, g.readTree)
	if err != nil {
		return nil, err
	}
	g.stored = stored
	return stored.Tree(), nil
}

// restorePendingTree is restoreTree for the tree of the pending commit.
func (g *Group) restorePendingTree(id mls.CipherSuite, p *parts) (*treekem.Tree, error) {
	if p.pendingTree != nil {
		return g.c.parseTree(id, p.pendingTree)
	}
	stored, _, err := g.openPending(id, p.pendingDiff)
	if err != nil {
		return nil, err
	}
	return stored.Tree(), nil
}

// openPending opens the tree of a pending commit, from what it changes.
func (g *Group) openPending(id mls.CipherSuite, saved []byte) (*treekem.Stored, *treekem.TreeChanges, error) {
	diff, err := treekem.RestoreTreeChanges(saved)
	if err != nil {
		return nil, nil, damaged(err)
	}
	stored, err := openTree(id, diff.Over(g.readTree))
	return stored, diff, err
}

func openTree(id mls.CipherSuite, read treekem.TreeReader) (*treekem.Stored, error) {
	suite, err := mls.LookupSuite(id)
	if err != nil {
		return nil, damaged(err)
	}
	stored, err := treekem.OpenTree(suite, read)
	return stored, treeFailure(err)
}

// treeFailure marks damage of a tree. Other errors are the store's.
func treeFailure(err error) error {
	if errors.Is(err, mls.ErrMalformed) || errors.Is(err, mls.ErrUnsupported) {
		return damaged(err)
	}
	return err
}

// treeErr tells whether all that was needed of the trees could be read: if not,
// nothing that was computed since counts.
func (g *Group) treeErr() error {
	for _, of := range []*group.Group{g.g, g.joiningGroup()} {
		if of != nil && of.Err() != nil {
			return treeFailure(of.Err())
		}
	}
	if g.pending != nil {
		return treeFailure(g.pending.staged.Tree().Err())
	}
	return nil
}

func (g *Group) joiningGroup() *group.Group {
	if g.joining == nil {
		return nil
	}
	return g.joining.g
}

// A laidTree is a tree laid out for the store, with what a batch has to write.
type laidTree struct {
	stored  *treekem.Stored
	changes *treekem.TreeChanges
	// whole is set if it takes the place of whatever there is.
	whole bool
}

// layTree lays the group's tree out, unless the store has it.
func (g *Group) layTree() (err error) {
	tree := g.g.Tree()
	if latest := g.latestTree(); latest != nil && latest.Tree() == tree {
		return nil
	}
	laid := &laidTree{whole: g.stored == nil}
	if laid.whole {
		laid.stored, laid.changes, err = treekem.StoreTree(tree)
	} else {
		laid.stored, laid.changes, err = g.stored.Store(tree)
	}
	if err != nil {
		return treeFailure(err)
	}
	g.laid = laid
	return nil
}

// latestTree is the tree that the store has, or has after the next batch; nil for
// none.
func (g *Group) latestTree() *treekem.Stored {
	if g.laid != nil {
		return g.laid.stored
	}
	return g.stored
}

// pendingDiff is what a commit of ours changes of the tree that the store has, or
// has after the next batch.
func (g *Group) pendingDiff(next *treekem.Tree) ([]byte, error) {
	if err := g.layTree(); err != nil {
		return nil, err
	}
	_, changes, err := g.latestTree().Store(next)
	if err != nil {
		return nil, treeFailure(err)
	}
	return changes.MarshalState()
}

// write writes the tree. A nil laidTree writes nothing.
func (l *laidTree) write(tx store.Writer, name string) error {
	if l == nil {
		return nil
	}
	if l.whole {
		if err := deleteAll(tx, partKey(name, partNodes)); err != nil {
			return err
		}
		if err := deleteParts(tx, name, partTree); err != nil {
			return err
		}
	}
	for _, record := range l.changes.Delete {
		if err := tx.Delete(nodeKey(name, record)); err != nil {
			return err
		}
	}
	for _, r := range l.changes.Put {
		if err := putRaw(tx, nodeKey(name, r.Name), r.Value); err != nil {
			return err
		}
	}
	return nil
}
