package treekem

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
)

// A Stored is a tree as a store holds it, cut into records: pages of nodes, and
// an index of the keys in use. What a commit changes is O(log n) of them. A
// Stored is immutable and safe for concurrent use.
//
// Who opens it reads its head; the rest is read as it is needed, and checked:
// against checksums, and by the tree hash up to the root, which is for the
// caller to hold against the group context. For what a page says of the nodes at
// its bottom, their keys among it, and that there is nobody below them, there is
// its checksum alone until what is below is read too: against damage, not forgery.
// What is missing, damaged, or an older copy is an error of the operation that
// needs it, and of [Tree.Err] from then on. An entry of the index of keys that is
// missing, or older, is not noticed but by [Stored.Check]: it would only let a
// member use a key twice.
type Stored struct {
	tree   *Tree
	layout layout
}

// Tree returns the tree.
func (s *Stored) Tree() *Tree { return s.tree }

// A TreeRecord is a record of a stored tree.
type TreeRecord struct {
	_ struct{} `cbor:",toarray"`
	// Name is unique in the tree, of at most MaxTreeRecordName bytes.
	Name []byte
	// Value is nothing secret. It is kept up to some thousand bytes.
	Value []byte
}

// MaxTreeRecordName is the length of the longest name of a record.
const MaxTreeRecordName = 17

// TreeChanges are the records of a stored tree to put, and the names of those to
// delete, some of which may not be there. Both are ascending. All of it has to
// be written at once.
type TreeChanges struct {
	Put    []TreeRecord `cbor:"1,keyasint,omitempty"`
	Delete [][]byte     `cbor:"2,keyasint,omitempty"`
}

// savedHead is the saved form of the head.
type savedHead struct {
	Width   uint32 `cbor:"1,keyasint"`
	Seed    []byte `cbor:"2,keyasint"`
	Buckets uint32 `cbor:"3,keyasint,omitempty"`
	// Nodes are those from the root down to the highest pages.
	Nodes []byte `cbor:"4,keyasint"`
}

// StoreTree returns the tree as it is stored where there is none, with all of
// its records.
func StoreTree(t *Tree) (*Stored, *TreeChanges, error) {
	keys := t.Members() // signature keys
	t.eachNode(func(NodeIndex, string) { keys++ })
	d := newStoredDiff(nil, t, newLayout(keys))
	d.walk(nil, t.root, Root(t.width))
	d.buckets()
	return d.done()
}

// Store returns another tree, usually one that has come from s.Tree by a commit,
// as it is stored in its place, and what is to be written then. Unless s has
// been stored, and nothing else in its place since, the result is useless.
//
// Trees from before s.Tree may no longer find keys that have gone since they were
// stored themselves ([Tree.FindEncryptionKey], [Tree.FindSignatureKey],
// [Tree.FindLeaf]). All else about them stays as it is.
func (s *Stored) Store(t *Tree) (*Stored, *TreeChanges, error) {
	if t == s.tree {
		return s, &TreeChanges{}, nil
	}
	d := newStoredDiff(s.tree, t, s.layout)
	top := Root(max(s.tree.width, t.width))
	a, b := s.tree.root, t.root
	if s.tree.under(top) {
		a = nil
	}
	if t.under(top) {
		b = nil
	}
	d.walk(a, b, top)
	d.keys()
	// What is stored is about the new tree only. The old one, and what shares its
	// tables, go on finding their keys; see dropStale for what does.
	for kind, entries := range d.had {
		s.tree.table(kind).add(entries)
	}
	return d.done()
}

// A storedDiff collects what is to be written.
type storedDiff struct {
	old, new *Tree // old may be nil
	nh       int
	next     *Stored
	changes  TreeChanges
	// Keys that have gone, and where those that have come are.
	gone map[keyID]bool
	come map[keyID]NodeIndex
	// had is where the old tree has those that have gone or moved, by kind.
	had map[keyKind][]indexEntry
}

func newStoredDiff(old, next *Tree, l layout) *storedDiff {
	return &storedDiff{
		old: old, new: next, nh: next.suite.HashSize(), next: &Stored{tree: next, layout: l},
		gone: make(map[keyID]bool), come: make(map[keyID]NodeIndex), had: make(map[keyKind][]indexEntry),
	}
}

func (d *storedDiff) put(name, body []byte) {
	d.changes.Put = append(d.changes.Put, TreeRecord{Name: name, Value: d.next.layout.wrap(name, body)})
}

func (d *storedDiff) delete(name []byte) { d.changes.Delete = append(d.changes.Delete, name) }

// walk compares the subtrees a of the old tree and b of the new one, both at x.
// Where x is above the root of one of them, that one's subtree is nil.
func (d *storedDiff) walk(a, b *node, x NodeIndex) {
	beyond := d.old.under(x) || d.new.under(x)
	if !beyond && sameSubtree(a, b, d.nh) {
		return
	}
	d.comparePage(a, b, x)
	d.compareKeys(x, a.raw(d.nh), b.raw(d.nh))
	if x.IsLeaf() {
		return
	}
	al, ar := d.old.kidsOf(a, x)
	bl, br := d.new.kidsOf(b, x)
	d.walk(al, bl, x.left())
	d.walk(ar, br, x.right())
}

// under reports whether x is above the root. A nil tree has none.
func (t *Tree) under(x NodeIndex) bool {
	return t != nil && x.Level() > Root(t.width).Level() && x.contains(0)
}

// kidsOf returns the children of x, which may be above the root.
func (t *Tree) kidsOf(n *node, x NodeIndex) (left, right *node) {
	switch {
	case t == nil:
		return nil, nil
	case !t.under(x):
		return n.kids(x, t.src)
	case x.left() == Root(t.width):
		return t.root, nil
	}
	return nil, nil
}

func (d *storedDiff) comparePage(a, b *node, x NodeIndex) {
	switch {
	case !pageTop(x):
	case b.resolutionSize() > 0:
		w := pageWriter{reading: d.new.reading()}
		w.below(b, x, x.Level()-pageLevels)
		d.put(pageName(x), w.encode())
	case a.resolutionSize() > 0:
		d.delete(pageName(x))
	}
}

// encode ends a page.
func (w *pageWriter) encode() []byte {
	body, err := state.Marshal(&w.page)
	if err != nil {
		panic("mls: internal error: a page of a tree: " + err.Error())
	}
	return body
}

// compareKeys notes which keys have gone from x, and which have come there.
func (d *storedDiff) compareKeys(x NodeIndex, a, b string) {
	d.compareKey(x, encryptionKeys, a, b)
	if x.IsLeaf() {
		d.compareKey(x, signatureKeys, a, b)
	}
}

func (d *storedDiff) compareKey(x NodeIndex, kind keyKind, a, b string) {
	if a != "" && b != "" && kind.in(a) == kind.in(b) {
		return
	}
	if a != "" {
		d.gone[d.next.layout.id(kind, kind.in(a))] = true
		d.had[kind] = append(d.had[kind], newEntry(fingerprint(kind.in(a)), x))
	}
	if b != "" {
		d.come[d.next.layout.id(kind, kind.in(b))] = x
	}
}

// keys writes the keys that have come one by one. Entries in buckets stay: what
// has gone is not found where they say.
func (d *storedDiff) keys() {
	for id, x := range d.come {
		d.put(id.name(), binary.BigEndian.AppendUint32(nil, uint32(x)))
	}
	for id := range d.gone {
		if _, ok := d.come[id]; !ok {
			d.delete(id.name())
		}
	}
}

// buckets writes all keys in buckets.
func (d *storedDiff) buckets() {
	l := &d.next.layout
	list := make([][]indexEntry, l.buckets)
	for id, x := range d.come {
		k := l.bucket(id)
		list[k] = append(list[k], newEntry(id.fingerprint(), x))
	}
	for k, entries := range list {
		d.put(bucketName(uint32(k)), encodeBucket(entries))
	}
}

// done adds the head.
func (d *storedDiff) done() (*Stored, *TreeChanges, error) {
	t, l := d.new, &d.next.layout
	root := Root(t.width)
	w := pageWriter{reading: t.reading()}
	w.subtree(t.root, root, headBottom(root))
	body, err := state.Marshal(&savedHead{Width: t.width, Seed: l.seed[:], Buckets: l.buckets, Nodes: w.encode()})
	if err != nil {
		return nil, nil, err
	}
	d.put(headName(), body)
	if d.old != nil && d.old.Err() != nil {
		return nil, nil, d.old.Err()
	}
	if err := t.Err(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(d.changes.Put, func(a, b TreeRecord) int { return bytes.Compare(a.Name, b.Name) })
	slices.SortFunc(d.changes.Delete, bytes.Compare)
	return d.next, &d.changes, nil
}

// headBottom is the level at which the head ends.
func headBottom(root NodeIndex) int { return root.Level() / pageLevels * pageLevels }

// OpenTree opens a stored tree. Nothing of it can be relied on before its tree hash
// was found to be the group context's. Errors wrap [mls.ErrMalformed], or
// [mls.ErrUnsupported] for a later version, or are the reader's.
func OpenTree(s *mls.Suite, read TreeReader) (*Stored, error) {
	src := &source{read: read}
	body, err := src.record(headName())
	if err != nil {
		return nil, err
	}
	var head savedHead
	if err := state.Unmarshal(body, &head); err != nil {
		return nil, err
	}
	if bits.OnesCount32(head.Width) != 1 || head.Width > MaxWidth || len(head.Seed) != len(src.layout.seed) {
		return nil, fmt.Errorf("%w: the head of a tree", mls.ErrMalformed)
	}
	src.layout = layout{seed: [16]byte(head.Seed), buckets: head.Buckets}
	t := &Tree{
		suite: s, width: head.Width, blanks: new(blankHalves), src: src,
		enc: newKeyTable(nil), sig: newKeyTable(nil),
	}
	src.forge = newForge(s, t.blanks)
	root := Root(t.width)
	bottom := headBottom(root)
	r, err := newPageReader(src.forge, head.Nodes, root.Level()-bottom, true)
	if err != nil {
		return nil, err
	}
	if t.root, err = r.subtree(root, bottom); err != nil {
		return nil, err
	}
	if t.root.memberCount() == 0 {
		return nil, fmt.Errorf("%w: a tree without members", mls.ErrMalformed)
	}
	return &Stored{tree: t, layout: src.layout}, nil
}

// MarshalState returns the changes for [RestoreTreeChanges].
func (c *TreeChanges) MarshalState() ([]byte, error) { return state.Marshal(c) }

// RestoreTreeChanges is the inverse of [TreeChanges.MarshalState]. Its errors
// wrap [mls.ErrMalformed].
func RestoreTreeChanges(data []byte) (*TreeChanges, error) {
	c := new(TreeChanges)
	if err := state.Unmarshal(data, c); err != nil {
		return nil, err
	}
	return c, nil
}

// values returns what the records that change will be, by name: nil for those
// that go.
func (c *TreeChanges) values() map[string][]byte {
	values := make(map[string][]byte, len(c.Put)+len(c.Delete))
	for _, name := range c.Delete {
		values[string(name)] = nil
	}
	for _, r := range c.Put {
		values[string(r.Name)] = r.Value
	}
	return values
}

// Over returns a reader of what the records that read reads will be with the
// changes written.
func (c *TreeChanges) Over(read TreeReader) TreeReader {
	changed := c.values()
	return func(name []byte) ([]byte, error) {
		if value, ok := changed[string(name)]; ok {
			return value, nil
		}
		return read(name)
	}
}
