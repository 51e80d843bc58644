package group

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/treekem"
)

// AuthenticateX509 returns a Config.Authenticate for X.509 credentials (RFC
// 9420, Section 5.3): it accepts those whose chain leads to one of the roots at
// the time that now tells (nil for time.Now). A credential that replaces another
// must have the same subject. Whether the subject is somebody who may be in the
// group is the application's to say: accept, if it is not nil, is asked about
// every end-entity certificate that has passed.
func AuthenticateX509(roots *x509.CertPool, now func() time.Time, accept func(*x509.Certificate) error) func(Authentication) error {
	if now == nil {
		now = time.Now
	}
	return func(a Authentication) error {
		if a.Credential.Type != mls.CredentialX509 {
			return errors.New("not an X.509 credential")
		}
		cert, err := treekem.VerifyX509Chain(a.Credential, roots, now())
		if err != nil {
			return err
		}
		if a.Replaces != nil && !sameSubject(cert, a.Replaces) {
			return errors.New("the certificate is for another subject than the one it replaces")
		}
		if accept == nil {
			return nil
		}
		return accept(cert)
	}
}

// sameSubject tells whether an X.509 credential is for cert's subject. That its
// own chain may have expired since is no reason against its successor (RFC 9420,
// Section 5.3.2).
func sameSubject(cert *x509.Certificate, old *treekem.Credential) bool {
	if old.Type != mls.CredentialX509 || len(old.Certificates) == 0 {
		return false
	}
	former, err := x509.ParseCertificate(old.Certificates[0])
	return err == nil && bytes.Equal(former.RawSubject, cert.RawSubject)
}
