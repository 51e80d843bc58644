package keyschedule

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/treekem/mls"
)

// sightings returns how the start of a secret looks in the output of some verb.
func sightings(secret []byte) []string {
	p := secret[:6]
	forms := []string{string(p), hex.EncodeToString(p), strings.ToUpper(hex.EncodeToString(p))}
	for n := 4; n <= 7; n++ { // quoting may take bytes together; one of these ends between two characters
		forms = append(forms, strings.Trim(fmt.Sprintf("%q", secret[:n]), `"`), strings.Trim(fmt.Sprintf("%+q", secret[:n]), `"`))
	}
	for _, verb := range []string{"%d", "%o", "%O", "%b", "%c", "%U", "% x", "% X", "%# x", "%#v"} {
		form := fmt.Sprintf(verb, p)
		form = strings.TrimPrefix(form, "[]byte{")
		forms = append(forms, strings.Trim(form, "[]{}"))
	}
	return forms
}

// TestNoVerbPrintsSecrets formats every type of the package that holds secrets,
// by value, by pointer and within other values, with every verb there could be.
func TestNoVerbPrintsSecrets(t *testing.T) {
	s := suite1(t)
	e := newTestEpoch(s)
	e.ExternalPub()
	var secrets [][]byte
	for _, name := range epochNames {
		secrets = append(secrets, e.TestingOnlySecret(name).UnsafeBytes())
	}
	joiner := e.Init().Joiner(mls.Secret{}, nil)
	welcome := joiner.Welcome(PSKSecret{})
	psk := PSK{PreSharedKeyID{Type: PSKExternal}, secretOf(fill(7, 32))}
	pskSecret, err := NewPSKSecret(s, []PSK{{PreSharedKeyID{Type: PSKExternal, PSKNonce: fill(1, 32)}, psk.Secret}})
	if err != nil {
		t.Fatal(err)
	}
	tree := newTestTree(t, 4, Bounds{})
	if err := opens(tree, 3); err != nil {
		t.Fatal(err)
	}
	n, _ := tree.find(0)
	r := n.ratchets[Application]
	secrets = append(secrets,
		joiner.Secret().UnsafeBytes(), welcome.TestingOnlySecret().UnsafeBytes(), psk.Secret.UnsafeBytes(),
		pskSecret.secret.UnsafeBytes(), tree.root.right.secret.UnsafeBytes(), r.secret.UnsafeBytes(),
		r.skipped[0].keyNonce.UnsafeBytes(), r.skipped[0].keyNonce.UnsafeBytes()[s.KeySize():])
	external, err := s.DeriveKeyPair(e.external)
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, external.Secret().UnsafeBytes())

	var forms []string
	for _, secret := range secrets {
		forms = append(forms, sightings(secret)...)
	}
	for _, value := range []any{
		e, *e, e.Init(), *e.Init(), joiner, *joiner, welcome, *welcome, psk, &psk, pskSecret, &pskSecret,
		tree, *tree, n, *n, r, &r, r.skipped, r.skipped[0], *tree.root.right, tree.root,
	} {
		for _, nested := range []any{value, &value, []any{value}, map[string]any{"k": value}, struct{ v any }{value}, struct{ V any }{value}} {
			wantNoSighting(t, forms, nested)
		}
	}
}

func wantNoSighting(t *testing.T, forms []string, value any) {
	t.Helper()
	check := func(how, out string) {
		for _, form := range forms {
			if strings.Contains(out, form) {
				t.Errorf("%s prints a secret of %T", how, value)
				return
			}
		}
	}
	for verb := byte('!'); verb <= '~'; verb++ {
		if strings.IndexByte("%*[.#+-0123456789", verb) >= 0 {
			continue
		}
		for _, flags := range []string{"", "+", "#", " ", "# ", "-", "0"} {
			format := "%" + flags + string(verb)
			check(format, fmt.Sprintf(format, value))
		}
	}
	if p, err := json.Marshal(value); err == nil {
		check("JSON", string(p))
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("text", "value", value)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "value", value)
	check("slog", b.String())
}

// The sweep must be able to see what it looks for.
func TestSightings(t *testing.T) {
	secret := fill(3, 32)
	forms := sightings(secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%#x"} {
		out, seen := fmt.Sprintf(verb, struct{ v []byte }{secret}), false
		for _, form := range forms {
			seen = seen || strings.Contains(out, form)
		}
		if !seen {
			t.Errorf("%s prints a byte slice unseen: %s", verb, out)
		}
	}
}
