package group_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Where other implementations went wrong, one test for each.

// TestExpiredCredentialsOfSenders: a credential is looked at when it enters the
// group. That it is refused later does not stop its holder's messages, nor the
// Update that replaces it (RFC 9420, Section 5.3.2).
func TestExpiredCredentialsOfSenders(t *testing.T) {
	expired := ""
	cfg := config()
	cfg.Authenticate = func(a group.Authentication) error {
		if string(a.Credential.Identity) == expired {
			return errRefused
		}
		return nil
	}
	sc := newSceneOf(t, cfg, 3)
	late := must[[]byte](t)(sc.m[1].g.Protect([]byte("late"), nil))
	expired = "member 1"
	deliver(t, late, sc.m[0])
	sc.m[1].commitTo(group.CommitOptions{}, []*client{sc.m[0], sc.m[2]})
	deliver(t, late, sc.m[2]) // of a past epoch
	fresh := group.Identity{Credential: treekem.BasicCredential([]byte("member 1 anew")), Signer: sc.m[1].signer}
	deliver(t, must[[]byte](t)(sc.m[1].g.ProposeUpdate(group.UpdateOptions{Identity: &fresh})), sc.m[0], sc.m[2])
	sc.m[0].commitTo(group.CommitOptions{}, sc.m[1:])
	if leaf, _ := sc.m[2].g.Member(1); string(leaf.Credential.Identity) != "member 1 anew" {
		t.Fatal("the credential was not replaced")
	}
	back := group.Identity{Credential: treekem.BasicCredential([]byte("member 1")), Signer: sc.m[1].signer}
	_, err := sc.m[1].g.ProposeUpdate(group.UpdateOptions{Identity: &back})
	assertRule(t, err, "5.3.1/successor-credential")
}

// TestNewGroups have random identifiers and an empty transcript (RFC 9420,
// Section 11).
func TestNewGroups(t *testing.T) {
	s := suite(t, mls.P521_AES256GCM_SHA512_P521)
	seen := map[string]bool{}
	for range 10 {
		c := newClient(t, s, config(), "founder")
		c.create()
		context := c.g.Context()
		if len(context.GroupID) != s.HashSize() || seen[string(context.GroupID)] {
			t.Fatal("a group id that is short or not new")
		}
		seen[string(context.GroupID)] = true
		if context.Epoch != 0 || len(context.ConfirmedTranscriptHash) != 0 || c.g.Tree().Width() != 1 || !bytes.Equal(context.TreeHash, c.g.Tree().Hash()) {
			t.Fatalf("a new group in epoch %d of %d leaves", context.Epoch, c.g.Tree().Width())
		}
	}
}

// TestNoncesAreFresh: each PreSharedKeyID that is made has its own nonce.
func TestNoncesAreFresh(t *testing.T) {
	s := suite(t, mls.P384_AES256GCM_SHA384_P384)
	seen := map[string]bool{}
	note := func(id keyschedule.PreSharedKeyID) {
		if len(id.PSKNonce) != s.HashSize() || seen[string(id.PSKNonce)] {
			t.Fatal("a nonce that is short or not new")
		}
		seen[string(id.PSKNonce)] = true
	}
	for range 10 {
		note(group.PSKProposal(s, []byte("k")).PreSharedKey.PSK)
		note(group.ResumptionProposal(s, []byte("g"), 1).PreSharedKey.PSK)
	}
	m := newGroup(t, s, config(), 2)
	for range 3 {
		other := newClient(t, s, config(), "member 1")
		_, welcome, err := m[0].g.Branch(config(), group.BranchOptions{Identity: newClient(t, s, config(), "member 0").identity(), KeyPackages: keyPackages(other)})
		check(t, err)
		w := parseWelcome(t, welcome)
		secrets, err := w.Secrets[0].Open(s, other.private.InitKey, w.EncryptedGroupInfo)
		check(t, err)
		note(secrets.PSKs[0])
	}
}

// TestOrderOfApplication: new extensions count for what is added with them,
// removes make room for adds, and the tree is truncated once (RFC 9420, Section
// 12.3).
func TestOrderOfApplication(t *testing.T) {
	sc := newScene(t, 5)
	lacking, lateLeaf := keyPackageWith(sc, basicOnly, nil), sc.client("late")
	required := group.ExtensionsProposal([]mls.Extension{requiresApplicationType})
	// The Add comes first in the list, the extensions are applied first.
	sc.commitRefused(forgery{proposals: []framing.Proposal{lacking, required}}, "12.1.7/required-capabilities")

	list := append(adds(lateLeaf), group.RemoveProposal(4), group.RemoveProposal(1), group.PSKProposal(sc.suite, []byte("k")), required)
	s := sc.m[0].commit(group.CommitOptions{Proposals: list})
	deliver(t, s.Message(), sc.m[2], sc.m[3])
	check(t, sc.m[0].g.Merge(s))
	check(t, lateLeaf.join(s.Welcome(), group.JoinOptions{}))
	agree(t, sc.m[0], sc.m[2], sc.m[3], lateLeaf)
	if lateLeaf.g.OwnLeaf() != 1 || lateLeaf.g.Tree().Width() != 4 {
		t.Fatalf("leaf %d of %d: the remove of leaf 1 makes room, that of leaf 4 halves the tree", lateLeaf.g.OwnLeaf(), lateLeaf.g.Tree().Width())
	}
	talk(t, sc.m[0], sc.m[2], sc.m[3], lateLeaf)

	// An empty list of extensions clears them.
	sc.m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.ExtensionsProposal(nil)}}, []*client{sc.m[2], sc.m[3], lateLeaf})
	if c := sc.m[2].g.Context(); len(c.Extensions) != 0 {
		t.Fatal("extensions are left")
	}
}

// TestTruncationAfterAllRemoves: removes that empty the right half one by one,
// in any order, with a new member at once.
func TestTruncationAfterAllRemoves(t *testing.T) {
	for _, order := range [][]mls.LeafIndex{{8, 5, 6, 7, 4}, {4, 7, 6, 5, 8}, {6, 8, 4, 5, 7}} {
		sc := newScene(t, 9)
		late := sc.client("late")
		list := adds(late)
		for _, leaf := range order {
			list = append(list, group.RemoveProposal(leaf))
		}
		s := sc.m[0].commit(group.CommitOptions{Proposals: list})
		deliver(t, s.Message(), sc.m[1:4]...)
		check(t, sc.m[0].g.Merge(s))
		check(t, late.join(s.Welcome(), group.JoinOptions{}))
		agree(t, late, sc.m[0], sc.m[1], sc.m[2], sc.m[3])
		if w := late.g.Tree().Width(); w != 8 || late.g.OwnLeaf() != 4 {
			t.Fatalf("width %d, leaf %d", w, late.g.OwnLeaf())
		}
		check(t, late.g.Tree().CheckAggregates())
	}
}

// TestFilteredPathBelowTheRoot: of 4 members, the third removes the first two.
// Its filtered direct path ends below the root, and the commit secret is one
// step past its own last path secret, not past the root's.
func TestFilteredPathBelowTheRoot(t *testing.T) {
	for _, w := range bothFramings {
		cfg := config()
		cfg.Handshakes = w
		m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), cfg, 4)
		for _, c := range m[1:] {
			c.commitTo(group.CommitOptions{}, without(m, c))
		}
		s := m[2].commit(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(0), group.RemoveProposal(1)}})
		deliver(t, s.Message(), m[3])
		check(t, m[2].g.Merge(s))
		agree(t, m[2], m[3])
		talk(t, m[2], m[3])
		// A joiner finds the tree valid.
		late := newClient(t, m[0].suite, cfg, "late")
		m[3].commitTo(group.CommitOptions{Proposals: adds(late)}, []*client{m[2]}, late)
		agree(t, m[2], m[3], late)
	}
}

func without(list []*client, c *client) []*client {
	var rest []*client
	for _, other := range list {
		if other != c {
			rest = append(rest, other)
		}
	}
	return rest
}

// TestLateMessageOfAReusedLeaf is not attributed to whoever took the leaf, and
// is verified with the key of who had it then (RFC 9420, Section 6.1).
func TestLateMessageOfAReusedLeaf(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 4)
	late := must[[]byte](t)(m[1].g.Protect([]byte("late"), nil))
	heir := newClient(t, m[0].suite, config(), "heir")
	m[0].commitTo(group.CommitOptions{Proposals: append(adds(heir), group.RemoveProposal(1))}, m[1:], heir)
	if heir.g.OwnLeaf() != 1 {
		t.Fatal("the leaf was not reused")
	}
	for _, restored := range []bool{false, true} {
		c := m[2]
		if restored {
			c = m[3]
			c.g = must[*group.Group](t)(group.Restore(c.cfg, state(t, c), c.signer))
		}
		a, ok := must[group.Received](t)(c.g.Process(late)).(*group.Application)
		if !ok || string(a.Credential.Identity) != "member 1" || a.Sender != 1 || a.Epoch != 1 {
			t.Fatalf("restored %v: a late message of member 1 reads as from %v", restored, a)
		}
	}
	if s, ok := must[group.Received](t)(heir.g.Process(late)).(*group.StaleEpoch); !ok || s.Got != 1 {
		t.Fatal("the heir reads what was before its time")
	}
}

// TestPathToNewMembers: path secrets are not encrypted to those who are added
// by the same commit, however their leaves lie, and it is their Welcome that
// brings them theirs.
func TestPathToNewMembers(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for added := 1; added <= 4; added += 3 {
			m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), n)
			if n > 2 { // a blank in the middle, and an unmerged leaf
				m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(1)}}, m[1:])
				m = append(m[:1:1], m[2:]...)
			}
			var late []*client
			for range added {
				late = append(late, newClient(t, m[0].suite, config(), "late"))
			}
			last := m[len(m)-1]
			last.commitTo(group.CommitOptions{Proposals: adds(late...)}, m[:len(m)-1], late...)
			all := append(append([]*client{}, m...), late...)
			agree(t, all...)
			// Everybody's path works, old and new.
			for _, c := range all {
				c.commitTo(group.CommitOptions{}, without(all, c))
			}
			agree(t, all...)
		}
	}
}

// TestPSKOrder: PSKs are chained in the order of the proposals, in the Welcome
// too, and another order is another epoch (RFC 9420, Section 12.4.1).
func TestPSKOrder(t *testing.T) {
	sc := newScene(t, 3)
	a, b := group.PSKProposal(sc.suite, []byte("a")), group.PSKProposal(sc.suite, []byte("b"))
	late := sc.client("late")
	add := adds(late)[0]
	s := sc.m[0].commit(group.CommitOptions{Proposals: []framing.Proposal{a, add, b}})
	deliver(t, s.Message(), sc.m[1:]...)
	check(t, sc.m[0].g.Merge(s))
	w := parseWelcome(t, s.Welcome())
	secrets, err := w.Secrets[0].Open(sc.suite, late.private.InitKey, w.EncryptedGroupInfo)
	check(t, err)
	if len(secrets.PSKs) != 2 || !secrets.PSKs[0].Equal(a.PreSharedKey.PSK) || !secrets.PSKs[1].Equal(b.PreSharedKey.PSK) {
		t.Fatal("the Welcome names the PSKs in another order")
	}
	check(t, late.join(s.Welcome(), group.JoinOptions{}))
	agree(t, append(sc.m, late)...)

	bad := newScene(t, 3)
	for _, w := range bothFramings {
		message := bad.m[0].forge(w, forgery{
			proposals: []framing.Proposal{a, b},
			commit:    func(c *framing.Commit) { c.Proposals[0], c.Proposals[1] = c.Proposals[1], c.Proposals[0] },
		}).message
		bad.refusedByMembers(message, "12.4.2/confirmation-tag")
	}
}

// TestRatchetsAreIndependent: handshake and application messages of one sender,
// in any order, don't use up each other's generations (RFC 9420, Section 9.1).
func TestRatchetsAreIndependent(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 2)
	text := must[[]byte](t)(m[0].g.Protect([]byte("0"), nil))
	proposal := must[[]byte](t)(m[0].g.Propose(group.PSKProposal(m[0].suite, []byte("k")), nil))
	commit := m[0].commit(group.CommitOptions{})
	deliver(t, proposal, m[1])
	a := must[group.Received](t)(m[1].g.Process(text)).(*group.Application)
	if a.Generation != 0 {
		t.Fatalf("generation %d", a.Generation)
	}
	deliver(t, commit.Message(), m[1])
	check(t, m[0].g.Merge(commit))
	agree(t, m...)
}

// TestOwnProposalAfterRestart: a proposer resolves the reference of its own
// proposal, and installs its own Update, after its state was restored.
func TestOwnProposalAfterRestart(t *testing.T) {
	for _, w := range bothFramings {
		cfg := config()
		cfg.Handshakes = w
		m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), cfg, 3)
		update := must[[]byte](t)(m[1].g.ProposeUpdate(group.UpdateOptions{}))
		remove := must[[]byte](t)(m[1].g.Propose(group.RemoveProposal(2), nil))
		m[1].g = must[*group.Group](t)(group.Restore(cfg, state(t, m[1]), m[1].signer))
		for i, message := range [][]byte{update, remove} {
			own, ok := must[group.Received](t)(m[1].g.Process(message)).(*group.OwnMessage)
			if !ok || !own.Known {
				t.Fatal("an own proposal is not known after a restart")
			}
			if want := m[1].g.Proposals()[i].Ref; !bytes.Equal(own.Ref, want) {
				t.Fatalf("the reference of an own proposal is %x, want %x", own.Ref, want)
			}
		}
		deliver(t, update, m[0])
		deliver(t, remove, m[0])
		m[0].commitTo(group.CommitOptions{}, []*client{m[1]})
		agree(t, m[0], m[1])
		talk(t, m[0], m[1])
	}
}

// TestOwnRemovalWhilePending: our commit loses to one that removes us.
func TestOwnRemovalWhilePending(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 3)
	pending := m[2].commit(group.CommitOptions{})
	s := m[0].commit(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(2)}})
	r, ok := must[group.Received](t)(m[2].g.Process(s.Message())).(*group.Removal)
	if !ok || !r.SelfRemoved() || r.Tree() != nil {
		t.Fatalf("own removal is %T", r)
	}
	if !m[2].g.Active() {
		t.Fatal("removed before the removal was merged")
	}
	check(t, m[2].g.Merge(r.Staged))
	if err := m[2].g.Merge(pending); !errors.Is(err, mls.ErrRemoved) {
		t.Fatalf("merging after the removal: %v", err)
	}
}

// TestDiscardedCommitLeavesNoTrace but a step of the handshake ratchet, which
// must not be taken back: its key was used (RFC 9420, Section 14).
func TestDiscardedCommitLeavesNoTrace(t *testing.T) {
	for _, w := range bothFramings {
		cfg := config()
		cfg.Handshakes = w
		m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), cfg, 3)
		secrets, tree := epochSecrets(m[0]), m[0].g.Tree()
		first := m[0].commit(group.CommitOptions{}).Message()
		for name, s := range epochSecrets(m[0]) {
			if !bytes.Equal(s, secrets[name]) {
				t.Fatalf("making a commit changes %s", name)
			}
		}
		if m[0].g.Tree() != tree || m[0].g.Epoch() != 1 {
			t.Fatal("making a commit changes the tree")
		}
		second := m[0].commit(group.CommitOptions{})
		deliver(t, second.Message(), m[1:]...)
		check(t, m[0].g.Merge(second))
		agree(t, m...)
		if _, ok := must[group.Received](t)(m[1].g.Process(first)).(*group.StaleEpoch); !ok {
			t.Fatal("the discarded commit is not stale")
		}
	}
}

// TestRotatedSignatureKey: who commits with a new signature key signs the
// GroupInfo of the new epoch with it.
func TestRotatedSignatureKey(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 3)
	fresh := newClient(t, m[0].suite, config(), "member 0")
	id := fresh.identity()
	late := newClient(t, m[0].suite, config(), "late")
	s := m[0].commit(group.CommitOptions{Identity: &id, Proposals: adds(late)})
	deliver(t, s.Message(), m[1:]...)
	check(t, m[0].g.Merge(s))
	check(t, late.join(s.Welcome(), group.JoinOptions{}))
	all := append([]*client{late}, m...)
	agree(t, all...)
	talk(t, all...)
	if _, err := group.Restore(m[0].cfg, state(t, m[0]), m[0].signer); err == nil {
		t.Fatal("restored without the signer that is in use")
	}
	check(t, errOf(group.Restore(m[0].cfg, state(t, m[0]), m[0].signer, fresh.signer)))
}

// TestOwnUpdateLost: a commit of an own Update whose key is gone is refused as
// such, and the group stays.
func TestOwnUpdateLost(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 2)
	update := must[[]byte](t)(m[1].g.ProposeUpdate(group.UpdateOptions{}))
	deliver(t, update, m[0])
	commit := m[0].commit(group.CommitOptions{})
	m[1].g.TestingForgetUpdates()
	err := unchanged(t, m[1], func() error {
		_, err := m[1].g.Process(commit.Message())
		return err
	})
	if !errors.Is(err, group.ErrOwnUpdateLost) {
		t.Fatal(err)
	}
}

// TestDestroy: nothing is left that could read or write in the group, and
// another member's state, or a restored one, is not affected.
func TestDestroy(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 2)
	m[0].commitTo(group.CommitOptions{}, m[1:])
	check(t, m[1].g.Reserve(2))
	text := must[[]byte](t)(m[0].g.Protect([]byte("hello"), nil))
	saved := state(t, m[1])
	g := m[1].g
	g.Destroy()
	g.Destroy()
	if _, err := g.Protect(nil, nil); !errors.Is(err, mls.ErrRemoved) {
		t.Errorf("sending: %v", err)
	}
	if _, err := g.Process(text); !errors.Is(err, mls.ErrRemoved) {
		t.Errorf("receiving: %v", err)
	}
	if psk := g.ResumptionPSK(); !psk.IsZero() {
		t.Error("the resumption PSK is left")
	}
	if len(g.EpochAuthenticator()) != 0 {
		t.Error("the epoch authenticator is left")
	}
	if secret, err := g.Export("label", nil, 32); err == nil && !secret.IsZero() {
		t.Error("secrets can be exported")
	}
	m[1].g = must[*group.Group](t)(group.Restore(config(), saved, m[1].signer))
	if _, ok := must[group.Received](t)(m[1].g.Process(text)).(*group.Application); !ok {
		t.Error("what was saved before does not read a message")
	}
	agree(t, m...)
}

// TestDestroyAfterRemoval: what is restored of a group that removed us has
// nothing to destroy.
func TestDestroyAfterRemoval(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 2)
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(1)}}, m[1:])
	m[1].g.Destroy()
	g := must[*group.Group](t)(group.Restore(config(), state(t, m[1]), m[1].signer))
	g.Destroy()
	if g.Active() {
		t.Error("a removed member is active")
	}
}

// TestDestroyStaged: a commit that is not to be merged is cleared, and neither
// the group nor another commit of it is affected, with or without a path.
func TestDestroyStaged(t *testing.T) {
	for _, omit := range []bool{false, true} {
		m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 4)
		opt := group.CommitOptions{OmitPath: omit, Proposals: []framing.Proposal{
			group.PSKProposal(m[0].g.Suite(), []byte("x")),
		}}
		dropped, restored, kept := m[0].commit(opt), m[0].commit(opt), m[0].commit(opt)
		saved := must[[]byte](t)(restored.State())
		dropped.Destroy()
		dropped.Destroy()
		if dropped.EpochAuthenticator() != nil {
			t.Error("the epoch authenticator is left")
		}
		if _, err := dropped.GroupInfo(group.InfoOptions{}); err == nil || errors.Is(err, mls.ErrRemoved) {
			t.Errorf("its GroupInfo: %v", err)
		}
		if _, err := dropped.State(); err == nil || !strings.Contains(err.Error(), "destroyed") {
			t.Errorf("its state: %v", err)
		}
		if err := m[0].g.Merge(dropped); err == nil || errors.Is(err, mls.ErrWrongEpoch) {
			t.Errorf("merging it: %v", err)
		}
		must[*group.Staged](t)(m[0].g.RestoreStaged(saved, m[0].signer)).Destroy()
		deliver(t, kept.Message(), m[1:]...)
		check(t, m[0].g.Merge(kept))
		restored.Destroy()
		kept.Destroy() // is the group's now
		agree(t, m...)
		m[1].commitTo(group.CommitOptions{}, []*client{m[0], m[2], m[3]})
		m[0].commitTo(group.CommitOptions{}, m[1:])
		agree(t, m...)
		talk(t, m...)
	}
}
