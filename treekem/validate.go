package treekem

import (
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
)

// ValidateOptions says how strictly [Tree.Validate] is to look at leaves.
type ValidateOptions struct {
	// Now is the time that lifetimes of key packages are held against.
	Now time.Time
	// AllowExpired accepts leaves from key packages outside their lifetime: RFC
	// 9420, Section 7.3 only recommends that a receiver refuse them.
	AllowExpired bool
	// Verified, if it is not nil, is asked which signatures were verified
	// before, and told of those that are verified now.
	Verified *VerifiedLeaves
}

// Validate checks a tree as somebody who joins its group must (RFC 9420,
// Section 12.4.3.1): every leaf node is valid and signed for its place, the
// members support each other's credentials, and every parent key was set by a
// member below it. That the tree hash is the group's, and that credentials are
// genuine, is for the caller to check. Of several errors it returns the one
// that is leftmost in the tree, leaves first.
func (t *Tree) Validate(groupID []byte, opt ValidateOptions) error {
	if err := t.validateLeaves(groupID, opt); err != nil {
		return t.sure(err)
	}
	if err := t.checkAgreement(nil); err != nil {
		return err
	}
	return t.sure(t.validateParents())
}

// leafChunk is how many leaves a worker takes at a time: verifying one takes
// tens of microseconds.
const leafChunk = 8

func (t *Tree) validateLeaves(groupID []byte, opt ValidateOptions) error {
	type entry struct {
		i   mls.LeafIndex
		raw string
		key verifiedLeaf
	}
	nh := t.suite.HashSize()
	group := verifiedGroup(t.suite, groupID)
	leaves := make([]entry, 0, t.Members())
	for i, n := range t.leafNodes() {
		e := entry{i: i, raw: n.raw(nh), key: verifiedLeaf{group: group}}
		copy(e.key.leaf[:], n.data[:nh])
		leaves = append(leaves, e)
	}
	err := parallel.Workers(len(leaves), leafChunk, func() func(int) error {
		var scratch, encoded []byte
		leaf := new(LeafNode)
		return func(k int) error {
			e := &leaves[k]
			encoded = append(encoded[:0], e.raw...)
			leaf.fromTree(encoded)
			if err := leaf.Check(t.suite, opt.Now, opt.AllowExpired); err != nil {
				return t.at(e.i, err)
			}
			if opt.Verified.has(e.key) {
				return nil
			}
			v := viewLeaf(e.raw)
			b := wire.NewBuilder(append(scratch[:0], v.tbs...))
			appendLeafContext(b, leaf.Source, groupID, e.i)
			var err error
			if scratch, err = b.Bytes(); err != nil {
				return err
			}
			return t.at(e.i, verifyLeaf(t.suite, leaf.SignatureKey, scratch, leaf.Signature))
		}
	})
	if err != nil {
		return err
	}
	for k := range leaves {
		opt.Verified.add(leaves[k].key)
	}
	return nil
}

// validateParents checks the parents' keys and their parent hashes.
func (t *Tree) validateParents() error {
	raws := make([]string, 0, t.Members())
	t.eachNode(func(x NodeIndex, raw string) {
		if !x.IsLeaf() {
			raws = append(raws, raw)
		}
	})
	err := parallel.Each(len(raws), 64, func(k int) error {
		return t.suite.ValidatePublicKey(mls.HPKEPublicKey(encryptionKeyIn(raws[k])))
	})
	if err != nil {
		return err
	}
	return t.VerifyParentHashes()
}

// checkAgreement checks that every member supports all credential types in use
// (RFC 9420, Section 7.3). It costs nothing unless it fails: then the culprit
// is looked for among the leaves that have changed, or among all if changed is
// nil.
func (t *Tree) checkAgreement(changed []mls.LeafIndex) error {
	all := t.EveryMember()
	if all.agrees() {
		return nil
	}
	if changed == nil {
		for i := range t.leafNodes() {
			changed = append(changed, i)
		}
	}
	for _, i := range changed {
		own := t.supportAt(i)
		if !own.set().credentials.hasAll(all.set().credentialsUsed) {
			// RFC 9420, Section 7.3: a leaf supports all credential types that
			// other members use.
			return t.sure(mls.InvalidAt(t.culprit(i), "7.3", "credentials-in-use",
				"leaf %d does not support all credential types in use", i))
		}
	}
	for _, i := range changed {
		own := t.supportAt(i)
		if !all.set().credentials.hasAll(own.set().credentialsUsed) {
			// RFC 9420, Section 7.3: a leaf's credential type is supported by
			// all members.
			return t.sure(mls.InvalidAt(t.culprit(i), "7.3", "credential-type-unsupported",
				"leaf %d uses a credential type that not all members support", i))
		}
	}
	return t.impossible("members disagree on credential types without a culprit")
}

// supportAt returns the support of the member at leaf i.
func (t *Tree) supportAt(i mls.LeafIndex) Support {
	if n := t.nodeAt(LeafNodeIndex(i)); n != nil {
		return n.support
	}
	return Support{}
}

// CheckRequired checks that every member supports what a required_capabilities
// extension lists (RFC 9420, Section 11.1), in constant time unless it fails.
// The error names the leftmost member that does not.
func (t *Tree) CheckRequired(req RequiredCapabilities) error {
	if t.EveryMember().satisfies(&req) {
		return nil
	}
	for i, n := range t.leafNodes() {
		if !n.support.satisfies(&req) {
			// RFC 9420, Section 11.1: all members support what is required.
			return t.sure(mls.InvalidAt(t.culprit(i), "11.1", "required-capabilities",
				"leaf %d does not support all required capabilities", i))
		}
	}
	return t.impossible("required capabilities unsupported without a culprit")
}

// satisfies reports whether every member supports what is required. Default
// types need not be listed to be supported.
func (s Support) satisfies(req *RequiredCapabilities) bool {
	lacks := func(t mls.ExtensionType) bool { return !s.SupportsExtension(t) }
	lacksProposal := func(t mls.ProposalType) bool { return !s.SupportsProposal(t) }
	lacksCredential := func(t mls.CredentialType) bool { return !s.SupportsCredential(t) }
	return !slices.ContainsFunc(req.Extensions, lacks) &&
		!slices.ContainsFunc(req.Proposals, lacksProposal) &&
		!slices.ContainsFunc(req.Credentials, lacksCredential)
}
