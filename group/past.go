package group

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// pastEpoch is what is kept of an epoch to read its late application messages
// (RFC 9420, Section 15.3): who was a member, and keys not used yet.
type pastEpoch struct {
	contextBytes []byte
	number       uint64
	roster       roster
	secrets      *keyschedule.EpochSecrets
	ratchets     *keyschedule.SecretTree
}

// roster tells who held a leaf: a tree, except for the leaves that differ. It
// is that epoch's tree itself until the state is saved, and the then current
// one with its differences afterwards.
type roster struct {
	tree  *treekem.Tree
	width uint32
	// differ are leaves that are not as in tree; nil for blank ones.
	differ map[mls.LeafIndex]*treekem.LeafNode
}

func (r *roster) leaf(i mls.LeafIndex) (*treekem.LeafNode, bool) {
	if uint32(i) >= r.width {
		return nil, false
	}
	if node, ok := r.differ[i]; ok {
		return node, node != nil
	}
	return r.tree.Leaf(i)
}

// retire turns the current epoch into a past one, and drops the oldest.
func (g *Group) retire() {
	p := &pastEpoch{
		contextBytes: g.contextBytes, number: g.context.Epoch,
		roster:  roster{tree: g.tree, width: g.tree.Width()},
		secrets: g.epoch.Past(), ratchets: g.ratchets,
	}
	p.ratchets.DropHandshakes()
	g.epoch.Destroy()
	g.past = append([]*pastEpoch{p}, g.past...)
	for len(g.past) > g.cfg.Limits.PastEpochs {
		last := len(g.past) - 1
		g.past[last].destroy()
		g.past = g.past[:last]
	}
}

func (p *pastEpoch) destroy() {
	p.secrets.Destroy()
	p.ratchets.Destroy()
}

// pastEpoch finds a past epoch that is still kept.
func (g *Group) pastEpoch(number uint64) (*pastEpoch, bool) {
	for _, p := range g.past {
		if p.number == number {
			return p, true
		}
	}
	return nil, false
}
