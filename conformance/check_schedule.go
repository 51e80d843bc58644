package conformance

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// checkSecretTree checks RFC 9420, Sections 6.3.2, 9 and 9.1: the keys of
// every leaf's ratchets, once as a receiver gets them, by generation, and once
// as a sender does, one after the other.
func checkSecretTree(c *check) {
	v := c.get("sender_data")
	epoch := keyschedule.TestingOnlyEpochSecrets(c.suite, map[string][]byte{
		"sender_data_secret": v.get("sender_data_secret").bytes(),
	})
	key, nonce := epoch.SenderData(v.get("ciphertext").bytes())
	v.get("key").equalSecret(key)
	v.get("nonce").equal(nonce)

	leaves := c.get("leaves").list()
	if len(leaves) == 0 {
		c.get("leaves").fail("empty")
	}
	newTree := func() *keyschedule.SecretTree {
		return keyschedule.NewSecretTree(c.suite, c.get("encryption_secret").secret(), uint32(len(leaves)), keyschedule.Bounds{})
	}
	receiver, sender := newTree(), newTree()
	for i, leaf := range leaves {
		for _, entry := range leaf.list() {
			for _, r := range []ratchet{{"handshake", keyschedule.Handshake}, {"application", keyschedule.Application}} {
				r.check(entry, receiver, sender, mls.LeafIndex(i))
			}
		}
	}
}

// A ratchet is one of the two of a leaf, with the prefix of its fields.
type ratchet struct {
	name string
	kind keyschedule.RatchetKind
}

func (r ratchet) check(entry *node, receiver, sender *keyschedule.SecretTree, leaf mls.LeafIndex) {
	generation := entry.get("generation").u32()
	compare := func(key mls.Secret, nonce []byte) error {
		entry.get(r.name + "_key").equalSecret(key)
		entry.get(r.name + "_nonce").equal(nonce)
		return nil
	}
	entry.get("generation").must(receiver.Open(leaf, r.kind, generation, compare))
	for {
		at, key, nonce, err := sender.Next(leaf, r.kind)
		entry.get("generation").must(err)
		if at > generation {
			entry.get("generation").fail("the sender is past it")
		}
		if at == generation {
			compare(key, nonce)
			return
		}
	}
}

// checkKeySchedule checks RFC 9420, Sections 8, 8.1 and 8.5, over a chain of
// epochs.
func checkKeySchedule(c *check) {
	s := c.suite
	init := keyschedule.ExternalInitSecret(s, c.get("initial_init_secret").secret())
	for i, v := range c.get("epochs").list() {
		context := keyschedule.GroupContext{
			Version:                 mls.MLS10,
			CipherSuite:             s.ID(),
			GroupID:                 c.get("group_id").bytes(),
			Epoch:                   uint64(i),
			TreeHash:                v.get("tree_hash").bytes(),
			ConfirmedTranscriptHash: v.get("confirmed_transcript_hash").bytes(),
		}
		groupContext, err := context.Bytes()
		v.get("group_context").must(err)
		v.get("group_context").equal(groupContext)

		psk := keyschedule.TestingOnlyPSKSecret(v.get("psk_secret").bytes())
		joiner := init.Joiner(v.get("commit_secret").secret(), groupContext)
		v.get("joiner_secret").equalSecret(joiner.Secret())
		v.get("welcome_secret").equalSecret(joiner.Welcome(psk).TestingOnlySecret())
		epoch := joiner.Epoch(psk, groupContext)
		checkEpoch(v, epoch)
		init = epoch.Init()
	}
}

// checkEpoch checks what the key schedule gives for one epoch.
func checkEpoch(v *node, epoch *keyschedule.EpochSecrets) {
	for _, name := range []string{
		"init_secret", "sender_data_secret", "encryption_secret", "exporter_secret", "external_secret",
		"confirmation_key", "membership_key",
	} {
		v.get(name).equalSecret(epoch.TestingOnlySecret(name))
	}
	v.get("epoch_authenticator").equal(epoch.EpochAuthenticator())
	v.get("resumption_psk").equalSecret(epoch.ResumptionPSK())
	v.get("external_pub").equal(epoch.ExternalPub())

	e := v.get("exporter")
	secret, err := epoch.Exporter(e.get("label").str(), e.get("context").bytes(), int(e.get("length").uint(31)))
	e.get("length").must(err)
	e.get("secret").equalSecret(secret)
}

// checkPSKSecret checks RFC 9420, Section 8.4.
func checkPSKSecret(c *check) {
	var psks []keyschedule.PSK
	for _, v := range c.get("psks").list() {
		psks = append(psks, keyschedule.PSK{
			ID: keyschedule.PreSharedKeyID{
				Type:     keyschedule.PSKExternal,
				PSKID:    v.get("psk_id").bytes(),
				PSKNonce: v.get("psk_nonce").bytes(),
			},
			Secret: v.get("psk").secret(),
		})
	}
	secret, err := keyschedule.NewPSKSecret(c.suite, psks)
	c.get("psks").must(err)
	c.get("psk_secret").equalSecret(secret.TestingOnlySecret(c.suite))
}

// checkTranscriptHashes checks RFC 9420, Sections 6.1 and 8.2.
func checkTranscriptHashes(c *check) {
	v := c.get("authenticated_content")
	var commit framing.AuthenticatedContent
	v.must(wire.Unmarshal(v.bytes(), &commit))
	confirmed, err := commit.ConfirmedTranscriptHash(c.suite, c.get("interim_transcript_hash_before").bytes())
	v.must(err) // refuses what is no commit
	c.get("confirmed_transcript_hash_after").equal(confirmed)
	c.get("interim_transcript_hash_after").equal(
		keyschedule.InterimTranscriptHash(c.suite, confirmed, commit.ConfirmationTag))

	key := c.get("confirmation_key")
	epoch := keyschedule.TestingOnlyEpochSecrets(c.suite, map[string][]byte{"confirmation_key": key.bytes()})
	if !epoch.VerifyConfirmationTag(confirmed, commit.ConfirmationTag) {
		key.fail("the confirmation tag does not verify")
	}
	if string(epoch.ConfirmationTag(confirmed)) != string(commit.ConfirmationTag) {
		key.fail("gives another confirmation tag")
	}
}
