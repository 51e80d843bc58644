package bench

import (
	"context"
	"runtime"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// newcomer is somebody with a key package.
type newcomer struct {
	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
	signer  mls.Signer
}

func newNewcomer(s *mls.Suite) (*newcomer, error) {
	signer, err := s.GenerateSigner()
	if err != nil {
		return nil, err
	}
	kp, private, err := treekem.NewKeyPackage(s, treekem.KeyPackageOptions{
		Credential: newcomerCredential(), Signer: signer, Lifetime: treekem.LifetimeFrom(time.Now(), 24*time.Hour),
	})
	return &newcomer{kp, private, signer}, err
}

// newcomerCredential is a name as long as that of the others.
func newcomerCredential() treekem.Credential {
	return treekem.BasicCredential([]byte("one more member "))
}

// invitation is a Welcome with who it is for.
type invitation struct {
	to      *newcomer
	welcome []byte
	tree    []byte // apart; nil: in the Welcome
	derive  int    // key pairs to derive in the path above the joiner
	members int    // before
}

func (b *bed) invite(apart bool) (*invitation, error) {
	to, err := newNewcomer(b.suite)
	if err != nil {
		return nil, err
	}
	staged, err := b.committer.Commit(group.CommitOptions{
		Proposals: []framing.Proposal{group.AddProposal(to.kp)}, References: [][]byte{}, TreeApart: apart,
	})
	if err != nil {
		return nil, err
	}
	in := &invitation{to: to, welcome: staged.Welcome(), members: b.committer.Tree().Members()}
	in.derive = sharedNodes(staged.Tree(), b.committer.OwnLeaf(), staged.Changes().Added[0].Leaf)
	if apart {
		in.tree, err = staged.Tree().Bytes()
	}
	return in, err
}

func (in *invitation) accept(cfg group.Config) (*group.Group, error) {
	m, err := framing.Parse(in.welcome)
	if err != nil {
		return nil, err
	}
	return group.Join(cfg, m.Welcome, in.to.kp, in.to.private, group.JoinOptions{RatchetTree: in.tree})
}

// joining measures joining with everything that a joiner verifies: the
// signatures of all leaves but its own and of the GroupInfo; then the group
// secrets are opened and the path above the joiner is derived (RFC 9420, Section
// 12.4.3.1).
func (b *bed) joining(apart bool) (*task, error) {
	in, err := b.invite(apart)
	if err != nil {
		return nil, err
	}
	return &task{
		run:   func() error { _, err := in.accept(config()); return err },
		work:  work{verify: in.members + 1, open: 1, derive: in.derive},
		bytes: len(in.welcome) + len(in.tree),
	}, nil
}

func (b *bed) join() (*task, error)      { return b.joining(false) }
func (b *bed) joinApart() (*task, error) { return b.joining(true) }

// rejoin measures joining with a cache of leaves that has them all. The tree
// hash stays unavoidable: a hash for each node.
func (b *bed) rejoin() (*task, error) {
	in, err := b.invite(false)
	if err != nil {
		return nil, err
	}
	cfg := config()
	cfg.Verified = treekem.NewVerifiedLeaves(2 * b.members)
	if _, err := in.accept(cfg); err != nil {
		return nil, err
	}
	return &task{
		run:   func() error { _, err := in.accept(cfg); return err },
		work:  work{verify: 1, open: 1, derive: in.derive, hash: 2 * in.members},
		bytes: len(in.welcome),
	}, nil
}

// externalJoin: all leaves and the GroupInfo are verified, the external secret is
// encapsulated, and a path made (RFC 9420, Section 12.4.3.2).
func (b *bed) externalJoin() (*task, error) {
	info, err := b.committer.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true})
	if err != nil {
		return nil, err
	}
	encoded, err := (&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatGroupInfo, GroupInfo: info}).Bytes()
	if err != nil {
		return nil, err
	}
	signer, err := b.suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	opt := group.ExternalJoinOptions{Identity: group.Identity{Credential: newcomerCredential(), Signer: signer}}
	join := func() ([]byte, error) {
		m, err := framing.Parse(encoded)
		if err != nil {
			return nil, err
		}
		_, message, err := group.JoinExternal(config(), m.GroupInfo, opt)
		return message, err
	}
	message, err := join()
	if err != nil {
		return nil, err
	}
	p, err := countPath(message)
	if err != nil {
		return nil, err
	}
	return &task{
		run:   func() error { _, err := join(); return err },
		work:  work{verify: b.committer.Tree().Members() + 1, derive: p.nodes, seal: p.seals + 1, sign: 2},
		bytes: len(encoded),
	}, nil
}

// joined is a member that has joined, for what its state is to be.
func (b *bed) joined() (*group.Group, *newcomer, error) {
	if b.joiner == nil {
		if _, err := b.memory(context.Background(), 0); err != nil {
			return nil, nil, err
		}
	}
	return b.joiner, b.joinerIs, nil
}

func (b *bed) save() (*task, error) {
	g, _, err := b.joined()
	if err != nil {
		return nil, err
	}
	state, err := g.State()
	if err != nil {
		return nil, err
	}
	return &task{run: func() error { _, err := g.State(); return err }, bytes: len(state)}, nil
}

func (b *bed) restore() (*task, error) {
	g, who, err := b.joined()
	if err != nil {
		return nil, err
	}
	state, err := g.State()
	if err != nil {
		return nil, err
	}
	return &task{
		run:   func() error { _, err := group.Restore(config(), state, who.signer); return err },
		bytes: len(state),
	}, nil
}

// memory measures the live heap that a member is, by having one join.
func (b *bed) memory(context.Context, time.Duration) (Result, error) {
	if b.joiner == nil {
		in, err := b.invite(false)
		if err != nil {
			return Result{}, err
		}
		before := liveHeap()
		g, err := in.accept(config())
		if err != nil {
			return Result{}, err
		}
		after := liveHeap()
		runtime.KeepAlive(in)
		b.joiner, b.joinerIs, b.joinerHeap = g, in.to, after-before
	}
	return Result{Bytes: int(max(b.joinerHeap, 0)) / (b.members + 1)}, nil
}

// liveHeap is the size of what is reachable.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
