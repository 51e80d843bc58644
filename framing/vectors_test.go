package framing

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

type messagesVector struct {
	Welcome                testkit.Hex `json:"mls_welcome"`
	GroupInfo              testkit.Hex `json:"mls_group_info"`
	KeyPackage             testkit.Hex `json:"mls_key_package"`
	RatchetTree            testkit.Hex `json:"ratchet_tree"`
	GroupSecrets           testkit.Hex `json:"group_secrets"`
	Add                    testkit.Hex `json:"add_proposal"`
	Update                 testkit.Hex `json:"update_proposal"`
	Remove                 testkit.Hex `json:"remove_proposal"`
	PreSharedKey           testkit.Hex `json:"pre_shared_key_proposal"`
	ReInit                 testkit.Hex `json:"re_init_proposal"`
	ExternalInit           testkit.Hex `json:"external_init_proposal"`
	GroupContextExtensions testkit.Hex `json:"group_context_extensions_proposal"`
	Commit                 testkit.Hex `json:"commit"`
	PublicApplication      testkit.Hex `json:"public_message_application"`
	PublicProposal         testkit.Hex `json:"public_message_proposal"`
	PublicCommit           testkit.Hex `json:"public_message_commit"`
	Private                testkit.Hex `json:"private_message"`
}

const messagesCount = 300

func loadMessages(t testing.TB) []messagesVector {
	t.Helper()
	vectors := testkit.DecodeStrict[messagesVector](t, testkit.Vectors(t, "messages.json"))
	if len(vectors) != messagesCount {
		t.Fatalf("%d cases in messages.json, want %d", len(vectors), messagesCount)
	}
	return vectors
}

// codec is what every wire structure has.
type codec interface {
	wire.Encoder
	wire.Decoder
}

// structures pairs the fields that are not MLSMessages with their types.
func (v *messagesVector) structures() []struct {
	name string
	data []byte
	into codec
} {
	return []struct {
		name string
		data []byte
		into codec
	}{
		{"group_secrets", v.GroupSecrets, new(GroupSecrets)},
		{"add_proposal", v.Add, new(Add)},
		{"update_proposal", v.Update, new(Update)},
		{"remove_proposal", v.Remove, new(Remove)},
		{"pre_shared_key_proposal", v.PreSharedKey, new(PreSharedKey)},
		{"re_init_proposal", v.ReInit, new(ReInit)},
		{"external_init_proposal", v.ExternalInit, new(ExternalInit)},
		{"group_context_extensions_proposal", v.GroupContextExtensions, new(GroupContextExtensions)},
		{"commit", v.Commit, new(Commit)},
	}
}

// messages pairs the fields that are MLSMessages with their wire formats.
func (v *messagesVector) messages() []struct {
	name   string
	data   []byte
	format WireFormat
} {
	return []struct {
		name   string
		data   []byte
		format WireFormat
	}{
		{"mls_welcome", v.Welcome, WireFormatWelcome},
		{"mls_group_info", v.GroupInfo, WireFormatGroupInfo},
		{"mls_key_package", v.KeyPackage, WireFormatKeyPackage},
		{"public_message_application", v.PublicApplication, WireFormatPublicMessage},
		{"public_message_proposal", v.PublicProposal, WireFormatPublicMessage},
		{"public_message_commit", v.PublicCommit, WireFormatPublicMessage},
		{"private_message", v.Private, WireFormatPrivateMessage},
	}
}

func TestVectorsMessages(t *testing.T) {
	for i, v := range loadMessages(t) {
		for _, x := range v.structures() {
			if err := wire.Unmarshal(x.data, x.into); err != nil {
				t.Fatalf("case %d: %s: %v", i, x.name, err)
			}
			if !bytes.Equal(mustMarshal(t, x.into), x.data) {
				t.Fatalf("case %d: %s encodes to other bytes", i, x.name)
			}
		}
		for _, x := range v.messages() {
			m, err := Parse(x.data)
			if err != nil {
				t.Fatalf("case %d: %s: %v", i, x.name, err)
			}
			if m.WireFormat != x.format || m.Version != mls.MLS10 {
				t.Fatalf("case %d: %s: version %v, wire format %v", i, x.name, m.Version, m.WireFormat)
			}
			if got, err := m.Bytes(); err != nil || !bytes.Equal(got, x.data) {
				t.Fatalf("case %d: %s encodes to other bytes (%v)", i, x.name, err)
			}
		}
		checkPublicTypes(t, i, &v)
		checkRatchetTree(t, i, v.RatchetTree)
	}
}

func checkPublicTypes(t *testing.T, i int, v *messagesVector) {
	t.Helper()
	for _, x := range []struct {
		data []byte
		want ContentType
	}{
		{v.PublicApplication, ContentApplication},
		{v.PublicProposal, ContentProposal},
		{v.PublicCommit, ContentCommit},
	} {
		m, err := Parse(x.data)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Public.Content.ContentType; got != x.want {
			t.Fatalf("case %d: content type %v, want %v", i, got, x.want)
		}
		_, err = ObservePublic(m.Public)
		if x.want == ContentApplication {
			wantRule(t, err, "6", "application-in-public-message")
		} else if err != nil {
			t.Fatalf("case %d: %v: %v", i, x.want, err)
		}
	}
}

// checkRatchetTree round-trips the one field that is not this package's.
func checkRatchetTree(t *testing.T, i int, data []byte) {
	t.Helper()
	tree, err := treekem.ParseTree(suite1(t), data, 1<<10)
	if err != nil {
		t.Fatalf("case %d: ratchet_tree: %v", i, err)
	}
	if got, err := tree.Bytes(); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("case %d: ratchet_tree encodes to other bytes (%v)", i, err)
	}
}

type protectionVector struct {
	CipherSuite             mls.CipherSuite `json:"cipher_suite"`
	GroupID                 testkit.Hex     `json:"group_id"`
	Epoch                   uint64          `json:"epoch"`
	TreeHash                testkit.Hex     `json:"tree_hash"`
	ConfirmedTranscriptHash testkit.Hex     `json:"confirmed_transcript_hash"`
	SignaturePriv           testkit.Hex     `json:"signature_priv"`
	SignaturePub            testkit.Hex     `json:"signature_pub"`
	EncryptionSecret        testkit.Hex     `json:"encryption_secret"`
	SenderDataSecret        testkit.Hex     `json:"sender_data_secret"`
	MembershipKey           testkit.Hex     `json:"membership_key"`
	Proposal                testkit.Hex     `json:"proposal"`
	ProposalPub             testkit.Hex     `json:"proposal_pub"`
	ProposalPriv            testkit.Hex     `json:"proposal_priv"`
	Commit                  testkit.Hex     `json:"commit"`
	CommitPub               testkit.Hex     `json:"commit_pub"`
	CommitPriv              testkit.Hex     `json:"commit_priv"`
	Application             testkit.Hex     `json:"application"`
	ApplicationPriv         testkit.Hex     `json:"application_priv"`
}

// protection is a vector made ready: the party at leaf 1 and, for each use, a
// fresh secret tree of two leaves.
type protection struct {
	*protectionVector
	suite   *mls.Suite
	signer  *mls.SignaturePrivateKey
	context []byte
}

func (p *protection) epoch() (*keyschedule.EpochSecrets, *keyschedule.SecretTree) {
	e := keyschedule.TestingOnlyEpochSecrets(p.suite, map[string][]byte{
		"encryption_secret":  p.EncryptionSecret,
		"sender_data_secret": p.SenderDataSecret,
		"membership_key":     p.MembershipKey,
	})
	return e, e.TakeSecretTree(2)
}

func newProtection(t *testing.T, v *protectionVector) *protection {
	t.Helper()
	s, err := mls.LookupSuite(v.CipherSuite)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := s.NewSigner(mls.NewSecret(bytes.Clone(v.SignaturePriv)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(signer.Public(), v.SignaturePub) {
		t.Fatal("signature_pub is not the public key of signature_priv")
	}
	context, err := keyschedule.GroupContext{
		Version: mls.MLS10, CipherSuite: v.CipherSuite, GroupID: v.GroupID, Epoch: v.Epoch,
		TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.ConfirmedTranscriptHash,
	}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &protection{protectionVector: v, suite: s, signer: signer, context: context}
}

// raw returns the bytes of a content without its framing, as the vectors give
// them.
func raw(t *testing.T, c *FramedContent) []byte {
	t.Helper()
	switch c.ContentType {
	case ContentProposal:
		return mustMarshal(t, c.Proposal)
	case ContentCommit:
		return mustMarshal(t, c.Commit)
	}
	return c.Application
}

func (p *protection) content(t *testing.T, typ ContentType, data []byte) FramedContent {
	t.Helper()
	c := FramedContent{GroupID: p.GroupID, Epoch: p.Epoch, Sender: Member(1), ContentType: typ}
	var err error
	switch typ {
	case ContentProposal:
		c.Proposal = new(Proposal)
		err = wire.Unmarshal(data, c.Proposal)
	case ContentCommit:
		c.Commit = new(Commit)
		err = wire.Unmarshal(data, c.Commit)
	default:
		c.Application = data
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check compares an unprotected message with what went into it.
func (p *protection) check(t *testing.T, a *AuthenticatedContent, typ ContentType, data []byte) {
	t.Helper()
	c := &a.Content
	if !bytes.Equal(c.GroupID, p.GroupID) || c.Epoch != p.Epoch || c.Sender != Member(1) {
		t.Fatalf("content of group %x, epoch %d, sender %v", c.GroupID, c.Epoch, c.Sender)
	}
	if c.ContentType != typ || !bytes.Equal(raw(t, c), data) {
		t.Fatalf("content of type %v differs from the vector", c.ContentType)
	}
}

func (p *protection) verify(a *AuthenticatedContent) error {
	return a.Verify(p.suite, mls.SignaturePublicKey(p.SignaturePub), p.context)
}

func (p *protection) sign(t *testing.T, f WireFormat, typ ContentType, data, tag []byte) *AuthenticatedContent {
	t.Helper()
	a, err := Sign(p.suite, p.signer, f, p.content(t, typ, data), p.context)
	if err != nil {
		t.Fatal(err)
	}
	a.ConfirmationTag = tag
	return a
}

func (p *protection) public(t *testing.T, typ ContentType, data, message []byte) {
	t.Helper()
	m, err := Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	open := func(m *PublicMessage) *AuthenticatedContent {
		epoch, _ := p.epoch()
		a, err := UnprotectPublic(epoch, m, p.context)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.verify(a); err != nil {
			t.Fatal(err)
		}
		p.check(t, a, typ, data)
		return a
	}
	tag := open(m.Public).ConfirmationTag

	epoch, _ := p.epoch()
	again := protectPublic(t, p.suite, epoch, p.sign(t, WireFormatPublicMessage, typ, data, tag), p.context)
	open(again)
}

func (p *protection) private(t *testing.T, typ ContentType, data, message []byte) {
	t.Helper()
	m, err := Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	open := func(m *PrivateMessage) *AuthenticatedContent {
		epoch, tree := p.epoch()
		a, err := UnprotectPrivate(p.suite, epoch, tree, m, p.verify)
		if err != nil {
			t.Fatal(err)
		}
		p.check(t, a, typ, data)
		if _, err := UnprotectPrivate(p.suite, epoch, tree, m, p.verify); !errors.Is(err, mls.ErrKeyConsumed) {
			t.Fatalf("second reading: %v, want ErrKeyConsumed", err)
		}
		return a
	}
	tag := open(m.Private).ConfirmationTag

	for _, padding := range []int{0, 1, 500} {
		epoch, tree := p.epoch()
		again, err := ProtectPrivate(p.suite, epoch, tree, p.sign(t, WireFormatPrivateMessage, typ, data, tag), padding)
		if err != nil {
			t.Fatal(err)
		}
		open(parsePrivate(t, again))
	}
}

func TestVectorsMessageProtection(t *testing.T) {
	vectors := testkit.DecodeStrict[protectionVector](t, testkit.Vectors(t, "message-protection.json"))
	if len(vectors) != 7 {
		t.Fatalf("%d cases, want one for each of 7 suites", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.CipherSuite.String(), func(t *testing.T) {
			p := newProtection(t, &v)
			p.public(t, ContentProposal, v.Proposal, v.ProposalPub)
			p.public(t, ContentCommit, v.Commit, v.CommitPub)
			p.private(t, ContentProposal, v.Proposal, v.ProposalPriv)
			p.private(t, ContentCommit, v.Commit, v.CommitPriv)
			p.private(t, ContentApplication, v.Application, v.ApplicationPriv)
			_, err := Sign(p.suite, p.signer, WireFormatPublicMessage,
				p.content(t, ContentApplication, v.Application), p.context)
			wantRule(t, err, "6", "application-in-public-message")
			a := p.sign(t, WireFormatPrivateMessage, ContentApplication, v.Application, nil)
			a.WireFormat = WireFormatPublicMessage
			epoch, _ := p.epoch()
			_, err = ProtectPublic(p.suite, epoch, a, p.context)
			wantRule(t, err, "6", "application-in-public-message")
		})
	}
}

type transcriptVector struct {
	CipherSuite                 mls.CipherSuite `json:"cipher_suite"`
	ConfirmationKey             testkit.Hex     `json:"confirmation_key"`
	AuthenticatedContent        testkit.Hex     `json:"authenticated_content"`
	InterimTranscriptHashBefore testkit.Hex     `json:"interim_transcript_hash_before"`
	ConfirmedAfter              testkit.Hex     `json:"confirmed_transcript_hash_after"`
	InterimAfter                testkit.Hex     `json:"interim_transcript_hash_after"`
}

func TestVectorsTranscriptHashes(t *testing.T) {
	vectors := testkit.DecodeStrict[transcriptVector](t, testkit.Vectors(t, "transcript-hashes.json"))
	if len(vectors) != 7 {
		t.Fatalf("%d cases, want one for each of 7 suites", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.CipherSuite.String(), func(t *testing.T) {
			s, err := mls.LookupSuite(v.CipherSuite)
			if err != nil {
				t.Fatal(err)
			}
			var a AuthenticatedContent
			if err := wire.Unmarshal(v.AuthenticatedContent, &a); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mustMarshal(t, &a), v.AuthenticatedContent) {
				t.Fatal("authenticated_content encodes to other bytes")
			}
			confirmed, err := a.ConfirmedTranscriptHash(s, v.InterimTranscriptHashBefore)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(confirmed, v.ConfirmedAfter) {
				t.Error("confirmed transcript hash differs")
			}
			interim := keyschedule.InterimTranscriptHash(s, confirmed, a.ConfirmationTag)
			if !bytes.Equal(interim, v.InterimAfter) {
				t.Error("interim transcript hash differs")
			}
			epoch := keyschedule.TestingOnlyEpochSecrets(s, map[string][]byte{"confirmation_key": v.ConfirmationKey})
			if !epoch.VerifyConfirmationTag(confirmed, a.ConfirmationTag) {
				t.Error("confirmation tag does not verify")
			}
		})
	}
}

type treeOperationVector struct {
	CipherSuite    mls.CipherSuite `json:"cipher_suite"`
	TreeBefore     testkit.Hex     `json:"tree_before"`
	Proposal       testkit.Hex     `json:"proposal"`
	ProposalSender mls.LeafIndex   `json:"proposal_sender"`
	TreeHashBefore testkit.Hex     `json:"tree_hash_before"`
	TreeAfter      testkit.Hex     `json:"tree_after"`
	TreeHashAfter  testkit.Hex     `json:"tree_hash_after"`
}

func TestVectorsTreeOperations(t *testing.T) {
	vectors := testkit.DecodeStrict[treeOperationVector](t, testkit.Vectors(t, "tree-operations.json"))
	if len(vectors) != 5 {
		t.Fatalf("%d cases, want 5", len(vectors))
	}
	seen := map[mls.ProposalType]bool{}
	for i, v := range vectors {
		s, err := mls.LookupSuite(v.CipherSuite)
		if err != nil {
			t.Fatal(err)
		}
		var p Proposal
		if err := wire.Unmarshal(v.Proposal, &p); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		if !bytes.Equal(mustMarshal(t, &p), v.Proposal) {
			t.Fatalf("case %d: proposal encodes to other bytes", i)
		}
		seen[p.Type] = true
		before, err := treekem.ParseTree(s, v.TreeBefore, 1<<10)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		if !bytes.Equal(before.Hash(), v.TreeHashBefore) {
			t.Fatalf("case %d: tree hash before differs", i)
		}
		after := applyToTree(t, before, &p, v.ProposalSender)
		if !bytes.Equal(after.Hash(), v.TreeHashAfter) {
			t.Errorf("case %d: tree hash after differs", i)
		}
		if got, err := after.Bytes(); err != nil || !bytes.Equal(got, v.TreeAfter) {
			t.Errorf("case %d: tree after differs (%v)", i, err)
		}
	}
	for _, typ := range []mls.ProposalType{mls.ProposalAdd, mls.ProposalUpdate, mls.ProposalRemove} {
		if !seen[typ] {
			t.Errorf("no case with a proposal of type %v", typ)
		}
	}
}

func applyToTree(t *testing.T, tree *treekem.Tree, p *Proposal, sender mls.LeafIndex) *treekem.Tree {
	t.Helper()
	e := tree.Edit()
	var err error
	switch p.Type {
	case mls.ProposalAdd:
		_, err = e.Add(&p.Add.KeyPackage.LeafNode)
	case mls.ProposalUpdate:
		err = e.Update(sender, &p.Update.LeafNode)
	case mls.ProposalRemove:
		err = e.Remove(p.Remove.Removed)
	default:
		t.Fatalf("proposal of type %v", p.Type)
	}
	if err != nil {
		t.Fatal(err)
	}
	after, err := e.Done()
	if err != nil {
		t.Fatal(err)
	}
	return after
}
