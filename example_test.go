package mls_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/treekem/mls"
)

func Example() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := suite.GenerateSigner()
	if err != nil {
		log.Fatal(err)
	}
	signature, err := suite.SignWithLabel(signer, "Example", []byte("content"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(suite)
	fmt.Println(suite.VerifyWithLabel(signer.Public(), "Example", []byte("content"), signature))
	fmt.Println(suite.VerifyWithLabel(signer.Public(), "Another", []byte("content"), signature))
	// Output:
	// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
	// <nil>
	// mls: authentication failed
}

// A message encrypted to a public key opens with the same label and context
// only.
func ExampleSuite_EncryptWithLabel() {
	suite, err := mls.LookupSuite(mls.P256_AES128GCM_SHA256_P256)
	if err != nil {
		log.Fatal(err)
	}
	key, err := suite.GenerateKeyPair()
	if err != nil {
		log.Fatal(err)
	}
	ciphertext, err := suite.EncryptWithLabel(key.Public(), "Example", []byte("context"), []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := suite.DecryptWithLabel(key, "Example", []byte("context"), ciphertext)
	fmt.Printf("%s %v\n", plaintext, err)
	_, err = suite.DecryptWithLabel(key, "Example", []byte("another"), ciphertext)
	fmt.Println(err)
	// Output:
	// hello <nil>
	// mls: authentication failed
}

// Secrets don't print, in no matter what they are.
func ExampleSecret() {
	account := struct {
		Name string
		key  mls.Secret
	}{"alice", mls.NewSecret([]byte("correct horse"))}
	fmt.Println(account.key)
	fmt.Printf("%x\n", account.key)
	account.key.Destroy()
	fmt.Println(account.key.Len(), account.key.IsZero())
	// Output:
	// REDACTED
	// REDACTED
	// 0 true
}

// A broken rule says which one it is, for a person and for a program.
func ExampleRuleError() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	err = suite.ValidatePublicKey(make(mls.HPKEPublicKey, 32))
	fmt.Println(err)
	fmt.Println(errors.Is(err, mls.ErrInvalid))
	var rule *mls.RuleError
	if errors.As(err, &rule) {
		fmt.Println(rule.Section, rule.Rule)
	}
	// Output:
	// mls: invalid: HPKE public key: point of low order (RFC 9420, Section 5.1.1: hpke-public-key)
	// true
	// 5.1.1 hpke-public-key
}

// A message from a later epoch is worth keeping; one from an earlier epoch
// isn't.
func ExampleRetryable() {
	fmt.Println(mls.Retryable(&mls.EpochError{Got: 8, Want: 7}))
	fmt.Println(mls.Retryable(&mls.EpochError{Got: 6, Want: 7}))
	fmt.Println(mls.Retryable(fmt.Errorf("commit: %w", mls.ErrUnknownProposal)))
	// Output:
	// true
	// false
	// true
}
