package framing_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
)

// A message is parsed without any keys, and encodes to the bytes it came from.
func ExampleParse() {
	data, err := hex.DecodeString("000100020767726f75702d310000000000000002010003a0a1a204b0b1b2b3")
	if err != nil {
		log.Fatal(err)
	}
	m, err := framing.Parse(data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.WireFormat, "with", m.Private.ContentType, "data")
	fmt.Printf("group %s, epoch %d\n", m.Private.GroupID, m.Private.Epoch)

	again, err := m.Bytes()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same bytes:", bytes.Equal(again, data))

	_, err = framing.Parse(data[:len(data)-1])
	fmt.Println("cut short:", errors.Is(err, mls.ErrMalformed))
	// Output:
	// mls_private_message with application data
	// group group-1, epoch 2
	// the same bytes: true
	// cut short: true
}

// member is one member's keys of an epoch; package group keeps them for real
// groups.
type member struct {
	epoch *keyschedule.EpochSecrets
	tree  *keyschedule.SecretTree
}

func join(s *mls.Suite, joinerSecret mls.Secret, groupContext []byte) member {
	joiner, err := keyschedule.ParseJoinerSecret(s, joinerSecret)
	if err != nil {
		log.Fatal(err)
	}
	epoch := joiner.Epoch(keyschedule.PSKSecret{}, groupContext)
	return member{epoch, epoch.TakeSecretTree(2)}
}

// Alice, at leaf 0, sends application data to Bob.
func Example() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := suite.GenerateSigner()
	if err != nil {
		log.Fatal(err)
	}
	groupContext, err := keyschedule.GroupContext{
		Version: mls.MLS10, CipherSuite: suite.ID(), GroupID: []byte("group-1"), Epoch: 2,
	}.Bytes()
	if err != nil {
		log.Fatal(err)
	}
	joinerSecret := mls.RandomSecret(suite.HashSize())
	alice := join(suite, joinerSecret.Clone(), groupContext)
	bob := join(suite, joinerSecret, groupContext)

	signed, err := framing.Sign(suite, signer, framing.WireFormatPrivateMessage, framing.FramedContent{
		GroupID: []byte("group-1"), Epoch: 2, Sender: framing.Member(0),
		ContentType: framing.ContentApplication, Application: []byte("hello"),
	}, groupContext)
	if err != nil {
		log.Fatal(err)
	}
	sent, err := framing.ProtectPrivate(suite, alice.epoch, alice.tree, signed, 27)
	if err != nil {
		log.Fatal(err)
	}

	received, err := framing.Parse(sent)
	if err != nil {
		log.Fatal(err)
	}
	verify := func(a *framing.AuthenticatedContent) error {
		// A real receiver takes the key from the ratchet tree, at the
		// sender's leaf.
		return a.Verify(suite, signer.Public(), groupContext)
	}
	got, err := framing.UnprotectPrivate(suite, bob.epoch, bob.tree, received.Private, verify)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("leaf %d says %s\n", got.Content.Sender.Leaf, got.Content.Application)

	_, err = framing.UnprotectPrivate(suite, bob.epoch, bob.tree, received.Private, verify)
	fmt.Println("again:", errors.Is(err, mls.ErrKeyConsumed))
	// Output:
	// leaf 0 says hello
	// again: true
}
