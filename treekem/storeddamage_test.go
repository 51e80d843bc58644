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

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

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

// TestForgedNodes: of a node that is forged with its checksum, whatever the tree
// hash does not cover yet is refused if others would rely on it.
func TestForgedNodes(t *testing.T) {
	sc := newStoredScene(t)
	outside := leafList("").merge([]mls.LeafIndex{31})
	unmerged := func(raw []byte) []byte {
		key, parentHash, _ := parentFields(string(raw))
		return []byte(encodeParent(key, parentHash, outside))
	}
	blank := func(n savedNode) bool { return len(n.Data) == sc.s.HashSize() }
	for name, edit := range map[string]func(t *testing.T, p *savedPage){
		"an unmerged leaf that is not below": func(t *testing.T, p *savedPage) {
			// The root's left child.
			if len(p.Parents[1]) == 0 {
				t.Fatal("a blank node")
			}
			p.Parents[1] = unmerged(p.Parents[1])
		},
		"an unmerged leaf that is not below, at the bottom": func(t *testing.T, p *savedPage) {
			k := slices.IndexFunc(p.Bottom[:3], func(n savedNode) bool { return !blank(n) })
			n := &p.Bottom[k]
			n.Data = append(n.Data[:sc.s.HashSize()], unmerged(n.Data[sc.s.HashSize():])...)
			n.Resolution = 2
		},
		"a resolution of more than there is": func(t *testing.T, p *savedPage) {
			n := &p.Bottom[slices.IndexFunc(p.Bottom, blank)]
			n.Resolution = 2*n.Members + 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			forged := sc.m.forgeHead(t, sc.s, func(p *savedPage) { edit(t, p) })
			if _, err := OpenTree(sc.s, forged.read); !errors.Is(err, mls.ErrMalformed) {
				t.Errorf("opened: %v", err)
			}
		})
	}
	if _, err := OpenTree(sc.s, sc.m.forgeHead(t, sc.s, func(*savedPage) {}).read); err != nil {
		t.Errorf("with nothing forged: %v", err)
	}
}

// TestHiddenMembers: a subtree that is said to be blank, with the hash of one that
// is not, is found out by whoever puts a member there.
func TestHiddenMembers(t *testing.T) {
	s := suite1(t)
	tree, _, _ := builtGroup(t, s, 256)
	m, _ := newTreeMap(t, tree)
	forged := m.forgeHead(t, s, func(p *savedPage) {
		p.Bottom[1] = savedNode{Data: p.Bottom[1].Data[:s.HashSize()]}
	})
	stored := must[*Stored](t)(OpenTree(s, forged.read))
	o := stored.Tree()
	if !bytes.Equal(o.Hash(), tree.Hash()) || o.Err() != nil {
		t.Fatalf("found before: %v", o.Err())
	}
	kp, _ := newKeyPackage(t, s, "new")
	e := o.Edit()
	i, err := e.Add(&kp.LeafNode)
	if err == nil {
		_, err = e.Done()
	}
	if !errors.Is(err, mls.ErrMalformed) {
		t.Errorf("a member is put at leaf %d: %v", i, err)
	}
	if err := must[*Stored](t)(OpenTree(s, forged.read)).Check(forged.names); err == nil {
		t.Error("checked: nothing is found")
	}
}

// forgeHead forges the nodes of the head.
func (m treeMap) forgeHead(t *testing.T, s *mls.Suite, edit func(*savedPage)) treeMap {
	t.Helper()
	l := m.open(t, s).layout
	var head savedHead
	var w pageWriter
	if err := errors.Join(state.Unmarshal(m["h"][storedHead:], &head), state.Unmarshal(head.Nodes, &w.page)); err != nil {
		t.Fatal(err)
	}
	edit(&w.page)
	head.Nodes = w.encode()
	return m.forge(&l, "h", must[[]byte](t)(state.Marshal(&head)))
}
