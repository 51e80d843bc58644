package interop

import (
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/conformance/interop/internal/mlsclient"
)

// TestNotes: each note is about scenarios that there are, and says how its bug shows.
func TestNotes(t *testing.T) {
	notes, err := readNotes()
	if err != nil {
		t.Fatal(err)
	}
	all, err := readScripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		if n.Client == "" || n.Text == "" || len(n.Scenarios) == 0 || len(n.Signs) == 0 {
			t.Errorf("a note lacks something: %+v", n)
		}
		for _, name := range n.Scenarios {
			if !slices.ContainsFunc(all, func(s script) bool { return s.Name == name }) {
				t.Errorf("a note is about %q, which is no scenario", name)
			}
		}
		if slices.Contains(n.Signs, sign{}) {
			t.Errorf("a sign matches every failure: %s", n.Text)
		}
	}
}

// TestSigns: a note explains a failure if all holds that one of its signs gives.
func TestSigns(t *testing.T) {
	notes := []peerBug{{
		Client: "peer 1", Scenarios: []string{"some"}, Suites: []uint16{1, 2}, Text: "a bug",
		Signs: []sign{{Call: "HandleCommit", By: "us", From: "peer", Proposal: "update", Text: "tag"}, {Call: "Commit", LeftOut: "add"}},
	}}
	good := Result{
		Scenario: "some", Suite: 2, Cast: []string{"us 2", "peer 1"}, Outcome: Failed, Detail: "a tag differs", Call: "HandleCommit", By: "us 2",
		Commit: &CommitSummary{From: "peer 1", Proposals: []string{"add", "update"}},
	}
	for name, c := range map[string]struct {
		change func(*Result)
		want   bool
	}{
		"all holds":               {func(*Result) {}, true},
		"we stumble over it":      {func(r *Result) { r.Outcome = Unsupported }, true},
		"the peer can't":          {func(r *Result) { r.Outcome, r.By, r.Call = Unsupported, "peer 1", "Commit" }, false},
		"another suite":           {func(r *Result) { r.Suite = 3 }, false},
		"another scenario":        {func(r *Result) { r.Scenario = "other" }, false},
		"without the peer":        {func(r *Result) { r.Cast = []string{"us 2"} }, false},
		"another call":            {func(r *Result) { r.Call = "JoinGroup" }, false},
		"another answers":         {func(r *Result) { r.By = "third" }, false},
		"another commits":         {func(r *Result) { r.Commit = &CommitSummary{From: "us 2", Proposals: []string{"update"}} }, false},
		"another list":            {func(r *Result) { r.Commit = &CommitSummary{From: "peer 1", Proposals: []string{"add"}} }, false},
		"another text":            {func(r *Result) { r.Detail = "a label differs" }, false},
		"no commit":               {func(r *Result) { r.Commit = nil }, false},
		"the second sign":         {func(r *Result) { r.Call, r.Commit = "Commit", &CommitSummary{LeftOut: []string{"add"}} }, true},
		"the second sign, failed": {func(r *Result) { r.Call, r.Commit = "Commit", &CommitSummary{Proposals: []string{"add"}} }, false},
	} {
		res := good
		c.change(&res)
		if got := findNote(notes, &res) != nil; got != c.want {
			t.Errorf("%s: explained is %v", name, got)
		}
	}
}

// TestPossibleMoves: a random scenario leaves out what a client has no calls for.
func TestPossibleMoves(t *testing.T) {
	address, stop, err := newService().serveSelf(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	p, err := connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{peers: []*peer{p}}
	defer r.close()
	if got := len(r.possible(moves)); got != len(moves) {
		t.Errorf("%d moves of %d are possible with ourselves", got, len(moves))
	}
	if lacks(t.Context(), p.conn, []string{"NoSuchCall"})["NoSuchCall"] != true {
		t.Error("a call that there is not is not missed")
	}
	p.lacks["HandleBranch"] = true
	if slices.ContainsFunc(r.possible(moves), func(m move) bool { return m.name == "branch" }) || len(r.possible(moves)) != len(moves)-1 {
		t.Error("a group is branched, which a client can't follow")
	}
}

// TestGREASE: our key packages have an extension of a GREASE type, unless the
// service is to go without.
func TestGREASE(t *testing.T) {
	s := newService()
	for _, plain := range []bool{false, true} {
		s.plain.Store(plain)
		made, err := s.CreateKeyPackage(t.Context(), &mlsclient.CreateKeyPackageRequest{CipherSuite: 1, Identity: []byte("alice")})
		if err != nil {
			t.Fatal(err)
		}
		kp, err := parsePackage(made.KeyPackage)
		if err != nil {
			t.Fatal(err)
		}
		for _, exts := range [][]mls.Extension{kp.Extensions, kp.LeafNode.Extensions} {
			if has := slices.ContainsFunc(exts, func(e mls.Extension) bool { return mls.IsGREASE(uint16(e.Type)) }); has == plain {
				t.Errorf("plain is %v, there is a GREASE extension: %v", plain, has)
			}
		}
	}
}
