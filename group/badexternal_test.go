package group_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// badExternal is an external commit that breaks one rule.
type badExternal struct {
	name, rule string
	cfg        func(*group.Config)
	exts       []mls.Extension
	// list is what stands beside the ExternalInit.
	list func(sc *scene, joiner *client) []framing.Proposal
	// edit changes the rest.
	edit func(sc *scene, f *forgery)
	bare bool // no ExternalInit
	// secret is set where the observer can't see the defect.
	secret         bool
	leaf, proposal int // one more than what to blame
	identity       string
}

func externalTypes() []badExternal {
	value := func(name string, make func(sc *scene, joiner *client) framing.Proposal) badExternal {
		return badExternal{name: name, rule: "12.2/external-commit-proposal-type", proposal: 2, list: func(sc *scene, joiner *client) []framing.Proposal {
			return []framing.Proposal{make(sc, joiner)}
		}}
	}
	return []badExternal{
		value("add", func(sc *scene, _ *client) framing.Proposal { return adds(sc.client("late"))[0] }),
		value("update", func(sc *scene, _ *client) framing.Proposal { return updateProposal(sc.m[0].updateLeaf(nil)) }),
		value("reinit", func(sc *scene, _ *client) framing.Proposal {
			return group.ReInitProposal([]byte("next"), sc.suite.ID(), nil)
		}),
		value("extensions", func(*scene, *client) framing.Proposal { return group.ExtensionsProposal(nil) }),
	}
}

func badExternals() []badExternal {
	one := func(make func(sc *scene, joiner *client) framing.Proposal) func(*scene, *client) []framing.Proposal {
		return func(sc *scene, joiner *client) []framing.Proposal { return []framing.Proposal{make(sc, joiner)} }
	}
	resumption := func(change func(*keyschedule.PreSharedKeyID)) func(*scene, *client) []framing.Proposal {
		return one(func(sc *scene, _ *client) framing.Proposal {
			p := group.ResumptionProposal(sc.suite, sc.m[0].g.ID(), 0)
			change(&p.PreSharedKey.PSK)
			return p
		})
	}
	leaf := func(change func(*treekem.LeafNode)) func(*scene, *forgery) {
		return func(_ *scene, f *forgery) { f.leaf = change }
	}
	return append(externalTypes(), []badExternal{
		{name: "no external init", rule: "12.2/external-commit-external-init", bare: true},
		{name: "two external inits", rule: "12.2/external-commit-external-init", list: one(func(sc *scene, _ *client) framing.Proposal {
			kem, _, err := sc.suite.ExternalInit(sc.m[0].g.TestingEpoch().ExternalPub())
			check(sc.t, err)
			return externalInit(kem)
		})},
		{name: "two removes", rule: "12.2/external-commit-multiple-removes", list: func(*scene, *client) []framing.Proposal {
			return []framing.Proposal{group.RemoveProposal(2), group.RemoveProposal(3)}
		}},
		{name: "remove of a blank leaf", rule: "12.1.3/removed-leaf", proposal: 2, list: one(func(*scene, *client) framing.Proposal { return group.RemoveProposal(7) })},
		{name: "reinit psk", rule: "12.1.4/reinit-psk", proposal: 2, list: resumption(func(id *keyschedule.PreSharedKeyID) { id.Usage = keyschedule.UsageReInit })},
		{name: "branch psk", rule: "12.1.4/branch-psk", proposal: 2, list: resumption(func(id *keyschedule.PreSharedKeyID) { id.Usage = keyschedule.UsageBranch })},
		{name: "psk nonce", rule: "12.1.4/psk-nonce-length", proposal: 2, list: resumption(func(id *keyschedule.PreSharedKeyID) { id.PSKNonce = nil })},
		{name: "psk twice", rule: "12.2/duplicate-psk", proposal: 3, list: func(sc *scene, _ *client) []framing.Proposal {
			p := group.PSKProposal(sc.suite, []byte("k"))
			return []framing.Proposal{p, p}
		}},
		{name: "psk that nobody has", rule: "12.4.2/psk-unavailable", secret: true, list: one(func(sc *scene, _ *client) framing.Proposal {
			return group.ResumptionProposal(sc.suite, []byte("elsewhere"), 1)
		})},
		{name: "proposal by reference", rule: "12.4.3.2/proposal-by-reference", proposal: 2, edit: func(sc *scene, f *forgery) {
			ref := sc.propose(sc.m[1], group.RemoveProposal(3))
			f.commit = func(c *framing.Commit) { c.Proposals = append(c.Proposals, framing.ProposalOrRef{Ref: ref}) }
		}},
		{name: "no path", rule: "12.4.3.2/path-required", edit: func(_ *scene, f *forgery) { f.noPath = true }},
		{name: "credential", rule: "5.3.1/credential", cfg: refuse("joiner"), leaf: 6, identity: "joiner"},
		{name: "successor", rule: "5.3.1/successor-credential", cfg: refuse("joiner"), leaf: 3, identity: "joiner",
			list: one(func(*scene, *client) framing.Proposal { return group.RemoveProposal(2) })},
		{name: "policy", rule: "12.4.3.2/policy", cfg: func(cfg *group.Config) {
			cfg.Authorize = func(a group.Admission) error {
				if a.Sender.Type == framing.SenderNewMemberCommit && a.Leaf != nil && a.Removes == nil {
					return errRefused
				}
				return nil
			}
		}},
		{name: "policy on resyncs", rule: "12.4.3.2/policy", cfg: func(cfg *group.Config) {
			cfg.Authorize = func(a group.Admission) error {
				if a.Removes != nil && *a.Removes == 2 {
					return errRefused
				}
				return nil
			}
		}, list: one(func(*scene, *client) framing.Proposal { return group.RemoveProposal(2) })},
		{name: "same key as the former self", rule: "7.3/update-encryption-key", leaf: 3,
			list: one(func(*scene, *client) framing.Proposal { return group.RemoveProposal(2) }),
			edit: func(sc *scene, f *forgery) {
				old, _ := sc.m[0].g.Member(2)
				f.leaf = func(l *treekem.LeafNode) { l.EncryptionKey = old.EncryptionKey }
			}},
		{name: "signature key of a member", rule: "7.3/signature-key-unique", leaf: 6, identity: "joiner", edit: func(sc *scene, f *forgery) {
			f.signer = sc.m[3].signer
			f.leaf = func(l *treekem.LeafNode) { l.SignatureKey = sc.m[3].signer.Public() }
		}},
		{name: "encryption key of a member", rule: "12.4.2/path-key-in-tree", edit: func(sc *scene, f *forgery) {
			other, _ := sc.m[0].g.Member(3)
			f.leaf = func(l *treekem.LeafNode) { l.EncryptionKey = other.EncryptionKey }
		}},
		{name: "required capabilities", rule: "11.1/required-capabilities", exts: []mls.Extension{requiresApplicationType}, leaf: 6, identity: "joiner", edit: leaf(basicOnly)},
		{name: "version", rule: "7.3/version-in-capabilities", leaf: 6, identity: "joiner", edit: leaf(noVersion)},
		{name: "cipher suite", rule: "7.3/cipher-suite-in-capabilities", leaf: 6, identity: "joiner", edit: leaf(noSuite)},
		{name: "group extension", rule: "13.4/group-extension-support", exts: []mls.Extension{{Type: listed}}, leaf: 6, identity: "joiner"},
		{name: "source", rule: "7.3/path-source", edit: leaf(func(l *treekem.LeafNode) { l.Source = treekem.SourceKeyPackage })},
		{name: "leaf extension", rule: "7.3/extension-capability", identity: "joiner", edit: leaf(func(l *treekem.LeafNode) { l.Extensions = []mls.Extension{{Type: unlisted}} })},
		{name: "leaf signature", rule: "7.3/leaf-signature", identity: "joiner", edit: func(_ *scene, f *forgery) {
			f.path = func(p *treekem.UpdatePath) { p.LeafNode.Signature[2] ^= 1 }
		}},
		{name: "path length", rule: "7.6/path-length", edit: func(_ *scene, f *forgery) {
			f.path = func(p *treekem.UpdatePath) { p.Nodes = p.Nodes[1:] }
		}},
		{name: "parent hash", rule: "7.9.2/path-parent-hash", edit: leaf(func(l *treekem.LeafNode) { l.ParentHash[1] ^= 1 })},
		{name: "confirmation tag", rule: "12.4.2/confirmation-tag", secret: true, edit: func(_ *scene, f *forgery) {
			f.sealed = func(ac *framing.AuthenticatedContent) { ac.ConfirmationTag[0] ^= 1 }
		}},
	}...)
}

// TestBadExternalCommits lets a joiner commit what breaks one rule.
func TestBadExternalCommits(t *testing.T) {
	for _, tt := range badExternals() {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			sc := newSceneOf(t, cfg, 5, tt.exts...)
			joiner := sc.client("joiner")
			var f forgery
			if tt.list != nil {
				f.proposals = tt.list(sc, joiner)
			}
			if tt.edit != nil {
				tt.edit(sc, &f)
			}
			message := joiner.forgeExternal(sc.info(), f, tt.bare).message
			sc.blames(sc.refusedByMembers(message, tt.rule), tt.leaf-1, tt.identity, tt.proposal-1)
			if !tt.secret {
				sc.observerRefuses(message, tt.rule)
			}
		})
	}
}

// TestExternalKEMOutput: an ExternalInit that nobody can open.
func TestExternalKEMOutput(t *testing.T) {
	sc := newScene(t, 3)
	message := sc.client("joiner").forgeExternal(sc.info(), forgery{proposals: []framing.Proposal{externalInit([]byte("short"))}}, true).message
	sc.fails(message, mls.ErrAuth)
	// One for another key comes to another epoch.
	kem, _, err := sc.suite.ExternalInit(must[*mls.HPKEPrivateKey](t)(sc.suite.GenerateKeyPair()).Public())
	check(t, err)
	message = sc.client("joiner").forgeExternal(sc.info(), forgery{proposals: []framing.Proposal{externalInit(kem)}}, true).message
	sc.refusedByMembers(message, "12.4.2/confirmation-tag")
}

// TestExternalSignature: an external commit is signed by its own leaf's key, in
// the group's context.
func TestExternalSignature(t *testing.T) {
	sc := newScene(t, 3)
	joiner := sc.client("joiner")
	out := joiner.forgeExternal(sc.info(), forgery{}, false)
	ac := out.ac
	stranger := sc.client("stranger")
	resigned := signRaw(t, sc.suite, stranger.signer, ac.WireFormat, ac.Content, sc.m[0].base().bytes)
	for _, signature := range [][]byte{resigned.Signature, {}, ac.Signature[:10]} {
		sc.fails(publicBytes(t, &framing.PublicMessage{Content: ac.Content, Signature: signature, ConfirmationTag: ac.ConfirmationTag}), mls.ErrAuth)
	}
	other := signRaw(t, sc.suite, joiner.signer, ac.WireFormat, ac.Content, []byte("another context"))
	sc.fails(publicBytes(t, &framing.PublicMessage{Content: ac.Content, Signature: other.Signature, ConfirmationTag: ac.ConfirmationTag}), mls.ErrAuth)
}

// TestJoinExternalRefuses is the joiner's side.
func TestJoinExternalRefuses(t *testing.T) {
	join := func(c *client, info *framing.GroupInfo, opt group.ExternalJoinOptions) error {
		opt.Identity = c.identity()
		_, _, err := group.JoinExternal(c.cfg, info, opt)
		return err
	}
	t.Run("no external pub", func(t *testing.T) {
		sc := newScene(t, 3)
		info := must[*framing.GroupInfo](t)(sc.m[0].g.GroupInfo(group.InfoOptions{Tree: true}))
		assertRule(t, join(sc.client("joiner"), info, group.ExternalJoinOptions{}), "12.4.3.2/external-pub")
	})
	t.Run("group extension", func(t *testing.T) {
		sc := newScene(t, 3, mls.Extension{Type: listed})
		assertRule(t, join(sc.client("joiner"), sc.info(), group.ExternalJoinOptions{}), "13.4/joiner-extension-support")
	})
	t.Run("required capabilities", func(t *testing.T) {
		sc := newScene(t, 3, requiresApplicationType)
		c := sc.client("joiner")
		id := c.identity()
		caps := treekem.DefaultCapabilities()
		caps.Credentials = []mls.CredentialType{mls.CredentialBasic}
		id.Capabilities = &caps
		_, _, err := group.JoinExternal(c.cfg, sc.info(), group.ExternalJoinOptions{Identity: id})
		assertRule(t, err, "11.1/required-capabilities")
	})
	t.Run("blank leaf", func(t *testing.T) {
		sc := newScene(t, 3)
		blank := mls.LeafIndex(3)
		assertRule(t, join(sc.client("joiner"), sc.info(), group.ExternalJoinOptions{Remove: &blank}), "12.1.3/removed-leaf")
	})
	t.Run("nobody to resync", func(t *testing.T) {
		sc := newScene(t, 3)
		if err := join(sc.client("joiner"), sc.info(), group.ExternalJoinOptions{Resync: true}); err == nil {
			t.Fatal("resynchronized with nobody")
		}
	})
	t.Run("member already", func(t *testing.T) {
		sc := newScene(t, 3)
		assertRule(t, join(sc.m[1], sc.info(), group.ExternalJoinOptions{}), "7.3/signature-key-unique")
	})
	t.Run("psk", func(t *testing.T) {
		sc := newScene(t, 3)
		p := group.ResumptionProposal(sc.suite, []byte("elsewhere"), 1).PreSharedKey.PSK
		assertRule(t, join(sc.client("joiner"), sc.info(), group.ExternalJoinOptions{PSKs: []keyschedule.PreSharedKeyID{p}}), "12.4.2/psk-unavailable")
		p.Usage = keyschedule.UsageBranch
		assertRule(t, join(sc.client("joiner"), sc.info(), group.ExternalJoinOptions{PSKs: []keyschedule.PreSharedKeyID{p}}), "12.1.4/branch-psk")
		ext := group.PSKProposal(sc.suite, []byte("k")).PreSharedKey.PSK
		assertRule(t, join(sc.client("joiner"), sc.info(), group.ExternalJoinOptions{PSKs: []keyschedule.PreSharedKeyID{ext, ext}}), "12.2/duplicate-psk")
	})
	t.Run("malformed external pub", func(t *testing.T) {
		sc := newScene(t, 3)
		info := sc.info()
		for i := range info.Extensions {
			if info.Extensions[i].Type == mls.ExtensionExternalPub {
				info.Extensions[i].Data = append(bytes.Clone(info.Extensions[i].Data), 0)
			}
		}
		check(t, info.Sign(sc.suite, sc.m[0].signer))
		if err := join(sc.client("joiner"), info, group.ExternalJoinOptions{}); !errors.Is(err, mls.ErrMalformed) {
			t.Fatalf("trailing bytes in external_pub: %v", err)
		}
	})
}

// TestExternalJoinTakesTheLeftmostLeaf, which the Remove of the same commit has
// made free, while a member's own commit is pending, and with the GroupInfo of
// a commit that is still staged.
func TestExternalJoinTakesTheLeftmostLeaf(t *testing.T) {
	sc := newScene(t, 4)
	staged := sc.m[0].commit(group.CommitOptions{})
	info := must[*framing.GroupInfo](t)(staged.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	deliver(t, staged.Message(), sc.m[1:]...)
	check(t, sc.m[0].g.Merge(staged))

	again := sc.client("member 1")
	g, commit, err := group.JoinExternal(sc.cfg, info, group.ExternalJoinOptions{Identity: again.identity(), Resync: true})
	check(t, err)
	again.g = g
	if g.OwnLeaf() != 1 {
		t.Fatalf("joined at leaf %d, 1 is free", g.OwnLeaf())
	}
	pending := sc.m[2].commit(group.CommitOptions{})
	deliver(t, commit, sc.m...)
	if err := sc.m[2].g.Merge(pending); !errors.Is(err, mls.ErrWrongEpoch) {
		t.Fatalf("the pending commit lost: %v", err)
	}
	agree(t, again, sc.m[0], sc.m[2], sc.m[3])
	talk(t, again, sc.m[0], sc.m[2], sc.m[3])
}

// TestLastMemberResyncs: the only member joins anew.
func TestLastMemberResyncs(t *testing.T) {
	sc := newScene(t, 1)
	again := sc.client("member 0")
	g, commit, err := group.JoinExternal(sc.cfg, sc.info(), group.ExternalJoinOptions{Identity: again.identity(), Resync: true})
	check(t, err)
	again.g = g
	deliver(t, commit, sc.m...)
	if !errors.Is(errOf(sc.m[0].g.Process(commit)), mls.ErrRemoved) || g.OwnLeaf() != 0 || g.Tree().Members() != 1 {
		t.Fatal("the last member did not replace itself")
	}
	talk(t, again)
}
