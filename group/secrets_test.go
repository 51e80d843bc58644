package group_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/treekem"
)

// secretNames are those of RFC 9420, Section 8.
var secretNames = []string{
	"sender_data_secret", "exporter_secret", "external_secret", "confirmation_key",
	"membership_key", "resumption_psk", "epoch_authenticator", "init_secret",
}

// epochSecrets copies the secrets that a member holds of its epoch.
func epochSecrets(c *client) map[string][]byte {
	out := make(map[string][]byte)
	for _, name := range secretNames {
		if s := c.g.TestingEpoch().TestingOnlySecret(name); !s.IsZero() {
			out[name] = bytes.Clone(s.UnsafeBytes())
		}
	}
	return out
}

// privateKeys copies the private keys that a member holds of its path, by
// searching its saved state for them: each is 32 bytes long.
func privateKeys(t *testing.T, c *client) [][]byte {
	t.Helper()
	saved := must[[]byte](t)(c.g.TestingPrivate().MarshalState())
	var keys [][]byte
	for i := 0; i+34 <= len(saved); i++ {
		if saved[i] == 0x58 && saved[i+1] == 32 { // a byte string of 32 bytes in CBOR
			keys = append(keys, bytes.Clone(saved[i+2:i+34]))
			i += 33 // a key can hold these two bytes itself
		}
	}
	if len(keys) != len(c.g.TestingPrivate().Nodes()) {
		t.Fatalf("%d keys of %d nodes", len(keys), len(c.g.TestingPrivate().Nodes()))
	}
	return keys
}

func state(t tb, c *client) []byte {
	t.Helper()
	return must[[]byte](t)(c.g.State())
}

// TestMergeForgetsTheEpoch: once a commit is merged, neither the saved state nor
// what is kept for late messages holds the secrets of the epoch before, nor a
// key that the commit replaced (RFC 9420, Sections 7.5 and 9.2).
func TestMergeForgetsTheEpoch(t *testing.T) {
	for _, past := range []int{-1, 2} {
		cfg := config()
		cfg.Limits.PastEpochs = past
		for _, w := range bothFramings {
			cfg.Handshakes = w
			m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), cfg, 5)
			for _, from := range []int{0, 3} {
				check(t, errOf(m[2].g.ProposeUpdate(group.UpdateOptions{}))) // the private key of which comes to nothing
				var secrets []map[string][]byte
				var keys [][][]byte
				for _, c := range m {
					secrets, keys = append(secrets, epochSecrets(c)), append(keys, privateKeys(t, c))
					for name, s := range secrets[len(secrets)-1] {
						if !bytes.Contains(state(t, c), s) {
							t.Fatalf("the state doesn't hold %s: this test would find nothing", name)
						}
					}
				}
				others := append(append([]*client{}, m[:from]...), m[from+1:]...)
				m[from].commitTo(group.CommitOptions{References: [][]byte{}}, others)
				for i, c := range m {
					saved := state(t, c)
					for name, s := range secrets[i] {
						kept := past > 0 && (name == "sender_data_secret" || name == "resumption_psk")
						if bytes.Contains(saved, s) != kept {
							t.Fatalf("past epochs %d: %s is kept: %v", past, name, !kept)
						}
					}
					now := privateKeys(t, c)
					for _, key := range keys[i] {
						if bytes.Contains(saved, key) && !containsBytes(now, key) {
							t.Fatal("a replaced private key is in the state")
						}
					}
					if i == from && containsBytes(now, keys[i][0]) {
						t.Fatal("the committer has kept its leaf key")
					}
				}
			}
		}
	}
}

// TestRemovedMemberHoldsNothing: its saved state has none of the secrets that it
// had, nor the keys.
func TestRemovedMemberHoldsNothing(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 4)
	past := epochSecrets(m[3])
	m[1].commitTo(group.CommitOptions{}, without(m, m[1]))
	check(t, errOf(m[3].g.ProposeUpdate(group.UpdateOptions{})))
	secrets, keys := epochSecrets(m[3]), privateKeys(t, m[3])
	m[0].commitTo(group.CommitOptions{References: [][]byte{}, Proposals: []framing.Proposal{group.RemoveProposal(3)}}, m[1:])
	saved := state(t, m[3])
	for _, list := range []map[string][]byte{past, secrets} {
		for name, s := range list {
			if bytes.Contains(saved, s) {
				t.Fatalf("the state of a removed member holds %s", name)
			}
		}
	}
	for _, key := range keys {
		if bytes.Contains(saved, key) {
			t.Fatal("the state of a removed member holds a private key")
		}
	}
}

func containsBytes(list [][]byte, b []byte) bool {
	for _, x := range list {
		if bytes.Equal(x, b) {
			return true
		}
	}
	return false
}

// TestConsumedKeysAreGone: a state that was saved after a message was read, or
// sent, cannot read it again (RFC 9420, Section 9.2).
func TestConsumedKeysAreGone(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 3)
	before := must[*group.Group](t)(group.Restore(m[1].cfg, state(t, m[1]), m[1].signer))
	messages := [][]byte{
		must[[]byte](t)(m[0].g.Protect([]byte("zero"), nil)),
		must[[]byte](t)(m[0].g.Protect([]byte("one"), nil)),
		must[[]byte](t)(m[0].g.Propose(group.PSKProposal(m[0].suite, []byte("k")), nil)),
	}
	deliver(t, messages[1], m[1])
	deliver(t, messages[0], m[1])
	deliver(t, messages[2], m[1])
	after := must[*group.Group](t)(group.Restore(m[1].cfg, state(t, m[1]), m[1].signer))
	for i, message := range messages {
		if _, ok := must[group.Received](t)(after.Process(message)).(*group.Duplicate); !ok {
			t.Fatalf("message %d is read again", i)
		}
		if _, ok := must[group.Received](t)(before.Process(message)).(*group.Duplicate); ok {
			t.Fatalf("message %d could not be read before: this test shows nothing", i)
		}
	}
	// The sender's own ratchet has moved in its state, too.
	again := must[*group.Group](t)(group.Restore(m[0].cfg, state(t, m[0]), m[0].signer))
	check(t, errOf(again.Commit(group.CommitOptions{})))
	for i, g := range []*group.Group{m[0].g, again} {
		if n := g.TestingRatchets().Generation(0, 1); n == 0 {
			t.Fatalf("group %d sends generation 0 again", i)
		}
	}
}

// TestCommitKeyIsConsumedByMerge: a received commit is staged without using up
// its key, so that dropping it leaves the group as it was; merging uses it up.
func TestCommitKeyIsConsumedByMerge(t *testing.T) {
	m := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 3)
	message := m[0].commit(group.CommitOptions{}).Message()
	for range 2 {
		check(t, unchanged(t, m[1], func() error { return errOf(m[1].g.Process(message)) }))
	}
	deliver(t, message, m[1])
	if s, ok := must[group.Received](t)(m[1].g.Process(message)).(*group.StaleEpoch); !ok || s.Got != 1 {
		t.Fatal("a merged commit is processed again")
	}
}

// verbs are all that package fmt has.
const verbs = "vTtbcdoOqxXUeEfFgGspw"

// TestNothingPrintsAGroupsSecrets prints everything that the package gives out,
// in every way, and searches it for the secrets behind.
func TestNothingPrintsAGroupsSecrets(t *testing.T) {
	sc := newScene(t, 4)
	c := sc.m[1]
	check(t, errOf(c.g.ProposeUpdate(group.UpdateOptions{})))
	proposal := must[group.Received](t)(c.g.Process(sc.m[0].forgeProposal(framing.WireFormatPublicMessage, group.RemoveProposal(3))))
	own := c.commit(group.CommitOptions{References: [][]byte{}, Proposals: adds(sc.client("late"))})
	received := must[group.Received](t)(c.g.Process(sc.m[0].forge(framing.WireFormatPrivateMessage, forgery{}).message))
	v := newInvitation(t, 3)
	w, info := v.build()
	late := v.joiner()

	secrets := epochSecrets(c)
	for i, key := range privateKeys(t, c) {
		secrets[fmt.Sprint("private key ", i)] = key
	}
	next := own.EpochAuthenticator()
	secrets["next epoch authenticator"] = next
	secrets["init key"] = bytes.Clone(late.private.InitKey.Secret().UnsafeBytes())
	secrets["leaf key"] = bytes.Clone(late.private.LeafKey.Secret().UnsafeBytes())
	secrets["signature key"] = bytes.Clone(c.signer.Secret().UnsafeBytes())

	hidden := make(map[string][]string)
	for what, secret := range secrets {
		hidden[what] = forms(secret)
	}
	for name, value := range map[string]any{
		"group": c.g, "*group": *c.g, "staged": own, "*staged": *own, "received": received, "proposal": proposal,
		"changes": own.Changes(), "export": must[mls.Secret](t)(c.g.Export("label", nil, 32)), "psk": c.g.ResumptionPSK(),
		"context": c.g.Context(), "tree": c.g.Tree(), "proposals": c.g.Proposals(), "observer": sc.observer, "*observer": *sc.observer,
		"config": c.cfg, "identity": c.identity(), "private": late.private, "*private": *late.private, "key package": late.kp,
		"welcome": w, "info": info, "join options": group.JoinOptions{Predecessor: c.g}, "options": group.CreateOptions{Identity: c.identity()},
		"list": []any{c.g, own}, "struct": struct{ G *group.Group }{c.g},
	} {
		for _, verb := range verbs {
			for _, flag := range []string{"", "+", "#", " ", "0"} {
				printed := fmt.Sprintf("%"+flag+string(verb), value)
				for what, forms := range hidden {
					if leaksForm(printed, forms) {
						t.Fatalf("%%%s%c of %s prints the %s", flag, verb, name, what)
					}
				}
			}
		}
	}
}

// leaks looks for a secret in whatever form fmt could give it.
func leaks(printed string, secret []byte) bool {
	return leaksForm(printed, forms(secret))
}

func leaksForm(printed string, forms []string) bool {
	return slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(printed, form) })
}

// forms are what fmt could make of the bytes of a secret.
func forms(secret []byte) []string {
	decimal := strings.Trim(fmt.Sprint(secret), "[]")
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)), decimal,
		strings.ReplaceAll(decimal, " ", ", "), strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}"), fmt.Sprintf("% x", secret),
		base64.StdEncoding.EncodeToString(secret), strings.Trim(fmt.Sprintf("%b", secret), "[]"), strings.Trim(fmt.Sprintf("%o", secret), "[]"),
	}
}

// TestLeaksAreFound shows that the search above finds what it is there to find.
func TestLeaksAreFound(t *testing.T) {
	secret := []byte("0123456789abcdef\x00\xff")
	for _, format := range []string{"%s", "%v", "%x", "%X", "% x", "%#v", "%d", "%b", "%o"} {
		if !leaks(fmt.Sprintf("… "+format+" …", secret), secret) {
			t.Errorf("%s is not found", format)
		}
		if !leaks(fmt.Sprintf("%v, "+format, 1, struct{ b []byte }{secret}), secret) {
			t.Errorf("%s of a struct is not found", format)
		}
	}
}

// TestErrorsHoldNoBytes: no error of the package shows any of what it refuses.
func TestErrorsHoldNoBytes(t *testing.T) {
	sc := newScene(t, 3)
	for _, f := range []forgery{
		{path: func(p *treekem.UpdatePath) { p.Nodes[0].EncryptedPathSecret[0].Ciphertext[0] ^= 1 }},
		{sealed: func(ac *framing.AuthenticatedContent) { ac.ConfirmationTag[0] ^= 1 }},
		{leaf: func(l *treekem.LeafNode) { l.ParentHash[0] ^= 1 }},
	} {
		out := sc.m[0].forge(framing.WireFormatPublicMessage, f)
		_, err := sc.m[1].g.Process(out.message)
		if err == nil {
			continue // the path secret was another member's
		}
		for _, secret := range [][]byte{
			out.ac.ConfirmationTag, out.ac.Signature, must[[]byte](t)(wire.Marshal(&out.ac.Content.Commit.Path.LeafNode)),
			out.epoch.EpochAuthenticator(),
		} {
			if leaks(err.Error(), secret) || leaks(fmt.Sprintf("%+v", err), secret[:16]) {
				t.Fatalf("an error shows what it is about")
			}
		}
	}
}
