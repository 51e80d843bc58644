package conformance

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/treekem"
)

// vectorLifetime is for how long key packages in vectors are valid. It bounds
// nothing: whoever runs vectors accepts leaves that have expired.
const vectorLifetime = 90 * 24 * time.Hour

// keyPackage returns a key package of a client with a random name.
func (g *generator) keyPackage(signer mls.Signer) (*treekem.KeyPackage, *treekem.KeyPackagePrivate) {
	kp, private, err := treekem.NewKeyPackage(g.suite, treekem.KeyPackageOptions{
		Credential: g.credential(),
		Signer:     signer,
		Lifetime:   treekem.LifetimeFrom(time.Now(), vectorLifetime),
	})
	try(err)
	return kp, private
}

func (g *generator) credential() treekem.Credential {
	return treekem.BasicCredential(fmt.Appendf(nil, "client-%x", g.bytes(4)))
}

// A grower grows a ratchet tree by commits, and knows everybody's secrets.
type grower struct {
	*generator
	groupID digits
	tree    *treekem.Tree
	signers map[mls.LeafIndex]*mls.SignaturePrivateKey
	private map[mls.LeafIndex]*treekem.Private // only the leaf keys are kept up to date
	secrets map[treekem.NodeIndex]digits       // path secrets
}

// grow returns the tree of a group that one member began and n-1 times the
// last one to come added another (get_tree in the working group's FORMAT.md).
func (g *generator) grow(n int) *grower {
	w := &grower{
		generator: g,
		groupID:   g.bytes(16),
		signers:   make(map[mls.LeafIndex]*mls.SignaturePrivateKey),
		private:   make(map[mls.LeafIndex]*treekem.Private),
		secrets:   make(map[treekem.NodeIndex]digits),
	}
	signer := must(g.suite.GenerateSigner())
	kp, private := g.keyPackage(signer)
	w.tree = must(treekem.NewTree(g.suite, &kp.LeafNode))
	w.signers[0], w.private[0] = signer, treekem.NewPrivate(g.suite, 0, private.LeafKey)
	for i := range n - 1 {
		w.add()
		w.commit(mls.LeafIndex(i))
	}
	return w
}

// add adds a member without a path.
func (w *grower) add() mls.LeafIndex {
	signer := must(w.suite.GenerateSigner())
	kp, private := w.keyPackage(signer)
	edit := w.tree.Edit()
	leaf := must(edit.Add(&kp.LeafNode))
	w.tree = must(edit.Done())
	w.signers[leaf], w.private[leaf] = signer, treekem.NewPrivate(w.suite, leaf, private.LeafKey)
	return leaf
}

func (w *grower) remove(leaves ...mls.LeafIndex) {
	edit := w.tree.Edit()
	for _, leaf := range leaves {
		try(edit.Remove(leaf))
	}
	w.tree = must(edit.Done())
}

func (w *grower) path(leaf mls.LeafIndex) *treekem.Path {
	tmpl, _ := w.tree.Leaf(leaf)
	return must(w.tree.NewPath(leaf, tmpl, w.signers[leaf], w.groupID))
}

// commit has a member renew its path.
func (w *grower) commit(leaf mls.LeafIndex) {
	path := w.path(leaf)
	w.tree, w.private[leaf] = path.Tree(), path.Private()
	for member := range w.tree.Leaves() {
		if secret, ok := path.PathSecretFor(member); ok {
			w.secrets[commonAncestor(leaf, member)] = reveal(secret)
		}
	}
}

// commonAncestor returns the lowest node above two leaves.
func commonAncestor(a, b mls.LeafIndex) treekem.NodeIndex {
	level := bits.Len32(uint32(a ^ b))
	return treekem.NodeIndex(a>>level<<level)*2 + 1<<level - 1
}

func (w *grower) encoded() digits { return must(w.tree.Bytes()) }

func generateTreeOperations(g *generator) {
	operation := func(w *grower, sender mls.LeafIndex, p framing.Proposal, apply func(*treekem.Editor) error) {
		edit := w.tree.Edit()
		try(apply(edit))
		after := must(edit.Done())
		g.add(object{
			"tree_before": w.encoded(), "tree_hash_before": digits(w.tree.Hash()),
			"proposal": encode(&p), "proposal_sender": sender,
			"tree_after": digits(must(after.Bytes())), "tree_hash_after": digits(after.Hash()),
		})
	}
	add := func(w *grower) {
		kp, _ := g.keyPackage(must(g.suite.GenerateSigner()))
		p := framing.Proposal{Type: mls.ProposalAdd, Add: &framing.Add{KeyPackage: *kp}}
		operation(w, 0, p, func(e *treekem.Editor) error {
			_, err := e.Add(&kp.LeafNode)
			return err
		})
	}
	remove := func(w *grower, leaf mls.LeafIndex) {
		p := framing.Proposal{Type: mls.ProposalRemove, Remove: &framing.Remove{Removed: leaf}}
		operation(w, 0, p, func(e *treekem.Editor) error { return e.Remove(leaf) })
	}
	w := g.grow(3)
	w.remove(1)
	add(w) // in the place of another
	w = g.grow(4)
	add(w) // in a wider tree
	w.update(2, operation)
	w.add()
	remove(w, 1)
	remove(w, 4) // in a narrower tree
}

// update proposes an Update of a member.
func (w *grower) update(leaf mls.LeafIndex, operation func(*grower, mls.LeafIndex, framing.Proposal, func(*treekem.Editor) error)) {
	node, _ := w.tree.Leaf(leaf)
	node.EncryptionKey, node.Source = must(w.suite.GenerateKeyPair()).Public(), treekem.SourceUpdate
	node.ParentHash = nil
	try(node.Sign(w.suite, w.signers[leaf], w.groupID, leaf))
	p := framing.Proposal{Type: mls.ProposalUpdate, Update: &framing.Update{LeafNode: *node}}
	operation(w, leaf, p, func(e *treekem.Editor) error { return e.Update(leaf, node) })
}

// shapes returns the trees that the kinds tree-validation and treekem are
// about: full, with blanks inside that parent hashes
// skip, and with unmerged leaves.
func (g *generator) shapes() []*grower {
	blanks := g.grow(8)
	blanks.remove(1, 2, 3)
	blanks.commit(0)
	unmerged := g.grow(6)
	unmerged.add()
	return []*grower{g.grow(2), blanks, unmerged}
}

func generateTreeValidation(g *generator) {
	for _, w := range g.shapes() {
		var hashes []digits
		var resolutions [][]treekem.NodeIndex
		for i := range treekem.NodeWidth(w.tree.Width()) {
			x := treekem.NodeIndex(i)
			hashes = append(hashes, w.tree.NodeHash(x))
			resolutions = append(resolutions, append([]treekem.NodeIndex{}, w.tree.Resolution(x)...))
		}
		g.add(object{
			"tree": w.encoded(), "group_id": w.groupID, "tree_hashes": hashes, "resolutions": resolutions,
		})
	}
}

func generateTreeKEM(g *generator) {
	for _, w := range g.shapes() {
		epoch, confirmed := uint64(g.u32()), g.hash()
		var members, paths []object
		for leaf := range w.tree.Leaves() {
			members = append(members, w.revealMember(leaf))
			if len(paths) < 2 || !w.knowsAll(leaf) {
				paths = append(paths, w.revealPath(leaf, epoch, confirmed))
			}
		}
		g.add(object{
			"group_id": w.groupID, "epoch": epoch, "confirmed_transcript_hash": confirmed,
			"ratchet_tree": w.encoded(), "leaves_private": members, "update_paths": paths,
		})
	}
}

// known returns the nodes above a member that it has the path secrets of.
func (w *grower) known(leaf mls.LeafIndex) []treekem.NodeIndex {
	var known []treekem.NodeIndex
	for _, x := range w.tree.DirectPath(leaf) {
		parent, ok := w.tree.Parent(x)
		if !ok {
			continue
		}
		unmerged := false
		for _, u := range parent.UnmergedLeaves {
			unmerged = unmerged || u == leaf
		}
		if !unmerged {
			known = append(known, x)
		}
	}
	return known
}

func (w *grower) knowsAll(leaf mls.LeafIndex) bool {
	return len(w.known(leaf)) == len(w.tree.DirectPath(leaf))
}

// revealMember returns an entry of leaves_private.
func (w *grower) revealMember(leaf mls.LeafIndex) object {
	secrets := []object{}
	for _, x := range w.known(leaf) {
		secrets = append(secrets, object{"node": x, "path_secret": w.secrets[x]})
	}
	return object{
		"index":           leaf,
		"encryption_priv": leafKey(w.private[leaf]),
		"signature_priv":  reveal(w.signers[leaf].Secret()),
		"path_secrets":    secrets,
	}
}

// leafKey returns a member's leaf key for publication in a vector.
func leafKey(p *treekem.Private) digits {
	var saved savedPrivate
	try(state.Unmarshal(must(p.MarshalState()), &saved))
	return saved.Keys[0].Key
}

// revealPath returns an entry of update_paths.
func (w *grower) revealPath(sender mls.LeafIndex, epoch uint64, confirmed digits) object {
	path := w.path(sender)
	after := path.Tree()
	secrets := make([]*digits, after.Width())
	for leaf := range after.Leaves() {
		if secret, ok := path.PathSecretFor(leaf); ok {
			d := reveal(secret)
			secrets[leaf] = &d
		}
	}
	sealed := must(path.Seal(w.groupContext(w.groupID, epoch, after.Hash(), confirmed), nil))
	return object{
		"sender": sender, "update_path": encode(sealed), "path_secrets": secrets,
		"commit_secret": reveal(path.CommitSecret()), "tree_hash_after": digits(after.Hash()),
	}
}
