package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
)

// partialDir returns the directory of the files of draft-ietf-mls-partial.
func partialDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MLS_PARTIAL_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "vectors", "partial")
		if _, err := os.Stat(dir); err != nil {
			warning := "WARNING: 7 files with 180 cases of draft-ietf-mls-partial were NOT run: " +
				"set MLS_PARTIAL_VECTORS to the directory test-vectors of its repository"
			fmt.Fprintln(os.Stderr, warning)
			t.Skip(warning)
		}
	}
	return dir
}

func TestExpectedKinds(t *testing.T) {
	for _, c := range []struct {
		names          []string
		first, partial bool
	}{
		{nil, true, false},
		{[]string{"x.json", "welcome.json"}, true, false},
		{[]string{"x.json", "test-vector-partial-annotated-commit.json"}, false, true},
		{[]string{"test-vector-partial-annotated-commit.json", "welcome.json"}, true, true},
		{[]string{"test-vector-partial-tree-operations-spec.json"}, true, false},
	} {
		got := expectedKinds(c.names)
		want := 0
		if c.first {
			want += len(Kinds())
		}
		if c.partial {
			want += len(partialKinds)
		}
		if len(got) != want || slices.Contains(got, "welcome") != c.first {
			t.Errorf("%q: %q", c.names, got)
		}
	}
	if k := findPartial("test-vector-partial-annotated-commit"); k == nil || k.check == nil {
		t.Error("a kind isn't found")
	}
	if findPartial("welcome") != nil {
		t.Error("one of the sixteen is found")
	}
}

func partialCases(t *testing.T, k *kind) []*node {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(partialDir(t), k.name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := parseCases(data)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// TestPartialVectors runs every case of every file, for suites 1 to 10.
func TestPartialVectors(t *testing.T) {
	want := map[string]int{
		"message-syntax": 10, "membership-proofs": 80, "sender-authenticated-messages": 20, "annotated-welcome": 10,
		"tree-operations": 40, "annotated-commit": 10, "passive-client-scenarios": 10,
	}
	for i := range partialKinds {
		k := &partialKinds[i]
		name := strings.TrimPrefix(k.name, partialPrefix)
		t.Run(name, func(t *testing.T) {
			cases := partialCases(t, k)
			suites := make(map[uint64]bool)
			for _, c := range cases {
				suites[c.get("cipher_suite").uint(16)] = true
			}
			f := FileReport{File: k.name, Kind: k.name}
			f.runCases(t.Context(), k, cases, Options{})
			for _, failure := range f.Failures {
				t.Error(failure)
			}
			if f.Passed != want[name] || f.Cases != want[name] {
				t.Errorf("%d of %d cases passed, want %d", f.Passed, f.Cases, want[name])
			}
			for id := uint64(1); id <= 10; id++ {
				if !suites[id] {
					t.Errorf("no case of suite %d", id)
				}
			}
		})
	}
}

// stringsOf returns the strings of a case.
func stringsOf(n *node) []*node {
	var all []*node
	if n.kind == '"' {
		all = append(all, n)
	}
	for _, item := range n.items {
		all = append(all, stringsOf(item)...)
	}
	for _, name := range n.names {
		all = append(all, stringsOf(n.fields[name])...)
	}
	return all
}

// contentUnchecked are the fields of which only the form can be checked: the
// format gives no keys for them, or the case doesn't use them, or, of
// update_path, the rest is for others to decrypt.
var contentUnchecked = []string{
	"message-syntax annotated_commit", "message-syntax annotated_welcome", "message-syntax copath_hash",
	"message-syntax membership_proof", "message-syntax sender_authenticated_private_message",
	"message-syntax sender_authenticated_public_message", "message-syntax sender_authenticated_welcome",
	"sender-authenticated-messages sender_authenticated_message", "tree-operations update_path",
	"annotated-commit state_before.encryption_secret", "annotated-commit state_before.sender_data_secret",
}

// unnoticed reports whether a mutation makes no difference that a check could
// see.
func unnoticed(k *kind, v *node, mutation string) bool {
	field := strings.TrimPrefix(k.name, partialPrefix) + " " + v.path
	if mutation == "a byte less" || mutation == "a byte more" {
		return false // the length is part of the form
	}
	return slices.Contains(contentUnchecked, field) ||
		mutation == "nothing" && strings.HasSuffix(field, "receiver_path_state[0].path_secret") // of a leaf
}

// TestPartialMutations: no field of a case can be changed, cut or emptied
// without the case failing, with a post-quantum suite and with another.
func TestPartialMutations(t *testing.T) {
	for i := range partialKinds {
		k := &partialKinds[i]
		cases := partialCases(t, k)
		for _, id := range []uint64{1, 8} {
			n := slices.IndexFunc(cases, func(c *node) bool { return c.get("cipher_suite").uint(16) == id })
			for _, v := range stringsOf(cases[n]) {
				good := v.text
				for name, text := range mutations(good) {
					v.text = text
					_, failed := runCase(k, cases[n], Options{})
					v.text = good
					if failed == nil {
						if !unnoticed(k, v, name) {
							t.Errorf("%s, suite %d: %s passes with %s", k.name, id, v.path, name)
						}
					} else if strings.Contains(failed.why, "panic") {
						t.Errorf("%s, suite %d: %s with %s: %s", k.name, id, v.path, name, failed.why)
					}
				}
			}
		}
	}
}

func mutations(text string) map[string]string {
	if text == "" {
		return map[string]string{"a byte": "00"}
	}
	flip := func(i int) string {
		b := []byte(text)
		if b[i] == '0' {
			b[i] = '1'
		} else {
			b[i] = '0'
		}
		return string(b)
	}
	return map[string]string{
		"another first byte": flip(0), "another middle": flip(len(text) / 2), "another end": flip(len(text) - 1),
		"a byte less": text[:len(text)-2], "a byte more": text + "00", "nothing": "",
	}
}

func TestPartialSuites(t *testing.T) {
	for id, name := range map[uint64]string{
		1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", 7: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
		8: "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519", 9: "MLS_128_MLKEM768P256_AES256GCM_SHA384_P256",
		10: "MLS_192_MLKEM1024P384_AES256GCM_SHA384_P384",
	} {
		c := &check{node: mustParse(t, fmt.Sprintf(`[{"cipher_suite":%d}]`, id))}
		c.published()
		if c.suite.ID() != mls.CipherSuite(id) || c.suite.String() != name {
			t.Errorf("%d is %v, %d", id, c.suite, c.suite.ID())
		}
	}
	for number, name := range publishedSuites {
		if !slices.ContainsFunc(mls.Suites(), func(s *mls.Suite) bool {
			return s.String() == name && mls.PublishedCodePoints()[s.ID()] == mls.CipherSuite(number)
		}) {
			t.Errorf("%d is not %s", number, name)
		}
	}
	unknown := kind{"x", suiteUnnamed, func(c *check) { c.published() }, nil}
	if _, failed := runCase(&unknown, mustParse(t, `[{"cipher_suite":11}]`), Options{}); failed == nil || failed.field != "cipher_suite" {
		t.Errorf("suite 11: %v", failed)
	}
}

func mustParse(t *testing.T, text string) *node {
	t.Helper()
	cases, err := parseCases([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cases[0]
}
