package group_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, pub, key))
	return authority{must[*x509.Certificate](t)(x509.ParseCertificate(der)), key}
}

func (a authority) identity(t *testing.T, s *mls.Suite, name string) group.Identity {
	t.Helper()
	signer := must[*mls.SignaturePrivateKey](t)(s.GenerateSigner())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.cert, ed25519.PublicKey(signer.Public()), a.key))
	return group.Identity{Credential: treekem.X509Credential([][]byte{der, a.cert.Raw}), Signer: signer}
}

// TestAuthenticateX509: members with certificates of a trusted authority are
// admitted; others, and other subjects in a member's place, are refused.
func TestAuthenticateX509(t *testing.T) {
	s := suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)
	trusted, other := newAuthority(t), newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(trusted.cert)
	cfg := group.Config{Authenticate: group.AuthenticateX509(roots, nil, func(c *x509.Certificate) error {
		if c.Subject.CommonName == "mallory" {
			return errors.New("not welcome")
		}
		return nil
	})}
	alice := must[*group.Group](t)(group.New(cfg, s, group.CreateOptions{Identity: trusted.identity(t, s, "alice")}))
	add := func(id group.Identity) error {
		kp, _, err := group.NewKeyPackage(cfg, s, group.KeyPackageOptions{Identity: id})
		check(t, err)
		_, err = alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
		return err
	}
	check(t, add(trusted.identity(t, s, "bob")))
	assertRule(t, add(other.identity(t, s, "bob")), "5.3.1/credential")
	assertRule(t, add(trusted.identity(t, s, "mallory")), "5.3.1/credential")
	basic := trusted.identity(t, s, "bob")
	basic.Credential = treekem.BasicCredential([]byte("bob"))
	assertRule(t, add(basic), "5.3.1/credential")

	kp, private, err := group.NewKeyPackage(cfg, s, group.KeyPackageOptions{Identity: trusted.identity(t, s, "bob")})
	check(t, err)
	staged := must[*group.Staged](t)(alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}}))
	check(t, alice.Merge(staged))
	bob := must[*group.Group](t)(group.Join(cfg, parseWelcome(t, staged.Welcome()), kp, private, group.JoinOptions{}))
	for name, rule := range map[string]string{"bob": "", "carol": "5.3.1/successor-credential"} {
		id := trusted.identity(t, s, name)
		message := must[*group.Staged](t)(bob.Commit(group.CommitOptions{Identity: &id})).Message()
		_, err := alice.Process(message)
		if rule == "" {
			check(t, err)
			continue
		}
		assertRule(t, err, rule)
	}
}
