package mls_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

// traces are the forms in which bytes could show up in a text.
func traces(p []byte) []string {
	decimal := strings.Trim(fmt.Sprint(p), "[]")
	golang := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", p), "[]byte{"), "}")
	return []string{
		string(p), hex.EncodeToString(p), strings.ToUpper(hex.EncodeToString(p)), fmt.Sprintf("% x", p),
		decimal, strings.ReplaceAll(decimal, " ", ", "), golang,
		strings.Trim(fmt.Sprintf("%o", p), "[]"), strings.Trim(fmt.Sprintf("%b", p), "[]"),
		strings.Trim(fmt.Sprintf("%q", p), `"`), strings.Trim(fmt.Sprintf("%c", p), "[]"), strings.Trim(fmt.Sprintf("%U", p), "[]"),
		base64.StdEncoding.EncodeToString(p),
	}
}

// runsOf returns the traces of p, and those of every run of four bytes that
// starts at a multiple of eight.
func runsOf(p []byte) []string {
	out := traces(p)
	for i := 0; i+4 <= len(p); i += 8 {
		// Base64 of four bytes is that of no part of a longer text.
		out = append(out, traces(p[i : i+4])[:12]...)
	}
	return out
}

func shows(text string, runs []string) bool {
	return slices.ContainsFunc(runs, func(run string) bool { return strings.Contains(text, run) })
}

// unlikely is the bytes of a secret that no type name or address contains.
func unlikely() []byte {
	p := make([]byte, 33)
	for i := range p {
		p[i] = byte(0x9d + 71*i)
	}
	return p
}

type holder struct {
	hidden any
	named  mls.Secret
	key    mls.HPKEPrivateKey
	signer mls.SignaturePrivateKey
	ptr    *mls.Secret
	keyPtr *mls.HPKEPrivateKey
	list   []mls.Secret
	table  map[string]mls.Secret
	Shown  mls.Secret
}

// holders returns every shape in which the secrets could reach a formatter.
func holders(s mls.Secret, k *mls.HPKEPrivateKey, g *mls.SignaturePrivateKey) map[string]any {
	h := holder{
		hidden: s, named: s, key: *k, signer: *g, ptr: &s, keyPtr: k,
		list: []mls.Secret{s}, table: map[string]mls.Secret{"s": s}, Shown: s,
	}
	return map[string]any{
		"Secret": s, "*Secret": &s, "HPKEPrivateKey": *k, "*HPKEPrivateKey": k,
		"SignaturePrivateKey": *g, "*SignaturePrivateKey": g,
		"struct": h, "*struct": &h, "[]Secret": h.list, "map": h.table, "[]struct": []holder{h},
		"unexported Secret": struct{ s mls.Secret }{s}, "unexported *Secret": struct{ s *mls.Secret }{&s},
		"unexported key": struct{ k mls.HPKEPrivateKey }{*k}, "unexported signer": struct{ g *mls.SignaturePrivateKey }{g},
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	for _, suite := range mls.Suites() {
		key, err := suite.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		signer, err := suite.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		s := mls.NewSecret(unlikely())
		secrets := [][]string{
			runsOf(s.UnsafeBytes()), runsOf(key.Secret().UnsafeBytes()), runsOf(signer.Secret().UnsafeBytes()),
		}
		sweep(t, holders(s, key, signer), func(name, text string) {
			for i, runs := range secrets {
				if shows(text, runs) {
					t.Errorf("%v: %s shows secret %d", suite, name, i)
				}
			}
		})
	}
}

// sweep formats every value in every way.
func sweep(t *testing.T, values map[string]any, check func(name, text string)) {
	t.Helper()
	n := 0
	for shape, v := range values {
		for verb := rune(0x21); verb < 0x7f; verb++ {
			for _, flags := range []string{"", "+", "#", "-020", "#+.3"} {
				format := "%" + flags + string(verb)
				check(shape+" "+format, fmt.Sprintf(format, v))
				n++
			}
		}
		check(shape+" Sprint", fmt.Sprint(v))
		check(shape+" Errorf", fmt.Errorf("%w %v", errors.New("e"), v).Error())
		p, err := json.Marshal(v)
		check(shape+" JSON", fmt.Sprint(string(p), err))
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("m", "v", v)
			check(shape+" slog", b.String())
		}
		p, err = state.Marshal(v)
		check(shape+" CBOR", fmt.Sprint(string(p), err))
	}
	if n < 1000 {
		t.Fatalf("%d formats tried", n)
	}
}

// TestSweepNotices proves that the sweep would see a secret behind one pointer
// less.
func TestSweepNotices(t *testing.T) {
	type weak struct{ p *[]byte }
	b := unlikely()
	runs := runsOf(b)
	seen := make(map[string]bool)
	sweep(t, map[string]any{"exposed": weak{&b}, "pointer": &b, "bytes": b}, func(name, text string) {
		if shows(text, runs) {
			seen[strings.Fields(name)[0]] = true
		}
	})
	if !seen["pointer"] || !seen["bytes"] || !seen["exposed"] {
		t.Errorf("seen only %v", seen)
	}
}

func TestSecretIsNotEncodedByItself(t *testing.T) {
	s := mls.NewSecret([]byte("secret"))
	suite := mls.Suites()[0]
	key, _ := suite.GenerateKeyPair()
	signer, _ := suite.GenerateSigner()
	for _, v := range []any{s, &s, key, signer, struct{ S mls.Secret }{s}} {
		if p, err := state.Marshal(v); err == nil {
			t.Errorf("%T is saved as %x", v, p)
		}
	}
	if p, err := s.MarshalBinary(); err == nil || p != nil {
		t.Error("MarshalBinary works")
	}
	if p, err := json.Marshal(struct{ S mls.Secret }{s}); err != nil || string(p) != `{"S":"REDACTED"}` {
		t.Errorf("%s, %v", p, err)
	}
}

func TestSecretOwnsItsBytes(t *testing.T) {
	b := []byte("secret")
	s := mls.NewSecret(b)
	alias, clone := s, s.Clone()
	s.Destroy()
	s.Destroy()
	if !bytes.Equal(b, make([]byte, len(b))) {
		t.Error("bytes not overwritten")
	}
	for name, gone := range map[string]mls.Secret{"itself": s, "copy": alias, "zero value": {}} {
		if !gone.IsZero() || gone.Len() != 0 || gone.UnsafeBytes() != nil || !gone.Clone().IsZero() {
			t.Errorf("%s is still there", name)
		}
		gone.Destroy()
	}
	if string(clone.UnsafeBytes()) != "secret" || clone.IsZero() || clone.Len() != 6 {
		t.Error("the clone is gone too")
	}
}

func TestSecretSizes(t *testing.T) {
	for _, n := range []int{0, 1, 12, 31, 32, 33, 48, 63, 64, 65, 200} {
		zero := mls.ZeroSecret(n)
		if !bytes.Equal(zero.UnsafeBytes(), make([]byte, n)) || zero.Len() != n || zero.IsZero() {
			t.Errorf("%d zero bytes", n)
		}
		if cap(zero.UnsafeBytes()) != n {
			t.Errorf("%d bytes with room for %d", n, cap(zero.UnsafeBytes()))
		}
		random := mls.RandomSecret(n)
		if random.Len() != n || n >= 12 && random.Equal(zero) {
			t.Errorf("%d random bytes", n)
		}
	}
}

func TestSecretEqual(t *testing.T) {
	a, b := mls.NewSecret([]byte("a")), mls.NewSecret([]byte("b"))
	empty := mls.NewSecret(nil)
	gone := a.Clone()
	gone.Destroy()
	for _, c := range []struct {
		x, y mls.Secret
		want bool
	}{
		{a, a, true}, {a, a.Clone(), true}, {a, b, false}, {a, empty, false}, {a, mls.NewSecret([]byte("aa")), false},
		{empty, mls.NewSecret([]byte{}), true}, {empty, mls.Secret{}, false},
		{mls.Secret{}, mls.Secret{}, false}, {gone, gone, false}, {gone, a, false},
	} {
		if c.x.Equal(c.y) != c.want || c.y.Equal(c.x) != c.want {
			t.Errorf("%d bytes and %d bytes: want %v", c.x.Len(), c.y.Len(), c.want)
		}
	}
}

func TestDestroyedKeysAreGone(t *testing.T) {
	for _, s := range mls.Suites() {
		key, err := s.GenerateKeyPair()
		if err != nil {
			t.Fatal(err)
		}
		signer, err := s.GenerateSigner()
		if err != nil {
			t.Fatal(err)
		}
		keyCopy, signerCopy := *key, *signer
		key.Destroy()
		key.Destroy()
		signer.Destroy()
		signer.Destroy()
		if !keyCopy.IsZero() || !signerCopy.IsZero() {
			t.Errorf("%v: a copy is still there", s)
		}
		panics(t, "decrypt", func() { s.DecryptWithLabel(&keyCopy, "l", nil, mls.HPKECiphertext{}) })
		panics(t, "sign", func() { signerCopy.Sign(nil) })
		panics(t, "zero key", func() { mls.HPKEPrivateKey{}.Public() })
		panics(t, "zero signer", func() { mls.SignaturePrivateKey{}.Public() })
		mls.HPKEPrivateKey{}.Destroy()
		mls.SignaturePrivateKey{}.Destroy()
	}
}
