package interop

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

const (
	// maxMessage bounds a request: the ratchet tree of a group of thousands, with
	// post-quantum keys, is some tens of MiB.
	maxMessage = 64 << 20
	// maxExport bounds what Export derives; no KDF of a suite gives more.
	maxExport = 1 << 16
	// stopGrace is how long calls may still run when the service is stopped.
	stopGrace = 3 * time.Second
)

// Listen opens the service's port. The host must be given in order to be reached
// from other machines; without it the service is for this one only.
func Listen(host string, port int) (net.Listener, error) {
	if host == "" {
		host = "127.0.0.1"
	}
	return net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
}

// Serve answers calls on l until ctx is done; then it lets the running ones
// finish, and closes l.
func Serve(ctx context.Context, l net.Listener) error {
	return newService().serve(ctx, l)
}

func (svc *service) serve(ctx context.Context, l net.Listener) error {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	mlsclient.RegisterMLSClientServer(s, svc)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		hard := time.AfterFunc(stopGrace, s.Stop)
		defer hard.Stop()
		s.GracefulStop()
	}()
	err := s.Serve(l)
	if ctx.Err() == nil {
		return err
	}
	<-done
	return nil
}

// service is the working group's interop service. Its handles name members,
// newcomers, successors and outsiders.
type service struct {
	mlsclient.UnimplementedMLSClientServer

	// plain keeps extensions of GREASE types out of leaf nodes and key packages.
	plain atomic.Bool

	mu      sync.Mutex
	last    uint32
	handles map[uint32]any
}

func newService() *service { return &service{handles: make(map[uint32]any)} }

// put gives a handle out.
func (s *service) put(v any) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.last++
		if _, taken := s.handles[s.last]; !taken && s.last != 0 {
			s.handles[s.last] = v
			return s.last
		}
	}
}

func (s *service) drop(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.handles, id)
}

func (s *service) get(id uint32) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.handles[id]
	return v, ok
}

// find is the thing of kind T behind a handle.
func find[T any](s *service, id uint32, what string) (T, error) {
	v, _ := s.get(id)
	t, ok := v.(T)
	if !ok {
		return t, status.Errorf(codes.NotFound, "no %s has the handle %d", what, id)
	}
	return t, nil
}

// Name tells who we are.
func (s *service) Name(context.Context, *mlsclient.NameRequest) (*mlsclient.NameResponse, error) {
	return &mlsclient.NameResponse{Name: ownName()}, nil
}

// ownName is the name that the service gives itself.
func ownName() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	return "treekem/mls " + version
}

// SupportedCiphersuites lists all that the library knows.
func (s *service) SupportedCiphersuites(context.Context, *mlsclient.SupportedCiphersuitesRequest) (*mlsclient.SupportedCiphersuitesResponse, error) {
	r := new(mlsclient.SupportedCiphersuitesResponse)
	for _, suite := range mls.Suites() {
		r.Ciphersuites = append(r.Ciphersuites, uint32(suite.ID()))
	}
	return r, nil
}

// Free forgets a handle.
func (s *service) Free(_ context.Context, r *mlsclient.FreeRequest) (*mlsclient.FreeResponse, error) {
	if _, ok := s.get(r.StateId); !ok {
		return nil, status.Errorf(codes.NotFound, "nothing has the handle %d", r.StateId)
	}
	s.drop(r.StateId)
	return new(mlsclient.FreeResponse), nil
}
