package treekem

import (
	"bytes"
	"errors"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

// checkTree fails the test if anything that the tree keeps is stale.
func checkTree(t tb, tree *Tree) {
	t.Helper()
	if err := tree.CheckAggregates(); err != nil {
		t.Fatal(err)
	}
	for i, l := range tree.Leaves() {
		if c, ok := tree.Credential(i); !ok || !c.Equal(l.Credential) {
			t.Fatalf("leaf %d: its credential is not that of the leaf", i)
		}
	}
}

func treeBytes(t tb, tree *Tree) []byte {
	t.Helper()
	p, err := tree.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sameTree(t tb, a, b *Tree) {
	t.Helper()
	if !bytes.Equal(treeBytes(t, a), treeBytes(t, b)) || !bytes.Equal(a.Hash(), b.Hash()) || a.Width() != b.Width() {
		t.Errorf("trees differ:\n%v\n%v", a, b)
	}
}

// wantRule fails the test unless err is the breach of a rule.
func wantRule(t tb, err error, section, rule string) *mls.RuleError {
	t.Helper()
	var r *mls.RuleError
	if !errors.As(err, &r) || r.Section != section || r.Rule != rule {
		t.Fatalf("got %v, want a breach of %s/%s", err, section, rule)
	}
	if !errors.Is(err, mls.ErrInvalid) {
		t.Errorf("%v does not wrap ErrInvalid", err)
	}
	return r
}

// tb is what the helpers need of a test, be it package testing's or rapid's.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func marshalState(v savedPrivate) ([]byte, error) { return state.Marshal(v) }
