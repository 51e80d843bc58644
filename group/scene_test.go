package group_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// scene is a group under attack: its members, of whom the first is the forger,
// and an observer.
type scene struct {
	t        *testing.T
	suite    *mls.Suite
	cfg      group.Config
	m        []*client
	observer *group.PublicGroup
}

// newScene is a group of n members. Their own messages are public, so that the
// observer can follow.
func newScene(t *testing.T, n int, exts ...mls.Extension) *scene {
	t.Helper()
	return newSceneOf(t, config(), n, exts...)
}

func newSceneOf(t *testing.T, cfg group.Config, n int, exts ...mls.Extension) *scene {
	t.Helper()
	cfg.Handshakes = framing.WireFormatPublicMessage
	sc := &scene{t: t, cfg: cfg, suite: suite(t, mls.X25519_AES128GCM_SHA256_Ed25519)}
	for i := range n {
		sc.m = append(sc.m, newClient(t, sc.suite, cfg, fmt.Sprintf("member %d", i)))
	}
	sc.m[0].g = must[*group.Group](t)(group.New(cfg, sc.suite, group.CreateOptions{Identity: listing(sc.m[0]), Extensions: exts}))
	var opt group.CommitOptions
	for _, c := range sc.m[1:] {
		var err error
		c.kp, c.private, err = group.NewKeyPackage(cfg, sc.suite, group.KeyPackageOptions{Identity: listing(c)})
		check(t, err)
		opt.Proposals = append(opt.Proposals, group.AddProposal(c.kp))
	}
	if n > 1 {
		sc.m[0].commitTo(opt, nil, sc.m[1:]...)
	}
	sc.observe()
	return sc
}

// listing is the identity of a first member, whose capabilities list an
// extension.
func listing(c *client) group.Identity {
	id := c.identity()
	caps := treekem.DefaultCapabilities()
	caps.Extensions = append(caps.Extensions, listed)
	id.Capabilities = &caps
	return id
}

func adds(clients ...*client) []framing.Proposal {
	var list []framing.Proposal
	for _, kp := range keyPackages(clients...) {
		list = append(list, group.AddProposal(kp))
	}
	return list
}

// observe makes the observer anew, in the current epoch.
func (sc *scene) observe() {
	sc.t.Helper()
	sc.observer = must[*group.PublicGroup](sc.t)(group.Observe(sc.cfg, sc.info(), nil))
}

func (sc *scene) info() *framing.GroupInfo {
	sc.t.Helper()
	return must[*framing.GroupInfo](sc.t)(sc.m[0].g.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
}

// client is somebody who is not in the group yet.
func (sc *scene) client(name string) *client {
	sc.t.Helper()
	return newClient(sc.t, sc.suite, sc.cfg, name)
}

// send lets everybody process a message that is as it should be; commits are
// not merged.
func (sc *scene) send(message []byte) {
	sc.t.Helper()
	for _, c := range sc.m {
		if _, err := c.g.Process(message); err != nil {
			sc.t.Fatalf("%s: %v", c.name, err)
		}
	}
	if _, err := sc.observer.Process(message); err != nil && !errors.Is(err, mls.ErrUnsupported) {
		sc.t.Fatal(err)
	}
}

// propose lets a member make a proposal that everybody gets, and returns its
// reference.
func (sc *scene) propose(c *client, p framing.Proposal) []byte {
	sc.t.Helper()
	return sc.proposed(must[[]byte](sc.t)(c.g.Propose(p, nil)))
}

// update lets a member propose an Update.
func (sc *scene) update(c *client) []byte {
	sc.t.Helper()
	return sc.proposed(must[[]byte](sc.t)(c.g.ProposeUpdate(group.UpdateOptions{})))
}

func (sc *scene) proposed(message []byte) []byte {
	sc.t.Helper()
	sc.send(message)
	list := sc.m[1].g.Proposals()
	return list[len(list)-1].Ref
}

// receivers are all members but the forger.
func (sc *scene) receivers() []*client { return sc.m[1:] }

// unchanged runs attempt and fails the test unless the state of c is what it
// was before.
func unchanged(t tb, c *client, attempt func() error) error {
	t.Helper()
	before := must[[]byte](t)(c.g.State())
	err := attempt()
	if after := must[[]byte](t)(c.g.State()); !bytes.Equal(before, after) {
		t.Fatalf("%s: the state has changed after %v", c.name, err)
	}
	return err
}

// refused lets all receivers have a message that breaks a rule, and returns the
// error of the first.
func (sc *scene) refused(message []byte, rule string) *mls.RuleError {
	sc.t.Helper()
	e := sc.refusedByMembers(message, rule)
	if m := must[*framing.Message](sc.t)(framing.Parse(message)); m.Public != nil {
		sc.observerRefuses(message, rule)
	}
	return e
}

func (sc *scene) refusedByMembers(message []byte, rule string) *mls.RuleError {
	sc.t.Helper()
	var first *mls.RuleError
	for _, c := range sc.receivers() {
		err := unchanged(sc.t, c, func() error { _, err := c.g.Process(message); return err })
		assertRule(sc.t, err, rule)
		if first == nil {
			errors.As(err, &first)
		}
	}
	return first
}

func (sc *scene) observerRefuses(message []byte, rule string) {
	sc.t.Helper()
	p := sc.observer
	epoch, tree, cached := p.Epoch(), p.Tree(), len(p.Proposals())
	_, err := p.Process(message)
	assertRule(sc.t, err, rule)
	if p.Epoch() != epoch || p.Tree() != tree || len(p.Proposals()) != cached {
		sc.t.Fatal("the observer has changed")
	}
}

// fails lets the members have a message that comes to a sentinel.
func (sc *scene) fails(message []byte, want error) {
	sc.t.Helper()
	for _, c := range sc.receivers() {
		err := unchanged(sc.t, c, func() error { _, err := c.g.Process(message); return err })
		if !errors.Is(err, want) {
			sc.t.Fatalf("%s: %v, want %v", c.name, err, want)
		}
	}
}

// commitRefused forges a commit in both framings and lets all receivers refuse
// it.
func (sc *scene) commitRefused(f forgery, rule string) *mls.RuleError {
	sc.t.Helper()
	sc.refused(sc.m[0].forge(framing.WireFormatPublicMessage, f).message, rule)
	return sc.refused(sc.m[0].forge(framing.WireFormatPrivateMessage, f).message, rule)
}

// accepted checks that a forged commit is as good as an honest one: everybody
// stages it, and comes to the forger's epoch.
func (sc *scene) accepted(out *forged) {
	sc.t.Helper()
	for _, c := range sc.receivers() {
		r, err := c.g.Process(out.message)
		if err != nil {
			sc.t.Fatalf("%s: %v", c.name, err)
		}
		s, ok := r.(*group.Staged)
		if !ok {
			sc.t.Fatalf("%s: %T", c.name, r)
		}
		if !bytes.Equal(s.EpochAuthenticator(), out.epoch.EpochAuthenticator()) {
			sc.t.Fatalf("%s is in another epoch", c.name)
		}
	}
	if m := must[*framing.Message](sc.t)(framing.Parse(out.message)); m.Public != nil {
		r, err := sc.observer.Process(out.message)
		if err != nil {
			sc.t.Fatalf("observer: %v", err)
		}
		if !bytes.Equal(r.(*group.Staged).Tree().Hash(), out.tree.Hash()) {
			sc.t.Fatal("the observer has another tree")
		}
	}
}

// blames checks whom an error names. An empty identity, a leaf of -1 and a
// proposal of -1 stand for nobody in particular.
func (sc *scene) blames(e *mls.RuleError, leaf int, identity string, proposal int) {
	sc.t.Helper()
	c := e.Culprit
	if c == nil {
		c = &mls.Culprit{}
	}
	if leaf >= 0 && (c.Leaf == nil || int(*c.Leaf) != leaf) {
		sc.t.Fatalf("%v does not blame leaf %d", e, leaf)
	}
	if identity != "" && c.Identity != identity {
		sc.t.Fatalf("%v does not blame %q", e, identity)
	}
	if proposal >= 0 && (c.Proposal == nil || *c.Proposal != proposal) {
		sc.t.Fatalf("%v does not blame proposal %d", e, proposal)
	}
}

// TestForgerIsAsGoodAsHonest shows that what the forger makes is refused for
// its defect and for nothing else: without one it is accepted.
func TestForgerIsAsGoodAsHonest(t *testing.T) {
	for _, w := range []framing.WireFormat{framing.WireFormatPublicMessage, framing.WireFormatPrivateMessage} {
		sc := newScene(t, 5)
		sc.accepted(sc.m[0].forge(w, forgery{}))
		sc.accepted(sc.m[0].forge(w, forgery{leaf: func(l *treekem.LeafNode) {
			l.Extensions = []mls.Extension{{Type: mls.ExtensionApplicationID, Data: []byte("id")}}
		}}))
		sc.accepted(sc.m[0].forge(w, forgery{noPath: true, proposals: adds(sc.client("late"))}))
		sc.accepted(sc.m[0].forge(w, forgery{proposals: append(adds(sc.client("a"), sc.client("b")), group.PSKProposal(sc.suite, []byte("k")))}))
		ref := sc.update(sc.m[2])
		sc.accepted(sc.m[0].forge(w, forgery{refs: [][]byte{ref}}))
		sc.send(sc.m[0].forgeProposal(w, updateProposal(sc.m[0].updateLeaf(nil))))
	}
	sc := newScene(t, 5)
	sc.accepted(sc.client("joiner").forgeExternal(sc.info(), forgery{}, false))
	sc.accepted(sc.client("joiner").forgeExternal(sc.info(), forgery{
		proposals: []framing.Proposal{group.RemoveProposal(0), group.PSKProposal(sc.suite, []byte("k"))},
		leaf:      func(l *treekem.LeafNode) { l.Extensions = []mls.Extension{{Type: mls.ExtensionApplicationID}} },
	}, false))
}
