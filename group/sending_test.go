package group_test

import (
	"errors"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// TestMaxLeavesOnGrowing: a commit that makes the tree wider than the limit is
// refused, by its sender too: its state could not be restored.
func TestMaxLeavesOnGrowing(t *testing.T) {
	cfg := config()
	cfg.Limits.MaxLeaves = 4
	sc := newSceneOf(t, cfg, 3)
	late := []*client{sc.client("fourth"), sc.client("fifth")}
	sc.accepted(sc.m[0].forge(framing.WireFormatPublicMessage, forgery{proposals: adds(late[0])}))
	for _, w := range bothFramings {
		message := sc.m[0].forge(w, forgery{proposals: adds(late...)}).message
		sc.fails(message, mls.ErrUnsupported)
	}
	err := unchanged(t, sc.m[1], func() error {
		return errOf(sc.m[1].g.Commit(group.CommitOptions{Proposals: adds(late...)}))
	})
	if !errors.Is(err, mls.ErrUnsupported) {
		t.Fatalf("five leaves, the limit is four: %v", err)
	}
	sc.m[0].commitTo(group.CommitOptions{Proposals: adds(late[0])}, sc.m[1:], late[0])
	check(t, errOf(group.Restore(cfg, state(t, sc.m[0]), sc.m[0].signer)))
	sc.m = append(sc.m, late[0])
	sc.observe()
	joiner := sc.client("fifth")
	sc.fails(joiner.forgeExternal(sc.info(), forgery{}, false).message, mls.ErrUnsupported)
	_, _, err = group.JoinExternal(cfg, sc.info(), group.ExternalJoinOptions{Identity: joiner.identity()})
	if !errors.Is(err, mls.ErrUnsupported) {
		t.Fatalf("joined as the fifth of four: %v", err)
	}
}

// TestVersionOfGroupInfo: a group of another version cannot be joined or
// observed, even if all its members claim to support that version.
func TestVersionOfGroupInfo(t *testing.T) {
	v := newInvitation(t, 3)
	v.leaf = func(_ int, l *treekem.LeafNode) { l.Capabilities.Versions = append(l.Capabilities.Versions, 2) }
	v.context = func(c *keyschedule.GroupContext) { c.Version = 2 }
	_, info := v.build()
	if _, err := group.Observe(v.cfg, info, nil); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("observed: %v", err)
	}
	stranger := newClient(t, v.suite, v.cfg, "stranger")
	caps := treekem.DefaultCapabilities()
	caps.Versions = append(caps.Versions, 2)
	id := stranger.identity()
	id.Capabilities = &caps
	if _, _, err := group.JoinExternal(v.cfg, info, group.ExternalJoinOptions{Identity: id}); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("joined: %v", err)
	}
}

// TestMaxProposalsOfOnesOwn: own proposals count, too.
func TestMaxProposalsOfOnesOwn(t *testing.T) {
	sc := limited(t, group.Limits{MaxProposals: 2})
	for range 2 {
		check(t, errOf(sc.m[1].g.Propose(group.PSKProposal(sc.suite, []byte("k")), nil)))
	}
	err := unchanged(t, sc.m[1], func() error { return errOf(sc.m[1].g.Propose(group.PSKProposal(sc.suite, []byte("k")), nil)) })
	assertRule(t, err, "12.1/too-many-proposals")
}

// TestOwnLifetime: nobody makes a key package that others refuse.
func TestOwnLifetime(t *testing.T) {
	sc := newScene(t, 2)
	c := sc.client("c")
	_, _, err := group.NewKeyPackage(c.cfg, sc.suite, group.KeyPackageOptions{Identity: c.identity(), Lifetime: group.DefaultMaxLifetime + time.Hour})
	assertRule(t, err, "7.2/lifetime-too-long")
}

// TestGREASEOfKeyPackages is in their extensions and in those of their leaf (RFC
// 9420, Section 13.5).
func TestGREASEOfKeyPackages(t *testing.T) {
	sc := newScene(t, 2)
	kp := sc.client("c").keyPackage()
	for name, list := range map[string][]mls.Extension{"key package": kp.Extensions, "leaf": kp.LeafNode.Extensions} {
		found := false
		for _, e := range list {
			found = found || mls.IsGREASE(uint16(e.Type))
		}
		if !found {
			t.Errorf("no GREASE in the extensions of a %s", name)
		}
	}
}

// TestDuplicateExtensionsAreNotSent: no list of extensions has two of one type
// (RFC 9420, Section 13.4).
func TestDuplicateExtensionsAreNotSent(t *testing.T) {
	sc := newScene(t, 3)
	dup := []mls.Extension{{Type: listed}, {Type: listed}}
	tree := []mls.Extension{{Type: mls.ExtensionRatchetTree}}
	c, m := sc.client("c"), sc.m[1]
	leaf := listing(c)
	leaf.Extensions = dup
	for name, call := range map[string]func() error{
		"New": func() error {
			return errOf(group.New(c.cfg, sc.suite, group.CreateOptions{Identity: listing(c), Extensions: dup}))
		},
		"leaf": func() error {
			return errOf3(group.NewKeyPackage(c.cfg, sc.suite, group.KeyPackageOptions{Identity: leaf}))
		},
		"key package": func() error {
			return errOf3(group.NewKeyPackage(c.cfg, sc.suite, group.KeyPackageOptions{Identity: listing(c), Extensions: dup}))
		},
		"key package added": func() error {
			kp := c.keyPackage()
			kp.Extensions = dup
			check(t, kp.Sign(sc.suite, c.signer))
			return errOf(m.g.Propose(group.AddProposal(kp), nil))
		},
		"leaf added": func() error {
			kp := c.keyPackage()
			kp.LeafNode.Capabilities = *listing(c).Capabilities
			kp.LeafNode.Extensions = dup
			check(t, kp.LeafNode.Sign(sc.suite, c.signer, nil, 0))
			check(t, kp.Sign(sc.suite, c.signer))
			return errOf(m.g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}}))
		},
		"new member": func() error {
			kp := c.keyPackage()
			kp.Extensions = dup
			check(t, kp.Sign(sc.suite, c.signer))
			return errOf(group.ProposeNewMember(sc.suite, c.signer, m.g.ID(), m.g.Epoch(), kp))
		},
		"proposal": func() error { return errOf(m.g.Propose(group.ExtensionsProposal(dup), nil)) },
		"commit": func() error {
			return errOf(m.g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.ExtensionsProposal(dup)}}))
		},
		"reinit": func() error { return errOf(m.g.Propose(group.ReInitProposal(nil, sc.suite.ID(), dup), nil)) },
		"info":   func() error { return errOf(m.g.GroupInfo(group.InfoOptions{Tree: true, Extensions: tree})) },
		"welcome": func() error {
			return errOf(m.g.Commit(group.CommitOptions{Proposals: adds(c), GroupInfoExtensions: tree}))
		},
	} {
		t.Run(name, func(t *testing.T) { assertRule(t, unchanged(t, m, call), "13.4/duplicate-extension") })
	}
}

// TestIncompleteProposals of the application's are errors, and no panics.
func TestIncompleteProposals(t *testing.T) {
	m := newScene(t, 3).m[1]
	for kind := mls.ProposalType(0); kind < 10; kind++ {
		p := framing.Proposal{Type: kind}
		if err := unchanged(t, m, func() error { return errOf(m.g.Propose(p, nil)) }); err == nil {
			t.Fatalf("a proposal of type %v without a body is sent", kind)
		}
		if err := unchanged(t, m, func() error { return errOf(m.g.Commit(group.CommitOptions{Proposals: []framing.Proposal{p}})) }); err == nil {
			t.Fatalf("a proposal of type %v without a body is committed", kind)
		}
	}
}
