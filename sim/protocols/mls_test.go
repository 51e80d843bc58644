package protocols

import (
	"testing"

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
