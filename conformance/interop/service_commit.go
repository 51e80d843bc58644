package interop

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
	"github.com/treekem/mls/group"
)

// Commit makes a commit, which takes effect with HandlePendingCommit.
func (s *service) Commit(_ context.Context, r *mlsclient.CommitRequest) (*mlsclient.CommitResponse, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	opt, err := m.commitOptions(r)
	if err != nil {
		return nil, refuse(err)
	}
	staged, err := m.group.Commit(opt)
	if err != nil {
		return nil, refuse(err)
	}
	resp := &mlsclient.CommitResponse{Commit: staged.Message(), Welcome: staged.Welcome()}
	if r.ExternalTree {
		if resp.RatchetTree, err = staged.Tree().Bytes(); err != nil {
			return nil, refuse(err)
		}
	}
	m.pending = staged
	return resp, nil
}

func (m *member) commitOptions(r *mlsclient.CommitRequest) (group.CommitOptions, error) {
	// Not nil: that would commit whatever was received.
	opt := group.CommitOptions{References: [][]byte{}, OmitPath: !r.ForcePath, TreeApart: r.ExternalTree}
	for _, message := range r.ByReference {
		ref, err := m.reference(message)
		if err != nil {
			return opt, err
		}
		opt.References = append(opt.References, ref)
	}
	for _, d := range r.ByValue {
		p, err := describe(m.group, d)
		if err != nil {
			return opt, err
		}
		opt.Proposals = append(opt.Proposals, p)
	}
	return opt, nil
}

// handle lets a member process somebody's commit.
func (s *service) handle(r *mlsclient.HandleCommitRequest) (*member, error) {
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	if err := m.follow(r.Proposal, r.Commit); err != nil {
		m.mu.Unlock()
		return nil, refuse(err)
	}
	return m, nil
}

// pending lets a member's own commit take effect.
func (s *service) pending(id uint32) (*member, error) {
	m, err := s.state(id)
	if err != nil {
		return nil, err
	}
	if m.pending == nil {
		err = status.Error(codes.FailedPrecondition, "no commit is pending")
	} else {
		err = m.merge(m.pending)
	}
	if err != nil {
		m.mu.Unlock()
		return nil, refuse(err)
	}
	return m, nil
}

// HandleCommit processes somebody's commit.
func (s *service) HandleCommit(_ context.Context, r *mlsclient.HandleCommitRequest) (*mlsclient.HandleCommitResponse, error) {
	m, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return &mlsclient.HandleCommitResponse{StateId: r.StateId, EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

// HandlePendingCommit lets one's own commit take effect.
func (s *service) HandlePendingCommit(_ context.Context, r *mlsclient.HandlePendingCommitRequest) (*mlsclient.HandleCommitResponse, error) {
	m, err := s.pending(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return &mlsclient.HandleCommitResponse{StateId: r.StateId, EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

// ReInitCommit commits a ReInit; the interface has a call of its own for it.
func (s *service) ReInitCommit(ctx context.Context, r *mlsclient.CommitRequest) (*mlsclient.CommitResponse, error) {
	return s.Commit(ctx, r)
}

// HandlePendingReInitCommit lets one's own commit of a ReInit take effect.
func (s *service) HandlePendingReInitCommit(_ context.Context, r *mlsclient.HandlePendingCommitRequest) (*mlsclient.HandleReInitCommitResponse, error) {
	m, err := s.pending(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return s.succeed(m)
}

// HandleReInitCommit processes somebody's commit of a ReInit.
func (s *service) HandleReInitCommit(_ context.Context, r *mlsclient.HandleCommitRequest) (*mlsclient.HandleReInitCommitResponse, error) {
	m, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return s.succeed(m)
}

// successor is a member of a group that was shut down, on its way to the next.
type successor struct {
	*newcomer
	old *member
}

// succeed prepares a member for the group that its ReInit asks for.
func (s *service) succeed(m *member) (*mlsclient.HandleReInitCommitResponse, error) {
	reinit, ok := m.group.ReInit()
	if !ok {
		return nil, status.Error(codes.FailedPrecondition, "the commit holds no ReInit")
	}
	suite, err := suiteOf(uint32(reinit.CipherSuite))
	if err != nil {
		return nil, err
	}
	n, err := s.newNewcomer(suite, m.name, m.psks)
	if err != nil {
		return nil, refuse(err)
	}
	kp, err := packageMessage(n.kp)
	if err != nil {
		return nil, refuse(err)
	}
	return &mlsclient.HandleReInitCommitResponse{
		ReinitId: s.put(&successor{n, m}), KeyPackage: kp, EpochAuthenticator: m.group.EpochAuthenticator(),
	}, nil
}

// ReInitWelcome makes the group that the ReInit asks for.
func (s *service) ReInitWelcome(_ context.Context, r *mlsclient.ReInitWelcomeRequest) (*mlsclient.CreateSubgroupResponse, error) {
	next, err := find[*successor](s, r.ReinitId, "reinitialization")
	if err != nil {
		return nil, err
	}
	kps, err := parsePackages(r.KeyPackage)
	if err != nil {
		return nil, refuse(err)
	}
	old := next.old
	old.mu.Lock()
	defer old.mu.Unlock()
	g, welcome, err := old.group.Reinitialize(old.cfg, group.ReinitializeOptions{
		Identity: s.identity(old.name, next.private.Signer), KeyPackages: kps, OmitPath: !r.ForcePath, TreeApart: r.ExternalTree,
	})
	if err != nil {
		return nil, refuse(err)
	}
	s.drop(r.ReinitId)
	return s.subgroup(newMember(g, old.cfg, old.psks, old.name, next.private.Signer), welcome, r.ExternalTree)
}

// subgroup answers with a group that continues another.
func (s *service) subgroup(m *member, welcome []byte, externalTree bool) (*mlsclient.CreateSubgroupResponse, error) {
	resp := &mlsclient.CreateSubgroupResponse{Welcome: welcome, EpochAuthenticator: m.group.EpochAuthenticator()}
	if externalTree {
		var err error
		if resp.RatchetTree, err = m.group.Tree().Bytes(); err != nil {
			return nil, refuse(err)
		}
	}
	resp.StateId = s.put(m)
	return resp, nil
}

// HandleReInitWelcome joins the group that the ReInit asks for.
func (s *service) HandleReInitWelcome(_ context.Context, r *mlsclient.HandleReInitWelcomeRequest) (*mlsclient.JoinGroupResponse, error) {
	next, err := find[*successor](s, r.ReinitId, "reinitialization")
	if err != nil {
		return nil, err
	}
	next.old.mu.Lock()
	defer next.old.mu.Unlock()
	m, err := next.join(r.Welcome, r.RatchetTree, next.old.encrypts(), next.old.group)
	if err != nil {
		return nil, refuse(err)
	}
	s.drop(r.ReinitId)
	return &mlsclient.JoinGroupResponse{StateId: s.put(m), EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

// CreateBranch makes a group of some members.
func (s *service) CreateBranch(_ context.Context, r *mlsclient.CreateBranchRequest) (*mlsclient.CreateSubgroupResponse, error) {
	kps, err := parsePackages(r.KeyPackages)
	if err != nil {
		return nil, refuse(err)
	}
	exts, err := extensions(r.Extensions)
	if err != nil {
		return nil, err
	}
	m, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	g, welcome, err := m.group.Branch(m.cfg, group.BranchOptions{
		GroupID: orEmpty(r.GroupId), Identity: s.identity(m.name, m.signer), KeyPackages: kps, Extensions: exts,
		OmitPath: !r.ForcePath, TreeApart: r.ExternalTree,
	})
	if err != nil {
		return nil, refuse(err)
	}
	return s.subgroup(newMember(g, m.cfg, m.psks, m.name, m.signer), welcome, r.ExternalTree)
}

// HandleBranch joins a group that was branched off one we are in.
func (s *service) HandleBranch(_ context.Context, r *mlsclient.HandleBranchRequest) (*mlsclient.HandleBranchResponse, error) {
	n, err := find[*newcomer](s, r.TransactionId, "transaction")
	if err != nil {
		return nil, err
	}
	parent, err := s.state(r.StateId)
	if err != nil {
		return nil, err
	}
	defer parent.mu.Unlock()
	m, err := n.join(r.Welcome, r.RatchetTree, parent.encrypts(), parent.group)
	if err != nil {
		return nil, refuse(err)
	}
	s.drop(r.TransactionId)
	return &mlsclient.HandleBranchResponse{StateId: s.put(m), EpochAuthenticator: m.group.EpochAuthenticator()}, nil
}

var _ watched = (*group.Group)(nil)
var _ watched = (*group.PublicGroup)(nil)
