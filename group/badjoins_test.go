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

// badJoin is a way into a group that breaks one rule.
type badJoin struct {
	name, rule string
	err        error
	set        func(v *invitation)
	// welcomeOnly is set where a GroupInfo alone does not show it.
	welcomeOnly bool
	leaf        int // one more than the leaf to blame
	identity    string
}

// otherLeaf changes the leaf of member 2 of 5.
func otherLeaf(change func(*treekem.LeafNode)) func(*invitation) {
	return func(v *invitation) {
		v.leaf = func(i int, l *treekem.LeafNode) {
			if i == 2 {
				change(l)
			}
		}
	}
}

// editNodes changes the nodes of a tree that has parents.
func editNodes(change func(v *invitation, nodes []node) []node) func(*invitation) {
	return func(v *invitation) {
		v.path = true
		v.nodes = func(nodes []node) []node { return change(v, nodes) }
	}
}

// resign changes the tree, and lets a member sign leaf i of it again.
func resign(i, by int, change func(v *invitation, nodes []node)) func(*invitation) {
	return func(v *invitation) {
		v.nodes = func(nodes []node) []node {
			change(v, nodes)
			check(v.t, nodes[2*i].leaf.Sign(v.suite, v.m[by].signer, []byte("paper"), mls.LeafIndex(i)))
			return nodes
		}
	}
}

func freshKey(v *invitation) mls.HPKEPublicKey {
	return must[*mls.HPKEPrivateKey](v.t)(v.suite.GenerateKeyPair()).Public()
}

// The tree of the invitations has 5 members, leaf i at node 2i. After a path of
// leaf 0 the parents 1, 3 and 7 are there, 5 and all above leaf 4 but the root
// are blank.
func badTrees() []badJoin {
	return []badJoin{
		{name: "empty tree", rule: "12.4.3.3/empty-tree", set: editNodes(func(*invitation, []node) []node { return nil })},
		{name: "last node blank", rule: "12.4.3.3/last-node-blank", set: editNodes(func(_ *invitation, n []node) []node { return append(n, node{}, node{}) })},
		{name: "last node is a parent", rule: "7.7/last-node-parent", set: editNodes(func(v *invitation, n []node) []node {
			return append(n, node{parent: &treekem.ParentNode{EncryptionKey: freshKey(v)}})
		})},
		{name: "leaf at a parent's place", rule: "12.4.3.3/node-type", set: editNodes(func(_ *invitation, n []node) []node {
			n[1] = node{leaf: n[0].leaf}
			return n
		})},
		{name: "parent at a leaf's place", rule: "12.4.3.3/node-type", set: editNodes(func(_ *invitation, n []node) []node {
			n[2] = node{parent: n[1].parent}
			return n
		})},
		{name: "unknown node type", rule: "12.4.3.3/node-type", set: editNodes(func(_ *invitation, n []node) []node { n[2].kind = 3; return n })},
		{name: "parent of nobody", rule: "7.9.2/parent-hash", set: editNodes(func(v *invitation, n []node) []node {
			n[4], n[6], n[5] = node{}, node{}, node{parent: &treekem.ParentNode{EncryptionKey: freshKey(v)}}
			return n
		})},
		{name: "unmerged leaves out of order", rule: "7.1/unmerged-leaves-order", set: editNodes(func(_ *invitation, n []node) []node {
			n[3].parent.UnmergedLeaves = []mls.LeafIndex{3, 2}
			return n
		})},
		{name: "unmerged leaf twice", rule: "7.1/unmerged-leaves-order", set: editNodes(func(_ *invitation, n []node) []node {
			n[3].parent.UnmergedLeaves = []mls.LeafIndex{3, 3}
			return n
		})},
		{name: "unmerged leaf elsewhere", rule: "12.4.3.1/unmerged-not-below", leaf: 5, set: editNodes(func(_ *invitation, n []node) []node {
			n[3].parent.UnmergedLeaves = []mls.LeafIndex{4}
			return n
		})},
		{name: "unmerged leaf blank", rule: "12.4.3.1/unmerged-blank", leaf: 4, set: editNodes(func(_ *invitation, n []node) []node {
			n[6] = node{}
			n[3].parent.UnmergedLeaves = []mls.LeafIndex{3}
			return n
		})},
		{name: "unmerged leaf merged below", rule: "12.4.3.1/unmerged-missing-below", leaf: 2, set: editNodes(func(_ *invitation, n []node) []node {
			n[7].parent.UnmergedLeaves = []mls.LeafIndex{1}
			return n
		})},
		{name: "parents with one key", rule: "12.4.3.1/parent-key-unique", set: editNodes(func(_ *invitation, n []node) []node {
			n[3].parent.EncryptionKey = n[1].parent.EncryptionKey
			return n
		})},
		{name: "parent with a leaf's key", rule: "12.4.3.1/parent-key-unique", leaf: 5, set: editNodes(func(_ *invitation, n []node) []node {
			n[3].parent.EncryptionKey = n[8].leaf.EncryptionKey
			return n
		})},
		{name: "parent's key", rule: "5.1.1/hpke-public-key", set: editNodes(func(_ *invitation, n []node) []node {
			n[3].parent.EncryptionKey = n[3].parent.EncryptionKey[1:]
			return n
		})},
		{name: "parent hash", rule: "7.9.2/parent-hash", set: editNodes(func(_ *invitation, n []node) []node {
			n[1].parent.ParentHash[0] ^= 1
			return n
		})},
		{name: "no parent hash", rule: "7.9.2/parent-hash", set: editNodes(func(_ *invitation, n []node) []node {
			n[1].parent.ParentHash = nil
			return n
		})},
		{name: "parent with another key", rule: "7.9.2/parent-hash", set: editNodes(func(v *invitation, n []node) []node {
			n[7].parent.EncryptionKey = freshKey(v)
			return n
		})},
		{name: "parent that nobody vouches for", rule: "7.9.2/parent-hash", set: editNodes(func(v *invitation, n []node) []node {
			n[5] = node{parent: &treekem.ParentNode{EncryptionKey: freshKey(v)}}
			return n
		})},
		{name: "parent over a blank", rule: "7.9.2/parent-hash", set: editNodes(func(v *invitation, n []node) []node {
			n[3] = node{} // what node 7 hangs on is gone
			return n
		})},
		{name: "tree of another hash", rule: "12.4.3.3/tree-hash", set: func(v *invitation) {
			v.lateNodes = true
			editNodes(func(_ *invitation, n []node) []node { n[6] = node{}; return n })(v)
		}},
		{name: "no tree", rule: "12.4.3.1/tree-absent", set: func(v *invitation) { v.noTree = true }},
		{name: "trailing bytes after the tree", err: mls.ErrMalformed, set: func(v *invitation) {
			v.info = func(info *framing.GroupInfo) {
				i := len(info.Extensions) - 1
				info.Extensions[i].Data = append(info.Extensions[i].Data, 0)
			}
		}},
	}
}

func badMembers() []badJoin {
	list := []badJoin{
		{name: "expired leaf", rule: "7.3/lifetime", leaf: 3, identity: "member 2", set: otherLeaf(func(l *treekem.LeafNode) {
			l.Lifetime = treekem.LifetimeFrom(time.Now().Add(-48*time.Hour), time.Hour)
		})},
		{name: "long-lived leaf", rule: "7.2/lifetime-too-long", leaf: 3, identity: "member 2", set: otherLeaf(func(l *treekem.LeafNode) {
			l.Lifetime.NotAfter += uint64(group.DefaultMaxLifetime / time.Second)
		})},
		{name: "leaf signature", rule: "7.3/leaf-signature", leaf: 3, identity: "member 2", set: editNodes(func(_ *invitation, n []node) []node {
			n[4].leaf.Signature[5] ^= 1
			return n
		})},
		{name: "leaf signed for another place", rule: "7.3/leaf-signature", leaf: 3, identity: "member 2", set: func(v *invitation) {
			v.nodes = func(n []node) []node {
				l := n[4].leaf
				l.Source, l.Lifetime = treekem.SourceUpdate, treekem.Lifetime{}
				check(v.t, l.Sign(v.suite, v.m[2].signer, []byte("paper"), 3))
				return n
			}
		}},
		{name: "refused credential", rule: "5.3.1/credential", leaf: 3, identity: "member 2", set: func(v *invitation) { refuse("member 2")(&v.cfg) }},
		{name: "encryption key of another", rule: "7.3/encryption-key-unique", leaf: 4, set: resign(3, 3, func(v *invitation, n []node) {
			n[6].leaf.EncryptionKey = n[4].leaf.EncryptionKey
		})},
		{name: "signature key of another", rule: "7.3/signature-key-unique", leaf: 4, set: resign(3, 2, func(v *invitation, n []node) {
			n[6].leaf.SignatureKey = n[4].leaf.SignatureKey
		})},
		{name: "required capabilities", rule: "11.1/required-capabilities", leaf: 3, identity: "member 2", set: func(v *invitation) {
			otherLeaf(basicOnly)(v)
			v.context = func(c *keyschedule.GroupContext) { c.Extensions = []mls.Extension{requiresApplicationType} }
		}},
		{name: "version of a member", rule: "7.3/version-in-capabilities", leaf: 3, identity: "member 2", set: otherLeaf(noVersion)},
		{name: "suite of a member", rule: "7.3/cipher-suite-in-capabilities", leaf: 3, identity: "member 2", set: otherLeaf(noSuite)},
		{name: "group extension", rule: "13.4/group-extension-support", leaf: 3, identity: "member 2", set: func(v *invitation) {
			v.leaf = func(i int, l *treekem.LeafNode) {
				if i != 2 {
					l.Capabilities.Extensions = append(l.Capabilities.Extensions, listed)
				}
			}
			v.context = func(c *keyschedule.GroupContext) { c.Extensions = []mls.Extension{{Type: listed}} }
		}},
		{name: "credential types in use", rule: "7.3/credentials-in-use", leaf: 3, identity: "member 2", set: func(v *invitation) {
			sc := &scene{t: v.t, suite: v.suite, cfg: v.cfg}
			c, id := sc.certified("certified")
			v.m[3] = c
			v.leaf = func(i int, l *treekem.LeafNode) {
				switch i {
				case 2:
					basicOnly(l)
				case 3:
					l.Credential = id.Credential
				}
			}
		}},
	}
	for _, bad := range badLeaves {
		list = append(list, badJoin{name: bad.name, rule: bad.rule, leaf: 3, set: otherLeaf(bad.change)})
	}
	return list
}

func badInfos() []badJoin {
	return []badJoin{
		{name: "signer blank", rule: "12.4.3.1/signer-leaf", set: func(v *invitation) { v.info = func(i *framing.GroupInfo) { i.Signer = 6 } }},
		{name: "signer beyond the tree", rule: "12.4.3.1/signer-leaf", set: func(v *invitation) { v.info = func(i *framing.GroupInfo) { i.Signer = 1<<32 - 1 } }},
		{name: "signed by another member", rule: "12.4.3.1/group-info-signature", leaf: 1, identity: "member 0", set: func(v *invitation) { v.signer = v.m[1].signer }},
		{name: "changed after signing", rule: "12.4.3.1/group-info-signature", leaf: 1, set: func(v *invitation) {
			v.signed = func(i *framing.GroupInfo) { i.Extensions = append(i.Extensions, mls.Extension{Type: 0x0a0a}) }
		}},
		{name: "no signature", rule: "12.4.3.1/group-info-signature", set: func(v *invitation) {
			v.signed = func(i *framing.GroupInfo) { i.Signature = nil }
		}},
		{name: "external sender", rule: "5.3.1/external-sender", identity: "outsider", set: func(v *invitation) {
			refuse("outsider")(&v.cfg)
			sc := &scene{t: v.t, suite: v.suite, cfg: v.cfg}
			c := sc.client("outsider")
			ext := externalSenders(sc.t, c.externalSender())
			v.context = func(c *keyschedule.GroupContext) { c.Extensions = []mls.Extension{ext} }
		}},
		{name: "external senders with trailing bytes", err: mls.ErrMalformed, set: func(v *invitation) {
			v.context = func(c *keyschedule.GroupContext) {
				c.Extensions = []mls.Extension{{Type: mls.ExtensionExternalSenders, Data: []byte{0, 0}}}
			}
		}},
		{name: "required capabilities with trailing bytes", err: mls.ErrMalformed, set: func(v *invitation) {
			v.context = func(c *keyschedule.GroupContext) {
				c.Extensions = []mls.Extension{{Type: mls.ExtensionRequiredCapabilities, Data: []byte{0, 0, 0, 0}}}
			}
		}},
		{name: "suite of the group", rule: "12.4.3.1/cipher-suite", welcomeOnly: true, set: func(v *invitation) {
			v.context = func(c *keyschedule.GroupContext) { c.CipherSuite = mls.P256_AES128GCM_SHA256_P256 }
		}},
		{name: "version of the group", rule: "12.4.3.1/cipher-suite", welcomeOnly: true, set: func(v *invitation) {
			v.context = func(c *keyschedule.GroupContext) { c.Version = 2 }
		}},
	}
}

func badWelcomes() []badJoin {
	psk := func(change func(*keyschedule.PreSharedKeyID)) func(*invitation) {
		return func(v *invitation) {
			p := v.psk()
			change(&p.ID)
			v.psks = []keyschedule.PSK{p}
		}
	}
	link := keyschedule.PreSharedKeyID{Type: keyschedule.PSKResumption, Usage: keyschedule.UsageBranch, PSKGroupID: []byte("parent"), PSKEpoch: 4}
	return []badJoin{
		{name: "not for this key package", rule: "12.4.3.1/no-key-package", set: func(v *invitation) {
			v.welcome = func(w *framing.Welcome) { w.Secrets[0].NewMember = v.m[1].kp.Ref(v.suite) }
		}},
		{name: "nobody", rule: "12.4.3.1/no-key-package", set: func(v *invitation) { v.welcome = func(w *framing.Welcome) { w.Secrets = nil } }},
		{name: "suite", rule: "12.4.3.1/key-package-cipher-suite", set: func(v *invitation) {
			v.welcome = func(w *framing.Welcome) { w.CipherSuite = mls.P256_AES128GCM_SHA256_P256 }
		}},
		{name: "unknown suite", err: mls.ErrUnsupported, set: func(v *invitation) { v.welcome = func(w *framing.Welcome) { w.CipherSuite = 0xfafa } }},
		{name: "secrets don't decrypt", err: mls.ErrAuth, set: func(v *invitation) {
			v.welcome = func(w *framing.Welcome) { w.Secrets[0].EncryptedGroupSecrets.Ciphertext[0] ^= 1 }
		}},
		{name: "info doesn't decrypt", err: mls.ErrAuth, set: func(v *invitation) {
			v.welcome = func(w *framing.Welcome) { w.EncryptedGroupInfo[0] ^= 1 }
		}},
		{name: "info of another epoch", err: mls.ErrAuth, set: func(v *invitation) {
			v.secrets = func(s *framing.GroupSecrets) { s.JoinerSecret = mls.RandomSecret(32) }
		}},
		{name: "short joiner secret", rule: "8/joiner-secret-length", set: func(v *invitation) {
			v.secrets = func(s *framing.GroupSecrets) { s.JoinerSecret = mls.RandomSecret(31) }
		}},
		{name: "another psk", err: mls.ErrAuth, set: func(v *invitation) {
			v.psks = []keyschedule.PSK{v.psk()}
			v.psks[0].Secret = mls.RandomSecret(32)
		}},
		{name: "psk left out", err: mls.ErrAuth, set: func(v *invitation) {
			v.psks = []keyschedule.PSK{v.psk()}
			v.secrets = func(s *framing.GroupSecrets) { s.PSKs = nil }
		}},
		{name: "psk that nobody has", rule: "12.4.3.1/psk-unavailable", set: psk(func(id *keyschedule.PreSharedKeyID) {
			*id = keyschedule.PreSharedKeyID{Type: keyschedule.PSKResumption, Usage: keyschedule.UsageApplication, PSKGroupID: []byte("x"), PSKNonce: id.PSKNonce}
		})},
		{name: "psk nonce", rule: "8.4/psk-nonce-length", set: func(v *invitation) {
			v.psks = []keyschedule.PSK{v.psk()}
			v.secrets = func(s *framing.GroupSecrets) { s.PSKs[0].PSKNonce = s.PSKs[0].PSKNonce[1:] }
		}},
		{name: "two links", rule: "12.4.3.1/reinit-or-branch-psk-alone", set: func(v *invitation) {
			a, b := v.psk(), v.psk()
			link.PSKNonce = a.ID.PSKNonce
			a.ID = link
			link.PSKNonce, link.Usage = b.ID.PSKNonce, keyschedule.UsageReInit
			b.ID = link
			v.psks = []keyschedule.PSK{a, b}
		}},
		{name: "confirmation tag", rule: "12.4.3.1/confirmation-tag", set: func(v *invitation) {
			v.info = func(i *framing.GroupInfo) { i.ConfirmationTag[7] ^= 1 }
		}},
		{name: "short confirmation tag", rule: "12.4.3.1/confirmation-tag", set: func(v *invitation) {
			v.info = func(i *framing.GroupInfo) { i.ConfirmationTag = i.ConfirmationTag[:1] }
		}},
		{name: "group that we are in", rule: "12.4.3/group-id", set: func(v *invitation) {
			v.opt.Known = func(id []byte, epoch uint64) bool { return string(id) == "paper" && epoch == 1 }
		}},
		{name: "not in the tree", rule: "12.4.3.1/own-leaf", set: func(v *invitation) {
			v.nodes = func(n []node) []node { return n[:len(n)-2] }
		}},
		{name: "another leaf in the tree", rule: "12.4.3.1/own-leaf", set: func(v *invitation) {
			v.nodes = func(n []node) []node {
				l := n[len(n)-1].leaf.Clone()
				l.Lifetime.NotAfter++
				check(v.t, l.Sign(v.suite, v.joiner().signer, nil, 0))
				n[len(n)-1].leaf = l
				return n
			}
		}},
		{name: "signer that is another's", rule: "12.4.3.1/own-leaf", set: func(v *invitation) {
			v.private = func(p *treekem.KeyPackagePrivate) { p.Signer = v.m[1].signer }
		}},
		{name: "another path secret", rule: "7.5/path-derived-key", leaf: 1, identity: "member 0", set: func(v *invitation) {
			v.path = true
			v.secrets = func(s *framing.GroupSecrets) { s.PathSecret = mls.RandomSecret(32) }
		}},
		{name: "path secret without a path", rule: "7.5/path-derived-key", leaf: 1, identity: "member 0", set: func(v *invitation) {
			v.secrets = func(s *framing.GroupSecrets) { s.PathSecret = mls.RandomSecret(32) }
		}},
	}
}

func (v *invitation) wants(tt badJoin, err error) {
	v.t.Helper()
	if tt.err != nil {
		if !errors.Is(err, tt.err) {
			v.t.Fatalf("got %v, want %v", err, tt.err)
		}
		return
	}
	assertRule(v.t, err, tt.rule)
	var e *mls.RuleError
	errors.As(err, &e)
	(&scene{t: v.t}).blames(e, tt.leaf-1, tt.identity, -1)
}

// TestBadWelcomes invites by Welcomes that break one rule.
func TestBadWelcomes(t *testing.T) {
	for _, list := range [][]badJoin{badTrees(), badMembers(), badInfos(), badWelcomes()} {
		for _, tt := range list {
			t.Run(tt.name, func(t *testing.T) {
				v := newInvitation(t, 5)
				tt.set(v)
				g, err := v.join()
				v.wants(tt, err)
				if g != nil {
					t.Fatal("a group in spite of the error")
				}
			})
		}
	}
}

// TestBadGroupInfos joins and observes groups by GroupInfos that break one rule.
func TestBadGroupInfos(t *testing.T) {
	for _, list := range [][]badJoin{badTrees(), badMembers(), badInfos()} {
		for _, tt := range list {
			if tt.welcomeOnly {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				v := newInvitation(t, 5)
				tt.set(v)
				_, info := v.build()
				_, err := group.Observe(v.cfg, info, nil)
				v.wants(tt, err)
				stranger := newClient(t, v.suite, v.cfg, "stranger")
				_, _, err = group.JoinExternal(v.cfg, info, group.ExternalJoinOptions{Identity: stranger.identity()})
				v.wants(tt, err)
			})
		}
	}
}

// TestExpiredLeafIsNamed, and can be accepted (RFC 9420, Section 7.3).
func TestExpiredLeafIsNamed(t *testing.T) {
	v := newInvitation(t, 5)
	otherLeaf(func(l *treekem.LeafNode) {
		l.Lifetime = treekem.LifetimeFrom(time.Now().Add(-999*time.Hour), time.Hour)
	})(v)
	_, err := v.join()
	assertRule(t, err, "7.3/lifetime")
	v.cfg.AcceptExpired = true
	v.joins()
	v.leaf = func(i int, l *treekem.LeafNode) { l.Lifetime.NotAfter = 1<<64 - 1 }
	v.joins()
	v.cfg.AcceptExpired = false
	_, err = v.join()
	assertRule(t, err, "7.2/lifetime-too-long")
}
