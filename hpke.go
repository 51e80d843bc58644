package mls

import (
	"crypto/hmac"
	"encoding/binary"
)

// publicKeyScheme is what a row of the table of suites uses of HPKE: keys, and
// the base mode of RFC 9180 with a context for one message or one export. The
// set is closed.
type publicKeyScheme interface {
	// newKey parses SerializePrivateKey's output, which it copies.
	newKey(raw []byte) (*hpkeKey, error)
	deriveKey(ikm []byte) (*hpkeKey, error)
	generateKey() (*hpkeKey, error)
	checkPublic(pub []byte) error
	// prepare returns what seal needs of an info, for any number of recipients.
	// An info is in two parts: its content may be long, and is not to be copied.
	prepare(head, content []byte) (prepared []byte)
	seal(pub, prepared, plaintext []byte) (enc, ciphertext []byte, err error)
	open(k *hpkeKey, head, content, enc, ciphertext []byte) ([]byte, error)
	sendExport(pub []byte, exporterContext string, n int) (enc []byte, secret Secret, err error)
	receiveExport(k *hpkeKey, enc []byte, exporterContext string, n int) (Secret, error)
}

// kem is a key encapsulation mechanism of RFC 9180, Section 4. The set is
// closed.
type kem interface {
	newKey(raw []byte) (*hpkeKey, error)
	deriveKey(ikm []byte) (*hpkeKey, error)
	generateKey() (*hpkeKey, error)
	checkPublic(pub []byte) error
	kemID() uint16
	encap(pub []byte) (enc, shared []byte, err error)
	decap(k *hpkeKey, enc []byte) (shared []byte, err error)
}

// labeler is LabeledExtract and LabeledExpand (RFC 9180, Section 4) under the
// suite_id of a KEM or of the whole of HPKE.
type labeler struct {
	hash   hashAlg
	prefix string // "HPKE-v1" || suite_id
}

func newLabeler(hash hashAlg, kind string, ids ...uint16) labeler {
	prefix := []byte("HPKE-v1" + kind)
	for _, id := range ids {
		prefix = binary.BigEndian.AppendUint16(prefix, id)
	}
	return labeler{hash, string(prefix)}
}

// extract takes its input keying material in two parts.
func (l labeler) extract(dst, salt []byte, label string, ikm, more []byte) []byte {
	var buf [64]byte
	head := append(append(buf[:0], l.prefix...), label...)
	return l.hash.extract(dst, salt, head, ikm, more)
}

func (l labeler) expand(out, prk []byte, label string, info []byte) {
	var buf [64]byte
	head := binary.BigEndian.AppendUint16(buf[:0], uint16(len(out)))
	head = append(append(head, l.prefix...), label...)
	l.hash.expand(out, prk, head, info)
}

// baseMode is mode_base of RFC 9180, Section 5.1.1, over a KEM. A context
// never outlives the call: MLS sends one message under each.
type baseMode struct {
	kem
	labeler
	aead aeadAlg
	// contextPrefix is mode_base || psk_id_hash, the same for all contexts.
	contextPrefix []byte
}

func newBaseMode(k kem, hash hashAlg, aead aeadAlg) *baseMode {
	l := newLabeler(hash, "HPKE", k.kemID(), uint16(hash), uint16(aead))
	const modeBase = 0
	return &baseMode{
		kem: k, labeler: l, aead: aead,
		contextPrefix: l.extract([]byte{modeBase}, nil, "psk_id_hash", nil, nil),
	}
}

// context is the part of the key schedule that all outputs share: the secret,
// and the key_schedule_context to expand it with.
type context struct {
	secretBuf  [maxHash]byte
	contextBuf [1 + 2*maxHash]byte
	secret     []byte
	context    []byte
}

func (m *baseMode) schedule(c *context, shared, infoHash []byte) {
	c.context = append(c.contextBuf[:0], m.contextPrefix...)
	c.context = append(c.context, infoHash...)
	c.secret = m.extract(c.secretBuf[:0], shared, "secret", nil, nil)
	clear(shared)
}

// prepare returns the info_hash, which is all that the key schedule takes of it.
func (m *baseMode) prepare(head, content []byte) []byte { return m.infoHash(nil, head, content) }

// infoHash appends the info_hash. The info of a Welcome's group secrets holds the
// whole encrypted GroupInfo, hundreds of megabytes with the tree of a large
// group, which are not to be copied.
func (m *baseMode) infoHash(dst, head, content []byte) []byte {
	const label, large = "info_hash", 16 << 10
	if len(content) < large {
		return m.extract(dst, nil, label, head, content)
	}
	h := hmac.New(m.hash.new, nil)
	h.Write([]byte(m.prefix + label))
	h.Write(head)
	h.Write(content)
	return h.Sum(dst)
}

// keys fills key and nonce with those of the context's first message, whose
// nonce is the base nonce.
func (m *baseMode) keys(shared, infoHash, key, nonce []byte) {
	var c context
	m.schedule(&c, shared, infoHash)
	m.expand(key, c.secret, "key", c.context)
	m.expand(nonce, c.secret, "base_nonce", c.context)
	clear(c.secretBuf[:])
}

func (m *baseMode) export(shared []byte, exporterContext string, n int) Secret {
	var c context
	var hash [maxHash]byte
	m.schedule(&c, shared, m.infoHash(hash[:0], nil, nil))
	var buf [maxHash]byte
	exporter := buf[:m.hash.size()]
	m.expand(exporter, c.secret, "exp", c.context)
	out := ZeroSecret(n)
	m.expand(out.key(), exporter, "sec", []byte(exporterContext))
	clear(c.secretBuf[:])
	clear(buf[:])
	return out
}

func (m *baseMode) seal(pub, infoHash, plaintext []byte) (enc, ciphertext []byte, err error) {
	enc, shared, err := m.encap(pub)
	if err != nil {
		return nil, nil, err
	}
	var buf [32 + aeadNonceSize]byte
	key, nonce := buf[:m.aead.keySize()], buf[32:]
	m.keys(shared, infoHash, key, nonce)
	ciphertext = m.aead.instance(key, nonce).Seal(nil, nonce, plaintext, nil)
	clear(buf[:])
	return enc, ciphertext, nil
}

func (m *baseMode) open(k *hpkeKey, head, content, enc, ciphertext []byte) ([]byte, error) {
	shared, err := m.decap(k, enc)
	if err != nil {
		return nil, err
	}
	var buf [32 + aeadNonceSize]byte
	key, nonce := buf[:m.aead.keySize()], buf[32:]
	var hash [maxHash]byte
	m.keys(shared, m.infoHash(hash[:0], head, content), key, nonce)
	plaintext, err := m.aead.instance(key, nonce).Open(nil, nonce, ciphertext, nil)
	clear(buf[:])
	return plaintext, err
}

func (m *baseMode) sendExport(pub []byte, exporterContext string, n int) (enc []byte, secret Secret, err error) {
	enc, shared, err := m.encap(pub)
	if err != nil {
		return nil, Secret{}, err
	}
	return enc, m.export(shared, exporterContext, n), nil
}

func (m *baseMode) receiveExport(k *hpkeKey, enc []byte, exporterContext string, n int) (Secret, error) {
	shared, err := m.decap(k, enc)
	if err != nil {
		return Secret{}, err
	}
	return m.export(shared, exporterContext, n), nil
}
