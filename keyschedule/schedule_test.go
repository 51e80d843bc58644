package keyschedule

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

var epochNames = []string{
	"sender_data_secret", "encryption_secret", "exporter_secret", "external_secret", "confirmation_key",
	"membership_key", "resumption_psk", "epoch_authenticator", "init_secret",
}

// newTestEpoch returns the secrets of some epoch, the same each time.
func newTestEpoch(s *mls.Suite) *EpochSecrets {
	init := ExternalInitSecret(s, secretOf(fill(1, s.HashSize())))
	return init.Joiner(secretOf(fill(2, s.HashSize())), []byte("context")).Epoch(PSKSecret{}, []byte("context"))
}

func secretsOf(e *EpochSecrets) map[string]string {
	secrets := map[string]string{}
	for _, name := range epochNames {
		if secret := e.TestingOnlySecret(name); !secret.IsZero() {
			secrets[name] = string(secret.UnsafeBytes())
		}
	}
	return secrets
}

func TestDerivingConsumesNothing(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e := newTestEpoch(s)
		commitSecret, context := secretOf(fill(3, s.HashSize())), []byte("next")
		first := e.Init().Joiner(commitSecret, context)
		second := e.Init().Joiner(commitSecret, context)
		if !first.Secret().Equal(second.Secret()) {
			t.Error("the same commit staged twice has two joiner secrets")
		}
		first.Epoch(PSKSecret{}, context).Destroy()
		first.Welcome(PSKSecret{}).Destroy()
		if !maps.Equal(secretsOf(first.Epoch(PSKSecret{}, context)), secretsOf(second.Epoch(PSKSecret{}, context))) {
			t.Error("the same commit staged twice has two epochs")
		}
		if len(secretsOf(e)) != len(epochNames) {
			t.Error("staging consumed secrets of the current epoch")
		}
	})
}

// Each input of the schedule must make a difference, to all of the outputs.
func TestEpochDependsOnEveryInput(t *testing.T) {
	s := suite1(t)
	derive := func(init, commit, psk byte, joined, context string) map[string]string {
		joiner := ExternalInitSecret(s, secretOf(fill(init, 32))).Joiner(secretOf(fill(commit, 32)), []byte(joined))
		return secretsOf(joiner.Epoch(TestingOnlyPSKSecret(fill(psk, 32)), []byte(context)))
	}
	all := []map[string]string{
		derive(1, 2, 3, "a", "b"), derive(9, 2, 3, "a", "b"), derive(1, 9, 3, "a", "b"), derive(1, 2, 9, "a", "b"),
		derive(1, 2, 3, "x", "b"), derive(1, 2, 3, "a", "x"),
	}
	seen := map[string]bool{}
	for _, secrets := range all {
		for _, secret := range secrets {
			seen[secret] = true
		}
	}
	if want := len(all) * len(epochNames); len(seen) != want {
		t.Errorf("%d different secrets, want %d", len(seen), want)
	}
}

func TestJoinerAndCommitterAgree(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		context := []byte("context")
		psk, err := NewPSKSecret(s, []PSK{{PreSharedKeyID{Type: PSKExternal, PSKID: []byte("id"), PSKNonce: NewPSKNonce(s)}, secretOf([]byte("psk"))}})
		if err != nil {
			t.Fatal(err)
		}
		committer := newTestEpoch(s).Init().Joiner(mls.Secret{}, context)
		sealed, err := committer.Welcome(psk).Seal([]byte("group info"))
		if err != nil {
			t.Fatal(err)
		}
		joiner, err := ParseJoinerSecret(s, committer.Secret())
		if err != nil {
			t.Fatal(err)
		}
		opened, err := joiner.Welcome(psk).Open(sealed)
		if err != nil || string(opened) != "group info" {
			t.Errorf("opened %q, %v", opened, err)
		}
		if !maps.Equal(secretsOf(joiner.Epoch(psk, context)), secretsOf(committer.Epoch(psk, context))) {
			t.Error("joiner and committer are in different epochs")
		}

		if _, err := joiner.Welcome(PSKSecret{}).Open(sealed); !errors.Is(err, mls.ErrAuth) {
			t.Errorf("without the PSK: %v, want ErrAuth", err)
		}
		sealed[0] ^= 1
		if _, err := joiner.Welcome(psk).Open(sealed); !errors.Is(err, mls.ErrAuth) {
			t.Errorf("altered: %v, want ErrAuth", err)
		}
	})
}

func TestWelcomeSealsOnce(t *testing.T) {
	s := suite1(t)
	w := newTestEpoch(s).Init().Joiner(mls.Secret{}, nil).Welcome(PSKSecret{})
	if _, err := w.Seal([]byte("one")); err != nil {
		t.Fatal(err)
	}
	_, err := w.Seal([]byte("another"))
	wantErr(t, "a second group info under the same key", err, mls.ErrKeyConsumed)
	_, err = w.Open([]byte("anything"))
	wantErr(t, "opening with a consumed key", err, mls.ErrKeyConsumed)
}

func TestNoCommitSecretIsAllZero(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		init := NewInitSecret(s)
		without := init.Joiner(mls.Secret{}, []byte("context")).Secret()
		zeros := init.Joiner(mls.ZeroSecret(s.HashSize()), []byte("context")).Secret()
		if !without.Equal(zeros) {
			t.Error("a commit without a path is not one with an all-zero commit_secret")
		}
	})
}

func TestJoinerSecretLength(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		for _, n := range []int{0, s.HashSize() - 1, s.HashSize() + 1} {
			_, err := ParseJoinerSecret(s, mls.ZeroSecret(n))
			wantRule(t, err, "8/joiner-secret-length")
		}
		_, err := ParseJoinerSecret(s, mls.Secret{})
		wantRule(t, err, "8/joiner-secret-length")
	})
}

func TestFirstEpochIsFresh(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		seen := map[string]bool{}
		for range 3 {
			e := FirstEpoch(s, []byte("context"))
			for name, secret := range secretsOf(e) {
				if len(secret) != s.HashSize() {
					t.Errorf("%s is of %d bytes", name, len(secret))
				}
				seen[secret] = true
			}
		}
		if want := 3 * len(epochNames); len(seen) != want {
			t.Errorf("%d different secrets in three groups, want %d", len(seen), want)
		}
	})
}

func TestTags(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e := newTestEpoch(s)
		kinds := map[string]struct {
			tag    func([]byte) []byte
			verify func(data, tag []byte) bool
		}{
			"confirmation": {e.ConfirmationTag, e.VerifyConfirmationTag},
			"membership":   {e.MembershipTag, e.VerifyMembershipTag},
		}
		data := []byte("data")
		for name, kind := range kinds {
			tag := kind.tag(data)
			if len(tag) != s.HashSize() || !kind.verify(data, tag) {
				t.Errorf("%s: its own tag does not verify", name)
			}
			flipped := slices.Clone(tag)
			flipped[len(flipped)-1] ^= 1
			for what, bad := range map[string][]byte{
				"empty": {}, "none": nil, "cut": tag[:len(tag)-1], "prefix of 1": tag[:1],
				"longer": append(slices.Clone(tag), 0), "flipped": flipped,
			} {
				if kind.verify(data, bad) {
					t.Errorf("%s: a tag that is %s verifies", name, what)
				}
			}
			if kind.verify([]byte("other"), tag) {
				t.Errorf("%s: the tag verifies over other data", name)
			}
		}
		if bytes.Equal(e.ConfirmationTag(data), e.MembershipTag(data)) {
			t.Error("both tags are under one key")
		}
	})
}

func TestExporter(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e := newTestEpoch(s)
		most := 255 * s.HashSize()
		for _, n := range []int{1, s.HashSize(), most} {
			got, err := e.Exporter("label", []byte("context"), n)
			if err != nil || got.Len() != n {
				t.Errorf("%d bytes, %v, want %d", got.Len(), err, n)
			}
		}
		for _, n := range []int{-1, 0, most + 1, 1 << 16, 1<<16 + 32} {
			_, err := e.Exporter("label", nil, n)
			wantRule(t, err, "8.5/exporter-length")
		}
		seen := map[string]bool{}
		for _, label := range []string{"", "label", "Label", string(make([]byte, 20000))} {
			for _, context := range []string{"", "context", string(make([]byte, 5000))} {
				got, err := e.Exporter(label, []byte(context), 32)
				if err != nil {
					t.Fatal(err)
				}
				seen[string(got.UnsafeBytes())] = true
			}
		}
		if len(seen) != 12 {
			t.Errorf("%d different secrets of 12 labels and contexts", len(seen))
		}
	})
}

func TestExternalInit(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e := newTestEpoch(s)
		pub := e.ExternalPub()
		kemOutput, sec, err := s.ExternalInit(pub)
		if err != nil {
			t.Fatal(err)
		}
		joined := ExternalInitSecret(s, sec).Joiner(mls.Secret{}, []byte("context"))
		opened, err := e.OpenExternalInit(kemOutput)
		if err != nil {
			t.Fatal(err)
		}
		if !joined.Secret().Equal(opened.Joiner(mls.Secret{}, []byte("context")).Secret()) {
			t.Error("the joiner and the group have different init secrets")
		}
		pub[len(pub)-1] ^= 1
		if bytes.Equal(e.ExternalPub(), pub) {
			t.Error("ExternalPub hands out its own bytes")
		}
		for what, bad := range map[string][]byte{"none": nil, "cut": kemOutput[1:], "longer": append(slices.Clone(kemOutput), 0)} {
			if _, err := e.OpenExternalInit(bad); err == nil {
				t.Errorf("a KEM output that is %s is taken", what)
			}
		}
	})
}

func TestSenderDataSample(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e, nh := newTestEpoch(s), s.HashSize()
		ref := referenceFor(t, s.ID())
		secret := e.TestingOnlySecret("sender_data_secret").UnsafeBytes()
		ciphertext := append(fill(1, 64), fill(2, 64)...)
		for _, n := range []int{0, 1, nh - 1, nh, nh + 1, len(ciphertext)} {
			key, nonce := e.SenderData(ciphertext[:n])
			sample := ciphertext[:min(n, nh)]
			if len(sample) > 63 { // beyond the reference's one-byte lengths
				sample = ciphertext[:nh]
				again, _ := e.SenderData(sample)
				if !again.Equal(key) {
					t.Errorf("%d bytes of ciphertext count, not %d", n, nh)
				}
				continue
			}
			wantBytes(t, "sender data key", key.UnsafeBytes(), ref.expand(secret, "key", sample, ref.nk))
			wantBytes(t, "sender data nonce", nonce, ref.expand(secret, "nonce", sample, ref.nn))
		}
	})
}

func TestTakeSecretTreeOnce(t *testing.T) {
	s := suite1(t)
	e := newTestEpoch(s)
	raw := e.encryption.UnsafeBytes()
	tree := e.TakeSecretTree(4)
	if tree == nil {
		t.Fatal("no secret tree")
	}
	wantCleared(t, "encryption_secret", raw)
	if e.TakeSecretTree(4) != nil {
		t.Error("the secret tree can be taken twice")
	}
	if !e.TestingOnlySecret("encryption_secret").IsZero() {
		t.Error("encryption_secret is still there")
	}
	if e.Past().TakeSecretTree(4) != nil {
		t.Error("a past epoch has a secret tree")
	}
}

func TestPastEpoch(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e := newTestEpoch(s)
		wantKey, wantNonce := e.SenderData([]byte("ciphertext"))
		wantPSK := e.ResumptionPSK()
		e.TakeSecretTree(2)
		past := e.Past()
		e.Destroy()
		data, err := past.MarshalState()
		if err != nil {
			t.Fatal(err)
		}
		restored, err := RestoreEpochSecrets(s, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, past := range []*EpochSecrets{past, restored, past.Past()} {
			if got := slices.Sorted(maps.Keys(secretsOf(past))); !slices.Equal(got, []string{"resumption_psk", "sender_data_secret"}) {
				t.Errorf("a past epoch keeps %v", got)
			}
			key, nonce := past.SenderData([]byte("ciphertext"))
			if !key.Equal(wantKey) || !bytes.Equal(nonce, wantNonce) || !past.ResumptionPSK().Equal(wantPSK) {
				t.Error("what is kept has changed")
			}
			wantNothingElse(t, past)
		}
	})
}

func TestDestroyedEpoch(t *testing.T) {
	s := suite1(t)
	e := newTestEpoch(s)
	e.ExternalPub()
	init := e.Init()
	var raw [][]byte
	for _, named := range e.named() {
		raw = append(raw, named.secret.UnsafeBytes())
	}
	e.Destroy()
	for i, name := range epochNames {
		wantCleared(t, name, raw[i])
	}
	wantNothingElse(t, e)
	if !e.ResumptionPSK().IsZero() || len(secretsOf(e)) != 0 {
		t.Error("a destroyed epoch has secrets")
	}
	if _, err := e.MarshalState(); err == nil {
		t.Error("a destroyed epoch can be saved")
	}
	for what, f := range map[string]func(){
		"the next epoch": func() { init.Joiner(mls.Secret{}, nil) },
		"sender data":    func() { e.SenderData([]byte("ciphertext")) },
		"a destroyed joiner": func() {
			j := NewInitSecret(s).Joiner(mls.Secret{}, nil)
			j.Destroy()
			j.Epoch(PSKSecret{}, nil)
		},
		"a destroyed psk_secret": func() {
			psk := TestingOnlyPSKSecret(fill(1, 32))
			psk.Destroy()
			NewInitSecret(s).Joiner(mls.Secret{}, nil).Epoch(psk, nil)
		},
		"a destroyed commit_secret": func() {
			commitSecret := mls.RandomSecret(32)
			commitSecret.Destroy()
			NewInitSecret(s).Joiner(commitSecret, nil)
		},
	} {
		if !panics(f) {
			t.Errorf("%s is derived from nothing", what)
		}
	}
	e.Destroy()
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// wantNothingElse checks that e gives nothing but sender data and a PSK.
func wantNothingElse(t *testing.T, e *EpochSecrets) {
	t.Helper()
	if e.Init() != nil || e.EpochAuthenticator() != nil || e.ExternalPub() != nil {
		t.Error("an epoch that is over has an init secret, an authenticator or an external key")
	}
	if e.ConfirmationTag(nil) != nil || e.MembershipTag(nil) != nil {
		t.Error("an epoch that is over makes tags")
	}
	if e.VerifyConfirmationTag(nil, nil) || e.VerifyMembershipTag(nil, []byte{}) {
		t.Error("an epoch that is over takes tags")
	}
	_, err := e.Exporter("label", nil, 32)
	wantErr(t, "exporter", err, mls.ErrKeyConsumed)
	_, err = e.OpenExternalInit([]byte("output"))
	wantErr(t, "external init", err, mls.ErrKeyConsumed)
}

func TestSavedEpochHoldsNoEncryptionSecret(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		e := newTestEpoch(s)
		encryption := e.TestingOnlySecret("encryption_secret").UnsafeBytes()
		if _, err := e.MarshalState(); err == nil {
			t.Fatal("an epoch is saved with its encryption_secret")
		}
		tree := e.TakeSecretTree(8)
		data, err := e.MarshalState()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, encryption) || bytes.Contains(stateOf(t, tree), encryption) {
			t.Error("encryption_secret is in saved state")
		}
		restored, err := RestoreEpochSecrets(s, data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := restored.MarshalState()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("the restored epoch has another state, or %v", err)
		}
		if !maps.Equal(secretsOf(restored), secretsOf(e)) {
			t.Error("the restored epoch has other secrets")
		}
	})
}

func TestRestoreEpochSecretsRefuses(t *testing.T) {
	s := suite1(t)
	e := newTestEpoch(s)
	e.TakeSecretTree(2)
	good, err := e.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(st *epochState){
		"version":           func(st *epochState) { st.Version = 2 },
		"suite":             func(st *epochState) { st.Suite = 5 },
		"no sender data":    func(st *epochState) { st.SenderData = nil },
		"no resumption PSK": func(st *epochState) { st.Resumption = []byte{} },
		"no init secret":    func(st *epochState) { st.Init = nil },
		"past, with exporter": func(st *epochState) {
			*st = epochState{1, 1, st.SenderData, st.Resumption, st.Exporter, nil, nil, nil, nil, nil}
		},
		"past, with init":      func(st *epochState) { st.Exporter = nil },
		"short membership key": func(st *epochState) { st.Membership = st.Membership[1:] },
		"long init secret":     func(st *epochState) { st.Init = append(st.Init, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			var st epochState
			if err := state.Unmarshal(good, &st); err != nil {
				t.Fatal(err)
			}
			edit(&st)
			data, err := state.Marshal(st)
			if err != nil {
				t.Fatal(err)
			}
			_, err = RestoreEpochSecrets(s, data)
			wantErr(t, name, err, mls.ErrMalformed)
		})
	}
	for n := range good {
		if _, err := RestoreEpochSecrets(s, good[:n]); !errors.Is(err, mls.ErrMalformed) {
			t.Fatalf("%d of %d bytes: %v, want ErrMalformed", n, len(good), err)
		}
	}
}
