package framing

import (
	"testing"

	"github.com/treekem/mls"
)

// forbidden are the messages that no sender may send, by the rule they break.
func forbidden() map[string]struct {
	format        WireFormat
	sender        Sender
	content       FramedContent
	section, rule string
	malformed     bool
} {
	external := Sender{Type: SenderExternal}
	newProposal := Sender{Type: SenderNewMemberProposal}
	newCommit := Sender{Type: SenderNewMemberCommit}
	add := &Proposal{Type: mls.ProposalAdd, Add: &Add{}}
	update := &Proposal{Type: mls.ProposalUpdate, Update: &Update{}}
	externalInit := &Proposal{Type: mls.ProposalExternalInit, ExternalInit: &ExternalInit{}}
	const public, private = WireFormatPublicMessage, WireFormatPrivateMessage
	return map[string]struct {
		format        WireFormat
		sender        Sender
		content       FramedContent
		section, rule string
		malformed     bool
	}{
		"application, public":                   {public, Member(0), application("x"), "6", "application-in-public-message", false},
		"application of an external, public":    {public, external, application("x"), "6", "application-in-public-message", false},
		"proposal of an external, private":      {private, external, proposing(removal(1)), "6.3.2", "private-message-sender", false},
		"proposal of a new member, private":     {private, newProposal, proposing(add), "6.3.2", "private-message-sender", false},
		"commit of a new member, private":       {private, newCommit, committing(), "6.3.2", "private-message-sender", false},
		"application of a new member, private":  {private, newCommit, application("x"), "6.3.2", "private-message-sender", false},
		"commit of an external":                 {public, external, committing(), "6.1", "external-sender-content", false},
		"update of an external":                 {public, external, proposing(update), "12.1.8", "external-sender-proposal-type", true},
		"external_init of an external":          {public, external, proposing(externalInit), "12.1.8", "external-sender-proposal-type", true},
		"commit of a new_member_proposal":       {public, newProposal, committing(), "6.1", "new-member-proposal-content", false},
		"remove of a new_member_proposal":       {public, newProposal, proposing(removal(1)), "6.1", "new-member-proposal-type", false},
		"external_init of new_member_proposal":  {public, newProposal, proposing(externalInit), "6.1", "new-member-proposal-type", false},
		"proposal of a new_member_commit":       {public, newCommit, proposing(add), "6.1", "new-member-commit-content", false},
		"external_init proposal of the same":    {public, newCommit, proposing(externalInit), "6.1", "new-member-commit-content", false},
		"application of a new_member_commit":    {public, newCommit, application("x"), "6", "application-in-public-message", false},
		"application of external, wire private": {private, external, application("x"), "6.3.2", "private-message-sender", false},
	}
}

// TestForbiddenMessages: each is refused by whoever signs, verifies, protects
// or unprotects it, before any cryptography could pass it.
func TestForbiddenMessages(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	for name, x := range forbidden() {
		t.Run(name, func(t *testing.T) {
			refused := func(err error) {
				t.Helper()
				wantRule(t, err, x.section, x.rule)
				if x.malformed {
					wantIs(t, err, mls.ErrMalformed)
				}
			}
			c := alice.content(x.content)
			c.Sender = x.sender
			_, err := Sign(alice.suite, alice.signer, x.format, c, alice.context)
			refused(err)

			a := &AuthenticatedContent{WireFormat: x.format, Content: c, Signature: []byte{1}}
			refused(a.Verify(alice.suite, alice.signer.Public(), alice.context))
			if x.format == WireFormatPrivateMessage {
				before := alice.treeState(t)
				_, err = ProtectPrivate(alice.suite, alice.epoch, alice.tree, a, 0)
				refused(err)
				sameState(t, alice, before)
				return
			}
			_, err = ProtectPublic(alice.suite, alice.epoch, a, alice.context)
			refused(err)
			m := &PublicMessage{Content: c, Signature: []byte{1}}
			_, err = UnprotectPublic(bob.epoch, m, bob.context)
			refused(err)
			_, err = ObservePublic(m)
			refused(err)
		})
	}
}

// TestExternalSenderProposals: RFC 9420, Section 12.1.8 lists what an external
// sender may propose.
func TestExternalSenderProposals(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	for typ, p := range validProposals(t) {
		c := alice.content(proposing(p))
		c.Sender = Sender{Type: SenderExternal, SenderIndex: 2}
		a, err := Sign(alice.suite, alice.signer, WireFormatPublicMessage, c, nil)
		switch typ {
		case mls.ProposalUpdate, mls.ProposalExternalInit:
			wantRule(t, err, "12.1.8", "external-sender-proposal-type")
			continue
		}
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		m := protectPublic(t, alice.suite, nil, a, nil)
		got, err := UnprotectPublic(bob.epoch, m, bob.context)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		// The signature of an external sender does not cover the GroupContext.
		if err := got.Verify(bob.suite, alice.signer.Public(), nil); err != nil {
			t.Errorf("%v: %v", typ, err)
		}
		if got.Content.Sender != c.Sender {
			t.Errorf("%v: sender %v", typ, got.Content.Sender)
		}
	}
}

// validProposals returns one well-formed proposal of each type, as
// messages.json has them.
func validProposals(t *testing.T) map[mls.ProposalType]*Proposal {
	t.Helper()
	v := loadMessages(t)[0]
	out := map[mls.ProposalType]*Proposal{}
	for _, x := range v.structures() {
		p := &Proposal{}
		switch b := x.into.(type) {
		case *Add:
			p.Type, p.Add = mls.ProposalAdd, b
		case *Update:
			p.Type, p.Update = mls.ProposalUpdate, b
		case *Remove:
			p.Type, p.Remove = mls.ProposalRemove, b
		case *PreSharedKey:
			p.Type, p.PreSharedKey = mls.ProposalPSK, b
		case *ReInit:
			p.Type, p.ReInit = mls.ProposalReInit, b
		case *ExternalInit:
			p.Type, p.ExternalInit = mls.ProposalExternalInit, b
		case *GroupContextExtensions:
			p.Type, p.GroupContextExtensions = mls.ProposalGroupContextExtensions, b
		default:
			continue
		}
		decodeInto(t, x.data, x.into)
		out[p.Type] = p
	}
	if len(out) != 7 {
		t.Fatalf("%d proposal types, want 7", len(out))
	}
	return out
}

func TestNewMemberSenders(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	add := validProposals(t)[mls.ProposalAdd]
	v := loadMessages(t)[0]
	var withPath Commit
	decodeInto(t, v.Commit, &withPath)
	for _, x := range []struct {
		sender  SenderType
		content FramedContent
		context bool // does the signature cover the GroupContext?
	}{
		{SenderNewMemberProposal, proposing(add), false},
		{SenderNewMemberCommit, FramedContent{ContentType: ContentCommit, Commit: &withPath}, true},
	} {
		c := alice.content(x.content)
		c.Sender = Sender{Type: x.sender}
		a, err := Sign(alice.suite, alice.signer, WireFormatPublicMessage, c, alice.context)
		if err != nil {
			t.Fatalf("%v: %v", x.sender, err)
		}
		if c.ContentType == ContentCommit {
			a.ConfirmationTag = make([]byte, alice.suite.HashSize())
		}
		m := protectPublic(t, alice.suite, nil, a, nil)
		if m.MembershipTag != nil {
			t.Errorf("%v: a membership tag", x.sender)
		}
		got, err := UnprotectPublic(nil, m, nil)
		if err != nil {
			t.Fatalf("%v: %v", x.sender, err)
		}
		if err := got.Verify(bob.suite, alice.signer.Public(), bob.context); err != nil {
			t.Errorf("%v: %v", x.sender, err)
		}
		err = got.Verify(bob.suite, alice.signer.Public(), append([]byte{1}, bob.context...))
		if x.context {
			wantIs(t, err, mls.ErrAuth)
		} else if err != nil {
			t.Errorf("%v: the signature covers the GroupContext", x.sender)
		}
		wantIs(t, got.Verify(bob.suite, bob.signer.Public(), bob.context), mls.ErrAuth)
	}
}

// TestIncompleteContent: a content that lacks what its type names is refused,
// not dereferenced.
func TestIncompleteContent(t *testing.T) {
	alice, _ := twoParties(t, suite1(t))
	for _, sender := range []Sender{Member(0), {Type: SenderExternal}, {Type: SenderNewMemberProposal}, {Type: SenderNewMemberCommit}, {}, {Type: 9}} {
		for typ := range ContentType(5) {
			for _, format := range []WireFormat{0, WireFormatPublicMessage, WireFormatPrivateMessage, WireFormatWelcome} {
				c := FramedContent{Sender: sender, ContentType: typ}
				_, err := Sign(alice.suite, alice.signer, format, c, alice.context)
				if typ == ContentApplication && format == WireFormatPrivateMessage && sender.Type == SenderMember {
					if err != nil {
						t.Errorf("empty application data: %v", err)
					}
					continue
				}
				if err == nil {
					t.Errorf("signed: sender %v, content type %v, wire format %v", sender.Type, typ, format)
				}
			}
		}
	}
}

func TestGroupContextIsRequired(t *testing.T) {
	alice, _ := twoParties(t, suite1(t))
	c := alice.content(application("x"))
	if _, err := Sign(alice.suite, alice.signer, WireFormatPrivateMessage, c, nil); err == nil {
		t.Error("a member's message is signed without its GroupContext")
	}
	a := alice.sign(t, WireFormatPrivateMessage, c)
	if err := a.Verify(alice.suite, alice.signer.Public(), nil); err == nil {
		t.Error("a member's message is verified without its GroupContext")
	}
	p := alice.sign(t, WireFormatPublicMessage, alice.content(proposing(removal(1))))
	if _, err := ProtectPublic(alice.suite, nil, p, alice.context); err == nil {
		t.Error("a membership tag without an epoch")
	}
	m := protectPublic(t, alice.suite, alice.epoch, p, alice.context)
	if _, err := UnprotectPublic(nil, m, alice.context); err == nil {
		t.Error("a membership tag is accepted without an epoch")
	}
	if _, err := UnprotectPublic(alice.epoch, m, nil); err == nil {
		t.Error("a membership tag is accepted without a GroupContext")
	}
}

// TestProtectable: what is missing from a message is missed before it is sent.
func TestProtectable(t *testing.T) {
	alice, _ := twoParties(t, suite1(t))
	commit := func(tag int) *AuthenticatedContent {
		a := alice.sign(t, WireFormatPrivateMessage, alice.content(committing()))
		a.ConfirmationTag = make([]byte, tag)
		return a
	}
	withTag := alice.sign(t, WireFormatPrivateMessage, alice.content(application("x")))
	withTag.ConfirmationTag = make([]byte, alice.suite.HashSize())
	before := alice.treeState(t)
	for name, a := range map[string]*AuthenticatedContent{
		"commit without a tag":       commit(0),
		"commit with a short tag":    commit(alice.suite.HashSize() - 1),
		"commit with a long tag":     commit(alice.suite.HashSize() + 1),
		"application data and a tag": withTag,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ProtectPrivate(alice.suite, alice.epoch, alice.tree, a, 0)
			wantRule(t, err, "6.1", "confirmation-tag-length")
			a.WireFormat = WireFormatPublicMessage
			_, err = ProtectPublic(alice.suite, alice.epoch, a, alice.context)
			if a.Content.ContentType == ContentCommit {
				wantRule(t, err, "6.1", "confirmation-tag-length")
			} else {
				wantRule(t, err, "6", "application-in-public-message")
			}
		})
	}
	unsigned := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: alice.content(application("x"))}
	if _, err := ProtectPrivate(alice.suite, alice.epoch, alice.tree, unsigned, 0); err == nil {
		t.Error("an unsigned message is protected")
	}
	asPublic := alice.sign(t, WireFormatPublicMessage, alice.content(proposing(removal(1))))
	_, err := ProtectPrivate(alice.suite, alice.epoch, alice.tree, asPublic, 0)
	if err == nil {
		t.Error("a message is protected in a wire format that it is not signed for")
	}
	asPrivate := alice.sign(t, WireFormatPrivateMessage, alice.content(proposing(removal(1))))
	_, err = ProtectPublic(alice.suite, alice.epoch, asPrivate, alice.context)
	if err == nil {
		t.Error("a message is protected in a wire format that it is not signed for")
	}
	sameState(t, alice, before)
}

func TestProposalRef(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	c := alice.content(proposing(removal(3)))
	public := alice.sign(t, WireFormatPublicMessage, c)
	ref, err := public.ProposalRef(alice.suite)
	if err != nil {
		t.Fatal(err)
	}
	want := alice.suite.RefHash(mls.LabelProposalRef, mustMarshal(t, public))
	if string(ref) != string(want) || len(ref) != alice.suite.HashSize() {
		t.Error("the reference is not the hash of the AuthenticatedContent")
	}
	// The receiver computes the same reference from the wire.
	m := protectPublic(t, alice.suite, alice.epoch, public, alice.context)
	got, err := UnprotectPublic(bob.epoch, m, bob.context)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := got.ProposalRef(bob.suite); err != nil || string(r) != string(ref) {
		t.Errorf("the receiver's reference differs (%v)", err)
	}
	// The wire format is part of what is referred to.
	private := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: c, Signature: public.Signature}
	if r, err := private.ProposalRef(alice.suite); err != nil || string(r) == string(ref) {
		t.Errorf("the reference does not cover the wire format (%v)", err)
	}
	if _, err := alice.sign(t, WireFormatPublicMessage, alice.content(committing())).ProposalRef(alice.suite); err == nil {
		t.Error("a commit has a ProposalRef")
	}
	if _, err := public.ConfirmedTranscriptHash(alice.suite, nil); err == nil {
		t.Error("a proposal is part of the transcript")
	}
}

func TestGroupInfoSignature(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	m, err := Parse(loadMessages(t)[0].GroupInfo)
	if err != nil {
		t.Fatal(err)
	}
	g := m.GroupInfo
	if err := g.Sign(alice.suite, alice.signer); err != nil {
		t.Fatal(err)
	}
	g = parse(t, messageBytes(t, m)).GroupInfo
	if err := g.Verify(bob.suite, alice.signer.Public()); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) {
		t.Helper()
		wantRule(t, err, "12.4.3", "group-info-signature")
		wantIs(t, err, mls.ErrAuth)
	}
	refused(g.Verify(bob.suite, bob.signer.Public()))
	for _, change := range []func(*GroupInfo){
		func(g *GroupInfo) { g.GroupContext.Epoch++ },
		func(g *GroupInfo) { g.Extensions = append(g.Extensions, mls.Extension{Type: 0xf000}) },
		func(g *GroupInfo) { g.ConfirmationTag = flipped(g.ConfirmationTag, 0) },
		func(g *GroupInfo) { g.Signer++ },
		func(g *GroupInfo) { g.Signature = flipped(g.Signature, 0) },
		func(g *GroupInfo) { g.Signature = nil },
	} {
		altered := *g
		change(&altered)
		refused(altered.Verify(bob.suite, alice.signer.Public()))
	}
}

func TestWelcomeSecrets(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		key, err := s.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		info := []byte("encrypted group info")
		for _, path := range []mls.Secret{{}, mls.RandomSecret(s.HashSize())} {
			g := GroupSecrets{JoinerSecret: mls.RandomSecret(s.HashSize()), PathSecret: path}
			ct, err := g.Seal(GroupSecretsEncrypter(s, info), key.Public())
			if err != nil {
				t.Fatal(err)
			}
			w := Welcome{CipherSuite: s.ID(), EncryptedGroupInfo: info, Secrets: []EncryptedGroupSecrets{
				{NewMember: []byte("other"), EncryptedGroupSecrets: ct}, {NewMember: []byte("ref"), EncryptedGroupSecrets: ct},
			}}
			e, ok := w.Find([]byte("ref"))
			if !ok || string(e.NewMember) != "ref" {
				t.Fatal("the new member's secrets are not found")
			}
			got, err := e.Open(s, key, info)
			if err != nil {
				t.Fatal(err)
			}
			if !got.JoinerSecret.Equal(g.JoinerSecret) || got.PathSecret.IsZero() != path.IsZero() ||
				!path.IsZero() && !got.PathSecret.Equal(path) {
				t.Error("other secrets come out")
			}
			got.Destroy()
			if !got.JoinerSecret.IsZero() || !got.PathSecret.IsZero() {
				t.Error("secrets outlive Destroy")
			}
			_, err = e.Open(s, key, []byte("another group info"))
			wantIs(t, err, mls.ErrAuth)
			_, err = e.Open(s, other, info)
			wantIs(t, err, mls.ErrAuth)
		}
		if _, ok := (&Welcome{}).Find([]byte("ref")); ok {
			t.Error("secrets are found in an empty Welcome")
		}
		if _, err := (&GroupSecrets{}).Seal(GroupSecretsEncrypter(s, info), key.Public()); err == nil {
			t.Error("no joiner secret is sealed")
		}
		bad, err := s.EncryptWithLabel(key.Public(), labelWelcome, info, []byte{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&EncryptedGroupSecrets{EncryptedGroupSecrets: bad}).Open(s, key, info)
		wantIs(t, err, mls.ErrMalformed)
	})
}
