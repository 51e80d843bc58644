package treekem_test

import (
	"fmt"
	"log"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/treekem"
)

func newClient(s *mls.Suite, name string) (*treekem.KeyPackage, *treekem.KeyPackagePrivate) {
	signer, err := s.GenerateSigner()
	if err != nil {
		log.Fatal(err)
	}
	kp, private, err := treekem.NewKeyPackage(s, treekem.KeyPackageOptions{
		Credential: treekem.BasicCredential([]byte(name)),
		Signer:     signer,
		Lifetime:   treekem.LifetimeFrom(time.Now(), 30*24*time.Hour),
	})
	if err != nil {
		log.Fatal(err)
	}
	return kp, private
}

// A member adds another and refreshes its own keys, as package group does for
// every commit; the new member takes its keys from the path secret in the
// Welcome.
func Example() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	groupID := []byte("example")
	alice, alicePrivate := newClient(suite, "alice")
	bob, bobPrivate := newClient(suite, "bob")

	tree, err := treekem.NewTree(suite, &alice.LeafNode)
	if err != nil {
		log.Fatal(err)
	}
	edit := tree.Edit()
	bobLeaf, err := edit.Add(&bob.LeafNode)
	if err != nil {
		log.Fatal(err)
	}
	if tree, err = edit.Done(); err != nil {
		log.Fatal(err)
	}

	path, err := tree.NewPath(0, &alice.LeafNode, alicePrivate.Signer, groupID)
	if err != nil {
		log.Fatal(err)
	}
	context := []byte("the provisional group context, with path.Tree().Hash() in it")
	update, err := path.Seal(context, []mls.LeafIndex{bobLeaf})
	if err != nil {
		log.Fatal(err)
	}
	if tree, err = tree.MergePath(0, update, groupID, []mls.LeafIndex{bobLeaf}); err != nil {
		log.Fatal(err)
	}

	secret, _ := path.PathSecretFor(bobLeaf)
	bobKeys, err := treekem.NewPrivate(suite, bobLeaf, bobPrivate.LeafKey).Join(tree, 0, secret)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(tree)
	fmt.Println("bob has the keys of nodes", bobKeys.Nodes())
	// Output:
	// node 1
	// ├─leaf 0: alice
	// └─leaf 1: bob
	// bob has the keys of nodes [2 1]
}

// A joiner checks the tree that it is given before it uses it.
func ExampleTree_Validate() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	alice, _ := newClient(suite, "alice")
	tree, err := treekem.NewTree(suite, &alice.LeafNode)
	if err != nil {
		log.Fatal(err)
	}
	ratchetTree, err := tree.Bytes() // the contents of the extension
	if err != nil {
		log.Fatal(err)
	}

	received, err := treekem.ParseTree(suite, ratchetTree, 1000)
	if err != nil {
		log.Fatal(err)
	}
	err = received.Validate([]byte("example"), treekem.ValidateOptions{Now: time.Now()})
	fmt.Println(received.Members(), "member,", err)

	err = received.Validate([]byte("example"), treekem.ValidateOptions{Now: time.Now().AddDate(1, 0, 0)})
	fmt.Println(err)
	// Output:
	// 1 member, <nil>
	// mls: invalid: leaf node outside its lifetime [leaf 0, "alice"] (RFC 9420, Section 7.3: lifetime)
}

// What the members have in common is known without asking each.
func ExampleTree_EveryMember() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	alice, _ := newClient(suite, "alice")
	tree, err := treekem.NewTree(suite, &alice.LeafNode)
	if err != nil {
		log.Fatal(err)
	}
	every := tree.EveryMember()
	fmt.Println(every.SupportsCredential(mls.CredentialX509), every.SupportsExtension(0xff01), every.CredentialsInUse())
	err = tree.CheckRequired(treekem.RequiredCapabilities{Extensions: []mls.ExtensionType{0xff01}})
	fmt.Println(err)
	// Output:
	// true false [basic]
	// mls: invalid: leaf 0 does not support all required capabilities [leaf 0, "alice"] (RFC 9420, Section 11.1: required-capabilities)
}

// A tree is stored in pieces; a commit changes few of them, and who opens the
// tree again reads few.
func ExampleStored() {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	store := map[string][]byte{} // stands for a transactional store
	write := func(c *treekem.TreeChanges) {
		for _, name := range c.Delete {
			delete(store, string(name))
		}
		for _, r := range c.Put {
			store[string(r.Name)] = r.Value
		}
	}
	edit := func(tree *treekem.Tree, adds int) *treekem.Tree {
		e := tree.Edit()
		for range adds {
			kp, _ := newClient(suite, "a member")
			if _, err := e.Add(&kp.LeafNode); err != nil {
				log.Fatal(err)
			}
		}
		tree, err := e.Done()
		if err != nil {
			log.Fatal(err)
		}
		return tree
	}

	first, _ := newClient(suite, "the first")
	tree, err := treekem.NewTree(suite, &first.LeafNode)
	if err != nil {
		log.Fatal(err)
	}
	_, whole, err := treekem.StoreTree(edit(tree, 999))
	if err != nil {
		log.Fatal(err)
	}
	write(whole)

	reads := 0
	opened, err := treekem.OpenTree(suite, func(name []byte) ([]byte, error) {
		reads++
		return store[string(name)], nil
	})
	if err != nil {
		log.Fatal(err)
	}
	next, changes, err := opened.Store(edit(opened.Tree(), 1))
	if err != nil {
		log.Fatal(err)
	}
	write(changes)
	fmt.Println(next.Tree().Members(), "members in", len(store), "records:", reads, "read,", len(changes.Put), "written")
	// Output: 1001 members in 231 records: 8 read, 6 written
}
