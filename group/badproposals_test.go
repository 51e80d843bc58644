package group_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// The members of a scene list one extension type and not the other, newcomers
// list neither.
const (
	listed   mls.ExtensionType = 0xf001
	unlisted mls.ExtensionType = 0xf00d
)

// badProposal is a proposal that breaks one rule, whoever sends it.
type badProposal struct {
	name, rule string
	make       func(sc *scene) framing.Proposal
	// identity and leaf are whom the error blames; leaf is one more than the
	// index, 0 for nobody.
	identity string
	leaf     int
	cfg      func(*group.Config)
	exts     []mls.Extension
	setup    func(*scene)
	// late rules show only when the proposal is applied: a message that
	// proposes it is accepted.
	late bool
	// receivers are who refuses; senders are held to less.
	receiversOnly bool
}

// withoutListed is capabilities without the extension that first members list.
func withoutListed(l *treekem.LeafNode) {
	l.Capabilities.Extensions = slices.DeleteFunc(l.Capabilities.Extensions, func(t mls.ExtensionType) bool { return t == listed })
}

// noVersion and noSuite are capabilities without what the group uses.
func noVersion(l *treekem.LeafNode) { l.Capabilities.Versions = []mls.ProtocolVersion{2} }
func noSuite(l *treekem.LeafNode) {
	l.Capabilities.CipherSuites = []mls.CipherSuite{mls.P256_AES128GCM_SHA256_P256}
}

// keyPackageWith is a key package of a newcomer, changed and then signed again.
// leaf changes the leaf node, kp the key package; either can be nil.
func keyPackageWith(sc *scene, leaf func(*treekem.LeafNode), kp func(*treekem.KeyPackage)) framing.Proposal {
	sc.t.Helper()
	c := sc.client("newcomer")
	k := c.keyPackage()
	if leaf != nil {
		leaf(&k.LeafNode)
		check(sc.t, k.LeafNode.Sign(sc.suite, c.signer, nil, 0))
	}
	if kp != nil {
		kp(k)
	}
	check(sc.t, k.Sign(sc.suite, c.signer))
	return group.AddProposal(k)
}

// badLeaves are leaf nodes that break a rule wherever they come from.
var badLeaves = []struct {
	name, rule string
	change     func(*treekem.LeafNode)
}{
	{"encryption key", "5.1.1/hpke-public-key", func(l *treekem.LeafNode) { l.EncryptionKey = l.EncryptionKey[1:] }},
	{"signature key", "5.1.1/signature-public-key", func(l *treekem.LeafNode) { l.SignatureKey = l.SignatureKey[1:] }},
	{"one key for both", "16.7/one-key-for-both", func(l *treekem.LeafNode) { l.EncryptionKey = mls.HPKEPublicKey(l.SignatureKey) }},
	{"default capability", "7.2/default-capability", func(l *treekem.LeafNode) {
		l.Capabilities.Proposals = append(l.Capabilities.Proposals, mls.ProposalAdd)
	}},
	{"default extension", "7.2/default-capability", func(l *treekem.LeafNode) {
		l.Capabilities.Extensions = append(l.Capabilities.Extensions, mls.ExtensionRatchetTree)
	}},
	{"own credential type", "7.2/credential-type", func(l *treekem.LeafNode) {
		l.Capabilities.Credentials = []mls.CredentialType{mls.CredentialX509}
	}},
	{"leaf extension", "7.3/extension-capability", func(l *treekem.LeafNode) {
		l.Extensions = []mls.Extension{{Type: unlisted}}
	}},
	{"empty chain", "5.3/x509-empty-chain", func(l *treekem.LeafNode) { l.Credential = treekem.X509Credential(nil) }},
	{"certificate", "5.3/x509-certificate", func(l *treekem.LeafNode) { l.Credential = treekem.X509Credential([][]byte{{1, 2, 3}}) }},
}

func badAdds() []badProposal {
	list := []badProposal{
		{name: "version", rule: "10.1/version", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, func(k *treekem.KeyPackage) { k.Version = 2 })
		}},
		{name: "cipher suite", rule: "10.1/cipher-suite", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, func(k *treekem.KeyPackage) { k.CipherSuite = mls.P256_AES128GCM_SHA256_P256 })
		}},
		{name: "init key is the leaf's", rule: "10.1/init-key", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, func(k *treekem.KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey })
		}},
		{name: "init key", rule: "5.1.1/hpke-public-key", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, func(k *treekem.KeyPackage) { k.InitKey = k.InitKey[1:] })
		}},
		{name: "key package extension", rule: "10/extension-capability", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, func(k *treekem.KeyPackage) { k.Extensions = []mls.Extension{{Type: treekem.ExtensionLastResort}} })
		}},
		{name: "signature", rule: "10.1/signature", make: func(sc *scene) framing.Proposal {
			p := keyPackageWith(sc, nil, nil)
			p.Add.KeyPackage.Signature[3] ^= 1
			return p
		}},
		{name: "leaf signature", rule: "7.3/leaf-signature", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, func(k *treekem.KeyPackage) { k.LeafNode.Signature[3] ^= 1 })
		}},
		{name: "source", rule: "7.3/key-package-source", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, func(l *treekem.LeafNode) { l.Source = treekem.SourceUpdate }, nil)
		}},
		{name: "versions of the capabilities", rule: "11.1/version-capability", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, noVersion, nil)
		}},
		{name: "suites of the capabilities", rule: "11.1/cipher-suite-capability", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, noSuite, nil)
		}},
		{name: "not valid yet", rule: "7.3/lifetime", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, func(l *treekem.LeafNode) {
				l.Lifetime = treekem.LifetimeFrom(time.Now().Add(48*time.Hour), 24*time.Hour)
			}, nil)
		}},
		{name: "lifetime ends before it begins", rule: "7.3/lifetime", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, func(l *treekem.LeafNode) {
				l.Lifetime.NotBefore, l.Lifetime.NotAfter = l.Lifetime.NotAfter, l.Lifetime.NotBefore
			}, nil)
		}},
		{name: "lifetime too long", rule: "7.2/lifetime-too-long", make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, func(l *treekem.LeafNode) {
				l.Lifetime = treekem.LifetimeFrom(time.Now(), group.DefaultMaxLifetime+time.Hour)
			}, nil)
		}},
		{name: "refused credential", rule: "5.3.1/credential", cfg: refuse("newcomer"), make: func(sc *scene) framing.Proposal {
			return keyPackageWith(sc, nil, nil)
		}},
	}
	for _, bad := range badLeaves {
		p := badProposal{name: bad.name, rule: bad.rule, make: func(sc *scene) framing.Proposal { return keyPackageWith(sc, bad.change, nil) }}
		if bad.name == "signature key" || bad.rule[:4] == "5.3/" {
			p.identity = "-"
		}
		list = append(list, p)
	}
	for i := range list {
		if list[i].identity == "" {
			list[i].identity = "newcomer"
		}
	}
	return list
}

// refuse is an Authenticate that refuses one identity.
func refuse(identity string) func(*group.Config) {
	return func(cfg *group.Config) {
		cfg.Authenticate = func(a group.Authentication) error {
			if string(a.Credential.Identity) == identity {
				return errRefused
			}
			return nil
		}
	}
}

var errRefused = errors.New("refused by the application")

func encode(sc *scene, e wire.Encoder) []byte {
	sc.t.Helper()
	return must[[]byte](sc.t)(wire.Marshal(e))
}

func extension(sc *scene, t mls.ExtensionType, e wire.Encoder) mls.Extension {
	return mls.Extension{Type: t, Data: encode(sc, e)}
}

// badOthers are proposals other than Adds and Updates.
func badOthers() []badProposal {
	psk := func(change func(*keyschedule.PreSharedKeyID)) func(*scene) framing.Proposal {
		return func(sc *scene) framing.Proposal {
			p := group.ResumptionProposal(sc.suite, sc.m[0].g.ID(), sc.m[0].g.Epoch())
			change(&p.PreSharedKey.PSK)
			return p
		}
	}
	return []badProposal{
		{name: "remove of a blank leaf", rule: "12.1.3/removed-leaf", make: func(*scene) framing.Proposal { return group.RemoveProposal(6) }},
		{name: "remove beyond the tree", rule: "12.1.3/removed-leaf", make: func(*scene) framing.Proposal { return group.RemoveProposal(1 << 31) }},
		{name: "reinit psk", rule: "12.1.4/reinit-psk", make: psk(func(id *keyschedule.PreSharedKeyID) { id.Usage = keyschedule.UsageReInit })},
		{name: "branch psk", rule: "12.1.4/branch-psk", make: psk(func(id *keyschedule.PreSharedKeyID) { id.Usage = keyschedule.UsageBranch })},
		{name: "short psk nonce", rule: "12.1.4/psk-nonce-length", make: psk(func(id *keyschedule.PreSharedKeyID) { id.PSKNonce = id.PSKNonce[1:] })},
		{name: "long psk nonce", rule: "12.1.4/psk-nonce-length", make: psk(func(id *keyschedule.PreSharedKeyID) { id.PSKNonce = append(id.PSKNonce, 0) })},
		{name: "reinit version", rule: "12.1.5/version", make: func(*scene) framing.Proposal {
			p := group.ReInitProposal([]byte("next"), mls.X25519_AES128GCM_SHA256_Ed25519, nil)
			p.ReInit.Version = 0
			return p
		}},
		{name: "refused external sender", rule: "5.3.1/external-sender", cfg: refuse("outsider"), identity: "outsider", make: func(sc *scene) framing.Proposal {
			c := sc.client("outsider")
			return group.ExtensionsProposal([]mls.Extension{externalSenders(sc.t, c.externalSender())})
		}},
		{name: "key of an external sender", rule: "5.1.1/signature-public-key", make: func(sc *scene) framing.Proposal {
			c := sc.client("outsider")
			return group.ExtensionsProposal([]mls.Extension{externalSenders(sc.t, framing.ExternalSender{SignatureKey: c.signer.Public()[1:], Credential: c.identity().Credential})})
		}},
		{name: "certificate of an external sender", rule: "5.3/x509-empty-chain", make: func(sc *scene) framing.Proposal {
			c := sc.client("outsider")
			return group.ExtensionsProposal([]mls.Extension{externalSenders(sc.t, framing.ExternalSender{SignatureKey: c.signer.Public(), Credential: treekem.X509Credential(nil)})})
		}},
		{name: "required capabilities", rule: "12.1.7/required-capabilities", late: true, identity: "member 0", leaf: 1, make: func(sc *scene) framing.Proposal {
			return group.ExtensionsProposal([]mls.Extension{extension(sc, mls.ExtensionRequiredCapabilities, &treekem.RequiredCapabilities{Proposals: []mls.ProposalType{0xf00d}})})
		}},
		{name: "group extension", rule: "13.4/group-extension-support", late: true, identity: "member 0", leaf: 1, make: func(*scene) framing.Proposal {
			return group.ExtensionsProposal([]mls.Extension{{Type: unlisted}})
		}},
		{name: "GREASE in the group context", rule: "13.4/group-extension-support", late: true, receiversOnly: true, make: func(sc *scene) framing.Proposal {
			return group.ExtensionsProposal([]mls.Extension{{Type: greaseThatSomebodyLacks(sc)}})
		}},
		{name: "add by required capabilities", rule: "11.1/required-capabilities", late: true, identity: "newcomer", leaf: 6, exts: []mls.Extension{requiresApplicationType},
			make: func(sc *scene) framing.Proposal { return keyPackageWith(sc, basicOnly, nil) }},
		{name: "add lacks a credential type in use", rule: "7.3/credentials-in-use", late: true, identity: "newcomer", leaf: 7,
			setup: func(sc *scene) { sc.add(sc.certified("certified")) },
			make:  func(sc *scene) framing.Proposal { return keyPackageWith(sc, basicOnly, nil) }},
		{name: "add of an unsupported credential type", rule: "7.3/credential-type-unsupported", late: true, identity: "CN=newcomer", leaf: 7,
			setup: func(sc *scene) {
				c := sc.client("old")
				id := c.identity()
				caps := treekem.DefaultCapabilities()
				caps.Credentials = []mls.CredentialType{mls.CredentialBasic}
				id.Capabilities = &caps
				sc.add(c, id)
			}, make: certifiedAdd},
		{name: "add lacks a group extension", rule: "13.4/group-extension-support", late: true, identity: "newcomer", leaf: 6,
			exts: []mls.Extension{{Type: listed}}, make: func(sc *scene) framing.Proposal { return keyPackageWith(sc, nil, nil) }},
	}
}

// requiresApplicationType requires credentials of type x509 to be supported.
var requiresApplicationType = mls.Extension{Type: mls.ExtensionRequiredCapabilities, Data: []byte{0, 0, 2, 0, 2}}

// greaseThatSomebodyLacks is a GREASE value that not all members list.
func greaseThatSomebodyLacks(sc *scene) mls.ExtensionType {
	for i := range mls.ExtensionType(15) {
		v := i*0x1010 + 0x0a0a
		if !sc.m[0].g.Tree().EveryMember().SupportsExtension(v) {
			return v
		}
	}
	sc.t.Fatal("all members list all GREASE values")
	return 0
}

// TestBadProposals lets a member propose, and commit by value, what breaks one
// rule: neither its own code makes such a message, nor do the others accept it.
func TestBadProposals(t *testing.T) {
	for _, bad := range append(badAdds(), badOthers()...) {
		t.Run(bad.name, func(t *testing.T) {
			cfg := config()
			if bad.cfg != nil {
				bad.cfg(&cfg)
			}
			sc := newSceneOf(t, cfg, 5, bad.exts...)
			if bad.setup != nil {
				bad.setup(sc)
			}
			p := bad.make(sc)
			sc.honestRefuses(bad, p)
			for _, w := range []framing.WireFormat{framing.WireFormatPublicMessage, framing.WireFormatPrivateMessage} {
				message := sc.m[0].forgeProposal(w, p)
				if !bad.late {
					sc.blamesBad(sc.refused(message, bad.rule), bad, -1)
				}
				sc.blamesBad(sc.refused(sc.m[0].forge(w, forgery{proposals: []framing.Proposal{p}}).message, bad.rule), bad, 0)
			}
			if !bad.late {
				return
			}
			message, ref := sc.m[0].forgeProposalRef(framing.WireFormatPublicMessage, p)
			sc.send(message)
			f := forgery{proposals: []framing.Proposal{p}, commit: func(c *framing.Commit) { c.Proposals = []framing.ProposalOrRef{{Ref: ref}} }}
			sc.blamesBad(sc.commitRefused(f, bad.rule), bad, -1)
		})
	}
}

func (sc *scene) blamesBad(e *mls.RuleError, bad badProposal, proposal int) {
	sc.t.Helper()
	if bad.identity == "-" {
		bad.identity = ""
	}
	if bad.late {
		proposal = -1
	}
	sc.blames(e, bad.leaf-1, bad.identity, proposal)
}

// honestRefuses shows that the code itself doesn't send the proposal.
func (sc *scene) honestRefuses(bad badProposal, p framing.Proposal) {
	sc.t.Helper()
	if bad.receiversOnly {
		return
	}
	c := sc.m[1]
	if !bad.late {
		err := unchanged(sc.t, c, func() error { _, err := c.g.Propose(p, nil); return err })
		assertRule(sc.t, err, bad.rule)
	}
	err := unchanged(sc.t, c, func() error {
		_, err := c.g.Commit(group.CommitOptions{Proposals: []framing.Proposal{p}})
		return err
	})
	assertRule(sc.t, err, bad.rule)
}
