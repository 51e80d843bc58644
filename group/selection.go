package group

import (
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/keyschedule"
)

// selectReferences picks from the cached proposals those that make a valid
// list together with the given ones (RFC 9420, Sections 12.2 and 12.4): of the
// proposals for one leaf any Remove, else the latest Update; a ReInit only when
// there is nothing else.
func (g *Group) selectReferences(values []*proposal) []*proposal {
	s := selection{Group: g, k: g.checker(&g.cfg, true), own: g.OwnLeaf(), gone: make(map[mls.LeafIndex]bool)}
	for _, p := range append(values[:len(values):len(values)], g.proposals.order...) {
		if p.body.Type == mls.ProposalRemove {
			s.gone[p.body.Remove.Removed] = true
		}
	}
	s.list.touched = make(map[mls.LeafIndex]mls.ProposalType)
	for i, p := range values {
		_ = s.list.add(p, i, s.own)
		s.keep(p)
	}
	// From the latest to the first, so that the latest Update wins.
	var picked []*proposal
	for i := len(g.proposals.order) - 1; i >= 0; i-- {
		if p := g.proposals.order[i]; p.body.Type != mls.ProposalReInit && s.admits(p) {
			picked = append(picked, p)
		}
	}
	slices.Reverse(picked)
	if len(picked) > 0 && g.holds(values) {
		picked = g.widest(nil, picked, values)
	}
	if len(picked) == 0 && len(values) == 0 {
		return g.lastReInit()
	}
	return picked
}

// widest adds to accepted those of the candidates that a commit can hold
// together with it: a proposal that is valid by itself may still lead to a tree
// that is not. If all are good that is found at once, else by halves.
func (g *Group) widest(accepted, candidates, values []*proposal) []*proposal {
	if len(candidates) == 0 {
		return accepted
	}
	all := slices.Concat(accepted, candidates)
	if g.holds(slices.Concat(all, values)) {
		return all
	}
	if len(candidates) == 1 {
		return accepted
	}
	half := len(candidates) / 2
	return g.widest(g.widest(accepted, candidates[:half], values), candidates[half:], values)
}

// holds tells whether a commit of the list would be valid.
func (g *Group) holds(list []*proposal) bool {
	if g.checker(&g.cfg, true).regular(list, g.OwnLeaf()) != nil {
		return false
	}
	t, err := g.apply(list, framing.Member(g.OwnLeaf()))
	return err == nil && g.checkSupport(&g.cfg, t) == nil
}

func (g *Group) lastReInit() []*proposal {
	for i := len(g.proposals.order) - 1; i >= 0; i-- {
		if p := g.proposals.order[i]; p.body.Type == mls.ProposalReInit {
			return []*proposal{p}
		}
	}
	return nil
}

// selection is the state of selectReferences.
type selection struct {
	*Group
	k    *checker
	own  mls.LeafIndex
	list listState
	gone map[mls.LeafIndex]bool
	keys map[string]bool
}

func (s *selection) keep(p *proposal) {
	if p.body.Type != mls.ProposalAdd {
		return
	}
	if s.keys == nil {
		s.keys = make(map[string]bool)
	}
	s.keys[string(p.body.Add.KeyPackage.LeafNode.SignatureKey)] = true
}

func (s *selection) admits(p *proposal) bool {
	switch p.body.Type {
	case mls.ProposalUpdate:
		if s.gone[p.sender.Leaf] {
			return false
		}
	case mls.ProposalAdd:
		leaf := &p.body.Add.KeyPackage.LeafNode
		if s.keys[string(leaf.SignatureKey)] {
			return false
		}
		if at, ok := s.k.memberLike(leaf); ok && !s.gone[at] {
			return false
		}
	case mls.ProposalPSK:
		psk, err := s.pskSecret([]keyschedule.PreSharedKeyID{p.body.PreSharedKey.PSK})
		if err != nil {
			return false
		}
		psk.Destroy()
	}
	if s.k.one(p, -1) != nil {
		return false
	}
	if _, taken := s.list.touched[touchedLeaf(p)]; taken && touches(p) {
		return false
	}
	if s.list.add(p, 0, s.own) != nil {
		return false
	}
	s.keep(p)
	return true
}

func touches(p *proposal) bool {
	return p.body.Type == mls.ProposalUpdate || p.body.Type == mls.ProposalRemove
}

func touchedLeaf(p *proposal) mls.LeafIndex {
	if p.body.Type == mls.ProposalRemove {
		return p.body.Remove.Removed
	}
	return p.sender.Leaf
}
