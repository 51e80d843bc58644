package protocols

import (
	"bytes"
	"crypto/ecdh"
	"maps"
	"math/bits"
)

// art is design 9: Asynchronous Ratcheting Trees (Cohn-Gordon, Cremers, Garratt,
// Millican, Milner, CCS 2018). Members are leaves of a tree of Diffie-Hellman keys:
// the private key of a parent is the secret that its children's keys agree on, so
// whoever has one child's private key and the other's public key has it. A member
// that changes its leaf sends the public keys of its path. Each stage's key is
// mixed with the one before. Messages are encrypted in a hash ratchet per sender.
//
// Simplified: the paper defines no change of membership, so it is a new set-up by
// whoever makes it; messages are authenticated by the stage key alone, which all
// members have, as the paper leaves their protection open.
type art struct {
	base
	keys   *x3dh
	order  []ID
	leaf   *ecdh.PrivateKey
	public map[span][]byte
	stage  []byte
	number int
	chains map[ID]*senderChain
}

// span is a node of the tree: the leaves from lo to before hi.
type span struct{ lo, hi int }

func (s span) leaf() bool { return s.hi-s.lo == 1 }

// children splits off the largest complete tree that is not all.
func (s span) children() (left, right span) {
	mid := s.lo + 1<<(bits.Len(uint(s.hi-s.lo-1))-1)
	return span{s.lo, mid}, span{mid, s.hi}
}

func artDesign() Design {
	return Design{
		Number: 9, Name: "art", Title: "Asynchronous Ratcheting Trees",
		Simplified: "joins and leaves are a new set-up by their initiator; messages carry no signature",
		New: func(env *Env, id ID) (Device, error) {
			b, err := newBase(env, id)
			if err != nil {
				return nil, err
			}
			d := &art{base: b}
			keys, public, err := d.newX3DH()
			d.keys = keys
			d.publish(public)
			return d, err
		},
	}
}

func (d *art) StateSize() int { return sizeOf(d) }

// private turns a shared secret into a node's private key.
func (d *art) private(secret []byte) (*ecdh.PrivateKey, error) {
	d.meter.PublicKey++
	return ecdh.X25519().NewPrivateKey(d.derive(secret, nil, "node"))
}

func (d *art) Create(members []ID) ([]Packet, error) { return d.setUp(members) }
func (d *art) Add(who ID) ([]Packet, error)          { return d.setUp(d.with(who)) }

func (d *art) Remove(who ID) ([]Packet, error) {
	if d.env.Flaw == KeepOnLeave {
		d.setMembers(d.without(who)) // who is told nothing more, and keeps the key
		return nil, nil
	}
	return d.setUp(d.without(who))
}

// setUp makes a tree for the members: a leaf key of each from its prekey and a
// set-up key, and all nodes from these.
func (d *art) setUp(members []ID) ([]Packet, error) {
	d.setMembers(members)
	setup, err := d.newDH()
	if err != nil {
		return nil, err
	}
	keys := make([]*ecdh.PrivateKey, len(d.members))
	var taken []byte // the one-time keys that were used
	for i, id := range d.members {
		if id == d.id {
			if keys[i], err = d.newDH(); err != nil {
				return nil, err
			}
			d.leaf = keys[i]
			continue
		}
		_, signed, err := d.prekeys(id)
		if err != nil {
			return nil, err
		}
		once := d.env.Directory.Take(d.id, id)
		d.meter.Fetched += len(once)
		taken = append(taken, once...)
		secret, err := d.agree([]dhStep{{setup, signed}, {setup, once}})
		if err != nil {
			return nil, err
		}
		if keys[i], err = d.private(secret); err != nil {
			return nil, err
		}
	}
	d.order, d.public, d.number = d.members, map[span][]byte{}, 0
	root, err := d.build(span{0, len(keys)}, keys)
	if err != nil {
		return nil, err
	}
	var nodes []byte
	d.walk(span{0, len(keys)}, func(s span) { nodes = append(nodes, d.public[s]...) })
	d.begin(nil, root)
	p, err := d.signedBy(d.id, "Tree", d.others(), Handshake, []byte("set"), idList(d.order), setup.PublicKey().Bytes(), nodes, taken)
	return []Packet{p}, err
}

// build computes a subtree from its leaf keys, and returns its private key.
func (d *art) build(s span, leaves []*ecdh.PrivateKey) (*ecdh.PrivateKey, error) {
	if s.leaf() {
		d.public[s] = leaves[s.lo].PublicKey().Bytes()
		return leaves[s.lo], nil
	}
	l, r := s.children()
	left, err := d.build(l, leaves)
	if err != nil {
		return nil, err
	}
	if _, err := d.build(r, leaves); err != nil {
		return nil, err
	}
	secret, err := d.dh(left, d.public[r])
	if err != nil {
		return nil, err
	}
	key, err := d.private(secret)
	if err != nil {
		return nil, err
	}
	d.public[s] = key.PublicKey().Bytes()
	return key, nil
}

// walk visits the nodes of the tree, parents last.
func (d *art) walk(s span, visit func(span)) {
	if !s.leaf() {
		l, r := s.children()
		d.walk(l, visit)
		d.walk(r, visit)
	}
	visit(s)
}

// path lists the nodes from the root to a leaf.
func (d *art) path(i int) []span {
	s := span{0, len(d.order)}
	out := []span{s}
	for !s.leaf() {
		l, r := s.children()
		if s = l; i >= r.lo {
			s = r
		}
		out = append(out, s)
	}
	return out
}

func (d *art) position(id ID) int {
	for i, x := range d.order {
		if x == id {
			return i
		}
	}
	return -1
}

// climb computes the private key of the root from that of a leaf, and sets the
// public keys of the path in nodes if it isn't nil.
func (d *art) climb(public map[span][]byte, i int, key *ecdh.PrivateKey, set map[span][]byte) (*ecdh.PrivateKey, error) {
	path := d.path(i)
	for k := len(path) - 1; k >= 0; k-- {
		if set != nil {
			set[path[k]] = key.PublicKey().Bytes()
		}
		if k == 0 {
			break
		}
		sibling, r := path[k-1].children()
		if sibling == path[k] {
			sibling = r
		}
		secret, err := d.dh(key, public[sibling])
		if err != nil {
			return nil, err
		}
		if key, err = d.private(secret); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// begin starts a stage with a new root key.
func (d *art) begin(before []byte, root *ecdh.PrivateKey) {
	d.stage = d.derive(root.Bytes(), before, "stage")
	d.number++
	d.chains = map[ID]*senderChain{}
}

// Update changes the own leaf.
func (d *art) Update() ([]Packet, error) {
	i := d.position(d.id)
	if i < 0 {
		return nil, ErrNoKey
	}
	leaf := d.leaf
	if d.env.Flaw != IdleUpdate {
		var err error
		if leaf, err = d.newDH(); err != nil {
			return nil, err
		}
	}
	set := map[span][]byte{}
	root, err := d.climb(d.public, i, leaf, set)
	if err != nil {
		return nil, err
	}
	var nodes []byte
	for _, s := range d.path(i) {
		nodes = append(nodes, set[s]...)
		d.public[s] = set[s]
	}
	tag := d.mac(d.stage, num(d.number), num(int(d.id)), nodes)
	d.leaf = leaf
	d.begin(d.stage, root)
	return []Packet{{d.id, d.others(), Handshake, pack(pack(num(int(d.id)), []byte("path"), nodes), tag)}}, nil
}

func (d *art) Receive(p Packet) (Event, error) {
	if p.Kind == Message {
		return d.read(p)
	}
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return Event{}, err
	}
	f, err := unpack(outer[0], -1)
	switch {
	case err == nil && len(f) == 6:
		return Event{}, d.takeTree(p)
	case err == nil && len(f) == 3:
		return Event{}, d.takePath(f, outer[1])
	}
	return Event{}, ErrRefused
}

func (d *art) takeTree(p Packet) error {
	f, err := d.signed("Tree", p, 6)
	if err != nil {
		return err
	}
	order := toIDs(f[2])
	if len(f[4]) != 32*(2*len(order)-1) || len(order) == 0 {
		return ErrRefused
	}
	next := &art{base: d.base, order: order, public: map[span][]byte{}}
	at := 0
	next.walk(span{0, len(order)}, func(s span) {
		next.public[s] = f[4][at : at+32]
		at += 32
	})
	i := next.position(d.id)
	if i < 0 {
		return ErrRefused
	}
	// The initiator has no one-time key in the list: it has its own leaf.
	at = i
	if from := next.position(ID(toNum(f[0]))); from < i {
		at--
	}
	if len(f[5]) != 32*(len(order)-1) {
		return ErrRefused
	}
	name := string(f[5][32*at : 32*at+32])
	once := d.keys.once[name]
	if once == nil {
		return ErrReplayed
	}
	secret, err := next.agree([]dhStep{{d.keys.signed, f[3]}, {once, f[3]}})
	if err != nil {
		return err
	}
	leaf, err := next.private(secret)
	if err != nil {
		return err
	}
	root, err := next.climb(next.public, i, leaf, nil)
	if err != nil {
		return err
	}
	if !bytes.Equal(root.PublicKey().Bytes(), next.public[span{0, len(order)}]) {
		return ErrRefused
	}
	d.meter = next.meter // it began as a copy
	if d.env.Flaw != KeepKeys {
		delete(d.keys.once, name)
	}
	d.setMembers(order)
	d.order, d.public, d.leaf, d.number = order, next.public, leaf, 0
	d.begin(nil, root)
	return nil
}

func (d *art) takePath(f [][]byte, tag []byte) error {
	from := ID(toNum(f[0]))
	i := d.position(from)
	if i < 0 || d.stage == nil {
		return ErrRefused
	}
	path := d.path(i)
	if !bytes.Equal(tag, d.mac(d.stage, num(d.number), f[0], f[2])) || len(f[2]) != 32*len(path) {
		return ErrRefused
	}
	public := make(map[span][]byte, len(d.public))
	for s, k := range d.public {
		public[s] = k
	}
	for k, s := range path {
		public[s] = f[2][32*k : 32*k+32]
	}
	// Of an own path, which only an adversary with a copy of the device takes in,
	// this gives the root if the leaf is still the same.
	root, err := d.climb(public, d.position(d.id), d.leaf, nil)
	if err != nil {
		return err
	}
	if !bytes.Equal(root.PublicKey().Bytes(), public[path[0]]) {
		return ErrRefused
	}
	d.public = public
	d.begin(d.stage, root)
	return nil
}

// chain returns a sender's hash ratchet of the stage.
func (d *art) chain(id ID) *senderChain {
	if c := d.chains[id]; c != nil {
		return c
	}
	return &senderChain{chain: d.derive(d.stage, num(int(id)), "sender")}
}

func (d *art) Send(text []byte) ([]Packet, error) {
	p, after, err := d.sendAs(d.id, text)
	if err == nil {
		d.chains[d.id] = after
	}
	return p, err
}

// Forge uses the victim's ratchet, which every member has.
func (d *art) Forge(as ID, text []byte) ([]Packet, error) {
	p, _, err := d.sendAs(as, text)
	return p, err
}

func (d *art) sendAs(as ID, text []byte) ([]Packet, *senderChain, error) {
	if d.stage == nil {
		return nil, nil, ErrNoKey
	}
	c := d.chain(as)
	n := c.next
	key, after, _, err := c.key(&d.base, n)
	if err != nil {
		return nil, nil, err
	}
	header := pack(num(d.number), num(int(as)), num(n))
	return []Packet{{as, d.others(), Message, pack(header, d.encrypt(key, header, text))}}, after, nil
}

func (d *art) read(p Packet) (Event, error) {
	f, err := unpack(p.Body, 2)
	if err != nil {
		return Event{}, err
	}
	h, err := unpack(f[0], 3)
	if err != nil {
		return Event{}, err
	}
	from := ID(toNum(h[1]))
	if d.stage == nil || d.position(from) < 0 {
		return Event{}, ErrNoKey
	}
	key, after, missing, err := d.chain(from).key(&d.base, toNum(h[2]))
	if err != nil {
		return Event{}, err
	}
	text, err := d.decrypt(key, f[0], f[1])
	if err != nil {
		return Event{}, err
	}
	d.chains[from] = after
	return Event{Text: text, From: from, Notice: missed(missing)}, nil
}

func (d *art) Seize() (Adversary, error) {
	copied := *d
	keys := *d.keys
	keys.once = maps.Clone(d.keys.once)
	copied.keys = &keys
	copied.chains = map[ID]*senderChain{}
	for id, c := range d.chains {
		copied.chains[id] = c
	}
	return &artAdversary{device: &copied}, nil
}

// artAdversary follows the group with a copy of the device, and tries its prekeys
// on every set-up.
type artAdversary struct{ device *art }

func (a *artAdversary) Try(p Packet) [][]byte {
	d := a.device
	if p.Kind == Handshake {
		_, err := d.Receive(p)
		_ = err // what can't be followed is skipped
		return nil
	}
	if e, err := d.Receive(p); err == nil {
		return [][]byte{e.Text}
	}
	return nil
}
