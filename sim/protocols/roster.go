package protocols

import "slices"

// roster is the group management of designs 2 to 5: whoever changes the
// membership says so to everybody in a signed packet, which carries the design's
// new keys for the recipient, if there are any. Anybody may do it, and the last
// word is right: these designs have no epochs.
type roster struct {
	base
	// keys makes new keys for a membership and returns them in the form that
	// each member is given, nil if the design has none or keeps them.
	keys func(join, leave bool) ([]byte, error)
	// install takes in what keys returned.
	install func([]byte) error
}

const (
	labelControl = "Control"
	labelText    = "Text"
	labelKeys    = "Keys"
)

func (d *roster) Create(members []ID) ([]Packet, error) {
	d.setMembers(members)
	return d.change(true, true, nil)
}

func (d *roster) Add(who ID) ([]Packet, error) {
	d.setMembers(d.with(who))
	return d.change(true, false, []ID{who})
}

func (d *roster) Remove(who ID) ([]Packet, error) {
	gone := []ID{who}
	d.setMembers(d.without(who))
	return d.change(false, true, gone)
}

// change announces the membership as it is now. Without keys the announcement
// is the same for all; with keys each gets its own.
func (d *roster) change(join, leave bool, who []ID) ([]Packet, error) {
	var keys []byte
	if d.keys != nil {
		var err error
		if keys, err = d.keys(join, leave); err != nil {
			return nil, err
		}
	}
	if keys == nil {
		p, err := d.control(d.others(), idList(d.members), nil)
		return []Packet{p}, err
	}
	if err := d.install(keys); err != nil {
		return nil, err
	}
	var out []Packet
	for _, id := range d.others() {
		sealed, err := d.sealTo(id, labelKeys, keys)
		if err != nil {
			return nil, err
		}
		// A newcomer needs the list of members; the others are told who came
		// or went.
		list, delta := idList(who), true
		if join && (len(who) == 0 || slices.Contains(who, id)) {
			list, delta = idList(d.members), false
		}
		what := []byte("set")
		if delta {
			what = []byte("leave")
			if join {
				what = []byte("join")
			}
		}
		p, err := d.control([]ID{id}, list, sealed, what...)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (d *roster) control(to []ID, list, keys []byte, what ...byte) (Packet, error) {
	if what == nil {
		what = []byte("set")
	}
	content := pack(num(int(d.id)), what, list, keys)
	signature, err := d.sign(labelControl, content)
	if err != nil {
		return Packet{}, err
	}
	return Packet{d.id, to, Handshake, pack(content, signature)}, nil
}

// takeControl takes in a control packet.
func (d *roster) takeControl(p Packet) error {
	f, err := d.signed(labelControl, p, 4)
	if err != nil {
		return err
	}
	if len(f[3]) > 0 {
		keys, err := d.open(d.kem, labelKeys, f[3])
		if err != nil {
			return err
		}
		if err := d.install(keys); err != nil {
			return err
		}
	}
	ids := toIDs(f[2])
	switch string(f[1]) {
	case "set":
		d.setMembers(ids)
	case "join":
		d.setMembers(append(slices.Clone(d.members), ids...))
	case "leave":
		for _, id := range ids {
			d.setMembers(d.without(id))
		}
	}
	return nil
}

// signed checks a packet of content and signature, and returns the content's n
// fields, the first of which says who signed.
func (d *base) signed(label string, p Packet, n int) ([][]byte, error) {
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return nil, err
	}
	f, err := unpack(outer[0], n)
	if err != nil {
		return nil, err
	}
	return f, d.verify(ID(toNum(f[0])), label, outer[0], outer[1])
}

// signedBy makes a packet of content and signature that says it is from a user,
// who is somebody else in a forgery.
func (d *base) signedBy(as ID, label string, to []ID, kind Kind, fields ...[]byte) (Packet, error) {
	content := pack(append([][]byte{num(int(as))}, fields...)...)
	signature, err := d.sign(label, content)
	return Packet{as, to, kind, pack(content, signature)}, err
}
