package protocols

import "github.com/treekem/mls"

// groupKey is design 3: one key pair for the group. Its public key is where
// messages are sealed to, its private key is sealed to each member, and it is
// made anew by whoever changes the membership. Messages are signed.
type groupKey struct {
	roster
	group *mls.HPKEPrivateKey
}

func groupKeyDesign() Design {
	return Design{
		Number: 3, Name: "groupkey", Title: "One group key pair, its private key sealed to each member",
		Simplified: "no counters; whoever changes the membership last decides the key",
		New: func(env *Env, id ID) (Device, error) {
			b, err := newBase(env, id)
			d := &groupKey{roster: roster{base: b}}
			d.roster.keys, d.roster.install = d.newKeys, d.installKeys
			d.publish(nil)
			return d, err
		},
	}
}

func (d *groupKey) StateSize() int { return sizeOf(d) }

func (d *groupKey) newKeys(join, leave bool) ([]byte, error) {
	key := d.group
	if !keep(d.env.Flaw, key != nil, join, leave) {
		var err error
		d.meter.PublicKey++
		if key, err = d.env.Suite.GenerateKeyPair(); err != nil {
			return nil, err
		}
	}
	return key.Secret().UnsafeBytes(), nil
}

// keep says whether a flaw has the old keys stay on a change.
func keep(f Flaw, have, join, leave bool) bool {
	return have && (f == KeepOnLeave && leave && !join || f == KeepOnJoin && join && !leave)
}

func (d *groupKey) installKeys(keys []byte) error {
	key, err := d.env.Suite.NewPrivateKey(mls.NewSecret(append([]byte(nil), keys...)))
	d.group = key
	return err
}

func (d *groupKey) Send(text []byte) ([]Packet, error) { return d.sendAs(d.id, text) }

func (d *groupKey) Forge(as ID, text []byte) ([]Packet, error) { return d.sendAs(as, text) }

func (d *groupKey) sendAs(as ID, text []byte) ([]Packet, error) {
	if d.group == nil {
		return nil, ErrNoKey
	}
	ct, err := d.seal(d.group.Public(), labelText, text)
	if err != nil {
		return nil, err
	}
	p, err := d.signedBy(as, labelText, d.others(), Message, ct)
	return []Packet{p}, err
}

func (d *groupKey) Receive(p Packet) (Event, error) {
	if p.Kind == Handshake {
		return Event{}, d.takeControl(p)
	}
	f, err := d.signed(labelText, p, 2)
	if err != nil {
		return Event{}, err
	}
	from := ID(toNum(f[0]))
	if !d.isMember(from) {
		return Event{}, ErrRefused
	}
	if d.group == nil {
		return Event{}, ErrNoKey
	}
	text, err := d.open(d.group, labelText, f[1])
	return Event{Text: text, From: from}, err
}

func (d *groupKey) Seize() (Adversary, error) {
	a := &groupKeyAdversary{suite: d.env.Suite, own: d.kem}
	if d.group != nil {
		a.keys = append(a.keys, d.group)
	}
	return a, nil
}

// groupKeyAdversary has a member's long-term key, which opens every group key
// that the member was ever sent.
type groupKeyAdversary struct {
	suite *mls.Suite
	own   *mls.HPKEPrivateKey
	keys  []*mls.HPKEPrivateKey
}

func (a *groupKeyAdversary) Try(p Packet) [][]byte {
	if p.Kind == Handshake {
		if key := openControl(a.suite, a.own, p); key != nil {
			if k, err := a.suite.NewPrivateKey(mls.NewSecret(key)); err == nil {
				a.keys = append(a.keys, k)
			}
		}
		return nil
	}
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return nil
	}
	f, err := unpack(outer[0], 2)
	if err != nil {
		return nil
	}
	for _, k := range a.keys {
		if text, err := openWith(a.suite, k, labelText, f[1]); err == nil {
			return [][]byte{text}
		}
	}
	return nil
}

// openControl opens the keys in a control packet, nil if they are not for own.
func openControl(s *mls.Suite, own *mls.HPKEPrivateKey, p Packet) []byte {
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return nil
	}
	f, err := unpack(outer[0], 4)
	if err != nil {
		return nil
	}
	keys, err := openWith(s, own, labelKeys, f[3])
	if err != nil {
		return nil
	}
	return keys
}
