package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

func suite1(t *testing.T) *mls.Suite {
	t.Helper()
	s, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// played makes a group of n members by real commits: one that adds everybody, and then, if full, one of
// each member.
func played(t *testing.T, n int, full bool) []*member {
	t.Helper()
	w := &world{suite: suite1(t)}
	signer, err := w.suite.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	first, err := group.New(groupConfig(), w.suite, group.CreateOptions{GroupID: []byte("simulation"), Identity: group.Identity{
		Credential: treekem.BasicCredential([]byte("member 000000000")), Signer: signer, Capabilities: capabilities(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var opt group.CommitOptions
	newcomers := make([]*newcomer, n-1)
	for i := range newcomers {
		if newcomers[i], err = w.newcomer(); err != nil {
			t.Fatal(err)
		}
		opt.Proposals = append(opt.Proposals, group.AddProposal(newcomers[i].kp))
	}
	opt.OmitPath = true
	staged, err := first.Commit(opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Merge(staged); err != nil {
		t.Fatal(err)
	}
	members := []*member{{first}}
	for _, c := range newcomers {
		m, err := c.join(staged.Welcome())
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	if full {
		for i := range members {
			commitOf(t, members, i)
		}
	}
	return members
}

// commitOf has a member commit and all others follow; it returns the commit.
func commitOf(t *testing.T, members []*member, i int) []byte {
	t.Helper()
	staged, err := members[i].group.Commit(group.CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := members[i].group.Merge(staged); err != nil {
		t.Fatal(err)
	}
	for j, m := range members {
		if j != i {
			if err := m.follow(staged.Message()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return staged.Message()
}

// built makes the same by the scenario builder.
func built(t *testing.T, n int, full bool) []*member {
	t.Helper()
	s, err := NewScenario(ScenarioConfig{Suite: suite1(t), Members: n, Full: full, Acting: spread(n, n), Group: groupConfig()})
	if err != nil {
		t.Fatal(err)
	}
	members := make([]*member, n)
	for i, g := range s.Groups {
		members[i] = &member{g}
	}
	return members
}

// TestBuilderReachesWhatCommitsReach: the scenario builder's groups are in the state that real commits
// lead to: the same nodes are blank, the same members hold keys, commits are as large, and a joiner's
// whole validation passes.
func TestBuilderReachesWhatCommitsReach(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 8, 13, 16} {
		for _, full := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d,full=%t", n, full), func(t *testing.T) {
				real, made := played(t, n, full), built(t, n, full)
				a, b := real[0].group.Tree(), made[0].group.Tree()
				if a.Width() != b.Width() || a.Members() != b.Members() {
					t.Fatalf("%d of %d leaves, by commits %d of %d", b.Members(), b.Width(), a.Members(), a.Width())
				}
				for x := range treekem.NodeIndex(treekem.NodeWidth(a.Width())) {
					if a.IsBlank(x) != b.IsBlank(x) {
						t.Errorf("node %d: blank %t, by commits %t", x, b.IsBlank(x), a.IsBlank(x))
					}
				}
				if err := b.Validate([]byte("simulation"), treekem.ValidateOptions{Now: time.Now()}); err != nil {
					t.Errorf("the built tree: %v", err)
				}
				for i := range real {
					want, err := Seals(commitOf(t, real, i))
					if err != nil {
						t.Fatal(err)
					}
					got, err := Seals(commitOf(t, made, i))
					if err != nil || got != want {
						t.Errorf("leaf %d: a commit of %d seals, by commits %d: %v", i, got, want, err)
					}
				}
			})
		}
	}
}

// TestAttemptsAreReal: the check that a removed member reads nothing would notice if it did.
func TestAttemptsAreReal(t *testing.T) {
	members := built(t, 4, true)
	message, err := members[0].group.Protect([]byte("hello"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := members[1].mustNotRead(message); err == nil {
		t.Error("a member that reads a message passes for one that must not")
	}
	staged, err := members[0].group.Commit(group.CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := members[1].mustNotRead(staged.Message()); err == nil {
		t.Error("a member that follows a commit passes for one that must not")
	}
	if tries, err := members[0].mustNotRead(message); err != nil || tries != 2 {
		t.Errorf("the sender itself: %d tries, %v", tries, err)
	}
}

// TestInEpoch: the forged header is the only difference.
func TestInEpoch(t *testing.T) {
	members := built(t, 2, true)
	message, err := members[0].group.Protect([]byte("hello"), nil)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := inEpoch(message, 77)
	if err != nil {
		t.Fatal(err)
	}
	m, err := framing.Parse(forged)
	if err != nil || m.Private.Epoch != 77 {
		t.Fatalf("epoch %d, %v", m.Private.Epoch, err)
	}
	back, err := inEpoch(forged, 0)
	if err != nil || string(back) != string(message) {
		t.Errorf("the way back leads elsewhere: %v", err)
	}
	if _, err := inEpoch([]byte("noise"), 1); err == nil {
		t.Error("noise has an epoch")
	}
}

func TestSealsRefuses(t *testing.T) {
	members := built(t, 2, true)
	message, err := members[0].group.Protect(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range [][]byte{nil, []byte("noise"), message} {
		if n, err := Seals(m); err == nil {
			t.Errorf("%d seals in what is no commit", n)
		}
	}
}

// TestFillEdgeNeedsTheLast: a full tree of a size that is no power of two needs its last member.
func TestFillEdgeNeedsTheLast(t *testing.T) {
	_, err := NewScenario(ScenarioConfig{Suite: suite1(t), Members: 5, Full: true, Acting: []mls.LeafIndex{0, 1}, Group: groupConfig()})
	if err == nil {
		t.Error("a full tree of 5 without the last member")
	}
}
