package framing

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

func decodeInto(t testing.TB, data []byte, into wire.Decoder) {
	t.Helper()
	if err := wire.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func sameState(t *testing.T, p *party, before []byte) {
	t.Helper()
	if !bytes.Equal(p.treeState(t), before) {
		t.Fatal("the state of the secret tree has changed")
	}
}

func TestPrivateRoundTrip(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		alice, bob := twoParties(t, s)
		for name, c := range contents() {
			for _, padding := range []int{0, 1, 255, 4096} {
				sent := alice.sign(t, WireFormatPrivateMessage, alice.content(c))
				data, err := ProtectPrivate(s, alice.epoch, alice.tree, sent, padding)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got, err := bob.unprotect(alice, parsePrivate(t, data))
				if err != nil {
					t.Fatalf("%s, %d bytes of padding: %v", name, padding, err)
				}
				if !bytes.Equal(mustMarshal(t, got), mustMarshal(t, sent)) {
					t.Fatalf("%s: another content comes out", name)
				}
			}
		}
	})
}

func TestPublicRoundTrip(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		alice, bob := twoParties(t, s)
		for name, c := range contents() {
			if c.ContentType == ContentApplication {
				continue
			}
			sent := alice.sign(t, WireFormatPublicMessage, alice.content(c))
			m := protectPublic(t, s, alice.epoch, sent, alice.context)
			got, err := UnprotectPublic(bob.epoch, m, bob.context)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := got.Verify(s, alice.signer.Public(), bob.context); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !bytes.Equal(mustMarshal(t, got), mustMarshal(t, sent)) {
				t.Fatalf("%s: another content comes out", name)
			}
		}
	})
}

// TestMembershipTag: a tag of another length, of no length, or over other data
// is none.
func TestMembershipTag(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	sent := alice.sign(t, WireFormatPublicMessage, alice.content(committing()))
	m := protectPublic(t, alice.suite, alice.epoch, sent, alice.context)
	good := m.MembershipTag
	for _, tag := range [][]byte{nil, {}, good[:1], good[:len(good)-1], append(bytes.Clone(good), 0), flipped(good, 0), flipped(good, len(good)-1)} {
		m.MembershipTag = tag
		_, err := UnprotectPublic(bob.epoch, m, bob.context)
		wantIs(t, err, mls.ErrAuth)
	}
	m.MembershipTag = good
	for name, change := range map[string]func(*PublicMessage){
		"signature":        func(m *PublicMessage) { m.Signature = flipped(m.Signature, 3) },
		"confirmation tag": func(m *PublicMessage) { m.ConfirmationTag = flipped(m.ConfirmationTag, 3) },
		"sender":           func(m *PublicMessage) { m.Content.Sender.Leaf++ },
		"epoch":            func(m *PublicMessage) { m.Content.Epoch++ },
		"group":            func(m *PublicMessage) { m.Content.GroupID = []byte("other") },
		"data":             func(m *PublicMessage) { m.Content.AuthenticatedData = []byte("x") },
	} {
		altered := *m
		change(&altered)
		if _, err := UnprotectPublic(bob.epoch, &altered, bob.context); !errors.Is(err, mls.ErrAuth) {
			t.Errorf("%s: %v, want ErrAuth", name, err)
		}
	}
	if _, err := UnprotectPublic(bob.epoch, m, append([]byte{0}, bob.context...)); !errors.Is(err, mls.ErrAuth) {
		t.Errorf("another GroupContext: %v, want ErrAuth", err)
	}
	if _, err := UnprotectPublic(bob.epoch, m, bob.context); err != nil {
		t.Errorf("the message itself: %v", err)
	}
}

// TestObservePublic: an observer reads what a member reads, with the tag
// unchecked.
func TestObservePublic(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	sent := alice.sign(t, WireFormatPublicMessage, alice.content(proposing(removal(2))))
	m := protectPublic(t, alice.suite, alice.epoch, sent, alice.context)
	m.MembershipTag = flipped(m.MembershipTag, 0)
	got, err := ObservePublic(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Verify(bob.suite, alice.signer.Public(), bob.context); err != nil {
		t.Error(err)
	}
}

// TestRatchetsAreIndependent: handshake messages use up no application keys
// and the other way round (RFC 9420, Section 6.3.1).
func TestRatchetsAreIndependent(t *testing.T) {
	alice, _ := twoParties(t, suite1(t))
	generations := func() [2]uint32 {
		return [2]uint32{alice.tree.Generation(0, keyschedule.Handshake), alice.tree.Generation(0, keyschedule.Application)}
	}
	for _, x := range []struct {
		content FramedContent
		want    [2]uint32
	}{
		{application("a"), [2]uint32{0, 1}},
		{proposing(removal(1)), [2]uint32{1, 1}},
		{committing(), [2]uint32{2, 1}},
		{application("b"), [2]uint32{2, 2}},
	} {
		alice.protect(t, alice.content(x.content), 0)
		if got := generations(); got != x.want {
			t.Fatalf("generations %v after a message of type %v, want %v", got, x.content.ContentType, x.want)
		}
	}
}

func TestOutOfOrder(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	var sent []*PrivateMessage
	for range 5 {
		sent = append(sent, alice.protect(t, alice.content(application("x")), 0))
	}
	for _, i := range []int{3, 0, 4, 1, 2} {
		if _, err := bob.unprotect(alice, sent[i]); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		before := bob.treeState(t)
		_, err := bob.unprotect(alice, sent[i])
		wantIs(t, err, mls.ErrKeyConsumed)
		sameState(t, bob, before)
	}
}

// TestPaddingHidesLength: contents that are padded to one length give
// ciphertexts of one length.
func TestPaddingHidesLength(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	short := alice.protect(t, alice.content(application("ab")), 6)
	long := alice.protect(t, alice.content(application("abcdefgh")), 0)
	if len(short.Ciphertext) != len(long.Ciphertext) {
		t.Errorf("ciphertexts of %d and %d bytes", len(short.Ciphertext), len(long.Ciphertext))
	}
	got, err := bob.unprotect(alice, short)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Content.Application) != "ab" {
		t.Errorf("data %q", got.Content.Application)
	}
}

// TestCiphertextSize tests the bound at the limit and one past it, on the
// encoder, which does not need 2^30 bytes for it.
func TestCiphertextSize(t *testing.T) {
	alice, _ := twoParties(t, suite1(t))
	a := alice.sign(t, WireFormatPrivateMessage, alice.content(application("hello")))
	bare, err := privateContent(a, 0, MaxCiphertext)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := privateContent(a, 10, len(bare)+10); err != nil || len(got) != len(bare)+10 {
		t.Errorf("at the limit: %d bytes, %v", len(got), err)
	}
	_, err = privateContent(a, 11, len(bare)+10)
	wantRule(t, err, "6.3.1", "ciphertext-size")
	_, err = privateContent(a, 0, len(bare)-1)
	wantRule(t, err, "6.3.1", "ciphertext-size")
	before := alice.treeState(t)
	for _, padding := range []int{-1, math.MinInt, MaxCiphertext, math.MaxInt} {
		_, err := ProtectPrivate(alice.suite, alice.epoch, alice.tree, a, padding)
		wantRule(t, err, "6.3.1", "ciphertext-size")
	}
	sameState(t, alice, before)
}

// TestReuseGuard: the same content under the same key gives another nonce, and
// the first four bytes of the nonce are all that the guard changes.
func TestReuseGuard(t *testing.T) {
	nonce := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	kept := bytes.Clone(nonce)
	d := senderData{reuseGuard: [4]byte{0xff, 0, 0x0f, 4}}
	if got := d.guardNonce(nonce); !bytes.Equal(got, []byte{0xfe, 2, 0x0c, 0, 5, 6, 7, 8, 9, 10, 11, 12}) {
		t.Errorf("guarded nonce %x", got)
	}
	if !bytes.Equal(nonce, kept) {
		t.Error("the nonce of the key schedule was changed")
	}
	// Two senders in the same state, as after a restored backup.
	p := newParties(t, suite1(t), 2)
	seen := map[string]bool{}
	for _, alice := range p {
		alice.leaf = 0
		m := alice.protect(t, alice.content(application("x")), 0)
		from, err := OpenSender(alice.suite, alice.epoch, m)
		if err != nil {
			t.Fatal(err)
		}
		d := from.data
		if d.generation != 0 || d.leaf != 0 {
			t.Errorf("leaf %d, generation %d", d.leaf, d.generation)
		}
		seen[string(d.reuseGuard[:])] = true
	}
	if len(seen) != 2 {
		t.Error("two messages with one reuse guard")
	}
}

// forge encrypts a plaintext and sender data of the caller's making, as a
// member with the keys but without scruples can.
func (p *party) forge(t *testing.T, typ ContentType, plaintext []byte, edit func(*senderData), extra ...byte) *PrivateMessage {
	t.Helper()
	m := &PrivateMessage{GroupID: []byte("group"), Epoch: 7, ContentType: typ}
	contentAAD, senderAAD, err := m.aads(new(wire.Builder))
	if err != nil {
		t.Fatal(err)
	}
	generation, key, nonce, err := p.tree.Next(p.leaf, typ.ratchet())
	if err != nil {
		t.Fatal(err)
	}
	d := senderData{leaf: p.leaf, generation: generation}
	if m.Ciphertext, err = p.suite.Seal(nil, key, d.guardNonce(nonce), contentAAD, plaintext); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(&d)
	}
	key, nonce = p.epoch.SenderData(m.Ciphertext)
	m.EncryptedSenderData, err = p.suite.Seal(nil, key, nonce, senderAAD, append(mustMarshal(t, &d), extra...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// plaintext is a signed PrivateMessageContent without padding.
func (p *party) plaintext(t *testing.T, c FramedContent) []byte {
	t.Helper()
	out, err := privateContent(p.sign(t, WireFormatPrivateMessage, p.content(c)), 0, MaxCiphertext)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestForgedPrivateMessages: what a malicious member can encrypt is refused,
// for the reason that it is wrong, and leaves no trace.
func TestForgedPrivateMessages(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	good := alice.plaintext(t, application("x"))
	padded := append(bytes.Clone(good), 0, 0, 0)
	rule := func(section, rule string) func(*testing.T, error) {
		return func(t *testing.T, err error) { t.Helper(); wantRule(t, err, section, rule) }
	}
	is := func(target error) func(*testing.T, error) {
		return func(t *testing.T, err error) { t.Helper(); wantIs(t, err, target) }
	}
	for _, x := range []struct {
		name  string
		m     *PrivateMessage
		check func(*testing.T, error)
	}{
		{"padding with its last byte set", alice.forge(t, ContentApplication, flipped(padded, len(padded)-1), nil), rule("6.3.1", "padding-not-zero")},
		{"padding with its first byte set", alice.forge(t, ContentApplication, flipped(padded, len(good)), nil), rule("6.3.1", "padding-not-zero")},
		{"padding, as malformed", alice.forge(t, ContentApplication, append(bytes.Clone(good), 1), nil), is(mls.ErrMalformed)},
		{"nothing encrypted", alice.forge(t, ContentApplication, nil, nil), is(mls.ErrMalformed)},
		{"content cut short", alice.forge(t, ContentApplication, good[:len(good)-1], nil), is(mls.ErrMalformed)},
		{"application data read as a commit", alice.forge(t, ContentCommit, good, nil), is(mls.ErrMalformed)},
		{"unknown proposal type", alice.forge(t, ContentProposal, []byte{0x0a, 0x0a}, nil), is(mls.ErrUnsupported)},
		{"leaf outside of the tree", alice.forge(t, ContentApplication, good, func(d *senderData) { d.leaf = testLeaves }), rule("9", "leaf-outside-secret-tree")},
		{"greatest leaf", alice.forge(t, ContentApplication, good, func(d *senderData) { d.leaf = 1<<32 - 1 }), rule("9", "leaf-outside-secret-tree")},
		{"another leaf", alice.forge(t, ContentApplication, good, func(d *senderData) { d.leaf = 2 }), is(mls.ErrAuth)},
		{"greatest generation", alice.forge(t, ContentApplication, good, func(d *senderData) { d.generation = 1<<32 - 1 }), is(mls.ErrTooFar)},
		{"another generation", alice.forge(t, ContentApplication, good, func(d *senderData) { d.generation += 3 }), is(mls.ErrAuth)},
		{"another reuse guard", alice.forge(t, ContentApplication, good, func(d *senderData) { d.reuseGuard[3] = 1 }), is(mls.ErrAuth)},
		{"sender data with a byte too much", alice.forge(t, ContentApplication, good, nil, 0), is(mls.ErrMalformed)},
		{"somebody else's signature", alice.forge(t, ContentApplication, bob.plaintext(t, application("x")), nil), is(mls.ErrAuth)},
	} {
		t.Run(x.name, func(t *testing.T) {
			before := bob.treeState(t)
			got, err := bob.unprotect(alice, x.m)
			x.check(t, err)
			if got != nil {
				t.Error("a message with an error")
			}
			sameState(t, bob, before)
		})
	}
	if _, err := bob.unprotect(alice, alice.forge(t, ContentApplication, padded, nil)); err != nil {
		t.Errorf("the message that is not forged: %v", err)
	}
}

// TestVerifyDecides: the key is used up only when the caller has accepted the
// message.
func TestVerifyDecides(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	m := alice.protect(t, alice.content(application("x")), 0)
	before := bob.treeState(t)
	mine := errors.New("not this one")
	calls := 0
	_, err := UnprotectPrivate(bob.suite, bob.epoch, bob.tree, m, func(a *AuthenticatedContent) error {
		calls++
		if a.Content.Sender != Member(0) || a.WireFormat != WireFormatPrivateMessage || string(a.Content.Application) != "x" {
			t.Errorf("content %v", a.Content)
		}
		return mine
	})
	wantIs(t, err, mine)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	sameState(t, bob, before)
	if _, err := UnprotectPrivate(bob.suite, bob.epoch, bob.tree, m, nil); err == nil {
		t.Error("a message is accepted that nobody verifies")
	}
	sameState(t, bob, before)
	if _, err := bob.unprotect(alice, m); err != nil {
		t.Error(err)
	}
	if bytes.Equal(bob.treeState(t), before) {
		t.Error("the key of an accepted message is still there")
	}
}

// TestOpenSender: who claims to have sent a message is known before its key is
// touched, and looking at it changes nothing.
func TestOpenSender(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	alice.protect(t, alice.content(application("first")), 0)
	m := alice.protect(t, alice.content(application("second")), 0)
	before := bob.treeState(t)
	from, err := OpenSender(bob.suite, bob.epoch, m)
	if err != nil {
		t.Fatal(err)
	}
	if from.Leaf != alice.leaf || from.Generation != 1 {
		t.Errorf("leaf %d, generation %d", from.Leaf, from.Generation)
	}
	if _, err := from.Unprotect(bob.tree, nil); err == nil {
		t.Error("a message is accepted that nobody verifies")
	}
	sameState(t, bob, before)
	got, err := from.Unprotect(bob.tree, bob.verifier(alice))
	if err != nil || string(got.Content.Application) != "second" {
		t.Fatalf("%v, %v", got, err)
	}
	_, err = from.Unprotect(bob.tree, bob.verifier(alice))
	wantIs(t, err, mls.ErrKeyConsumed)

	for name, change := range map[string]func(*PrivateMessage){
		"group":        func(m *PrivateMessage) { m.GroupID = []byte("other") },
		"epoch":        func(m *PrivateMessage) { m.Epoch++ },
		"content type": func(m *PrivateMessage) { m.ContentType = ContentCommit },
		"sample":       func(m *PrivateMessage) { m.Ciphertext = flipped(m.Ciphertext, 0) },
		"sample's end": func(m *PrivateMessage) { m.Ciphertext = flipped(m.Ciphertext, bob.suite.HashSize()-1) },
		"sender data":  func(m *PrivateMessage) { m.EncryptedSenderData = flipped(m.EncryptedSenderData, 0) },
	} {
		altered := *m
		change(&altered)
		if _, err := OpenSender(bob.suite, bob.epoch, &altered); !errors.Is(err, mls.ErrAuth) {
			t.Errorf("another %s: %v, want ErrAuth", name, err)
		}
	}
	// The sample ends after KDF.Nh bytes, and the sender data does not bind the
	// authenticated data, which the content does.
	altered := *m
	altered.Ciphertext = flipped(m.Ciphertext, bob.suite.HashSize())
	altered.AuthenticatedData = []byte("x")
	if _, err := OpenSender(bob.suite, bob.epoch, &altered); err != nil {
		t.Errorf("the sender data binds more than the sample: %v", err)
	}
}

// TestTamperedPrivateMessage changes every byte of a message, one at a time.
func TestTamperedPrivateMessage(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		alice, bob := twoParties(t, s)
		for name, c := range contents() {
			m := alice.protect(t, alice.content(c), 5)
			data := messageBytes(t, &Message{Version: mls.MLS10, WireFormat: WireFormatPrivateMessage, Private: m})
			before := bob.treeState(t)
			for i := range data {
				for _, bit := range []byte{0x01, 0x80} {
					bad := bytes.Clone(data)
					bad[i] ^= bit
					if bob.accepts(alice, bad) {
						t.Fatalf("%s: byte %d is not authenticated", name, i)
					}
				}
			}
			sameState(t, bob, before)
			if !bob.accepts(alice, data) {
				t.Fatalf("%s: the message itself is refused", name)
			}
		}
	})
}

// TestTamperedPublicMessage changes every byte of a member's message, and of an
// external sender's, which has no membership tag.
func TestTamperedPublicMessage(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *mls.Suite) {
		alice, bob := twoParties(t, s)
		external := alice.content(proposing(removal(1)))
		external.Sender = Sender{Type: SenderExternal, SenderIndex: 1}
		for name, c := range map[string]FramedContent{
			"commit": alice.content(committing()), "proposal": alice.content(proposing(removal(1))), "external": external,
		} {
			m := protectPublic(t, s, alice.epoch, alice.sign(t, WireFormatPublicMessage, c), alice.context)
			data := messageBytes(t, &Message{Version: mls.MLS10, WireFormat: WireFormatPublicMessage, Public: m})
			before := bob.treeState(t)
			for i := range data {
				if bob.accepts(alice, flipped(data, i)) {
					t.Fatalf("%s: byte %d is not authenticated", name, i)
				}
			}
			sameState(t, bob, before)
			if !bob.accepts(alice, data) {
				t.Fatalf("%s: the message itself is refused", name)
			}
		}
	})
}

func messageBytes(t testing.TB, m *Message) []byte {
	t.Helper()
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// accepts reports whether p, who is told nothing about it, takes data for a
// message of sender.
func (p *party) accepts(sender *party, data []byte) bool {
	m, err := Parse(data)
	if err != nil {
		return false
	}
	switch {
	case m.Private != nil:
		_, err = p.unprotect(sender, m.Private)
		return err == nil
	case m.Public != nil:
		a, err := UnprotectPublic(p.epoch, m.Public, p.context)
		return err == nil && a.Verify(p.suite, sender.signer.Public(), p.context) == nil
	}
	return false
}

// TestPastEpoch: what is kept of a past epoch suffices to read its messages.
func TestPastEpoch(t *testing.T) {
	alice, bob := twoParties(t, suite1(t))
	m := alice.protect(t, alice.content(application("late")), 0)
	past := bob.epoch.Past()
	bob.epoch.Destroy()
	got, err := UnprotectPrivate(bob.suite, past, bob.tree, m, bob.verifier(alice))
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Content.Application) != "late" {
		t.Errorf("data %q", got.Content.Application)
	}
}
