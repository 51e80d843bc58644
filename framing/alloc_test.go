package framing

import (
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
)

// TestAllocations bounds what one message allocates. What the suite's own
// primitives take is in it: for suite 1, about half of each.
func TestAllocations(t *testing.T) {
	testkit.CountsAllocations(t)
	const runs = 100
	s := suite1(t)
	alice, bob := twoParties(t, s)
	sent := make([][]byte, runs+1)
	i := 0
	send := testing.AllocsPerRun(runs, func() {
		sent[i] = sendKibibyte(t, alice)
		i++
	})
	i = 0
	received := testing.AllocsPerRun(runs, func() {
		receive(t, alice, bob, sent[i])
		i++
	})
	public := alice.content(proposing(removal(1)))
	propose := testing.AllocsPerRun(runs, func() {
		if _, err := ProtectPublic(s, alice.epoch, alice.sign(t, WireFormatPublicMessage, public), alice.context); err != nil {
			t.Fatal(err)
		}
	})
	parse := testing.AllocsPerRun(runs, func() {
		if _, err := Parse(sent[0]); err != nil {
			t.Fatal(err)
		}
	})
	for _, x := range []struct {
		name     string
		got, max float64
	}{
		{"sign, protect and encode", send, 16},
		{"parse, unprotect and verify", received, 24},
		{"sign and protect publicly", propose, 7},
		{"parse", parse, 5},
	} {
		t.Logf("%s: %.0f allocations", x.name, x.got)
		if x.got > x.max {
			t.Errorf("%s: %.0f allocations, at most %.0f", x.name, x.got, x.max)
		}
	}
}

// TestForgeryIsCheap: a message that fails costs no more memory than one that
// does not.
func TestForgeryIsCheap(t *testing.T) {
	testkit.CountsAllocations(t)
	alice, bob := twoParties(t, suite1(t))
	data := sendKibibyte(t, alice)
	data[len(data)-1] ^= 1
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(20, func() {
		if _, err := bob.unprotect(alice, m.Private); err != mls.ErrAuth {
			t.Fatalf("%v, want ErrAuth", err)
		}
	})
	t.Logf("%.0f allocations", n)
	if n > 60 {
		t.Errorf("%.0f allocations for a forgery", n)
	}
}
