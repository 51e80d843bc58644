package keyschedule

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/treekem/mls"
)

// RatchetKind selects one of the two ratchets of a sender. They advance
// independently of each other (RFC 9420, Section 9.1).
type RatchetKind uint8

// The ratchets of a sender (RFC 9420, Section 9.1).
const (
	// Handshake is the ratchet for proposals and commits.
	Handshake RatchetKind = iota
	// Application is the ratchet for application messages.
	Application

	ratchetKinds = iota // how many there are
)

// String returns "handshake" or "application".
func (k RatchetKind) String() string {
	switch k {
	case Handshake:
		return labelHandshake
	case Application:
		return labelApplication
	}
	return fmt.Sprintf("RatchetKind(%d)", uint8(k))
}

// Bounds limit what a message can make a receiver do and keep (RFC 9420,
// Section 15.3).
type Bounds struct {
	// MaxForward is the number of generations that a message may skip. Zero
	// means DefaultMaxForward.
	MaxForward uint32
	// MaxSkipped is the number of skipped generations whose keys a ratchet
	// keeps; beyond it the oldest are forgotten. Zero means DefaultMaxSkipped,
	// a negative number that none are kept.
	MaxSkipped int
}

// Defaults of Bounds.
const (
	// DefaultMaxForward generations, of three derivations each, take a
	// millisecond or a few to skip, and a forged message that asks for them
	// costs as much every time. They are more than a sender gets ahead of a
	// delivery service that drops messages but keeps their order.
	DefaultMaxForward = 1000
	// DefaultMaxSkipped keys fit what one message can skip by default, so that
	// a burst that arrives last message first is read whole. They take about
	// 130 kB.
	DefaultMaxSkipped = 1000
)

func (b Bounds) orDefault() Bounds {
	if b.MaxForward == 0 {
		b.MaxForward = DefaultMaxForward
	}
	if b.MaxSkipped == 0 {
		b.MaxSkipped = DefaultMaxSkipped
	}
	b.MaxSkipped = max(b.MaxSkipped, 0)
	return b
}

// generations is the number of generations of a ratchet: a generation is a
// uint32 on the wire (RFC 9420, Section 6.3.2).
const generations = uint64(math.MaxUint32) + 1

// ratchet is one sender ratchet (RFC 9420, Section 9.1). It holds what is not
// consumed: the secret of the generation that comes next, and the keys of
// generations that were passed over.
type ratchet struct {
	next    uint64     // the next generation; generations when there is none
	secret  mls.Secret // ratchet_secret of next
	skipped []messageKey
	// reserved are keys for sending, taken out of the ratchet ahead of their
	// use: the saved form does not have them.
	reserved []messageKey
}

// messageKey is the key and nonce of one generation, in ascending order in
// ratchet.skipped. They share one Secret: key, then nonce.
type messageKey struct {
	generation uint32
	keyNonce   mls.Secret
}

// advance is what moving a ratchet past a generation yields. Until installed,
// it shares nothing with the ratchet.
type advance struct {
	key     mls.Secret
	nonce   []byte
	secret  mls.Secret // of the generation after
	skipped []messageKey
}

// deriveKey returns the key and nonce of a generation from its ratchet secret.
func deriveKey(s *mls.Suite, secret mls.Secret, generation uint32) (key mls.Secret, nonce []byte) {
	key = s.DeriveTreeSecret(secret, labelKey, generation, s.KeySize())
	return key, s.DeriveTreeSecret(secret, labelNonce, generation, s.NonceSize()).UnsafeBytes()
}

// deriveNext returns the ratchet secret after that of a generation, none after
// the last generation.
func deriveNext(s *mls.Suite, secret mls.Secret, generation uint32) mls.Secret {
	if generation == math.MaxUint32 {
		return mls.Secret{}
	}
	return s.DeriveTreeSecret(secret, labelSecret, generation, s.HashSize())
}

// to derives what is needed to use generation, which must not be before
// r.next. Of the generations passed over, only the last maxSkipped get keys.
func (r *ratchet) to(s *mls.Suite, generation uint32, maxSkipped int) advance {
	var a advance
	secret := r.secret
	for g := uint32(r.next); g != generation; g++ {
		if int64(generation)-int64(g) <= int64(maxSkipped) {
			a.skipped = append(a.skipped, deriveMessageKey(s, secret, g))
		}
		secret = r.step(secret, deriveNext(s, secret, g))
	}
	a.key, a.nonce = deriveKey(s, secret, generation)
	a.secret = r.step(secret, deriveNext(s, secret, generation))
	return a
}

// step destroys secret, unless it is the ratchet's own, and returns next.
func (r *ratchet) step(secret, next mls.Secret) mls.Secret {
	if secret != r.secret {
		secret.Destroy()
	}
	return next
}

func deriveMessageKey(s *mls.Suite, secret mls.Secret, generation uint32) messageKey {
	key, nonce := deriveKey(s, secret, generation)
	joined := mls.ZeroSecret(key.Len() + len(nonce))
	copy(joined.UnsafeBytes(), key.UnsafeBytes())
	copy(joined.UnsafeBytes()[key.Len():], nonce)
	key.Destroy()
	clear(nonce)
	return messageKey{generation, joined}
}

// install makes the ratchet what a, for generation, leaves of it.
func (r *ratchet) install(generation uint32, a advance, maxSkipped int) {
	r.secret.Destroy()
	r.secret = a.secret
	r.next = uint64(generation) + 1
	r.skipped = append(r.skipped, a.skipped...)
	r.evict(maxSkipped)
}

// evict forgets the oldest skipped keys beyond maxSkipped.
func (r *ratchet) evict(maxSkipped int) {
	excess := len(r.skipped) - maxSkipped
	if excess <= 0 {
		return
	}
	for _, k := range r.skipped[:excess] {
		k.keyNonce.Destroy()
	}
	r.skipped = slices.Delete(r.skipped, 0, excess)
}

// discard destroys what will not be installed.
func (a advance) discard() {
	a.secret.Destroy()
	for _, k := range a.skipped {
		k.keyNonce.Destroy()
	}
}

// check reports whether generation can be had from a ratchet whose next one is
// next, without a look at the keys it skipped.
func (b Bounds) check(next uint64, generation uint32) error {
	if uint64(generation) > next && uint64(generation)-next > uint64(b.MaxForward) {
		return fmt.Errorf("%w: generation %d where %d is next", mls.ErrTooFar, generation, next)
	}
	return nil
}

// reserve takes the keys of the next n generations out of the ratchet.
func (r *ratchet) reserve(s *mls.Suite, n int) error {
	for range n {
		if r.next == generations {
			return errNoGeneration
		}
		generation := uint32(r.next)
		r.reserved = append(r.reserved, deriveMessageKey(s, r.secret, generation))
		secret := deriveNext(s, r.secret, generation)
		r.secret.Destroy()
		r.secret, r.next = secret, r.next+1
	}
	return nil
}

// takeReserved returns the key of the first generation that was reserved.
func (r *ratchet) takeReserved(s *mls.Suite) (generation uint32, key mls.Secret, nonce []byte) {
	first := r.reserved[0]
	r.reserved = slices.Delete(r.reserved, 0, 1)
	key, nonce = splitMessageKey(s, first.keyNonce)
	first.keyNonce.Destroy()
	return first.generation, key, nonce
}

// dropReserved destroys the keys that were reserved and not used.
func (r *ratchet) dropReserved() {
	for _, k := range r.reserved {
		k.keyNonce.Destroy()
	}
	r.reserved = nil
}

var errNoGeneration = fmt.Errorf("%w: the ratchet has no generation left", mls.ErrKeyConsumed)

// take returns the key of the next generation and moves past it.
func (r *ratchet) take(s *mls.Suite, maxSkipped int) (generation uint32, key mls.Secret, nonce []byte, err error) {
	if len(r.reserved) > 0 {
		generation, key, nonce = r.takeReserved(s)
		return generation, key, nonce, nil
	}
	if r.next == generations {
		return 0, mls.Secret{}, nil, errNoGeneration
	}
	generation = uint32(r.next)
	a := r.to(s, generation, maxSkipped)
	r.install(generation, a, maxSkipped)
	return generation, a.key, a.nonce, nil
}

// open lets open use the key of a generation, and consumes it if that succeeds.
// Otherwise r is as it was.
func (r *ratchet) open(s *mls.Suite, b Bounds, generation uint32, open func(mls.Secret, []byte) error) error {
	if uint64(generation) < r.next {
		return r.openSkipped(s, generation, open)
	}
	if err := b.check(r.next, generation); err != nil {
		return err
	}
	a := r.to(s, generation, b.MaxSkipped)
	if err := use(a.key, a.nonce, open); err != nil {
		a.discard()
		return err
	}
	r.install(generation, a, b.MaxSkipped)
	return nil
}

func (r *ratchet) openSkipped(s *mls.Suite, generation uint32, open func(mls.Secret, []byte) error) error {
	i, ok := slices.BinarySearchFunc(r.skipped, generation, func(k messageKey, g uint32) int {
		return cmp.Compare(k.generation, g)
	})
	if !ok {
		return fmt.Errorf("%w: generation %d", mls.ErrKeyConsumed, generation)
	}
	kept := r.skipped[i].keyNonce
	key, nonce := splitMessageKey(s, kept)
	if err := use(key, nonce, open); err != nil {
		return err
	}
	kept.Destroy()
	r.skipped = slices.Delete(r.skipped, i, i+1)
	return nil
}

// splitMessageKey returns copies of the two parts of a kept key.
func splitMessageKey(s *mls.Suite, keyNonce mls.Secret) (key mls.Secret, nonce []byte) {
	joined := keyNonce.UnsafeBytes()
	return mls.NewSecret(slices.Clone(joined[:s.KeySize()])), slices.Clone(joined[s.KeySize():])
}

// use calls open and destroys the key and the nonce.
func use(key mls.Secret, nonce []byte, open func(mls.Secret, []byte) error) error {
	defer func() {
		key.Destroy()
		clear(nonce)
	}()
	return open(key, nonce)
}

// exhaust destroys all that the ratchet holds. It is left as one whose every
// generation was used.
func (r *ratchet) exhaust() {
	r.secret.Destroy()
	r.dropReserved()
	for _, k := range r.skipped {
		k.keyNonce.Destroy()
	}
	*r = ratchet{next: generations}
}
