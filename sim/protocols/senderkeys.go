package protocols

import (
	"bytes"
	"maps"

	"github.com/treekem/mls"
)

// senderKeys is design 8: each sender has a hash ratchet and a signature key for
// the group, which it hands to each member through a pairwise channel, and then
// sends each message once (WhatsApp; Megolm is a cousin). When somebody leaves,
// all throw their sender keys away; when somebody joins, senders hand the newcomer
// their chains as they are by then.
type senderKeys struct {
	channels
	own    *senderChain
	signer *mls.SignaturePrivateKey
	shared map[ID]bool
	theirs map[ID]*senderChain
}

// senderChain is one sender's ratchet at some position.
type senderChain struct {
	chain   []byte
	next    int
	public  mls.SignaturePublicKey
	skipped map[int][]byte
	kept    map[int][]byte
}

func senderKeysDesign() Design {
	return Design{
		Number: 8, Name: "senderkeys", Title: "Sender Keys over pairwise channels (WhatsApp)",
		Simplified: "as pairwise; new sender keys are handed out just before the next message",
		New: func(env *Env, id ID) (Device, error) {
			c, err := newChannels(env, id)
			if err != nil {
				return nil, err
			}
			d := &senderKeys{channels: c, theirs: map[ID]*senderChain{}}
			return d, d.start()
		},
	}
}

func (d *senderKeys) StateSize() int { return sizeOf(d) }

func (d *senderKeys) Remove(who ID) ([]Packet, error) {
	out, err := d.channels.Remove(who)
	d.forget()
	return out, err
}

// forget drops the own sender key, so that the next message has a new one.
func (d *senderKeys) forget() {
	if d.env.Flaw != KeepOnLeave {
		d.own = nil
	}
}

// Update replaces the own sender key at once.
func (d *senderKeys) Update() ([]Packet, error) {
	if d.env.Flaw != IdleUpdate {
		d.own = nil
	}
	return d.handOut()
}

// handOut gives the own sender key to those who lack it.
func (d *senderKeys) handOut() ([]Packet, error) {
	if d.own == nil {
		signer, err := d.env.Suite.GenerateSigner()
		if err != nil {
			return nil, err
		}
		d.meter.PublicKey++
		d.signer, d.shared = signer, map[ID]bool{}
		d.own = &senderChain{chain: random(keySize), public: signer.Public()}
	}
	var to []ID
	for _, id := range d.others() {
		if !d.shared[id] {
			to = append(to, id)
			d.shared[id] = true
		}
	}
	return d.each(to, Handshake, pack([]byte("sender key"), d.own.chain, num(d.own.next), d.own.public))
}

func (d *senderKeys) Send(text []byte) ([]Packet, error) {
	out, err := d.handOut()
	if err != nil {
		return nil, err
	}
	n := d.own.next
	key, after := d.base.next(d.own.chain)
	d.own.chain, d.own.next = after, n+1
	p, err := d.message(d.id, n, d.encrypt(key, num(n), text))
	return append(out, p), err
}

func (d *senderKeys) message(as ID, n int, ciphertext []byte) (Packet, error) {
	content := pack(num(int(as)), num(n), ciphertext)
	d.meter.PublicKey++
	signature, err := d.env.Suite.SignWithLabel(d.signer, labelText, content)
	return Packet{as, d.others(), Message, pack(content, signature)}, err
}

// Forge uses the victim's chain, which every member has, and the own signature.
func (d *senderKeys) Forge(as ID, text []byte) ([]Packet, error) {
	chain := d.theirs[as]
	if chain == nil {
		return nil, ErrNoKey
	}
	if _, err := d.handOut(); err != nil {
		return nil, err
	}
	key, _ := d.base.next(chain.chain)
	p, err := d.message(as, chain.next, d.encrypt(key, num(chain.next), text))
	return []Packet{p}, err
}

func (d *senderKeys) Receive(p Packet) (Event, error) {
	if p.Kind == Message {
		return d.read(p)
	}
	payload, missing, err := d.from(p.From, p.Body)
	if err != nil {
		return Event{}, err
	}
	f, err := unpack(payload, -1)
	if err != nil {
		return Event{}, err
	}
	switch {
	case d.membership(f):
		if string(f[0]) == "leave" {
			d.forget()
		}
	case len(f) == 4 && string(f[0]) == "sender key":
		d.theirs[p.From] = &senderChain{chain: f[1], next: toNum(f[2]), public: f[3]}
	default:
		return Event{}, ErrRefused
	}
	return Event{Notice: missed(missing)}, nil
}

func (d *senderKeys) read(p Packet) (Event, error) {
	f, from, err := parseSenderMessage(p)
	if err != nil {
		return Event{}, err
	}
	chain := d.theirs[from]
	if chain == nil || !d.isMember(from) {
		return Event{}, ErrNoKey
	}
	if d.env.Flaw != SkipSignatures {
		d.meter.PublicKey++
		outer, _ := unpack(p.Body, 2)
		if d.env.Suite.VerifyWithLabel(chain.public, labelText, outer[0], outer[1]) != nil {
			return Event{}, ErrRefused
		}
	}
	n := toNum(f[1])
	key, after, missing, err := chain.key(&d.base, n)
	if err != nil {
		return Event{}, err
	}
	text, err := d.decrypt(key, f[1], f[2])
	if err != nil {
		return Event{}, err
	}
	if d.env.Flaw == KeepKeys {
		after.kept[n] = key
	}
	d.theirs[from] = after
	return Event{Text: text, From: from, Notice: missed(missing)}, nil
}

func parseSenderMessage(p Packet) (f [][]byte, from ID, err error) {
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return nil, 0, err
	}
	if f, err = unpack(outer[0], 3); err != nil {
		return nil, 0, err
	}
	return f, ID(toNum(f[0])), nil
}

// key returns the key of message n and the chain after its use.
func (c *senderChain) key(b *base, n int) (key []byte, after *senderChain, missing int, err error) {
	after = &senderChain{chain: c.chain, next: c.next, public: c.public, skipped: maps.Clone(c.skipped), kept: maps.Clone(c.kept)}
	if after.skipped == nil {
		after.skipped, after.kept = map[int][]byte{}, map[int][]byte{}
	}
	if n < c.next {
		key, ok := after.skipped[n]
		delete(after.skipped, n)
		if !ok {
			if key, ok = c.kept[n]; !ok {
				return nil, nil, 0, ErrReplayed
			}
		}
		return key, after, 0, nil
	}
	if n-c.next > maxSkip {
		return nil, nil, 0, ErrRefused
	}
	for ; after.next <= n; after.next++ {
		key, after.chain = b.next(after.chain)
		if after.next < n {
			after.skipped[after.next] = key
			missing++
		}
	}
	return key, after, missing, nil
}

func (d *senderKeys) Seize() (Adversary, error) {
	a := &senderKeysAdversary{channelAdversary: seizeChannels(&d.channels), chains: map[ID][]*senderChain{}}
	for id, c := range d.theirs {
		a.chains[id] = append(a.chains[id], c)
	}
	if d.own != nil {
		a.chains[d.id] = append(a.chains[d.id], d.own)
	}
	return a, nil
}

// senderKeysAdversary has chains, which it runs forward, and the channels by
// which new ones come.
type senderKeysAdversary struct {
	channelAdversary
	chains map[ID][]*senderChain
}

func (a *senderKeysAdversary) Try(p Packet) [][]byte {
	if p.Kind == Handshake {
		f, err := unpack(a.try(p.From, p.Body), -1)
		if err == nil && len(f) == 4 && bytes.HasPrefix(f[0], []byte("sender")) {
			a.chains[p.From] = append(a.chains[p.From], &senderChain{chain: f[1], next: toNum(f[2]), public: f[3]})
		}
		return nil
	}
	f, from, err := parseSenderMessage(p)
	if err != nil {
		return nil
	}
	for _, c := range a.chains[from] {
		key, _, _, err := c.key(&a.copy.base, toNum(f[1]))
		if err != nil {
			continue
		}
		if text, err := decryptWith(key, f[1], f[2]); err == nil {
			return [][]byte{text}
		}
	}
	return nil
}
