package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/treekem/mls"
	"github.com/treekem/mls/client"
	"github.com/treekem/mls/group"
)

// held is a group of a state directory.
type held struct {
	*client.Group
	home *home
	info client.Info // as of the last refresh
}

// refresh reads what there is to know about the group.
func (g *held) refresh(ctx context.Context) (err error) {
	g.info, err = g.Info(ctx)
	return err
}

// show calls f with the group in the words of the command line.
func (g *held) show(ctx context.Context, f func(shown) error) error {
	return g.View(ctx, func(current *group.Group) error { return f(shown{current, g.info}) })
}

// isPending reports whether message is the own commit that waits.
func (g *held) isPending(ctx context.Context, message []byte) (bool, error) {
	p, err := g.PendingCommit(ctx)
	if errors.Is(err, client.ErrNothingPending) {
		return false, nil
	}
	return err == nil && bytes.Equal(p.Message, message), err
}

// noPending refuses to go on while an own commit waits for its fate.
func (g *held) noPending() error {
	if !g.info.Pending {
		return nil
	}
	return hinted(`"mls group accept" if the others have taken it, "mls group discard" if not`, "a commit of your own is pending")
}

// joined refuses what only a member can do, while our external commit waits.
func (g *held) joined() error {
	if g.info.Status != client.StatusJoining {
		return nil
	}
	return hinted(`process the file of your commit once the members have taken it, or say "mls group accept"; "mls group discard" if they have not`,
		"you have not joined yet: your external commit is pending")
}

// findMember returns the leaf of the member that who names: an identity, or leaf:N.
func (g *held) findMember(ctx context.Context, who string) (mls.LeafIndex, error) {
	var found []mls.LeafIndex
	err := g.View(ctx, func(g *group.Group) error {
		for i, leaf := range g.Members() {
			if label(leaf.Credential.Identity) == who || fmt.Sprintf("leaf:%d", i) == who {
				found = append(found, i)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, hinted(`"mls group info" lists the members`, "no member %q", who)
	case len(found) > 1:
		return 0, hinted("name one by its leaf, as in leaf:"+fmt.Sprint(found[0]), "%d members are called %q", len(found), who)
	}
	return found[0], nil
}

// waiting lists the messages of the group that may not have left yet.
func (g *held) waiting(ctx context.Context) (list []client.Outgoing, err error) {
	all, err := g.home.Outbox(ctx)
	for _, o := range all {
		if bytes.Equal(o.Group, g.ID()) {
			list = append(list, o)
		}
	}
	return list, err
}
