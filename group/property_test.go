package group_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// Each schedule makes this many commits among at most so many members.
const (
	scheduleCommits = 300
	scheduleMembers = 40
)

// TestRandomSchedules plays random histories with every kind of proposal,
// external joins, resyncs, lost races, and dropped, late and reordered messages,
// and holds all members against each other after every epoch.
func TestRandomSchedules(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		checks := "2"
		if testing.Short() {
			checks = "1"
		}
		check(t, f.Value.Set(checks))
		defer f.Value.Set(f.DefValue)
	}
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(r)
		commits := scheduleCommits
		if testing.Short() {
			commits /= 5
		}
		for range commits {
			w.epoch()
		}
	})
}

// world is a group, its members, and the messages under way.
type world struct {
	t       tb
	r       *rapid.T
	suite   *mls.Suite
	members []*client
	// former are removed members that still listen: as they are once they have
	// merged their removal, and as they would be had they refused it.
	former   []*client
	stubborn []*group.Group
	names    int
	// ds is the external sender that the group lists once extended is set.
	ds       *client
	extended bool
	flying   []flight
	// lost try to merge commits that lost the race.
	lost   []func()
	epochs int
}

// flight is an application message that some members have yet to get.
type flight struct {
	epoch   uint64
	text    string
	from    mls.LeafIndex
	message []byte
	to      []*client
}

func newWorld(r *rapid.T) *world {
	w := &world{t: r, r: r, suite: suite(r, mls.X25519_AES128GCM_SHA256_Ed25519)}
	w.ds = w.newClient()
	founder := w.newClient()
	founder.create()
	w.members = []*client{founder}
	return w
}

func (w *world) chance(percent int, label string) bool {
	return rapid.IntRange(0, 99).Draw(w.r, label) < percent
}

func pick[T any](w *world, from []T, label string) T {
	return from[rapid.IntRange(0, len(from)-1).Draw(w.r, label)]
}

func (w *world) newClient() *client {
	w.names++
	cfg := config()
	if w.names%2 == 0 {
		cfg.Handshakes = framing.WireFormatPublicMessage
	}
	cfg.Padding = func(n int) int { return n % 7 }
	return newClient(w.t, w.suite, cfg, fmt.Sprintf("client %d", w.names))
}

// epoch plays one epoch: messages, proposals, and a commit in the end.
func (w *world) epoch() {
	w.epochs++
	w.chatter()
	held := w.propose()
	w.land(40)
	before := len(w.members)
	switch {
	case w.chance(12, "external") && before < scheduleMembers:
		w.externalCommit(false)
	case w.chance(6, "resync") && before > 1:
		w.externalCommit(true)
	default:
		w.memberCommit(held)
	}
	w.land(30)
	w.verify()
}

// chatter sends application messages, which arrive some time or never.
func (w *world) chatter() {
	for range rapid.IntRange(0, 2).Draw(w.r, "messages") {
		from := pick(w, w.members, "sender")
		text := fmt.Sprintf("%s in %d", from.name, w.epochs)
		message, err := from.g.Protect([]byte(text), nil)
		check(w.t, err)
		to := slices.DeleteFunc(slices.Clone(w.members), func(c *client) bool { return c == from || w.chance(20, "lost") })
		w.flying = append(w.flying, flight{from.g.Epoch(), text, from.g.OwnLeaf(), message, to})
	}
}

// land delivers messages under way, the last first, some twice.
func (w *world) land(percent int) {
	var rest []flight
	for i := len(w.flying) - 1; i >= 0; i-- {
		f := w.flying[i]
		if !w.chance(percent, "lands") {
			rest = append(rest, f)
			continue
		}
		for _, c := range f.to {
			w.read(c, f)
		}
	}
	slices.Reverse(rest)
	w.flying = rest
}

func (w *world) read(c *client, f flight) {
	r, err := c.g.Process(f.message)
	switch {
	case !slices.Contains(w.members, c):
		if err == nil && !isLate(r) {
			w.t.Fatalf("%s, removed, reads %T", c.name, r)
		}
	case err != nil:
		w.t.Fatalf("%s: %v", c.name, err)
	case c.g.Epoch()-f.epoch > group.DefaultPastEpochs:
		if !isLate(r) {
			w.t.Fatalf("a message %d epochs late is %T", c.g.Epoch()-f.epoch, r)
		}
	default:
		a, ok := r.(*group.Application)
		if !ok || string(a.Data) != f.text || a.Sender != f.from {
			w.t.Fatalf("%s reads %T for %q", c.name, r, f.text)
		}
		if _, ok := must[group.Received](w.t)(c.g.Process(f.message)).(*group.Duplicate); !ok {
			w.t.Fatal("a message was read twice")
		}
	}
}

func isFuture(r group.Received) bool {
	_, ok := r.(*group.FutureEpoch)
	return ok
}

func isLate(r group.Received) bool {
	_, ok := r.(*group.StaleEpoch)
	return ok
}

// propose lets members and outsiders propose. A proposal that is held back
// reaches one member only after the commit.
func (w *world) propose() (held map[*client][]byte) {
	held = make(map[*client][]byte)
	for range rapid.IntRange(0, 3).Draw(w.r, "proposals") {
		message := w.proposal()
		if message == nil {
			continue
		}
		var late *client
		if len(w.members) > 2 && len(held) == 0 && w.chance(10, "held back") {
			late = pick(w, w.members, "from whom")
		}
		for _, c := range w.members {
			if c == late {
				held[c] = message
				continue
			}
			_, err := c.g.Process(message)
			check(w.t, err)
		}
	}
	return held
}

func (w *world) proposal() []byte {
	c := pick(w, w.members, "proposer")
	leaf := pick(w, w.members, "target").g.OwnLeaf()
	send := func(p framing.Proposal) []byte { return must[[]byte](w.t)(c.g.Propose(p, []byte("aad"))) }
	kinds := []string{"update", "psk", "resumption"}
	if len(w.members) > 2 && leaf != c.g.OwnLeaf() {
		kinds = append(kinds, "remove")
	}
	if w.extended {
		kinds = append(kinds, "external remove", "new member")
	} else {
		kinds = append(kinds, "extensions")
	}
	switch pick(w, kinds, "kind") {
	case "update":
		if w.pendingUpdate(c) {
			return nil
		}
		return must[[]byte](w.t)(c.g.ProposeUpdate(group.UpdateOptions{}))
	case "psk":
		return send(group.PSKProposal(w.suite, []byte("psk")))
	case "resumption":
		return send(group.ResumptionProposal(w.suite, c.g.ID(), c.g.Epoch()))
	case "remove":
		return send(group.RemoveProposal(leaf))
	case "extensions":
		return send(group.ExtensionsProposal(w.extensions()))
	case "external remove":
		return must[[]byte](w.t)(group.ProposeExternal(w.suite, w.ds.signer, 0, c.g.ID(), c.g.Epoch(), group.RemoveProposal(leaf), nil))
	default:
		stranger := w.newClient() // proposes itself and never comes
		return must[[]byte](w.t)(group.ProposeNewMember(w.suite, stranger.signer, c.g.ID(), c.g.Epoch(), stranger.keyPackage()))
	}
}

func (w *world) pendingUpdate(c *client) bool {
	return slices.ContainsFunc(c.g.Proposals(), func(p group.PendingProposal) bool {
		return p.Proposal.Type == mls.ProposalUpdate && p.Sender.Leaf == c.g.OwnLeaf()
	})
}

func (w *world) extensions() []mls.Extension {
	return []mls.Extension{externalSenders(w.t, w.ds.externalSender())}
}

// memberCommit lets a member commit; sometimes another loses the race.
func (w *world) memberCommit(held map[*client][]byte) {
	candidates := slices.DeleteFunc(slices.Clone(w.members), func(c *client) bool { return held[c] != nil })
	committer := pick(w, candidates, "committer")
	opt, joiners := w.options(committer)
	staged, err := committer.g.Commit(opt)
	check(w.t, err)
	w.race(candidates, committer)
	if w.chance(10, "dropped") {
		staged = must[*group.Staged](w.t)(committer.g.Commit(opt))
	}
	w.announce(staged.Message(), committer, held)
	check(w.t, committer.g.Merge(staged))
	w.settle(staged.Changes())
	for _, j := range joiners {
		check(w.t, j.join(staged.Welcome(), group.JoinOptions{}))
		w.members = append(w.members, j)
	}
}

// race makes a commit that nobody will merge.
func (w *world) race(candidates []*client, winner *client) {
	if loser := pick(w, candidates, "loser"); loser != winner && w.chance(20, "race") {
		lost, err := loser.g.Commit(group.CommitOptions{})
		check(w.t, err)
		w.lost = append(w.lost, func() {
			if err := loser.g.Merge(lost); !errors.Is(err, mls.ErrWrongEpoch) && !errors.Is(err, mls.ErrRemoved) {
				w.t.Fatalf("merging a commit that lost the race: %v", err)
			}
		})
	}
}

// options are what a member commits by value besides what was proposed.
func (w *world) options(committer *client) (opt group.CommitOptions, joiners []*client) {
	for _, p := range committer.g.Proposals() {
		if psk := p.Proposal.PreSharedKey; psk != nil && psk.PSK.Type == keyschedule.PSKResumption {
			return opt, nil // joiners could not know that PSK
		}
	}
	growth := 35
	if len(w.members) < 6 {
		growth = 80
	}
	if w.chance(growth, "adds") {
		for range rapid.IntRange(1, 4).Draw(w.r, "joiners") {
			if len(w.members)+len(joiners) < scheduleMembers {
				joiners = append(joiners, w.newClient())
				opt.Proposals = append(opt.Proposals, group.AddProposal(joiners[len(joiners)-1].keyPackage()))
			}
		}
	}
	opt.OmitPath = w.chance(30, "no path")
	opt.TreeApart = false
	if w.chance(10, "new identity") {
		committer.signer = must[*mls.SignaturePrivateKey](w.t)(w.suite.GenerateSigner())
		id := committer.identity()
		opt.Identity, opt.OmitPath = &id, false
	}
	return opt, joiners
}

// externalCommit lets somebody join, or rejoin, from a GroupInfo.
func (w *world) externalCommit(resync bool) {
	inviter := pick(w, w.members, "inviter")
	info := must[*framing.GroupInfo](w.t)(inviter.g.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	joiner := w.newClient()
	opt := group.ExternalJoinOptions{Identity: joiner.identity()}
	if resync {
		old := pick(w, w.members, "who resyncs")
		joiner = newClient(w.t, w.suite, old.cfg, old.name)
		opt = group.ExternalJoinOptions{Identity: joiner.identity(), Resync: true}
	}
	if w.chance(30, "psk") {
		opt.PSKs = []keyschedule.PreSharedKeyID{group.PSKProposal(w.suite, []byte("psk")).PreSharedKey.PSK}
	}
	g, commit, err := group.JoinExternal(joiner.cfg, info, opt)
	check(w.t, err)
	w.announce(commit, nil, nil)
	joiner.g = g
	w.settle(group.Changes{})
	w.members = append(w.members, joiner)
}

// announce delivers a commit to all members but the committer, and to one
// restored copy, which must come to the same state.
func (w *world) announce(commit []byte, committer *client, held map[*client][]byte) {
	stubborn := slices.Clone(w.stubborn) // not those whom this very commit removes
	for _, c := range w.members {
		if c == committer {
			continue
		}
		if w.chance(8, "restart") {
			saved := must[[]byte](w.t)(c.g.State())
			twin := must[*group.Group](w.t)(group.Restore(c.cfg, saved, c.signer))
			w.follow(c, c.g, commit, held[c])
			w.follow(c, twin, commit, held[c])
			a, b := must[[]byte](w.t)(c.g.State()), must[[]byte](w.t)(twin.State())
			if !bytes.Equal(a, b) {
				w.t.Fatalf("%s and its restored copy differ after the commit", c.name)
			}
			c.g = twin
			continue
		}
		w.follow(c, c.g, commit, held[c])
	}
	for _, c := range w.former {
		if _, err := c.g.Process(commit); !errors.Is(err, mls.ErrRemoved) {
			w.t.Fatalf("%s, removed in epoch %d, processes a later commit: %v", c.name, c.g.Epoch(), err)
		}
	}
	for _, g := range stubborn {
		if r := must[group.Received](w.t)(g.Process(commit)); !isFuture(r) {
			w.t.Fatalf("a member that refused its removal in epoch %d processes a later commit: %T", g.Epoch(), r)
		}
	}
}

// follow processes and merges a commit; with a proposal held back first without
// it.
func (w *world) follow(c *client, g *group.Group, commit, held []byte) {
	r, err := g.Process(commit)
	if held != nil && errors.Is(err, mls.ErrUnknownProposal) {
		if !mls.Retryable(err) {
			w.t.Fatal("a commit that lacks a proposal is not worth a retry")
		}
		must[group.Received](w.t)(g.Process(held))
		r, err = g.Process(commit)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", c.name, err)
	}
	switch r := r.(type) {
	case *group.Staged:
		check(w.t, g.Merge(r))
	case *group.Removal:
		saved := must[[]byte](w.t)(g.State())
		w.stubborn = append(w.stubborn, must[*group.Group](w.t)(group.Restore(c.cfg, saved, c.signer)))
		w.stubborn = w.stubborn[max(0, len(w.stubborn)-3):]
		check(w.t, g.Merge(r.Staged))
	default:
		w.t.Fatalf("%s sees a commit as %T", c.name, r)
	}
}

// settle moves the removed members to the former ones.
func (w *world) settle(changes group.Changes) {
	if changes.ExtensionsReplaced {
		w.extended = true
	}
	w.members = slices.DeleteFunc(w.members, func(c *client) bool {
		if c.g.Active() {
			return false
		}
		w.former = append(w.former, c)
		return true
	})
	if n := len(w.former); n > 3 {
		w.former = w.former[n-3:]
	}
}

// verify holds all members against each other, and the tree against what a
// joiner would see and against its own caches.
func (w *world) verify() {
	for _, merge := range w.lost {
		merge()
	}
	w.lost = nil
	agree(w.t, w.members...)
	for _, c := range w.members {
		if leaf, ok := c.g.Member(c.g.OwnLeaf()); !ok || !bytes.Equal(leaf.SignatureKey, c.signer.Public()) {
			w.t.Fatalf("%s is not at its leaf", c.name)
		}
	}
	c := pick(w, w.members, "whose tree")
	tree := c.g.Tree()
	if tree.Members() != len(w.members)+w.strangers(tree) {
		w.t.Fatalf("%d members in the tree, %d in the world", tree.Members(), len(w.members))
	}
	encoded := must[[]byte](w.t)(tree.Bytes())
	for _, other := range w.members {
		check(w.t, other.g.Tree().CheckAggregates())
		if !bytes.Equal(must[[]byte](w.t)(other.g.Tree().Bytes()), encoded) {
			w.t.Fatalf("%s and %s serialize different trees", c.name, other.name)
		}
	}
	parsed := must[*treekem.Tree](w.t)(treekem.ParseTree(w.suite, encoded, group.DefaultMaxLeaves))
	check(w.t, parsed.Validate(c.g.ID(), treekem.ValidateOptions{Now: time.Now()}))
	if !bytes.Equal(parsed.Hash(), tree.Hash()) {
		w.t.Fatal("the tree changes its hash when it is serialized")
	}
}

// strangers counts the members that were added and never joined.
func (w *world) strangers(tree *treekem.Tree) int {
	n := 0
	for leaf := range tree.Leaves() {
		if !slices.ContainsFunc(w.members, func(c *client) bool { return c.g.OwnLeaf() == leaf }) {
			n++
		}
	}
	return n
}
