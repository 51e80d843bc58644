package group_test

import (
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
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
	sender := framing.ExternalSender{SignatureKey: must[*mls.SignaturePrivateKey](t)(s.GenerateSigner()).Public(), Credential: treekem.BasicCredential([]byte("server"))}
	data := must[[]byte](t)(framing.EncodeExternalSenders([]framing.ExternalSender{sender}))
	extensions := group.ExtensionsProposal([]mls.Extension{{Type: mls.ExtensionExternalSenders, Data: data}})

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
	check1 := func(p group.PendingProposal) {
		leaf := &p.Proposal.Add.KeyPackage.LeafNode
		overwrite(p.Ref, leaf.EncryptionKey, leaf.SignatureKey, leaf.Signature)
	}
	check1(must[group.Received](t)(m[0].g.Process(add)).(*group.ReceivedProposal).PendingProposal)
	check1(m[0].g.Proposals()[0])
	_ = must[group.Received](t)(m[2].g.Process(add))
	follows("changing a proposal")

	reinit := m[1].commit(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), s.ID(), nil)}})
	staged := must[group.Received](t)(m[0].g.Process(reinit.Message())).(*group.Staged)
	overwrite(staged.Changes().ReInit.GroupID)
	check(t, m[0].g.Merge(staged))
	if r, ok := m[0].g.ReInit(); !ok || string(r.GroupID) != "next" {
		t.Error("the group's ReInit changed with that of the changes")
	}
}
