package group_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// certified is a client with a self-signed certificate for its key.
func (sc *scene) certified(name string) (*client, group.Identity) {
	sc.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(sc.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der := must[[]byte](sc.t)(x509.CreateCertificate(rand.Reader, template, template, public, private))
	c := sc.client(name)
	c.signer = must[*mls.SignaturePrivateKey](sc.t)(sc.suite.NewSigner(mls.NewSecret(private.Seed())))
	return c, group.Identity{Credential: treekem.X509Credential([][]byte{der}), Signer: c.signer}
}

// add adds somebody under an identity, and lets the observer begin anew.
func (sc *scene) add(c *client, id group.Identity) {
	sc.t.Helper()
	var err error
	c.kp, c.private, err = group.NewKeyPackage(c.cfg, c.suite, group.KeyPackageOptions{Identity: id})
	check(sc.t, err)
	sc.m[1].commitTo(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(c.kp)}},
		append([]*client{sc.m[0]}, sc.m[2:]...), c)
	sc.m = append(sc.m, c)
	sc.observe()
}

func certifiedAdd(sc *scene) framing.Proposal {
	sc.t.Helper()
	c, id := sc.certified("newcomer")
	kp, _, err := group.NewKeyPackage(c.cfg, c.suite, group.KeyPackageOptions{Identity: id})
	check(sc.t, err)
	return group.AddProposal(kp)
}

// basicOnly is capabilities without certificates.
func basicOnly(l *treekem.LeafNode) {
	l.Capabilities.Credentials = []mls.CredentialType{mls.CredentialBasic}
}
