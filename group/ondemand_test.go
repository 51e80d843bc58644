package group_test

import (
	"errors"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

var errRead = errors.New("an injected read error")

// TestUnreadableTree lets each read of a stored tree fail while a group does
// something. Nothing comes of it, and nothing of the group from then on: not
// even what it would have known.
func TestUnreadableTree(t *testing.T) {
	members := newGroup(t, suite(t, mls.X25519_AES128GCM_SHA256_Ed25519), config(), 40)
	a, b := members[0], members[1]
	saved := must[[]byte](t)(b.g.StateApart())
	_, all, err := treekem.StoreTree(b.g.Tree())
	check(t, err)
	records := map[string][]byte{}
	for _, r := range all.Put {
		records[string(r.Name)] = r.Value
	}
	kp := newClient(t, a.suite, a.cfg, "new").keyPackage()
	text := must[[]byte](t)(members[39].g.Protect([]byte("x"), nil))
	proposal := must[[]byte](t)(members[38].g.Propose(group.RemoveProposal(7), nil))
	commit := a.commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp)}}).Message()
	process := func(message []byte) func(*group.Group) error {
		return func(g *group.Group) error {
			r, err := g.Process(message)
			if err != nil && r != nil {
				t.Error("a result and an error")
			}
			return err
		}
	}
	for name, run := range map[string]func(*group.Group) error{
		"message": process(text), "proposal": process(proposal), "commit": process(commit),
		"make a commit": func(g *group.Group) error {
			_, err := g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.AddProposal(kp), group.RemoveProposal(20)}})
			return err
		},
		"propose": func(g *group.Group) error {
			_, err := g.Propose(group.RemoveProposal(20), nil)
			return err
		},
		"update": func(g *group.Group) error {
			_, err := g.ProposeUpdate(group.UpdateOptions{})
			return err
		},
		"info": func(g *group.Group) error {
			_, err := g.GroupInfo(group.InfoOptions{Tree: true})
			return err
		},
		"state": func(g *group.Group) error {
			_, err := g.State()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for k := 2; ; k++ { // the first is the head's
				reads := 0
				stored := must[*treekem.Stored](t)(treekem.OpenTree(b.suite, func(name []byte) ([]byte, error) {
					if reads++; reads == k {
						return nil, errRead
					}
					return records[string(name)], nil
				}))
				g, err := group.RestoreApart(b.cfg, saved, stored.Tree(), b.signer)
				if err == nil {
					err = run(g)
				}
				if reads < k {
					check(t, err)
					if k < 3 {
						t.Error("nothing was read")
					}
					return
				}
				if !errors.Is(err, errRead) {
					t.Fatalf("read %d failed: %v", k, err)
				}
				if g == nil {
					continue
				}
				if g.Reserved() != 0 || len(g.Proposals()) != 0 {
					t.Errorf("read %d failed, and the group has changed", k)
				}
				for what, f := range map[string]func() error{
					"state":   func() error { _, err := g.StateApart(); return err },
					"commit":  func() error { _, err := g.Commit(group.CommitOptions{}); return err },
					"update":  func() error { _, err := g.ProposeUpdate(group.UpdateOptions{}); return err },
					"process": func() error { _, err := g.Process(text); return err },
				} {
					if err := f(); !errors.Is(err, errRead) {
						t.Errorf("read %d failed, and then %s: %v", k, what, err)
					}
				}
			}
		})
	}
}
