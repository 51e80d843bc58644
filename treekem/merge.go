package treekem

import (
	"time"

	"github.com/treekem/mls"
)

// MergePath checks a member's update path against the tree that the commit's
// proposals have led to, and returns the tree with the path merged (RFC 9420,
// Sections 7.5, 7.9.2 and 12.4.2): all that can be done without secrets. added
// are the leaves that the same commit adds.
func (t *Tree) MergePath(sender mls.LeafIndex, p *UpdatePath, groupID []byte, added []mls.LeafIndex) (*Tree, error) {
	old := t.leafAt(sender)
	if err := t.Err(); err != nil {
		return nil, err
	}
	if old == "" {
		// RFC 9420, Section 12.4.2: a path replaces the committer's leaf.
		return nil, mls.InvalidAt(mls.Culprit{Leaf: &sender}, "12.4.2", "path-sender",
			"update path from leaf %d, which is blank", sender)
	}
	if encryptionKeyIn(old) == string(p.LeafNode.EncryptionKey) {
		// RFC 9420, Section 12.4.2: the encryption_key differs from that of the
		// committer's current leaf node.
		return nil, mls.InvalidAt(t.culprit(sender), "12.4.2", "path-same-leaf-key",
			"update path that keeps the committer's encryption key")
	}
	next, err := t.mergePath(sender, p, groupID, added)
	if err != nil {
		return nil, t.sure(t.at(sender, err))
	}
	return next, nil
}

// MergeExternalPath is MergePath for the path of an external commit, whose
// sender joins in the leftmost blank leaf (RFC 9420, Section 12.4.3.2). It
// returns that leaf too.
func (t *Tree) MergeExternalPath(p *UpdatePath, groupID []byte) (*Tree, mls.LeafIndex, error) {
	extended, i, err := t.withBlank()
	if err != nil {
		return nil, 0, err
	}
	next, err := extended.mergePath(i, p, groupID, nil)
	if rule, ok := err.(*mls.RuleError); ok && rule.Culprit == nil {
		rule.Culprit = &mls.Culprit{Identity: p.LeafNode.Credential.String()}
	}
	if err := t.sure(err); err != nil {
		return nil, 0, err
	}
	return next, i, nil
}

func (t *Tree) mergePath(i mls.LeafIndex, p *UpdatePath, groupID []byte, added []mls.LeafIndex) (*Tree, error) {
	leaf := &p.LeafNode
	if leaf.Source != SourceCommit {
		// RFC 9420, Section 7.3: the leaf of an UpdatePath has source commit.
		return nil, mls.Invalid("7.3", "path-source", "leaf node of an update path with source %v", leaf.Source)
	}
	if err := leaf.Check(t.suite, time.Time{}, true); err != nil {
		return nil, err
	}
	if err := leaf.VerifySignature(t.suite, groupID, i); err != nil {
		return nil, err
	}
	steps := t.steps(i)
	keys, err := t.checkPathNodes(steps, p, added)
	if err != nil {
		return nil, err
	}
	m := t.newMerge(i, steps, keys)
	if m.leafParentHash != string(leaf.ParentHash) {
		// RFC 9420, Section 7.9.2: the leaf's parent_hash is the one that is
		// recomputed.
		return nil, mls.Invalid("7.9.2", "path-parent-hash", "update path whose leaf has another parent hash")
	}
	return m.apply(leaf)
}

// checkPathNodes checks the parent nodes of an update path, given the steps of
// its leaf's direct path, and returns their keys.
func (t *Tree) checkPathNodes(steps []step, p *UpdatePath, added []mls.LeafIndex) ([]mls.HPKEPublicKey, error) {
	fresh, filtered := newLeafSet(added), countFiltered(steps)
	if len(p.Nodes) != filtered {
		// RFC 9420, Section 7.6: a node for each of the filtered direct path.
		return nil, mls.Invalid("7.6", "path-length", "update path of %d nodes for a filtered direct path of %d", len(p.Nodes), filtered)
	}
	keys := make([]mls.HPKEPublicKey, 0, filtered)
	for k := range steps {
		s := &steps[k]
		if !s.filtered() {
			continue
		}
		n := &p.Nodes[len(keys)]
		// A new leaf is unmerged at every node above it, so it is in each
		// resolution that covers it.
		want := int(s.sibling.resolutionSize()) - fresh.countBelow(s.copath)
		if len(n.EncryptedPathSecret) != want {
			// RFC 9420, Section 7.6: a ciphertext for each node of the
			// resolution, but for new leaves.
			return nil, mls.Invalid("7.6", "path-ciphertexts",
				"update path with %d ciphertexts for a resolution of %d", len(n.EncryptedPathSecret), want)
		}
		if err := t.suite.ValidatePublicKey(n.EncryptionKey); err != nil {
			return nil, err
		}
		keys = append(keys, n.EncryptionKey)
	}
	return keys, nil
}
