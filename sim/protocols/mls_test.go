package protocols

import (
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
)

// TestMLSCounts holds what an MLS device counts against what its commits hold on
// the wire.
func TestMLSCounts(t *testing.T) {
	p := newParty(t, mlsPublicDesign(), 6)
	begin, err := p.devices[0].Create([]ID{0, 1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.deliver(begin); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		by   ID
		do   func(Device) ([]Packet, error)
		more int // besides the path: signatures, and what a joiner takes
	}{
		{"update", 2, Device.Update, 2},
		{"add", 1, func(d Device) ([]Packet, error) { return d.Add(5) }, 2 + 2 + 1 + 1}, // key package, GroupInfo, group secrets
		{"remove", 3, func(d Device) ([]Packet, error) { return d.Remove(0) }, 2},
	} {
		before := p.devices[tt.by].Meter().PublicKey
		packets, err := tt.do(p.devices[tt.by])
		if err != nil {
			t.Fatal(err)
		}
		m, err := framing.Parse(packets[0].Body)
		if err != nil {
			t.Fatal(err)
		}
		want := tt.more + 1 // the leaf's key pair
		for _, n := range m.Public.Content.Commit.Path.Nodes {
			want += 1 + len(n.EncryptedPathSecret)
		}
		if got := p.devices[tt.by].Meter().PublicKey - before; got != want {
			t.Errorf("%s: %d operations are counted, the commit has %d", tt.name, got, want)
		}
		if err := p.deliver(packets); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
	}
}

// TestMLSForgery: what a member forges is a message that all can decrypt, and
// read where it names its true sender. Only the signature gives it away.
func TestMLSForgery(t *testing.T) {
	p := newParty(t, mlsPrivateDesign(), 4)
	begin, err := p.devices[0].Create([]ID{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.deliver(begin); err != nil {
		t.Fatal(err)
	}
	for as, want := range map[ID]error{2: nil, 0: mls.ErrAuth} {
		packets, err := p.devices[2].Forge(as, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		packets[0].From = as
		e, err := p.devices[1].Receive(packets[0])
		if !errors.Is(err, want) {
			t.Errorf("member 2 writes as %d: %v, want %v", as, err, want)
		}
		if want == nil && (e.From != 2 || string(e.Text) != "text") {
			t.Errorf("member 2's own message: %q of %d", e.Text, e.From)
		}
	}
}
