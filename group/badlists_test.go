package group_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

var bothFramings = []framing.WireFormat{framing.WireFormatPublicMessage, framing.WireFormatPrivateMessage}

// TestBadUpdates lets a member propose Updates that break one rule.
func TestBadUpdates(t *testing.T) {
	type bad struct {
		name, rule string
		cfg        func(*group.Config)
		make       func(sc *scene) *treekem.LeafNode
	}
	cases := []bad{
		{name: "source", rule: "7.3/leaf-node-source", make: func(sc *scene) *treekem.LeafNode {
			return sc.m[0].updateLeaf(func(l *treekem.LeafNode) { l.Source = treekem.SourceCommit })
		}},
		{name: "source of a key package", rule: "7.3/leaf-node-source", make: func(sc *scene) *treekem.LeafNode {
			return sc.m[0].updateLeaf(func(l *treekem.LeafNode) { l.Source = treekem.SourceKeyPackage })
		}},
		{name: "same key", rule: "7.3/update-encryption-key", make: func(sc *scene) *treekem.LeafNode {
			own, _ := sc.m[0].g.Member(0)
			return sc.m[0].updateLeaf(func(l *treekem.LeafNode) { l.EncryptionKey = own.EncryptionKey })
		}},
		{name: "signed for another leaf", rule: "7.3/leaf-signature", make: func(sc *scene) *treekem.LeafNode {
			l := sc.m[0].updateLeaf(nil)
			check(sc.t, l.Sign(sc.suite, sc.m[0].signer, sc.m[0].g.ID(), 1))
			return l
		}},
		{name: "signed for another group", rule: "7.3/leaf-signature", make: func(sc *scene) *treekem.LeafNode {
			l := sc.m[0].updateLeaf(nil)
			check(sc.t, l.Sign(sc.suite, sc.m[0].signer, []byte("elsewhere"), 0))
			return l
		}},
		{name: "successor", rule: "5.3.1/successor-credential", cfg: refuse("somebody else"), make: func(sc *scene) *treekem.LeafNode {
			return sc.m[0].updateLeaf(func(l *treekem.LeafNode) { l.Credential = treekem.BasicCredential([]byte("somebody else")) })
		}},
	}
	for _, l := range badLeaves {
		cases = append(cases, bad{name: l.name, rule: l.rule, make: func(sc *scene) *treekem.LeafNode { return sc.m[0].updateLeaf(l.change) }})
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			sc := newSceneOf(t, cfg, 5)
			p := updateProposal(tt.make(sc))
			for _, w := range bothFramings {
				sc.blames(sc.refused(sc.m[0].forgeProposal(w, p), tt.rule), 0, "", -1)
			}
		})
	}
}

// TestBadUpdatesShowWhenCommitted commits Updates that are valid but for what
// the other members are.
func TestBadUpdatesShowWhenCommitted(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		exts       []mls.Extension
		change     func(sc *scene, l *treekem.LeafNode)
	}{
		{name: "required capabilities", rule: "11.1/required-capabilities", exts: []mls.Extension{requiresApplicationType},
			change: func(_ *scene, l *treekem.LeafNode) { basicOnly(l) }},
		{name: "version", rule: "7.3/version-in-capabilities", change: func(_ *scene, l *treekem.LeafNode) { noVersion(l) }},
		{name: "cipher suite", rule: "7.3/cipher-suite-in-capabilities", change: func(_ *scene, l *treekem.LeafNode) { noSuite(l) }},
		{name: "group extension", rule: "13.4/group-extension-support", exts: []mls.Extension{{Type: listed}},
			change: func(_ *scene, l *treekem.LeafNode) { withoutListed(l) }},
		{name: "key of a parent", rule: "12.4.3.1/parent-key-unique", change: func(sc *scene, l *treekem.LeafNode) {
			// The path of the commit would replace it, but the Update is first.
			l.EncryptionKey, _ = sc.m[0].g.Tree().EncryptionKey(sc.m[0].g.Tree().DirectPath(0)[0])
		}},
		{name: "encryption key of a member", rule: "7.3/encryption-key-unique", change: func(sc *scene, l *treekem.LeafNode) {
			l.EncryptionKey, _ = sc.m[0].g.Tree().EncryptionKey(treekem.LeafNodeIndex(1))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := newScene(t, 5, tt.exts...)
			bad := sc.m[3]
			message, ref := bad.forgeProposalRef(framing.WireFormatPublicMessage, updateProposal(bad.updateLeaf(func(l *treekem.LeafNode) { tt.change(sc, l) })))
			sc.send(message)
			sc.m = append(sc.m[:3:3], sc.m[4]) // its own state doesn't know the proposal
			e := sc.commitRefused(forgery{refs: [][]byte{ref}}, tt.rule)
			sc.blames(e, 3, "member 3", -1)
			err := unchanged(t, sc.m[1], func() error {
				_, err := sc.m[1].g.Commit(group.CommitOptions{References: [][]byte{ref}})
				return err
			})
			assertRule(t, err, tt.rule)
		})
	}
}

// TestBadLists commits lists of valid proposals that are not to be together.
func TestBadLists(t *testing.T) {
	values := func(list ...framing.Proposal) forgery { return forgery{proposals: list} }
	for _, tt := range []struct {
		name, rule string
		sameClient bool
		list       func(sc *scene) forgery
		// leaf is one more than the leaf to blame, proposal than the proposal.
		leaf, proposal int
		identity       string
		notHonest      bool // the sender's code has no such call
	}{
		{name: "own update by value", rule: "12.2/committer-update", proposal: 1, list: func(sc *scene) forgery {
			return values(updateProposal(sc.m[0].updateLeaf(nil)))
		}},
		{name: "own update by reference", rule: "12.2/committer-update", proposal: 1, list: func(sc *scene) forgery {
			return forgery{refs: [][]byte{sc.update(sc.m[0])}}
		}},
		{name: "remove of the committer", rule: "12.2/committer-removed", proposal: 1, list: func(*scene) forgery {
			return values(group.RemoveProposal(0))
		}},
		{name: "update and remove", rule: "12.2/update-and-remove-same-leaf", leaf: 3, proposal: 2, list: func(sc *scene) forgery {
			return forgery{refs: [][]byte{sc.update(sc.m[2])}, proposals: []framing.Proposal{group.RemoveProposal(2)}}
		}},
		{name: "two updates", rule: "12.2/multiple-updates-same-leaf", leaf: 3, proposal: 2, list: func(sc *scene) forgery {
			return forgery{refs: [][]byte{sc.update(sc.m[2]), sc.update(sc.m[2])}}
		}},
		{name: "two removes", rule: "12.2/multiple-removes-same-leaf", leaf: 3, proposal: 2, list: func(*scene) forgery {
			return values(group.RemoveProposal(2), group.RemoveProposal(2))
		}},
		{name: "a reference twice", rule: "12.2/multiple-removes-same-leaf", leaf: 3, proposal: 2, list: func(sc *scene) forgery {
			ref := sc.propose(sc.m[1], group.RemoveProposal(2))
			return forgery{refs: [][]byte{ref, ref}}
		}},
		{name: "two adds of one key", rule: "12.2/duplicate-add", proposal: 2, identity: "late", list: func(sc *scene) forgery {
			c := sc.client("late")
			return values(adds(c, c)...)
		}},
		{name: "two adds of one client", rule: "12.2/duplicate-add", sameClient: true, proposal: 2, identity: "late", list: func(sc *scene) forgery {
			return values(adds(sc.client("late"), sc.client("late"))...)
		}},
		{name: "add of a member's key", rule: "12.2/add-existing-member", leaf: 3, proposal: 1, identity: "member 2", list: func(sc *scene) forgery {
			return values(adds(sc.m[2])...)
		}},
		{name: "add of a member's client", rule: "12.2/add-existing-member", sameClient: true, leaf: 3, proposal: 1, identity: "member 2", list: func(sc *scene) forgery {
			return values(adds(sc.client("member 2"))...)
		}},
		{name: "psk twice", rule: "12.2/duplicate-psk", proposal: 2, list: func(sc *scene) forgery {
			p := group.PSKProposal(sc.suite, []byte("k"))
			return values(p, p)
		}},
		{name: "two group context extensions", rule: "12.2/multiple-group-context-extensions", proposal: 2, list: func(*scene) forgery {
			return values(group.ExtensionsProposal(nil), group.ExtensionsProposal(nil))
		}},
		{name: "reinit and others", rule: "12.2/reinit-with-others", list: func(sc *scene) forgery {
			return values(group.ReInitProposal([]byte("next"), sc.suite.ID(), nil), group.PSKProposal(sc.suite, []byte("k")))
		}},
		{name: "two reinits", rule: "12.2/reinit-with-others", list: func(sc *scene) forgery {
			return values(group.ReInitProposal([]byte("a"), sc.suite.ID(), nil), group.ReInitProposal([]byte("b"), sc.suite.ID(), nil))
		}},
		{name: "external init", rule: "12.2/external-init", proposal: 1, list: func(sc *scene) forgery {
			kem, _, err := sc.suite.ExternalInit(sc.m[0].g.TestingEpoch().ExternalPub())
			check(sc.t, err)
			return values(externalInit(kem))
		}},
		{name: "psk that nobody has", rule: "12.4.2/psk-unavailable", list: func(sc *scene) forgery {
			return values(group.ResumptionProposal(sc.suite, []byte("another group"), 7))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.sameClient {
				cfg.SameClient = func(a, b *treekem.LeafNode) bool { return a.Credential.Equal(b.Credential) }
			}
			sc := newSceneOf(t, cfg, 5)
			f := tt.list(sc)
			if tt.rule == "12.4.2/psk-unavailable" { // the observer has no PSKs to look for
				for _, w := range bothFramings {
					sc.refusedByMembers(sc.m[0].forge(w, f).message, tt.rule)
				}
			} else {
				sc.blames(sc.commitRefused(f, tt.rule), tt.leaf-1, tt.identity, tt.proposal-1)
			}
			refs := f.refs
			if refs == nil {
				refs = [][]byte{}
			}
			err := unchanged(t, sc.m[0], func() error {
				_, err := sc.m[0].g.Commit(group.CommitOptions{Proposals: f.proposals, References: refs})
				return err
			})
			assertRule(t, err, tt.rule)
		})
	}
}

// TestReAddIsFine: what Section 12.2 forbids is an Add without the Remove.
func TestReAddIsFine(t *testing.T) {
	sc := newScene(t, 5)
	again := sc.client("member 2")
	again.signer = sc.m[2].signer
	list := append(adds(again), group.RemoveProposal(2))
	sc.m = append(sc.m[:2:2], sc.m[3:]...)
	for _, w := range bothFramings {
		sc.accepted(sc.m[0].forge(w, forgery{proposals: list}))
	}
}

// TestSelectionIsValid: of what was received, a commit takes what makes a valid
// list (RFC 9420, Section 12.2: a Remove rather than an Update, the latest
// Update, and no ReInit if there is anything else).
func TestSelectionIsValid(t *testing.T) {
	sc := newScene(t, 6)
	sc.propose(sc.m[1], group.ReInitProposal([]byte("next"), sc.suite.ID(), nil))
	sc.update(sc.m[2])
	last := sc.update(sc.m[2])
	sc.update(sc.m[3])
	sc.propose(sc.m[1], group.RemoveProposal(3))
	sc.propose(sc.m[4], group.RemoveProposal(3))
	sc.propose(sc.m[4], group.RemoveProposal(0))
	sc.update(sc.m[0])
	s := sc.m[0].commit(group.CommitOptions{})
	ac := must[*framing.Message](t)(framing.Parse(s.Message())).Public
	has := func(ref []byte) bool {
		for _, p := range ac.Content.Commit.Proposals {
			if bytes.Equal(p.Ref, ref) {
				return true
			}
		}
		return false
	}
	removed := s.Changes().Removed
	if !has(last) || len(removed) != 1 || removed[0].Leaf != 3 || len(ac.Content.Commit.Proposals) != 2 {
		t.Fatalf("commits %d proposals, %d removes", len(ac.Content.Commit.Proposals), len(removed))
	}
	deliver(t, s.Message(), sc.m[1:]...)
	check(t, sc.m[0].g.Merge(s))
	agree(t, sc.m[0], sc.m[1], sc.m[2], sc.m[4], sc.m[5])

	// Alone, the ReInit is committed.
	sc.m = append(sc.m[:3:3], sc.m[4:]...)
	sc.observe()
	sc.propose(sc.m[1], group.ReInitProposal([]byte("next"), sc.suite.ID(), nil))
	s = sc.m[0].commit(group.CommitOptions{})
	if s.Changes().ReInit == nil {
		t.Fatal("a ReInit that is alone is not committed")
	}
}

// TestUnknownReference: a commit whose proposal has not arrived can be processed
// later; one that names none never can.
func TestUnknownReference(t *testing.T) {
	sc := newScene(t, 4)
	message, ref := sc.m[2].forgeProposalRef(framing.WireFormatPublicMessage, group.RemoveProposal(3))
	check(t, errOf(sc.m[0].g.Process(message)))
	commit := sc.m[0].forge(framing.WireFormatPublicMessage, forgery{refs: [][]byte{ref}}).message
	err := unchanged(t, sc.m[1], func() error { return errOf(sc.m[1].g.Process(commit)) })
	if !errors.Is(err, mls.ErrUnknownProposal) || !mls.Retryable(err) {
		t.Fatalf("a commit before its proposal: %v", err)
	}
	if _, err := sc.observer.Process(commit); !errors.Is(err, mls.ErrUnknownProposal) {
		t.Fatalf("observer: %v", err)
	}
	check(t, errOf(sc.m[1].g.Process(message)))
	check(t, errOf(sc.m[1].g.Process(commit)))
	if _, err := sc.m[1].g.Commit(group.CommitOptions{References: [][]byte{[]byte("no such")}}); !errors.Is(err, mls.ErrUnknownProposal) {
		t.Fatalf("committing an unknown reference: %v", err)
	}
}

func errOf(_ any, err error) error { return err }

// TestOmissionIsTolerated: a commit need not cover the proposals that its
// receivers hold (RFC 9420, Section 12.4).
func TestOmissionIsTolerated(t *testing.T) {
	sc := newScene(t, 4)
	sc.propose(sc.m[1], group.RemoveProposal(3))
	sc.accepted(sc.m[0].forge(framing.WireFormatPublicMessage, forgery{}))
}

// TestPathRequired omits the path from commits whose lists demand one (RFC
// 9420, Section 12.4).
func TestPathRequired(t *testing.T) {
	for _, tt := range []struct {
		name string
		list func(sc *scene) forgery
	}{
		{"empty list", func(*scene) forgery { return forgery{} }},
		{"update", func(sc *scene) forgery { return forgery{refs: [][]byte{sc.update(sc.m[2])}} }},
		{"remove", func(*scene) forgery { return forgery{proposals: []framing.Proposal{group.RemoveProposal(2)}} }},
		{"extensions", func(*scene) forgery { return forgery{proposals: []framing.Proposal{group.ExtensionsProposal(nil)}} }},
		{"remove and add", func(sc *scene) forgery {
			return forgery{proposals: append(adds(sc.client("late")), group.RemoveProposal(2))}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := newScene(t, 5)
			f := tt.list(sc)
			f.noPath = true
			sc.commitRefused(f, "12.4/path-required")
			s := sc.m[0].commit(group.CommitOptions{Proposals: f.proposals, References: append([][]byte{}, f.refs...), OmitPath: true})
			if !s.Changes().Path {
				t.Fatal("an honest committer omits the path, too")
			}
		})
	}
	sc := newScene(t, 5)
	for _, p := range append(adds(sc.client("late")), group.PSKProposal(sc.suite, []byte("k")), group.ReInitProposal(nil, sc.suite.ID(), nil)) {
		sc.accepted(sc.m[0].forge(framing.WireFormatPrivateMessage, forgery{noPath: true, proposals: []framing.Proposal{p}}))
	}
}
