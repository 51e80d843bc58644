package group_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

func TestOfflineMemberFollowsExpiredAdds(t *testing.T) {
	cfg := config()
	now := time.Now()
	late := cfg
	clock := now
	late.Time = func() time.Time { return clock }
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	a, b, x := newClient(t, s, cfg, "a"), newClient(t, s, late, "b"), newClient(t, s, cfg, "x")
	a.create()
	a.commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}}, nil, b)
	var err error
	x.kp, x.private, err = group.NewKeyPackage(cfg, s, group.KeyPackageOptions{Identity: x.identity(), Lifetime: 24 * time.Hour})
	check(t, err)
	st := a.commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(x.kp)}})
	check(t, a.g.Merge(st))         // the group has moved on
	clock = now.Add(48 * time.Hour) // b comes online two days later
	if _, err := b.g.Process(st.Message()); err != nil {
		t.Fatalf("b is stuck for ever in epoch %d: %v", b.g.Epoch(), err)
	}
}

func TestLastEpoch(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	signers := []mls.Signer{must[*mls.SignaturePrivateKey](t)(s.GenerateSigner()), must[*mls.SignaturePrivateKey](t)(s.GenerateSigner())}
	tree, keys, err := treekem.BuildFull(s, []treekem.BuildMember{
		{Credential: treekem.BasicCredential([]byte("a")), Signer: signers[0]},
		{Credential: treekem.BasicCredential([]byte("b")), Signer: signers[1]}}, []byte("g"))
	check(t, err)
	gs, err := group.Assemble(config(), group.AssembleOptions{Suite: s, GroupID: []byte("g"), Epoch: math.MaxUint64, Tree: tree},
		[]group.AssembleMember{{keys.Private(0), signers[0]}, {keys.Private(1), signers[1]}})
	check(t, err)
	st, err := gs[0].Commit(group.CommitOptions{})
	if err == nil {
		t.Fatalf("the epoch wraps to %d", st.Epoch())
	}
	assertRule(t, err, "8.1/epoch")
}

func TestDuplicateExtensionsInProposal(t *testing.T) {
	sc := newScene(t, 3)
	st, err := sc.m[0].g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.ExtensionsProposal(
		[]mls.Extension{{Type: mls.ExtensionApplicationID, Data: []byte("a")}, {Type: mls.ExtensionApplicationID, Data: []byte("b")}})}})
	if err == nil {
		_, err := sc.m[1].g.Process(st.Message())
		check(t, sc.m[0].g.Merge(st))
		saved, err2 := sc.m[0].g.State()
		check(t, err2)
		_, err3 := group.Restore(sc.cfg, saved, sc.m[0].signer)
		t.Fatalf("the committer accepts its own commit; a receiver: %v; own state restores: %v", err, err3)
	}
}

func TestDuplicateExtensionsInLeaf(t *testing.T) {
	sc := newScene(t, 3)
	id := sc.m[0].identity()
	id.Extensions = []mls.Extension{{Type: mls.ExtensionApplicationID, Data: []byte("a")}, {Type: mls.ExtensionApplicationID, Data: []byte("b")}}
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("panic: %v", r)
		}
	}()
	st, err := sc.m[0].g.Commit(group.CommitOptions{Identity: &id})
	if err == nil {
		_, err := sc.m[1].g.Process(st.Message())
		check(t, sc.m[0].g.Merge(st))
		_, _ = sc.m[0].g.Member(0)
		t.Fatalf("the committer accepts its own commit; a receiver: %v", err)
	}
}

func TestDuplicateExtensionsInGroupInfo(t *testing.T) {
	sc := newScene(t, 3)
	gi, err := sc.m[0].g.GroupInfo(group.InfoOptions{Tree: true, Extensions: []mls.Extension{{Type: mls.ExtensionRatchetTree, Data: []byte("b")}}})
	if err == nil {
		b, _ := wire.Marshal(gi)
		err := wire.Unmarshal(b, new(framing.GroupInfo))
		t.Fatalf("GroupInfo signed that decodes as: %v", err)
	}
}

func TestLateMessagesAcrossRestores(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 5)
	late, err := m[4].g.Protect([]byte("late"), nil)
	check(t, err)
	late3, err := m[3].g.Protect([]byte("late3"), nil)
	check(t, err)
	restore := func(c *client) {
		saved, err := c.g.State()
		check(t, err)
		c.g, err = group.Restore(cfg, saved, c.signer)
		check(t, err)
	}
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(4), group.RemoveProposal(3)}}, m[1:3])
	restore(m[1])
	x, y := newClient(t, s, cfg, "x"), newClient(t, s, cfg, "y")
	m[0].commitTo(group.CommitOptions{Proposals: adds(x, y)}, m[1:3], x, y)
	restore(m[1])
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(4)}}, []*client{m[1], m[2], x})
	restore(m[1])
	for name, msg := range map[string][]byte{"member 4": late, "member 3": late3} {
		for _, c := range []*client{m[1], m[2]} {
			r, err := c.g.Process(msg)
			check(t, err)
			a, ok := r.(*group.Application)
			if !ok || string(a.Credential.Identity) != name {
				t.Fatalf("%T %+v", r, r)
			}
		}
	}
	agree(t, m[0], m[1], m[2], x)
	talk(t, m[0], m[1], m[2], x)
}

func TestStagedOfAnotherCopy(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 2)
	st := m[0].commit(group.CommitOptions{})
	saved, err := m[0].g.State()
	check(t, err)
	g, err := group.Restore(cfg, saved, m[0].signer)
	check(t, err)
	if err = g.Merge(st); !errors.Is(err, mls.ErrWrongEpoch) {
		t.Fatalf("a restored copy merges another copy's commit: %v", err)
	}
}

func TestSelectionLeavesOutDuplicateKeys(t *testing.T) {
	sc := newScene(t, 5)
	bad := sc.m[3]
	message, _ := bad.forgeProposalRef(framing.WireFormatPublicMessage, updateProposal(bad.updateLeaf(func(l *treekem.LeafNode) {
		l.EncryptionKey, _ = sc.m[0].g.Tree().EncryptionKey(treekem.LeafNodeIndex(1))
	})))
	sc.send(message)
	if _, err := sc.m[1].g.Commit(group.CommitOptions{}); err != nil {
		t.Fatalf("default commit: %v", err)
	}
}

func TestSelectionLeavesOutPoorCapabilities(t *testing.T) {
	sc := newScene(t, 5)
	bad := sc.m[3]
	message, _ := bad.forgeProposalRef(framing.WireFormatPublicMessage, updateProposal(bad.updateLeaf(func(l *treekem.LeafNode) { noVersion(l) })))
	sc.send(message)
	if _, err := sc.m[1].g.Commit(group.CommitOptions{}); err != nil {
		t.Fatalf("default commit: %v", err)
	}
}

func TestSelectionLeavesOutUnsupportedExtensions(t *testing.T) {
	sc := newScene(t, 5)
	msg, _ := sc.m[3].forgeProposalRef(framing.WireFormatPublicMessage, group.ExtensionsProposal([]mls.Extension{{Type: 0xf777}}))
	sc.send(msg)
	if _, err := sc.m[1].g.Commit(group.CommitOptions{}); err != nil {
		t.Fatalf("default commit: %v", err)
	}
}

func TestSelectionOfRemoveAndAddOfOneself(t *testing.T) {
	sc := newScene(t, 5)
	sc.propose(sc.m[3], group.RemoveProposal(1))
	kp := sc.m[1].keyPackage()
	sc.propose(sc.m[3], group.AddProposal(kp))
	if _, err := sc.m[1].g.Commit(group.CommitOptions{}); err != nil {
		t.Fatalf("default commit: %v", err)
	}
}

func TestCreationSharesNoExtensions(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	a, b := newClient(t, s, cfg, "a"), newClient(t, s, cfg, "b")
	data := []byte("xxxxxxx")
	exts := []mls.Extension{{Type: mls.ExtensionApplicationID, Data: data}}
	a.create(exts...)
	a.commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}}, nil, b)
	agree(t, a, b)
	data[0] = 'y' // caller reuses its buffer
	st := a.commit(group.CommitOptions{})
	if _, err := b.g.Process(st.Message()); err != nil {
		t.Fatalf("after reuse of the caller's buffer: %v", err)
	}
}

func TestContextIsACopy(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	a, b := newClient(t, s, cfg, "a"), newClient(t, s, cfg, "b")
	exts := []mls.Extension{{Type: mls.ExtensionApplicationID, Data: []byte("xxxx")}}
	a.create(exts...)
	a.commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(b.keyPackage())}}, nil, b)
	agree(t, a, b)
	c := a.g.Context()
	c.Extensions[0].Data[0] ^= 1 // values returned should be the caller's
	st := a.commit(group.CommitOptions{})
	if _, err := b.g.Process(st.Message()); err != nil {
		t.Fatalf("after change of a returned value: %v", err)
	}
}

func TestProposalSharesNoBuffer(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 3)
	aad := []byte("aad-aad")
	msg, err := m[0].g.Propose(group.RemoveProposal(2), aad)
	check(t, err)
	clear(aad)
	deliver(t, msg, m[1])
	saved, err := m[0].g.State()
	check(t, err)
	m[0].g, err = group.Restore(cfg, saved, m[0].signer)
	check(t, err)
	st := m[1].commit(group.CommitOptions{})
	if _, err := m[0].g.Process(st.Message()); err != nil {
		t.Fatalf("own proposal after restore: %v", err)
	}
}

func TestPredecessorNeedsLink(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 3)
	gid := []byte("the successor")
	st := m[1].commit(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal(gid, s.ID(), nil)}})
	deliver(t, st.Message(), m[0], m[2])
	check(t, m[1].g.Merge(st))
	// m[1] is malicious: makes an unrelated group under the successor's name with a stranger, without m[2].
	stranger := newClient(t, s, cfg, "stranger")
	evil, err := group.New(cfg, s, group.CreateOptions{GroupID: gid, Identity: m[1].identity()})
	check(t, err)
	es, err := evil.Commit(group.CommitOptions{Proposals: []framing.Proposal{
		group.AddProposal(m[0].keyPackage()), group.AddProposal(stranger.keyPackage())}})
	check(t, err)
	g, err := group.Join(cfg, parseWelcome(t, es.Welcome()), m[0].kp, m[0].private, group.JoinOptions{Predecessor: m[0].g})
	if err == nil {
		t.Fatalf("joined an unlinked group as the successor: epoch %d, %d members", g.Epoch(), g.Tree().Members())
	}
	assertRule(t, err, "12.4.3.1/no-link")
}

func TestStateOfLostStaged(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 4)
	x := newClient(t, s, cfg, "x")
	mine := m[0].commit(group.CommitOptions{OmitPath: true, Proposals: []framing.Proposal{group.AddProposal(x.keyPackage())}})
	other := m[1].commit(group.CommitOptions{})
	deliver(t, other.Message(), m[0])
	if err := errOf(mine.State()); err == nil {
		t.Error("a commit that lost has a state, of keys that are destroyed")
	}
	_, _ = mine.GroupInfo(group.InfoOptions{ExternalPub: true}) // no panic
}

func TestGroupInfoOfPastStaged(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 2)
	st := m[0].commit(group.CommitOptions{})
	check(t, m[0].g.Merge(st))
	st2 := m[0].commit(group.CommitOptions{})
	check(t, m[0].g.Merge(st2))
	gi, err := st.GroupInfo(group.InfoOptions{ExternalPub: true})
	if err == nil {
		d, _ := mls.FindExtension(gi.Extensions, mls.ExtensionExternalPub)
		t.Fatalf("GroupInfo of a finished epoch: external_pub %x", d)
	}
	if err := errOf(st.State()); err == nil {
		t.Error("a merged commit has a state, of keys that are destroyed")
	}
}

func TestResumptionAfterRemoval(t *testing.T) {
	cfg := config()
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 3)
	st := m[0].commit(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(2)}})
	deliver(t, st.Message(), m[2])
	removed := func(g *group.Group) {
		t.Helper()
		for what, err := range map[string]error{
			"Export":    errOf(g.Export("x", nil, 32)),
			"GroupInfo": errOf(g.GroupInfo(group.InfoOptions{ExternalPub: true})),
			"Process":   errOf(g.Process(st.Message())),
		} {
			if !errors.Is(err, mls.ErrRemoved) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if !g.ResumptionPSK().IsZero() || len(g.EpochAuthenticator()) != 0 || len(g.Proposals()) != 0 {
			t.Error("a removed member holds something of the epoch")
		}
		check(t, errOf(g.State()))
	}
	removed(m[2].g)
	removed(must[*group.Group](t)(group.Restore(cfg, must[[]byte](t)(m[2].g.State()))))
}
