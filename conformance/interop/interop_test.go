package interop

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

func run(t *testing.T, opt Options) *Report {
	t.Helper()
	report, err := Run(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestSelf plays all scenarios against our own service under one suite; "mls
// interop run --self" does so for every suite.
func TestSelf(t *testing.T) {
	report := run(t, Options{Self: true, Seed: 1, Suites: []mls.CipherSuite{1}})
	for i := range report.Results {
		if r := &report.Results[i]; r.Outcome != Passed {
			t.Errorf("%s: %s", r.Scenario, r.explain())
		}
	}
	all, err := readScripts()
	if err != nil {
		t.Fatal(err)
	}
	if want := len(all) * 2; report.Passed != want || want == 0 {
		t.Errorf("%d plays passed, want %d", report.Passed, want)
	}
}

// TestEverySuite joins and talks under every suite of the library.
func TestEverySuite(t *testing.T) {
	encrypted := true
	report := run(t, Options{Self: true, Scenarios: []string{"welcome_join"}, Encrypted: &encrypted})
	if report.Passed != len(mls.Suites()) || report.Failed+report.Unsupported+report.Known != 0 {
		t.Errorf("%d of %d suites passed", report.Passed, len(mls.Suites()))
	}
}

// TestTwoServers lets two processes' worth of clients play all roles.
func TestTwoServers(t *testing.T) {
	address, stop, err := newService().serveSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	report := run(t, Options{
		Self: true, Clients: []string{address}, AllCasts: true, Suites: []mls.CipherSuite{1},
		Scenarios: []string{"external_signer", "reinit_reference", "branch"},
	})
	// Four actors in each, with handshakes in the clear and encrypted.
	if want := 2 * 3 * 16; report.Passed != want {
		t.Errorf("%d plays passed, want %d: %+v", report.Passed, want, report.Results[0])
	}
}

// liar is a client that is fine but for one answer.
type liar struct {
	mlsclient.MLSClientClient
	auth, text, export bool
}

func (l liar) StateAuth(ctx context.Context, r *mlsclient.StateAuthRequest, o ...grpc.CallOption) (*mlsclient.StateAuthResponse, error) {
	resp, err := l.MLSClientClient.StateAuth(ctx, r, o...)
	if err == nil && l.auth {
		resp.StateAuthSecret[0] ^= 1
	}
	return resp, err
}

func (l liar) Unprotect(ctx context.Context, r *mlsclient.UnprotectRequest, o ...grpc.CallOption) (*mlsclient.UnprotectResponse, error) {
	resp, err := l.MLSClientClient.Unprotect(ctx, r, o...)
	if err == nil && l.text {
		resp.Plaintext = append(resp.Plaintext, '!')
	}
	return resp, err
}

func (l liar) Export(ctx context.Context, r *mlsclient.ExportRequest, o ...grpc.CallOption) (*mlsclient.ExportResponse, error) {
	resp, err := l.MLSClientClient.Export(ctx, r, o...)
	if err == nil && l.export {
		resp.ExportedSecret[47] ^= 1
	}
	return resp, err
}

// TestRunnerNotices shows that a wrong answer makes a play fail, and says which.
func TestRunnerNotices(t *testing.T) {
	address, stop, err := newService().serveSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, c := range []struct {
		name string
		lie  liar
		want string
	}{
		{"authenticator", liar{auth: true}, "epoch authenticators differ"},
		{"plaintext", liar{text: true}, "reads something else"},
		{"export", liar{export: true}, "exported secrets differ"},
		{"nothing", liar{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &runner{self: newService(), report: new(Report), suites: []uint32{1}}
			defer r.close()
			for i := range 2 {
				p, err := connect(t.Context(), address)
				if err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					c.lie.MLSClientClient = p.MLSClientClient
					p.MLSClientClient = c.lie
				}
				r.peers = append(r.peers, p)
			}
			scenarios, err := chooseScenarios([]string{"welcome_join"})
			if err != nil {
				t.Fatal(err)
			}
			r.play(t.Context(), &scenarios[0], 1, true, []int{0, 1})
			res := r.report.Results[0]
			if (res.Outcome == Passed) != (c.want == "") || !strings.Contains(res.Detail, c.want) {
				t.Errorf("%s: %q, want %q", res.Outcome, res.Detail, c.want)
			}
		})
	}
}

// TestRefusals shows what the service answers to calls that can't be right.
func TestRefusals(t *testing.T) {
	s := newService()
	ctx := t.Context()
	created, err := s.CreateGroup(ctx, &mlsclient.CreateGroupRequest{GroupId: []byte("g"), CipherSuite: 1, Identity: []byte("alice")})
	if err != nil {
		t.Fatal(err)
	}
	state := created.StateId
	for name, c := range map[string]struct {
		err  error
		code codes.Code
		text string
	}{
		"no handle":      {second(s.StateAuth(ctx, &mlsclient.StateAuthRequest{StateId: 99})), codes.NotFound, "99"},
		"other handle":   {second(s.JoinGroup(ctx, &mlsclient.JoinGroupRequest{TransactionId: state})), codes.NotFound, "transaction"},
		"no suite":       {second(s.CreateGroup(ctx, &mlsclient.CreateGroupRequest{CipherSuite: 77})), codes.Unimplemented, "77"},
		"absurd suite":   {second(s.CreateGroup(ctx, &mlsclient.CreateGroupRequest{CipherSuite: 1 << 20})), codes.InvalidArgument, "not a cipher suite"},
		"garbage":        {second(s.HandleCommit(ctx, &mlsclient.HandleCommitRequest{StateId: state, Commit: []byte{0, 1, 0}})), codes.InvalidArgument, "malformed"},
		"no key package": {second(s.AddProposal(ctx, &mlsclient.AddProposalRequest{StateId: state, KeyPackage: []byte{1}})), codes.InvalidArgument, "malformed"},
		"nobody":         {second(s.RemoveProposal(ctx, &mlsclient.RemoveProposalRequest{StateId: state, RemovedId: []byte("bob")})), codes.NotFound, "identity"},
		"nothing":        {second(s.HandlePendingCommit(ctx, &mlsclient.HandlePendingCommitRequest{StateId: state})), codes.FailedPrecondition, "pending"},
		"absurd length":  {second(s.Export(ctx, &mlsclient.ExportRequest{StateId: state, KeyLength: 1 << 31})), codes.InvalidArgument, "bytes"},
		"unknown type": {second(s.Commit(ctx, &mlsclient.CommitRequest{
			StateId: state, ByValue: []*mlsclient.ProposalDescription{{ProposalType: []byte("dance")}},
		})), codes.InvalidArgument, "dance"},
		"own removal": {second(s.Commit(ctx, &mlsclient.CommitRequest{
			StateId: state, ByValue: []*mlsclient.ProposalDescription{{ProposalType: []byte("remove"), RemovedId: []byte("alice")}},
		})), codes.FailedPrecondition, "committer-removed"},
		"no psk": {second(s.Commit(ctx, &mlsclient.CommitRequest{
			StateId: state, ByValue: []*mlsclient.ProposalDescription{{ProposalType: []byte("externalPSK"), PskId: []byte("x")}},
		})), codes.FailedPrecondition, "psk-unavailable"},
	} {
		if status.Code(c.err) != c.code || !strings.Contains(status.Convert(c.err).Message(), c.text) {
			t.Errorf("%s: %v, want %v with %q", name, c.err, c.code, c.text)
		}
	}
	if _, err := s.Free(ctx, &mlsclient.FreeRequest{StateId: state}); err != nil {
		t.Error(err)
	}
	if _, err := s.Free(ctx, &mlsclient.FreeRequest{StateId: state}); status.Code(err) != codes.NotFound {
		t.Errorf("freed twice: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestServeStops shows that the service ends with its context.
func TestServeStops(t *testing.T) {
	l, err := Listen("", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(l.Addr().String(), "127.0.0.1:") {
		t.Errorf("listens on %v", l.Addr())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l) }()
	p, err := connect(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.conn.Close()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the service does not stop")
	}
}

func TestScenarioFiles(t *testing.T) {
	for _, bad := range []string{`[{"name":"x","steps":[],"about":""}]`, `[{"name":"x","stops":[]}]`, `{}`, `[`} {
		if _, err := parseScripts([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
	all, err := readScripts()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, s := range all {
		if seen[s.Name] || s.About == "" {
			t.Errorf("%s: twice, or without a word about it", s.Name)
		}
		seen[s.Name] = true
	}
	notes, err := readNotes()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		for _, s := range n.Scenarios {
			if !seen[s] {
				t.Errorf("a note about the scenario %q, which there is not", s)
			}
		}
	}
}

func TestReports(t *testing.T) {
	r := &Report{Clients: []string{"a 1", "b 2"}}
	r.add(Result{Scenario: "one", Suite: 1, Outcome: Passed, Steps: 3})
	r.add(Result{Scenario: "one", Suite: 2, Outcome: Failed, Detail: "step 1, talk: x (b 2): no"})
	r.add(Result{Scenario: "two", Suite: 1, Outcome: Unsupported, Detail: "step 2, branch: y (b 2): can't"})
	r.add(Result{Scenario: "two", Suite: 2, Outcome: Known, Detail: "d", Note: "its bug"})
	var text, data, page bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	again, err := ReadReport(&data)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteMatrix(&page, []*Report{again}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one                                  1 passed, 1 failed, 3 steps\n", "1 passed, 1 failed, 1 unsupported, 1 known, 3 steps\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	for _, want := range []string{
		"## a 1 with b 2", "| one | 1 | **FAILED** 1 |\n| two | no 1 | bug 1 |\n",
		"- two: (b 2): can't\n", "- two: its bug\n", "- one: (b 2): no\n",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in\n%s", want, page.String())
		}
	}
}

// TestOptions shows which options are refused.
func TestOptions(t *testing.T) {
	for want, opt := range map[string]Options{
		"no client":    {},
		"from 3 to":    {Self: true, Actors: 101},
		"negative":     {Self: true, Steps: -1},
		"no scenario":  {Self: true, Scenarios: []string{"x"}},
		"share none":   {Self: true, Suites: []mls.CipherSuite{77}},
		"cipher suite": {Self: true, Suites: []mls.CipherSuite{1, 77}},
	} {
		if _, err := Run(t.Context(), opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
