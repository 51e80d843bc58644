package treekem

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/treekem/mls"
)

// A treeMap is a store of one tree.
type treeMap map[string][]byte

func (m treeMap) read(name []byte) ([]byte, error) { return m[string(name)], nil }

func (m treeMap) write(t tb, c *TreeChanges) {
	t.Helper()
	last := ""
	for _, r := range c.Put {
		if len(r.Name) > MaxTreeRecordName || string(r.Name) <= last || slices.ContainsFunc(c.Delete, func(d []byte) bool { return bytes.Equal(d, r.Name) }) {
			t.Fatalf("record %x is put after %x, or deleted too", r.Name, last)
		}
		last = string(r.Name)
		m[last] = r.Value
	}
	if !slices.IsSortedFunc(c.Delete, bytes.Compare) {
		t.Fatal("what is to be deleted is not in order")
	}
	for _, name := range c.Delete {
		delete(m, string(name))
	}
}

func (m treeMap) names(yield func([]byte) bool) {
	for name := range m {
		if !yield([]byte(name)) {
			return
		}
	}
}

// stored returns the tree as it is opened from a store.
func (m treeMap) open(t tb, s *mls.Suite) *Stored {
	t.Helper()
	return must[*Stored](t)(OpenTree(s, m.read))
}

func newTreeMap(t tb, tree *Tree) (treeMap, *Stored) {
	t.Helper()
	stored, changes, err := StoreTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	m := treeMap{}
	m.write(t, changes)
	return m, stored
}

// check checks that m holds the tree, and the same pages as if all of it were
// stored at once.
func (m treeMap) check(t tb, tree *Tree) {
	t.Helper()
	opened := m.open(t, tree.suite)
	if err := opened.Check(m.names); err != nil {
		t.Fatal(err)
	}
	sameTree(t, opened.Tree(), tree)
	whole, _ := newTreeMap(t, must[*Tree](t)(ParseTree(tree.suite, treeBytes(t, tree), 0)))
	for _, of := range []treeMap{m, whole} {
		for name := range of {
			if name[0] == recordPage && !samePage(m[name], whole[name]) {
				t.Fatalf("page %x is not as if it were stored at once", name)
			}
		}
	}
}

// samePage compares pages but for their checksums, in which the seed is.
func samePage(a, b []byte) bool {
	return len(a) > storedHead && len(b) > storedHead && bytes.Equal(a[storedHead:], b[storedHead:])
}

// TestStoredCommits runs random commits on a group whose tree is stored after
// each of them, and opened again from time to time: also between the making of a
// commit and its acceptance. The members' keys fit, a joiner accepts the tree,
// and the store holds what it would hold if the tree were stored at once.
func TestStoredCommits(t *testing.T) {
	s := suite1(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := newTestGroup(rt, s)
		g.grow(rt, rapid.SampledFrom([]int{1, 3, 8, 30}).Draw(rt, "members"))
		m, stored := newTreeMap(rt, g.tree)
		m.check(rt, g.tree)
		for range rapid.IntRange(1, 10).Draw(rt, "commits") {
			if rapid.Bool().Draw(rt, "open") {
				stored = m.open(rt, s)
				g.tree = stored.Tree()
			}
			g.commit(rt, drawCommit(rt, g))
			next, changes, err := stored.Store(g.tree)
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "pending") {
				saved := must[[]byte](rt)(changes.MarshalState())
				restored := must[*TreeChanges](rt)(RestoreTreeChanges(saved))
				over := must[*Stored](rt)(OpenTree(s, restored.Over(m.read)))
				if err := over.Check(restored.Names(m.names)); err != nil {
					rt.Fatal(err)
				}
				over = must[*Stored](rt)(OpenTree(s, restored.Over(m.read)))
				if next, changes, err = m.open(rt, s).Store(over.Tree()); err != nil {
					rt.Fatal(err)
				}
				g.tree = over.Tree()
				if again := must[[]byte](rt)(changes.MarshalState()); !bytes.Equal(again, saved) {
					rt.Fatal("an opened tree comes to other changes")
				}
			}
			stored = next
			m.write(rt, changes)
			if rapid.Bool().Draw(rt, "check") {
				g.check(rt)
			}
			m.check(rt, g.tree)
		}
		g.check(rt)
	})
}

// TestStoredEdits does so with the editor alone, on larger trees.
func TestStoredEdits(t *testing.T) {
	s := suite1(t)
	pool := make([]*LeafNode, 160)
	for i := range pool {
		kp, _ := newKeyPackage(t, s, "pool")
		pool[i] = &kp.LeafNode
	}
	rapid.Check(t, func(rt *rapid.T) {
		free := slices.Clone(pool[1:])
		tree := must[*Tree](rt)(NewTree(s, pool[0]))
		model := newModel(s, pool[0])
		m, stored := newTreeMap(rt, tree)
		for range rapid.IntRange(1, 8).Draw(rt, "batches") {
			if rapid.Bool().Draw(rt, "open") {
				stored = m.open(rt, s)
				tree = stored.Tree()
			}
			e := tree.Edit()
			fate := rapid.SampledFrom([]int{1, 3, 30}).Draw(rt, "fate")
			for i, l := range tree.Leaves() {
				if i != 0 && rapid.IntRange(0, fate).Draw(rt, "remove") == 0 {
					if err := e.Remove(i); err != nil {
						rt.Fatal(err)
					}
					model.remove(i)
					free = append(free, l)
				}
			}
			model.truncate()
			for range rapid.IntRange(0, min(70, len(free))).Draw(rt, "adds") {
				must[mls.LeafIndex](rt)(e.Add(free[0]))
				model.add(free[0])
				free = free[1:]
			}
			tree = must[*Tree](rt)(e.Done())
			next, changes, err := stored.Store(tree)
			if err != nil {
				rt.Fatal(err)
			}
			stored = next
			m.write(rt, changes)
			m.check(rt, tree)
			model.compare(rt, tree)
		}
	})
}

// TestStoredKeys finds keys that are in use in an opened tree, and those only.
func TestStoredKeys(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 32)
	m, _ := newTreeMap(t, g.tree)
	old := m.open(t, s).Tree()
	leaf, _ := old.Leaf(7)
	other, _ := old.Leaf(8)
	moved := leaf.Clone()
	moved.Source = SourceKeyPackage

	for name, edit := range map[string]func(*LeafNode){
		"encryption-key-unique": func(l *LeafNode) { l.EncryptionKey = other.EncryptionKey },
		"signature-key-unique":  func(l *LeafNode) { l.SignatureKey = other.SignatureKey },
	} {
		kp, _ := g.keyPackage(t)
		edit(&kp.LeafNode)
		e := m.open(t, s).Tree().Edit()
		if _, err := e.Add(&kp.LeafNode); err != nil {
			t.Fatal(err)
		}
		_, err := e.Done()
		wantRule(t, err, "7.3", name)
	}

	// The keys of leaf 7 move to leaf 3 in one commit, and back in another.
	stored := m.open(t, s)
	for _, step := range []struct{ from, to mls.LeafIndex }{{7, 3}, {3, 3}} {
		e := stored.Tree().Edit()
		remove := []mls.LeafIndex{step.from}
		if step.to != step.from {
			remove = append(remove, step.to)
		}
		for _, i := range remove {
			if err := e.Remove(i); err != nil {
				t.Fatal(err)
			}
		}
		if i := must[mls.LeafIndex](t)(e.Add(moved)); i != step.to {
			t.Fatalf("added to leaf %d", i)
		}
		next, changes, err := stored.Store(must[*Tree](t)(e.Done()))
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, changes)
		m.check(t, next.Tree())
		for _, tree := range []*Tree{next.Tree(), m.open(t, s).Tree()} {
			if x, ok := tree.FindEncryptionKey(leaf.EncryptionKey); !ok || x != LeafNodeIndex(step.to) {
				t.Fatalf("the encryption key is at %d, %t", x, ok)
			}
			if i, ok := tree.FindSignatureKey(leaf.SignatureKey); !ok || i != step.to {
				t.Fatalf("the signature key is at %d, %t", i, ok)
			}
		}
		stored = m.open(t, s)
	}
	e := stored.Tree().Edit()
	if err := e.Remove(3); err != nil {
		t.Fatal(err)
	}
	next, changes, err := stored.Store(must[*Tree](t)(e.Done()))
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, changes)
	m.check(t, next.Tree())
	if _, ok := m.open(t, s).Tree().FindSignatureKey(leaf.SignatureKey); ok {
		t.Fatal("a removed key is found")
	}
	// The old tree still has it, in memory or not.
	if i, ok := old.FindSignatureKey(leaf.SignatureKey); !ok || i != 7 {
		t.Fatalf("in the tree of before the key is at %d, %t", i, ok)
	}
}

// A storedScene is a stored group of which the tree is opened to make and to
// process a commit.
type storedScene struct {
	s        *mls.Suite
	g        *testGroup
	m        treeMap
	before   treeMap // of an epoch earlier
	proposal *LeafNode
}

func newStoredScene(t tb) *storedScene {
	s := suite1(t)
	g := full(t, s, 32)
	g.commit(t, testCommit{sender: 3, removes: []mls.LeafIndex{9, 17}, path: true})
	m, stored := newTreeMap(t, g.tree)
	before := maps.Clone(m)
	g.commit(t, testCommit{sender: 5, adds: 1, removes: []mls.LeafIndex{20}, path: true})
	_, changes, err := stored.Store(g.tree)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, changes)
	kp, _ := g.keyPackage(t)
	return &storedScene{s, g, m, before, &kp.LeafNode}
}

// run opens the tree from read and has leaf 11 make a commit that leaf 30
// processes; it returns what the store holds in the end, less what is random.
func (sc *storedScene) run(read TreeReader) (string, error) {
	stored, err := OpenTree(sc.s, read)
	if err != nil {
		return "", err
	}
	return sc.runOn(stored)
}

func (sc *storedScene) runOn(stored *Stored) (string, error) {
	tree := stored.Tree()
	if !bytes.Equal(tree.Hash(), sc.g.tree.Hash()) {
		return "", errors.New("another tree hash")
	}
	var out strings.Builder
	e := tree.Edit()
	if err := e.Remove(2); err != nil {
		return "", err
	}
	added, err := e.Add(sc.proposal)
	if err != nil {
		return "", err
	}
	if tree, err = e.Done(); err != nil {
		return "", err
	}
	out.WriteString(tree.String())
	tmpl, ok := tree.Leaf(11)
	if !ok {
		return "", tree.sure(errors.New("leaf 11 is blank"))
	}
	path, err := tree.NewPath(11, tmpl, sc.g.members[11].signer, testGroupID)
	if err != nil {
		return "", err
	}
	fresh := []mls.LeafIndex{added}
	sealed, err := path.Seal([]byte("context"), fresh)
	if err != nil {
		return "", err
	}
	next, err := tree.MergePath(11, sealed, testGroupID, fresh)
	if err != nil {
		return "", err
	}
	if err := next.VerifyParentHashes(); err != nil {
		return "", err
	}
	private := sc.g.members[30].private
	if err := private.Check(stored.Tree()); err != nil {
		return "", err
	}
	if _, _, err := private.Open(next, 11, sealed, []byte("context"), fresh); err != nil {
		return "", err
	}
	_, changes, err := stored.Store(next)
	if err != nil {
		return "", err
	}
	for _, r := range changes.Put {
		if r.Name[0] != recordKey {
			out.Write(r.Name)
		}
	}
	return out.String(), nil
}

var errInjected = errors.New("injected")

// TestStoredReadErrors fails each read of a commit, one after the other.
func TestStoredReadErrors(t *testing.T) {
	sc := newStoredScene(t)
	for k := 0; ; k++ {
		reads := 0
		_, err := sc.run(func(name []byte) ([]byte, error) {
			if reads++; reads == k+1 {
				return nil, errInjected
			}
			return sc.m.read(name)
		})
		if reads <= k {
			if err != nil || k < 20 {
				t.Fatalf("after %d reads: %v", reads, err)
			}
			return
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("read %d failed: %v", k, err)
		}
	}
}

// TestStoredDamage damages each record in several ways: the result is the same,
// or an error.
func TestStoredDamage(t *testing.T) {
	sc := newStoredScene(t)
	want := must[string](t)(sc.run(sc.m.read))
	names := slices.Sorted(maps.Keys(sc.m))
	random := rand.New(rand.NewPCG(1, 2))
	damages := map[string]func(name string, value []byte) []byte{
		"flip": func(_ string, v []byte) []byte {
			v[random.IntN(len(v))] ^= 1 << random.IntN(8)
			return v
		},
		"truncate": func(_ string, v []byte) []byte { return v[:random.IntN(len(v))] },
		"append":   func(_ string, v []byte) []byte { return append(v, 0) },
		"swap":     func(string, []byte) []byte { return sc.m[names[random.IntN(len(names))]] },
		"rollback": func(name string, v []byte) []byte {
			if old, ok := sc.before[name]; ok {
				return old
			}
			return v
		},
		"remove": func(name string, v []byte) []byte {
			if name[0] == recordKey {
				return v // not noticed, see Stored
			}
			return nil
		},
	}
	refused := 0
	for _, name := range names {
		for kind, damage := range damages {
			for range 5 {
				bad := damage(name, bytes.Clone(sc.m[name]))
				got, err := sc.run(func(n []byte) ([]byte, error) {
					if string(n) == name {
						return bad, nil
					}
					return sc.m.read(n)
				})
				if err == nil && got != want {
					t.Fatalf("%s of %x is not noticed, and changes the result", kind, name)
				}
				if err != nil {
					refused++
				}
			}
		}
	}
	if refused < len(names) {
		t.Errorf("of %d records, damage was found %d times only", len(names), refused)
	}
}

// TestStoredCheck finds what is missing or too much.
func TestStoredCheck(t *testing.T) {
	sc := newStoredScene(t)
	if err := sc.m.open(t, sc.s).Check(sc.m.names); err != nil {
		t.Fatal(err)
	}
	var unused string // a bucket or not: some record of a removed key
	for name := range sc.m {
		m := maps.Clone(sc.m)
		delete(m, name)
		opened, err := OpenTree(sc.s, m.read)
		if err == nil {
			err = opened.Check(m.names)
		}
		if err == nil {
			t.Errorf("record %x is gone, and not missed", name)
		}
	}
	for name, value := range sc.before {
		if _, ok := sc.m[name]; !ok {
			unused = name
			m := maps.Clone(sc.m)
			m[name] = value
			if err := m.open(t, sc.s).Check(m.names); err == nil {
				t.Errorf("record %x of before is not noticed", name)
			}
		}
	}
	for _, name := range []string{"p\x00\x00\x00\x08", "x", "b\x00\x00\xff\xff", "k0123456789abcdef", unused} {
		m := maps.Clone(sc.m)
		if name == "" {
			continue
		}
		m[name] = []byte{storedVersion}
		if err := m.open(t, sc.s).Check(m.names); err == nil {
			t.Errorf("record %x too much is not noticed", name)
		}
	}
	m := maps.Clone(sc.m)
	m["h"] = bytes.Clone(m["h"])
	m["h"][0]++
	if _, err := OpenTree(sc.s, m.read); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("a later version: %v", err)
	}
}

// TestStoredTables: the tables of an opened tree have the keys that came since,
// and get rid of those that went, without reading the rest.
func TestStoredTables(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 32)
	m, _ := newTreeMap(t, g.tree)
	reads := 0
	g.tree = must[*Stored](t)(OpenTree(s, func(name []byte) ([]byte, error) {
		if name[0] == recordPage {
			reads++
		}
		return m.read(name)
	})).Tree()
	tmpl, _ := g.tree.Leaf(4)
	for range 200 {
		path := must[*Path](t)(g.tree.NewPath(4, tmpl, g.members[4].signer, testGroupID))
		g.tree = path.Tree()
		if n := g.tree.enc.len(); n > 6*g.tree.Members() {
			t.Fatalf("a table of %d entries", n)
		}
	}
	if reads > 4 {
		t.Errorf("%d pages were read", reads)
	}
	checkTree(t, g.tree)
	for x := range NodeIndex(NodeWidth(32)) {
		key, _ := g.tree.EncryptionKey(x)
		if y, ok := g.tree.FindEncryptionKey(key); !ok || x != y {
			t.Errorf("the key of node %d is found at %d, %t", x, y, ok)
		}
	}
}

// forge puts a body in the place of a record's, with the checksum that belongs to
// it.
func (m treeMap) forge(l *layout, name string, body []byte) treeMap {
	forged := maps.Clone(m)
	forged[name] = l.wrap([]byte(name), body)
	return forged
}

// FuzzStoredTree forges the body of a record, its checksum included: whatever
// comes of it, nothing panics. The tree hash still finds what is forged of nodes.
func FuzzStoredTree(f *testing.F) {
	sc := newStoredScene(f)
	l := sc.m.open(f, sc.s).layout
	names := slices.Sorted(maps.Keys(sc.m))
	for k, name := range names {
		if k%3 == 0 || name[0] != recordKey {
			f.Add(uint16(k), sc.m[name][storedHead:])
		}
	}
	want := must[string](f)(sc.run(sc.m.read))
	f.Fuzz(func(t *testing.T, k uint16, body []byte) {
		name := names[int(k)%len(names)]
		got, err := sc.run(sc.m.forge(&l, name, body).read)
		if err == nil && name[0] == recordPage && got != want {
			t.Fatalf("record %x was forged, and leads to another result", name)
		}
		opened, err := OpenTree(sc.s, sc.m.forge(&l, name, body).read)
		if err == nil && bytes.Equal(opened.Tree().Hash(), sc.g.tree.Hash()) {
			_ = opened.Check(sc.m.names)
		}
	})
}

// TestStoredConcurrent reads one opened tree, and makes others from it, on several
// goroutines at once.
func TestStoredConcurrent(t *testing.T) {
	sc := newStoredScene(t)
	want := must[string](t)(sc.run(sc.m.read))
	whole := treeBytes(t, sc.g.tree)
	var mu sync.Mutex
	reads := map[string]int{}
	stored := must[*Stored](t)(OpenTree(sc.s, func(name []byte) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		reads[string(name)]++
		return sc.m.read(name)
	}))
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			switch k % 3 {
			case 0:
				if got, err := stored.Tree().Bytes(); err != nil || !bytes.Equal(got, whole) {
					t.Errorf("another tree, %v", err)
				}
			case 1:
				if got, err := sc.runOn(stored); err != nil || got != want {
					t.Errorf("another result, %v", err)
				}
			default:
				if err := stored.Check(sc.m.names); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for name, n := range reads {
		if name[0] == recordPage && n > 1 {
			t.Errorf("page %x was read %d times", name, n)
		}
	}
}

// TestOldTreeKeepsItsKeys: a tree from before what was stored last still has its
// keys, also those whose record in the index has gone since.
func TestOldTreeKeepsItsKeys(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 16)
	m, stored := newTreeMap(t, g.tree)
	step := func(f func(e *Editor)) {
		t.Helper()
		e := stored.Tree().Edit()
		f(e)
		next, changes, err := stored.Store(must[*Tree](t)(e.Done()))
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, changes)
		stored = next
	}
	kp, _ := g.keyPackage(t)
	var at mls.LeafIndex
	step(func(e *Editor) { at = must[mls.LeafIndex](t)(e.Add(&kp.LeafNode)) }) // a record of its own
	stored = m.open(t, s)
	old := stored.Tree()
	step(func(e *Editor) {
		if err := e.Remove(at); err != nil {
			t.Fatal(err)
		}
	})
	if i, ok := old.FindLeaf(&kp.LeafNode); !ok || i != at {
		t.Errorf("the tree of before finds its leaf %d at %d, %v", at, i, ok)
	}
	e := old.Edit()
	if _, err := e.Add(kp.LeafNode.Clone()); err != nil {
		t.Fatal(err)
	}
	_, err := e.Done()
	wantRule(t, err, "7.3", "encryption-key-unique")
	if _, ok := stored.Tree().FindSignatureKey(kp.LeafNode.SignatureKey); ok {
		t.Error("the new tree finds a key that has gone")
	}
}
