package protocols

import (
	"bytes"
	"errors"
	"testing"

	"github.com/treekem/mls"
)

// shelf is a directory for tests.
type shelf struct {
	bundles map[ID][]byte
	supply  map[ID]func() []byte
}

func (s *shelf) Publish(id ID, bundle []byte)      { s.bundles[id] = bundle }
func (s *shelf) Lookup(_, id ID) ([]byte, error)   { return s.bundles[id], nil }
func (s *shelf) Stock(id ID, supply func() []byte) { s.supply[id] = supply }
func (s *shelf) Take(_, id ID) []byte              { return s.supply[id]() }

// party is a group of a design, and what each member was shown.
type party struct {
	env     *Env
	devices []Device
	shown   map[ID][][]byte
}

func newParty(t *testing.T, d Design, n int) *party {
	t.Helper()
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	p := &party{env: &Env{Suite: suite, Directory: &shelf{map[ID][]byte{}, map[ID]func() []byte{}}}, shown: map[ID][][]byte{}}
	if d.NewServer != nil {
		if p.env.Server, err = d.NewServer(suite); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		device, err := d.New(p.env, ID(i))
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := device.(interface{ Online() error }); ok {
			if err := o.Online(); err != nil {
				t.Fatal(err)
			}
		}
		p.devices = append(p.devices, device)
	}
	return p
}

// deliver passes packets on, and the answers, and returns the first refusal.
func (p *party) deliver(packets []Packet) error {
	for len(packets) > 0 {
		var replies []Packet
		for _, q := range packets {
			held := q.Body
			if p.env.Server != nil {
				var err error
				if held, err = p.env.Server.Accept(q); err != nil {
					return err
				}
			}
			for _, id := range q.To {
				one := Packet{q.From, []ID{id}, q.Kind, held}
				if p.env.Server != nil {
					var err error
					if one, err = p.env.Server.Forward(held, q, id); err != nil {
						return err
					}
				}
				e, err := p.devices[id].Receive(one)
				if err != nil {
					return err
				}
				if e.Text != nil {
					p.shown[id] = append(p.shown[id], e.Text)
				}
				replies = append(replies, e.Replies...)
			}
		}
		packets = replies
	}
	return nil
}

// TestSmallGroups has groups of two, three and six talk, in every design: the
// smallest are the special cases of rings and trees.
func TestSmallGroups(t *testing.T) {
	for _, d := range All() {
		for _, n := range []int{2, 3, 6} {
			p := newParty(t, d, n)
			ids := make([]ID, n)
			for i := range ids {
				ids[i] = ID(i)
			}
			packets, err := p.devices[0].Create(ids)
			if err == nil {
				err = p.deliver(packets)
			}
			if err != nil {
				t.Fatalf("%s, %d members: %v", d.Name, n, err)
			}
			for _, by := range []int{0, n - 1, 0} {
				text := []byte{'t', byte(by)}
				packets, err := p.devices[by].Send(text)
				if err == nil {
					err = p.deliver(packets)
				}
				if err != nil {
					t.Fatalf("%s, %d members: %v", d.Name, n, err)
				}
				for id := range n {
					if got := p.shown[ID(id)]; id != by && !bytes.Equal(got[len(got)-1], text) {
						t.Errorf("%s, %d members: member %d was not shown the text", d.Name, n, id)
					}
				}
			}
		}
	}
}

// TestGarbage gives every device packets that are none. They are refused.
func TestGarbage(t *testing.T) {
	for _, d := range All() {
		p := newParty(t, d, 3)
		packets, err := p.devices[0].Create([]ID{0, 1, 2})
		if err == nil {
			err = p.deliver(packets)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []Kind{Handshake, Message} {
			for _, body := range [][]byte{nil, {}, {0}, {0xff, 0xff}, bytes.Repeat([]byte{1, 0}, 40), pack(nil, nil), pack(pack(num(0), nil, nil, nil), nil)} {
				if e, err := p.devices[1].Receive(Packet{0, []ID{1}, kind, body}); err == nil && e.Text != nil {
					t.Errorf("%s: %x was shown as %q", d.Name, body, e.Text)
				}
			}
		}
	}
}

// TestRatchetOutOfOrder reads a session's messages in another order, and each once.
func TestRatchetOutOfOrder(t *testing.T) {
	p := newParty(t, signalDesign(), 2)
	packets, err := p.devices[0].Create([]ID{0, 1})
	if err == nil {
		err = p.deliver(packets)
	}
	if err != nil {
		t.Fatal(err)
	}
	var sent []Packet
	for i := range 4 {
		out, err := p.devices[0].Send([]byte{'m', byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, out...)
	}
	for _, i := range []int{2, 0, 3, 1} {
		e, err := p.devices[1].Receive(sent[i])
		if err != nil || e.Text[1] != byte(i) {
			t.Errorf("message %d: %v", i, err)
		}
		if gap := i == 2; gap != (e.Notice != "") {
			t.Errorf("message %d: notice %q", i, e.Notice)
		}
	}
	for i := range sent {
		if _, err := p.devices[1].Receive(sent[i]); !errors.Is(err, ErrReplayed) {
			t.Errorf("message %d again: %v, want %v", i, err, ErrReplayed)
		}
	}
}
