package group_test

import (
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// succession is a group and an invitation to what claims to continue it.
type succession struct {
	*invitation
	sc *scene
}

// newSuccession has an old group of the first n of 4 members, reinitialized if
// asked for, and a Welcome to one of all 4, linked to the old one.
func newSuccession(t *testing.T, usage keyschedule.ResumptionUsage, n int) *succession {
	t.Helper()
	v := newInvitation(t, 4)
	sc := newSceneOf(t, config(), n)
	// The new group has the same clients, under other keys.
	old := sc.m[n-1].g
	if usage == keyschedule.UsageReInit {
		s := sc.m[0].commit(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("paper"), v.suite.ID(), nil)}})
		deliver(t, s.Message(), sc.m[1:]...)
		check(t, sc.m[0].g.Merge(s))
	}
	v.opt.Predecessor = old
	v.link(usage, old, old.Epoch(), old.ResumptionPSK())
	return &succession{v, sc}
}

func (v *invitation) link(usage keyschedule.ResumptionUsage, old *group.Group, epoch uint64, secret mls.Secret) {
	id := keyschedule.PreSharedKeyID{
		Type: keyschedule.PSKResumption, Usage: usage, PSKGroupID: old.ID(), PSKEpoch: epoch, PSKNonce: keyschedule.NewPSKNonce(v.suite),
	}
	v.psks = []keyschedule.PSK{{ID: id, Secret: secret}}
}

// TestBadReInits invites to groups that are not what the ReInit asked for (RFC
// 9420, Section 11.2).
func TestBadReInits(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		set        func(s *succession)
		leaf       int
		identity   string
	}{
		{name: "epoch", rule: "11.2/epoch", set: func(s *succession) { s.context = func(c *keyschedule.GroupContext) { c.Epoch = 2 } }},
		{name: "epoch 0", rule: "11.2/epoch", set: func(s *succession) { s.context = func(c *keyschedule.GroupContext) { c.Epoch = 0 } }},
		{name: "group id", rule: "11.2/parameters", set: func(s *succession) {
			s.context = func(c *keyschedule.GroupContext) { c.GroupID = []byte("another") }
		}},
		{name: "extensions", rule: "11.2/parameters", set: func(s *succession) {
			s.context = func(c *keyschedule.GroupContext) { c.Extensions = []mls.Extension{requiresApplicationType} }
		}},
		{name: "members", rule: "11.2/members", leaf: 2, identity: "member 1", set: func(s *succession) {
			s.m[1] = newClient(s.t, s.suite, s.cfg, "somebody else")
		}},
		{name: "of an epoch before", rule: "11.2/no-reinit", set: func(s *succession) {
			epoch := s.opt.Predecessor.Epoch() - 1
			s.cfg.PSK = func(keyschedule.PreSharedKeyID) (mls.Secret, error) { return mls.NewSecret([]byte("known")), nil }
			s.link(keyschedule.UsageReInit, s.opt.Predecessor, epoch-1, mls.NewSecret([]byte("known")))
		}},
		{name: "of no group", rule: "11.2/no-reinit", set: func(s *succession) {
			secret := s.psks[0].Secret
			s.cfg.PSK = func(keyschedule.PreSharedKeyID) (mls.Secret, error) { return secret, nil }
			s.opt.Predecessor = nil
		}},
		{name: "of another group", rule: "11.2/no-reinit", set: func(s *succession) {
			secret := s.psks[0].Secret
			s.cfg.PSK = func(keyschedule.PreSharedKeyID) (mls.Secret, error) { return secret, nil }
			s.opt.Predecessor = newScene(s.t, 2).m[0].g
		}},
		{name: "of a group that goes on", rule: "11.2/no-reinit", set: func(s *succession) {
			old := newScene(s.t, 4).m[2].g
			s.opt.Predecessor = old
			s.link(keyschedule.UsageReInit, old, old.Epoch(), old.ResumptionPSK())
		}},
		{name: "psk unavailable", rule: "12.4.3.1/psk-unavailable", set: func(s *succession) { s.opt.Predecessor = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSuccession(t, keyschedule.UsageReInit, 4)
			tt.set(s)
			_, err := s.join()
			s.wants(badJoin{rule: tt.rule, leaf: tt.leaf, identity: tt.identity}, err)
		})
	}
	newSuccession(t, keyschedule.UsageReInit, 4).joins()
	newSuccession(t, keyschedule.UsageReInit, 3).joins() // more members are fine
}

// TestBadBranches invites to groups that are no branches (RFC 9420, Section
// 11.3).
func TestBadBranches(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		set        func(s *succession)
		leaf       int
		identity   string
	}{
		{name: "epoch", rule: "11.3/epoch", set: func(s *succession) { s.context = func(c *keyschedule.GroupContext) { c.Epoch = 2 } }},
		{name: "members", rule: "11.3/members", leaf: 2, identity: "stranger", set: func(s *succession) {
			s.m[1] = newClient(s.t, s.suite, s.cfg, "stranger")
		}},
		{name: "of no group", rule: "11.3/no-parent", set: func(s *succession) {
			secret := s.psks[0].Secret
			s.cfg.PSK = func(keyschedule.PreSharedKeyID) (mls.Secret, error) { return secret, nil }
			s.opt.Predecessor = nil
		}},
		{name: "of another group", rule: "11.3/no-parent", set: func(s *succession) {
			secret := s.psks[0].Secret
			s.cfg.PSK = func(keyschedule.PreSharedKeyID) (mls.Secret, error) { return secret, nil }
			s.opt.Predecessor = newScene(s.t, 2).m[0].g
		}},
		{name: "cipher suite", rule: "11.3/parameters", set: func(s *succession) {
			s.suite = suite(s.t, mls.X25519_CHACHA20POLY1305_SHA256_Ed25519)
			for i, c := range s.m {
				s.m[i] = newClient(s.t, s.suite, s.cfg, c.name)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSuccession(t, keyschedule.UsageBranch, 4)
			tt.set(s)
			_, err := s.join()
			s.wants(badJoin{rule: tt.rule, leaf: tt.leaf, identity: tt.identity}, err)
		})
	}
	newSuccession(t, keyschedule.UsageBranch, 4).joins()
	s := newSuccession(t, keyschedule.UsageBranch, 3)
	_, err := s.join()
	assertRule(t, err, "11.3/members")
}

// TestSuccessorsOfARemovedMember: who was removed has no resumption PSK.
func TestSuccessorsOfARemovedMember(t *testing.T) {
	for _, usage := range []keyschedule.ResumptionUsage{keyschedule.UsageReInit, keyschedule.UsageBranch} {
		s := newSuccession(t, usage, 4)
		removed := newScene(t, 4)
		removed.m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(3)}}, removed.m[1:])
		s.opt.Predecessor = removed.m[3].g
		for _, guess := range []mls.Secret{mls.ZeroSecret(32), mls.NewSecret(nil)} {
			s.link(usage, removed.m[3].g, removed.m[3].g.Epoch(), guess)
			if _, err := s.join(); err == nil {
				t.Fatal("joined with the PSK of a group that has removed us")
			}
		}
	}
}

// TestSuccessionRefusedBySender: Branch and Reinitialize make no such group.
func TestSuccessionRefusedBySender(t *testing.T) {
	sc := newScene(t, 3)
	c := sc.m[0]
	stranger := sc.client("stranger")
	err := unchanged(t, c, func() error {
		_, _, err := c.g.Branch(c.cfg, group.BranchOptions{Identity: sc.client("member 0").identity(), KeyPackages: keyPackages(stranger)})
		return err
	})
	assertRule(t, err, "11.3/members")
	reinitialize := func(clients ...*client) error {
		return unchanged(t, c, func() error {
			_, _, err := c.g.Reinitialize(c.cfg, group.ReinitializeOptions{Identity: sc.client("member 0").identity(), KeyPackages: keyPackages(clients...)})
			return err
		})
	}
	assertRule(t, reinitialize(stranger), "11.2/no-reinit")
	c.commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), sc.suite.ID(), nil)}}, sc.m[1:])
	assertRule(t, reinitialize(sc.client("member 1")), "11.2/members")
	check(t, reinitialize(sc.client("member 1"), sc.client("member 2")))

	bad := newScene(t, 2)
	p := group.ReInitProposal([]byte("next"), sc.suite.ID(), nil)
	p.ReInit.Version = 2
	bad.m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{p}}, bad.m[1:])
	if _, _, err := bad.m[0].g.Reinitialize(bad.cfg, group.ReinitializeOptions{Identity: sc.client("member 0").identity()}); !errors.Is(err, mls.ErrUnsupported) {
		t.Fatalf("a version that is not there: %v", err)
	}
}

// TestSameClientDecidesMembership: an application that knows its clients by
// something else than their credentials says who is who.
func TestSameClientDecidesMembership(t *testing.T) {
	s := newSuccession(t, keyschedule.UsageBranch, 4)
	s.m[1] = newClient(t, s.suite, s.cfg, "member 1's other name")
	if _, err := s.join(); err == nil {
		t.Fatal("a stranger branched off")
	}
	old := newSceneOf(t, func() group.Config {
		cfg := config()
		cfg.SameClient = func(a, b *treekem.LeafNode) bool { return a.Credential.Identity[7] == b.Credential.Identity[7] }
		return cfg
	}(), 4).m[3].g
	s.opt.Predecessor = old
	s.link(keyschedule.UsageBranch, old, old.Epoch(), old.ResumptionPSK())
	s.joins()
}
