package treekem

import "github.com/treekem/mls/internal/wire"

// Bytes returns the tree as the ratchet_tree extension holds it (RFC 9420,
// Section 12.4.3.3).
//
//	struct {
//	    NodeType node_type;
//	    select (Node.node_type) {
//	        case leaf:   LeafNode leaf_node;
//	        case parent: ParentNode parent_node;
//	    };
//	} Node;
//
//	optional<Node> ratchet_tree<V>;
func (t *Tree) Bytes() ([]byte, error) {
	w := treeWriter{reading: t.reading(), last: LeafNodeIndex(t.src.lastMember(t.root, Root(t.width)))}
	w.grow(t.root, Root(t.width))
	w.b.Vector(func(*wire.Builder) { w.subtree(t.root, Root(t.width)) })
	if err := t.Err(); err != nil {
		return nil, err
	}
	return w.b.Bytes()
}

type treeWriter struct {
	reading
	b    wire.Builder
	last NodeIndex // blanks after it are left out
}

// grow makes room for the whole encoding.
func (w *treeWriter) grow(n *node, x NodeIndex) { w.b.Grow(w.size(n, x) + 2*int(w.last) + 8) }

func (w *treeWriter) size(n *node, x NodeIndex) int {
	if n.resolutionSize() == 0 {
		return 0
	}
	size := len(n.data) - w.nh
	if !x.IsLeaf() {
		left, right := n.kids(x, w.src)
		size += w.size(left, x.left()) + w.size(right, x.right())
	}
	return size
}

func (w *treeWriter) subtree(n *node, x NodeIndex) {
	if n.resolutionSize() == 0 {
		w.blank(x)
		return
	}
	if x.IsLeaf() {
		w.node(n, nodeTypeLeaf)
		return
	}
	left, right := n.kids(x, w.src)
	w.subtree(left, x.left())
	if raw := n.raw(w.nh); raw != "" {
		w.node(n, nodeTypeParent)
	} else if x <= w.last {
		w.b.Optional(false)
	}
	w.subtree(right, x.right())
}

func (w *treeWriter) node(n *node, nodeType uint8) {
	w.b.Optional(true)
	w.b.U8(nodeType)
	w.b.Raw([]byte(n.raw(w.nh)))
}

// blank appends the blanks below x, as far as there is anything after them.
func (w *treeWriter) blank(x NodeIndex) {
	half := NodeIndex(1)<<x.Level() - 1
	for y := x - half; y <= min(x+half, w.last); y++ {
		w.b.Optional(false)
	}
}
