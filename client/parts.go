package client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/treekem/mls/store"
	"github.com/treekem/mls/treekem"
)

// A saved state is mostly its tree, which changes with the epoch only. The tree
// is kept in a record of its own, so that a message writes what it changes.

// cut takes the tree out of a saved state.
func cut(saved []byte, tree *treekem.Tree) (*stateRecord, []byte, error) {
	encoded, err := tree.Bytes()
	if err != nil {
		return nil, nil, err
	}
	at := bytes.Index(saved, encoded)
	if at < 0 {
		return nil, nil, errors.New("client: internal error: a saved state without its tree")
	}
	rest := make([]byte, 0, len(saved)-len(encoded))
	rest = append(append(rest, saved[:at]...), saved[at+len(encoded):]...)
	sum := sha256.Sum256(encoded)
	return &stateRecord{State: rest, TreeAt: uint64(at), TreeSum: sum[:]}, encoded, nil
}

// join is the inverse of cut.
func (r *stateRecord) join(tree []byte) ([]byte, error) {
	if sum := sha256.Sum256(tree); !bytes.Equal(sum[:], r.TreeSum) || r.TreeAt > uint64(len(r.State)) {
		return nil, fmt.Errorf("%w: the tree is not that of the group's state", store.ErrRolledBack)
	}
	saved := make([]byte, 0, len(r.State)+len(tree))
	saved = append(append(saved, r.State[:r.TreeAt]...), tree...)
	return append(saved, r.State[r.TreeAt:]...), nil
}
