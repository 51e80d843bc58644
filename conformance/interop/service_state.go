package interop

import (
	"context"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// state finds a member and locks it; the caller unlocks.
func (s *service) state(id uint32) (*member, error) {
	m, err := find[*member](s, id, "state")
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	return m, nil
}

// GroupInfo invites external joiners.
func (s *service) GroupInfo(_ context.Context, r *mlsclient.GroupInfoRequest) (*mlsclient.GroupInfoResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	info, err := m.group.GroupInfo(group.InfoOptions{Tree: !r.ExternalTree, ExternalPub: true})
	if err != nil {
		return nil, refuse(err)
	}
	resp := new(mlsclient.GroupInfoResponse)
	msg := framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatGroupInfo, GroupInfo: info}
	if resp.GroupInfo, err = msg.Bytes(); err != nil {
		return nil, refuse(err)
	}
	if r.ExternalTree {
		resp.RatchetTree, err = m.group.Tree().Bytes()
	}
	return resp, refuse(err)
}

// StateAuth is the epoch authenticator.
func (s *service) StateAuth(_ context.Context, r *mlsclient.StateAuthRequest) (*mlsclient.StateAuthResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return &mlsclient.StateAuthResponse{StateAuthSecret: m.group.EpochAuthenticator()}, nil
}

// Export derives a secret for use outside of MLS.
func (s *service) Export(_ context.Context, r *mlsclient.ExportRequest) (*mlsclient.ExportResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if r.KeyLength > maxExport {
		return nil, malformed("a secret of %d bytes", r.KeyLength)
	}
	secret, err := m.group.Export(r.Label, r.Context, int(r.KeyLength))
	if err != nil {
		return nil, refuse(err)
	}
	return &mlsclient.ExportResponse{ExportedSecret: secret.UnsafeBytes()}, nil
}

// Protect encrypts an application message.
func (s *service) Protect(_ context.Context, r *mlsclient.ProtectRequest) (*mlsclient.ProtectResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	message, err := m.group.Protect(r.Plaintext, r.AuthenticatedData)
	if err != nil {
		return nil, refuse(err)
	}
	return &mlsclient.ProtectResponse{Ciphertext: message}, nil
}

// Unprotect reads an application message.
func (s *service) Unprotect(_ context.Context, r *mlsclient.UnprotectRequest) (*mlsclient.UnprotectResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	received, err := m.group.Process(r.Ciphertext)
	if err != nil {
		return nil, refuse(err)
	}
	a, ok := received.(*group.Application)
	if !ok {
		return nil, unexpected(received, "an application message")
	}
	return &mlsclient.UnprotectResponse{AuthenticatedData: a.AuthenticatedData, Plaintext: a.Data}, nil
}
