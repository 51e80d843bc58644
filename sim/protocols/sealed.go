package protocols

import "github.com/treekem/mls"

// sealed is design 2: each message is sealed to the public key of each member,
// and signed. There are no group keys, so nothing is renewed; long-term keys
// open everything that was ever sent to them.
type sealed struct{ roster }

func sealedDesign() Design {
	return Design{
		Number: 2, Name: "sealed", Title: "Public-key encryption to each member, signed",
		Simplified: "no counters, as in mail; who belongs to the group is announced in signed packets",
		New: func(env *Env, id ID) (Device, error) {
			b, err := newBase(env, id)
			d := &sealed{roster{base: b}}
			d.publish(nil)
			return d, err
		},
	}
}

func (d *sealed) StateSize() int { return sizeOf(d) }

func (d *sealed) Send(text []byte) ([]Packet, error) { return d.sendAs(d.id, text) }

func (d *sealed) Forge(as ID, text []byte) ([]Packet, error) { return d.sendAs(as, text) }

func (d *sealed) sendAs(as ID, text []byte) ([]Packet, error) {
	var out []Packet
	for _, id := range d.others() {
		ct, err := d.sealTo(id, labelText, text)
		if err != nil {
			return nil, err
		}
		p, err := d.signedBy(as, labelText, []ID{id}, Message, num(int(id)), ct)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (d *sealed) Receive(p Packet) (Event, error) {
	if p.Kind == Handshake {
		return Event{}, d.takeControl(p)
	}
	f, err := d.signed(labelText, p, 3)
	if err != nil {
		return Event{}, err
	}
	from := ID(toNum(f[0]))
	if ID(toNum(f[1])) != d.id || !d.isMember(from) {
		return Event{}, ErrRefused
	}
	text, err := d.open(d.kem, labelText, f[2])
	return Event{Text: text, From: from}, err
}

func (d *sealed) Seize() (Adversary, error) {
	return &sealedAdversary{d.env.Suite, d.kem}, nil
}

// sealedAdversary has a long-term private key.
type sealedAdversary struct {
	suite *mls.Suite
	key   *mls.HPKEPrivateKey
}

func (a *sealedAdversary) Try(p Packet) [][]byte {
	outer, err := unpack(p.Body, 2)
	if err != nil || p.Kind != Message {
		return nil
	}
	f, err := unpack(outer[0], 3)
	if err != nil {
		return nil
	}
	if text, err := openWith(a.suite, a.key, labelText, f[2]); err == nil {
		return [][]byte{text}
	}
	return nil
}
