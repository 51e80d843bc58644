package sim

import (
	"fmt"
	"math/bits"
	"sync"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/treekem"
)

// treeShape is the state in which a simulated group begins.
type treeShape bool

const (
	// fullTree has a key at every parent node that members can share, as after
	// a commit of each.
	fullTree treeShape = true
	// blankTree has none, as after one commit that adds everybody.
	blankTree treeShape = false
)

// capabilities are those of all simulated members, as of clients of one make.
// They name all suites, so they are made when a program may look at those.
var capabilities = sync.OnceValue(func() *treekem.Capabilities {
	c := treekem.DefaultCapabilities()
	return &c
})

// lifetime is that of the simulated members' key packages.
func lifetime() treekem.Lifetime {
	return treekem.LifetimeFrom(time.Now(), 30*24*time.Hour)
}

// A Scenario is a group set up without playing its history, every key pair and
// signature in it real. The members that act are complete groups; of the others
// there is what the rest of the group knows: leaves and public keys.
type Scenario struct {
	Groups []*group.Group
}

// A ScenarioConfig says what [NewScenario] is to set up.
type ScenarioConfig struct {
	Suite   *mls.Suite
	Members int
	// Full asks for a tree without blank parents, where members can share one;
	// else all parents are blank.
	Full bool
	// Acting are the leaves whose members act.
	Acting []mls.LeafIndex
	// Group is how they run their groups.
	Group group.Config
}

// NewScenario sets up a group. If the number of members of a full tree is no
// power of two, one commit of the last member, which must act, has filled the
// nodes that the builder cannot: the group is in epoch 1 then, else in epoch 0.
func NewScenario(cfg ScenarioConfig) (*Scenario, error) {
	b := &scenarioBuilder{cfg: cfg, groupID: []byte("simulation")}
	if err := b.makeSigners(); err != nil {
		return nil, err
	}
	build := b.blank
	if cfg.Full {
		build = b.full
	}
	tree, privates, err := build()
	if err != nil {
		return nil, err
	}
	members := make([]group.AssembleMember, len(cfg.Acting))
	for i, leaf := range cfg.Acting {
		members[i] = group.AssembleMember{Private: privates[i], Signer: b.signers[leaf]}
	}
	groups, err := group.Assemble(cfg.Group, group.AssembleOptions{Suite: cfg.Suite, GroupID: b.groupID, Tree: tree}, members)
	if err != nil {
		return nil, err
	}
	if cfg.Full && bits.OnesCount(uint(cfg.Members)) != 1 {
		err = fillEdge(groups, mls.LeafIndex(cfg.Members-1))
	}
	return &Scenario{groups}, err
}

// scenarioBuilder makes trees.
type scenarioBuilder struct {
	cfg     ScenarioConfig
	groupID []byte
	signers []mls.Signer
}

func (b *scenarioBuilder) makeSigners() error {
	n := b.cfg.Members
	if b.cfg.Full {
		n = 1 << bits.Len(uint(n-1))
	}
	b.signers = make([]mls.Signer, n)
	return parallel.Each(n, 1, func(i int) error {
		signer, err := b.cfg.Suite.GenerateSigner()
		b.signers[i] = signer
		return err
	})
}

// credential is the name of the member at leaf i. All names are 16 bytes.
func credential(i int) treekem.Credential {
	return treekem.BasicCredential(fmt.Appendf(nil, "member %09d", i))
}

// full builds a full tree and the private keys of the acting members. Members
// beyond the number asked for, up to the next power of two, are removed again.
func (b *scenarioBuilder) full() (*treekem.Tree, []*treekem.Private, error) {
	members := make([]treekem.BuildMember, len(b.signers))
	for i := range members {
		members[i] = treekem.BuildMember{Credential: credential(i), Signer: b.signers[i], Capabilities: capabilities()}
	}
	tree, keys, err := treekem.BuildFull(b.cfg.Suite, members, b.groupID)
	if err != nil {
		return nil, nil, err
	}
	if len(members) > b.cfg.Members {
		edit := tree.Edit()
		for i := b.cfg.Members; i < len(members); i++ {
			if err := edit.Remove(mls.LeafIndex(i)); err != nil {
				return nil, nil, err
			}
		}
		if tree, err = edit.Done(); err != nil {
			return nil, nil, err
		}
	}
	privates := make([]*treekem.Private, len(b.cfg.Acting))
	for i, leaf := range b.cfg.Acting {
		privates[i] = keys.Private(leaf).Prune(tree)
	}
	return tree, privates, nil
}

// blank builds a tree of leaves as they come in key packages.
func (b *scenarioBuilder) blank() (*treekem.Tree, []*treekem.Private, error) {
	keys := make([]*mls.HPKEPrivateKey, b.cfg.Members)
	leaves := make([]*treekem.LeafNode, b.cfg.Members)
	valid := lifetime()
	err := parallel.Each(len(leaves), 1, func(i int) error {
		var err error
		if keys[i], err = b.cfg.Suite.GenerateKeyPair(); err != nil {
			return err
		}
		leaves[i] = &treekem.LeafNode{
			EncryptionKey: keys[i].Public(), SignatureKey: b.signers[i].Public(), Credential: credential(i),
			Capabilities: *capabilities(), Source: treekem.SourceKeyPackage, Lifetime: valid,
		}
		return leaves[i].Sign(b.cfg.Suite, b.signers[i], nil, 0)
	})
	if err != nil {
		return nil, nil, err
	}
	tree, err := treekem.NewTree(b.cfg.Suite, leaves[0])
	if err != nil {
		return nil, nil, err
	}
	edit := tree.Edit()
	for _, leaf := range leaves[1:] {
		if _, err := edit.Add(leaf); err != nil {
			return nil, nil, err
		}
	}
	if tree, err = edit.Done(); err != nil {
		return nil, nil, err
	}
	privates := make([]*treekem.Private, len(b.cfg.Acting))
	for i, leaf := range b.cfg.Acting {
		privates[i] = treekem.NewPrivate(b.cfg.Suite, leaf, keys[leaf])
	}
	return tree, privates, nil
}

// fillEdge has the member at the last leaf commit. The nodes that have both
// members and blank leaves below are all on its path.
func fillEdge(groups []*group.Group, last mls.LeafIndex) error {
	for _, g := range groups {
		if g.OwnLeaf() != last {
			continue
		}
		staged, err := g.Commit(group.CommitOptions{})
		if err != nil {
			return err
		}
		message := staged.Message()
		if err := g.Merge(staged); err != nil {
			return err
		}
		return parallel.Each(len(groups), 1, func(i int) error {
			if groups[i] == g {
				return nil
			}
			return (&member{groups[i]}).follow(message)
		})
	}
	return fmt.Errorf("sim: the last of the members, at leaf %d, does not act", last)
}

// spread returns acting leaves of n, evenly spread, the first and last included.
func spread(n, acting int) []mls.LeafIndex {
	leaves := make([]mls.LeafIndex, acting)
	for i := range leaves {
		leaves[i] = mls.LeafIndex(i * (n - 1) / max(acting-1, 1))
	}
	return leaves
}

// setUp makes the group of a simulation.
func (s *simulation) setUp(shape treeShape, n, acting int) (*world, error) {
	scenario, err := NewScenario(ScenarioConfig{
		Suite: s.cfg.Suite, Members: n, Full: bool(shape), Acting: spread(n, acting), Group: groupConfig(),
	})
	if err != nil {
		return nil, err
	}
	w := &world{suite: s.cfg.Suite, members: make([]*member, acting)}
	for i, g := range scenario.Groups {
		w.members[i] = &member{g}
	}
	return w, nil
}
