package group_test

import (
	"errors"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/treekem"
)

// limited is a scene of two whose second member has limits.
func limited(t *testing.T, limits group.Limits) *scene {
	t.Helper()
	cfg := config()
	cfg.Limits = limits
	return newSceneOf(t, cfg, 2)
}

func TestMaxForward(t *testing.T) {
	sc := limited(t, group.Limits{MaxForward: 10})
	from, to := sc.m[0], sc.m[1]
	protect := func(skip int) []byte {
		for range skip {
			must[[]byte](t)(from.g.Protect(nil, nil))
		}
		return must[[]byte](t)(from.g.Protect([]byte("last"), nil))
	}
	deliver(t, protect(10), to) // generation 10
	tooFar := protect(11)       // generation 22
	err := unchanged(t, to, func() error { return errOf(to.g.Process(tooFar)) })
	if !errors.Is(err, mls.ErrTooFar) {
		t.Fatalf("11 generations ahead: %v", err)
	}
}

func TestMaxSkipped(t *testing.T) {
	sc := limited(t, group.Limits{MaxSkipped: 3})
	from, to := sc.m[0], sc.m[1]
	var messages [][]byte
	for range 5 {
		messages = append(messages, must[[]byte](t)(from.g.Protect([]byte("text"), nil)))
	}
	deliver(t, messages[4], to)
	if _, ok := must[group.Received](t)(to.g.Process(messages[0])).(*group.Duplicate); !ok {
		t.Fatal("four skipped keys are kept, the limit is three")
	}
	for _, m := range messages[1:4] {
		if _, ok := must[group.Received](t)(to.g.Process(m)).(*group.Application); !ok {
			t.Fatal("a key within the limit is gone")
		}
	}
}

func TestPastEpochs(t *testing.T) {
	for _, tt := range []struct{ limit, want int }{{-1, 0}, {0, group.DefaultPastEpochs}, {1, 1}, {2, 2}} {
		sc := limited(t, group.Limits{PastEpochs: tt.limit})
		from, to := sc.m[0], sc.m[1]
		late := must[[]byte](t)(from.g.Protect([]byte("late"), nil))
		latest := must[[]byte](t)(from.g.Protect([]byte("latest"), nil))
		for range tt.want {
			from.commitTo(group.CommitOptions{}, []*client{to})
		}
		if tt.want > 0 {
			if _, ok := must[group.Received](t)(to.g.Process(late)).(*group.Application); !ok {
				t.Fatalf("a message of %d epochs ago, within the limit of %d, is not read", tt.want, tt.limit)
			}
		}
		from.commitTo(group.CommitOptions{}, []*client{to})
		r := must[group.Received](t)(to.g.Process(latest))
		if s, ok := r.(*group.StaleEpoch); !ok || s.Got != 1 {
			t.Fatalf("a message of %d epochs ago reads as %T, the limit is %d", tt.want+1, r, tt.limit)
		}
		// Of forgotten epochs no resumption PSK is left either (RFC 9420,
		// Section 8.6).
		_, err := to.g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.ResumptionProposal(sc.suite, to.g.ID(), 1)}})
		assertRule(t, err, "12.4.2/psk-unavailable")
		if tt.want > 0 {
			to.commit(group.CommitOptions{Proposals: []framing.Proposal{group.ResumptionProposal(sc.suite, to.g.ID(), to.g.Epoch()-uint64(tt.want))}})
		}
	}
}

func TestMaxMessage(t *testing.T) {
	sc := limited(t, group.Limits{MaxMessage: 1000})
	from, to := sc.m[0], sc.m[1]
	fits, most := []byte(nil), 0
	for n := 700; ; n++ {
		m := must[[]byte](t)(from.g.Protect(make([]byte, n), nil))
		if len(m) > 1000 {
			err := unchanged(t, to, func() error { return errOf(to.g.Process(m)) })
			assertRule(t, err, "15.1/message-size")
			break
		}
		fits, most = m, len(m)
	}
	if most != 1000 {
		t.Fatalf("the greatest message has %d bytes", most)
	}
	deliver(t, fits, to)
	big := make([]byte, 1001)
	_, err := sc.observer.Process(big)
	assertRule(t, err, "15.1/message-size")
}

func TestMaxProposals(t *testing.T) {
	sc := limited(t, group.Limits{MaxProposals: 4})
	psk := func(w framing.WireFormat) []byte {
		return sc.m[0].forgeProposal(w, group.PSKProposal(sc.suite, []byte("k")))
	}
	for range 4 {
		sc.send(psk(framing.WireFormatPublicMessage))
	}
	for _, w := range bothFramings {
		sc.refused(psk(w), "12.1/too-many-proposals")
	}
	check(t, sc.m[1].g.Merge(sc.m[1].commit(group.CommitOptions{})))
	if len(sc.m[1].g.Proposals()) != 0 {
		t.Fatal("proposals outlive their epoch")
	}
}

func TestMaxLeavesOnJoining(t *testing.T) {
	v := newInvitation(t, 5)
	v.cfg.Limits.MaxLeaves = 5
	v.joins()
	_, info := v.build()
	check(t, errOf(group.Observe(v.cfg, info, nil)))
	v.cfg.Limits.MaxLeaves = 4
	if _, err := v.join(); !errors.Is(err, mls.ErrUnsupported) {
		t.Fatalf("5 leaves, the limit is 4: %v", err)
	}
	if _, err := group.Observe(v.cfg, info, nil); !errors.Is(err, mls.ErrUnsupported) {
		t.Fatalf("5 leaves, the limit is 4: %v", err)
	}
}

func TestMaxLifetime(t *testing.T) {
	now := time.Unix(2_000_000_000, 0)
	for _, tt := range []struct {
		lifetime time.Duration
		rule     string
	}{
		{time.Hour, ""}, {time.Hour + time.Second, "7.2/lifetime-too-long"},
	} {
		// LifetimeFrom adds an hour for clocks that are behind.
		cfg := config()
		cfg.Time = func() time.Time { return now }
		cfg.Limits.MaxLifetime = group.DefaultLifetime + time.Hour
		sc := newSceneOf(t, cfg, 2)
		p := keyPackageWith(sc, func(l *treekem.LeafNode) {
			l.Lifetime = treekem.LifetimeFrom(now, group.DefaultLifetime-time.Hour+tt.lifetime)
		}, nil)
		if message := sc.m[0].forgeProposal(framing.WireFormatPublicMessage, p); tt.rule != "" {
			sc.refused(message, tt.rule)
		} else {
			sc.send(message)
		}
	}
	// Whoever accepts expired leaves of others still sends none.
	cfg := config()
	cfg.AcceptExpired = true
	sc := newSceneOf(t, cfg, 2)
	for rule, change := range map[string]func(*treekem.LeafNode){
		"7.2/lifetime-too-long": func(l *treekem.LeafNode) { l.Lifetime.NotAfter += 1 << 40 },
		"7.3/lifetime":          func(l *treekem.LeafNode) { l.Lifetime.NotAfter = l.Lifetime.NotBefore },
	} {
		p := keyPackageWith(sc, change, nil)
		sc.send(sc.m[0].forgeProposal(framing.WireFormatPublicMessage, p))
		assertRule(t, errOf(sc.m[1].g.Propose(p, nil)), rule)
		assertRule(t, errOf(sc.m[1].g.Commit(group.CommitOptions{Proposals: []framing.Proposal{p}, References: [][]byte{}})), rule)
	}
}

// TestGREASEIsNotSent where RFC 9420, Section 13.5 does not want it.
func TestGREASEIsNotSent(t *testing.T) {
	sc := newScene(t, 2)
	grease := []mls.Extension{{Type: 0x1a1a}}
	assertRule(t, errOf(sc.m[0].g.Propose(group.ExtensionsProposal(grease), nil)), "13.5/grease-sent")
	assertRule(t, errOf(sc.m[0].g.Commit(group.CommitOptions{Proposals: []framing.Proposal{group.ExtensionsProposal(grease)}})), "13.5/grease-sent")
	c := sc.client("creator")
	_, err := group.New(c.cfg, sc.suite, group.CreateOptions{Identity: c.identity(), Extensions: grease})
	assertRule(t, err, "13.5/grease-sent")
	info := sc.info()
	found := false
	for _, e := range info.Extensions {
		found = found || mls.IsGREASE(uint16(e.Type))
	}
	leaf, _ := sc.m[0].g.Member(0)
	for _, e := range leaf.Capabilities.Extensions {
		if found && mls.IsGREASE(uint16(e)) {
			return
		}
	}
	t.Fatal("no GREASE where it should be")
}

// TestAuthenticateIsRequired by every way into a group.
func TestAuthenticateIsRequired(t *testing.T) {
	v := newInvitation(t, 3)
	w, info := v.build()
	c := v.joiner()
	var cfg group.Config
	for name, err := range map[string]error{
		"New":           errOf(group.New(cfg, v.suite, group.CreateOptions{Identity: c.identity()})),
		"Join":          errOf(group.Join(cfg, w, c.kp, c.private, group.JoinOptions{})),
		"Observe":       errOf(group.Observe(cfg, info, nil)),
		"Restore":       errOf(group.Restore(cfg, nil)),
		"JoinExternal":  errOf3(group.JoinExternal(cfg, info, group.ExternalJoinOptions{Identity: c.identity()})),
		"NewKeyPackage": errOf3(group.NewKeyPackage(cfg, v.suite, group.KeyPackageOptions{Identity: c.identity()})),
	} {
		if err == nil {
			t.Errorf("%s does without Config.Authenticate", name)
		}
	}
}

func errOf3(_, _ any, err error) error { return err }

// TestCreatorsChoices: a creator that could not join its own group creates none.
func TestCreatorsChoices(t *testing.T) {
	sc := newScene(t, 2)
	c := sc.client("creator")
	create := func(cfg group.Config, exts ...mls.Extension) error {
		return errOf(group.New(cfg, sc.suite, group.CreateOptions{Identity: c.identity(), Extensions: exts}))
	}
	assertRule(t, create(c.cfg, mls.Extension{Type: unlisted}), "13.4/group-extension-support")
	assertRule(t, create(c.cfg, extension(sc, mls.ExtensionRequiredCapabilities, &treekem.RequiredCapabilities{Extensions: []mls.ExtensionType{unlisted}})), "11.1/required-capabilities")
	cfg := c.cfg
	refuse("creator")(&cfg)
	assertRule(t, create(cfg), "5.3.1/credential")
	refuse("outsider")(&cfg)
	out := sc.client("outsider")
	assertRule(t, create(cfg, externalSenders(sc.t, out.externalSender())), "5.3.1/external-sender")
	id := c.identity()
	caps := treekem.DefaultCapabilities()
	caps.Proposals = append(caps.Proposals, mls.ProposalAdd)
	id.Capabilities = &caps
	_, err := group.New(c.cfg, sc.suite, group.CreateOptions{Identity: id})
	assertRule(t, err, "7.2/default-capability")
	_, err = sc.m[0].g.Commit(group.CommitOptions{Identity: &id})
	assertRule(t, err, "7.2/default-capability")
	_, err = sc.m[0].g.ProposeUpdate(group.UpdateOptions{Identity: &id})
	assertRule(t, err, "7.2/default-capability")
}
