package protocols

import "github.com/treekem/mls"

// pgp is design 5: each message is encrypted once under a fresh content key,
// which is sealed to each member, and the whole is signed (as OpenPGP does, RFC
// 9580). Everybody gets all the sealed keys.
type pgp struct{ roster }

const labelContentKey = "Content key"

func pgpDesign() Design {
	return Design{
		Number: 5, Name: "pgp", Title: "PGP style: a fresh content key per message, sealed to each member",
		Simplified: "HPKE and AES-GCM instead of OpenPGP's packets",
		New: func(env *Env, id ID) (Device, error) {
			b, err := newBase(env, id)
			d := &pgp{roster{base: b}}
			d.publish(nil)
			return d, err
		},
	}
}

func (d *pgp) StateSize() int { return sizeOf(d) }

func (d *pgp) Send(text []byte) ([]Packet, error) { return d.sendAs(d.id, text) }

func (d *pgp) Forge(as ID, text []byte) ([]Packet, error) { return d.sendAs(as, text) }

func (d *pgp) sendAs(as ID, text []byte) ([]Packet, error) {
	key := random(keySize)
	var keys [][]byte
	for _, id := range d.others() {
		ct, err := d.sealTo(id, labelContentKey, key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, num(int(id)), ct)
	}
	p, err := d.signedBy(as, labelText, d.others(), Message, pack(keys...), d.encrypt(key, nil, text))
	return []Packet{p}, err
}

func (d *pgp) Receive(p Packet) (Event, error) {
	if p.Kind == Handshake {
		return Event{}, d.takeControl(p)
	}
	f, err := d.signed(labelText, p, 3)
	if err != nil {
		return Event{}, err
	}
	from := ID(toNum(f[0]))
	if !d.isMember(from) {
		return Event{}, ErrRefused
	}
	keys, err := unpack(f[1], -1)
	if err != nil {
		return Event{}, err
	}
	for i := 0; i+1 < len(keys); i += 2 {
		if ID(toNum(keys[i])) != d.id {
			continue
		}
		key, err := d.open(d.kem, labelContentKey, keys[i+1])
		if err != nil {
			return Event{}, err
		}
		text, err := d.decrypt(key, nil, f[2])
		return Event{Text: text, From: from}, err
	}
	return Event{}, ErrNoKey
}

func (d *pgp) Seize() (Adversary, error) { return &pgpAdversary{d.env.Suite, d.kem}, nil }

type pgpAdversary struct {
	suite *mls.Suite
	key   *mls.HPKEPrivateKey
}

func (a *pgpAdversary) Try(p Packet) [][]byte {
	outer, err := unpack(p.Body, 2)
	if err != nil || p.Kind != Message {
		return nil
	}
	f, err := unpack(outer[0], 3)
	if err != nil {
		return nil
	}
	keys, err := unpack(f[1], -1)
	if err != nil {
		return nil
	}
	for i := 1; i < len(keys); i += 2 {
		key, err := openWith(a.suite, a.key, labelContentKey, keys[i])
		if err != nil {
			continue
		}
		if text, err := decryptWith(key, nil, f[2]); err == nil {
			return [][]byte{text}
		}
	}
	return nil
}
