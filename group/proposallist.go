package group

import (
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// regular validates the list of a commit by a member (RFC 9420, Section 12.2).
func (k *checker) regular(list []*proposal, committer mls.LeafIndex) error {
	seen := listState{touched: make(map[mls.LeafIndex]mls.ProposalType)}
	k.verifyAdds(list)
	for i, p := range list {
		if err := seen.add(p, i, committer); err != nil {
			return err
		}
		if k.unchecked(p) {
			if err := k.one(p, i); err != nil {
				return err
			}
		}
	}
	if seen.reinit && len(list) > 1 {
		return mls.Invalid("12.2", "reinit-with-others", "a ReInit among %d proposals", len(list))
	}
	return k.adds(list, seen.touched)
}

// unchecked tells whether a proposal of a list is still to be validated by
// itself: those that were received were, but not as what we send.
func (k *checker) unchecked(p *proposal) bool { return p.ref == nil || k.own }

// verifyAdds verifies the key packages of a list on all cores, up to the first
// one that fails: whoever reads the list in order gets no further.
func (k *checker) verifyAdds(list []*proposal) {
	var kps []*treekem.KeyPackage
	for _, p := range list {
		if p.body.Type == mls.ProposalAdd && k.unchecked(p) {
			kps = append(kps, &p.body.Add.KeyPackage)
		}
	}
	if len(kps) < 2 {
		return
	}
	errs := make([]error, len(kps))
	_ = parallel.Each(len(kps), 1, func(i int) error {
		errs[i] = kps[i].Verify(k.suite, k.now, k.allowExpired())
		return errs[i]
	})
	k.verified = make(map[*treekem.KeyPackage]error, len(kps))
	for i, kp := range kps {
		k.verified[kp] = errs[i]
		if errs[i] != nil {
			return
		}
	}
}

// listState is what Section 12.2 has to remember while it reads a list.
type listState struct {
	touched    map[mls.LeafIndex]mls.ProposalType
	psks       map[string]bool
	extensions bool
	reinit     bool
}

func (s *listState) add(p *proposal, i int, committer mls.LeafIndex) error {
	switch p.body.Type {
	case mls.ProposalUpdate:
		if p.ref == nil || p.sender.Leaf == committer {
			return mls.InvalidAt(at(i), "12.2", "committer-update", "an update by the committer itself")
		}
		return s.touch(p.sender.Leaf, mls.ProposalUpdate, i)
	case mls.ProposalRemove:
		if p.body.Remove.Removed == committer {
			return mls.InvalidAt(at(i), "12.2", "committer-removed", "the committer removes itself")
		}
		return s.touch(p.body.Remove.Removed, mls.ProposalRemove, i)
	case mls.ProposalPSK:
		return s.psk(&p.body.PreSharedKey.PSK, i)
	case mls.ProposalGroupContextExtensions:
		if s.extensions {
			return mls.InvalidAt(at(i), "12.2", "multiple-group-context-extensions", "a second group_context_extensions")
		}
		s.extensions = true
	case mls.ProposalReInit:
		s.reinit = true
	case mls.ProposalExternalInit:
		return mls.InvalidAt(at(i), "12.2", "external-init", "external_init in a member's commit")
	}
	return nil
}

func (s *listState) touch(leaf mls.LeafIndex, by mls.ProposalType, i int) error {
	before, twice := s.touched[leaf]
	s.touched[leaf] = by
	if !twice {
		return nil
	}
	who := mls.Culprit{Leaf: &leaf, Proposal: &i}
	switch {
	case before != by:
		return mls.InvalidAt(who, "12.2", "update-and-remove-same-leaf", "an update and a remove of leaf %d", leaf)
	case by == mls.ProposalUpdate:
		return mls.InvalidAt(who, "12.2", "multiple-updates-same-leaf", "two updates of leaf %d", leaf)
	default:
		return mls.InvalidAt(who, "12.2", "multiple-removes-same-leaf", "two removes of leaf %d", leaf)
	}
}

func (s *listState) psk(id *keyschedule.PreSharedKeyID, i int) error {
	encoded, err := wire.Marshal(id)
	if err != nil {
		return err
	}
	if s.psks == nil {
		s.psks = make(map[string]bool)
	}
	if s.psks[string(encoded)] {
		return mls.InvalidAt(at(i), "12.2", "duplicate-psk", "the same PreSharedKeyID twice")
	}
	s.psks[string(encoded)] = true
	return nil
}

// adds refuses to add one client twice, or a client that is a member already
// and stays one.
func (k *checker) adds(list []*proposal, touched map[mls.LeafIndex]mls.ProposalType) error {
	keys := make(map[string]bool)
	var added []*treekem.LeafNode
	for i, p := range list {
		if p.body.Type != mls.ProposalAdd {
			continue
		}
		leaf := &p.body.Add.KeyPackage.LeafNode
		who := at(i)
		who.Identity = leaf.Credential.String()
		if keys[string(leaf.SignatureKey)] || k.contains(added, leaf) {
			return mls.InvalidAt(who, "12.2", "duplicate-add", "a client is added twice")
		}
		keys[string(leaf.SignatureKey)] = true
		if at, ok := k.memberLike(leaf); ok && touched[at] != mls.ProposalRemove {
			who.Leaf = &at
			return mls.InvalidAt(who, "12.2", "add-existing-member", "the client is the member at leaf %d already", at)
		}
		if k.cfg.SameClient != nil {
			added = append(added, leaf)
		}
	}
	return nil
}

func (k *checker) contains(added []*treekem.LeafNode, leaf *treekem.LeafNode) bool {
	return slices.ContainsFunc(added, func(other *treekem.LeafNode) bool { return k.cfg.SameClient(other, leaf) })
}

// memberLike finds the member that is the same client as leaf.
func (k *checker) memberLike(leaf *treekem.LeafNode) (mls.LeafIndex, bool) {
	if at, ok := k.tree.FindSignatureKey(leaf.SignatureKey); ok {
		return at, true
	}
	if k.cfg.SameClient == nil {
		return 0, false
	}
	for at, member := range k.tree.Leaves() {
		if k.cfg.SameClient(member, leaf) {
			return at, true
		}
	}
	return 0, false
}

// external validates the list of an external commit (RFC 9420, Section 12.2):
// a list of what may be there, not of what may not.
func (k *checker) external(list []*proposal) error {
	inits, removes := 0, 0
	var seen listState
	for i, p := range list {
		var err error
		switch p.body.Type {
		case mls.ProposalExternalInit:
			inits++
		case mls.ProposalRemove:
			removes++
			err = k.remove(p.body.Remove.Removed, i)
		case mls.ProposalPSK:
			if err = k.psk(&p.body.PreSharedKey.PSK, i); err == nil {
				err = seen.psk(&p.body.PreSharedKey.PSK, i)
			}
		default:
			err = mls.InvalidAt(at(i), "12.2", "external-commit-proposal-type", "%v in an external commit", p.body.Type)
		}
		if err != nil {
			return err
		}
	}
	if inits != 1 {
		return mls.Invalid("12.2", "external-commit-external-init", "%d external_init in an external commit: there must be one", inits)
	}
	if removes > 1 {
		return mls.Invalid("12.2", "external-commit-multiple-removes", "%d removes in an external commit", removes)
	}
	return nil
}

// needsPath tells whether a commit of the list must carry a path (RFC 9420,
// Section 12.4).
func needsPath(list []*proposal) bool {
	for _, p := range list {
		switch p.body.Type {
		case mls.ProposalAdd, mls.ProposalPSK, mls.ProposalReInit:
		default:
			return true
		}
	}
	return len(list) == 0
}
