package treekem

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
)

// DefaultMaxLeaves bounds the trees that ParseTree accepts when no other bound
// is given. It is twice the number of leaves that fit into one ratchet_tree
// extension if every other one is blank; only an encoding that is mostly blanks
// has more.
const DefaultMaxLeaves = 1 << 23

// ParseTree decodes the contents of a ratchet_tree extension (RFC 9420, Section
// 12.4.3.3) into a tree whose last member is among the first maxLeaves leaves;
// [DefaultMaxLeaves] if it is 0.
//
// It checks the form of the tree: its nodes are of the right types and the last
// one is not blank, unmerged leaves are members below their node and listed all
// the way down, and keys are unique. Whether the members vouch for it is for
// [Tree.Validate].
func ParseTree(s *mls.Suite, ratchetTree []byte, maxLeaves uint32) (*Tree, error) {
	if maxLeaves == 0 {
		maxLeaves = DefaultMaxLeaves
	}
	spans, err := scanNodes(ratchetTree, maxLeaves)
	if err != nil {
		return nil, err
	}
	t := &Tree{suite: s, blanks: new(blankHalves), width: widthFor(NodeIndex(len(spans) - 1).Leaf())}
	p := parser{tree: t, in: ratchetTree, spans: spans}
	if t.root, err = p.build(); err != nil {
		return nil, err
	}
	if err := t.indexKeys(); err != nil {
		return nil, err
	}
	return t, nil
}

// A span is where the encoding of a node lies in the input; the zero span is a
// blank node.
type span struct {
	start, end uint32
}

// scanNodes finds the nodes in an encoded tree and checks their types.
func scanNodes(in []byte, maxLeaves uint32) ([]span, error) {
	r := wire.NewReader(in)
	var spans []span
	r.Vector(func(r *wire.Reader) {
		x := NodeIndex(len(spans))
		if uint32(x.Leaf()) >= maxLeaves {
			r.FailWith(fmt.Errorf("%w: a tree of more than %d leaves", mls.ErrUnsupported, maxLeaves))
			return
		}
		if !r.Optional() {
			spans = append(spans, span{})
			return
		}
		nodeType := r.U8()
		start := r.Mark()
		switch {
		case r.Err() != nil:
		case nodeType == nodeTypeLeaf && x.IsLeaf():
			skipLeaf(r)
		case nodeType == nodeTypeParent && !x.IsLeaf():
			skipParent(r)
		default:
			// RFC 9420, Section 12.4.3.3: leaves are in even-numbered entries.
			r.FailWith(mls.Invalid("12.4.3.3", "node-type", "node type %d at node %d", nodeType, x))
		}
		spans = append(spans, span{uint32(start), uint32(r.Mark())})
	})
	if r.Err() == nil && !r.Empty() {
		r.Fail("%d bytes after a ratchet tree", r.Len())
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if len(spans) == 0 {
		// RFC 9420, Section 12.4.3.3: the last node is non-blank, so there is one.
		return nil, mls.Invalid("12.4.3.3", "empty-tree", "ratchet tree without nodes")
	}
	if spans[len(spans)-1] == (span{}) {
		// RFC 9420, Section 12.4.3.3: the last node MUST NOT be blank.
		return nil, mls.Invalid("12.4.3.3", "last-node-blank", "ratchet tree whose last node is blank")
	}
	if len(spans)%2 == 0 {
		// No sequence of commits leaves a parent that is not blank to the right
		// of the last member: truncation cuts it off (RFC 9420, Section 7.7).
		return nil, mls.Invalid("7.7", "last-node-parent", "ratchet tree whose last node is a parent")
	}
	return spans, nil
}

// A parser builds the nodes of an encoded tree, on all cores.
type parser struct {
	tree  *Tree
	in    []byte
	spans []span
}

// parseTask is the number of leaves of the subtrees that are built by one
// worker each.
const parseTask = 256

// build builds subtrees of parseTask leaves in parallel, then what is above.
func (p *parser) build() (*node, error) {
	width := p.tree.width
	size := min(width, parseTask)
	subtrees := make([]*node, width/size)
	err := parallel.Workers(len(subtrees), 1, func() func(int) error {
		f := p.forge()
		return func(k int) (err error) {
			x := Root(size) + NodeIndex(uint32(k)*2*size)
			subtrees[k], err = p.subtree(f, x)
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	return p.above(p.forge(), Root(width), size, subtrees)
}

func (p *parser) forge() *forge {
	f := p.tree.forge()
	f.memo = map[[2]Support]Support{}
	f.makes = supportMemo{}
	return f
}

// above builds the nodes from x down to the given subtrees of size leaves.
func (p *parser) above(f *forge, x NodeIndex, size uint32, subtrees []*node) (*node, error) {
	if len(subtrees) == 1 {
		return subtrees[0], nil
	}
	half := len(subtrees) / 2
	left, err := p.above(f, x.left(), size, subtrees[:half])
	if err != nil {
		return nil, err
	}
	right, err := p.above(f, x.right(), size, subtrees[half:])
	if err != nil {
		return nil, err
	}
	return p.parent(f, x, left, right)
}

func (p *parser) subtree(f *forge, x NodeIndex) (*node, error) {
	if first, _ := x.leaves(); 2*first >= uint64(len(p.spans)) {
		return f.blank(x), nil
	}
	if x.IsLeaf() {
		return p.leaf(f, x)
	}
	left, err := p.subtree(f, x.left())
	if err != nil {
		return nil, err
	}
	right, err := p.subtree(f, x.right())
	if err != nil {
		return nil, err
	}
	return p.parent(f, x, left, right)
}

// encoded returns the encoding of a node where it lies in the input, empty if it
// is blank.
func (p *parser) encoded(x NodeIndex) []byte {
	if int(x) >= len(p.spans) {
		return nil
	}
	s := p.spans[x]
	return p.in[s.start:s.end]
}

func (p *parser) leaf(f *forge, x NodeIndex) (*node, error) {
	encoded := p.encoded(x)
	if len(encoded) == 0 {
		return nil, nil
	}
	// What is decoded is part of the input, and is not kept.
	if err := wire.UnmarshalOwned(encoded, &f.decoded); err != nil {
		return nil, fmt.Errorf("leaf %d: %w", x.Leaf(), err)
	}
	data := leafData(f, x.Leaf(), encoded)
	v := viewLeaf(data[f.nh:])
	return &node{data: data, support: f.makes.of(&v), members: 1, resolution: 1}, nil
}

func (p *parser) parent(f *forge, x NodeIndex, left, right *node) (*node, error) {
	encoded := p.encoded(x)
	if len(encoded) == 0 {
		return f.parent(x, "", left, right), nil
	}
	if err := wire.UnmarshalOwned(encoded, new(ParentNode)); err != nil {
		return nil, fmt.Errorf("node %d: %w", x, err)
	}
	raw := string(encoded)
	if left.memberCount()+right.memberCount() == 0 {
		// RFC 9420, Section 7.9.2: a parent node is in the chain of some leaf.
		// Whether it is in fact is for Validate; here it is what the rest relies
		// on, that truncation leaves nothing behind.
		return nil, mls.Invalid("7.9.2", "parent-hash", "node %d is not parent-hash valid: it has no members below", x)
	}
	unmerged := unmergedIn(raw)
	for k := range unmerged.len() {
		if err := f.checkUnmerged(x, unmerged.at(k), left, right); err != nil {
			return nil, err
		}
	}
	return f.parent(x, raw, left, right), nil
}

// checkUnmerged checks one unmerged leaf of node x against the subtrees below,
// whose own unmerged leaves have been checked (RFC 9420, Section 12.4.3.1).
func (f *forge) checkUnmerged(x NodeIndex, i mls.LeafIndex, left, right *node) error {
	if !x.contains(i) {
		// RFC 9420, Section 12.4.3.1: the leaf is a descendant of the parent.
		return mls.InvalidAt(mls.Culprit{Leaf: &i}, "12.4.3.1", "unmerged-not-below",
			"unmerged leaf %d of node %d, which is not above it", i, x)
	}
	leaf := LeafNodeIndex(i)
	for !x.IsLeaf() {
		var n *node
		if leaf < x {
			n, x = left, x.left()
		} else {
			n, x = right, x.right()
		}
		if n == nil {
			break
		}
		if raw := n.raw(f.nh); raw != "" {
			if !x.IsLeaf() && !unmergedIn(raw).has(i) {
				// RFC 9420, Section 12.4.3.1: every non-blank node between the
				// leaf and the parent has an entry for the leaf too.
				return mls.InvalidAt(mls.Culprit{Leaf: &i}, "12.4.3.1", "unmerged-missing-below",
					"unmerged leaf %d is merged at node %d below", i, x)
			}
			return nil
		}
		left, right = n.kids(x, f.src)
	}
	// RFC 9420, Section 12.4.3.1: the entry is a non-blank leaf.
	return mls.InvalidAt(mls.Culprit{Leaf: &i}, "12.4.3.1", "unmerged-blank", "unmerged leaf %d is blank", i)
}

// indexKeys builds the indices of all keys, and checks that no two nodes have
// the same one.
func (t *Tree) indexKeys() error {
	enc, sig := t.keyEntries()
	alone := 1
	if len(enc) < parallelIndex {
		alone = 2
	}
	return parallel.Each(2, alone, func(k int) (err error) {
		if k == 0 {
			t.enc, err = t.index(encryptionKeys, enc)
		} else {
			t.sig, err = t.index(signatureKeys, sig)
		}
		return err
	})
}

// parallelIndex is from how many keys on the two indices are worth a core each.
const parallelIndex = 1 << 12

// index makes the table of one kind of keys. Many equal keys would make one long
// row in it, so they are looked for before.
func (t *Tree) index(kind keyKind, entries []indexEntry) (*keyTable, error) {
	slices.Sort(entries)
	if x, y, ok := t.duplicate(kind, entries); ok {
		return nil, duplicateKey(t, kind, x, y)
	}
	return newKeyTable(entries), nil
}

// eachNode calls yield for every node that is not blank, in no particular
// order.
func (t *Tree) eachNode(yield func(x NodeIndex, raw string)) {
	t.reading().eachNode(t.root, Root(t.width), yield)
}

func (r reading) eachNode(n *node, x NodeIndex, yield func(x NodeIndex, raw string)) {
	if n.resolutionSize() == 0 {
		return
	}
	if raw := n.raw(r.nh); raw != "" {
		yield(x, raw)
	}
	if !x.IsLeaf() {
		left, right := n.kids(x, r.src)
		r.eachNode(left, x.left(), yield)
		r.eachNode(right, x.right(), yield)
	}
}

// duplicate finds two nodes with one key: the pair whose greater index is the
// least. The entries are sorted, so equal fingerprints are next to each other.
func (t *Tree) duplicate(kind keyKind, entries []indexEntry) (x, y NodeIndex, ok bool) {
	for start := 0; start < len(entries); {
		end := start + 1
		for end < len(entries) && entries[end].fingerprint() == entries[start].fingerprint() {
			end++
		}
		if end-start > 1 {
			for _, pair := range t.equalKeys(kind, entries[start:end]) {
				if !ok || pair[0] < x {
					x, y, ok = pair[0], pair[1], true
				}
			}
		}
		start = end
	}
	return x, y, ok
}

// equalKeys returns pairs of neighbours, the greater index first, among the
// nodes of the entries when ordered by key.
func (t *Tree) equalKeys(kind keyKind, entries []indexEntry) [][2]NodeIndex {
	type keyed struct {
		key string
		x   NodeIndex
	}
	nodes := make([]keyed, len(entries))
	for i, e := range entries {
		nodes[i] = keyed{kind.in(t.rawAt(e.node())), e.node()}
	}
	slices.SortFunc(nodes, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.x, b.x))
	})
	var pairs [][2]NodeIndex
	for i := 1; i < len(nodes); i++ {
		if nodes[i-1].key == nodes[i].key {
			pairs = append(pairs, [2]NodeIndex{nodes[i].x, nodes[i-1].x})
		}
	}
	return pairs
}
