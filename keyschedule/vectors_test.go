package keyschedule

import (
	"bytes"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
)

// suiteOf returns the suite of a known answer, and counts it.
func suiteOf(t *testing.T, seen map[mls.CipherSuite]int, id mls.CipherSuite) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(id)
	if err != nil {
		t.Fatal(err)
	}
	seen[id]++
	return s
}

// wantSuites checks that every suite of RFC 9420 had as many cases.
func wantSuites(t *testing.T, seen map[mls.CipherSuite]int, cases int) {
	t.Helper()
	for id := mls.CipherSuite(1); id <= 7; id++ {
		if seen[id] != cases {
			t.Errorf("%v: %d cases, want %d", id, seen[id], cases)
		}
	}
}

func wantBytes(t *testing.T, name string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from the known answer", name)
	}
}

type keyScheduleVector struct {
	CipherSuite       mls.CipherSuite    `json:"cipher_suite"`
	GroupID           testkit.Hex        `json:"group_id"`
	InitialInitSecret testkit.Hex        `json:"initial_init_secret"`
	Epochs            []keyScheduleEpoch `json:"epochs"`
}

type keyScheduleEpoch struct {
	TreeHash                testkit.Hex `json:"tree_hash"`
	CommitSecret            testkit.Hex `json:"commit_secret"`
	PSKSecret               testkit.Hex `json:"psk_secret"`
	ConfirmedTranscriptHash testkit.Hex `json:"confirmed_transcript_hash"`
	GroupContext            testkit.Hex `json:"group_context"`
	JoinerSecret            testkit.Hex `json:"joiner_secret"`
	WelcomeSecret           testkit.Hex `json:"welcome_secret"`
	InitSecret              testkit.Hex `json:"init_secret"`
	SenderDataSecret        testkit.Hex `json:"sender_data_secret"`
	EncryptionSecret        testkit.Hex `json:"encryption_secret"`
	ExporterSecret          testkit.Hex `json:"exporter_secret"`
	EpochAuthenticator      testkit.Hex `json:"epoch_authenticator"`
	ExternalSecret          testkit.Hex `json:"external_secret"`
	ConfirmationKey         testkit.Hex `json:"confirmation_key"`
	MembershipKey           testkit.Hex `json:"membership_key"`
	ResumptionPSK           testkit.Hex `json:"resumption_psk"`
	ExternalPub             testkit.Hex `json:"external_pub"`
	Exporter                struct {
		Label   string      `json:"label"`
		Context testkit.Hex `json:"context"`
		Length  int         `json:"length"`
		Secret  testkit.Hex `json:"secret"`
	} `json:"exporter"`
}

func TestKeyScheduleVectors(t *testing.T) {
	seen := map[mls.CipherSuite]int{}
	for _, v := range testkit.DecodeStrict[keyScheduleVector](t, testkit.Vectors(t, "key-schedule.json")) {
		s := suiteOf(t, seen, v.CipherSuite)
		t.Run(s.String(), func(t *testing.T) {
			if len(v.Epochs) == 0 {
				t.Fatal("no epochs")
			}
			init := ExternalInitSecret(s, secretOf(v.InitialInitSecret))
			for i, want := range v.Epochs {
				init = checkEpoch(t, s, init, v.GroupID, uint64(i), want)
			}
		})
	}
	wantSuites(t, seen, 1)
}

// checkEpoch derives one epoch, compares all of it, and returns the init_secret
// of its restored copy, so that the next epoch also tests saved state.
func checkEpoch(t *testing.T, s *mls.Suite, init *InitSecret, groupID []byte, epoch uint64, want keyScheduleEpoch) *InitSecret {
	t.Helper()
	context, err := GroupContext{
		Version:                 mls.MLS10,
		CipherSuite:             s.ID(),
		GroupID:                 groupID,
		Epoch:                   epoch,
		TreeHash:                want.TreeHash,
		ConfirmedTranscriptHash: want.ConfirmedTranscriptHash,
	}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "group_context", context, want.GroupContext)

	psk := TestingOnlyPSKSecret(want.PSKSecret)
	joiner := init.Joiner(secretOf(want.CommitSecret), context)
	wantBytes(t, "joiner_secret", joiner.Secret().UnsafeBytes(), want.JoinerSecret)
	wantBytes(t, "welcome_secret", joiner.Welcome(psk).TestingOnlySecret().UnsafeBytes(), want.WelcomeSecret)

	e := joiner.Epoch(psk, context)
	for name, secret := range map[string][]byte{
		"sender_data_secret":  want.SenderDataSecret,
		"encryption_secret":   want.EncryptionSecret,
		"exporter_secret":     want.ExporterSecret,
		"external_secret":     want.ExternalSecret,
		"confirmation_key":    want.ConfirmationKey,
		"membership_key":      want.MembershipKey,
		"resumption_psk":      want.ResumptionPSK,
		"epoch_authenticator": want.EpochAuthenticator,
		"init_secret":         want.InitSecret,
	} {
		wantBytes(t, name, e.TestingOnlySecret(name).UnsafeBytes(), secret)
	}
	if e.TakeSecretTree(8) == nil {
		t.Fatal("no secret tree")
	}
	data, err := e.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := RestoreEpochSecrets(s, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*EpochSecrets{e, restored} {
		wantBytes(t, "epoch authenticator", e.EpochAuthenticator(), want.EpochAuthenticator)
		wantBytes(t, "resumption PSK", e.ResumptionPSK().UnsafeBytes(), want.ResumptionPSK)
		wantBytes(t, "external_pub", e.ExternalPub(), want.ExternalPub)
		exported, err := e.Exporter(want.Exporter.Label, want.Exporter.Context, want.Exporter.Length)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "exporter", exported.UnsafeBytes(), want.Exporter.Secret)
	}
	return restored.Init()
}

func TestPSKSecretVectors(t *testing.T) {
	type vector struct {
		CipherSuite mls.CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID    testkit.Hex `json:"psk_id"`
			PSK   testkit.Hex `json:"psk"`
			Nonce testkit.Hex `json:"psk_nonce"`
		} `json:"psks"`
		PSKSecret testkit.Hex `json:"psk_secret"`
	}
	seen := map[mls.CipherSuite]int{}
	for _, v := range testkit.DecodeStrict[vector](t, testkit.Vectors(t, "psk_secret.json")) {
		s := suiteOf(t, seen, v.CipherSuite)
		var psks []PSK
		for _, p := range v.PSKs {
			id := PreSharedKeyID{Type: PSKExternal, PSKID: p.ID, PSKNonce: p.Nonce}
			psks = append(psks, PSK{ID: id, Secret: secretOf(p.PSK)})
		}
		got, err := NewPSKSecret(s, psks)
		if err != nil {
			t.Fatalf("%v, %d PSKs: %v", s, len(psks), err)
		}
		wantBytes(t, s.String()+" psk_secret", got.TestingOnlySecret(s).UnsafeBytes(), v.PSKSecret)
	}
	wantSuites(t, seen, 11)
}

type secretTreeVector struct {
	CipherSuite mls.CipherSuite `json:"cipher_suite"`
	SenderData  struct {
		Secret     testkit.Hex `json:"sender_data_secret"`
		Ciphertext testkit.Hex `json:"ciphertext"`
		Key        testkit.Hex `json:"key"`
		Nonce      testkit.Hex `json:"nonce"`
	} `json:"sender_data"`
	EncryptionSecret testkit.Hex `json:"encryption_secret"`
	Leaves           [][]struct {
		Generation       uint32      `json:"generation"`
		HandshakeKey     testkit.Hex `json:"handshake_key"`
		HandshakeNonce   testkit.Hex `json:"handshake_nonce"`
		ApplicationKey   testkit.Hex `json:"application_key"`
		ApplicationNonce testkit.Hex `json:"application_nonce"`
	} `json:"leaves"`
}

func TestSecretTreeVectors(t *testing.T) {
	seen := map[mls.CipherSuite]int{}
	for _, v := range testkit.DecodeStrict[secretTreeVector](t, testkit.Vectors(t, "secret-tree.json")) {
		s := suiteOf(t, seen, v.CipherSuite)
		e := TestingOnlyEpochSecrets(s, map[string][]byte{
			"sender_data_secret": v.SenderData.Secret, "encryption_secret": v.EncryptionSecret,
		})
		key, nonce := e.SenderData(v.SenderData.Ciphertext)
		wantBytes(t, "sender data key", key.UnsafeBytes(), v.SenderData.Key)
		wantBytes(t, "sender data nonce", nonce, v.SenderData.Nonce)

		width := uint32(len(v.Leaves))
		received := e.TakeSecretTree(width)
		sent := NewSecretTree(s, secretOf(v.EncryptionSecret), width, Bounds{})
		cases := 0
		for leaf, generations := range v.Leaves {
			for _, want := range generations {
				leaf := mls.LeafIndex(leaf)
				checkMessageKey(t, sent, received, leaf, Handshake, want.Generation, want.HandshakeKey, want.HandshakeNonce)
				checkMessageKey(t, sent, received, leaf, Application, want.Generation, want.ApplicationKey, want.ApplicationNonce)
				cases++
			}
		}
		if cases == 0 {
			t.Fatal("no generations")
		}
	}
	wantSuites(t, seen, 3)
}

// checkMessageKey compares the key of one generation as its sender, which goes
// through all before it, and as a receiver, which skips them.
func checkMessageKey(t *testing.T, sent, received *SecretTree, leaf mls.LeafIndex, kind RatchetKind, generation uint32, key, nonce []byte) {
	t.Helper()
	for {
		g, k, n, err := sent.Next(leaf, kind)
		if err != nil {
			t.Fatal(err)
		}
		if g == generation {
			wantBytes(t, "key", k.UnsafeBytes(), key)
			wantBytes(t, "nonce", n, nonce)
			break
		}
	}
	err := received.Open(leaf, kind, generation, func(k mls.Secret, n []byte) error {
		wantBytes(t, "received key", k.UnsafeBytes(), key)
		wantBytes(t, "received nonce", n, nonce)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The parts of an AuthenticatedContent that the transcript hashes need can be
// told apart without a parser, because the last one has a known length.
func TestTranscriptHashVectors(t *testing.T) {
	type vector struct {
		CipherSuite          mls.CipherSuite `json:"cipher_suite"`
		ConfirmationKey      testkit.Hex     `json:"confirmation_key"`
		AuthenticatedContent testkit.Hex     `json:"authenticated_content"`
		InterimBefore        testkit.Hex     `json:"interim_transcript_hash_before"`
		ConfirmedAfter       testkit.Hex     `json:"confirmed_transcript_hash_after"`
		InterimAfter         testkit.Hex     `json:"interim_transcript_hash_after"`
	}
	seen := map[mls.CipherSuite]int{}
	for _, v := range testkit.DecodeStrict[vector](t, testkit.Vectors(t, "transcript-hashes.json")) {
		s := suiteOf(t, seen, v.CipherSuite)
		e := TestingOnlyEpochSecrets(s, map[string][]byte{"confirmation_key": v.ConfirmationKey})
		tag := e.ConfirmationTag(v.ConfirmedAfter)
		var encodedTag wire.Builder
		encodedTag.Opaque(tag)
		input, ok := bytes.CutSuffix(v.AuthenticatedContent, mustBytes(&encodedTag))
		if !ok {
			t.Fatalf("%v: the content does not end in the confirmation tag", s)
		}
		if !e.VerifyConfirmationTag(v.ConfirmedAfter, tag) {
			t.Errorf("%v: the confirmation tag does not verify", s)
		}
		confirmed := ConfirmedTranscriptHash(s, v.InterimBefore, input)
		wantBytes(t, "confirmed_transcript_hash", confirmed, v.ConfirmedAfter)
		wantBytes(t, "interim_transcript_hash", InterimTranscriptHash(s, confirmed, tag), v.InterimAfter)
	}
	wantSuites(t, seen, 1)
}
