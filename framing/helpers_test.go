package framing

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

const testLeaves = 4

// party is one member's view of an epoch: what ProtectPrivate and
// UnprotectPrivate need, and a signature key.
type party struct {
	suite   *mls.Suite
	leaf    mls.LeafIndex
	signer  *mls.SignaturePrivateKey
	context []byte
	epoch   *keyschedule.EpochSecrets
	tree    *keyschedule.SecretTree
}

// newParties returns the members of one epoch. Each derives the epoch by
// itself from a joiner secret, as new members do.
func newParties(t testing.TB, s *mls.Suite, n int) []*party {
	t.Helper()
	context, err := keyschedule.GroupContext{
		Version: mls.MLS10, CipherSuite: s.ID(), GroupID: []byte("group"), Epoch: 7,
		TreeHash: bytes.Repeat([]byte{1}, s.HashSize()),
	}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	joiner := mls.RandomSecret(s.HashSize())
	out := make([]*party, n)
	for i := range out {
		out[i] = newParty(t, s, mls.LeafIndex(i), joiner.Clone(), context)
	}
	return out
}

func newParty(t testing.TB, s *mls.Suite, leaf mls.LeafIndex, joiner mls.Secret, context []byte) *party {
	t.Helper()
	j, err := keyschedule.ParseJoinerSecret(s, joiner)
	if err != nil {
		t.Fatal(err)
	}
	psk, err := keyschedule.NewPSKSecret(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := s.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	epoch := j.Epoch(psk, context)
	return &party{
		suite: s, leaf: leaf, signer: signer, context: context,
		epoch: epoch, tree: epoch.TakeSecretTree(testLeaves),
	}
}

func twoParties(t testing.TB, s *mls.Suite) (alice, bob *party) {
	t.Helper()
	p := newParties(t, s, 2)
	return p[0], p[1]
}

// content returns a content of p in the epoch.
func (p *party) content(c FramedContent) FramedContent {
	c.GroupID, c.Epoch, c.Sender = []byte("group"), 7, Member(p.leaf)
	return c
}

func (p *party) sign(t testing.TB, f WireFormat, c FramedContent) *AuthenticatedContent {
	t.Helper()
	a, err := Sign(p.suite, p.signer, f, c, p.context)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	if c.ContentType == ContentCommit {
		a.ConfirmationTag = p.epoch.ConfirmationTag([]byte("transcript"))
	}
	return a
}

func (p *party) protect(t testing.TB, c FramedContent, padding int) *PrivateMessage {
	t.Helper()
	data, err := ProtectPrivate(p.suite, p.epoch, p.tree, p.sign(t, WireFormatPrivateMessage, c), padding)
	if err != nil {
		t.Fatalf("ProtectPrivate: %v", err)
	}
	return parsePrivate(t, data)
}

// protectPublic returns what ProtectPublic makes as its receivers read it.
func protectPublic(t testing.TB, s *mls.Suite, epoch *keyschedule.EpochSecrets, a *AuthenticatedContent, context []byte) *PublicMessage {
	t.Helper()
	data, err := ProtectPublic(s, epoch, a, context)
	if err != nil {
		t.Fatalf("ProtectPublic: %v", err)
	}
	return parse(t, data).Public
}

// parsePrivate reads what ProtectPrivate makes.
func parsePrivate(t testing.TB, data []byte) *PrivateMessage {
	t.Helper()
	return parse(t, data).Private
}

// parse reads a message, which must encode to the same bytes.
func parse(t testing.TB, data []byte) *Message {
	t.Helper()
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(messageBytes(t, m), data) {
		t.Fatal("a message that encodes to other bytes")
	}
	return m
}

// privateContent returns the plaintext of a PrivateMessage.
func privateContent(a *AuthenticatedContent, padding, limit int) (out []byte, err error) {
	err = withPrivateContent(a, padding, limit, func(p []byte) error {
		out = bytes.Clone(p)
		return nil
	})
	return out, err
}

// verifier returns the check that p makes of a message from sender.
func (p *party) verifier(sender *party) func(*AuthenticatedContent) error {
	return func(a *AuthenticatedContent) error {
		return a.Verify(p.suite, sender.signer.Public(), p.context)
	}
}

func (p *party) unprotect(sender *party, m *PrivateMessage) (*AuthenticatedContent, error) {
	return UnprotectPrivate(p.suite, p.epoch, p.tree, m, p.verifier(sender))
}

// treeState returns the saved form of the secret tree: all that a message can
// change in it.
func (p *party) treeState(t testing.TB) []byte {
	t.Helper()
	state, err := p.tree.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func application(data string) FramedContent {
	return FramedContent{ContentType: ContentApplication, Application: []byte(data)}
}

func removal(leaf mls.LeafIndex) *Proposal {
	return &Proposal{Type: mls.ProposalRemove, Remove: &Remove{Removed: leaf}}
}

func proposing(p *Proposal) FramedContent {
	return FramedContent{ContentType: ContentProposal, Proposal: p}
}

func committing(proposals ...ProposalOrRef) FramedContent {
	return FramedContent{ContentType: ContentCommit, Commit: &Commit{Proposals: proposals}}
}

// contents are one message of each content type.
func contents() map[string]FramedContent {
	ref := ProposalOrRef{Ref: bytes.Repeat([]byte{9}, 32)}
	withData := proposing(removal(3))
	withData.AuthenticatedData = []byte("authenticated data")
	return map[string]FramedContent{
		"application":       application("hello"),
		"empty application": application(""),
		"proposal":          withData,
		"commit":            committing(ref, ProposalOrRef{Proposal: removal(2)}),
	}
}

func suite1(t testing.TB) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func eachSuite(t *testing.T, f func(*testing.T, *mls.Suite)) {
	t.Helper()
	suites := mls.Suites()
	if len(suites) < 7 {
		t.Fatalf("%d suites, want the 7 of RFC 9420", len(suites))
	}
	for _, s := range suites {
		t.Run(s.String(), func(t *testing.T) { f(t, s) })
	}
}

func wantRule(t *testing.T, err error, section, rule string) {
	t.Helper()
	var got *mls.RuleError
	if !errors.As(err, &got) {
		t.Fatalf("error %v, want rule %s/%s", err, section, rule)
	}
	if got.Section != section || got.Rule != rule {
		t.Fatalf("rule %s/%s, want %s/%s (%v)", got.Section, got.Rule, section, rule, err)
	}
	if !errors.Is(err, mls.ErrInvalid) {
		t.Fatalf("error %v is not ErrInvalid", err)
	}
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func mustMarshal(t testing.TB, e wire.Encoder) []byte {
	t.Helper()
	data, err := wire.Marshal(e)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	return data
}

// flipped returns p with one bit of byte i changed.
func flipped(p []byte, i int) []byte {
	out := slices.Clone(p)
	out[i] ^= 0x01
	return out
}
