package treekem

import (
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/internal/wire"
)

// A stored tree is cut into pages of pageLevels levels, counted from the leaves
// up, so that they stay where they are when the tree becomes wider or narrower.
// A page hangs below a node at a level that is a multiple of pageLevels, and ends
// with the nodes at the next such level, which know all about their subtrees
// but not their children. What is above the highest such level is in the head.
//
// With three levels a commit in a tree of n members writes log2(n)/3 pages of one
// to three kilobytes each.
const pageLevels = 3

// pageTop reports whether a page can hang below x.
func pageTop(x NodeIndex) bool { return !x.IsLeaf() && x.Level()%pageLevels == 0 }

// savedPage is the saved form of a page, or of the nodes of the head. Each list
// is in the order of a walk that visits parents before their children, left
// before right.
type savedPage struct {
	// Supports are the different supports of the nodes at the bottom.
	Supports [][][]byte `cbor:"1,keyasint,omitempty"`
	// Parents are the encoded nodes above the bottom, empty for blank ones.
	Parents [][]byte `cbor:"2,keyasint,omitempty"`
	// Leaves is the bottom of a page that ends with leaves: encoded leaf nodes,
	// empty for blank ones.
	Leaves [][]byte `cbor:"3,keyasint,omitempty"`
	// Bottom is the bottom of other pages.
	Bottom []savedNode `cbor:"4,keyasint,omitempty"`
}

// savedNode is a node whose children are not in the page.
type savedNode struct {
	_ struct{} `cbor:",toarray"`
	// Data is the tree hash and the encoded node. It is empty for a small
	// subtree of blanks.
	Data                []byte
	Members, Resolution uint32
	Support             uint // where in Supports
}

// A pageWriter makes a page of nodes.
type pageWriter struct {
	reading
	page     savedPage
	supports map[Support]uint
}

// below adds what is below n, a node at x, down to level bottom.
func (w *pageWriter) below(n *node, x NodeIndex, bottom int) {
	left, right := n.kids(x, w.src)
	w.subtree(left, x.left(), bottom)
	w.subtree(right, x.right(), bottom)
}

func (w *pageWriter) subtree(n *node, x NodeIndex, bottom int) {
	switch {
	case x.Level() > bottom:
		w.page.Parents = append(w.page.Parents, []byte(n.raw(w.nh)))
		w.below(n, x, bottom)
	case x.IsLeaf():
		w.page.Leaves = append(w.page.Leaves, []byte(n.raw(w.nh)))
	case n == nil:
		w.page.Bottom = append(w.page.Bottom, savedNode{Data: []byte{}})
	default:
		w.page.Bottom = append(w.page.Bottom, savedNode{
			Data: []byte(n.data), Members: n.members, Resolution: n.resolution, Support: w.support(n.support),
		})
	}
}

// support returns where in the page's list s is. That of no members is not in
// it, and its number not looked at.
func (w *pageWriter) support(s Support) uint {
	if s == (Support{}) {
		return 0
	}
	k, ok := w.supports[s]
	if !ok {
		if w.supports == nil {
			w.supports = make(map[Support]uint)
		}
		k = uint(len(w.page.Supports))
		w.supports[s] = k
		w.page.Supports = append(w.page.Supports, s.save())
	}
	return k
}

func (s Support) save() [][]byte {
	set := s.set()
	var list [][]byte
	for _, c := range set.fields() {
		list = append(list, []byte(*c))
	}
	return list
}

// fields are the sets in the order of the saved form.
func (s *supportSet) fields() []*codeSet {
	return []*codeSet{
		&s.versions, &s.suites, &s.extensions, &s.proposals, &s.credentials, &s.credentialsUsed, &s.extensionsUsed,
	}
}

// restoreSupport is the inverse of save.
func restoreSupport(list [][]byte) (Support, error) {
	var set supportSet
	fields := set.fields()
	if len(list) != len(fields) {
		return Support{}, errPage
	}
	for k, c := range fields {
		*c = codeSet(list[k])
		if len(*c)%2 != 0 || sortedCodes(string(*c)) != *c {
			return Support{}, errPage
		}
	}
	return makeSupport(set), nil
}

var errPage = fmt.Errorf("%w: a page of a tree", mls.ErrMalformed)

// A pageReader makes the nodes of a page.
type pageReader struct {
	*forge
	page     savedPage
	supports []Support
}

// newPageReader decodes a page of a number of levels, whose top node is in it or
// not.
func newPageReader(f *forge, body []byte, levels int, top bool) (*pageReader, error) {
	r := &pageReader{forge: f}
	if err := state.Unmarshal(body, &r.page); err != nil {
		return nil, err
	}
	parents := 1<<levels - 1
	if !top {
		parents--
	}
	if len(r.page.Parents) != parents || len(r.page.Leaves)+len(r.page.Bottom) != 1<<levels {
		return nil, errPage
	}
	for _, list := range r.page.Supports {
		s, err := restoreSupport(list)
		if err != nil {
			return nil, err
		}
		r.supports = append(r.supports, s)
	}
	return r, nil
}

// subtree makes the subtree at x down to level bottom.
func (r *pageReader) subtree(x NodeIndex, bottom int) (*node, error) {
	if x.Level() == bottom {
		if x.IsLeaf() {
			return r.leafNode(x)
		}
		return r.bottomNode(x)
	}
	raw := string(r.page.Parents[0])
	r.page.Parents = r.page.Parents[1:]
	if err := checkParent(raw, x); err != nil {
		return nil, err
	}
	left, err := r.subtree(x.left(), bottom)
	if err != nil {
		return nil, err
	}
	right, err := r.subtree(x.right(), bottom)
	if err != nil {
		return nil, err
	}
	if raw != "" && left.memberCount()+right.memberCount() == 0 {
		return nil, errPage
	}
	return r.parent(x, raw, left, right), nil
}

// checkParent checks the contents of a parent node as far as others rely on it
// before its tree hash is known to be right.
func checkParent(raw string, x NodeIndex) error {
	if raw == "" {
		return nil
	}
	if err := wire.Unmarshal([]byte(raw), new(ParentNode)); err != nil {
		return err
	}
	if unmerged := unmergedIn(raw); unmerged.below(x) != unmerged {
		return errPage
	}
	return nil
}

func (r *pageReader) leafNode(x NodeIndex) (*node, error) {
	if len(r.page.Leaves) == 0 {
		return nil, errPage
	}
	raw := string(r.page.Leaves[0])
	r.page.Leaves = r.page.Leaves[1:]
	if raw == "" {
		return nil, nil
	}
	if err := wire.Unmarshal([]byte(raw), new(LeafNode)); err != nil {
		return nil, err
	}
	v := viewLeaf(raw)
	return r.leaf(x.Leaf(), raw, supportOf(&v)), nil
}

// bottomNode makes a node that has yet to get its children.
func (r *pageReader) bottomNode(x NodeIndex) (*node, error) {
	if len(r.page.Bottom) == 0 {
		return nil, errPage
	}
	s := r.page.Bottom[0]
	r.page.Bottom = r.page.Bottom[1:]
	n := &node{data: string(s.Data), members: s.Members, resolution: s.Resolution}
	if n.members == 0 {
		return r.bottomBlank(n, x)
	}
	if len(n.data) < r.nh || n.members > x.capacity() || s.Support >= uint(len(r.supports)) {
		return nil, errPage
	}
	n.support = r.supports[s.Support]
	raw := n.raw(r.nh)
	if err := checkParent(raw, x); err != nil {
		return nil, err
	}
	// Room is made for a resolution before it is read. There is at most one parent
	// node in it for each member, and the member itself.
	if n.resolution == 0 || uint64(n.resolution) > 2*uint64(n.members) ||
		raw != "" && int(n.resolution) != 1+unmergedIn(raw).len() {
		return nil, errPage
	}
	return n, nil
}

// bottomBlank checks what is said of a subtree of blanks. That its hash is that of
// blanks is checked when a member is put there.
func (r *pageReader) bottomBlank(n *node, x NodeIndex) (*node, error) {
	small := x.Level() <= smallBlank
	switch {
	case n.resolution != 0, small != (n.data == ""):
		return nil, errPage
	case small:
		return nil, nil
	case len(n.data) != r.nh:
		return nil, errPage
	}
	return n, nil
}
