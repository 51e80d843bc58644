package protocols

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// keySize is the size of symmetric keys before their use: of a SHA-256 output.
const keySize = 32

// base is what all devices have: an identity, a meter, the members.
type base struct {
	id      ID
	env     *Env
	meter   Meter
	members []ID // sorted
	sig     *mls.SignaturePrivateKey
	kem     *mls.HPKEPrivateKey
	known   map[ID]contact
}

// contact is what a device holds for another user's keys.
type contact struct {
	sig mls.SignaturePublicKey
	kem mls.HPKEPublicKey
	// extra is what a design publishes besides.
	extra []byte
}

// newBase makes identity keys. publish must follow.
func newBase(env *Env, id ID) (base, error) {
	b := base{id: id, env: env, known: map[ID]contact{}}
	var err error
	if b.sig, err = env.Suite.GenerateSigner(); err != nil {
		return b, err
	}
	b.kem, err = env.Suite.GenerateKeyPair()
	b.meter.PublicKey += 2
	return b, err
}

// publish puts the identity keys into the directory.
func (b *base) publish(extra []byte) {
	c := contact{sig: b.sig.Public(), extra: extra}
	if b.kem != nil {
		c.kem = b.kem.Public()
	}
	b.known[b.id] = c
	b.env.Directory.Publish(b.id, pack(c.sig, c.kem, extra))
}

// contact returns another user's keys, from the directory at first contact and
// from memory then: trust on first use.
func (b *base) contact(id ID) (contact, error) {
	if c, ok := b.known[id]; ok {
		return c, nil
	}
	bundle, err := b.env.Directory.Lookup(b.id, id)
	if err != nil {
		return contact{}, err
	}
	b.meter.Fetched += len(bundle)
	f, err := unpack(bundle, 3)
	if err != nil {
		return contact{}, err
	}
	c := contact{f[0], f[1], f[2]}
	b.known[id] = c
	return c, nil
}

func (b *base) Meter() *Meter { return &b.meter }

// Fingerprint implements Device.
func (b *base) Fingerprint(of ID) []byte {
	c, err := b.contact(of)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(pack(c.sig, c.kem, c.extra))
	return sum[:]
}

// Update implements Device for designs that have none.
func (b *base) Update() ([]Packet, error) { return nil, ErrNone }

// others returns the members but the device's own user.
func (b *base) others() []ID {
	return slices.DeleteFunc(slices.Clone(b.members), func(id ID) bool { return id == b.id })
}

func (b *base) isMember(id ID) bool {
	_, ok := slices.BinarySearch(b.members, id)
	return ok
}

func (b *base) setMembers(ids []ID) {
	b.members = slices.Compact(slices.Sorted(slices.Values(ids)))
}

func (b *base) with(id ID) []ID { return append(slices.Clone(b.members), id) }

func (b *base) without(id ID) []ID {
	return slices.DeleteFunc(slices.Clone(b.members), func(x ID) bool { return x == id })
}

func (b *base) sign(label string, content []byte) ([]byte, error) {
	b.meter.PublicKey++
	return b.env.Suite.SignWithLabel(b.sig, label, content)
}

// verify checks a signature of a user.
func (b *base) verify(from ID, label string, content, signature []byte) error {
	if b.env.Flaw == SkipSignatures {
		return nil
	}
	c, err := b.contact(from)
	if err != nil {
		return err
	}
	b.meter.PublicKey++
	if err := b.env.Suite.VerifyWithLabel(c.sig, label, content, signature); err != nil {
		return ErrRefused
	}
	return nil
}

// seal encrypts to a public key.
func (b *base) seal(to mls.HPKEPublicKey, label string, plaintext []byte) ([]byte, error) {
	b.meter.PublicKey++
	ct, err := b.env.Suite.EncryptWithLabel(to, label, nil, plaintext)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(ct)
}

// sealTo encrypts to a user.
func (b *base) sealTo(id ID, label string, plaintext []byte) ([]byte, error) {
	c, err := b.contact(id)
	if err != nil {
		return nil, err
	}
	return b.seal(c.kem, label, plaintext)
}

func (b *base) open(key *mls.HPKEPrivateKey, label string, sealed []byte) ([]byte, error) {
	b.meter.PublicKey++
	return openWith(b.env.Suite, key, label, sealed)
}

func openWith(s *mls.Suite, key *mls.HPKEPrivateKey, label string, sealed []byte) ([]byte, error) {
	var ct mls.HPKECiphertext
	if err := wire.Unmarshal(sealed, &ct); err != nil {
		return nil, ErrRefused
	}
	text, err := s.DecryptWithLabel(key, label, nil, ct)
	if err != nil {
		return nil, ErrNoKey
	}
	return text, nil
}

// encrypt is AES-128-GCM under a key derived from key, with a random nonce.
func (b *base) encrypt(key, aad, plaintext []byte) []byte {
	b.meter.Symmetric += 2
	nonce := random(12)
	return gcm(key).Seal(nonce, nonce, plaintext, aad)
}

func (b *base) decrypt(key, aad, ciphertext []byte) ([]byte, error) {
	b.meter.Symmetric += 2
	return decryptWith(key, aad, ciphertext)
}

func decryptWith(key, aad, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) < 12 || len(key) == 0 {
		return nil, ErrRefused
	}
	text, err := gcm(key).Open(nil, ciphertext[:12], ciphertext[12:], aad)
	if err != nil {
		return nil, ErrNoKey
	}
	return text, nil
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(kdf(key, nil, "aead")[:16])
	if err != nil {
		panic("protocols: internal error: an AES key of 16 bytes")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("protocols: internal error: AES has blocks of 16 bytes")
	}
	return aead
}

// derive is kdf with the call counted.
func (b *base) derive(secret, salt []byte, info string) []byte {
	b.meter.Symmetric++
	return kdf(secret, salt, info)
}

// kdf is HKDF-SHA-256 with one block of output.
func kdf(secret, salt []byte, info string) []byte {
	out, err := hkdf.Key(sha256.New, secret, salt, info, keySize)
	if err != nil {
		panic("protocols: internal error: HKDF gives 32 bytes of any secret")
	}
	return out
}

// mac is HMAC-SHA-256, counted.
func (b *base) mac(key []byte, parts ...[]byte) []byte {
	b.meter.Symmetric++
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// newDH makes an X25519 key pair.
func (b *base) newDH() (*ecdh.PrivateKey, error) {
	b.meter.PublicKey++
	return ecdh.X25519().GenerateKey(rand.Reader)
}

// dh is X25519.
func (b *base) dh(key *ecdh.PrivateKey, public []byte) ([]byte, error) {
	b.meter.PublicKey++
	return dhWith(key, public)
}

func dhWith(key *ecdh.PrivateKey, public []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, ErrRefused
	}
	secret, err := key.ECDH(pub)
	if err != nil {
		return nil, ErrRefused
	}
	return secret, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// pack is the encoding of everything here: a list of opaque<V>.
func pack(fields ...[]byte) []byte {
	n := 0
	for _, f := range fields {
		n += len(f) + 4
	}
	b := wire.NewBuilder(make([]byte, 0, n))
	for _, f := range fields {
		b.Opaque(f)
	}
	out, err := b.Bytes()
	if err != nil {
		return nil // too long to be encoded, and so to be decoded
	}
	return out
}

// unpack reads n fields, or any number if n is negative.
func unpack(p []byte, n int) ([][]byte, error) {
	r := wire.NewReader(p)
	var out [][]byte
	for !r.Empty() && r.Err() == nil {
		out = append(out, r.OpaqueCopy())
	}
	if r.Err() != nil || n >= 0 && len(out) != n {
		return nil, ErrRefused
	}
	return out, nil
}

func num(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

func toNum(p []byte) int {
	if len(p) != 4 {
		return -1
	}
	return int(binary.BigEndian.Uint32(p))
}

// idList encodes users as four bytes each.
func idList(ids []ID) []byte {
	out := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		out = append(out, num(int(id))...)
	}
	return out
}

func toIDs(p []byte) []ID {
	var ids []ID
	for c := range slices.Chunk(p, 4) {
		ids = append(ids, ID(toNum(c)))
	}
	return ids
}

// sizeOf adds up the bytes of everything that v holds: of slices, strings,
// arrays and numbers, through pointers, structs and maps. The environment and
// the meter are not state.
func sizeOf(v any) int { return sizeOfValue(reflect.ValueOf(v), map[uintptr]bool{}) }

var notState = []reflect.Type{reflect.TypeFor[*Env](), reflect.TypeFor[Meter](), reflect.TypeFor[*mls.Suite]()}

func sizeOfValue(v reflect.Value, seen map[uintptr]bool) int {
	if !v.IsValid() || slices.Contains(notState, v.Type()) {
		return 0
	}
	switch v.Type() {
	case reflect.TypeFor[*mls.HPKEPrivateKey](), reflect.TypeFor[*mls.SignaturePrivateKey](), reflect.TypeFor[*ecdh.PrivateKey]():
		if v.IsNil() {
			return 0
		}
		return 32 // the key; the rest is its parsed form
	}
	n := 0
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() || v.Kind() == reflect.Pointer && seen[v.Pointer()] {
			return 0
		}
		if v.Kind() == reflect.Pointer {
			seen[v.Pointer()] = true
		}
		return sizeOfValue(v.Elem(), seen)
	case reflect.Struct:
		for i := range v.NumField() {
			n += sizeOfValue(v.Field(i), seen)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Len()
		}
		for i := range v.Len() {
			n += sizeOfValue(v.Index(i), seen)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			n += sizeOfValue(it.Key(), seen) + sizeOfValue(it.Value(), seen)
		}
	case reflect.String:
		return v.Len()
	case reflect.Int, reflect.Uint32, reflect.Int32:
		return 4
	case reflect.Uint64, reflect.Int64:
		return 8
	case reflect.Bool, reflect.Uint8:
		return 1
	}
	return n
}

// keyring is an adversary's collection of symmetric keys.
type keyring struct{ keys [][]byte }

func (k *keyring) add(key []byte) {
	if len(key) > 0 && !slices.ContainsFunc(k.keys, func(x []byte) bool { return bytes.Equal(x, key) }) {
		k.keys = append(k.keys, bytes.Clone(key))
	}
}
