package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

const numbersProcess = "MLS_TEST_PUBLISHED_NUMBERS"

// TestPublishedNumbers runs groups, and the files with such suites, in a
// process whose suites have the numbers of the files.
func TestPublishedNumbers(t *testing.T) {
	if os.Getenv(numbersProcess) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPublishedNumbers$|^TestPartialVectors$", "-test.v")
		cmd.Env = append(os.Environ(), numbersProcess+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "a group of suite") != 3 {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := mls.SetCodePoints(mls.PublishedCodePoints()); err != nil {
		t.Fatal(err)
	}
	for id := mls.CipherSuite(8); id <= 10; id++ {
		s, err := mls.LookupSuite(id)
		if err != nil {
			t.Fatal(err)
		}
		groupOfTwo(t, s)
		fmt.Println("a group of suite", id)
	}
	if _, err := mls.LookupSuite(mls.MLKEM768P256_AES256GCM_SHA384_P256); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("the number that was replaced: %v", err)
	}
}

// groupOfTwo has one member add another, who saves and restores the group and
// answers.
func groupOfTwo(t *testing.T, s *mls.Suite) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := group.Config{Authenticate: group.InsecureAnyCredential}
	identity := func(name string) group.Identity {
		signer, err := s.GenerateSigner()
		must(err)
		return group.Identity{Credential: treekem.BasicCredential([]byte(name)), Signer: signer}
	}
	alice, err := group.New(cfg, s, group.CreateOptions{Identity: identity("alice")})
	must(err)
	bobID := identity("bob")
	kp, private, err := group.NewKeyPackage(cfg, s, group.KeyPackageOptions{Identity: bobID})
	must(err)
	if !slices.Contains(kp.LeafNode.Capabilities.CipherSuites, s.ID()) || kp.CipherSuite != s.ID() {
		t.Errorf("suite %d isn't in the key package", s.ID())
	}
	staged, err := alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
	must(err)
	must(alice.Merge(staged))
	welcome, err := framing.Parse(staged.Welcome())
	must(err)
	bob, err := group.Join(cfg, welcome.Welcome, kp, private, group.JoinOptions{})
	must(err)
	saved, err := bob.State()
	must(err)
	bob, err = group.Restore(cfg, saved, bobID.Signer)
	must(err)
	message, err := bob.Protect([]byte("hello"), nil)
	must(err)
	received, err := alice.Process(message)
	must(err)
	if m, ok := received.(*group.Application); !ok || string(m.Data) != "hello" {
		t.Errorf("received %T", received)
	}
}
