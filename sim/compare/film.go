package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/sim"
	"github.com/treekem/mls/treekem"
)

// Film is a run of a real group, epoch by epoch, for its tree to be drawn.
type Film struct {
	Frames []Frame `json:"frames"`
}

// Folded reports whether the tree is too wide to be drawn whole.
func (f *Film) Folded() bool {
	return slices.ContainsFunc(f.Frames, func(x Frame) bool { return x.Width > foldAbove })
}

const foldAbove = 64 // leaves, as in the page's script

// Frame is one epoch.
type Frame struct {
	Epoch     uint64 `json:"epoch"`
	What      string `json:"what"`
	Committer int    `json:"committer"` // leaf, -1 in the first epoch
	// Bytes of the commit, and of the Welcome, and the path's ciphertexts.
	Bytes   int `json:"bytes"`
	Welcome int `json:"welcome"`
	Seals   int `json:"seals"`
	Width   int `json:"width"`
	// Nodes are those that aren't blank, by node index.
	Nodes []FilmNode `json:"nodes"`
	// Copath says to which nodes each path secret was encrypted.
	Copath []FilmCopath `json:"copath"`
	// Readers are the members' names: they read what is said in the epoch, and
	// were shown to.
	Readers []string `json:"readers"`
}

// FilmNode is a node of the tree.
type FilmNode struct {
	Index    int    `json:"i"`
	Name     string `json:"name,omitempty"` // of a member
	Key      string `json:"key"`            // the first bytes of the public key
	New      bool   `json:"new,omitempty"`  // set in this epoch
	Unmerged []int  `json:"unmerged,omitempty"`
}

// FilmCopath is a node of the committer's copath with its resolution.
type FilmCopath struct {
	Parent     int   `json:"parent"`
	Resolution []int `json:"resolution"`
}

// filmNames are who takes part first; more members have numbers.
var filmNames = []string{
	"Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hal", "Ivy", "Jon", "Kim", "Leo", "Mia", "Ned", "Ola", "Pia",
}

// The members of a film: as many as have names, up to what a page can hold.
const (
	MinFilm = 16
	MaxFilm = 1024
)

// studio plays a group for a film.
type studio struct {
	suite  *mls.Suite
	cfg    group.Config
	names  []string
	groups map[string]*group.Group
	order  []string
	film   *Film
	random *rand.Rand
}

// Shoot plays a group of real members, from MinFilm to MaxFilm: started with half
// of them, healed, grown to the last, and shrunk, with a message that all read in
// each epoch.
func Shoot(seed uint64, members int) (*Film, error) {
	if members < MinFilm || members > MaxFilm {
		return nil, fmt.Errorf("compare: a film of %d members: from %d to %d", members, MinFilm, MaxFilm)
	}
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		return nil, err
	}
	s := &studio{
		suite: suite, film: new(Film), groups: map[string]*group.Group{}, random: rand.New(rand.NewPCG(seed, 7)),
		cfg: group.Config{
			Authenticate: group.InsecureAnyCredential, Handshakes: framing.WireFormatPublicMessage,
			// What one member has verified the others need not verify again.
			Verified: treekem.NewVerifiedLeaves(4 * members),
		},
	}
	s.names = append(s.names, filmNames...)
	for i := len(s.names); i < members; i++ {
		s.names = append(s.names, fmt.Sprintf("M%d", i))
	}
	id, err := s.identity(s.names[0])
	if err != nil {
		return nil, err
	}
	g, err := group.New(s.cfg, suite, group.CreateOptions{Identity: id})
	if err != nil {
		return nil, err
	}
	s.groups[s.names[0]], s.order = g, []string{s.names[0]}
	if err := s.frame("Ada starts the group", -1, nil, nil); err != nil {
		return nil, err
	}
	return s.film, s.script()
}

// script is what happens.
func (s *studio) script() error {
	half := len(s.names) / 2
	if err := s.commit("Ada", s.names[1:half], "", fmt.Sprintf("adds %s at once: all parents are blank, and the next path is long", people(half-1))); err != nil {
		return err
	}
	for _, name := range []string{"Cleo", "Eve", "Gia", "Bob"} {
		if err := s.commit(name, nil, "", "updates"); err != nil {
			return err
		}
	}
	batch := (len(s.names) - half + 7) / 8
	i := 0
	for names := range slices.Chunk(s.names[half:], batch) {
		who := names[0]
		if len(names) > 1 {
			who = people(len(names))
		}
		if err := s.commit(s.order[s.random.IntN(len(s.order))], names, "", "adds "+who); err != nil {
			return err
		}
		if i%2 == 0 {
			if err := s.commit(names[0], nil, "", "updates: its leaf is merged where it commits"); err != nil {
				return err
			}
		}
		i++
	}
	for _, step := range [][2]string{{s.names[12], "Dan"}, {"Ada", s.names[10]}} {
		if err := s.commit(step[0], nil, step[1], "removes "+step[1]+", whose path is blanked"); err != nil {
			return err
		}
	}
	for _, name := range []string{"Cleo", s.names[11]} {
		if err := s.commit(name, nil, "", "updates and fills what was blank"); err != nil {
			return err
		}
	}
	return nil
}

// people is a number of members in words, if there is one.
func people(n int) string {
	if n == 7 {
		return "seven members"
	}
	return fmt.Sprintf("%d members", n)
}

func (s *studio) identity(name string) (group.Identity, error) {
	signer, err := s.suite.GenerateSigner()
	return group.Identity{Credential: treekem.BasicCredential([]byte(name)), Signer: signer}, err
}

// joiner is somebody who is being added.
type joiner struct {
	name    string
	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
}

func (s *studio) commit(by string, add []string, remove, what string) error {
	var proposals []framing.Proposal
	var joiners []joiner
	for _, name := range add {
		id, err := s.identity(name)
		if err != nil {
			return err
		}
		kp, private, err := group.NewKeyPackage(s.cfg, s.suite, group.KeyPackageOptions{Identity: id})
		if err != nil {
			return err
		}
		joiners = append(joiners, joiner{name, kp, private})
		proposals = append(proposals, group.AddProposal(kp))
	}
	if remove != "" {
		proposals = append(proposals, group.RemoveProposal(s.groups[remove].OwnLeaf()))
	}
	g := s.groups[by]
	before := g.Tree()
	staged, err := g.Commit(group.CommitOptions{References: [][]byte{}, Proposals: proposals})
	if err != nil {
		return err
	}
	if err := s.follow(by, remove, staged, joiners); err != nil {
		return err
	}
	return s.frame(by+" "+what, int(g.OwnLeaf()), staged, before)
}

// follow has everybody process a commit, and those it adds join.
func (s *studio) follow(by, remove string, staged *group.Staged, joiners []joiner) error {
	for _, name := range s.order {
		g := s.groups[name]
		if name == by {
			if err := g.Merge(staged); err != nil {
				return err
			}
			continue
		}
		if name == remove {
			continue
		}
		received, err := g.Process(staged.Message())
		if err != nil {
			return err
		}
		if err := g.Merge(received.(*group.Staged)); err != nil {
			return err
		}
	}
	if remove != "" {
		delete(s.groups, remove)
		var rest []string
		for _, name := range s.order {
			if name != remove {
				rest = append(rest, name)
			}
		}
		s.order = rest
	}
	if len(joiners) == 0 {
		return nil
	}
	m, err := framing.Parse(staged.Welcome())
	if err != nil {
		return err
	}
	for _, j := range joiners {
		g, err := group.Join(s.cfg, m.Welcome, j.kp, j.private, group.JoinOptions{})
		if err != nil {
			return err
		}
		s.groups[j.name] = g
		s.order = append(s.order, j.name)
	}
	return nil
}

// frame films the epoch that the group is in.
func (s *studio) frame(what string, committer int, staged *group.Staged, before *treekem.Tree) error {
	g := s.groups[s.order[0]]
	tree := g.Tree()
	f := Frame{Epoch: g.Epoch(), What: what, Committer: committer, Width: int(tree.Width())}
	if staged != nil {
		f.Bytes, f.Welcome = len(staged.Message()), len(staged.Welcome())
		var err error
		if f.Seals, err = sim.Seals(staged.Message()); err != nil {
			return err
		}
		for _, x := range tree.FilteredDirectPath(mls.LeafIndex(committer)) {
			c := FilmCopath{Parent: int(x), Resolution: []int{}}
			for _, y := range tree.Resolution(copathChild(x, committer)) {
				c.Resolution = append(c.Resolution, int(y))
			}
			f.Copath = append(f.Copath, c)
		}
	}
	for x := range treekem.NodeIndex(2*tree.Width() - 1) {
		if tree.IsBlank(x) {
			continue
		}
		key, _ := tree.EncryptionKey(x)
		n := FilmNode{Index: int(x), Key: fmt.Sprintf("%x", []byte(key)[:4]), New: before == nil}
		if before != nil {
			old, ok := before.EncryptionKey(x)
			n.New = !ok || string(old) != string(key)
		}
		if x.IsLeaf() {
			leaf, _ := tree.Leaf(x.Leaf())
			n.Name = string(leaf.Credential.Identity)
		} else if p, ok := tree.Parent(x); ok {
			for _, u := range p.UnmergedLeaves {
				n.Unmerged = append(n.Unmerged, int(u))
			}
		}
		f.Nodes = append(f.Nodes, n)
	}
	if err := s.talk(&f); err != nil {
		return err
	}
	s.film.Frames = append(s.film.Frames, f)
	return nil
}

// copathChild is the child of x that isn't above the committer's leaf.
func copathChild(x treekem.NodeIndex, committer int) treekem.NodeIndex {
	half := treekem.NodeIndex(1) << (x.Level() - 1)
	if treekem.LeafNodeIndex(mls.LeafIndex(committer)) < x {
		return x + half
	}
	return x - half
}

// talk has a member write and lists who read it.
func (s *studio) talk(f *Frame) error {
	by := s.order[s.random.IntN(len(s.order))]
	message, err := s.groups[by].Protect([]byte(f.What), nil)
	if err != nil {
		return err
	}
	for _, name := range s.order {
		if name == by {
			f.Readers = append(f.Readers, name)
			continue
		}
		received, err := s.groups[name].Process(message)
		if err != nil {
			return err
		}
		if a, ok := received.(*group.Application); ok && string(a.Data) == f.What {
			f.Readers = append(f.Readers, name)
		}
	}
	return nil
}
