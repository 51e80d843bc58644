package keyschedule

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

func newTestTree(t testing.TB, leaves uint32, b Bounds) *SecretTree {
	t.Helper()
	s := suite1(t)
	return NewSecretTree(s, secretOf(fill(1, s.HashSize())), leaves, b)
}

// opens opens one generation of leaf 0's application ratchet.
func opens(tree *SecretTree, generation uint32) error {
	return tree.Open(0, Application, generation, func(mls.Secret, []byte) error { return nil })
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantRule checks that err is the breach of one rule, named "section/rule".
func wantRule(t *testing.T, err error, want string) {
	t.Helper()
	var rule *mls.RuleError
	if !errors.As(err, &rule) {
		t.Errorf("%v, want RuleError %s", err, want)
		return
	}
	if got := rule.Section + "/" + rule.Rule; got != want || !errors.Is(err, mls.ErrInvalid) {
		t.Errorf("RuleError %s, want %s", got, want)
	}
}

func stateOf(t testing.TB, tree *SecretTree) []byte {
	t.Helper()
	data, err := tree.MarshalState()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMaxForward(t *testing.T) {
	tests := map[string]struct {
		bounds Bounds
		limit  uint32
	}{
		"default": {Bounds{}, DefaultMaxForward},
		"small":   {Bounds{MaxForward: 3}, 3},
		"largest": {Bounds{MaxForward: math.MaxUint32}, 5000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, start := range []uint32{0, 1, 7} {
				tree := newTestTree(t, 2, test.bounds)
				for range start {
					if _, _, _, err := tree.Next(0, Application); err != nil {
						t.Fatal(err)
					}
				}
				if test.limit != 5000 {
					before := stateOf(t, tree)
					wantErr(t, "one past the limit", opens(tree, start+test.limit+1), mls.ErrTooFar)
					wantErr(t, "the greatest generation", opens(tree, math.MaxUint32), mls.ErrTooFar)
					if !bytes.Equal(stateOf(t, tree), before) {
						t.Error("the state changed")
					}
				}
				wantErr(t, "the limit", opens(tree, start+test.limit), nil)
				wantErr(t, "the limit, again", opens(tree, start+test.limit), mls.ErrKeyConsumed)
			}
		})
	}
}

func TestMaxSkipped(t *testing.T) {
	tests := []struct {
		name     string
		bounds   Bounds
		open     []uint32 // in this order, all of which succeed
		kept     []uint32
		consumed []uint32
	}{
		{"at the limit", Bounds{MaxSkipped: 3}, []uint32{3}, []uint32{0, 1, 2}, nil},
		{"one past the limit", Bounds{MaxSkipped: 3}, []uint32{4}, []uint32{1, 2, 3}, []uint32{0}},
		{"in two steps", Bounds{MaxSkipped: 3}, []uint32{2, 5}, []uint32{1, 3, 4}, []uint32{0}},
		{"room again after use", Bounds{MaxSkipped: 3}, []uint32{3, 1, 5}, []uint32{0, 2, 4}, []uint32{1}},
		{"none", Bounds{MaxSkipped: -1}, []uint32{3}, nil, []uint32{0, 1, 2}},
		{"default", Bounds{MaxForward: 5000}, []uint32{DefaultMaxSkipped + 2}, []uint32{2, DefaultMaxSkipped + 1}, []uint32{0, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := newTestTree(t, 2, test.bounds)
			for _, g := range test.open {
				wantErr(t, "opening", opens(tree, g), nil)
			}
			for _, g := range test.consumed {
				wantErr(t, "forgotten or used", opens(tree, g), mls.ErrKeyConsumed)
			}
			for _, g := range test.kept {
				wantErr(t, "kept", opens(tree, g), nil)
				wantErr(t, "kept, again", opens(tree, g), mls.ErrKeyConsumed)
			}
		})
	}
}

func TestRestoreWithSmallerBounds(t *testing.T) {
	tree := newTestTree(t, 2, Bounds{MaxSkipped: 4})
	wantErr(t, "opening", opens(tree, 4), nil)
	restored, err := RestoreSecretTree(suite1(t), stateOf(t, tree), Bounds{MaxSkipped: 2, MaxForward: 6})
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "forgotten", opens(restored, 1), mls.ErrKeyConsumed)
	wantErr(t, "kept", opens(restored, 2), nil)
	wantErr(t, "too far", opens(restored, 12), mls.ErrTooFar)
	restored.SetBounds(Bounds{MaxForward: 7})
	wantErr(t, "no longer too far", opens(restored, 12), nil)
}

// near returns a two-leaf tree whose leaf 0 is about to use a late generation.
func near(t *testing.T, generation uint32) *SecretTree {
	t.Helper()
	tree := newTestTree(t, 2, Bounds{})
	wantErr(t, "opening", opens(tree, 0), nil)
	n, _ := tree.find(0)
	n.ratchets[Application].next = uint64(generation)
	return tree
}

func TestLastGeneration(t *testing.T) {
	const last = math.MaxUint32
	tree := near(t, last-1)
	for _, want := range []uint32{last - 1, last} {
		g, key, nonce, err := tree.Next(0, Application)
		if err != nil || g != want || key.IsZero() || len(nonce) == 0 {
			t.Fatalf("generation %d, %v, want %d", g, err, want)
		}
	}
	for range 2 { // the second time from saved state
		if _, _, _, err := tree.Next(0, Application); !errors.Is(err, mls.ErrKeyConsumed) {
			t.Errorf("past the last generation: %v, want ErrKeyConsumed", err)
		}
		wantErr(t, "the last generation, again", opens(tree, last), mls.ErrKeyConsumed)
		if g := tree.Generation(0, Application); g != last {
			t.Errorf("Generation is %d, want %d", g, uint32(last))
		}
		if _, _, _, err := tree.Next(0, Handshake); err != nil {
			t.Errorf("the other ratchet: %v", err)
		}
		var err error
		if tree, err = RestoreSecretTree(suite1(t), stateOf(t, tree), Bounds{}); err != nil {
			t.Fatal(err)
		}
	}

	received := near(t, last-2)
	wantErr(t, "skipping to the last generation", opens(received, last), nil)
	wantErr(t, "the last but one", opens(received, last-1), nil)
	wantErr(t, "the last but one, again", opens(received, last-1), mls.ErrKeyConsumed)
	wantErr(t, "the last but two", opens(received, last-2), nil)
}

func TestOpenLeavesNoTraceOfForgery(t *testing.T) {
	allSuites(t, func(t *testing.T, s *mls.Suite) {
		tree := NewSecretTree(s, secretOf(fill(1, s.HashSize())), 8, Bounds{})
		forge := func(leaf mls.LeafIndex, kind RatchetKind, generation uint32) {
			t.Helper()
			before := stateOf(t, tree)
			var kept mls.Secret
			var keptNonce []byte
			err := tree.Open(leaf, kind, generation, func(key mls.Secret, nonce []byte) error {
				kept, keptNonce = key, nonce
				if key.Len() != s.KeySize() || len(nonce) != s.NonceSize() {
					t.Errorf("key of %d bytes, nonce of %d", key.Len(), len(nonce))
				}
				return errForged
			})
			wantErr(t, "forged", err, errForged)
			if !bytes.Equal(stateOf(t, tree), before) {
				t.Error("a forged message changed the state")
			}
			if !kept.IsZero() || slices.ContainsFunc(keptNonce, func(b byte) bool { return b != 0 }) {
				t.Error("the key or the nonce outlives the call")
			}
		}
		forge(3, Application, 0)
		forge(3, Application, 40)
		ok := func(leaf mls.LeafIndex, kind RatchetKind, generation uint32) {
			t.Helper()
			err := tree.Open(leaf, kind, generation, func(mls.Secret, []byte) error { return nil })
			wantErr(t, "genuine", err, nil)
		}
		ok(3, Application, 5)
		forge(2, Handshake, 1) // a sibling: part of the way is there
		forge(3, Handshake, 0)
		forge(3, Application, 2) // skipped
		forge(3, Application, 6)
		forge(3, Application, 20)
		ok(3, Application, 2)
		ok(3, Application, 20)
		ok(2, Handshake, 1)
	})
}

func TestRatchetsAreIndependent(t *testing.T) {
	tree := newTestTree(t, 4, Bounds{})
	for range 3 {
		if _, _, _, err := tree.Next(1, Handshake); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		leaf mls.LeafIndex
		kind RatchetKind
		want uint32
	}{{1, Handshake, 3}, {1, Application, 0}, {0, Handshake, 0}, {2, Application, 0}} {
		if g := tree.Generation(test.leaf, test.kind); g != test.want {
			t.Errorf("leaf %d, %v: generation %d, want %d", test.leaf, test.kind, g, test.want)
		}
	}
	wantErr(t, "the same generation of the other ratchet", tree.Open(1, Application, 0, func(mls.Secret, []byte) error { return nil }), nil)
}

func TestLeafOutsideSecretTree(t *testing.T) {
	for leaves, outside := range map[uint32]mls.LeafIndex{0: 1, 1: 1, 2: 2, 3: 4, 8: 8, 1 << 31: 1 << 31} {
		tree := newTestTree(t, leaves, Bounds{})
		before := stateOf(t, tree)
		_, _, _, err := tree.Next(outside, Handshake)
		wantRule(t, err, "9/leaf-outside-secret-tree")
		err = tree.Open(outside, Handshake, 0, func(mls.Secret, []byte) error { t.Error("open is called"); return nil })
		wantRule(t, err, "9/leaf-outside-secret-tree")
		if tree.Generation(outside, Handshake) != 0 || !bytes.Equal(stateOf(t, tree), before) {
			t.Error("the state changed")
		}
		if _, _, _, err := tree.Next(outside-1, Handshake); err != nil {
			t.Errorf("%d leaves: the last one: %v", leaves, err)
		}
	}
}

func TestUnknownRatchetKind(t *testing.T) {
	tree := newTestTree(t, 2, Bounds{})
	if _, _, _, err := tree.Next(0, ratchetKinds); err == nil {
		t.Error("Next takes a ratchet that there is not")
	}
	if err := tree.Open(0, ratchetKinds, 0, func(mls.Secret, []byte) error { return nil }); err == nil {
		t.Error("Open takes a ratchet that there is not")
	}
	if got := RatchetKind(9).String() + Handshake.String() + Application.String(); got != "RatchetKind(9)handshakeapplication" {
		t.Errorf("names are %s", got)
	}
}

// count returns how many nodes there are at and below n, and how many of them
// hold a secret although they have children or ratchets.
func count(n *treeNode) (nodes, unconsumed int) {
	if n == nil {
		return 0, 0
	}
	left, u1 := count(n.left)
	right, u2 := count(n.right)
	nodes, unconsumed = 1+left+right, u1+u2
	if (n.left != nil || n.ratchets != nil) && !n.secret.IsZero() {
		unconsumed++
	}
	return nodes, unconsumed
}

func TestSecretTreeIsLazy(t *testing.T) {
	const depth = 21
	tree := newTestTree(t, 1<<depth, Bounds{})
	if nodes, _ := count(tree.root); nodes != 3 {
		t.Errorf("%d nodes before the first use, want 3", nodes)
	}
	for touched, leaf := range []mls.LeafIndex{0, 1<<depth - 1, 1 << 20, 12345, 12344} {
		if _, _, _, err := tree.Next(leaf, Handshake); err != nil {
			t.Fatal(err)
		}
		nodes, unconsumed := count(tree.root)
		if most := 1 + 2*depth*(touched+1); nodes > most {
			t.Errorf("%d nodes after %d leaves, want %d at most", nodes, touched+1, most)
		}
		if unconsumed != 0 {
			t.Errorf("%d nodes keep a consumed secret", unconsumed)
		}
	}
	if size := len(stateOf(t, tree)); size > 5*depth*50+5*100 {
		t.Errorf("the state takes %d bytes", size)
	}
}

// Destroyed secrets are overwritten where they lie, not only let go.
func TestConsumedSecretsAreCleared(t *testing.T) {
	s := suite1(t)
	encryption := secretOf(fill(1, s.HashSize()))
	raw := encryption.UnsafeBytes()
	tree := NewSecretTree(s, encryption, 4, Bounds{})
	wantCleared(t, "encryption_secret", raw)

	left := tree.root.left.secret.UnsafeBytes()
	wantErr(t, "opening", opens(tree, 2), nil)
	wantCleared(t, "a node on the path", left)

	n, _ := tree.find(0)
	r := &n.ratchets[Application]
	ratchetSecret, skipped := r.secret.UnsafeBytes(), r.skipped[1].keyNonce.UnsafeBytes()
	wantErr(t, "opening", opens(tree, 3), nil)
	wantCleared(t, "a ratchet secret", ratchetSecret)
	wantErr(t, "opening", opens(tree, 1), nil)
	wantCleared(t, "a skipped key", skipped)

	rest := [][]byte{
		tree.root.right.secret.UnsafeBytes(), r.secret.UnsafeBytes(), r.skipped[0].keyNonce.UnsafeBytes(),
		n.ratchets[Handshake].secret.UnsafeBytes(),
	}
	tree.Destroy()
	for _, raw := range rest {
		wantCleared(t, "a secret of a destroyed tree", raw)
	}
	wantErr(t, "opening in a destroyed tree", opens(tree, 9), mls.ErrKeyConsumed)
	if _, err := tree.MarshalState(); err == nil {
		t.Error("a destroyed tree can be saved")
	}
	tree.Destroy()
}

func wantCleared(t *testing.T, what string, raw []byte) {
	t.Helper()
	if len(raw) == 0 || slices.ContainsFunc(raw, func(b byte) bool { return b != 0 }) {
		t.Errorf("%s is not cleared", what)
	}
}

// A copy of the state saved after a message was read cannot read it again.
func TestSavedStateCannotReadAgain(t *testing.T) {
	tree := newTestTree(t, 4, Bounds{})
	for _, g := range []uint32{4, 2} {
		wantErr(t, "opening", opens(tree, g), nil)
	}
	restored, err := RestoreSecretTree(suite1(t), stateOf(t, tree), Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []uint32{4, 2} {
		wantErr(t, "reading again", opens(restored, g), mls.ErrKeyConsumed)
	}
	wantErr(t, "a skipped one", opens(restored, 3), nil)
}

// TestRestoreSecretTreeRefuses edits a good state in ways that MarshalState
// cannot have written.
func TestRestoreSecretTreeRefuses(t *testing.T) {
	s := suite1(t)
	tree := newTestTree(t, 8, Bounds{})
	wantErr(t, "opening", opens(tree, 3), nil)
	if _, _, _, err := tree.Next(5, Handshake); err != nil {
		t.Fatal(err)
	}
	good := stateOf(t, tree)
	edits := map[string]func(st *treeState){
		"version":                  func(st *treeState) { st.Version++ },
		"suite":                    func(st *treeState) { st.Suite++ },
		"depth too great":          func(st *treeState) { st.Depth = 33 },
		"depth of more leaves":     func(st *treeState) { st.Depth++ },
		"depth of fewer leaves":    func(st *treeState) { st.Depth-- },
		"node missing":             func(st *treeState) { st.Nodes = st.Nodes[1:] },
		"node twice":               func(st *treeState) { st.Nodes = append(st.Nodes, st.Nodes[len(st.Nodes)-1]) },
		"nodes out of order":       func(st *treeState) { slices.Reverse(st.Nodes) },
		"node secret short":        func(st *treeState) { st.Nodes[0].Secret = st.Nodes[0].Secret[1:] },
		"node outside the tree":    func(st *treeState) { st.Nodes[0].Index = 99 },
		"leaf missing":             func(st *treeState) { st.Leaves = st.Leaves[1:] },
		"leaf twice":               func(st *treeState) { st.Leaves = append(st.Leaves, st.Leaves[1]) },
		"leaves out of order":      func(st *treeState) { slices.Reverse(st.Leaves) },
		"leaf outside the tree":    func(st *treeState) { st.Leaves[1].Leaf = 8 },
		"no leaves":                func(st *treeState) { st.Leaves = nil },
		"nothing":                  func(st *treeState) { st.Leaves, st.Nodes = nil, nil },
		"ratchet secret missing":   func(st *treeState) { st.Leaves[0].Handshake.Secret = []byte{} },
		"ratchet secret long":      func(st *treeState) { st.Leaves[0].Handshake.Secret = make([]byte, 33) },
		"secret after the last":    func(st *treeState) { st.Leaves[0].Handshake.Next = 1 << 32 },
		"generation beyond uint32": func(st *treeState) { st.Leaves[0].Application.Next = 1<<32 + 1 },
		"skipped twice": func(st *treeState) {
			skipped := st.Leaves[0].Application.Skipped
			skipped[1].Generation = skipped[0].Generation
		},
		"skipped at the next generation": func(st *treeState) { st.Leaves[0].Application.Skipped[2].Generation = 4 },
		"skipped key short": func(st *treeState) {
			skipped := st.Leaves[0].Application.Skipped
			skipped[1].KeyNonce = skipped[1].KeyNonce[1:]
		},
		"handshakes dropped, one kept": func(st *treeState) { st.ApplicationOnly = true },
		"encryption_secret": func(st *treeState) {
			st.Leaves = nil
			st.Nodes = []nodeState{{Index: nodeIndex(3, 0), Secret: make([]byte, 32)}}
		},
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			var st treeState
			if err := state.Unmarshal(good, &st); err != nil {
				t.Fatal(err)
			}
			edit(&st)
			data, err := state.Marshal(st)
			if err != nil {
				t.Fatal(err)
			}
			restored, err := RestoreSecretTree(s, data, Bounds{})
			wantErr(t, name, err, mls.ErrMalformed)
			if restored != nil {
				t.Error("a tree comes with the error")
			}
		})
	}
	for n := range good {
		if _, err := RestoreSecretTree(s, good[:n], Bounds{}); !errors.Is(err, mls.ErrMalformed) {
			t.Fatalf("%d of %d bytes: %v, want ErrMalformed", n, len(good), err)
		}
	}
}

// Saved nodes go by their index in the array form (RFC 9420, Appendix C).
func TestSavedNodesHaveArrayIndices(t *testing.T) {
	tree := newTestTree(t, 8, Bounds{})
	wantErr(t, "opening", opens(tree, 0), nil)
	var st treeState
	if err := state.Unmarshal(stateOf(t, tree), &st); err != nil {
		t.Fatal(err)
	}
	var indices []uint64
	for _, n := range st.Nodes {
		indices = append(indices, n.Index)
	}
	if want := []uint64{2, 5, 11}; !slices.Equal(indices, want) {
		t.Errorf("copath of leaf 0 in a tree of 8 is %v, want %v", indices, want)
	}
}

func TestDropHandshakes(t *testing.T) {
	s := suite1(t)
	tree := newTestTree(t, 8, Bounds{})
	wantErr(t, "opening", opens(tree, 2), nil)
	err := tree.Open(0, Handshake, 1, func(mls.Secret, []byte) error { return nil })
	wantErr(t, "a commit in time", err, nil)
	n, _ := tree.find(0)
	handshake := &n.ratchets[Handshake]
	secret, skipped := handshake.secret.UnsafeBytes(), handshake.skipped[0].keyNonce.UnsafeBytes()
	tree.DropHandshakes()
	wantCleared(t, "a handshake ratchet secret", secret)
	wantCleared(t, "a skipped handshake key", skipped)

	ref := referenceFor(t, s.ID())
	for range 2 { // the second time from saved state
		for _, leaf := range []mls.LeafIndex{0, 5} { // heard before, and not
			for _, g := range []uint32{0, 1, 2} {
				err := tree.Open(leaf, Handshake, g, func(mls.Secret, []byte) error { return nil })
				wantErr(t, "a commit that is late", err, mls.ErrKeyConsumed)
			}
			_, _, _, err := tree.Next(leaf, Handshake)
			wantErr(t, "a commit to be sent", err, mls.ErrKeyConsumed)
			if _, _, _, err = tree.Next(leaf, Application); err != nil {
				t.Error(err)
			}
		}
		data := stateOf(t, tree)
		nodes := ref.nodes(fill(1, s.HashSize()), 3, 5)
		if bytes.Contains(data, ref.ratchet(nodes[3], Handshake, 0)[0]) {
			t.Error("a sender who is heard late leaves a handshake ratchet")
		}
		if tree, err = RestoreSecretTree(s, data, Bounds{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(stateOf(t, tree), data) {
			t.Error("the restored tree has another state")
		}
	}
	wantErr(t, "a skipped application message", opens(tree, 1), nil)
}
