package treekem

import (
	"reflect"
	"testing"

	"github.com/treekem/mls"
)

// TestPresentations: what members present is what their leaf nodes say, whatever
// these are from.
func TestPresentations(t *testing.T) {
	s := suite1(t)
	g := full(t, s, 4) // leaves from commits
	kp, _ := newKeyPackage(t, s, "from a key package")
	e := g.tree.Edit()
	must[mls.LeafIndex](t)(e.Add(&kp.LeafNode))
	tree := must[*Tree](t)(e.Done())
	presented := make(map[mls.LeafIndex]Presentation)
	for i, p := range tree.Presentations() {
		presented[i] = p
	}
	sources := make(map[LeafNodeSource]int)
	for i, leaf := range tree.Leaves() {
		if !reflect.DeepEqual(presented[i], leaf.Presentation()) {
			t.Errorf("leaf %d presents %+v, want %+v", i, presented[i], leaf.Presentation())
		}
		sources[leaf.Source]++
	}
	if len(presented) != 5 || sources[SourceCommit] != 4 || sources[SourceKeyPackage] != 1 {
		t.Errorf("%d members present something, of sources %v", len(presented), sources)
	}
	for range tree.Presentations() {
		break // an iterator that is left ends
	}
}
