package protocols

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"slices"

	"github.com/treekem/mls"
)

// mpotr is design 6: an interactive authenticated group Diffie-Hellman, in the
// manner of multi-party off-the-record messaging (Goldberg, Ustaoglu, Van Gundy,
// Chen, CCS 2009) with the key agreement of Burmester and Desmedt (EUROCRYPT '94).
// All members send twice to agree on a session's key, and once more to confirm
// it; the key stays for the session, and a change of membership is a new
// session. Each member signs with a key made for the session. With the first
// packet of the next session members compare what they saw in the one before.
//
// Simplified: deniable authentication is replaced by signatures with the
// identity key over the session keys.
type mpotr struct {
	base
	session  []byte // identifier
	scalar   *big.Int
	once     *mls.SignaturePrivateKey
	points   map[ID]point // first round
	ratios   map[ID]point // second round
	signers  map[ID]mls.SignaturePublicKey
	confirms map[ID][]byte
	early    []Packet // of rounds that this device is not at yet
	key      []byte
	old      [][]byte // keys of earlier sessions, if the flaw has them kept
	seen     [32]byte // sum of the hashes of the session's messages
	before   [32]byte // of the session before
	had      bool     // there was a session before
}

// point is on P-256, whose addition the standard library offers; X25519 has none.
type point struct{ x, y *big.Int }

func mpotrDesign() Design {
	return Design{
		Number: 6, Name: "mpotr", Title: "mpOTR style: interactive group Diffie-Hellman (Burmester-Desmedt)",
		Simplified:  "P-256 instead of X25519, which lacks addition; signatures instead of deniable authentication",
		Interactive: true, MaxMembers: 200,
		New: func(env *Env, id ID) (Device, error) {
			b, err := newBase(env, id)
			d := &mpotr{base: b}
			d.publish(nil)
			return d, err
		},
	}
}

func (d *mpotr) StateSize() int {
	return sizeOf(d.base) + len(d.key) + len(d.session) + 32 + 32*len(d.signers)
}

func (d *mpotr) Create(members []ID) ([]Packet, error) { return d.invite(members, nil) }
func (d *mpotr) Add(who ID) ([]Packet, error)          { return d.invite(d.with(who), nil) }

func (d *mpotr) Remove(who ID) ([]Packet, error) {
	if d.env.Flaw == KeepOnLeave {
		d.setMembers(d.without(who))
		return nil, nil
	}
	return d.invite(d.without(who), []ID{who})
}

func (d *mpotr) invite(members, gone []ID) ([]Packet, error) {
	session := random(16)
	d.setMembers(members)
	p, err := d.signedBy(d.id, "Session", append(d.others(), gone...), Handshake, []byte("invite"), session, idList(d.members))
	if err != nil {
		return nil, err
	}
	first, err := d.enter(session, d.members)
	return append([]Packet{p}, first...), err
}

// enter begins a session and returns the packet of the first round.
func (d *mpotr) enter(session []byte, members []ID) ([]Packet, error) {
	if d.key != nil {
		if d.env.Flaw == KeepKeys {
			d.old = append(d.old, d.key)
		}
		d.before, d.had = d.seen, true
	}
	d.setMembers(members)
	d.session, d.key, d.seen = session, nil, [32]byte{}
	d.points, d.ratios = map[ID]point{}, map[ID]point{}
	d.signers, d.confirms, d.early = map[ID]mls.SignaturePublicKey{}, map[ID][]byte{}, nil
	if !d.isMember(d.id) {
		return nil, nil
	}
	var err error
	if d.once, err = d.env.Suite.GenerateSigner(); err != nil {
		return nil, err
	}
	//lint:ignore SA1019 crypto/ecdh has no points
	scalar, x, y, err := elliptic.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	d.meter.PublicKey += 2
	d.scalar = new(big.Int).SetBytes(scalar)
	d.points[d.id], d.signers[d.id] = point{x, y}, d.once.Public()
	digest := []byte{}
	if d.had && d.env.Flaw != SkipHistory {
		digest = d.before[:]
	}
	p, err := d.signedBy(d.id, "Session", d.others(), Handshake, []byte("first"), session, point{x, y}.bytes(), d.once.Public(), digest)
	return []Packet{p}, err
}

func (p point) bytes() []byte {
	//lint:ignore SA1019 crypto/ecdh has no points
	return elliptic.Marshal(elliptic.P256(), p.x, p.y)
}

func parsePoint(b []byte) (point, error) {
	//lint:ignore SA1019 crypto/ecdh has no points
	x, y := elliptic.Unmarshal(elliptic.P256(), b)
	if x == nil {
		return point{}, ErrRefused
	}
	return point{x, y}, nil
}

// add is the group operation. Equal and opposite points don't occur but by
// chance; the library treats both.
func (p point) add(q point) point {
	//lint:ignore SA1019 crypto/ecdh has no addition
	x, y := elliptic.P256().Add(p.x, p.y, q.x, q.y)
	return point{x, y}
}

func (p point) times(k *big.Int) point {
	//lint:ignore SA1019 crypto/ecdh has no points
	x, y := elliptic.P256().ScalarMult(p.x, p.y, k.Bytes())
	return point{x, y}
}

func (p point) minus(q point) point {
	return p.add(point{q.x, new(big.Int).Sub(elliptic.P256().Params().P, q.y)})
}

// neighbour returns the member k places to the right in the ring.
func (d *mpotr) neighbour(k int) ID {
	i, _ := slices.BinarySearch(d.members, d.id)
	n := len(d.members)
	return d.members[((i+k)%n+n)%n]
}

func (d *mpotr) Receive(p Packet) (Event, error) {
	if p.Kind == Message {
		return d.read(p)
	}
	var e Event
	at := d.round()
	if err := d.take(p, &e); err != nil {
		return Event{}, err
	}
	if d.round() == at {
		return e, nil
	}
	// What was early may be due now that a round is complete.
	for before := -1; before != d.round(); {
		before = d.round()
		waiting := d.early
		d.early = nil
		for _, q := range waiting {
			if err := d.take(q, &e); err != nil {
				return Event{}, err
			}
		}
	}
	return e, nil
}

// round is how far the device is in the agreement.
func (d *mpotr) round() int {
	switch {
	case d.key != nil:
		return 2
	case len(d.signers) == len(d.members):
		return 1
	}
	return 0
}

func (d *mpotr) take(p Packet, e *Event) error {
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return err
	}
	f, err := unpack(outer[0], -1)
	if err != nil || len(f) < 4 {
		return ErrRefused
	}
	from, what := ID(toNum(f[0])), string(f[1])
	if what != "invite" && !bytes.Equal(f[2], d.session) {
		d.early = append(d.early, p)
		return nil
	}
	if d.env.passive(d.id) && what != "invite" && (what != "first" || from != d.neighbour(1) && from != d.neighbour(-1)) {
		return nil
	}
	switch {
	case what == "invite":
		if err := d.verify(from, "Session", outer[0], outer[1]); err != nil {
			return err
		}
		e.Replies, err = d.enter(f[2], toIDs(f[3]))
		return err
	case what == "first" && len(f) == 6:
		return d.takeFirst(from, f, outer, e)
	case what == "second":
		return d.takeSecond(from, f, outer, p, e)
	case what == "confirm":
		return d.takeConfirm(from, f, p)
	}
	return ErrRefused
}

func (d *mpotr) takeFirst(from ID, f, outer [][]byte, e *Event) error {
	if err := d.verify(from, "Session", outer[0], outer[1]); err != nil {
		return err
	}
	z, err := parsePoint(f[3])
	if err != nil {
		return err
	}
	if d.had && d.env.Flaw != SkipHistory && len(f[5]) > 0 && !bytes.Equal(f[5], d.before[:]) {
		e.Notice = "another member saw other messages in the last session"
	}
	d.points[from], d.signers[from] = z, f[4]
	left, right := d.neighbour(-1), d.neighbour(1)
	_, haveLeft := d.points[left]
	_, haveRight := d.points[right]
	if _, done := d.ratios[d.id]; done || !haveLeft || !haveRight {
		return d.conclude(e)
	}
	d.meter.PublicKey++
	x := point{new(big.Int), new(big.Int)}
	if left != right {
		x = d.points[right].minus(d.points[left]).times(d.scalar)
	}
	d.ratios[d.id] = x
	p, err := d.bySession("second", x.bytesOrZero())
	if err != nil {
		return err
	}
	e.Replies = append(e.Replies, p)
	return d.conclude(e)
}

// bytesOrZero encodes the zero of the group, which two members have as ratio.
func (p point) bytesOrZero() []byte {
	if p.x.Sign() == 0 && p.y.Sign() == 0 {
		return []byte{0}
	}
	return p.bytes()
}

// bySession makes a packet signed with the session's key.
func (d *mpotr) bySession(what string, content []byte) (Packet, error) {
	body := pack(num(int(d.id)), []byte(what), d.session, content)
	d.meter.PublicKey++
	signature, err := d.env.Suite.SignWithLabel(d.once, "Session", body)
	return Packet{d.id, d.others(), Handshake, pack(body, signature)}, err
}

func (d *mpotr) verifySession(from ID, content, signature []byte) error {
	if d.env.Flaw == SkipSignatures {
		return nil
	}
	d.meter.PublicKey++
	if d.env.Suite.VerifyWithLabel(d.signers[from], "Session", content, signature) != nil {
		return ErrRefused
	}
	return nil
}

func (d *mpotr) takeSecond(from ID, f, outer [][]byte, p Packet, e *Event) error {
	if d.round() == 0 {
		d.early = append(d.early, p)
		return nil
	}
	if err := d.verifySession(from, outer[0], outer[1]); err != nil {
		return err
	}
	x := point{new(big.Int), new(big.Int)}
	if len(f[3]) != 1 {
		var err error
		if x, err = parsePoint(f[3]); err != nil {
			return err
		}
	}
	d.ratios[from] = x
	return d.conclude(e)
}

// conclude computes the key once all packets of both rounds are there:
// n·r·z(i-1) + (n-1)·X(i) + (n-2)·X(i+1) + …, by running sums.
func (d *mpotr) conclude(e *Event) error {
	n := len(d.members)
	if d.key != nil || len(d.points) < n || len(d.ratios) < n || d.env.passive(d.id) {
		return nil
	}
	d.meter.PublicKey++
	term := d.points[d.neighbour(-1)].times(d.scalar)
	sum := term
	for k := range n - 1 {
		term = term.add(d.ratios[d.neighbour(k)])
		sum = sum.add(term)
	}
	d.scalar = nil
	transcript := append([]byte{}, d.session...)
	for _, id := range d.members {
		transcript = append(transcript, d.points[id].bytes()...)
		transcript = append(transcript, d.signers[id]...)
	}
	d.key = d.derive(sum.x.FillBytes(make([]byte, 32)), transcript, "session")
	p, err := d.bySession("confirm", d.mac(d.key, []byte("confirm"), num(int(d.id))))
	if err != nil {
		return err
	}
	e.Replies = append(e.Replies, p)
	return nil
}

func (d *mpotr) takeConfirm(from ID, f [][]byte, p Packet) error {
	if d.key == nil {
		d.early = append(d.early, p)
		return nil
	}
	if !bytes.Equal(f[3], d.mac(d.key, []byte("confirm"), f[0])) {
		return ErrRefused
	}
	d.confirms[from] = f[3]
	return nil
}

func (d *mpotr) Send(text []byte) ([]Packet, error) {
	p, err := d.sendAs(d.id, text)
	if err == nil {
		d.note(p.Body)
	}
	return []Packet{p}, err
}

func (d *mpotr) Forge(as ID, text []byte) ([]Packet, error) {
	p, err := d.sendAs(as, text)
	return []Packet{p}, err
}

func (d *mpotr) sendAs(as ID, text []byte) (Packet, error) {
	if d.key == nil || len(d.confirms) < len(d.members)-1 && d.env.Passive == nil && d.env.Flaw != KeepOnLeave {
		return Packet{}, ErrNoKey
	}
	content := pack(num(int(as)), d.encrypt(d.key, num(int(as)), text))
	d.meter.PublicKey++
	signature, err := d.env.Suite.SignWithLabel(d.once, labelText, content)
	return Packet{as, d.others(), Message, pack(content, signature)}, err
}

// note adds a message to the digest of the session. The order doesn't count:
// messages may cross.
func (d *mpotr) note(body []byte) {
	sum := sha256.Sum256(body)
	for i := range sum {
		d.seen[i] += sum[i]
	}
}

func (d *mpotr) read(p Packet) (Event, error) {
	outer, err := unpack(p.Body, 2)
	if err != nil {
		return Event{}, err
	}
	f, err := unpack(outer[0], 2)
	if err != nil {
		return Event{}, err
	}
	from := ID(toNum(f[0]))
	if !d.isMember(from) || d.key == nil {
		return Event{}, ErrNoKey
	}
	if d.env.Flaw != SkipSignatures {
		d.meter.PublicKey++
		if d.env.Suite.VerifyWithLabel(d.signers[from], labelText, outer[0], outer[1]) != nil {
			return Event{}, ErrRefused
		}
	}
	text, err := d.decrypt(d.key, f[0], f[1])
	if err != nil {
		return Event{}, err
	}
	d.note(p.Body)
	return Event{Text: text, From: from}, nil
}

func (d *mpotr) Seize() (Adversary, error) {
	a := new(mpotrAdversary)
	a.add(d.key)
	for _, k := range d.old {
		a.add(k)
	}
	return a, nil
}

// mpotrAdversary has session keys. The scalars that made them are gone, and the
// identity key opens nothing.
type mpotrAdversary struct{ keyring }

func (a *mpotrAdversary) Try(p Packet) [][]byte {
	outer, err := unpack(p.Body, 2)
	if err != nil || p.Kind != Message {
		return nil
	}
	f, err := unpack(outer[0], 2)
	if err != nil {
		return nil
	}
	for _, k := range a.keys {
		if text, err := decryptWith(k, f[0], f[1]); err == nil {
			return [][]byte{text}
		}
	}
	return nil
}
