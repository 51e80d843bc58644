package group_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

func eachSuite(t *testing.T, f func(t *testing.T, s *mls.Suite)) {
	for _, s := range mls.Suites() {
		t.Run(s.String(), func(t *testing.T) { f(t, s) })
	}
}

func eachFraming(t *testing.T, f func(t *testing.T, cfg group.Config)) {
	for _, w := range []framing.WireFormat{framing.WireFormatPrivateMessage, framing.WireFormatPublicMessage} {
		t.Run(w.String(), func(t *testing.T) {
			cfg := config()
			cfg.Handshakes = w
			f(t, cfg)
		})
	}
}

func TestAddUpdateRemove(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		eachFraming(t, func(t *testing.T, cfg group.Config) {
			m := newGroup(t, s, cfg, 5)
			talk(t, m...)
			m[2].commitTo(group.CommitOptions{}, []*client{m[0], m[1], m[3], m[4]})
			agree(t, m...)
			late := newClient(t, s, cfg, "late")
			m[4].commitTo(group.CommitOptions{
				Proposals: []framing.Proposal{group.RemoveProposal(1), group.AddProposal(late.keyPackage())},
			}, []*client{m[0], m[1], m[2], m[3]}, late)
			agree(t, m[0], m[2], m[3], m[4], late)
			if m[1].g.Active() {
				t.Fatal("a removed member is active")
			}
			talk(t, m[0], m[2], m[3], m[4], late)
		})
	})
}

func TestProposalsByReference(t *testing.T) {
	eachFraming(t, func(t *testing.T, cfg group.Config) {
		s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
		m := newGroup(t, s, cfg, 4)
		update := must[[]byte](t)(m[1].g.ProposeUpdate(group.UpdateOptions{}))
		deliver(t, update, m...)
		psk := must[[]byte](t)(m[2].g.Propose(group.PSKProposal(s, []byte("shared")), nil))
		deliver(t, psk, m...)
		remove := must[[]byte](t)(m[0].g.Propose(group.RemoveProposal(3), nil))
		deliver(t, remove, m...)
		if _, err := m[2].g.Protect([]byte("too early"), nil); !errors.Is(err, mls.ErrPending) {
			t.Fatalf("sending before the pending proposals are committed: %v", err)
		}
		m[2].commitTo(group.CommitOptions{}, []*client{m[0], m[1], m[3]})
		agree(t, m[:3]...)
		talk(t, m[:3]...)
		if m[0].g.Tree().Members() != 3 {
			t.Fatal("the remove was not committed")
		}
	})
}

func TestExternalJoinAndResync(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		m := newGroup(t, s, config(), 3)
		joiner := newClient(t, s, config(), "joiner")
		for _, resync := range []bool{false, true} {
			info := must[*framing.GroupInfo](t)(m[0].g.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
			g, commit, err := group.JoinExternal(joiner.cfg, info, group.ExternalJoinOptions{
				Identity: joiner.identity(), Resync: resync,
				PSKs: []keyschedule.PreSharedKeyID{group.PSKProposal(s, []byte("x")).PreSharedKey.PSK},
			})
			check(t, err)
			deliver(t, commit, m...)
			if resync {
				r := must[group.Received](t)(joiner.g.Process(commit))
				if _, ok := r.(*group.Removal); !ok {
					t.Fatalf("the former self sees %T", r)
				}
			}
			joiner.g = g
			all := append([]*client{joiner}, m...)
			agree(t, all...)
			talk(t, all...)
		}
		if n := m[0].g.Tree().Members(); n != 4 {
			t.Fatalf("%d members", n)
		}
	})
}

func TestReInitAndBranch(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, config(), 3)
	branch := func(c *client) *client { return newClient(t, s, config(), c.name) }
	b := []*client{branch(m[0]), branch(m[2])}
	g, welcome, err := m[0].g.Branch(config(), group.BranchOptions{
		Identity: b[0].identity(), KeyPackages: keyPackages(b[1]),
	})
	check(t, err)
	b[0].g = g
	check(t, b[1].join(welcome, group.JoinOptions{Predecessor: m[2].g}))
	agree(t, b...)
	assertRule(t, b[1].join(welcome, group.JoinOptions{}), "12.4.3.1/psk-unavailable")

	p384 := suite(t, mls.P384_AES256GCM_SHA384_P384)
	m[1].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), p384.ID(), nil)}},
		[]*client{m[0], m[2]})
	if _, err := m[0].g.Protect(nil, nil); err == nil {
		t.Fatal("sent in a reinitialized group")
	}
	n := make([]*client, 3)
	for i := range n {
		n[i] = newClient(t, p384, config(), m[i].name)
	}
	g, welcome, err = m[2].g.Reinitialize(config(), group.ReinitializeOptions{Identity: n[2].identity(), KeyPackages: keyPackages(n[0], n[1])})
	check(t, err)
	n[2].g = g
	for i := range 2 {
		check(t, n[i].join(welcome, group.JoinOptions{Predecessor: m[i].g}))
	}
	agree(t, n...)
	talk(t, n...)
}

// TestSuccessionWithoutPathAndTree: the first commit of a successor leaves out
// what a commit can leave out.
func TestSuccessionWithoutPathAndTree(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, config(), 2)
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), s.ID(), nil)}}, m[1:])
	for name, succeed := range map[string]func(self, other *client, bare bool) (*group.Group, []byte, error){
		"branch": func(self, other *client, bare bool) (*group.Group, []byte, error) {
			return m[0].g.Branch(config(), group.BranchOptions{
				Identity: self.identity(), KeyPackages: keyPackages(other), OmitPath: bare, TreeApart: bare,
			})
		},
		"reinit": func(self, other *client, bare bool) (*group.Group, []byte, error) {
			return m[0].g.Reinitialize(config(), group.ReinitializeOptions{
				Identity: self.identity(), KeyPackages: keyPackages(other), OmitPath: bare, TreeApart: bare,
			})
		},
	} {
		size := make(map[bool]int)
		for _, bare := range []bool{false, true} {
			n := []*client{newClient(t, s, config(), m[0].name), newClient(t, s, config(), m[1].name)}
			g, welcome, err := succeed(n[0], n[1], bare)
			check(t, err)
			n[0].g = g
			size[bare] = len(welcome)
			opt := group.JoinOptions{Predecessor: m[1].g}
			if bare {
				assertRule(t, n[1].join(welcome, opt), "12.4.3.1/tree-absent")
				opt.RatchetTree = must[[]byte](t)(g.Tree().Bytes())
			}
			check(t, n[1].join(welcome, opt))
			agree(t, n...)
			talk(t, n...)
			leaf, _ := g.Tree().Leaf(g.OwnLeaf())
			if path := leaf.Source == treekem.SourceCommit; path == bare {
				t.Errorf("%s: a path: %v, asked to omit it: %v", name, path, bare)
			}
		}
		if size[true] >= size[false] {
			t.Errorf("%s: %d bytes without path and tree, %d with", name, size[true], size[false])
		}
	}
}

func TestLostRaceAndEcho(t *testing.T) {
	eachFraming(t, func(t *testing.T, cfg group.Config) {
		s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
		m := newGroup(t, s, cfg, 3)
		mine, theirs := m[0].commit(group.CommitOptions{}), m[1].commit(group.CommitOptions{})
		r := must[group.Received](t)(m[0].g.Process(mine.Message()))
		if own, ok := r.(*group.OwnMessage); !ok || !own.Known || own.ContentType != framing.ContentCommit {
			t.Fatalf("own commit came back as %#v", r)
		}
		deliver(t, theirs.Message(), m[0], m[2])
		check(t, m[1].g.Merge(theirs))
		if err := m[0].g.Merge(mine); !errors.Is(err, mls.ErrWrongEpoch) {
			t.Fatalf("merging a commit that lost the race: %v", err)
		}
		if r := must[group.Received](t)(m[2].g.Process(mine.Message())); r.(*group.StaleEpoch).Got != 1 {
			t.Fatal("not stale")
		}
		agree(t, m...)
		talk(t, m...)
	})
}

func TestSaveAndRestore(t *testing.T) {
	eachFraming(t, func(t *testing.T, cfg group.Config) {
		s := suite(t, mls.P256_AES128GCM_SHA256_P256)
		m := newGroup(t, s, cfg, 4)
		late := must[[]byte](t)(m[1].g.Protect([]byte("late"), nil))
		m[3].commitTo(group.CommitOptions{}, m[:3])
		deliver(t, must[[]byte](t)(m[2].g.ProposeUpdate(group.UpdateOptions{})), m...)
		pending := m[0].commit(group.CommitOptions{})
		for _, c := range m {
			state := must[[]byte](t)(c.g.State())
			restored := must[*group.Group](t)(group.Restore(cfg, state, c.signer))
			if again := must[[]byte](t)(restored.State()); !bytes.Equal(again, state) {
				t.Fatal("a restored state differs")
			}
			c.g = restored
		}
		saved := must[[]byte](t)(pending.State())
		pending = must[*group.Staged](t)(m[0].g.RestoreStaged(saved, m[0].signer))
		r := must[group.Received](t)(m[2].g.Process(late))
		if a, ok := r.(*group.Application); !ok || string(a.Data) != "late" {
			t.Fatalf("a late message reads as %T", r)
		}
		if _, ok := must[group.Received](t)(m[2].g.Process(late)).(*group.Duplicate); !ok {
			t.Fatal("a late message was read twice")
		}
		deliver(t, pending.Message(), m[1:]...)
		check(t, m[0].g.Merge(pending))
		agree(t, m...)
		talk(t, m...)
	})
}

func TestPublicGroupFollows(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	cfg := config()
	cfg.Handshakes = framing.WireFormatPublicMessage
	ds := newClient(t, s, cfg, "delivery service")
	m := newGroup(t, s, cfg, 3)
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{
		group.ExtensionsProposal([]mls.Extension{externalSenders(t, ds.externalSender())}),
	}}, m[1:])
	info := must[*framing.GroupInfo](t)(m[1].g.GroupInfo(group.InfoOptions{Tree: true}))
	p := must[*group.PublicGroup](t)(group.Observe(cfg, info, nil))

	remove := must[[]byte](t)(group.ProposeExternal(s, ds.signer, 0, p.ID(), p.Epoch(), group.RemoveProposal(2), nil))
	must[group.Received](t)(p.Process(remove))
	deliver(t, remove, m...)
	late := newClient(t, s, cfg, "late")
	add := must[[]byte](t)(group.ProposeNewMember(s, late.signer, p.ID(), p.Epoch(), late.keyPackage()))
	must[group.Received](t)(p.Process(add))
	deliver(t, add, m...)

	staged := m[1].commit(group.CommitOptions{})
	seen := must[group.Received](t)(p.Process(staged.Message())).(*group.Staged)
	if c := seen.Changes(); len(c.Added) != 1 || len(c.Removed) != 1 || len(c.Updated) != 1 {
		t.Fatalf("the observer sees %d added, %d removed, %d updated", len(c.Added), len(c.Removed), len(c.Updated))
	}
	check(t, p.Merge(seen))
	deliver(t, staged.Message(), m[0], m[2])
	check(t, m[1].g.Merge(staged))
	check(t, late.join(staged.Welcome(), group.JoinOptions{}))
	agree(t, m[0], m[1], late)
	mine, theirs := p.Context(), m[0].g.Context()
	if !bytes.Equal(must[[]byte](t)(wire.Marshal(&mine)), must[[]byte](t)(wire.Marshal(&theirs))) {
		t.Fatal("the observer's group context differs from the members'")
	}
}

// Two commits of the same proposals without a path would have the same key and
// nonce for their Welcomes.
func TestWelcomeKeysAreUsedOnce(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, config(), 2)
	opt := group.CommitOptions{
		Proposals: []framing.Proposal{group.AddProposal(newClient(t, s, config(), "late").keyPackage())}, OmitPath: true,
	}
	first := m[0].commit(opt)
	m[0].g = must[*group.Group](t)(group.Restore(m[0].cfg, must[[]byte](t)(m[0].g.State()), m[0].signer))
	second := m[0].commit(opt)
	if first.Changes().Path || !second.Changes().Path {
		t.Fatal("the second commit has no fresh secrets")
	}
	if bytes.Equal(first.EpochAuthenticator(), second.EpochAuthenticator()) {
		t.Fatal("two commits lead to the same epoch")
	}
}
