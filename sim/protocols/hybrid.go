package protocols

import "github.com/treekem/mls"

// hybrid is design 4: one symmetric key for the group, sealed to each member
// and used for all messages until the membership changes. Messages are
// authenticated by that key alone, so any member can write as any other. The lax
// variant keeps the key when somebody joins.
type hybrid struct {
	roster
	lax bool
	key []byte
}

func hybridDesign() Design {
	return Design{
		Number: 4, Name: "hybrid", Title: "One shared symmetric key, sealed to each member, renewed on joins and leaves",
		Simplified: "no counters; messages carry no signature, as is usual where a shared key authenticates",
		New:        func(env *Env, id ID) (Device, error) { return newHybrid(env, id, false) },
	}
}

func hybridLaxDesign() Design {
	return Design{
		Number: 4, Name: "hybrid-lax", Title: "The same, with the key kept when somebody joins",
		Simplified: "as hybrid; the newcomer alone is sent the key",
		New:        func(env *Env, id ID) (Device, error) { return newHybrid(env, id, true) },
	}
}

func newHybrid(env *Env, id ID, lax bool) (Device, error) {
	b, err := newBase(env, id)
	d := &hybrid{roster: roster{base: b}, lax: lax}
	d.roster.keys, d.roster.install = d.newKeys, d.installKeys
	d.publish(nil)
	return d, err
}

func (d *hybrid) StateSize() int { return sizeOf(d) }

func (d *hybrid) newKeys(join, leave bool) ([]byte, error) {
	if keep(d.env.Flaw, d.key != nil, join, leave) {
		return d.key, nil
	}
	return random(keySize), nil
}

func (d *hybrid) installKeys(keys []byte) error {
	d.key = keys
	return nil
}

// Add of the lax variant sends the key to the newcomer and the news to the rest.
func (d *hybrid) Add(who ID) ([]Packet, error) {
	if !d.lax || d.key == nil {
		return d.roster.Add(who)
	}
	old := d.others()
	d.setMembers(d.with(who))
	sealed, err := d.sealTo(who, labelKeys, d.key)
	if err != nil {
		return nil, err
	}
	welcome, err := d.control([]ID{who}, idList(d.members), sealed)
	if err != nil {
		return nil, err
	}
	news, err := d.control(old, num(int(who)), nil, []byte("join")...)
	return []Packet{news, welcome}, err
}

func (d *hybrid) Send(text []byte) ([]Packet, error) { return d.sendAs(d.id, text) }

func (d *hybrid) Forge(as ID, text []byte) ([]Packet, error) { return d.sendAs(as, text) }

func (d *hybrid) sendAs(as ID, text []byte) ([]Packet, error) {
	if d.key == nil {
		return nil, ErrNoKey
	}
	from := num(int(as))
	return []Packet{{as, d.others(), Message, pack(from, d.encrypt(d.key, from, text))}}, nil
}

func (d *hybrid) Receive(p Packet) (Event, error) {
	if p.Kind == Handshake {
		return Event{}, d.takeControl(p)
	}
	f, err := unpack(p.Body, 2)
	if err != nil {
		return Event{}, err
	}
	from := ID(toNum(f[0]))
	if !d.isMember(from) {
		return Event{}, ErrRefused
	}
	text, err := d.decrypt(d.key, f[0], f[1])
	return Event{Text: text, From: from}, err
}

func (d *hybrid) Seize() (Adversary, error) {
	a := &hybridAdversary{suite: d.env.Suite, own: d.kem}
	a.ring.add(d.key)
	return a, nil
}

// hybridAdversary has a member's long-term key, which opens every shared key
// that the member was ever sent.
type hybridAdversary struct {
	suite *mls.Suite
	own   *mls.HPKEPrivateKey
	ring  keyring
}

func (a *hybridAdversary) Try(p Packet) [][]byte {
	if p.Kind == Handshake {
		a.ring.add(openControl(a.suite, a.own, p))
		return nil
	}
	f, err := unpack(p.Body, 2)
	if err != nil {
		return nil
	}
	for _, k := range a.ring.keys {
		if text, err := decryptWith(k, f[0], f[1]); err == nil {
			return [][]byte{text}
		}
	}
	return nil
}
