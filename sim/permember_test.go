package sim

import (
	"bytes"
	"testing"
)

// TestPerMember: the protocol that TreeKEM is compared with works, and refuses what is not for one.
func TestPerMember(t *testing.T) {
	p, err := newPerMember(suite1(t), 6, 4)
	if err != nil {
		t.Fatal(err)
	}
	message, key, err := p.rekey(1)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 4; i++ {
		got, err := p.open(i, message)
		if err != nil || !bytes.Equal(got, key) {
			t.Errorf("member %d: %v", i, err)
		}
	}
	if _, err := p.open(0, message); err == nil {
		t.Error("the sender opens a key")
	}
	for _, i := range []int{0, len(message) / 2, len(message) - 1} {
		changed := bytes.Clone(message)
		changed[i] ^= 1
		if _, err := p.open(1, changed); err == nil {
			t.Errorf("a message with byte %d changed is opened", i)
		}
	}
	if _, other, err := p.rekey(2); err != nil || bytes.Equal(other, key) {
		t.Errorf("the key is not fresh: %v", err)
	}
	cost, err := p.cost(2)
	if err != nil || cost.Seals != 5 || cost.CommitBytes != len(message) {
		t.Errorf("cost %+v, %v", cost, err)
	}
}
