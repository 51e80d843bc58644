package group_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// The fuzz targets change messages and states that are valid for the groups
// that they have set up. Keys are fresh for each process, and fuzzing takes
// several: so what is fuzzed is not the message itself but an edit of it, which
// each process applies to its own. What an edit can't get past, because it
// breaks a signature or a MAC, the targets sign and seal anew: inner structures
// are edited, too.

// edited is base with cut bytes at a place replaced by others.
func edited(base []byte, at, cut uint16, patch []byte) []byte {
	from := min(int(at), len(base))
	to := min(from+int(cut), len(base))
	return slices.Concat(base[:from], patch, base[to:])
}

// addEdits seeds a target with edits of n inputs: none, at the start, a bit, a
// cut, and bytes at the end.
func addEdits(f *testing.F, n int) {
	f.Helper()
	for i := range n {
		seed := uint8(i)
		f.Add(seed, uint16(0), uint16(0), []byte{})
		f.Add(seed, uint16(0), uint16(2), []byte{0, 2})
		f.Add(seed, uint16(40), uint16(1), []byte{0x80})
		f.Add(seed, uint16(90), uint16(60), []byte{})
		f.Add(seed, uint16(1<<16-1), uint16(0), []byte{0})
	}
}

// fuzzedGroup is a member under fuzz, and everything that it needs to be
// restored.
type fuzzedGroup struct {
	cfg    group.Config
	signer *mls.SignaturePrivateKey
	state  []byte
}

func (f *fuzzedGroup) restore(t tb) *group.Group {
	t.Helper()
	return must[*group.Group](t)(group.Restore(f.cfg, f.state, f.signer))
}

// fuzzScene is a group of five with a past epoch, cached proposals, a pending
// update, and messages of every kind for its second member.
func fuzzScene(f *testing.F) (sc *scene, seeds [][]byte) {
	f.Helper()
	cfg := config()
	cfg.Handshakes = framing.WireFormatPublicMessage
	sc = &scene{cfg: cfg, suite: suite(f, mls.X25519_AES128GCM_SHA256_Ed25519), m: newGroup(f, suite(f, mls.X25519_AES128GCM_SHA256_Ed25519), cfg, 5)}
	m := sc.m
	late := must[[]byte](f)(m[2].g.Protect([]byte("late"), nil))
	out := newClient(f, sc.suite, cfg, "outsider")
	m[0].commitTo(group.CommitOptions{Proposals: []framing.Proposal{
		group.ExtensionsProposal([]mls.Extension{externalSenders(f, out.externalSender())}),
	}}, m[1:])
	application := must[[]byte](f)(m[2].g.Protect([]byte("text"), []byte("aad")))
	update := must[[]byte](f)(m[3].g.ProposeUpdate(group.UpdateOptions{}))
	deliver(f, update, m...)
	check(f, errOf(m[1].g.ProposeUpdate(group.UpdateOptions{})))
	ref := m[0].g.Proposals()[0].Ref

	joiner := newClient(f, sc.suite, cfg, "joiner")
	info := must[*framing.GroupInfo](f)(m[0].g.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	_, external, err := group.JoinExternal(cfg, info, group.ExternalJoinOptions{Identity: joiner.identity()})
	check(f, err)
	seeds = [][]byte{
		late, application, update, external,
		must[[]byte](f)(group.ProposeExternal(sc.suite, out.signer, 0, m[0].g.ID(), m[0].g.Epoch(), group.RemoveProposal(2), nil)),
		must[[]byte](f)(group.ProposeNewMember(sc.suite, out.signer, m[0].g.ID(), m[0].g.Epoch(), out.keyPackage())),
	}
	for _, w := range bothFramings {
		seeds = append(seeds,
			m[0].forge(w, forgery{}).message,
			m[0].forge(w, forgery{refs: [][]byte{ref}, proposals: append(adds(joiner), group.PSKProposal(sc.suite, []byte("k")))}).message,
			m[0].forge(w, forgery{proposals: []framing.Proposal{group.RemoveProposal(1)}}).message,
			m[0].forge(w, forgery{noPath: true, proposals: []framing.Proposal{group.ReInitProposal([]byte("next"), sc.suite.ID(), nil)}}).message,
			m[0].forgeProposal(w, group.RemoveProposal(4)),
			m[0].forgeProposal(w, updateProposal(m[0].updateLeaf(nil))),
			m[0].forgeProposal(w, adds(joiner)[0]),
			m[0].forgeProposal(w, group.ExtensionsProposal(info.GroupContext.Extensions)),
			m[0].forgeProposal(w, group.ResumptionProposal(sc.suite, m[0].g.ID(), 1)),
		)
	}
	return sc, seeds
}

// resigned makes a message from the forger out of content that a mutation has
// changed, as far as it still is one: with the forger's signature and tags.
func resigned(t tb, forger *client, w framing.WireFormat, body []byte, kind framing.ContentType) ([]byte, bool) {
	t.Helper()
	content := framing.FramedContent{GroupID: forger.g.ID(), Epoch: forger.g.Epoch(), Sender: framing.Member(0), ContentType: kind}
	switch kind {
	case framing.ContentProposal:
		content.Proposal = new(framing.Proposal)
		if wire.Unmarshal(body, content.Proposal) != nil {
			return nil, false
		}
	case framing.ContentCommit:
		content.Commit = new(framing.Commit)
		if wire.Unmarshal(body, content.Commit) != nil {
			return nil, false
		}
	default:
		content.Application = body
	}
	ac := signRaw(t, forger.suite, forger.signer, w, content, forger.base().bytes)
	if kind == framing.ContentCommit {
		ac.ConfirmationTag = make([]byte, forger.suite.HashSize())
	}
	return forger.frame(ac), true
}

// fuzzMessages and fuzzInputs are what FuzzProcess starts from: fewer would mean
// that some kind of message is not fuzzed any more.
const (
	fuzzMessages = 24
	fuzzInputs   = 38
)

// input is a seed: a message, or the body of one to be signed anew.
type input struct {
	data []byte
	kind framing.ContentType // of a body; 0 for a message
}

// bodies takes the messages' bodies out, where they are in the clear.
func bodies(f *testing.F, messages [][]byte) []input {
	f.Helper()
	inputs := []input{{[]byte("text"), framing.ContentApplication}}
	for _, message := range messages {
		inputs = append(inputs, input{data: message})
		m := must[*framing.Message](f)(framing.Parse(message))
		if m.Public == nil {
			continue
		}
		c := &m.Public.Content
		if c.ContentType == framing.ContentProposal {
			inputs = append(inputs, input{must[[]byte](f)(wire.Marshal(c.Proposal)), c.ContentType})
		} else {
			inputs = append(inputs, input{must[[]byte](f)(wire.Marshal(c.Commit)), c.ContentType})
		}
	}
	return inputs
}

// FuzzProcess lets a member and an observer process anything: as it comes, and
// as the body of a message that a member signs. Neither panics, and after an
// error the state is what it was.
func FuzzProcess(f *testing.F) {
	sc, messages := fuzzScene(f)
	inputs := bodies(f, messages)
	if len(messages) != fuzzMessages || len(inputs) != fuzzInputs {
		f.Fatalf("%d messages, %d inputs: not %d, %d", len(messages), len(inputs), fuzzMessages, fuzzInputs)
	}
	addEdits(f, len(inputs))
	victim := fuzzedGroup{sc.m[1].cfg, sc.m[1].signer, must[[]byte](f)(sc.m[1].g.State())}
	forger := fuzzedGroup{sc.m[0].cfg, sc.m[0].signer, must[[]byte](f)(sc.m[0].g.State())}
	info := must[*framing.GroupInfo](f)(sc.m[0].g.GroupInfo(group.InfoOptions{Tree: true}))
	for i, message := range messages {
		if _, err := victim.restore(f).Process(message); err != nil {
			f.Fatalf("message %d is not valid: %v", i, err)
		}
	}
	f.Fuzz(func(t *testing.T, seed uint8, at, cut uint16, patch []byte) {
		in := inputs[int(seed)%len(inputs)]
		data := edited(in.data, at, cut, patch)
		if in.kind == 0 {
			fuzzOne(t, &victim, sc, info, data)
			return
		}
		bad := *sc.m[0]
		bad.t, bad.g = t, forger.restore(t)
		for _, w := range bothFramings {
			if message, ok := resigned(t, &bad, w, data, in.kind); ok {
				fuzzOne(t, &victim, sc, info, message)
			}
		}
	})
}

// fuzzOne lets the victim and an observer have one message.
func fuzzOne(t *testing.T, victim *fuzzedGroup, sc *scene, info *framing.GroupInfo, message []byte) {
	t.Helper()
	g := victim.restore(t)
	r, err := g.Process(message)
	if err == nil {
		follow(t, g, r)
	} else if after := must[[]byte](t)(g.State()); !bytes.Equal(after, victim.state) {
		t.Fatalf("the state has changed after %v", err)
	}
	p := must[*group.PublicGroup](t)(group.Observe(sc.cfg, info, nil))
	if r, err := p.Process(message); err == nil {
		if s, ok := r.(*group.Staged); ok {
			check(t, p.Merge(s))
		}
	}
}

// follow does with a message what its receiver would.
func follow(t tb, g *group.Group, r group.Received) {
	t.Helper()
	switch r := r.(type) {
	case *group.Staged:
		check(t, g.Merge(r))
		check(t, g.Tree().CheckAggregates())
	case *group.Removal:
		check(t, g.Merge(r.Staged))
	}
	check(t, errOf(g.State()))
}

// FuzzJoin lets a new member, an external joiner and an observer have anything:
// a Welcome as it comes, and a GroupInfo, a tree and group secrets that are
// sealed anew.
func FuzzJoin(f *testing.F) {
	s := suite(f, mls.X25519_AES128GCM_SHA256_Ed25519)
	m := newGroup(f, s, config(), 5)
	late := newClient(f, s, config(), "late")
	staged := m[0].commit(group.CommitOptions{Proposals: append(adds(late), group.PSKProposal(s, []byte("k")))})
	info := must[*framing.GroupInfo](f)(staged.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	welcome := staged.Welcome()
	tree, _ := mls.FindExtension(info.Extensions, mls.ExtensionRatchetTree)
	secrets, err := parseWelcome(f, welcome).Secrets[0].Open(s, late.private.InitKey, parseWelcome(f, welcome).EncryptedGroupInfo)
	check(f, err)
	seeds := [][]byte{
		welcome, must[[]byte](f)(wire.Marshal(info)), tree, must[[]byte](f)(wire.Marshal(secrets)),
		must[[]byte](f)(info.GroupContext.Bytes()),
	}
	addEdits(f, len(seeds))
	if _, err := group.Join(late.cfg, parseWelcome(f, welcome), late.kp, late.private, group.JoinOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, seed uint8, at, cut uint16, patch []byte) {
		how := int(seed) % len(seeds)
		data := edited(seeds[how], at, cut, patch)
		var w *framing.Welcome
		fuzzed := *info
		gs := &framing.GroupSecrets{JoinerSecret: secrets.JoinerSecret, PathSecret: secrets.PathSecret, PSKs: secrets.PSKs}
		switch how {
		case 0:
			if m, err := framing.Parse(data); err == nil {
				w = m.Welcome
			}
		case 1:
			if wire.Unmarshal(data, &fuzzed) != nil {
				return
			}
		case 2:
			fuzzed.Extensions = []mls.Extension{{Type: mls.ExtensionRatchetTree, Data: data}}
			if parsed, err := treekem.ParseTree(s, data, 1<<10); err == nil {
				fuzzed.GroupContext.TreeHash = parsed.Hash()
			}
		case 3:
			gs = new(framing.GroupSecrets)
			if wire.Unmarshal(data, gs) != nil {
				return
			}
		default:
			if wire.Unmarshal(data, &fuzzed.GroupContext) != nil {
				return
			}
		}
		if w == nil {
			check(t, fuzzed.Sign(s, m[0].signer))
			w = sealWelcome(t, late, &fuzzed, gs)
			_, _ = group.Observe(late.cfg, &fuzzed, nil)
			_, _, _ = group.JoinExternal(late.cfg, &fuzzed, group.ExternalJoinOptions{Identity: late.identity(), Resync: true})
		}
		if g, err := group.Join(late.cfg, w, late.kp, late.private, group.JoinOptions{}); err == nil {
			check(t, errOf(g.State()))
			check(t, errOf(g.Commit(group.CommitOptions{})))
		}
	})
}

// sealWelcome makes a Welcome of what may be nonsense.
func sealWelcome(t tb, c *client, info *framing.GroupInfo, gs *framing.GroupSecrets) *framing.Welcome {
	t.Helper()
	w := &framing.Welcome{CipherSuite: c.suite.ID()}
	if joiner, err := keyschedule.ParseJoinerSecret(c.suite, gs.JoinerSecret.Clone()); err == nil {
		psk, err := keyschedule.NewPSKSecret(c.suite, pskValues(c, gs.PSKs))
		if err == nil {
			w.EncryptedGroupInfo = must[[]byte](t)(joiner.Welcome(psk).Seal(must[[]byte](t)(wire.Marshal(info))))
		}
	}
	sealed := must[mls.HPKECiphertext](t)(gs.Seal(framing.GroupSecretsEncrypter(c.suite, w.EncryptedGroupInfo), c.kp.InitKey))
	w.Secrets = []framing.EncryptedGroupSecrets{{NewMember: c.kp.Ref(c.suite), EncryptedGroupSecrets: sealed}}
	return w
}

func pskValues(c *client, ids []keyschedule.PreSharedKeyID) []keyschedule.PSK {
	var psks []keyschedule.PSK
	for _, id := range ids {
		secret, err := c.cfg.PSK(id)
		if err != nil {
			secret = mls.NewSecret([]byte("none"))
		}
		psks = append(psks, keyschedule.PSK{ID: id, Secret: secret})
	}
	return psks
}

// FuzzRestore restores groups and staged commits from anything. What can be
// restored can be saved, used and left.
func FuzzRestore(f *testing.F) {
	sc, messages := fuzzScene(f)
	c := sc.m[1]
	pending := must[[]byte](f)(c.commit(group.CommitOptions{References: [][]byte{}, Proposals: adds(newClient(f, sc.suite, sc.cfg, "x"))}).State())
	whole := must[[]byte](f)(c.g.State())
	fresh := newClient(f, sc.suite, sc.cfg, "founder")
	fresh.create()
	removed := sc.m[4]
	sc.m[0].commitTo(group.CommitOptions{References: [][]byte{}, Proposals: []framing.Proposal{group.RemoveProposal(4)}}, []*client{removed})
	seeds := [][]byte{whole, must[[]byte](f)(fresh.g.State()), must[[]byte](f)(removed.g.State()), pending}
	addEdits(f, len(seeds))
	signers := []mls.Signer{c.signer, fresh.signer, removed.signer}
	for _, seed := range seeds[:3] {
		if _, err := group.Restore(sc.cfg, seed, signers...); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, seed uint8, at, cut uint16, patch []byte) {
		data := edited(seeds[int(seed)%len(seeds)], at, cut, patch)
		base := must[*group.Group](t)(group.Restore(sc.cfg, whole, signers...))
		if s, err := base.RestoreStaged(data, signers...); err == nil {
			check(t, base.Merge(s))
			_, _ = base.State()
		}
		g, err := group.Restore(sc.cfg, data, signers...)
		if err != nil {
			return
		}
		saved := must[[]byte](t)(g.State())
		again := must[*group.Group](t)(group.Restore(sc.cfg, saved, signers...))
		if !bytes.Equal(saved, must[[]byte](t)(again.State())) {
			t.Fatal("a state is not saved as it was restored")
		}
		for _, message := range messages {
			if r, err := g.Process(message); err == nil {
				if s, ok := r.(*group.Staged); ok {
					_ = g.Merge(s)
				}
			}
		}
		_, _ = g.Protect([]byte("text"), nil)
		_, _ = g.Commit(group.CommitOptions{})
		_, _ = g.State()
	})
}
