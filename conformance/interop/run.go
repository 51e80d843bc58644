package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

const (
	// DefaultSteps and DefaultActors are the length of a random scenario and how
	// many take part in it: enough for every kind of step.
	DefaultSteps  = 60
	DefaultActors = 10
	// MaxActors bounds what a random scenario asks of the clients.
	MaxActors = 100
	// callTimeout is how long a client may think about one call.
	callTimeout = time.Minute
)

// Options say what to run.
type Options struct {
	// Self adds this implementation, served in process.
	Self bool
	// Clients are the addresses of others.
	Clients []string
	// Suites limits the cipher suites; nil stands for all that the clients share.
	Suites []mls.CipherSuite
	// Scenarios limits the scenarios, by name; nil stands for all.
	Scenarios []string
	// Encrypted limits the handshakes to encrypted (true) or clear ones (false).
	Encrypted *bool
	// NoGREASE keeps extensions of GREASE types out of our own leaf nodes and key
	// packages, but for scenarios that are about them: there are clients that can't
	// stand them.
	NoGREASE bool
	// AllCasts lets every client play every actor, in every combination, instead
	// of shifting the clients along the actors.
	AllCasts bool
	// Steps, Actors and Seed are those of random scenarios.
	Steps, Actors int
	Seed          uint64
	// Progress is called after each play of a scenario; nil for nothing.
	Progress func(Result)
}

func (o *Options) setDefaults() error {
	if !o.Self && len(o.Clients) == 0 {
		return errors.New("interop: no client: name one, or run against ourselves")
	}
	if o.Steps == 0 {
		o.Steps = DefaultSteps
	}
	if o.Actors == 0 {
		o.Actors = DefaultActors
	}
	if o.Actors < 3 || o.Actors > MaxActors {
		return fmt.Errorf("interop: %d actors: there must be from 3 to %d", o.Actors, MaxActors)
	}
	if o.Steps < 0 {
		return errors.New("interop: a negative number of steps")
	}
	return nil
}

// peer is a client under test.
type peer struct {
	name   string
	suites []uint32
	// lacks are the calls that it does not answer.
	lacks map[string]bool
	conn  *grpc.ClientConn
	mlsclient.MLSClientClient
}

func connect(ctx context.Context, address string) (*peer, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	p := &peer{conn: conn, MLSClientClient: mlsclient.NewMLSClientClient(conn)}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name, err := p.Name(ctx, new(mlsclient.NameRequest), grpc.WaitForReady(true))
	if err == nil {
		var suites *mlsclient.SupportedCiphersuitesResponse
		if suites, err = p.SupportedCiphersuites(ctx, new(mlsclient.SupportedCiphersuitesRequest)); err == nil {
			p.name, p.suites, p.lacks = name.Name, suites.Ciphersuites, lacks(ctx, conn, moveCalls())
			return p, nil
		}
	}
	conn.Close()
	return nil, fmt.Errorf("interop: %s: %w", address, err)
}

// lacks finds out which calls a client does not have, by asking for nothing: who
// has them complains about a handle.
func lacks(ctx context.Context, conn *grpc.ClientConn, calls []string) map[string]bool {
	missing := make(map[string]bool)
	for _, name := range calls {
		err := conn.Invoke(ctx, "/"+mlsclient.MLSClient_ServiceDesc.ServiceName+"/"+name, new(emptypb.Empty), new(emptypb.Empty))
		missing[name] = status.Code(err) == codes.Unimplemented
	}
	return missing
}

// Run plays scenarios with the clients. The report is there even if plays
// failed; the error is about what kept them from being played.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, err
	}
	scenarios, err := chooseScenarios(opt.Scenarios)
	if err != nil {
		return nil, err
	}
	notes, err := readNotes()
	if err != nil {
		return nil, err
	}
	addresses := opt.Clients
	self := newService()
	if opt.Self {
		address, stop, err := self.serveSelf(ctx)
		if err != nil {
			return nil, err
		}
		defer stop()
		addresses = append([]string{address}, addresses...)
	}
	r := &runner{opt: opt, self: self, notes: notes, report: &Report{NoGREASE: opt.NoGREASE}}
	defer r.close()
	for _, a := range addresses {
		p, err := connect(ctx, a)
		if err != nil {
			return nil, err
		}
		r.peers = append(r.peers, p)
		r.report.Clients = append(r.report.Clients, p.name)
	}
	if r.suites, err = r.sharedSuites(); err != nil {
		return nil, err
	}
	return r.report, r.run(ctx, scenarios)
}

// serveSelf serves this implementation, in process, until stop is called.
func (svc *service) serveSelf(ctx context.Context) (address string, stop func(), err error) {
	l, err := Listen("", 0)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = svc.serve(ctx, l)
	}()
	return l.Addr().String(), func() { cancel(); <-done }, nil
}

func chooseScenarios(names []string) ([]script, error) {
	all, err := readScripts()
	if err != nil || names == nil {
		return all, err
	}
	var chosen []script
	for _, n := range names {
		i := slices.IndexFunc(all, func(s script) bool { return s.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("interop: there is no scenario %q", n)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// runner plays scenarios with peers.
type runner struct {
	opt    Options
	self   *service
	notes  []peerBug
	peers  []*peer
	suites []uint32
	report *Report
}

func (r *runner) close() {
	for _, p := range r.peers {
		p.conn.Close()
	}
}

// sharedSuites are those that all clients have and that were asked for.
func (r *runner) sharedSuites() ([]uint32, error) {
	var shared []uint32
	for _, s := range r.peers[0].suites {
		everybody := !slices.ContainsFunc(r.peers, func(p *peer) bool { return !slices.Contains(p.suites, s) })
		if everybody && (r.opt.Suites == nil || slices.Contains(r.opt.Suites, mls.CipherSuite(s))) {
			shared = append(shared, s)
		}
	}
	slices.Sort(shared)
	if len(shared) == 0 {
		return nil, errors.New("interop: the clients share none of the cipher suites")
	}
	for _, s := range r.opt.Suites {
		if !slices.Contains(shared, uint32(s)) {
			return nil, fmt.Errorf("interop: not all clients have cipher suite %d", s)
		}
	}
	return shared, nil
}

func (r *runner) run(ctx context.Context, scenarios []script) error {
	for i := range scenarios {
		for _, suite := range r.suites {
			for _, encrypt := range []bool{false, true} {
				if r.opt.Encrypted != nil && *r.opt.Encrypted != encrypt {
					continue
				}
				for _, cast := range r.casts(&scenarios[i]) {
					if err := ctx.Err(); err != nil {
						return err
					}
					r.play(ctx, &scenarios[i], suite, encrypt, cast)
				}
			}
		}
	}
	return nil
}

// casts says which peer plays the i-th actor.
func (r *runner) casts(s *script) [][]int {
	n := len(r.peers)
	if n == 1 {
		return [][]int{{0}}
	}
	if r.opt.AllCasts && !s.random() {
		return product(n, len(s.actors()))
	}
	casts := make([][]int, n)
	for shift := range n {
		for i := range n {
			casts[shift] = append(casts[shift], (i+shift)%n)
		}
	}
	return casts
}

// product is every way for n peers to play a number of actors.
func product(n, actors int) [][]int {
	casts := [][]int{nil}
	for range actors {
		var longer [][]int
		for _, c := range casts {
			for p := range n {
				longer = append(longer, append(slices.Clone(c), p))
			}
		}
		casts = longer
	}
	return casts
}

// play plays a scenario once and notes what became of it.
func (r *runner) play(ctx context.Context, s *script, suite uint32, encrypt bool, cast []int) {
	begin := time.Now()
	r.self.plain.Store(r.opt.NoGREASE && !s.GREASE)
	w := newWorld(ctx, r, suite, encrypt, cast)
	for _, name := range s.actors() {
		w.actor(name)
	}
	err := w.play(s)
	w.free()
	res := Result{
		Scenario: s.Name, Suite: uint16(suite), Encrypted: encrypt, Cast: w.castNames(),
		Outcome: Passed, Millis: time.Since(begin).Milliseconds(), Steps: w.steps,
	}
	if err != nil {
		res.Outcome, res.Detail, res.Commit = outcomeOf(err), err.Error(), w.underWay
		var call *callError
		if errors.As(err, &call) {
			res.Call, res.By = call.call, call.actor.peer.name
		}
		if note := findNote(r.notes, &res); note != nil {
			res.Outcome, res.Note = Known, note.Text
		}
	}
	r.report.add(res)
	if r.opt.Progress != nil {
		r.opt.Progress(res)
	}
}

// outcomeOf tells a client that can't from one that errs.
func outcomeOf(err error) Outcome {
	var call *callError
	if errors.As(err, &call) && status.Code(call.err) == codes.Unimplemented {
		return Unsupported
	}
	return Failed
}
