package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/treekem/mls/internal/testkit"
)

// messageKinds is what inspect must take each field of the working group's messages.json for.
var messageKinds = map[string]string{
	"mls_welcome": "message", "mls_group_info": "message", "mls_key_package": "message",
	"ratchet_tree": "ratchet_tree", "group_secrets": "group_secrets",
	"add_proposal": "key_package", "update_proposal": "leaf_node", "remove_proposal": "remove",
	"pre_shared_key_proposal": "psk_id", "re_init_proposal": "re_init", "external_init_proposal": "external_init",
	"group_context_extensions_proposal": "group_context_extensions", "commit": "commit",
	"public_message_application": "message", "public_message_proposal": "message", "public_message_commit": "message",
	"private_message": "message",
}

// TestInspectMessages inspects each message of the working group's messages.json, by itself and by its
// kind's name, as text and as JSON.
func TestInspectMessages(t *testing.T) {
	var cases []map[string]string
	if err := json.Unmarshal(testkit.Vectors(t, "messages.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for i, c := range cases {
		if len(c) != len(messageKinds) {
			t.Errorf("case %d: %d fields, want %d", i, len(c), len(messageKinds))
		}
		for field, text := range c {
			data, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, as := range []string{"", messageKinds[field]} {
				if got := inspectBoth(t, field, data, as)[0].value; got != messageKinds[field] {
					t.Errorf("case %d: %s as %q taken for %v", i, field, as, got)
				}
			}
		}
	}
}

// inspectBoth inspects data and renders it in both forms.
func inspectBoth(t *testing.T, name string, data []byte, as string) outline {
	t.Helper()
	o, err := (&inspector{}).inspect(data, as)
	if err != nil {
		t.Errorf("%s as %q: %v", name, as, err)
		return outline{{}}
	}
	var b bytes.Buffer
	if err := o.writeText(&b); err != nil || b.Len() == 0 {
		t.Errorf("%s: text: %v", name, err)
	}
	encoded, err := json.Marshal(o)
	if err != nil || !json.Valid(encoded) {
		t.Errorf("%s: JSON: %v", name, err)
	}
	if name == "group_secrets" && as == "group_secrets" {
		// Both secrets are vectors at the start, of one length byte each.
		secret := hex.EncodeToString(data[1 : 1+int(data[0])])
		if strings.Contains(b.String(), secret[:16]) || strings.Contains(string(encoded), secret[:16]) {
			t.Error("a joiner secret is shown")
		}
	}
	return o
}

// TestInspectTellsKinds: of what the files of a group hold, the kind is told from the bytes alone, also
// in hex, and JSON has no field twice.
func TestInspectTellsKinds(t *testing.T) {
	dir, alice, _ := pair(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	cli(t, exitOK, "group", "export", "group-info", "--dir", alice, "-o", at("info"))
	cli(t, exitOK, "group", "export", "tree", "--dir", alice, "-o", at("tree"))
	for name, want := range map[string]string{
		"bob.kp": "message", "welcome": "message", "commit": "message", "info": "message", "tree": "ratchet_tree",
	} {
		data, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		upper := strings.ToUpper(hex.EncodeToString(data))
		if err := os.WriteFile(at(name+".hex"), []byte(upper[:20]+"\n "+upper[20:]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		plain, _ := cli(t, exitOK, "inspect", "--json", at(name))
		fromHex, _ := cli(t, exitOK, "inspect", "--json", at(name+".hex"))
		if plain != fromHex {
			t.Errorf("%s: inspected differently in hex", name)
		}
		if got := keysOnce(t, json.NewDecoder(strings.NewReader(plain))); got != want {
			t.Errorf("%s: kind %q, want %q", name, got, want)
		}
	}
}

// keysOnce checks that no object in a JSON text has a name twice, and returns the value of "kind".
func keysOnce(t *testing.T, d *json.Decoder) (kind string) {
	t.Helper()
	var walk func() any
	walk = func() any {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		if token == json.Delim('[') {
			for d.More() {
				walk()
			}
			d.Token()
		}
		if token == json.Delim('{') {
			seen := make(map[any]bool)
			for d.More() {
				key := walk()
				if seen[key] {
					t.Errorf("%v occurs twice", key)
				}
				seen[key] = true
				if value := walk(); key == "kind" {
					kind, _ = value.(string)
				}
			}
			d.Token()
		}
		return token
	}
	walk()
	return kind
}

// TestInspectRefuses: what is no structure is no structure, and never a panic.
func TestInspectRefuses(t *testing.T) {
	for _, data := range [][]byte{nil, {0}, []byte("hello, world"), bytes.Repeat([]byte{0xff}, 100), {0, 1, 0, 9}} {
		if o, err := (&inspector{}).inspect(data, "message"); err == nil {
			t.Errorf("%x is a message: %v", data, o)
		}
	}
}

// FuzzInspect feeds inspect what it was not made for.
func FuzzInspect(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1})
	f.Add([]byte("0001 0005"))
	f.Add([]byte{0, 0, 0, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range structures() {
			if o, err := s.describe(&inspector{}, unhex(data)); err == nil {
				if _, err := json.Marshal(o); err != nil {
					t.Errorf("%s: %v", s.name, err)
				}
			}
		}
	})
}
