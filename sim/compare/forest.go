package compare

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// sealedPaths is how many paths of a history are sealed and counted on the wire.
const sealedPaths = 16

// forest is a group's tree with what it takes to go on.
type forest struct {
	suite   *mls.Suite
	tree    *treekem.Tree
	caps    treekem.Capabilities
	random  *rand.Rand
	members []mls.LeafIndex // in order of joining
	serial  int
	costs   []int
	// warm is how many commits go by before it is measured, every how often a
	// path is sealed then.
	warm, every int
	tick        func(commits int) error
	// Of the sealed paths: how many, the bytes besides ciphertexts, and the
	// bytes of one ciphertext, which is of the same size in all.
	sealed, besides, each int
}

var treeGroup = []byte("tree")

// newForest makes a group of n members: with a full tree, or one just made by
// adding them. tick is called now and then with the number of commits since.
func newForest(n int, full bool, seed uint64, long span, tick func(commits int) error) (*forest, error) {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		return nil, err
	}
	f := &forest{
		suite: suite, caps: treekem.DefaultCapabilities(), random: rand.New(rand.NewPCG(seed, uint64(n))),
		warm: long.warm, every: max(long.measured/sealedPaths, 1), tick: tick,
	}
	for i := range n {
		f.members = append(f.members, mls.LeafIndex(i))
	}
	f.serial = n
	if full {
		members := make([]treekem.BuildMember, n)
		for i := range members {
			signer, err := suite.GenerateSigner()
			if err != nil {
				return nil, err
			}
			members[i] = treekem.BuildMember{Credential: treekem.BasicCredential(fmt.Append(nil, i)), Signer: signer, Capabilities: &f.caps}
		}
		f.tree, _, err = treekem.BuildFull(suite, members, treeGroup)
		return f, err
	}
	first, err := f.leaf(treekem.SourceKeyPackage)
	if err != nil {
		return nil, err
	}
	if f.tree, err = treekem.NewTree(suite, first); err != nil {
		return nil, err
	}
	edit := f.tree.Edit()
	for range n - 1 {
		leaf, err := f.leaf(treekem.SourceKeyPackage)
		if err != nil {
			return nil, err
		}
		if _, err := edit.Add(leaf); err != nil {
			return nil, err
		}
	}
	f.tree, err = edit.Done()
	return f, err
}

// leaf makes a leaf node with keys of its own.
func (f *forest) leaf(source treekem.LeafNodeSource) (*treekem.LeafNode, error) {
	key, err := f.suite.GenerateKeyPair()
	if err != nil {
		return nil, err
	}
	signer, err := f.suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	f.serial++
	return &treekem.LeafNode{
		EncryptionKey: key.Public(), SignatureKey: signer.Public(),
		Credential:   treekem.BasicCredential(fmt.Append(nil, f.serial)),
		Capabilities: f.caps, Source: source, Lifetime: treekem.LifetimeFrom(time.Now(), 24*time.Hour),
	}, nil
}

const tickEvery = 64

// commit has a member commit, after an edit of the tree if there is one, and
// notes the cost. added is how many leaves the edit added: the commit doesn't
// encrypt to them.
func (f *forest) commit(by mls.LeafIndex, edit *treekem.Editor, added []mls.LeafIndex) error {
	if edit != nil {
		var err error
		if f.tree, err = edit.Done(); err != nil {
			return err
		}
	}
	signer, err := f.suite.GenerateSigner()
	if err != nil {
		return err
	}
	old, ok := f.tree.Leaf(by)
	if !ok {
		return fmt.Errorf("compare: leaf %d is blank", by)
	}
	tmpl := old.Clone()
	tmpl.SignatureKey = signer.Public()
	path, err := f.tree.NewPath(by, tmpl, signer, treeGroup)
	if err != nil {
		return err
	}
	cost := f.tree.CommitCost(by) - len(added)
	if i := len(f.costs) - f.warm; i >= 0 && i%f.every == 0 {
		if err := f.seal(path, added, cost); err != nil {
			return err
		}
	}
	f.costs = append(f.costs, cost)
	f.tree = path.Tree()
	if len(f.costs)%tickEvery == 0 {
		return f.tick(tickEvery)
	}
	return nil
}

// seal encrypts a path for real and counts.
func (f *forest) seal(path *treekem.Path, added []mls.LeafIndex, cost int) error {
	update, err := path.Seal(treeGroup, added)
	if err != nil {
		return err
	}
	n := 0
	for i := range update.Nodes {
		n += len(update.Nodes[i].EncryptedPathSecret)
		for k := range update.Nodes[i].EncryptedPathSecret {
			ct, err := wire.Marshal(&update.Nodes[i].EncryptedPathSecret[k])
			if err != nil {
				return err
			}
			f.each = len(ct)
		}
	}
	if n != cost {
		return fmt.Errorf("compare: %d ciphertexts on the wire where CommitCost says %d", n, cost)
	}
	b, err := wire.Marshal(update)
	f.besides += len(b) - n*f.each
	f.sealed++
	return err
}

func (f *forest) any() mls.LeafIndex { return f.members[f.random.IntN(len(f.members))] }
