package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// stateVersion is the version of the files in a state directory.
const stateVersion = 1

// A home is a state directory: one identity, its key packages, its pre-shared keys and its groups.
//
//	identity.cbor            who we are, with the signature keys
//	keypackages/REF.cbor     the private half of each key package handed out and not used yet
//	psks/ID.cbor             external pre-shared keys
//	groups/ID.cbor           the state of each group, with a pending commit if there is one
//	lock                     held by the process that works here
//
// All of it is secret. Files are CBOR and are replaced as a whole, atomically, and always before
// anything that was made with their keys leaves the process.
type home struct {
	dir string
	identityFile
	suite   *mls.Suite
	signers []mls.Signer // the last is the current one
	// handshakes is how own proposals and commits are framed; 0 is the default.
	handshakes framing.WireFormat
}

// identityFile is identity.cbor.
type identityFile struct {
	Version uint     `cbor:"version"`
	Suite   uint16   `cbor:"suite"`
	Name    string   `cbor:"name"`    // the identity in the basic credential
	Signers [][]byte `cbor:"signers"` // private signature keys, the current one last
}

// keyPackageFile is a file in keypackages.
type keyPackageFile struct {
	Version    uint   `cbor:"version"`
	KeyPackage []byte `cbor:"key_package"`
	InitKey    []byte `cbor:"init_key"`
	LeafKey    []byte `cbor:"leaf_key"`
}

// pskFile is a file in psks.
type pskFile struct {
	Version uint   `cbor:"version"`
	Secret  []byte `cbor:"secret"`
}

// openHome opens the state directory and takes its lock.
func (a *app) openHome() (*home, func(), error) {
	if _, err := os.Stat(filepath.Join(a.dir, "identity.cbor")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, hinted(`"mls init --name NAME" makes one; --dir or MLS_DIR says where it is`, "no state in %s", a.dir)
	}
	unlock, err := lock(a.dir, a.stderr)
	if err != nil {
		return nil, nil, err
	}
	h, err := readHome(a.dir)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return h, unlock, nil
}

// readHome reads the identity of a state directory.
func readHome(dir string) (*home, error) {
	h := &home{dir: dir}
	err := readState(filepath.Join(dir, "identity.cbor"), &h.identityFile)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(h.Version); err != nil {
		return nil, err
	}
	if h.suite, err = mls.LookupSuite(mls.CipherSuite(h.Suite)); err != nil {
		return nil, err
	}
	for _, raw := range h.Signers {
		signer, err := h.suite.NewSigner(mls.NewSecret(raw))
		if err != nil {
			return nil, err
		}
		h.signers = append(h.signers, signer)
	}
	if len(h.signers) == 0 {
		return nil, fmt.Errorf("%s holds no signature key", filepath.Join(dir, "identity.cbor"))
	}
	return h, nil
}

// createHome makes a state directory with a fresh identity.
func createHome(dir, name string, suite *mls.Suite) (*home, error) {
	for _, sub := range []string{"keypackages", "psks", "groups"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	unlock, err := lock(dir, io.Discard)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Lstat(filepath.Join(dir, "identity.cbor")); err == nil {
		return nil, hinted("--dir names another directory for another identity", "%s holds an identity already", dir)
	}
	h := &home{dir: dir, suite: suite}
	h.identityFile = identityFile{Version: stateVersion, Suite: uint16(suite.ID()), Name: name}
	if _, err := h.newSigner(); err != nil {
		return nil, err
	}
	return h, nil
}

// newSigner makes a new current signature key and saves it. Older ones stay: groups use them until their
// member commits the new one.
func (h *home) newSigner() (mls.Signer, error) {
	signer, err := h.suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	next := h.identityFile
	next.Signers = append(next.Signers[:len(next.Signers):len(next.Signers)], signer.Secret().UnsafeBytes())
	if err := writeState(filepath.Join(h.dir, "identity.cbor"), &next); err != nil {
		return nil, err
	}
	h.identityFile = next
	h.signers = append(h.signers, signer)
	return signer, nil
}

// identity is how we present ourselves to a group.
func (h *home) identity() group.Identity {
	return group.Identity{
		Credential: treekem.BasicCredential([]byte(h.Name)),
		Signer:     h.signers[len(h.signers)-1],
	}
}

// config is how groups are run from the command line.
func (h *home) config() group.Config {
	return group.Config{Authenticate: authenticate, PSK: h.psk, Handshakes: h.handshakes}
}

// authenticate admits basic credentials with a printable name. That the name is genuine nobody can tell
// from the message: the reader is shown every newcomer with its key's fingerprint and asked.
func authenticate(a group.Authentication) error {
	if a.Credential.Type != mls.CredentialBasic {
		return fmt.Errorf("a credential of type %s: only basic credentials are held from the command line", a.Credential.Type)
	}
	if name := string(a.Credential.Identity); name == "" || !printable(name) {
		return errors.New("a name that is empty or not printable")
	}
	return nil
}

// newKeyPackage makes a key package and saves its private half.
func (h *home) newKeyPackage(opt treekem.KeyPackageOptions) (*treekem.KeyPackage, error) {
	id := h.identity()
	opt.Credential, opt.Signer = id.Credential, id.Signer
	kp, private, err := treekem.NewKeyPackage(h.suite, opt)
	if err != nil {
		return nil, err
	}
	encoded, err := kp.Bytes()
	if err != nil {
		return nil, err
	}
	return kp, writeState(h.keyPackagePath(kp.Ref(h.suite)), &keyPackageFile{
		Version: stateVersion, KeyPackage: encoded,
		InitKey: private.InitKey.Secret().UnsafeBytes(), LeafKey: private.LeafKey.Secret().UnsafeBytes(),
	})
}

func (h *home) keyPackagePath(ref []byte) string {
	return filepath.Join(h.dir, "keypackages", hex.EncodeToString(ref)+".cbor")
}

// keyPackage finds the key package with a reference, and its private half; false if it is not ours.
func (h *home) keyPackage(ref []byte) (*treekem.KeyPackage, *treekem.KeyPackagePrivate, bool, error) {
	var f keyPackageFile
	err := readState(h.keyPackagePath(ref), &f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, nil
	}
	if err != nil {
		return nil, nil, false, err
	}
	if err := checkVersion(f.Version); err != nil {
		return nil, nil, false, err
	}
	kp, err := treekem.ParseKeyPackage(f.KeyPackage)
	if err != nil {
		return nil, nil, false, err
	}
	private := new(treekem.KeyPackagePrivate)
	if private.InitKey, err = h.suite.NewPrivateKey(mls.NewSecret(f.InitKey)); err != nil {
		return nil, nil, false, err
	}
	if private.LeafKey, err = h.suite.NewPrivateKey(mls.NewSecret(f.LeafKey)); err != nil {
		return nil, nil, false, err
	}
	for _, s := range h.signers {
		if bytes.Equal(s.Public(), kp.LeafNode.SignatureKey) {
			private.Signer = s
		}
	}
	if private.Signer == nil {
		return nil, nil, false, errors.New("the signature key of the key package is gone")
	}
	return kp, private, true, nil
}

// psk finds an external pre-shared key for a group.
func (h *home) psk(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	if id.Type != keyschedule.PSKExternal {
		return mls.Secret{}, hinted("members of that epoch can commit without it", "a resumption PSK of an epoch that is no longer kept")
	}
	var f pskFile
	err := readState(h.pskPath(id.PSKID), &f)
	if errors.Is(err, fs.ErrNotExist) {
		return mls.Secret{}, hinted(`"mls psk ID --secret FILE" imports it`, "no pre-shared key %q", id.PSKID)
	}
	if err == nil {
		err = checkVersion(f.Version)
	}
	return mls.NewSecret(f.Secret), err
}

func (h *home) pskPath(id []byte) string {
	return filepath.Join(h.dir, "psks", fileName(id))
}

// fileName is the name of the file for something with an identifier of any length.
func fileName(id []byte) string {
	sum := sha256.Sum256(id)
	return hex.EncodeToString(sum[:16]) + ".cbor"
}

func checkVersion(v uint) error {
	if v != stateVersion {
		return fmt.Errorf("a state file of version %d: this binary reads version %d", v, stateVersion)
	}
	return nil
}

// readState reads a CBOR file of the state directory.
func readState(name string, v any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := state.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// writeState replaces a CBOR file of the state directory. Its contents are secret.
func writeState(name string, v any) error {
	data, err := state.Marshal(v)
	if err != nil {
		return err
	}
	defer clear(data)
	return writeAtomic(name, data, 0o600)
}

// printable reports whether s can be shown on a terminal as it is.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == '\uFFFD' || r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 })
}

// label shows bytes that are usually a name: as text if they are printable, else in hex.
func label(b []byte) string {
	if s := string(b); s != "" && printable(s) {
		return s
	}
	return hex.EncodeToString(b)
}

// fingerprint is a short hash of a public key for people to compare.
func fingerprint(s *mls.Suite, key []byte) string {
	return hex.EncodeToString(s.Hash(key)[:8])
}
