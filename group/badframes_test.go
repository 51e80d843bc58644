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

// content is a frame from the forger, with an application message in it.
func (sc *scene) content(kind framing.ContentType) framing.FramedContent {
	c := framing.FramedContent{
		GroupID: sc.m[0].g.ID(), Epoch: sc.m[0].g.Epoch(), Sender: framing.Member(0), ContentType: kind,
	}
	switch kind {
	case framing.ContentApplication:
		c.Application = []byte("text")
	case framing.ContentProposal:
		p := group.RemoveProposal(2)
		c.Proposal = &p
	default:
		c.Commit = &framing.Commit{}
	}
	return c
}

// frameAs signs content with a key and frames it in the clear, with a
// membership tag if its sender is a member.
func (sc *scene) frameAs(signer mls.Signer, content framing.FramedContent) []byte {
	sc.t.Helper()
	ac := signRaw(sc.t, sc.suite, signer, framing.WireFormatPublicMessage, content, sc.m[0].base().bytes)
	if content.ContentType == framing.ContentCommit {
		ac.ConfirmationTag = bytes.Repeat([]byte{1}, sc.suite.HashSize())
	}
	return sc.m[0].frame(ac)
}

func (sc *scene) withSenders(senders ...*client) {
	sc.t.Helper()
	var list []framing.ExternalSender
	for _, c := range senders {
		list = append(list, c.externalSender())
	}
	sc.m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.ExtensionsProposal([]mls.Extension{externalSenders(sc.t, list...)})}}, sc.m[1:])
	sc.observe()
}

// TestBadSenders has messages of senders that must not send them (RFC 9420,
// Sections 6.1 and 12.1.8).
func TestBadSenders(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		strict     bool // with Config.Authorize as it is by default
		refuse     bool // with a Config.Authorize that refuses
		make       func(sc *scene, outsider *client) []byte
	}{
		{name: "application data in the clear", rule: "6/application-in-public-message", make: func(sc *scene, _ *client) []byte {
			return sc.frameAs(sc.m[0].signer, sc.content(framing.ContentApplication))
		}},
		{name: "blank sender", rule: "6.1/sender-leaf", make: func(sc *scene, _ *client) []byte {
			c := sc.content(framing.ContentProposal)
			c.Sender.Leaf = 6
			return sc.frameAs(sc.m[0].signer, c)
		}},
		{name: "sender beyond the tree", rule: "6.1/sender-leaf", make: func(sc *scene, _ *client) []byte {
			c := sc.content(framing.ContentCommit)
			c.Sender.Leaf = 1<<32 - 1
			return sc.frameAs(sc.m[0].signer, c)
		}},
		{name: "external sender unlisted", rule: "6.1/external-sender-index", make: func(sc *scene, out *client) []byte {
			sc.withSenders(out)
			c := sc.content(framing.ContentProposal)
			c.Sender = framing.Sender{Type: framing.SenderExternal, SenderIndex: 1}
			return sc.frameAs(out.signer, c)
		}},
		{name: "no external senders", rule: "12.1.8/external-senders-absent", make: func(sc *scene, out *client) []byte {
			c := sc.content(framing.ContentProposal)
			c.Sender = framing.Sender{Type: framing.SenderExternal}
			return sc.frameAs(out.signer, c)
		}},
		{name: "commit of an external sender", rule: "6.1/external-sender-content", make: func(sc *scene, out *client) []byte {
			sc.withSenders(out)
			c := sc.content(framing.ContentCommit)
			c.Sender = framing.Sender{Type: framing.SenderExternal}
			return sc.frameAs(out.signer, c)
		}},
		{name: "update of an external sender", rule: "12.1.8/external-sender-proposal-type", make: func(sc *scene, out *client) []byte {
			sc.withSenders(out)
			c := sc.content(framing.ContentProposal)
			c.Sender = framing.Sender{Type: framing.SenderExternal}
			p := updateProposal(sc.m[0].updateLeaf(nil))
			c.Proposal = &p
			return sc.frameAs(out.signer, c)
		}},
		{name: "external init of an external sender", rule: "12.1.8/external-sender-proposal-type", make: func(sc *scene, out *client) []byte {
			sc.withSenders(out)
			c := sc.content(framing.ContentProposal)
			c.Sender = framing.Sender{Type: framing.SenderExternal}
			p := externalInit([]byte("kem"))
			c.Proposal = &p
			return sc.frameAs(out.signer, c)
		}},
		{name: "new member's commit as a proposal sender", rule: "6.1/new-member-proposal-content", make: func(sc *scene, out *client) []byte {
			c := sc.content(framing.ContentCommit)
			c.Sender = framing.Sender{Type: framing.SenderNewMemberProposal}
			return sc.frameAs(out.signer, c)
		}},
		{name: "new member's remove", rule: "6.1/new-member-proposal-type", make: func(sc *scene, out *client) []byte {
			c := sc.content(framing.ContentProposal)
			c.Sender = framing.Sender{Type: framing.SenderNewMemberProposal}
			return sc.frameAs(out.signer, c)
		}},
		{name: "new member's proposal as a commit sender", rule: "6.1/new-member-commit-content", make: func(sc *scene, out *client) []byte {
			c := sc.content(framing.ContentProposal)
			c.Sender = framing.Sender{Type: framing.SenderNewMemberCommit}
			return sc.frameAs(out.signer, c)
		}},
		{name: "new member unauthorized by default", rule: "12.1.8/unauthorized", strict: true, make: func(sc *scene, out *client) []byte {
			return must[[]byte](sc.t)(group.ProposeNewMember(sc.suite, out.signer, sc.m[0].g.ID(), sc.m[0].g.Epoch(), out.keyPackage()))
		}},
		{name: "external proposal unauthorized", rule: "12.1.8/unauthorized", refuse: true, make: func(sc *scene, out *client) []byte {
			sc.withSenders(out)
			return must[[]byte](sc.t)(group.ProposeExternal(sc.suite, out.signer, 0, sc.m[0].g.ID(), sc.m[0].g.Epoch(), group.RemoveProposal(1), nil))
		}},
		{name: "external init as a member's proposal", rule: "12.1.6/external-init", make: func(sc *scene, _ *client) []byte {
			return sc.m[0].forgeProposal(framing.WireFormatPublicMessage, externalInit([]byte("kem")))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.strict {
				cfg.Authorize = nil
			}
			if tt.refuse {
				cfg.Authorize = func(group.Admission) error { return errRefused }
			}
			sc := newSceneOf(t, cfg, 5)
			message := tt.make(sc, sc.client("outsider"))
			e := sc.refused(message, tt.rule)
			if tt.refuse && !errors.Is(e, errRefused) {
				t.Fatalf("%v does not wrap what the application said", e)
			}
		})
	}
}

// TestOutsidersAreWelcome: what is refused above is fine from those who may.
func TestOutsidersAreWelcome(t *testing.T) {
	sc := newScene(t, 5)
	out := sc.client("outsider")
	sc.withSenders(sc.client("another"), out)
	for _, p := range []framing.Proposal{
		group.RemoveProposal(2), adds(sc.client("late"))[0], group.PSKProposal(sc.suite, []byte("k")),
		group.ReInitProposal(nil, sc.suite.ID(), nil), group.ExtensionsProposal(nil),
	} {
		sc.proposed(must[[]byte](t)(group.ProposeExternal(sc.suite, out.signer, 1, sc.m[0].g.ID(), sc.m[0].g.Epoch(), p, nil)))
	}
	sc.proposed(must[[]byte](t)(group.ProposeNewMember(sc.suite, out.signer, sc.m[0].g.ID(), sc.m[0].g.Epoch(), out.keyPackage())))
	_, err := group.ProposeExternal(sc.suite, out.signer, 1, sc.m[0].g.ID(), sc.m[0].g.Epoch(), updateProposal(sc.m[0].updateLeaf(nil)), nil)
	assertRule(t, err, "12.1.8/external-sender-proposal-type")
	err = unchanged(t, sc.m[1], func() error {
		_, err := sc.m[1].g.Propose(updateProposal(sc.m[1].updateLeaf(nil)), nil)
		return err
	})
	assertRule(t, err, "12.1.2/sender")
	_, err = sc.m[1].g.Propose(externalInit([]byte("kem")), nil)
	assertRule(t, err, "12.1.6/external-init")
}

// TestOutsidersSignatures are those of the keys that belong to their sender
// type, and of no other.
func TestOutsidersSignatures(t *testing.T) {
	sc := newScene(t, 3)
	listed, other := sc.client("listed"), sc.client("other")
	sc.withSenders(listed)
	c := sc.content(framing.ContentProposal)
	c.Sender = framing.Sender{Type: framing.SenderExternal}
	sc.fails(sc.frameAs(other.signer, c), mls.ErrAuth)
	sc.fails(sc.frameAs(sc.m[0].signer, c), mls.ErrAuth)
	c.Sender = framing.Sender{Type: framing.SenderNewMemberProposal}
	p := adds(other)[0]
	c.Proposal = &p
	sc.fails(sc.frameAs(listed.signer, c), mls.ErrAuth)
	sc.send(sc.frameAs(other.signer, c))
}

// TestPublicMACs: a membership tag that is short, empty, long or changed, and a
// signature that is not the sender's (RFC 9420, Sections 6.1 and 6.2).
func TestPublicMACs(t *testing.T) {
	sc := newScene(t, 4)
	for _, kind := range []framing.ContentType{framing.ContentProposal, framing.ContentCommit} {
		content := sc.content(kind)
		var ac *framing.AuthenticatedContent
		if kind == framing.ContentProposal {
			ac = signRaw(t, sc.suite, sc.m[0].signer, framing.WireFormatPublicMessage, content, sc.m[0].base().bytes)
		} else {
			ac = sc.m[0].forge(framing.WireFormatPublicMessage, forgery{}).ac
		}
		tag := sc.m[0].g.TestingEpoch().MembershipTag(sc.m[0].tbm(ac))
		frame := func(signature, tag []byte) []byte {
			return publicBytes(t, &framing.PublicMessage{Content: ac.Content, Signature: signature, ConfirmationTag: ac.ConfirmationTag, MembershipTag: tag})
		}
		flipped := bytes.Clone(tag)
		flipped[31] ^= 0x80
		for _, wrong := range [][]byte{tag[:1], tag[:len(tag)-1], append(bytes.Clone(tag), 0), flipped, make([]byte, len(tag))} {
			sc.fails(frame(ac.Signature, wrong), mls.ErrAuth)
		}
		whole := frame(ac.Signature, tag)
		empty := append(bytes.Clone(whole[:len(whole)-len(tag)-1]), 0)
		sc.fails(empty, mls.ErrMalformed)
		absent := whole[:len(whole)-len(tag)-1]
		sc.fails(absent, mls.ErrMalformed)

		forgedBy := func(c *client) *framing.AuthenticatedContent {
			a := signRaw(t, sc.suite, c.signer, framing.WireFormatPublicMessage, ac.Content, sc.m[0].base().bytes)
			a.ConfirmationTag = ac.ConfirmationTag
			return a
		}
		// Another member's signature, with a good membership tag.
		a := forgedBy(sc.m[1])
		sc.fails(frame(a.Signature, sc.m[0].g.TestingEpoch().MembershipTag(sc.m[0].tbm(a))), mls.ErrAuth)
		if _, err := sc.observer.Process(frame(a.Signature, tag)); !errors.Is(err, mls.ErrAuth) {
			t.Fatalf("observer: %v", err)
		}
		// A signature for the other wire format.
		a = signRaw(t, sc.suite, sc.m[0].signer, framing.WireFormatPrivateMessage, ac.Content, sc.m[0].base().bytes)
		a.WireFormat, a.ConfirmationTag = framing.WireFormatPublicMessage, ac.ConfirmationTag
		sc.fails(frame(a.Signature, sc.m[0].g.TestingEpoch().MembershipTag(sc.m[0].tbm(a))), mls.ErrAuth)
	}
}

// TestPrivateForgeries are PrivateMessages of a member that knows every key.
// None of them may use up the key of the message that it pretends to be.
func TestPrivateForgeries(t *testing.T) {
	type forge func(sc *scene) []byte
	application := func(sc *scene, signer *client) *framing.AuthenticatedContent {
		return signRaw(sc.t, sc.suite, signer.signer, framing.WireFormatPrivateMessage, sc.content(framing.ContentApplication), sc.m[0].base().bytes)
	}
	blank := mls.LeafIndex(0)
	for _, tt := range []struct {
		name, rule string
		err        error
		make       forge
	}{
		{name: "blank sender", rule: "6.3.2/sender-leaf", make: func(sc *scene) []byte {
			return sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{leaf: 6, ratchet: &blank})
		}},
		{name: "sender beyond the tree", rule: "6.3.2/sender-leaf", make: func(sc *scene) []byte {
			return sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{leaf: 1 << 31, ratchet: &blank})
		}},
		{name: "padding", rule: "6.3.1/padding-not-zero", make: func(sc *scene) []byte {
			return sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{padding: []byte{0, 0, 1}})
		}},
		{name: "signature of another", err: mls.ErrAuth, make: func(sc *scene) []byte {
			return sc.m[0].framePrivate(application(sc, sc.m[1]), privateParts{})
		}},
		{name: "key of the other ratchet", err: mls.ErrAuth, make: func(sc *scene) []byte {
			return sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{other: true})
		}},
		{name: "too far ahead", err: mls.ErrTooFar, make: func(sc *scene) []byte {
			far := uint32(1<<32 - 1)
			return sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{claim: &far})
		}},
		{name: "generation of another key", err: mls.ErrAuth, make: func(sc *scene) []byte {
			next := uint32(1)
			return sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{claim: &next})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := newScene(t, 5)
			message := tt.make(sc)
			if tt.err != nil {
				sc.fails(message, tt.err)
			} else {
				sc.refused(message, tt.rule)
			}
			deliver(t, sc.m[0].framePrivate(application(sc, sc.m[0]), privateParts{}), sc.receivers()...)
		})
	}
}

// TestTamperedPrivateMessage changes each part of a PrivateMessage.
func TestTamperedPrivateMessage(t *testing.T) {
	sc := newScene(t, 3)
	message := must[[]byte](t)(sc.m[0].g.Protect([]byte("text"), []byte("aad")))
	edit := func(change func(*framing.PrivateMessage)) []byte {
		m := must[*framing.Message](t)(framing.Parse(message))
		change(m.Private)
		return must[[]byte](t)(m.Bytes())
	}
	for name, tampered := range map[string][]byte{
		"ciphertext":         edit(func(m *framing.PrivateMessage) { m.Ciphertext[len(m.Ciphertext)-1] ^= 1 }),
		"sample":             edit(func(m *framing.PrivateMessage) { m.Ciphertext[0] ^= 1 }),
		"short ciphertext":   edit(func(m *framing.PrivateMessage) { m.Ciphertext = m.Ciphertext[:5] }),
		"no ciphertext":      edit(func(m *framing.PrivateMessage) { m.Ciphertext = nil }),
		"sender data":        edit(func(m *framing.PrivateMessage) { m.EncryptedSenderData[2] ^= 1 }),
		"no sender data":     edit(func(m *framing.PrivateMessage) { m.EncryptedSenderData = nil }),
		"authenticated data": edit(func(m *framing.PrivateMessage) { m.AuthenticatedData = []byte("other") }),
		"content type":       edit(func(m *framing.PrivateMessage) { m.ContentType = framing.ContentCommit }),
	} {
		for _, c := range sc.receivers() {
			err := unchanged(t, c, func() error { return errOf(c.g.Process(tampered)) })
			if !errors.Is(err, mls.ErrAuth) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	deliver(t, message, sc.receivers()...)
}

// TestOtherGroupsAndEpochs: messages for elsewhere are no errors of the group's.
func TestOtherGroupsAndEpochs(t *testing.T) {
	sc := newScene(t, 3)
	content := sc.content(framing.ContentProposal)
	content.GroupID = []byte("another")
	sc.fails(sc.frameAs(sc.m[0].signer, content), mls.ErrWrongGroup)
	if _, err := sc.observer.Process(sc.frameAs(sc.m[0].signer, content)); !errors.Is(err, mls.ErrWrongGroup) {
		t.Fatal(err)
	}
	for _, w := range bothFramings {
		for _, epoch := range []uint64{0, 2, 1<<64 - 1} {
			content := sc.content(framing.ContentProposal)
			content.Epoch = epoch
			ac := signRaw(t, sc.suite, sc.m[0].signer, w, content, sc.m[0].base().bytes)
			message := sc.m[0].frame(ac)
			for _, c := range sc.receivers() {
				var r group.Received
				check(t, unchanged(t, c, func() (err error) { r, err = c.g.Process(message); return err }))
				switch r := r.(type) {
				case *group.StaleEpoch:
					if epoch != 0 || r.Got != 0 || r.Want != 1 {
						t.Fatalf("epoch %d is %+v", epoch, r)
					}
				case *group.FutureEpoch:
					if epoch == 0 || r.Got != epoch || r.Want != 1 {
						t.Fatalf("epoch %d is %+v", epoch, r)
					}
				default:
					t.Fatalf("epoch %d is %T", epoch, r)
				}
			}
		}
	}
}

// TestOtherMessages: not every MLSMessage is one to a group.
func TestOtherMessages(t *testing.T) {
	sc := newScene(t, 3)
	late := sc.client("late")
	kp := late.keyPackage()
	staged := sc.m[0].commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
	for _, m := range []*framing.Message{
		{Version: mls.MLS10, WireFormat: framing.WireFormatKeyPackage, KeyPackage: kp},
		{Version: mls.MLS10, WireFormat: framing.WireFormatGroupInfo, GroupInfo: sc.info()},
	} {
		message := must[[]byte](t)(m.Bytes())
		sc.refused(message, "6/wire-format")
		sc.observerRefuses(message, "6/wire-format")
	}
	sc.refused(staged.Welcome(), "6/wire-format")
	sc.fails([]byte{0, 1}, mls.ErrMalformed)
	sc.fails(append(staged.Message(), 0), mls.ErrMalformed)
	sc.fails([]byte{0, 2, 0, 1}, mls.ErrUnsupported)
	private := must[[]byte](t)(sc.m[0].g.Protect(nil, nil))
	if _, err := sc.observer.Process(private); !errors.Is(err, mls.ErrUnsupported) {
		t.Fatalf("the observer reads a PrivateMessage: %v", err)
	}
}

// TestDuplicates: what was processed is not processed again.
func TestDuplicates(t *testing.T) {
	sc := newScene(t, 3)
	for name, message := range map[string][]byte{
		"application":      must[[]byte](t)(sc.m[0].g.Protect([]byte("once"), nil)),
		"private proposal": sc.m[0].forgeProposal(framing.WireFormatPrivateMessage, group.PSKProposal(sc.suite, []byte("k"))),
		"public proposal":  sc.m[0].forgeProposal(framing.WireFormatPublicMessage, group.PSKProposal(sc.suite, []byte("k"))),
	} {
		deliver(t, message, sc.receivers()...)
		for _, c := range sc.receivers() {
			var r group.Received
			check(t, unchanged(t, c, func() (err error) { r, err = c.g.Process(message); return err }))
			if d, ok := r.(*group.Duplicate); !ok || d.Sender.Leaf != 0 {
				t.Fatalf("%s: %T", name, r)
			}
		}
	}
}

// TestReinitializedGroupIsSilent: after a ReInit nothing is sent, and no commit
// is followed (RFC 9420, Section 12.4.2).
func TestReinitializedGroupIsSilent(t *testing.T) {
	sc := newScene(t, 3)
	s := sc.m[0].commit(group.CommitOptions{Proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), sc.suite.ID(), nil)}})
	seen := must[group.Received](t)(sc.observer.Process(s.Message())).(*group.Staged)
	check(t, sc.observer.Merge(seen))
	deliver(t, s.Message(), sc.m[1:]...)
	check(t, sc.m[0].g.Merge(s))
	for _, w := range bothFramings {
		sc.refused(sc.m[0].forge(w, forgery{}).message, "12.4.2/reinitialized")
	}
	message := sc.client("joiner").forgeExternal(sc.info(), forgery{}, false).message
	sc.refused(message, "12.4.2/reinitialized")
	c := sc.m[1]
	for name, send := range map[string]func() error{
		"Protect":       func() error { return errOf(c.g.Protect(nil, nil)) },
		"Propose":       func() error { return errOf(c.g.Propose(group.RemoveProposal(2), nil)) },
		"ProposeUpdate": func() error { return errOf(c.g.ProposeUpdate(group.UpdateOptions{})) },
		"Commit":        func() error { return errOf(c.g.Commit(group.CommitOptions{})) },
	} {
		t.Run(name, func(t *testing.T) { assertRule(t, unchanged(t, c, send), "12.4.2/reinitialized") })
	}
	if _, ok := c.g.ReInit(); !ok || c.g.Active() {
		t.Fatal("the group counts as active")
	}
	if _, ok := sc.observer.ReInit(); !ok {
		t.Fatal("the observer did not notice")
	}
}

// TestRemovedMember can do nothing, whether it was saved in between or not.
func TestRemovedMember(t *testing.T) {
	sc := newScene(t, 4)
	late := must[[]byte](t)(sc.m[1].g.Protect([]byte("late"), nil))
	pending := sc.m[3].commit(group.CommitOptions{})
	sc.m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(3)}}, sc.m[1:])
	c := sc.m[3]
	kp := sc.client("b").keyPackage()
	for range 2 {
		for name, call := range map[string]func() error{
			"Process":       func() error { return errOf(c.g.Process(late)) },
			"Protect":       func() error { return errOf(c.g.Protect(nil, nil)) },
			"Propose":       func() error { return errOf(c.g.Propose(group.RemoveProposal(0), nil)) },
			"ProposeUpdate": func() error { return errOf(c.g.ProposeUpdate(group.UpdateOptions{})) },
			"Commit":        func() error { return errOf(c.g.Commit(group.CommitOptions{})) },
			"GroupInfo":     func() error { return errOf(c.g.GroupInfo(group.InfoOptions{ExternalPub: true})) },
			"Merge":         func() error { return c.g.Merge(pending) },
			"Export":        func() error { return errOf(c.g.Export("label", nil, 16)) },
			"Branch": func() error {
				_, _, err := c.g.Branch(c.cfg, group.BranchOptions{Identity: c.identity(), KeyPackages: []*treekem.KeyPackage{kp}})
				return err
			},
			"Reinitialize": func() error {
				_, _, err := c.g.Reinitialize(c.cfg, group.ReinitializeOptions{Identity: c.identity()})
				return err
			},
		} {
			if err := unchanged(t, c, call); !errors.Is(err, mls.ErrRemoved) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if len(c.g.EpochAuthenticator()) != 0 || !c.g.ResumptionPSK().IsZero() || c.g.Active() {
			t.Fatal("a removed member holds secrets of the epoch")
		}
		if _, err := c.g.Export("label", nil, 16); err == nil {
			t.Fatal("a removed member exports a secret")
		}
		c.g = must[*group.Group](t)(group.Restore(c.cfg, must[[]byte](t)(c.g.State())))
	}
}
