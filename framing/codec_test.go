package framing

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// decoders returns a fresh value of every structure of the package.
func decoders() map[string]codec {
	return map[string]codec{
		"Message":                new(Message),
		"PublicMessage":          new(PublicMessage),
		"PrivateMessage":         new(PrivateMessage),
		"AuthenticatedContent":   new(AuthenticatedContent),
		"FramedContent":          new(FramedContent),
		"Sender":                 new(Sender),
		"Proposal":               new(Proposal),
		"Add":                    new(Add),
		"Update":                 new(Update),
		"Remove":                 new(Remove),
		"PreSharedKey":           new(PreSharedKey),
		"ReInit":                 new(ReInit),
		"ExternalInit":           new(ExternalInit),
		"GroupContextExtensions": new(GroupContextExtensions),
		"ProposalOrRef":          new(ProposalOrRef),
		"Commit":                 new(Commit),
		"Welcome":                new(Welcome),
		"EncryptedGroupSecrets":  new(EncryptedGroupSecrets),
		"GroupSecrets":           new(GroupSecrets),
		"GroupInfo":              new(GroupInfo),
		"ExternalSender":         new(ExternalSender),
		"externalSenders":        new(externalSenders),
		"externalPub":            new(externalPub),
		"senderData":             new(senderData),
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPrefixes: no strict prefix of a structure is one, and neither is one with
// a byte appended.
func TestPrefixes(t *testing.T) {
	const cases = 12
	for i, v := range loadMessages(t)[:cases] {
		for _, x := range v.messages() {
			checkPrefixes(t, fmt.Sprintf("case %d: %s", i, x.name), x.data, new(Message))
		}
		for _, x := range v.structures() {
			checkPrefixes(t, fmt.Sprintf("case %d: %s", i, x.name), x.data, x.into)
		}
	}
}

func checkPrefixes(t *testing.T, name string, data []byte, into codec) {
	t.Helper()
	for n := range len(data) {
		if err := wire.Unmarshal(data[:n], into); err == nil {
			t.Fatalf("%s: %d of %d bytes are accepted", name, n, len(data))
		}
	}
	err := wire.Unmarshal(append(bytes.Clone(data), 0), into)
	if err == nil {
		t.Fatalf("%s: a trailing byte is accepted", name)
	}
	wantIs(t, err, mls.ErrMalformed)
}

// TestParseResultOnError: an error comes with no half-decoded value.
func TestParseResultOnError(t *testing.T) {
	m, err := Parse([]byte{0, 1, 0, 1})
	wantIs(t, err, mls.ErrMalformed)
	if m != nil {
		t.Error("a Message with an error")
	}
}

// TestSmallInputAllocation: what is allocated for a length on the wire follows
// from the bytes that are there.
func TestSmallInputAllocation(t *testing.T) {
	const limit = 1 << 20
	huge := []string{"bfffffff", "9d7f3e7d", "80004000", "7fff7fff", "00000000", "01010101", "ffffffff", "00010003"}
	inputs := [][]byte{}
	for _, h := range huge {
		inputs = append(inputs, unhex(t, h))
	}
	// The same lengths where a decoder has some fields behind it.
	for _, head := range []string{
		"0001 0001", "0001 0002", "0001 0003", "0001 0004", "0001 0005", "0001 0003 0001",
		"0001 0002 00 0000000000000000 01", "0001 0001 00 0000000000000000 01 00000000 00 02 0001",
		"0001 0001 00 0000000000000000 01 00000000 00 03", "0001 0001 00 0000000000000000 01 00000000 00 03 00 01",
		"0001", "0007", "0004 01", "01 0005", "01 00", "02",
	} {
		for _, h := range huge {
			inputs = append(inputs, append(unhex(t, head), unhex(t, h)...))
		}
	}
	for name := range decoders() {
		for _, in := range inputs {
			d := decoders()[name]
			if n := testkit.AllocatedBy(limit, func() { _ = wire.Unmarshal(in, d) }); n > limit {
				t.Errorf("%s: %d bytes allocated for input %x", name, n, in)
			}
		}
	}
}

func TestCodePoints(t *testing.T) {
	const member = "00 0000000000000000 01 00000000 00" // group, epoch, sender, authenticated data
	for _, x := range []struct {
		name, data string
		into       codec
		want       error
		text       string
	}{
		{"protocol version", "0002 0001", new(Message), mls.ErrUnsupported, "version 2"},
		{"reserved protocol version", "0000 0001", new(Message), mls.ErrUnsupported, "version 0"},
		{"wire format", "0001 0006 00", new(Message), mls.ErrUnsupported, "0x0006"},
		{"reserved wire format", "0001 0000", new(Message), mls.ErrUnsupported, "0x0000"},
		{"proposal type", "0008 00", new(Proposal), mls.ErrUnsupported, "type 0x0008"},
		{"GREASE proposal type", "0a0a 00", new(Proposal), mls.ErrUnsupported, "GREASE"},
		{"proposal type in a commit", "03 01 f001 00", new(Commit), mls.ErrUnsupported, "0xf001"},
		{"proposal type in a message", "0001 0001" + member + "02 0009", new(Message), mls.ErrUnsupported, "0x0009"},
		{"content type", member + "04 00", new(FramedContent), mls.ErrMalformed, "0x04"},
		{"reserved content type", member + "00 00", new(FramedContent), mls.ErrMalformed, "0x00"},
		{"content type of a PrivateMessage", "00 0000000000000000 09 00 00 00", new(PrivateMessage), mls.ErrMalformed, "0x09"},
		{"sender type", "05 00000000", new(Sender), mls.ErrMalformed, "0x05"},
		{"reserved sender type", "00 00000000", new(Sender), mls.ErrMalformed, "0x00"},
		{"wire format of content", "0003" + member + "01 00 00", new(AuthenticatedContent), mls.ErrMalformed, "mls_welcome"},
		{"ProposalOrRef type", "03", new(ProposalOrRef), mls.ErrMalformed, "type 3"},
		{"reserved ProposalOrRef type", "00", new(ProposalOrRef), mls.ErrMalformed, "type 0"},
		{"presence of a path", "00 02", new(Commit), mls.ErrMalformed, "presence"},
		{"presence of a path secret", "01ff 02 00", new(GroupSecrets), mls.ErrMalformed, "presence"},
		{"PSK type", "03 00 00", new(PreSharedKey), mls.ErrMalformed, "PSK type"},
		{"PSK usage", "02 04 00 0000000000000000 00", new(PreSharedKey), mls.ErrMalformed, "usage"},
		{"credential type", "00 0003 00", new(ExternalSender), mls.ErrUnsupported, ""},
		{"two extensions of a type", "06 f001 00 f001 00", new(GroupContextExtensions), mls.ErrMalformed, ""},
		{"non-minimal length", "4001 00", new(ExternalInit), mls.ErrMalformed, ""},
		{"empty joiner secret", "00 00 00", new(GroupSecrets), mls.ErrMalformed, "joiner secret"},
		{"empty path secret", "01ff 01 00 00", new(GroupSecrets), mls.ErrMalformed, "path secret"},
		{"empty confirmation tag", "0001" + member + "03 00 00 00 00", new(AuthenticatedContent), mls.ErrMalformed, "confirmation tag"},
		{"empty membership tag", member + "01 00 00 00", new(PublicMessage), mls.ErrMalformed, "membership tag"},
		{"empty confirmation tag of a GroupInfo", "0001 0001 00 0000000000000000 00 00 00 00 00 00000000 00", new(GroupInfo), mls.ErrMalformed, "confirmation tag"},
	} {
		err := wire.Unmarshal(unhex(t, x.data), x.into)
		if err == nil {
			t.Errorf("%s: accepted", x.name)
			continue
		}
		wantIs(t, err, x.want)
		if !strings.Contains(err.Error(), x.text) {
			t.Errorf("%s: %q does not say %q", x.name, err, x.text)
		}
	}
}

// TestUnknownExtensionsAreKept: what section 13.4 has ignored survives in place.
func TestUnknownExtensionsAreKept(t *testing.T) {
	data := unhex(t, "0d f123 03010203 0a0a 00 0001 0107") // three, of 6, 3 and 4 bytes
	var p GroupContextExtensions
	if err := wire.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Extensions) != 3 || p.Extensions[0].Type != 0xf123 || p.Extensions[1].Type != 0x0a0a {
		t.Fatalf("extensions %v", p.Extensions)
	}
	if !bytes.Equal(mustMarshal(t, &p), data) {
		t.Error("extensions encode to other bytes")
	}
}

func TestEncodeRefuses(t *testing.T) {
	commit := committing()
	commit.Sender = Member(0)
	app := application("x")
	app.Sender = Member(0)
	external := proposing(removal(1))
	external.Sender = Sender{Type: SenderExternal}
	tag := []byte{1}
	for name, x := range map[string]wire.Encoder{
		"message without a body":         &Message{Version: mls.MLS10, WireFormat: WireFormatWelcome},
		"message with another body":      &Message{Version: mls.MLS10, WireFormat: WireFormatWelcome, Private: new(PrivateMessage)},
		"message without a version":      &Message{WireFormat: WireFormatWelcome, Welcome: new(Welcome)},
		"message of unknown format":      &Message{Version: mls.MLS10, WireFormat: 6},
		"content of no type":             &FramedContent{Sender: Member(0)},
		"proposal content without one":   &FramedContent{Sender: Member(0), ContentType: ContentProposal},
		"commit content without one":     &FramedContent{Sender: Member(0), ContentType: ContentCommit},
		"sender of no type":              &Sender{},
		"proposal of unknown type":       &Proposal{Type: 99},
		"proposal without a body":        &Proposal{Type: mls.ProposalAdd, Remove: &Remove{}},
		"proposal by value and by ref":   &ProposalOrRef{Proposal: removal(1), Ref: tag},
		"commit without its tag":         &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: commit},
		"application with a tag":         &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: app, ConfirmationTag: tag},
		"content framed as a Welcome":    &AuthenticatedContent{WireFormat: WireFormatWelcome, Content: app},
		"member without membership tag":  &PublicMessage{Content: app},
		"external with a membership tag": &PublicMessage{Content: external, MembershipTag: tag},
		"private message of no type":     &PrivateMessage{},
		"GroupSecrets without a joiner":  &GroupSecrets{},
		"GroupInfo without a tag":        &GroupInfo{},
		"PSK of no type":                 &PreSharedKey{},
	} {
		if data, err := wire.Marshal(x); err == nil {
			t.Errorf("%s: encoded as %x", name, data)
		}
	}
}

func TestExternalSendersExtension(t *testing.T) {
	sender := ExternalSender{SignatureKey: []byte("key"), Credential: treekem.BasicCredential([]byte("id"))}
	data, err := EncodeExternalSenders([]ExternalSender{sender})
	if err != nil {
		t.Fatal(err)
	}
	// The vector has a length of its own within extension_data.
	want := unhex(t, "09 03 6b6579 0001 02 6964")
	if !bytes.Equal(data, want) {
		t.Fatalf("external_senders %x, want %x", data, want)
	}
	got, err := DecodeExternalSenders(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !bytes.Equal(got[0].SignatureKey, sender.SignatureKey) || !got[0].Credential.Equal(sender.Credential) {
		t.Errorf("decoded %v", got)
	}
	if got, err := DecodeExternalSenders([]byte{0}); err != nil || len(got) != 0 {
		t.Errorf("no senders: %v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"trailing byte":      append(bytes.Clone(data), 0),
		"no inner vector":    data[1:],
		"nothing":            {},
		"length of too much": flipped(data, 0),
	} {
		_, err := DecodeExternalSenders(bad)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantIs(t, err, mls.ErrMalformed)
	}
}

func TestExternalPubExtension(t *testing.T) {
	data, err := EncodeExternalPub([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "03 6b6579"); !bytes.Equal(data, want) {
		t.Fatalf("external_pub %x, want %x", data, want)
	}
	key, err := DecodeExternalPub(data)
	if err != nil || string(key) != "key" {
		t.Errorf("decoded %q, %v", key, err)
	}
	for _, bad := range [][]byte{nil, data[1:], append(bytes.Clone(data), 0)} {
		if _, err := DecodeExternalPub(bad); err == nil {
			t.Errorf("%x: accepted", bad)
		} else {
			wantIs(t, err, mls.ErrMalformed)
		}
	}
}

// TestDecodedOwnsItsBytes: a decoded value does not change with its input.
func TestDecodedOwnsItsBytes(t *testing.T) {
	for i, v := range loadMessages(t)[:20] {
		for _, x := range v.messages() {
			in := bytes.Clone(x.data)
			m, err := Parse(in)
			if err != nil {
				t.Fatal(err)
			}
			for j := range in {
				in[j] = 0xa5
			}
			if got, err := m.Bytes(); err != nil || !bytes.Equal(got, x.data) {
				t.Fatalf("case %d: %s aliases its input (%v)", i, x.name, err)
			}
		}
	}
}

// TestGroupSecretsAreNotPrinted sweeps the verbs of fmt.
func TestGroupSecretsAreNotPrinted(t *testing.T) {
	secret := []byte("joiner-secret-0123456789")
	g := GroupSecrets{
		JoinerSecret: mls.NewSecret(bytes.Clone(secret)),
		PathSecret:   mls.NewSecret(bytes.Clone(secret)),
		PSKs:         []keyschedule.PreSharedKeyID{{Type: keyschedule.PSKExternal}},
	}
	forbidden := []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		strings.Trim(fmt.Sprint(secret[:4]), "[]"), fmt.Sprintf("%o", secret[:4])[1:12]}
	holder := struct{ inner *GroupSecrets }{&g}
	for verb := rune('!'); verb <= '~'; verb++ {
		if verb == '%' || verb == '*' || strings.ContainsRune("+-# 0.123456789[", verb) {
			continue
		}
		for _, flags := range []string{"", "+", "#", "-", " ", "0"} {
			for _, v := range []any{g, &g, holder, &holder, []GroupSecrets{g}} {
				out := fmt.Sprintf("%"+flags+string(verb), v)
				for _, f := range forbidden {
					if strings.Contains(out, f) {
						t.Fatalf("%%%s%c prints the secret", flags, verb)
					}
				}
			}
		}
	}
}

func TestStrings(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{
		"mls_public_message":  WireFormatPublicMessage,
		"mls_private_message": WireFormatPrivateMessage,
		"mls_welcome":         WireFormatWelcome,
		"mls_group_info":      WireFormatGroupInfo,
		"mls_key_package":     WireFormatKeyPackage,
		"0x0100":              WireFormat(0x100),
		"application":         ContentApplication,
		"proposal":            ContentProposal,
		"commit":              ContentCommit,
		"0x04":                ContentType(4),
		"member":              SenderMember,
		"external":            SenderExternal,
		"new_member_proposal": SenderNewMemberProposal,
		"new_member_commit":   SenderNewMemberCommit,
		"0x05":                SenderType(5),
	} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestExternalSenderBytes(t *testing.T) {
	sender := &ExternalSender{SignatureKey: []byte("key"), Credential: treekem.BasicCredential([]byte("id"))}
	data, err := sender.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "03 6b6579 0001 02 6964"); !bytes.Equal(data, want) {
		t.Fatalf("an external sender is %x, want %x", data, want)
	}
	got, err := ParseExternalSender(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.SignatureKey, sender.SignatureKey) || !got.Credential.Equal(sender.Credential) {
		t.Errorf("parsed %v", got)
	}
	for _, bad := range [][]byte{nil, data[:len(data)-1], append(bytes.Clone(data), 0)} {
		got, err := ParseExternalSender(bad)
		if err == nil || got != nil {
			t.Fatalf("%x is accepted: %v", bad, got)
		}
		wantIs(t, err, mls.ErrMalformed)
	}
}
