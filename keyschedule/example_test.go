package keyschedule_test

import (
	"fmt"
	"log"

	"github.com/treekem/mls"
	"github.com/treekem/mls/keyschedule"
)

// context returns the encoded GroupContext of an epoch of a group of one member.
func context(s *mls.Suite, epoch uint64) []byte {
	p, err := keyschedule.GroupContext{
		Version:     mls.MLS10,
		CipherSuite: s.ID(),
		GroupID:     []byte("example"),
		Epoch:       epoch,
		TreeHash:    make([]byte, s.HashSize()),
	}.Bytes()
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// Every member of an epoch can export the same secret for use outside of MLS,
// and nobody else can.
func ExampleEpochSecrets_Exporter() {
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	epoch := keyschedule.FirstEpoch(s, context(s, 0))
	key, err := epoch.Exporter("example file key", []byte("file 7"), 16)
	if err != nil {
		log.Fatal(err)
	}
	again, err := epoch.Exporter("example file key", []byte("file 7"), 16)
	if err != nil {
		log.Fatal(err)
	}
	other, err := epoch.Exporter("example file key", []byte("file 8"), 16)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key, key.Len(), key.Equal(again), key.Equal(other))
	// Output: REDACTED 16 true false
}

// A commit brings an external PSK into the next epoch; who lacks it ends up
// with other secrets, as the confirmation tag shows.
func ExampleNewPSKSecret() {
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	id := keyschedule.PreSharedKeyID{
		Type:     keyschedule.PSKExternal,
		PSKID:    []byte("fleet key 2026"),
		PSKNonce: keyschedule.NewPSKNonce(s),
	}
	psk, err := keyschedule.NewPSKSecret(s, []keyschedule.PSK{
		{ID: id, Secret: mls.NewSecret([]byte("shared ahead of time"))},
	})
	if err != nil {
		log.Fatal(err)
	}

	epoch := keyschedule.FirstEpoch(s, context(s, 0))
	joiner := epoch.Init().Joiner(mls.Secret{}, context(s, 1)) // a commit without a path
	with := joiner.Epoch(psk, context(s, 1))
	without := joiner.Epoch(keyschedule.PSKSecret{}, context(s, 1))

	transcript := make([]byte, s.HashSize())
	tag := with.ConfirmationTag(transcript)
	fmt.Println(with.VerifyConfirmationTag(transcript, tag), without.VerifyConfirmationTag(transcript, tag))
	// Output: true false
}

// A sender takes the next key, a receiver asks for the generation it was told.
// Each key can be had once.
func ExampleSecretTree() {
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	encryption := mls.RandomSecret(s.HashSize())
	alice := keyschedule.NewSecretTree(s, encryption.Clone(), 2, keyschedule.Bounds{})
	bob := keyschedule.NewSecretTree(s, encryption, 2, keyschedule.Bounds{})

	generation, key, nonce, err := alice.Next(0, keyschedule.Application)
	if err != nil {
		log.Fatal(err)
	}
	ciphertext, err := s.Seal(nil, key, nonce, nil, []byte("hello"))
	key.Destroy()
	if err != nil {
		log.Fatal(err)
	}

	var plaintext []byte
	open := func(key mls.Secret, nonce []byte) (err error) {
		plaintext, err = s.Open(key, nonce, nil, ciphertext)
		return err
	}
	fmt.Println(bob.Open(0, keyschedule.Application, generation, open), string(plaintext))
	fmt.Println(bob.Open(0, keyschedule.Application, generation, open))
	// Output:
	// <nil> hello
	// mls: key already consumed: generation 0
}
