package protocols

import (
	"bytes"
	"crypto/ecdh"
	"fmt"
	"maps"
)

// maxSkip is how far one message may move a ratchet.
const maxSkip = 1000

// ratchet is one end of a double ratchet session (The Double Ratchet Algorithm,
// revision 1), with the header in the clear.
type ratchet struct {
	root, send, receive []byte // root key and chain keys
	own                 *ecdh.PrivateKey
	peer                []byte
	sent, received      int // in the current chains
	previous            int // sent in the chain before
	skipped             map[string][]byte
	ad                  []byte // identities of both ends, initiator first
	opening             []byte // what the responder needs for X3DH, until it answers
	kept                [][]byte
}

// step mixes a Diffie-Hellman output into the root and begins a chain.
func (b *base) step(root []byte, own *ecdh.PrivateKey, peer []byte) (newRoot, chain []byte, err error) {
	secret, err := b.dh(own, peer)
	if err != nil {
		return nil, nil, err
	}
	b.meter.Symmetric += 2
	return kdf(secret, root, "root"), kdf(secret, root, "chain"), nil
}

// next returns a message key and the chain key after it.
func (b *base) next(chain []byte) (key, after []byte) {
	b.meter.Symmetric += 2
	return kdf(chain, nil, "message"), kdf(chain, nil, "next")
}

// encryptIn encrypts in a session. The header is the ratchet key, the length of
// the chain before, and the number in this one.
func (b *base) encryptIn(r *ratchet, payload []byte) []byte {
	var key []byte
	key, r.send = b.next(r.send)
	if b.env.Flaw == KeepKeys {
		r.kept = append(r.kept, key)
	}
	header := pack(r.own.PublicKey().Bytes(), num(r.previous), num(r.sent))
	r.sent++
	return pack(r.opening, header, b.encrypt(key, pack(r.ad, header), payload))
}

// decryptIn decrypts in a session and returns the session after it, and how many
// messages before this one are missing. The session itself is not changed.
func (b *base) decryptIn(old *ratchet, message []byte) (payload []byte, r *ratchet, missing int, err error) {
	f, err := unpack(message, 3)
	if err != nil {
		return nil, nil, 0, err
	}
	h, err := unpack(f[1], 3)
	if err != nil {
		return nil, nil, 0, err
	}
	aad := pack(old.ad, f[1])
	r = new(ratchet)
	*r = *old
	r.skipped = maps.Clone(old.skipped)
	n, name := toNum(h[2]), fmt.Sprintf("%x/%d", h[0], toNum(h[2]))
	if key, ok := r.skipped[name]; ok {
		delete(r.skipped, name)
		payload, err = b.decrypt(key, aad, f[2])
		return payload, r, 0, err
	}
	if !bytes.Equal(h[0], r.peer) || r.receive == nil {
		if missing, err = b.turn(r, h[0], toNum(h[1])); err != nil {
			return nil, nil, 0, err
		}
	}
	if n < r.received {
		if b.env.Flaw != KeepKeys {
			return nil, nil, 0, ErrReplayed
		}
	}
	skipped, err := b.skipTo(r, n)
	if err != nil {
		return nil, nil, 0, err
	}
	var key []byte
	key, r.receive = b.next(r.receive)
	r.received = n + 1
	r.opening = nil // the peer has the session
	if b.env.Flaw == KeepKeys {
		r.kept = append(r.kept, key)
	}
	payload, err = b.decrypt(key, aad, f[2])
	return payload, r, missing + skipped, err
}

// turn takes in a new ratchet key of the peer and makes an own one.
func (b *base) turn(r *ratchet, peer []byte, previous int) (missing int, err error) {
	if r.receive != nil {
		if missing, err = b.skipTo(r, previous); err != nil {
			return 0, err
		}
	}
	r.previous, r.sent, r.received, r.peer = r.sent, 0, 0, peer
	if r.root, r.receive, err = b.step(r.root, r.own, peer); err != nil {
		return 0, err
	}
	if r.own, err = b.newDH(); err != nil {
		return 0, err
	}
	r.root, r.send, err = b.step(r.root, r.own, peer)
	return missing, err
}

// skipTo keeps the keys of messages that have not come yet.
func (b *base) skipTo(r *ratchet, n int) (int, error) {
	if n-r.received > maxSkip {
		return 0, ErrRefused
	}
	if r.skipped == nil {
		r.skipped = map[string][]byte{}
	}
	count := 0
	for ; r.received < n; r.received++ {
		var key []byte
		key, r.receive = b.next(r.receive)
		r.skipped[fmt.Sprintf("%x/%d", r.peer, r.received)] = key
		count++
	}
	return count, nil
}

// x3dh are the long-term and medium-term keys of a user (The X3DH Key Agreement
// Protocol, revision 1) and the private halves of one-time keys.
type x3dh struct {
	identity, signed *ecdh.PrivateKey
	once             map[string]*ecdh.PrivateKey
}

// newX3DH makes the keys and returns what is published of them.
func (b *base) newX3DH() (*x3dh, []byte, error) {
	k := &x3dh{once: map[string]*ecdh.PrivateKey{}}
	var err error
	if k.identity, err = b.newDH(); err != nil {
		return nil, nil, err
	}
	if k.signed, err = b.newDH(); err != nil {
		return nil, nil, err
	}
	public := pack(k.identity.PublicKey().Bytes(), k.signed.PublicKey().Bytes())
	signature, err := b.sign("Prekey", public)
	b.env.Directory.Stock(b.id, func() []byte {
		key, err := b.newDH()
		if err != nil {
			return nil
		}
		k.once[string(key.PublicKey().Bytes())] = key
		return key.PublicKey().Bytes()
	})
	return k, pack(public, signature), err
}

// prekeys returns a user's identity and signed prekey.
func (b *base) prekeys(id ID) (identity, signed []byte, err error) {
	c, err := b.contact(id)
	if err != nil {
		return nil, nil, err
	}
	f, err := unpack(c.extra, 2)
	if err != nil {
		return nil, nil, err
	}
	keys, err := unpack(f[0], 2)
	if err != nil {
		return nil, nil, err
	}
	return keys[0], keys[1], b.verify(id, "Prekey", f[0], f[1])
}

// openSession begins a session with a user who may be offline.
func (b *base) openSession(k *x3dh, to ID) (*ratchet, error) {
	identity, signed, err := b.prekeys(to)
	if err != nil {
		return nil, err
	}
	once := b.env.Directory.Take(b.id, to)
	b.meter.Fetched += len(once)
	ephemeral, err := b.newDH()
	if err != nil {
		return nil, err
	}
	steps := []dhStep{{k.identity, signed}, {ephemeral, identity}, {ephemeral, signed}}
	if once != nil {
		steps = append(steps, dhStep{ephemeral, once})
	}
	secret, err := b.agree(steps)
	if err != nil {
		return nil, err
	}
	r := &ratchet{peer: signed, ad: pack(k.identity.PublicKey().Bytes(), identity)}
	r.opening = pack(ephemeral.PublicKey().Bytes(), once)
	if r.own, err = b.newDH(); err != nil {
		return nil, err
	}
	r.root, r.send, err = b.step(secret, r.own, signed)
	return r, err
}

type dhStep struct {
	own    *ecdh.PrivateKey
	public []byte
}

func (b *base) agree(steps []dhStep) ([]byte, error) {
	var all []byte
	for _, s := range steps {
		secret, err := b.dh(s.own, s.public)
		if err != nil {
			return nil, err
		}
		all = append(all, secret...)
	}
	return b.derive(all, nil, "X3DH"), nil
}

// answerSession is the responder's half, from the first message of a session.
// once names the one-time key that is used up when the message proves genuine.
func (b *base) answerSession(k *x3dh, from ID, message []byte) (r *ratchet, once string, err error) {
	f, err := unpack(message, 3)
	if err != nil || len(f[0]) == 0 {
		return nil, "", ErrNoKey
	}
	o, err := unpack(f[0], 2)
	if err != nil {
		return nil, "", err
	}
	identity, _, err := b.prekeys(from)
	if err != nil {
		return nil, "", err
	}
	steps := []dhStep{{k.signed, identity}, {k.identity, o[0]}, {k.signed, o[0]}}
	if len(o[1]) > 0 {
		key := k.once[string(o[1])]
		if key == nil {
			return nil, "", ErrReplayed
		}
		steps = append(steps, dhStep{key, o[0]})
	}
	secret, err := b.agree(steps)
	if err != nil {
		return nil, "", err
	}
	return &ratchet{root: secret, own: k.signed, ad: pack(identity, k.identity.PublicKey().Bytes())}, string(o[1]), nil
}
