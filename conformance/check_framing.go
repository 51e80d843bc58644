package conformance

import (
	"bytes"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// protection is what the messages of a message-protection case are protected
// with.
type protection struct {
	*check
	groupID      []byte
	epoch        uint64
	groupContext []byte
	signer       mls.Signer
}

// The sender of every message of the kind message-protection, in a tree of two
// leaves.
const (
	protectionSender = mls.LeafIndex(1)
	protectionLeaves = 2
)

// checkMessageProtection checks RFC 9420, Sections 6.1 to 6.3.
func checkMessageProtection(c *check) {
	p := &protection{
		check:   c,
		groupID: c.get("group_id").bytes(),
		epoch:   c.get("epoch").uint(64),
		signer:  c.signer(c.get("signature_priv"), c.get("signature_pub")),
	}
	var err error
	p.groupContext, err = keyschedule.GroupContext{
		Version:                 mls.MLS10,
		CipherSuite:             c.suite.ID(),
		GroupID:                 p.groupID,
		Epoch:                   p.epoch,
		TreeHash:                c.get("tree_hash").bytes(),
		ConfirmedTranscriptHash: c.get("confirmed_transcript_hash").bytes(),
	}.Bytes()
	c.must(err)

	proposal, commit := new(framing.Proposal), new(framing.Commit)
	c.get("proposal").must(wire.Unmarshal(c.get("proposal").bytes(), proposal))
	c.get("commit").must(wire.Unmarshal(c.get("commit").bytes(), commit))
	contents := map[string]framing.FramedContent{
		"proposal":    {ContentType: framing.ContentProposal, Proposal: proposal},
		"commit":      {ContentType: framing.ContentCommit, Commit: commit},
		"application": {ContentType: framing.ContentApplication, Application: c.get("application").bytes()},
	}
	for _, name := range []string{"proposal", "commit", "application"} {
		content := contents[name]
		content.GroupID, content.Epoch, content.Sender = p.groupID, p.epoch, framing.Member(protectionSender)
		if name == "application" {
			p.refusePublic(c.get(name), content)
		} else {
			p.unprotectPublic(c.get(name), c.get(name+"_pub"), c.get(name+"_pub").bytes())
			p.unprotectPublic(c.get(name), c.get(name), p.protectPublic(c.get(name), content))
		}
		p.unprotectPrivate(c.get(name), c.get(name+"_priv"), c.get(name+"_priv").bytes())
		p.unprotectPrivate(c.get(name), c.get(name), p.protectPrivate(c.get(name), content))
	}
}

// secrets returns the epoch anew: a secret tree serves a message once.
func (p *protection) secrets() *keyschedule.EpochSecrets {
	secrets := make(map[string][]byte)
	for _, name := range []string{"encryption_secret", "sender_data_secret", "membership_key"} {
		secrets[name] = p.get(name).bytes()
	}
	return keyschedule.TestingOnlyEpochSecrets(p.suite, secrets)
}

// unprotectPublic checks that an MLSMessage is a PublicMessage whose tag and
// signature verify and which holds raw. What is wrong with it is at.
func (p *protection) unprotectPublic(raw, at *node, message []byte) {
	m := parseMessage(at, message)
	if m.Public == nil {
		at.fail("not a PublicMessage")
	}
	a, err := framing.UnprotectPublic(p.secrets(), m.Public, p.groupContext)
	at.must(err)
	at.must(p.verify(a))
	p.compare(raw, at, a)
}

func (p *protection) unprotectPrivate(raw, at *node, message []byte) {
	m := parseMessage(at, message)
	if m.Private == nil {
		at.fail("not a PrivateMessage")
	}
	secrets := p.secrets()
	a, err := framing.UnprotectPrivate(p.suite, secrets, secrets.TakeSecretTree(protectionLeaves), m.Private, p.verify)
	at.must(err)
	p.compare(raw, at, a)
}

func (p *protection) verify(a *framing.AuthenticatedContent) error {
	return a.Verify(p.suite, p.signer.Public(), p.groupContext)
}

// compare holds authenticated content against the fields of the case.
func (p *protection) compare(raw, at *node, a *framing.AuthenticatedContent) {
	c := &a.Content
	if !bytes.Equal(c.GroupID, p.groupID) || c.Epoch != p.epoch || c.Sender != framing.Member(protectionSender) {
		at.fail("of another group, epoch or sender")
	}
	content := c.Application
	var err error
	switch {
	case c.Proposal != nil:
		content, err = wire.Marshal(c.Proposal)
	case c.Commit != nil:
		content, err = wire.Marshal(c.Commit)
	}
	at.must(err)
	raw.equal(content)
}

// sign returns signed content. A commit gets a confirmation tag of the right
// length; nothing in these cases says which.
func (p *protection) sign(at *node, f framing.WireFormat, content framing.FramedContent) *framing.AuthenticatedContent {
	a, err := framing.Sign(p.suite, p.signer, f, content, p.groupContext)
	at.must(err)
	if content.ContentType == framing.ContentCommit {
		a.ConfirmationTag = make([]byte, p.suite.HashSize())
	}
	return a
}

func (p *protection) protectPublic(at *node, content framing.FramedContent) []byte {
	a := p.sign(at, framing.WireFormatPublicMessage, content)
	m, err := framing.ProtectPublic(p.suite, p.secrets(), a, p.groupContext)
	at.must(err)
	return m
}

func (p *protection) protectPrivate(at *node, content framing.FramedContent) []byte {
	a := p.sign(at, framing.WireFormatPrivateMessage, content)
	secrets := p.secrets()
	m, err := framing.ProtectPrivate(p.suite, secrets, secrets.TakeSecretTree(protectionLeaves), a, 0)
	at.must(err)
	return m
}

// refusePublic checks that application data is not put into a PublicMessage
// (RFC 9420, Section 6): neither signed for one nor framed as one.
func (p *protection) refusePublic(at *node, content framing.FramedContent) {
	refused := &mls.RuleError{Section: "6", Rule: "application-in-public-message"}
	if _, err := framing.Sign(p.suite, p.signer, framing.WireFormatPublicMessage, content, p.groupContext); !errors.Is(err, refused) {
		at.fail("not refused as content of a PublicMessage")
	}
	a := p.sign(at, framing.WireFormatPrivateMessage, content)
	a.WireFormat = framing.WireFormatPublicMessage
	if _, err := framing.ProtectPublic(p.suite, p.secrets(), a, p.groupContext); !errors.Is(err, refused) {
		at.fail("not refused in a PublicMessage")
	}
}

// parseMessage decodes an MLSMessage and checks that it encodes to the bytes
// it came from.
func parseMessage(at *node, data []byte) *framing.Message {
	m, err := framing.Parse(data)
	at.must(err)
	again, err := m.Bytes()
	at.must(err)
	if !bytes.Equal(again, data) {
		at.fail("does not encode to what it was decoded from")
	}
	return m
}

// checkMessages checks the encodings of RFC 9420, Sections 6, 7.8, 10 and 12.
func checkMessages(c *check) {
	for _, field := range []struct {
		name string
		is   func(*framing.Message) bool
	}{
		{"mls_welcome", func(m *framing.Message) bool { return m.Welcome != nil }},
		{"mls_group_info", func(m *framing.Message) bool { return m.GroupInfo != nil }},
		{"mls_key_package", func(m *framing.Message) bool { return m.KeyPackage != nil }},
		{"public_message_application", isPublic(framing.ContentApplication)},
		{"public_message_proposal", isPublic(framing.ContentProposal)},
		{"public_message_commit", isPublic(framing.ContentCommit)},
		{"private_message", func(m *framing.Message) bool { return m.Private != nil }},
	} {
		v := c.get(field.name)
		if !field.is(parseMessage(v, v.bytes())) {
			v.fail("a message of another kind")
		}
	}
	for _, field := range []struct {
		name  string
		value interface {
			wire.Encoder
			wire.Decoder
		}
	}{
		{"group_secrets", new(framing.GroupSecrets)},
		{"add_proposal", new(framing.Add)},
		{"update_proposal", new(framing.Update)},
		{"remove_proposal", new(framing.Remove)},
		{"pre_shared_key_proposal", new(framing.PreSharedKey)},
		{"re_init_proposal", new(framing.ReInit)},
		{"external_init_proposal", new(framing.ExternalInit)},
		{"group_context_extensions_proposal", new(framing.GroupContextExtensions)},
		{"commit", new(framing.Commit)},
	} {
		v := c.get(field.name)
		v.must(wire.Unmarshal(v.bytes(), field.value))
		again, err := wire.Marshal(field.value)
		v.must(err)
		v.equal(again)
	}
	// A tree's keys and hashes are of a suite, which only the key package
	// names.
	kp := c.get("mls_key_package")
	suite, err := mls.LookupSuite(parseMessage(kp, kp.bytes()).KeyPackage.CipherSuite)
	kp.must(err)
	parseTree(c.get("ratchet_tree"), suite)
}

func isPublic(t framing.ContentType) func(*framing.Message) bool {
	return func(m *framing.Message) bool { return m.Public != nil && m.Public.Content.ContentType == t }
}

// checkWelcome checks RFC 9420, Section 12.4.3.1, as far as it goes without a
// ratchet tree.
func checkWelcome(c *check) {
	s := c.suite
	kp := c.keyPackage(c.get("key_package"))
	initKey, err := s.NewPrivateKey(c.get("init_priv").secret())
	c.get("init_priv").must(err)
	if !bytes.Equal(initKey.Public(), kp.InitKey) {
		c.get("init_priv").fail("not the private key of the key package's init_key")
	}
	v := c.get("welcome")
	welcome := c.welcome(v)
	sealed, ok := welcome.Find(kp.Ref(s))
	if !ok {
		v.fail("not for the key package")
	}
	secrets, err := sealed.Open(s, initKey, welcome.EncryptedGroupInfo)
	v.must(err)
	if len(secrets.PSKs) > 0 {
		v.fail("calls for PSKs, of which the case has none")
	}
	joiner, err := keyschedule.ParseJoinerSecret(s, secrets.JoinerSecret)
	v.must(err)
	encoded, err := joiner.Welcome(keyschedule.PSKSecret{}).Open(welcome.EncryptedGroupInfo)
	v.must(err)
	var info framing.GroupInfo
	v.must(wire.Unmarshal(encoded, &info))
	c.get("signer_pub").must(info.Verify(s, c.get("signer_pub").bytes()))

	groupContext, err := info.GroupContext.Bytes()
	v.must(err)
	epoch := joiner.Epoch(keyschedule.PSKSecret{}, groupContext)
	if !epoch.VerifyConfirmationTag(info.GroupContext.ConfirmedTranscriptHash, info.ConfirmationTag) {
		v.fail("the confirmation tag does not verify")
	}
}

// keyPackage returns the key package of an MLSMessage, which must be of the
// case's suite.
func (c *check) keyPackage(v *node) *treekem.KeyPackage {
	m := parseMessage(v, v.bytes())
	if m.KeyPackage == nil {
		v.fail("not a KeyPackage")
	}
	if m.KeyPackage.CipherSuite != c.suite.ID() {
		v.fail("of another cipher suite")
	}
	return m.KeyPackage
}

// welcome returns the Welcome of an MLSMessage, which must be of the case's
// suite.
func (c *check) welcome(v *node) *framing.Welcome {
	m := parseMessage(v, v.bytes())
	if m.Welcome == nil {
		v.fail("not a Welcome")
	}
	if m.Welcome.CipherSuite != c.suite.ID() {
		v.fail("of another cipher suite")
	}
	return m.Welcome
}
