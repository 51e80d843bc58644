package treekem

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/testkit"
	"github.com/treekem/mls/internal/wire"
)

// allocPerByte bounds what decoding allocates for each byte of input: the
// smallest items of a list, of two bytes or so, become structures of dozens.
const allocPerByte, allocBase = 128, 16 << 10

// decodeFuzz checks one input: no panic, memory in proportion to the input, and
// an accepted input encodes to the same bytes.
func decodeFuzz[T any, P interface {
	*T
	wire.Encoder
	wire.Decoder
}](t *testing.T, in []byte) P {
	t.Helper()
	var v P
	var err error
	limit := uint64(allocPerByte*len(in) + allocBase)
	n := testkit.AllocatedBy(limit, func() {
		v = new(T)
		err = wire.Unmarshal(in, v)
	})
	if n > limit {
		t.Fatalf("decoding %d bytes allocates %d", len(in), n)
	}
	if err != nil {
		return nil
	}
	out, err := wire.Marshal(v)
	if err != nil || !bytes.Equal(out, in) {
		t.Fatalf("%x encodes to %x, %v", in, out, err)
	}
	return v
}

// seeds adds up to 64 inputs and fails unless there are at least as many as
// wanted: an empty corpus would go unnoticed.
func seeds(f *testing.F, atLeast int, inputs [][]byte) {
	f.Helper()
	if len(inputs) < atLeast {
		f.Fatalf("%d seeds, want at least %d", len(inputs), atLeast)
	}
	for i := 0; i < len(inputs); i += 1 + len(inputs)/64 {
		f.Add(inputs[i])
	}
}

// vectorTrees returns the encoded trees of the tree-validation vectors.
func vectorTrees(f *testing.F) [][]byte {
	f.Helper()
	var vectors []struct {
		Tree testkit.Hex `json:"tree"`
	}
	if err := json.Unmarshal(testkit.Vectors(f, "tree-validation.json"), &vectors); err != nil {
		f.Fatal(err)
	}
	var out [][]byte
	for _, v := range vectors {
		out = append(out, v.Tree)
	}
	return out
}

// vectorNodes returns the encoded leaf and parent nodes of those trees.
func vectorNodes(f *testing.F) (leaves, parents [][]byte) {
	f.Helper()
	for _, in := range vectorTrees(f) {
		spans, err := scanNodes(in, DefaultMaxLeaves)
		if err != nil {
			f.Fatal(err)
		}
		for x, s := range spans {
			switch {
			case s == (span{}):
			case NodeIndex(x).IsLeaf():
				leaves = append(leaves, in[s.start:s.end])
			default:
				parents = append(parents, in[s.start:s.end])
			}
		}
	}
	return leaves, parents
}

func FuzzLeafNode(f *testing.F) {
	leaves, _ := vectorNodes(f)
	seeds(f, 800, leaves)
	s := suite1(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		l := decodeFuzz[LeafNode](t, in)
		if l == nil {
			return
		}
		v := viewLeaf(string(in))
		if v.encryptionKey != string(l.EncryptionKey) || v.signatureKey != string(l.SignatureKey) ||
			v.parentHash != string(l.ParentHash) || v.source != l.Source || v.signature != string(l.Signature) {
			t.Fatal("the encoded leaf node reads differently")
		}
		r := wire.NewReader(in)
		if skipLeaf(r); r.Err() != nil || !r.Empty() {
			t.Fatalf("skipping stops with %d bytes left, %v", r.Len(), r.Err())
		}
		_ = l.Check(s, testNow, false)
		_ = l.VerifySignature(s, testGroupID, 0)
		_ = l.Credential.String()
		if clone := must[[]byte](t)(l.Clone().Bytes()); !bytes.Equal(clone, in) {
			t.Fatal("a clone differs")
		}
		if supportOf(&v).SupportsVersion(mls.MLS10) != slices.Contains(l.Capabilities.Versions, mls.MLS10) {
			t.Fatal("support differs from the capabilities")
		}
	})
}

func FuzzParentNode(f *testing.F) {
	_, parents := vectorNodes(f)
	seeds(f, 500, parents)
	f.Fuzz(func(t *testing.T, in []byte) {
		p := decodeFuzz[ParentNode](t, in)
		if p == nil {
			return
		}
		key, parentHash, unmerged := parentFields(string(in))
		if key != string(p.EncryptionKey) || parentHash != string(p.ParentHash) || unmerged.len() != len(p.UnmergedLeaves) {
			t.Fatal("the encoded parent node reads differently")
		}
		if !bytes.Equal(appendParent(nil, key, parentHash, unmerged), in) {
			t.Fatal("the encoded parent node is put together differently")
		}
	})
}

func FuzzKeyPackage(f *testing.F) {
	var inputs [][]byte
	for _, file := range []string{"welcome.json", "passive-client-welcome.json", "passive-client-random.json"} {
		var vectors []struct {
			KeyPackage testkit.Hex `json:"key_package"`
		}
		if err := json.Unmarshal(testkit.Vectors(f, file), &vectors); err != nil {
			f.Fatal(err)
		}
		for _, v := range vectors {
			// An MLSMessage: the version and the wire format come first.
			inputs = append(inputs, v.KeyPackage[4:])
		}
	}
	seeds(f, 50, inputs)
	for _, in := range inputs {
		if _, err := ParseKeyPackage(in); err != nil {
			f.Fatal(err)
		}
	}
	s := suite1(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if kp := decodeFuzz[KeyPackage](t, in); kp != nil {
			_ = kp.Verify(s, testNow, false)
			_ = kp.LastResort()
		}
	})
}

func FuzzUpdatePath(f *testing.F) {
	var vectors []struct {
		UpdatePaths []struct {
			UpdatePath testkit.Hex `json:"update_path"`
		} `json:"update_paths"`
	}
	if err := json.Unmarshal(testkit.Vectors(f, "treekem.json"), &vectors); err != nil {
		f.Fatal(err)
	}
	var inputs [][]byte
	for _, v := range vectors {
		for _, u := range v.UpdatePaths {
			if len(u.UpdatePath) < 4096 {
				inputs = append(inputs, u.UpdatePath)
			}
		}
	}
	seeds(f, 100, inputs)
	s := suite1(f)
	tree, keys, _ := fixedTree(f, s)
	f.Fuzz(func(t *testing.T, in []byte) {
		u := decodeFuzz[UpdatePath](t, in)
		if u == nil {
			return
		}
		_, _ = tree.MergePath(0, u, testGroupID, nil)
		_, _, _ = tree.MergeExternalPath(u, testGroupID)
		_, _, _ = keys.Private(1).Open(tree, 0, u, nil, nil)
	})
}

// fixedTree is a small tree to throw paths at.
func fixedTree(f *testing.F, s *mls.Suite) (*Tree, *BuiltKeys, []BuildMember) {
	members := make([]BuildMember, 4)
	for i := range members {
		members[i] = BuildMember{Credential: BasicCredential([]byte{byte(i)}), Signer: newSigner(f, s)}
	}
	tree, keys, err := BuildFull(s, members, testGroupID)
	if err != nil {
		f.Fatal(err)
	}
	return tree, keys, members
}

func FuzzParseTree(f *testing.F) {
	trees := vectorTrees(f)
	seeds(f, 90, trees)
	f.Add([]byte{})
	f.Add(must[[]byte](f)(hex.DecodeString("00")))
	f.Fuzz(func(t *testing.T, in []byte) {
		// The suite decides on the sizes of hashes only.
		for _, id := range []mls.CipherSuite{1, 5} {
			s := mustSuite(t, id)
			var tree *Tree
			var err error
			limit := uint64(allocPerByte*len(in) + 4*allocBase)
			n := testkit.AllocatedBy(limit, func() { tree, err = ParseTree(s, in, 1<<16) })
			if n > limit {
				t.Fatalf("parsing %d bytes allocates %d", len(in), n)
			}
			if err != nil {
				continue
			}
			if !bytes.Equal(treeBytes(t, tree), in) {
				t.Fatal("the tree encodes to other bytes")
			}
			checkTree(t, tree)
			_ = tree.Validate(testGroupID, ValidateOptions{Now: testNow})
			_ = tree.String()
			_ = tree.Resolution(Root(tree.Width()))
			for i := range tree.Leaves() {
				_ = tree.FilteredDirectPath(i)
				_ = tree.CommitCost(i)
				if i%16 == 3 || tree.Members() == 1 {
					exerciseEdit(t, tree, i)
				}
			}
		}
	})
}

// exerciseEdit removes a member of a tree that nobody has validated.
func exerciseEdit(t *testing.T, tree *Tree, i mls.LeafIndex) {
	e := tree.Edit()
	if err := e.Remove(i); err != nil {
		t.Fatal(err)
	}
	after, err := e.Done()
	if err != nil {
		return
	}
	if tree.Members() > 1 {
		checkTree(t, after)
	}
	if after.Members() != tree.Members()-1 {
		t.Fatalf("%d members left of %d", after.Members(), tree.Members())
	}
}

func FuzzRestorePrivate(f *testing.F) {
	s := suite1(f)
	_, keys, _ := fixedTree(f, s)
	for i := range mls.LeafIndex(4) {
		f.Add(must[[]byte](f)(keys.Private(i).MarshalState()))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := RestorePrivate(s, in)
		if err != nil {
			return
		}
		out := must[[]byte](t)(p.MarshalState())
		back := must[*Private](t)(RestorePrivate(s, out))
		if again := must[[]byte](t)(back.MarshalState()); !bytes.Equal(out, again) {
			t.Fatal("saved state differs after a restore")
		}
	})
}
