package bench

import (
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/sim"
	"github.com/treekem/mls/treekem"
)

// bed is a group to measure in. It stays in its epoch: commits are made and
// processed, but not merged.
type bed struct {
	suite   *mls.Suite
	tree    string
	members int
	// committer is at leaf 0, near at leaf 1, far at the last leaf.
	committer, near, far *group.Group
	// spare is the leaf that create-remove removes: in the far half.
	spare mls.LeafIndex

	// joiner is a member that has joined, who it is, and what it took to hold it.
	joiner     *group.Group
	joinerIs   *newcomer
	joinerHeap int64
}

// path counts what a commit's update path holds.
type path struct {
	nodes, seals int
}

// config is how the measured groups are run: commits in the clear, so that
// their contents can be counted.
func config() group.Config {
	return group.Config{Authenticate: group.InsecureAnyCredential, Handshakes: framing.WireFormatPublicMessage}
}

// historyActing is how many members act in a history, the three above included.
const historyActing = 16

func newBed(suite *mls.Suite, tree string, n int) (*bed, error) {
	b := &bed{suite: suite, tree: tree, members: n, spare: mls.LeafIndex(n / 2)}
	acting := slices.Compact([]mls.LeafIndex{0, 1, mls.LeafIndex(n - 1)})
	if tree == "history" {
		acting = historyLeaves(n)
	}
	s, err := sim.NewScenario(sim.ScenarioConfig{
		Suite: suite, Members: n, Full: tree != "blank", Acting: acting, Group: config(),
	})
	if err != nil {
		return nil, err
	}
	last := len(s.Groups) - 1
	b.committer, b.near, b.far = s.Groups[0], s.Groups[1], s.Groups[last]
	if tree == "history" {
		err = b.live(s.Groups)
	}
	return b, err
}

// historyLeaves are the leaves of a history's acting members: 0, 1, the last, and
// some spread between.
func historyLeaves(n int) []mls.LeafIndex {
	leaves := []mls.LeafIndex{0, 1}
	k := min(historyActing, n) - len(leaves)
	for i := range k {
		if leaf := mls.LeafIndex((i + 1) * (n - 1) / k); leaf > leaves[len(leaves)-1] {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// live plays a history: each acting member commits three times, and each commit
// removes a member in a thousand and adds as many. The history's choices are the
// same in every run.
func (b *bed) live(acting []*group.Group) error {
	random := rand.New(rand.NewPCG(1, uint64(b.members)))
	fixed := make(map[mls.LeafIndex]bool)
	for _, g := range acting {
		fixed[g.OwnLeaf()] = true
	}
	changes := max(b.members/1024, 1)
	for range 3 {
		for _, i := range random.Perm(len(acting)) {
			proposals, err := b.churn(random, acting[i], fixed, changes)
			if err != nil {
				return err
			}
			if err := commitAll(acting, acting[i], proposals); err != nil {
				return err
			}
		}
	}
	for leaf := range b.committer.Members() {
		if !fixed[leaf] && leaf >= b.spare {
			b.spare = leaf
			return nil
		}
	}
	return nil
}

// churn proposes to remove some members that do not act, and to add as many.
func (b *bed) churn(random *rand.Rand, g *group.Group, fixed map[mls.LeafIndex]bool, changes int) ([]framing.Proposal, error) {
	var removes, adds []framing.Proposal
	taken := make(map[mls.LeafIndex]bool)
	for range 8 * changes { // most draws hit; a small group may have nobody to spare
		leaf := mls.LeafIndex(random.IntN(int(g.Tree().Width())))
		if len(removes) == changes {
			break
		}
		if fixed[leaf] || taken[leaf] || !g.Tree().Has(leaf) {
			continue
		}
		taken[leaf] = true
		removes = append(removes, group.RemoveProposal(leaf))
		to, err := newNewcomer(b.suite)
		if err != nil {
			return nil, err
		}
		adds = append(adds, group.AddProposal(to.kp))
	}
	return append(removes, adds...), nil
}

func commitAll(acting []*group.Group, by *group.Group, proposals []framing.Proposal) error {
	staged, err := by.Commit(group.CommitOptions{Proposals: proposals, TreeApart: true})
	if err != nil {
		return err
	}
	message := staged.Message()
	if err := by.Merge(staged); err != nil {
		return err
	}
	for _, g := range acting {
		if g == by {
			continue
		}
		staged, err := receive[*group.Staged](g, message)
		if err != nil {
			return err
		}
		if err := g.Merge(staged); err != nil {
			return err
		}
	}
	return nil
}

// commit is a commit of the committer that was made and dropped.
type commit struct {
	message []byte
	path    path
	tree    *treekem.Tree // after it
}

func (b *bed) commit(opt group.CommitOptions) (*commit, error) {
	opt.References = [][]byte{}
	staged, err := b.committer.Commit(opt)
	if err != nil {
		return nil, err
	}
	c := &commit{message: staged.Message(), tree: staged.Tree()}
	c.path, err = countPath(c.message)
	return c, err
}

// countPath counts what a commit in the clear holds.
func countPath(message []byte) (path, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return path{}, err
	}
	if m.Public == nil || m.Public.Content.Commit == nil || m.Public.Content.Commit.Path == nil {
		return path{}, errors.New("bench: not a commit with a path in the clear")
	}
	nodes := m.Public.Content.Commit.Path.Nodes
	p := path{nodes: len(nodes)}
	for i := range nodes {
		p.seals += len(nodes[i].EncryptedPathSecret)
	}
	return p, nil
}
