package group_test

import (
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// badPath is an update path that breaks one rule.
type badPath struct {
	name, rule string
	cfg        func(*group.Config)
	exts       []mls.Extension
	forge      func(sc *scene) forgery
	// secret rules take a member's keys to see: the observer accepts.
	secret bool
	// anybody is set where the culprit is not the committer.
	anybody bool
}

func leafChange(change func(*treekem.LeafNode)) func(*scene) forgery {
	return func(*scene) forgery { return forgery{leaf: change} }
}

func pathChange(change func(sc *scene, p *treekem.UpdatePath)) func(*scene) forgery {
	return func(sc *scene) forgery { return forgery{path: func(p *treekem.UpdatePath) { change(sc, p) }} }
}

func badPaths() []badPath {
	list := []badPath{
		{name: "a node too many", rule: "7.6/path-length", forge: pathChange(func(sc *scene, p *treekem.UpdatePath) {
			p.Nodes = append(p.Nodes, treekem.UpdatePathNode{EncryptionKey: must[*mls.HPKEPrivateKey](sc.t)(sc.suite.GenerateKeyPair()).Public()})
		})},
		{name: "a node too few", rule: "7.6/path-length", forge: pathChange(func(_ *scene, p *treekem.UpdatePath) { p.Nodes = p.Nodes[:len(p.Nodes)-1] })},
		{name: "a ciphertext too many", rule: "7.6/path-ciphertexts", forge: pathChange(func(_ *scene, p *treekem.UpdatePath) {
			n := &p.Nodes[1]
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, n.EncryptedPathSecret[0])
		})},
		{name: "a ciphertext too few", rule: "7.6/path-ciphertexts", forge: pathChange(func(_ *scene, p *treekem.UpdatePath) {
			p.Nodes[0].EncryptedPathSecret = nil
		})},
		{name: "key of a node", rule: "5.1.1/hpke-public-key", forge: pathChange(func(_ *scene, p *treekem.UpdatePath) {
			p.Nodes[1].EncryptionKey = p.Nodes[1].EncryptionKey[1:]
		})},
		{name: "another key of a node", rule: "7.9.2/path-parent-hash", forge: pathChange(func(sc *scene, p *treekem.UpdatePath) {
			p.Nodes[1].EncryptionKey = must[*mls.HPKEPrivateKey](sc.t)(sc.suite.GenerateKeyPair()).Public()
		})},
		{name: "no parent hash", rule: "7.9.2/path-parent-hash", forge: leafChange(func(l *treekem.LeafNode) { l.ParentHash = nil })},
		{name: "wrong parent hash", rule: "7.9.2/path-parent-hash", forge: leafChange(func(l *treekem.LeafNode) { l.ParentHash[0] ^= 1 })},
		{name: "source update", rule: "7.3/path-source", forge: leafChange(func(l *treekem.LeafNode) { l.Source = treekem.SourceUpdate })},
		{name: "source key package", rule: "7.3/path-source", forge: leafChange(func(l *treekem.LeafNode) { l.Source = treekem.SourceKeyPackage })},
		{name: "leaf signature", rule: "7.3/leaf-signature", forge: pathChange(func(_ *scene, p *treekem.UpdatePath) { p.LeafNode.Signature[3] ^= 1 })},
		{name: "leaf signed for another index", rule: "7.3/leaf-signature", forge: pathChange(func(sc *scene, p *treekem.UpdatePath) {
			check(sc.t, p.LeafNode.Sign(sc.suite, sc.m[0].signer, sc.m[0].g.ID(), 1))
		})},
		{name: "leaf signed by another", rule: "7.3/leaf-signature", forge: pathChange(func(sc *scene, p *treekem.UpdatePath) {
			check(sc.t, p.LeafNode.Sign(sc.suite, sc.m[1].signer, sc.m[0].g.ID(), 0))
		})},
		{name: "same leaf key", rule: "12.4.2/path-same-leaf-key", forge: func(sc *scene) forgery {
			own, _ := sc.m[0].g.Member(0)
			return forgery{leaf: func(l *treekem.LeafNode) { l.EncryptionKey = own.EncryptionKey }}
		}},
		{name: "leaf key of a member", rule: "12.4.2/path-key-in-tree", forge: func(sc *scene) forgery {
			other, _ := sc.m[0].g.Member(3)
			return forgery{leaf: func(l *treekem.LeafNode) { l.EncryptionKey = other.EncryptionKey }}
		}},
		{name: "leaf key of a replaced node", rule: "12.4.2/path-key-in-tree", forge: func(sc *scene) forgery {
			key, _ := sc.m[0].g.Tree().EncryptionKey(sc.m[0].g.Tree().DirectPath(0)[0])
			return forgery{leaf: func(l *treekem.LeafNode) { l.EncryptionKey = key }}
		}},
		{name: "signature key of a member", rule: "7.3/signature-key-unique", forge: func(sc *scene) forgery {
			return forgery{signer: sc.m[3].signer, leaf: func(l *treekem.LeafNode) { l.SignatureKey = sc.m[3].signer.Public() }}
		}},
		{name: "signature key of a new member", rule: "7.3/signature-key-unique", forge: func(sc *scene) forgery {
			late := sc.client("late")
			return forgery{proposals: adds(late), signer: late.signer, leaf: func(l *treekem.LeafNode) { l.SignatureKey = late.signer.Public() }}
		}},
		{name: "successor", rule: "5.3.1/successor-credential", cfg: refuse("somebody else"), forge: leafChange(func(l *treekem.LeafNode) {
			l.Credential = treekem.BasicCredential([]byte("somebody else"))
		})},
		{name: "required capabilities", rule: "11.1/required-capabilities", exts: []mls.Extension{requiresApplicationType}, forge: leafChange(basicOnly)},
		{name: "new required capabilities", rule: "12.1.7/required-capabilities", forge: func(*scene) forgery {
			return forgery{leaf: basicOnly, proposals: []framing.Proposal{group.ExtensionsProposal([]mls.Extension{requiresApplicationType})}}
		}},
		{name: "version", rule: "7.3/version-in-capabilities", forge: leafChange(noVersion)},
		{name: "cipher suite", rule: "7.3/cipher-suite-in-capabilities", forge: leafChange(noSuite)},
		{name: "group extension", rule: "13.4/group-extension-support", exts: []mls.Extension{{Type: listed}}, forge: leafChange(withoutListed)},
		{name: "path secret that doesn't decrypt", rule: "7.5/path-secret", secret: true, forge: pathChange(func(_ *scene, p *treekem.UpdatePath) {
			for i := range p.Nodes {
				for j := range p.Nodes[i].EncryptedPathSecret {
					p.Nodes[i].EncryptedPathSecret[j].Ciphertext[0] ^= 1
				}
			}
		})},
		{name: "path secret for another context", rule: "7.5/path-secret", secret: true, forge: func(sc *scene) forgery {
			other := sc.m[0].forge(framing.WireFormatPublicMessage, forgery{})
			return forgery{path: func(p *treekem.UpdatePath) {
				for i := range p.Nodes {
					p.Nodes[i].EncryptedPathSecret = other.ac.Content.Commit.Path.Nodes[i].EncryptedPathSecret
				}
			}}
		}},
		{name: "path secret that leads elsewhere", rule: "7.5/path-derived-key", secret: true, forge: sealOther},
	}
	for _, l := range badLeaves {
		list = append(list, badPath{name: l.name, rule: l.rule, forge: leafChange(l.change)})
	}
	return list
}

// sealOther encrypts the path secrets of another path, under the very context
// that the commit has.
func sealOther(sc *scene) forgery {
	c := sc.m[0]
	own, _ := c.g.Member(0)
	other := must[*treekem.Path](sc.t)(c.g.Tree().NewPath(0, own, c.signer, c.g.ID()))
	return forgery{
		path: func(p *treekem.UpdatePath) {
			merged := must[*treekem.Tree](sc.t)(c.g.Tree().MergePath(0, p, c.g.ID(), nil))
			context := c.g.Context()
			context.Epoch++
			context.TreeHash = merged.Hash()
			sealed := must[*treekem.UpdatePath](sc.t)(other.Seal(must[[]byte](sc.t)(context.Bytes()), nil))
			for i := range p.Nodes {
				p.Nodes[i].EncryptedPathSecret = sealed.Nodes[i].EncryptedPathSecret
			}
		},
	}
}

// TestBadPaths commits update paths that break one rule.
func TestBadPaths(t *testing.T) {
	for _, tt := range badPaths() {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			sc := newSceneOf(t, cfg, 5, tt.exts...)
			if tt.rule == "12.4.2/path-key-in-tree" {
				// So that there are parents whose keys the path replaces.
				s := sc.m[0].commit(group.CommitOptions{})
				deliver(t, s.Message(), sc.m[1:]...)
				check(t, sc.m[0].g.Merge(s))
				sc.observe()
			}
			for _, w := range bothFramings {
				f := tt.forge(sc)
				message := sc.m[0].forge(w, f).message
				e := sc.refusedByMembers(message, tt.rule)
				if !tt.anybody {
					sc.blames(e, 0, "", -1)
				}
				if w != framing.WireFormatPublicMessage {
					continue
				}
				if !tt.secret {
					sc.observerRefuses(message, tt.rule)
				} else if _, err := sc.observer.Process(message); err != nil {
					t.Fatalf("the observer sees what takes a secret: %v", err)
				}
			}
		})
	}
}

// TestPathKeyTwice has a parent node with the key of the leaf: everything that
// is hashed and signed agrees with it.
func TestPathKeyTwice(t *testing.T) {
	sc := newScene(t, 5)
	c := sc.m[0]
	own, _ := c.g.Member(0)
	path := must[*treekem.Path](t)(c.g.Tree().NewPath(0, own, c.signer, c.g.ID()))
	draft := must[*treekem.UpdatePath](t)(path.Seal(nil, nil))
	draft.LeafNode.EncryptionKey = draft.Nodes[1].EncryptionKey
	check(t, draft.LeafNode.Sign(sc.suite, c.signer, c.g.ID(), 0))
	f := forgery{path: func(p *treekem.UpdatePath) { *p = *draft }}
	sc.commitRefused(f, "12.4.3.1/parent-key-unique")
}

// TestConfirmationTag: a commit without the tag of its epoch is refused, after
// its signature was found good, and leaves no trace (RFC 9420, Section 12.4.2).
func TestConfirmationTag(t *testing.T) {
	for name, change := range map[string]func(tag []byte) []byte{
		"changed": func(tag []byte) []byte { tag[0] ^= 1; return tag },
		"short":   func(tag []byte) []byte { return tag[:len(tag)-1] },
		"one":     func(tag []byte) []byte { return tag[:1] },
		"long":    func(tag []byte) []byte { return append(tag, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			sc := newScene(t, 4)
			for _, w := range bothFramings {
				message := sc.m[0].forge(w, forgery{sealed: func(ac *framing.AuthenticatedContent) {
					ac.ConfirmationTag = change(ac.ConfirmationTag)
				}}).message
				sc.refusedByMembers(message, "12.4.2/confirmation-tag")
				sc.fails(message, mls.ErrAuth)
			}
		})
	}
	sc := newScene(t, 4)
	sc.fails(sc.m[0].forge(framing.WireFormatPrivateMessage, forgery{sealed: func(ac *framing.AuthenticatedContent) {
		ac.ConfirmationTag = nil
	}}).message, mls.ErrMalformed)
}
