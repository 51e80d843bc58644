package framing

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// labelWelcome is the public key encryption label of RFC 9420, Section 12.4.3.1.
const labelWelcome = "Welcome"

// Welcome tells new members the state of the group they were added to
// (RFC 9420, Section 12.4.3.1). CipherSuite may be one this module does not
// know.
//
//	struct {
//	  CipherSuite cipher_suite;
//	  EncryptedGroupSecrets secrets<V>;
//	  opaque encrypted_group_info<V>;
//	} Welcome;
type Welcome struct {
	CipherSuite        mls.CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

// Encode writes the wire form.
func (w *Welcome) Encode(b *wire.Builder) {
	b.U16(uint16(w.CipherSuite))
	b.Vector(func(b *wire.Builder) {
		for i := range w.Secrets {
			w.Secrets[i].Encode(b)
		}
	})
	b.Opaque(w.EncryptedGroupInfo)
}

// Decode reads the wire form.
func (w *Welcome) Decode(r *wire.Reader) {
	*w = Welcome{CipherSuite: mls.CipherSuite(r.U16())}
	r.Vector(func(r *wire.Reader) {
		var e EncryptedGroupSecrets
		e.Decode(r)
		w.Secrets = append(w.Secrets, e)
	})
	w.EncryptedGroupInfo = r.OpaqueCopy()
}

// Find returns the secrets for the key package with a given reference.
func (w *Welcome) Find(keyPackageRef []byte) (*EncryptedGroupSecrets, bool) {
	for i := range w.Secrets {
		if bytes.Equal(w.Secrets[i].NewMember, keyPackageRef) {
			return &w.Secrets[i], true
		}
	}
	return nil, false
}

// EncryptedGroupSecrets are the GroupSecrets for one new member, encrypted to
// the init key of its key package (RFC 9420, Section 12.4.3.1).
//
//	struct {
//	  KeyPackageRef new_member;
//	  HPKECiphertext encrypted_group_secrets;
//	} EncryptedGroupSecrets;
type EncryptedGroupSecrets struct {
	NewMember             []byte // the KeyPackageRef
	EncryptedGroupSecrets mls.HPKECiphertext
}

// Encode writes the wire form.
func (e *EncryptedGroupSecrets) Encode(b *wire.Builder) {
	b.Opaque(e.NewMember)
	e.EncryptedGroupSecrets.Encode(b)
}

// Decode reads the wire form.
func (e *EncryptedGroupSecrets) Decode(r *wire.Reader) {
	e.NewMember = r.OpaqueCopy()
	e.EncryptedGroupSecrets.Decode(r)
}

// GroupSecrets is what a new member needs to enter the key schedule (RFC 9420,
// Section 12.4.3.1). PathSecret is the zero Secret if the commit had no path.
//
//	struct { opaque path_secret<V>; } PathSecret;
//
//	struct {
//	  opaque joiner_secret<V>;
//	  optional<PathSecret> path_secret;
//	  PreSharedKeyID psks<V>;
//	} GroupSecrets;
type GroupSecrets struct {
	JoinerSecret mls.Secret
	PathSecret   mls.Secret
	PSKs         []keyschedule.PreSharedKeyID
}

// Encode writes the wire form, which holds the secrets in the clear: the caller
// clears the builder's bytes after use. Seal does all of that.
func (g *GroupSecrets) Encode(b *wire.Builder) {
	b.Grow(g.sizeHint()) // so that memory that is outgrown keeps no secret
	encodeSecret(b, g.JoinerSecret, "joiner secret")
	b.Optional(!g.PathSecret.IsZero())
	if !g.PathSecret.IsZero() {
		encodeSecret(b, g.PathSecret, "path secret")
	}
	b.Vector(func(b *wire.Builder) {
		for i := range g.PSKs {
			g.PSKs[i].Encode(b)
		}
	})
}

// sizeHint returns no less than the size of the encoding.
func (g *GroupSecrets) sizeHint() int {
	n := g.JoinerSecret.Len() + g.PathSecret.Len() + fieldsSize
	for i := range g.PSKs {
		p := &g.PSKs[i]
		n += len(p.PSKID) + len(p.PSKGroupID) + len(p.PSKNonce) + pskFieldsSize
	}
	return n
}

// pskFieldsSize is more than the other fields and the lengths of a PreSharedKeyID
// take.
const pskFieldsSize = 24

// Decode reads the wire form. The secrets are copies, which Destroy clears: r must
// not own its input, or Destroy would clear that.
func (g *GroupSecrets) Decode(r *wire.Reader) {
	*g = GroupSecrets{JoinerSecret: decodeSecret(r, "joiner secret")}
	if r.Optional() {
		g.PathSecret = decodeSecret(r, "path secret")
	}
	r.Vector(func(r *wire.Reader) {
		var id keyschedule.PreSharedKeyID
		id.Decode(r)
		g.PSKs = append(g.PSKs, id)
	})
}

// Destroy clears the secrets.
func (g *GroupSecrets) Destroy() {
	g.JoinerSecret.Destroy()
	g.PathSecret.Destroy()
}

// GroupSecretsEncrypter returns what encrypts the GroupSecrets of a Welcome, bound
// to its encrypted GroupInfo (RFC 9420, Section 12.4.3.1).
func GroupSecretsEncrypter(s *mls.Suite, encryptedGroupInfo []byte) *mls.Encrypter {
	return s.NewEncrypter(labelWelcome, encryptedGroupInfo)
}

// Seal encrypts g to a new member's init key.
func (g *GroupSecrets) Seal(e *mls.Encrypter, initKey mls.HPKEPublicKey) (mls.HPKECiphertext, error) {
	plaintext, err := wire.Marshal(g)
	defer clear(plaintext)
	if err != nil {
		return mls.HPKECiphertext{}, err
	}
	return e.Encrypt(initKey, plaintext)
}

// Open decrypts the GroupSecrets with the new member's init key. The error is
// ErrAuth if they are not for this key or this encrypted GroupInfo.
func (e *EncryptedGroupSecrets) Open(s *mls.Suite, initKey *mls.HPKEPrivateKey, encryptedGroupInfo []byte) (*GroupSecrets, error) {
	plaintext, err := s.DecryptWithLabel(initKey, labelWelcome, encryptedGroupInfo, e.EncryptedGroupSecrets)
	defer clear(plaintext)
	if err != nil {
		return nil, err
	}
	g := new(GroupSecrets)
	if err := wire.Unmarshal(plaintext, g); err != nil {
		g.Destroy()
		return nil, err
	}
	return g, nil
}

// encodeSecret refuses an empty secret, which has no use and would be taken
// for an absent one after decoding.
func encodeSecret(b *wire.Builder, s mls.Secret, name string) {
	if s.Len() == 0 {
		fail(b, "no %s", name)
		return
	}
	b.Opaque(s.UnsafeBytes())
}

func decodeSecret(r *wire.Reader, name string) mls.Secret {
	p := r.OpaqueCopy()
	if len(p) == 0 {
		if r.Err() == nil {
			r.Fail("empty %s", name)
		}
		return mls.Secret{}
	}
	return mls.NewSecret(p)
}
