package group_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

func try[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

var suite1 = try(mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519))

// directory is the application's: which key belongs to whom.
var directory = map[string]mls.SignaturePublicKey{}

// authenticate accepts whom the directory knows.
func authenticate(a group.Authentication) error {
	if key, ok := directory[string(a.Credential.Identity)]; !ok || !bytes.Equal(key, a.SignatureKey) {
		return errors.New("not in the directory")
	}
	return nil
}

var exampleConfig = group.Config{Authenticate: authenticate}

// register makes an identity that the directory knows.
func register(name string) group.Identity {
	signer := try(suite1.GenerateSigner())
	directory[name] = signer.Public()
	return group.Identity{Credential: treekem.BasicCredential([]byte(name)), Signer: signer}
}

func newKeyPackage(id group.Identity) (*treekem.KeyPackage, *treekem.KeyPackagePrivate) {
	kp, private, err := group.NewKeyPackage(exampleConfig, suite1, group.KeyPackageOptions{Identity: id})
	if err != nil {
		log.Fatal(err)
	}
	return kp, private
}

// pair is a group of Alice and Bob.
func pair() (alice, bob *group.Group) {
	alice = try(group.New(exampleConfig, suite1, group.CreateOptions{Identity: register("alice")}))
	kp, private := newKeyPackage(register("bob"))
	staged := try(alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}}))
	// The delivery service has accepted staged.Message() for the epoch.
	if err := alice.Merge(staged); err != nil {
		log.Fatal(err)
	}
	welcome := try(framing.Parse(staged.Welcome()))
	return alice, try(group.Join(exampleConfig, welcome.Welcome, kp, private, group.JoinOptions{}))
}

// Two members exchange messages.
func Example() {
	alice, bob := pair()
	message := try(alice.Protect([]byte("hello Bob"), nil))

	switch r := try(bob.Process(message)).(type) {
	case *group.Application:
		fmt.Printf("%s: %s\n", r.Credential.Identity, r.Data)
	default:
		fmt.Printf("something else: %T\n", r)
	}
	// Output: alice: hello Bob
}

// Add a third member, update one's own keys, remove somebody.
func ExampleGroup_Commit() {
	alice, bob := pair()
	kp, private := newKeyPackage(register("carol"))

	add := try(alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}}))
	bob.Merge(try(bob.Process(add.Message())).(*group.Staged))
	alice.Merge(add)
	carol := try(group.Join(exampleConfig, try(framing.Parse(add.Welcome())).Welcome, kp, private, group.JoinOptions{}))

	update := try(carol.Commit(group.CommitOptions{}))
	alice.Merge(try(alice.Process(update.Message())).(*group.Staged))
	bob.Merge(try(bob.Process(update.Message())).(*group.Staged))
	carol.Merge(update)

	remove := try(alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.RemoveProposal(bob.OwnLeaf())}}))
	carol.Merge(try(carol.Process(remove.Message())).(*group.Staged))
	bob.Merge(try(bob.Process(remove.Message())).(*group.Removal).Staged)
	alice.Merge(remove)

	fmt.Println("epoch", alice.Epoch(), "members", alice.Tree().Members())
	fmt.Println("alice and carol agree:", bytes.Equal(alice.EpochAuthenticator(), carol.EpochAuthenticator()))
	fmt.Println("bob is a member:", bob.Active())
	// Output:
	// epoch 4 members 2
	// alice and carol agree: true
	// bob is a member: false
}

// Somebody has to commit, and some members are online: the one whose commit
// encrypts least should. Right after many were added at once that differs most:
// Alice has filled the nodes above her own leaf, which only those of the other half
// can encrypt to.
func ExampleGroup_chooseCommitter() {
	alice := try(group.New(exampleConfig, suite1, group.CreateOptions{Identity: register("alice")}))
	var adds []framing.Proposal
	for _, name := range []string{"bob", "carol", "dave", "erin", "frank", "grace", "heidi"} {
		kp, _ := newKeyPackage(register(name))
		adds = append(adds, group.AddProposal(kp))
	}
	if err := alice.Merge(try(alice.Commit(group.CommitOptions{Proposals: adds}))); err != nil {
		log.Fatal(err)
	}

	// The tree is public, so anybody can work it out, also the delivery service.
	tree, online := alice.Tree(), []mls.LeafIndex{0, 1, 5}
	cheapest := online[0]
	for _, leaf := range online {
		fmt.Printf("leaf %d: %d ciphertexts\n", leaf, tree.CommitCost(leaf))
		if tree.CommitCost(leaf) < tree.CommitCost(cheapest) {
			cheapest = leaf
		}
	}
	fmt.Println("leaf", cheapest, "commits")
	// Output:
	// leaf 0: 7 ciphertexts
	// leaf 1: 7 ciphertexts
	// leaf 5: 4 ciphertexts
	// leaf 5 commits
}

// Somebody joins without being added, by an external commit.
func ExampleJoinExternal() {
	alice, bob := pair()
	info := try(alice.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))

	carol, commit, err := group.JoinExternal(exampleConfig, info, group.ExternalJoinOptions{Identity: register("carol")})
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range []*group.Group{alice, bob} {
		g.Merge(try(g.Process(commit)).(*group.Staged))
	}
	message := try(carol.Protect([]byte("I let myself in"), nil))
	fmt.Printf("%s\n", try(bob.Process(message)).(*group.Application).Data)
	// Output: I let myself in
}

// A secret that the members share from elsewhere goes into the key schedule.
func ExamplePSKProposal() {
	cfg := exampleConfig
	cfg.PSK = func(id keyschedule.PreSharedKeyID) (mls.Secret, error) {
		if string(id.PSKID) != "from the meeting" {
			return mls.Secret{}, errors.New("unknown")
		}
		return mls.NewSecret([]byte("what only those present have heard")), nil
	}
	frank := try(group.New(cfg, suite1, group.CreateOptions{Identity: register("frank")}))
	kp, private := newKeyPackage(register("grace"))

	staged := try(frank.Commit(group.CommitOptions{Proposals: []framing.Proposal{
		group.AddProposal(kp), group.PSKProposal(suite1, []byte("from the meeting")),
	}}))
	frank.Merge(staged)
	welcome := try(framing.Parse(staged.Welcome())).Welcome

	_, err := group.Join(exampleConfig, welcome, kp, private, group.JoinOptions{})
	fmt.Println("without the secret:", errors.Is(err, mls.ErrUnavailable))
	grace := try(group.Join(cfg, welcome, kp, private, group.JoinOptions{}))
	fmt.Println("with it:", bytes.Equal(frank.EpochAuthenticator(), grace.EpochAuthenticator()))
	// Output:
	// without the secret: true
	// with it: true
}

// The application says which credentials are genuine.
func ExampleConfig_authenticate() {
	alice, _ := pair()
	mallory := register("mallory")
	delete(directory, "mallory")
	kp, _ := newKeyPackage(mallory)

	_, err := alice.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}})
	var rule *mls.RuleError
	if errors.As(err, &rule) {
		fmt.Printf("%s/%s: %s: %v\n", rule.Section, rule.Rule, rule.Culprit.Identity, rule.Err)
	}
	// Output: 5.3.1/credential: mallory: not in the directory
}

// A received commit is inspected before it takes effect, and refused by
// dropping it.
func ExampleStaged() {
	alice, bob := pair()
	kp, _ := newKeyPackage(register("dave"))
	commit := try(bob.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}}))

	staged := try(alice.Process(commit.Message())).(*group.Staged)
	for _, added := range staged.Changes().Added {
		fmt.Printf("leaf %d: %s\n", added.Leaf, added.New.Credential.Identity)
	}
	// Alice does not want Dave: she drops it.
	fmt.Println("alice stays in epoch", alice.Epoch())
	// Output:
	// leaf 2: dave
	// alice stays in epoch 1
}

// A group survives a restart.
func ExampleRestore() {
	erin := register("erin")
	g := try(group.New(exampleConfig, suite1, group.CreateOptions{Identity: erin}))
	saved := try(g.State())

	again := try(group.Restore(exampleConfig, saved, erin.Signer))
	fmt.Println(bytes.Equal(g.EpochAuthenticator(), again.EpochAuthenticator()))
	// Output: true
}
