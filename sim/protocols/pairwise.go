package protocols

import (
	"fmt"
	"maps"
	"slices"
)

// channels are double ratchet sessions with any number of users.
type channels struct {
	base
	keys     *x3dh
	sessions map[ID]*ratchet
}

func newChannels(env *Env, id ID) (channels, error) {
	signer, err := env.Suite.GenerateSigner()
	c := channels{base: base{id: id, env: env, sig: signer, known: map[ID]contact{}}, sessions: map[ID]*ratchet{}}
	c.meter.PublicKey++
	return c, err
}

// start makes and publishes the keys; the receiver must not move afterwards.
func (c *channels) start() error {
	keys, public, err := c.newX3DH()
	if err != nil {
		return err
	}
	c.keys = keys
	c.publish(public)
	return nil
}

// to encrypts for one user, in a session that is begun if there is none.
func (c *channels) to(id ID, payload []byte) ([]byte, error) {
	s := c.sessions[id]
	if s == nil {
		var err error
		if s, err = c.openSession(c.keys, id); err != nil {
			return nil, err
		}
		c.sessions[id] = s
	}
	return c.encryptIn(s, payload), nil
}

// from decrypts what a user sent.
func (c *channels) from(id ID, message []byte) (payload []byte, missing int, err error) {
	s, once := c.sessions[id], ""
	if s == nil {
		if s, once, err = c.answerSession(c.keys, id, message); err != nil {
			return nil, 0, err
		}
	}
	payload, after, missing, err := c.decryptIn(s, message)
	if err != nil {
		return nil, 0, err
	}
	if c.env.Flaw != KeepKeys {
		delete(c.keys.once, once)
	}
	c.sessions[id] = after
	return payload, missing, nil
}

// announce tells each of some users about the membership, in its channel.
func (c *channels) announce(to []ID, what string, ids []ID) ([]Packet, error) {
	return c.each(to, Handshake, pack([]byte(what), idList(ids)))
}

// each sends the same payload to each of some users, in its channel.
func (c *channels) each(to []ID, kind Kind, payload []byte) ([]Packet, error) {
	var out []Packet
	for _, id := range to {
		body, err := c.to(id, payload)
		if err != nil {
			return nil, err
		}
		out = append(out, Packet{c.id, []ID{id}, kind, body})
	}
	return out, nil
}

func (c *channels) Create(members []ID) ([]Packet, error) {
	c.setMembers(members)
	return c.announce(c.others(), "set", c.members)
}

func (c *channels) Add(who ID) ([]Packet, error) {
	out, err := c.announce(c.others(), "join", []ID{who})
	if err != nil {
		return nil, err
	}
	c.setMembers(c.with(who))
	welcome, err := c.announce([]ID{who}, "set", c.members)
	return append(out, welcome...), err
}

func (c *channels) Remove(who ID) ([]Packet, error) {
	c.setMembers(c.without(who))
	return c.announce(c.others(), "leave", []ID{who})
}

// membership takes in an announcement; false if it is something else.
func (c *channels) membership(f [][]byte) bool {
	if len(f) != 2 {
		return false
	}
	switch ids := toIDs(f[1]); string(f[0]) {
	case "set":
		c.setMembers(ids)
	case "join":
		c.setMembers(append(slices.Clone(c.members), ids...))
	case "leave":
		for _, id := range ids {
			c.setMembers(c.without(id))
		}
	default:
		return false
	}
	return true
}

// missed is what the user is told about a gap.
func missed(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "a message before this one is missing"
	}
	return fmt.Sprintf("%d messages before this one are missing", n)
}

// pairwise is design 7: each message goes to each member in a channel of its
// own, with double ratchets between all pairs (Signal's groups as they once
// were). OMEMO's variant (XEP-0384) encrypts the text once, sends its key to each
// member in the channel, and everything to everybody.
type pairwise struct {
	channels
	omemo bool
}

func signalDesign() Design {
	return Design{
		Number: 7, Name: "pairwise", Title: "Pairwise double ratchets, one send per member (Signal)",
		Simplified: "Ed25519 beside X25519 identity keys instead of XEdDSA; headers in the clear; one device per user; a stock of one-time prekeys that never runs out",
		New:        func(env *Env, id ID) (Device, error) { return newPairwise(env, id, false) },
	}
}

func omemoDesign() Design {
	return Design{
		Number: 7, Name: "omemo", Title: "Pairwise double ratchets, one payload and a wrapped key per member (OMEMO)",
		Simplified: "as pairwise; everybody receives the whole stanza",
		New:        func(env *Env, id ID) (Device, error) { return newPairwise(env, id, true) },
	}
}

func newPairwise(env *Env, id ID, omemo bool) (Device, error) {
	c, err := newChannels(env, id)
	if err != nil {
		return nil, err
	}
	d := &pairwise{channels: c, omemo: omemo}
	return d, d.start()
}

func (d *pairwise) StateSize() int { return sizeOf(d) }

func (d *pairwise) Send(text []byte) ([]Packet, error) {
	if !d.omemo {
		return d.each(d.others(), Message, pack([]byte("text"), text, nil))
	}
	key := random(keySize)
	var keys [][]byte
	for _, id := range d.others() {
		wrapped, err := d.to(id, key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, num(int(id)), wrapped)
	}
	return []Packet{{d.id, d.others(), Message, pack(pack(keys...), d.encrypt(key, nil, text))}}, nil
}

// Forge sends what it can: its own channel's message under another name.
func (d *pairwise) Forge(as ID, text []byte) ([]Packet, error) {
	out, err := d.Send(text)
	for i := range out {
		out[i].From = as
	}
	return out, err
}

func (d *pairwise) Receive(p Packet) (Event, error) {
	if d.omemo && p.Kind == Message {
		return d.receiveStanza(p)
	}
	payload, missing, err := d.from(p.From, p.Body)
	if err != nil {
		return Event{}, err
	}
	f, err := unpack(payload, -1)
	if err != nil || d.membership(f) {
		return Event{Notice: missed(missing)}, err
	}
	if len(f) != 3 {
		return Event{}, ErrRefused
	}
	return Event{Text: f[1], From: p.From, Notice: missed(missing)}, nil
}

func (d *pairwise) receiveStanza(p Packet) (Event, error) {
	wrapped, content := stanza(p.Body, d.id)
	if wrapped == nil {
		return Event{}, ErrNoKey
	}
	before := maps.Clone(d.sessions)
	key, missing, err := d.from(p.From, wrapped)
	if err != nil {
		return Event{}, err
	}
	text, err := d.decrypt(key, nil, content)
	if err != nil {
		d.sessions = before
	}
	return Event{Text: text, From: p.From, Notice: missed(missing)}, err
}

// stanza returns a user's wrapped key and the payload.
func stanza(body []byte, id ID) (wrapped, content []byte) {
	f, err := unpack(body, 2)
	if err != nil {
		return nil, nil
	}
	keys, err := unpack(f[0], -1)
	if err != nil {
		return nil, nil
	}
	for i := 0; i+1 < len(keys); i += 2 {
		if ID(toNum(keys[i])) == id {
			return keys[i+1], f[1]
		}
	}
	return nil, nil
}

func (d *pairwise) Seize() (Adversary, error) {
	return &pairwiseAdversary{seizeChannels(&d.channels)}, nil
}

// channelAdversary goes on with a copy of a device's sessions.
type channelAdversary struct{ copy *channels }

func seizeChannels(c *channels) channelAdversary {
	copied := &channels{base: c.base, sessions: maps.Clone(c.sessions)}
	copied.known = maps.Clone(c.known)
	keys := *c.keys
	keys.once = maps.Clone(c.keys.once)
	copied.keys = &keys
	return channelAdversary{copied}
}

// try opens what was sent to the victim: as the next of a session, as the first
// of a session begun again with the long-term keys, and with each kept key.
func (a *channelAdversary) try(from ID, message []byte) []byte {
	c := a.copy
	if payload, _, err := c.from(from, message); err == nil {
		return payload
	}
	if s, _, err := c.answerSession(c.keys, from, message); err == nil {
		if payload, after, _, err := c.decryptIn(s, message); err == nil {
			if c.sessions[from] == nil {
				c.sessions[from] = after
			}
			return payload
		}
	}
	f, err := unpack(message, 3)
	if err != nil {
		return nil
	}
	for _, s := range c.sessions {
		for _, key := range s.kept {
			if payload, err := decryptWith(key, pack(s.ad, f[1]), f[2]); err == nil {
				return payload
			}
		}
	}
	return nil
}

type pairwiseAdversary struct{ channelAdversary }

func (a *pairwiseAdversary) Try(p Packet) [][]byte {
	if p.Kind == Handshake {
		a.try(p.From, p.Body)
		return nil
	}
	if !a.isStanza(p) {
		payload := a.try(p.From, p.Body)
		if f, err := unpack(payload, 3); err == nil {
			return [][]byte{f[1]}
		}
		return nil
	}
	var found [][]byte
	f, _ := unpack(p.Body, 2)
	keys, err := unpack(f[0], -1)
	if err != nil {
		return nil
	}
	for i := 1; i < len(keys); i += 2 {
		if key := a.try(p.From, keys[i]); key != nil {
			if text, err := decryptWith(key, nil, f[1]); err == nil {
				found = append(found, text)
			}
		}
	}
	return found
}

func (a *pairwiseAdversary) isStanza(p Packet) bool {
	f, err := unpack(p.Body, 2)
	return err == nil && len(f) == 2
}
