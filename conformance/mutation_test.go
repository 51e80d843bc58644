package conformance

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// These tests are the runner's own: a runner that fails nothing is worth
// nothing.

// ownCase returns the first case of an embedded file for which ok holds, anew
// on each call, and the kind.
func ownCase(t *testing.T, name string, ok func(*node) bool) (*kind, func() *node) {
	t.Helper()
	data, err := embedded.ReadFile("vectors/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *node {
		cases, err := parseCases(data)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(cases, ok)
		if i < 0 {
			t.Fatalf("%s has no case for this test", name)
		}
		return cases[i]
	}
	k := findKind(name)
	if _, failed := runCase(k, fresh(), Options{AcceptExpired: true}); failed != nil {
		t.Fatalf("%s fails as it is: %+v", name, failed)
	}
	return k, fresh
}

// telling is true of cases that have something in their lists.
func telling(c *node) bool {
	for _, name := range []string{"psks", "external_psks", "left"} {
		if list := c.fields[name]; list != nil && len(list.items) < 2 {
			return false
		}
	}
	return true
}

// walk calls f for n and everything below it, in the file's order.
func walk(n *node, f func(*node)) {
	f(n)
	for _, item := range n.items {
		walk(item, f)
	}
	for _, name := range n.names {
		walk(n.fields[name], f)
	}
}

// paths returns the paths of the nodes below n for which ok holds.
func paths(n *node, ok func(*node) bool) []string {
	var all []string
	walk(n, func(x *node) {
		if ok(x) {
			all = append(all, x.path)
		}
	})
	return all
}

// at returns the node at a path.
func at(t *testing.T, n *node, path string) *node {
	t.Helper()
	var found *node
	walk(n, func(x *node) {
		if x.path == path {
			found = x
		}
	})
	if found == nil {
		t.Fatalf("nothing at %q", path)
	}
	return found
}

// A corruption changes a value into another of the same kind, as little as can
// be.
type corruption struct {
	name string
	at   func(size int) int // where in a string
	bit  byte
	// exempt are values of which only a part is looked at, and not this part.
	exempt []string
}

var corruptions = []corruption{
	{name: "the beginning", at: func(int) int { return 0 }, bit: 0x10},
	{name: "the middle", at: func(size int) int { return size / 2 }, bit: 0x01,
		// RFC 9420, Section 6.3.2: the first KDF.Nh bytes are a sample of it.
		exempt: []string{"sender_data.ciphertext"}},
}

func (k corruption) apply(n *node) {
	data, err := hex.DecodeString(n.text)
	switch {
	case n.path == "cipher_suite":
		n.text = "5" // of the case's suite 1 it shares no primitive
	case n.kind == '0':
		v, _ := new(big.Int).SetString(n.text, 10)
		n.text = v.Add(v, big.NewInt(1)).String()
	case n.kind == 'n':
		n.kind, n.text = '0', "0"
	case err != nil:
		n.text += "x"
	case len(data) == 0:
		n.text = "00"
	default:
		data[k.at(len(data))] ^= k.bit
		n.text = hex.EncodeToString(data)
	}
}

// spoil changes a value such that a case of the kind must fail. A message that
// is only parsed is cut short: with other bytes it can be the encoding of
// another message.
func (k *kind) spoil(n *node, c corruption) {
	if k.name == "messages" {
		n.text = n.text[:len(n.text)-2]
		return
	}
	c.apply(n)
}

// TestCorruptField: whatever one value of a case is changed, the case fails.
// So every value takes part in a check, which is more than being read.
func TestCorruptField(t *testing.T) {
	for _, name := range Kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, fresh := ownCase(t, name, telling)
			tested := paths(fresh(), func(n *node) bool { return n.kind != '{' && n.kind != '[' })
			for _, path := range tested {
				for _, corruption := range corruptions {
					if slices.Contains(corruption.exempt, path) {
						continue
					}
					c := fresh()
					k.spoil(at(t, c, path), corruption)
					if _, failed := runCase(k, c, Options{AcceptExpired: true}); failed == nil {
						t.Errorf("passes with another %s (%s)", path, corruption.name)
					}
				}
			}
			t.Logf("%d values", len(tested))
		})
	}
}

// TestMissingAndExtraField: a case that lacks a field fails at that field, and
// so does one with a field more, at any depth.
func TestMissingAndExtraField(t *testing.T) {
	for _, name := range Kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, fresh := ownCase(t, name, telling)
			for _, path := range paths(fresh(), func(n *node) bool { return n.kind == '{' }) {
				c := fresh()
				object := at(t, c, path)
				extra := &node{kind: 'n'}
				object.fields["extra"], object.names = extra, append(object.names, "extra")
				c.rename("")
				if _, failed := runCase(k, c, Options{AcceptExpired: true}); failed == nil || failed.field != extra.path ||
					!strings.Contains(failed.why, "not read") {
					t.Errorf("an extra field in %q: %+v", path, failed)
				}
				for _, field := range object.names[:len(object.names)-1] {
					c := fresh()
					object := at(t, c, path)
					missing := object.fields[field].path
					delete(object.fields, field)
					object.names = slices.DeleteFunc(object.names, func(s string) bool { return s == field })
					if _, failed := runCase(k, c, Options{AcceptExpired: true}); failed == nil || failed.field != missing {
						t.Errorf("without %s: %+v", missing, failed)
					}
				}
			}
		})
	}
}

// TestReportNamesField: a corrupt file fails in its one bad case, and the
// report says which field.
func TestReportNamesField(t *testing.T) {
	for _, tt := range []struct{ kind, corrupt, field string }{
		{"tree-math", "parent[0]", "parent[0]"},
		{"deserialization", "length", "vlbytes_header"},
		{"crypto-basics", "derive_tree_secret.generation", "derive_tree_secret.out"},
		{"secret-tree", "leaves[0][1].application_nonce", "leaves[0][1].application_nonce"},
		{"message-protection", "commit_priv", "commit_priv"},
		{"key-schedule", "epochs[1].exporter.secret", "epochs[1].exporter.secret"},
		{"psk_secret", "psks[0].psk_nonce", "psk_secret"},
		{"transcript-hashes", "interim_transcript_hash_before", "confirmed_transcript_hash_after"},
		{"welcome", "signer_pub", "signer_pub"},
		{"tree-operations", "tree_hash_after", "tree_hash_after"},
		{"tree-validation", "resolutions[1][0]", "resolutions[1]"},
		{"treekem", "update_paths[0].commit_secret", "update_paths[0].commit_secret"},
		{"messages", "commit", "commit"},
		{"passive-client-welcome", "initial_epoch_authenticator", "initial_epoch_authenticator"},
		{"passive-client-handling-commit", "epochs[0].epoch_authenticator", "epochs[0].epoch_authenticator"},
		{"passive-client-random", "epochs[1].commit", "epochs[1].commit"},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			k, fresh := ownCase(t, tt.kind, telling)
			bad := fresh()
			k.spoil(at(t, bad, tt.corrupt), corruptions[1])
			var f FileReport
			f.runCases(t.Context(), k, []*node{fresh(), bad, fresh()}, Options{AcceptExpired: true})
			if f.Cases != 3 || f.Passed != 2 || f.Failed != 1 || len(f.Failures) != 1 {
				t.Fatalf("%d cases, %d passed, %d failed: %v", f.Cases, f.Passed, f.Failed, f.Failures)
			}
			if got := f.Failures[0]; got.Case != 1 || got.Field != tt.field || got.Reason == "" {
				t.Errorf("failure %q, want case 1 and field %s", got, tt.field)
			}
		})
	}
}

// TestUnknownSuite: there is no skipping a case.
func TestUnknownSuite(t *testing.T) {
	for _, name := range Kinds() {
		k := findKind(name)
		if k.suites != suiteField {
			continue
		}
		for _, suite := range []int{0, 8, 0x0a0a, 0xffff, 0x10000} {
			c := parseOne(t, fmt.Sprintf(`{"cipher_suite":%d}`, suite))
			if _, failed := runCase(k, c, Options{}); failed == nil || failed.field != "cipher_suite" {
				t.Errorf("%s with suite %d: %+v", name, suite, failed)
			}
		}
	}
}
