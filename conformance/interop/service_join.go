package interop

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// suiteOf looks a cipher suite up by its number on the wire.
func suiteOf(id uint32) (*mls.Suite, error) {
	if id > 0xffff {
		return nil, malformed("%d is not a cipher suite", id)
	}
	s, err := mls.LookupSuite(mls.CipherSuite(id))
	if err != nil {
		return nil, status.Errorf(codes.Unimplemented, "cipher suite %d: %v", id, err)
	}
	return s, nil
}

// CreateGroup makes a group of one.
func (s *service) CreateGroup(_ context.Context, r *mlsclient.CreateGroupRequest) (*mlsclient.CreateGroupResponse, error) {
	suite, err := suiteOf(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	signer, err := suite.GenerateSigner()
	if err != nil {
		return nil, refuse(err)
	}
	psks := newPSKStore()
	cfg := config(psks, r.EncryptHandshake)
	g, err := group.New(cfg, suite, group.CreateOptions{GroupID: orEmpty(r.GroupId), Identity: s.identity(r.Identity, signer)})
	if err != nil {
		return nil, refuse(err)
	}
	return &mlsclient.CreateGroupResponse{StateId: s.put(newMember(g, cfg, psks, r.Identity, signer))}, nil
}

// orEmpty tells an empty group identifier from none, which gRPC does not.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// CreateKeyPackage makes a key package.
func (s *service) CreateKeyPackage(_ context.Context, r *mlsclient.CreateKeyPackageRequest) (*mlsclient.CreateKeyPackageResponse, error) {
	suite, err := suiteOf(r.CipherSuite)
	if err != nil {
		return nil, err
	}
	n, err := s.newNewcomer(suite, r.Identity, newPSKStore())
	if err != nil {
		return nil, refuse(err)
	}
	kp, err := packageMessage(n.kp)
	if err != nil {
		return nil, refuse(err)
	}
	id := s.put(n)
	return &mlsclient.CreateKeyPackageResponse{
		TransactionId: id, KeyPackage: kp,
		InitPriv:       n.private.InitKey.Secret().UnsafeBytes(),
		EncryptionPriv: n.private.LeafKey.Secret().UnsafeBytes(),
		SignaturePriv:  signerBytes(n.private.Signer),
	}, nil
}

// signerBytes is a private key that was made by this process.
func signerBytes(s mls.Signer) []byte {
	if k, ok := s.(*mls.SignaturePrivateKey); ok {
		return k.Secret().UnsafeBytes()
	}
	return nil
}

func packageMessage(kp *treekem.KeyPackage) ([]byte, error) {
	return (&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatKeyPackage, KeyPackage: kp}).Bytes()
}

// parsePackage reads a key package: a message, or bare, as some runners have it.
func parsePackage(data []byte) (*treekem.KeyPackage, error) {
	m, err := framing.Parse(data)
	if err == nil && m.KeyPackage != nil {
		return m.KeyPackage, nil
	}
	if kp, bare := treekem.ParseKeyPackage(data); bare == nil {
		return kp, nil
	}
	if err == nil {
		err = malformed("a %v where a KeyPackage is due", m.WireFormat)
	}
	return nil, err
}

func parsePackages(data [][]byte) ([]*treekem.KeyPackage, error) {
	kps := make([]*treekem.KeyPackage, len(data))
	for i := range data {
		var err error
		if kps[i], err = parsePackage(data[i]); err != nil {
			return nil, err
		}
	}
	return kps, nil
}

func parseInfo(data []byte) (*framing.GroupInfo, *mls.Suite, error) {
	m, err := framing.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	if m.GroupInfo == nil {
		return nil, nil, malformed("a %v where a GroupInfo is due", m.WireFormat)
	}
	suite, err := suiteOf(uint32(m.GroupInfo.GroupContext.CipherSuite))
	return m.GroupInfo, suite, err
}

// JoinGroup joins by a Welcome.
func (s *service) JoinGroup(_ context.Context, r *mlsclient.JoinGroupRequest) (*mlsclient.JoinGroupResponse, error) {
	n, err := find[*newcomer](s, r.TransactionId, "transaction")
	if err != nil {
		return nil, err
	}
	m, err := n.join(r.Welcome, r.RatchetTree, r.EncryptHandshake, nil)
	if err != nil {
		return nil, refuse(err)
	}
	s.drop(r.TransactionId)
	return &mlsclient.JoinGroupResponse{StateId: s.put(m), EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

// ExternalJoin joins by an external commit.
func (s *service) ExternalJoin(_ context.Context, r *mlsclient.ExternalJoinRequest) (*mlsclient.ExternalJoinResponse, error) {
	info, suite, err := parseInfo(r.GroupInfo)
	if err != nil {
		return nil, refuse(err)
	}
	signer, err := suite.GenerateSigner()
	if err != nil {
		return nil, refuse(err)
	}
	psks := newPSKStore()
	opt := group.ExternalJoinOptions{Identity: s.identity(r.Identity, signer), Resync: r.RemovePrior}
	if len(r.RatchetTree) > 0 {
		opt.RatchetTree = r.RatchetTree
	}
	for _, psk := range r.Psks {
		psks.put(psk.PskId, psk.PskSecret)
		opt.PSKs = append(opt.PSKs, keyschedule.PreSharedKeyID{
			Type: keyschedule.PSKExternal, PSKID: psk.PskId, PSKNonce: keyschedule.NewPSKNonce(suite),
		})
	}
	cfg := config(psks, r.EncryptHandshake)
	g, commit, err := group.JoinExternal(cfg, info, opt)
	if err != nil {
		return nil, refuse(err)
	}
	id := s.put(newMember(g, cfg, psks, r.Identity, signer))
	return &mlsclient.ExternalJoinResponse{StateId: id, Commit: commit, EpochAuthenticator: g.EpochAuthenticator()}, nil
}

// StorePSK gives a client an external pre-shared key.
func (s *service) StorePSK(_ context.Context, r *mlsclient.StorePSKRequest) (*mlsclient.StorePSKResponse, error) {
	v, _ := s.get(r.StateOrTransactionId)
	switch v := v.(type) {
	case *member:
		v.psks.put(r.PskId, r.PskSecret)
	case *newcomer:
		v.psks.put(r.PskId, r.PskSecret)
	default:
		return nil, status.Errorf(codes.NotFound, "no state or transaction has the handle %d", r.StateOrTransactionId)
	}
	return new(mlsclient.StorePSKResponse), nil
}
