package treekem

import (
	"fmt"
	"io"
	"strings"
)

// Draw writes the tree for people: sideways, the root at the left, one line for
// each node. Blank nodes are underscores; subtrees of blanks are one line.
func (t *Tree) Draw(w io.Writer) error {
	d := drawing{reading: t.reading()}
	d.subtree(t.root, Root(t.width), "", "")
	if err := t.Err(); err != nil {
		return err
	}
	_, err := io.WriteString(w, d.out.String())
	return err
}

// String returns what Draw writes.
func (t *Tree) String() string {
	var b strings.Builder
	t.Draw(&b) // a strings.Builder does not fail
	return b.String()
}

type drawing struct {
	reading
	out strings.Builder
}

// subtree draws the subtree n at x. branch leads to x on its own line, indent
// to what is below x.
func (d *drawing) subtree(n *node, x NodeIndex, branch, indent string) {
	if x.IsLeaf() {
		fmt.Fprintf(&d.out, "%s%s\n", branch, d.leaf(n, x))
		return
	}
	if n.resolutionSize() == 0 {
		first, end := x.leaves()
		fmt.Fprintf(&d.out, "%s_ leaves %d to %d\n", branch, first, end-1)
		return
	}
	fmt.Fprintf(&d.out, "%s%s\n", branch, d.parent(n, x))
	left, right := n.kids(x, d.src)
	d.subtree(left, x.left(), indent+"├─", indent+"│ ")
	d.subtree(right, x.right(), indent+"└─", indent+"  ")
}

func (d *drawing) leaf(n *node, x NodeIndex) string {
	raw := n.raw(d.nh)
	if raw == "" {
		return fmt.Sprintf("_ leaf %d", x.Leaf())
	}
	return fmt.Sprintf("leaf %d: %v", x.Leaf(), decodeLeaf(raw).Credential)
}

func (d *drawing) parent(n *node, x NodeIndex) string {
	raw := n.raw(d.nh)
	if raw == "" {
		return fmt.Sprintf("_ node %d", x)
	}
	if u := unmergedIn(raw); u != "" {
		return fmt.Sprintf("node %d, unmerged %v", x, u.slice())
	}
	return fmt.Sprintf("node %d", x)
}
