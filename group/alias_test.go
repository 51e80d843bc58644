package group_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// overwrite changes every byte.
func overwrite(list ...[]byte) {
	for _, p := range list {
		for i := range p {
			p[i] ^= 0xff
		}
	}
}

// TestResultsAreTheCallersOwn: what a group returns can be changed without
// changing the group.
func TestResultsAreTheCallersOwn(t *testing.T) {
	cfg := config()
	cfg.Handshakes = framing.WireFormatPrivateMessage
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, cfg, 3)
	server := newClient(t, s, cfg, "server")
	extensions := group.ExtensionsProposal([]mls.Extension{externalSenders(t, server.externalSender())})

	// follows reports whether the others can still follow the first member, and
	// it them.
	follows := func(after string) {
		t.Helper()
		for _, from := range m[:2] {
			commit := from.commit(group.CommitOptions{})
			for _, c := range m {
				if c == from {
					continue
				}
				r, err := c.g.Process(commit.Message())
				if err != nil {
					t.Fatalf("after %s: %v", after, err)
				}
				check(t, c.g.Merge(r.(*group.Staged)))
			}
			check(t, from.g.Merge(commit))
		}
	}
	for range 2 { // the second time there are extensions to replace
		commit := m[1].commit(group.CommitOptions{Proposals: []framing.Proposal{extensions}})
		staged := must[group.Received](t)(m[0].g.Process(commit.Message())).(*group.Staged)
		c := staged.Changes()
		for _, e := range append(c.OldExtensions, c.NewExtensions...) {
			overwrite(e.Data)
		}
		for _, u := range c.Updated {
			overwrite(u.Old.EncryptionKey, u.Old.SignatureKey, u.New.EncryptionKey, u.New.SignatureKey)
		}
		check(t, m[0].g.Merge(staged))
		check(t, m[1].g.Merge(commit))
		check(t, m[2].g.Merge(must[group.Received](t)(m[2].g.Process(commit.Message())).(*group.Staged)))
		follows("changing the changes of a commit")
	}

	info := must[*framing.GroupInfo](t)(m[0].g.GroupInfo(group.InfoOptions{}))
	overwrite(info.ConfirmationTag, info.GroupContext.GroupID, info.GroupContext.TreeHash, info.GroupContext.ConfirmedTranscriptHash)
	follows("changing a GroupInfo")

	x := newClient(t, s, cfg, "x")
	add := must[[]byte](t)(m[1].g.Propose(group.AddProposal(x.keyPackage()), nil))
	change := func(p group.PendingProposal) {
		leaf := &p.Proposal.Add.KeyPackage.LeafNode
		overwrite(p.Ref, leaf.EncryptionKey, leaf.SignatureKey, leaf.Signature)
	}
	change(must[group.Received](t)(m[0].g.Process(add)).(*group.ReceivedProposal).PendingProposal)
	change(m[0].g.Proposals()[0])
	_ = must[group.Received](t)(m[2].g.Process(add))
	follows("changing a proposal")

	reinit := m[1].commit(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), s.ID(), nil)}})
	staged := must[group.Received](t)(m[0].g.Process(reinit.Message())).(*group.Staged)
	overwrite(staged.Changes().ReInit.GroupID)
	check(t, m[0].g.Merge(staged))
	for _, who := range []string{"the changes", "another ReInit"} {
		r, ok := m[0].g.ReInit()
		if !ok || string(r.GroupID) != "next" {
			t.Errorf("the group's ReInit changed with that of %s", who)
		}
		overwrite(r.GroupID)
	}
}

// TestChangedPSKs: the pre-shared keys that a commit's changes name can be changed
// without changing the proposal that the epoch holds.
func TestChangedPSKs(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, config(), 2)
	deliver(t, must[[]byte](t)(m[0].g.Propose(group.PSKProposal(s, []byte("psk")), nil)), m[1])
	commit := m[0].commit(group.CommitOptions{})
	for range 2 {
		staged := must[group.Received](t)(m[1].g.Process(commit.Message())).(*group.Staged)
		for range 2 {
			id := staged.Changes().PSKs[0]
			if string(id.PSKID) != "psk" {
				t.Fatal("the changes changed with what was handed out")
			}
			overwrite(id.PSKID, id.PSKNonce)
		}
	}
}

// TestChangedRestoredCommit: so can those of an own commit that was restored.
func TestChangedRestoredCommit(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(t, s, config(), 2)
	server := newClient(t, s, config(), "server")
	extensions := []framing.Proposal{group.ExtensionsProposal([]mls.Extension{externalSenders(t, server.externalSender())})}
	m[0].commitTo(group.CommitOptions{Proposals: extensions}, m[1:])
	saved := must[[]byte](t)(m[0].commit(group.CommitOptions{Proposals: extensions}).State())
	staged := must[*group.Staged](t)(m[0].g.RestoreStaged(saved, m[0].signer))
	c := staged.Changes()
	overwrite(c.OldExtensions[0].Data, c.NewExtensions[0].Data)
	deliver(t, staged.Message(), m[1])
	check(t, m[0].g.Merge(staged))
	agree(t, m...)
	talk(t, m...)
}

// TestCallbacksGetTheirOwn: what the application's functions are handed can be
// changed, and kept, without changing the group.
func TestCallbacksGetTheirOwn(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	cfg := config()
	calls := make(map[string]int)
	cfg.Authenticate = func(a group.Authentication) error {
		calls["authenticate"]++
		overwrite(a.GroupID, a.SignatureKey, a.Credential.Identity)
		if a.Replaces != nil {
			calls["replaces"]++
			overwrite(a.Replaces.Identity)
		}
		if a.ExternalSender {
			calls["external sender"]++
		}
		return nil
	}
	psk := cfg.PSK
	cfg.PSK = func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		calls["psk"]++
		secret, err := psk(id)
		overwrite(id.PSKID, id.PSKNonce)
		return secret, err
	}
	cfg.Authorize = func(a group.Admission) error {
		calls["authorize"]++
		if a.Removes != nil {
			calls["removes"]++
			*a.Removes = 77
			return nil
		}
		overwrite(a.Proposal.Add.KeyPackage.LeafNode.SignatureKey, a.Proposal.Add.KeyPackage.InitKey, a.Leaf.SignatureKey)
		return nil
	}
	server := newClient(t, s, cfg, "server")
	m := newGroup(t, s, cfg, 2)
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{
		group.ExtensionsProposal([]mls.Extension{externalSenders(t, server.externalSender())}),
		group.PSKProposal(s, []byte("psk")),
	}}, m[1:])
	x, y := newClient(t, s, cfg, "x"), newClient(t, s, cfg, "y")
	context := m[0].g.Context()
	deliver(t, must[[]byte](t)(group.ProposeExternal(s, server.signer, 0, context.GroupID, context.Epoch, group.AddProposal(x.keyPackage()), nil)), m...)
	deliver(t, must[[]byte](t)(m[1].g.Propose(group.AddProposal(y.keyPackage()), nil)), m[0])
	renamed := m[0].identity()
	renamed.Credential = treekem.BasicCredential([]byte("renamed"))
	m[0].commitTo(group.CommitOptions{Identity: &renamed}, m[1:], x, y)
	agree(t, append(m, x, y)...)
	talk(t, append(m, x, y)...)

	// A member comes back by an external commit that removes its former self.
	info := must[*framing.GroupInfo](t)(m[0].g.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	former := m[1].g.OwnLeaf()
	_, message, err := group.JoinExternal(cfg, info, group.ExternalJoinOptions{Identity: m[1].identity(), Remove: &former})
	check(t, err)
	back := must[group.Received](t)(m[0].g.Process(message)).(*group.Staged)
	if got := back.Changes().Removed[0].Leaf; got != former {
		t.Errorf("the former self at leaf %d is removed, at %d it was", got, former)
	}

	// Whoever is refused is named, whatever became of its name.
	authenticate := cfg.Authenticate
	z := newClient(t, s, config(), "z")
	refusing := cfg
	refusing.Authenticate = func(a group.Authentication) error {
		if refused := string(a.Credential.Identity) == "z"; refused {
			return errors.Join(authenticate(a), errors.New("refused"))
		}
		return nil
	}
	lone := newClient(t, s, refusing, "lone")
	lone.create()
	_, err = lone.g.Propose(group.AddProposal(z.keyPackage()), nil)
	var rule *mls.RuleError
	if !errors.As(err, &rule) || rule.Culprit == nil || !strings.Contains(rule.Culprit.Identity, "z") {
		t.Errorf("the refused one is not named: %v", err)
	}
	for _, what := range []string{"removes", "authenticate", "replaces", "external sender", "psk", "authorize"} {
		if calls[what] == 0 {
			t.Errorf("%s: no function was called", what)
		}
	}
}

// TestProposalsKeepNoPadding: what an epoch keeps of a proposal is the proposal,
// not the message that brought it.
func TestProposalsKeepNoPadding(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	cfg := config()
	cfg.Handshakes, cfg.Padding = framing.WireFormatPrivateMessage, func(int) int { return 1 << 20 }
	m := newGroup(t, s, cfg, 2)
	live := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := live()
	const proposals = 8
	for range proposals {
		deliver(t, must[[]byte](t)(m[0].g.Propose(group.PSKProposal(s, []byte("psk")), nil)), m[1])
	}
	if after := live(); after > before+proposals*1<<20/4 {
		t.Errorf("%d proposals, each with 1 MiB of padding, keep %d bytes", proposals, after-before)
	}
	runtime.KeepAlive(m)
}
