package conformance

import (
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// A scenario is a group whose every member is a group.Group, as it looks to
// one of them, the passive client, who sends nothing.
type scenario struct {
	*generator
	members []*member
	waiting []*member // clients whose key packages were proposed
	psks    []*externalPSK
	outside mls.Signer // the group's external sender
	// handshakes are the wire formats of which each client picks one.
	handshakes []framing.WireFormat

	passive *member  // nil until it is invited
	begin   object   // the case, without what happens after joining
	pending []digits // proposals of this epoch
	epochs  []object
}

// A member is a client, in the group or on its way into it.
type member struct {
	*group.Group
	cfg      group.Config
	identity group.Identity
	kp       *treekem.KeyPackage
	private  *treekem.KeyPackagePrivate
}

type externalPSK struct {
	id, secret digits
	used       bool // by the passive client
}

func (g *generator) identity() group.Identity {
	return group.Identity{Credential: g.credential(), Signer: must(g.suite.GenerateSigner())}
}

// client returns somebody new.
func (s *scenario) client() *member {
	signer := must(s.suite.GenerateSigner())
	kp, private := s.keyPackage(signer)
	m := &member{identity: group.Identity{Credential: kp.LeafNode.Credential, Signer: signer}, kp: kp, private: private}
	m.cfg = group.Config{
		Authenticate: group.InsecureAnyCredential,
		Authorize:    func(group.Admission) error { return nil },
		PSK:          func(id keyschedule.PreSharedKeyID) (mls.Secret, error) { return s.findPSK(m, id) },
		Handshakes:   s.handshakes[s.below(len(s.handshakes))],
		Padding:      func(int) int { return s.below(16) },
	}
	return m
}

func (s *scenario) findPSK(by *member, id keyschedule.PreSharedKeyID) (mls.Secret, error) {
	for _, psk := range s.psks {
		if id.Type == keyschedule.PSKExternal && string(psk.id) == string(id.PSKID) {
			psk.used = psk.used || by == s.passive
			return s.secret(psk.secret), nil
		}
	}
	return mls.Secret{}, nil
}

// newScenario begins a group that admits proposals from outside, and gives it
// n members, who frame proposals and commits as they like if no wire formats
// are given.
func (g *generator) newScenario(n int, handshakes ...framing.WireFormat) *scenario {
	if handshakes == nil {
		handshakes = []framing.WireFormat{framing.WireFormatPublicMessage, framing.WireFormatPrivateMessage}
	}
	s := &scenario{generator: g, outside: must(g.suite.GenerateSigner()), handshakes: handshakes}
	creator := s.client()
	creator.Group = must(group.New(creator.cfg, g.suite, group.CreateOptions{
		GroupID: g.bytes(12), Identity: creator.identity, Extensions: s.extensions(),
	}))
	s.members = append(s.members, creator)
	for len(s.members) < n {
		s.commit(s.sender(), group.CommitOptions{Proposals: []framing.Proposal{s.newcomer()}})
	}
	return s
}

// extensions returns extensions for the group context, other ones each time.
func (s *scenario) extensions() []mls.Extension {
	senders := must(framing.EncodeExternalSenders([]framing.ExternalSender{{
		SignatureKey: s.outside.Public(), Credential: s.credential(),
	}}))
	return []mls.Extension{{Type: mls.ExtensionExternalSenders, Data: senders}}
}

// sender returns a member that may send.
func (s *scenario) sender(not ...*member) *member {
	able := slices.DeleteFunc(slices.Clone(s.members), func(m *member) bool { return m == s.passive || slices.Contains(not, m) })
	return able[s.below(len(able))]
}

// newcomer returns a proposal to add somebody.
func (s *scenario) newcomer() framing.Proposal {
	m := s.client()
	s.waiting = append(s.waiting, m)
	return group.AddProposal(m.kp)
}

// remove returns a proposal to remove a member.
func (s *scenario) remove(m *member) framing.Proposal { return group.RemoveProposal(m.OwnLeaf()) }

// psk returns a proposal to inject a new external PSK.
func (s *scenario) psk() framing.Proposal {
	psk := &externalPSK{id: s.bytes(8), secret: s.bytes(16 + s.below(32))}
	s.psks = append(s.psks, psk)
	return group.PSKProposal(s.suite, psk.id)
}

// resumption returns a proposal to inject the resumption PSK of this epoch.
func (s *scenario) resumption() framing.Proposal {
	g := s.members[0]
	return group.ResumptionProposal(s.suite, g.ID(), g.Epoch())
}

func (s *scenario) replaceExtensions() framing.Proposal {
	return group.ExtensionsProposal(s.extensions())
}

// propose has a member propose something.
func (s *scenario) propose(by *member, p framing.Proposal) {
	s.deliver(by, must(by.Propose(p, s.bytes(s.below(8)))))
}

// update has a member propose an Update, every other time with a new identity.
func (s *scenario) update(by *member) {
	var opt group.UpdateOptions
	if s.below(2) == 0 {
		id := s.identity()
		opt.Identity = &id
	}
	s.deliver(by, must(by.ProposeUpdate(opt)))
}

// proposeOutside has the external sender propose something.
func (s *scenario) proposeOutside(p framing.Proposal) {
	g := s.members[0]
	s.deliver(nil, must(group.ProposeExternal(s.suite, s.outside, 0, g.ID(), g.Epoch(), p, nil)))
}

// proposeSelf has somebody propose to be added.
func (s *scenario) proposeSelf() {
	m, g := s.client(), s.members[0]
	s.waiting = append(s.waiting, m)
	s.deliver(nil, must(group.ProposeNewMember(s.suite, m.identity.Signer, g.ID(), g.Epoch(), m.kp)))
}

// deliver gives a proposal to all members but its sender.
func (s *scenario) deliver(by *member, message []byte) {
	s.pending = append(s.pending, message)
	for _, m := range s.members {
		if m != by {
			must(m.Process(message))
		}
	}
}

// commit has a member commit, and everybody follow.
func (s *scenario) commit(by *member, opt group.CommitOptions) {
	opt.AuthenticatedData = s.bytes(s.below(8))
	staged := must(by.Commit(opt))
	try(by.Merge(staged))
	s.follow(by, staged.Message())
	s.admit(staged, opt.TreeApart)
}

// joinExternally has somebody join by an external commit; again, if resync.
func (s *scenario) joinExternally(resync *member, psks ...keyschedule.PreSharedKeyID) {
	m := s.client()
	opt := group.ExternalJoinOptions{PSKs: psks}
	if resync != nil {
		m.identity, opt.Resync = resync.identity, true
		s.members = slices.DeleteFunc(s.members, func(m *member) bool { return m == resync })
	}
	opt.Identity = m.identity
	info := must(s.sender().GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	joined, message, err := group.JoinExternal(m.cfg, info, opt)
	try(err)
	m.Group = joined
	s.follow(nil, message)
	s.members = append(s.members, m)
}

// follow has all members but the committer process a commit.
func (s *scenario) follow(by *member, message []byte) {
	var left []*member
	for _, m := range s.members {
		if m != by {
			switch r := must(m.Process(message)).(type) {
			case *group.Staged:
				try(m.Merge(r))
			case *group.Removal:
				continue
			}
		}
		left = append(left, m)
	}
	s.members = left
	if s.passive != nil && s.passive.Group != nil {
		s.epochs = append(s.epochs, object{
			"proposals": append([]digits{}, s.pending...), "commit": digits(message),
			"epoch_authenticator": digits(s.passive.EpochAuthenticator()),
		})
	}
	s.pending = nil
}

// admit has everybody join whom a commit adds. Who is not among them is no
// longer waited for.
func (s *scenario) admit(staged *group.Staged, treeApart bool) {
	waiting := s.waiting
	s.waiting = nil
	if staged.Welcome() == nil {
		return
	}
	welcome := must(framing.Parse(staged.Welcome())).Welcome
	var opt group.JoinOptions
	if treeApart {
		opt.RatchetTree = must(staged.Tree().Bytes())
	}
	for _, m := range waiting {
		if _, ok := welcome.Find(m.kp.Ref(s.suite)); !ok {
			continue
		}
		if s.begin == nil && s.passive == m {
			s.welcome(m, staged.Welcome(), opt.RatchetTree)
		}
		m.Group = must(group.Join(m.cfg, welcome, m.kp, m.private, opt))
		s.members = append(s.members, m)
	}
}

// welcome notes how the passive client joins, while it still has its keys.
func (s *scenario) welcome(m *member, welcome, ratchetTree []byte) {
	s.begin = object{
		"key_package":     message(framing.Message{WireFormat: framing.WireFormatKeyPackage, KeyPackage: m.kp}),
		"init_priv":       reveal(m.private.InitKey.Secret()),
		"encryption_priv": reveal(m.private.LeafKey.Secret()),
		"signature_priv":  reveal(m.identity.Signer.(*mls.SignaturePrivateKey).Secret()),
		"welcome":         digits(welcome),
		"ratchet_tree":    nil,
	}
	if ratchetTree != nil {
		s.begin["ratchet_tree"] = digits(ratchetTree)
	}
}

// invite has the passive client added, by a commit with these options.
func (s *scenario) invite(opt group.CommitOptions) {
	opt.Proposals = append(opt.Proposals, s.newcomer())
	s.passive = s.waiting[len(s.waiting)-1]
	s.commit(s.sender(), opt)
	s.begin["initial_epoch_authenticator"] = digits(s.passive.EpochAuthenticator())
	// What happened until here, the client does not see.
	s.epochs, s.pending = nil, nil
}

// finish adds the case.
func (s *scenario) finish() {
	psks := []object{}
	for _, psk := range s.psks {
		if psk.used {
			psks = append(psks, object{"psk_id": psk.id, "psk": psk.secret})
		}
	}
	s.begin["external_psks"] = psks
	s.begin["epochs"] = append([]object{}, s.epochs...)
	s.generator.add(s.begin)
}

func generateWelcome(g *generator) {
	s := g.newScenario(2)
	by := s.sender()
	add := s.newcomer()
	m := s.waiting[0]
	s.passive = m
	s.commit(by, group.CommitOptions{Proposals: []framing.Proposal{add}})
	g.add(object{
		"init_priv": s.begin["init_priv"], "signer_pub": digits(by.identity.Signer.Public()),
		"key_package": s.begin["key_package"], "welcome": s.begin["welcome"],
	})
}

// generatePassiveWelcome joins with and without a path, PSKs, and the tree
// apart.
func generatePassiveWelcome(g *generator) {
	for i := range 4 {
		s := g.newScenario(3)
		opt := group.CommitOptions{TreeApart: i%2 == 1, OmitPath: i == 1 || i == 2}
		if i >= 2 {
			opt.Proposals = append(opt.Proposals, s.psk(), s.psk())
		}
		s.invite(opt)
		s.finish()
	}
}

// generatePassiveCommit has one case of proposals by value, one of proposals by
// reference, and one of everything that comes from outside.
func generatePassiveCommit(g *generator) {
	byValue := g.newScenario(3)
	byValue.invite(group.CommitOptions{})
	for _, list := range [][]framing.Proposal{
		{}, {byValue.newcomer()}, {byValue.psk(), byValue.psk()}, {byValue.resumption()}, {byValue.replaceExtensions()},
	} {
		byValue.commit(byValue.sender(), group.CommitOptions{Proposals: list})
	}
	byValue.commit(byValue.sender(), group.CommitOptions{Proposals: []framing.Proposal{byValue.newcomer()}, OmitPath: true})
	committer := byValue.sender()
	byValue.commit(committer, group.CommitOptions{Proposals: []framing.Proposal{byValue.remove(byValue.sender(committer))}})
	id := g.identity()
	byValue.commit(byValue.sender(), group.CommitOptions{Identity: &id})
	byValue.finish()

	byReference := g.newScenario(4)
	byReference.invite(group.CommitOptions{})
	committer = byReference.sender()
	byReference.update(byReference.sender(committer))
	// Not with the Add below: who is new has no resumption PSK.
	byReference.propose(byReference.sender(), byReference.resumption())
	byReference.commit(committer, group.CommitOptions{})
	leaver := byReference.sender(committer)
	byReference.propose(byReference.sender(), byReference.newcomer())
	byReference.propose(byReference.sender(), byReference.psk())
	byReference.propose(byReference.sender(), byReference.replaceExtensions())
	byReference.propose(byReference.sender(leaver), byReference.remove(leaver))
	byReference.commit(committer, group.CommitOptions{})
	byReference.finish()

	outside := g.newScenario(3)
	outside.invite(group.CommitOptions{})
	outside.proposeOutside(outside.newcomer())
	outside.proposeSelf()
	outside.commit(outside.sender(), group.CommitOptions{})
	outside.joinExternally(nil)
	outside.joinExternally(outside.sender(), outside.psk().PreSharedKey.PSK)
	outside.commit(outside.sender(), group.CommitOptions{Proposals: []framing.Proposal{
		group.ReInitProposal(g.bytes(12), g.suite.ID(), nil),
	}})
	outside.finish()
}

// maxRandomMembers bounds a random group, whose every member has to follow.
const maxRandomMembers = 7

// generatePassiveRandom follows a random history.
func generatePassiveRandom(g *generator) {
	s := g.newScenario(3)
	s.invite(group.CommitOptions{})
	for range 12 {
		if s.below(6) == 0 && len(s.members) < maxRandomMembers {
			s.joinExternally(nil)
			continue
		}
		committer := s.sender()
		for range s.below(4) {
			s.randomProposal(committer)
		}
		var opt group.CommitOptions
		switch s.below(4) {
		case 0:
			opt.Proposals = append(opt.Proposals, s.psk())
		case 1:
			id := s.identity()
			opt.Identity = &id
		case 2:
			opt.OmitPath = true
		}
		s.commit(committer, opt)
	}
	s.finish()
}

// randomProposal proposes something that can go into a commit by that member.
// Not everything that is proposed fits into one list; who commits chooses.
func (s *scenario) randomProposal(committer *member) {
	by := s.sender()
	switch s.below(6) {
	case 0, 1:
		if len(s.members)+len(s.waiting) < maxRandomMembers {
			s.propose(by, s.newcomer())
		}
	case 2:
		if len(s.members) > 3 {
			s.propose(by, s.remove(s.sender(committer, by)))
		}
	case 3:
		if by != committer {
			s.update(by)
		}
	case 4:
		s.propose(by, s.psk())
	case 5:
		s.propose(by, s.replaceExtensions())
	}
}

func generateMessages(g *generator) {
	s := g.newScenario(3, framing.WireFormatPublicMessage)
	sender := s.sender()
	application := must(sender.Protect(g.bytes(30), g.bytes(5)))
	info := must(sender.GroupInfo(group.InfoOptions{Tree: true, ExternalPub: true}))
	kp, _ := g.keyPackage(must(g.suite.GenerateSigner()))
	staged := must(sender.Commit(group.CommitOptions{Proposals: []framing.Proposal{s.newcomer(), s.psk()}}))
	leaf, _ := sender.Member(sender.OwnLeaf())
	leaf.Source, leaf.ParentHash, leaf.Lifetime = treekem.SourceUpdate, nil, treekem.Lifetime{}
	content := func(m framing.PublicMessage) digits {
		m.Content.GroupID, m.Content.Epoch, m.Content.Sender = sender.ID(), sender.Epoch(), framing.Member(sender.OwnLeaf())
		m.Signature, m.MembershipTag = g.bytes(64), g.hash()
		return message(framing.Message{WireFormat: framing.WireFormatPublicMessage, Public: &m})
	}
	remove, _ := g.contents()
	psk := s.resumption().PreSharedKey
	g.add(object{
		"mls_welcome":     digits(staged.Welcome()),
		"mls_group_info":  message(framing.Message{WireFormat: framing.WireFormatGroupInfo, GroupInfo: info}),
		"mls_key_package": message(framing.Message{WireFormat: framing.WireFormatKeyPackage, KeyPackage: kp}),
		"ratchet_tree":    digits(must(sender.Tree().Bytes())),
		"group_secrets": encode(&framing.GroupSecrets{
			JoinerSecret: g.secret(g.hash()), PathSecret: g.secret(g.hash()), PSKs: []keyschedule.PreSharedKeyID{psk.PSK},
		}),
		"add_proposal":                      encode(&framing.Add{KeyPackage: *kp}),
		"update_proposal":                   encode(&framing.Update{LeafNode: *leaf}),
		"remove_proposal":                   encode(remove.Remove),
		"pre_shared_key_proposal":           encode(psk),
		"re_init_proposal":                  encode(group.ReInitProposal(g.bytes(9), g.suite.ID(), s.extensions()).ReInit),
		"external_init_proposal":            encode(&framing.ExternalInit{KEMOutput: g.bytes(65)}),
		"group_context_extensions_proposal": encode(s.replaceExtensions().GroupContextExtensions),
		"commit":                            encode(must(framing.Parse(staged.Message())).Public.Content.Commit),
		"public_message_application": content(framing.PublicMessage{Content: framing.FramedContent{
			ContentType: framing.ContentApplication, Application: g.bytes(20),
		}}),
		"public_message_proposal": content(framing.PublicMessage{Content: framing.FramedContent{
			ContentType: framing.ContentProposal, Proposal: remove,
		}}),
		"public_message_commit": digits(staged.Message()),
		"private_message":       digits(application),
	})
}
