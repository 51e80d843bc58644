package protocols

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/internal/state"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

// mlsDevice is design 10: Messaging Layer Security (RFC 9420), by package group.
// Handshakes travel as PrivateMessage or as PublicMessage; texts always as
// PrivateMessage. Nothing is simplified but who decides between commits: the
// server takes whichever comes first.
type mlsDevice struct {
	base
	config  group.Config
	kp      *treekem.KeyPackage
	private *treekem.KeyPackagePrivate
	group   *group.Group
	leaves  map[ID]mls.LeafIndex
	heard   map[string]uint32 // next generation by epoch and leaf
}

func mlsPrivateDesign() Design {
	return Design{
		Number: 10, Name: "mls", Title: "MLS (RFC 9420), handshakes in PrivateMessage",
		Simplified: "nothing of the protocol; the server takes the first commit of an epoch",
		New: func(env *Env, id ID) (Device, error) {
			return newMLS(env, id, framing.WireFormatPrivateMessage)
		},
	}
}

func mlsPublicDesign() Design {
	return Design{
		Number: 10, Name: "mls-public", Title: "MLS (RFC 9420), handshakes in PublicMessage",
		Simplified: "nothing of the protocol; the server takes the first commit of an epoch",
		New: func(env *Env, id ID) (Device, error) {
			return newMLS(env, id, framing.WireFormatPublicMessage)
		},
	}
}

func newMLS(env *Env, id ID, format framing.WireFormat) (Device, error) {
	signer, err := env.Suite.GenerateSigner()
	if err != nil {
		return nil, err
	}
	d := &mlsDevice{base: base{id: id, env: env, sig: signer, known: map[ID]contact{}}}
	// The directory is the authority for credentials: what a server that lies
	// about keys abuses, and what comparing fingerprints replaces.
	d.config = group.Config{Authenticate: group.InsecureAnyCredential, Handshakes: format}
	d.kp, d.private, err = group.NewKeyPackage(d.config, env.Suite, group.KeyPackageOptions{Identity: d.identity()})
	if err != nil {
		return nil, err
	}
	d.meter.PublicKey += 5 // three key pairs, two signatures
	encoded, err := wire.Marshal(d.kp)
	d.known[id] = contact{sig: signer.Public(), extra: encoded}
	env.Directory.Publish(id, pack(signer.Public(), nil, encoded))
	return d, err
}

func (d *mlsDevice) identity() group.Identity {
	return group.Identity{Credential: treekem.BasicCredential(num(int(d.id))), Signer: d.sig}
}

// Fingerprint implements Device: of the signature key that the member has in the
// group, or in the directory if it is in none.
func (d *mlsDevice) Fingerprint(of ID) []byte {
	if d.group != nil {
		for _, node := range d.group.Members() {
			if ID(toNum(node.Credential.Identity)) == of {
				sum := sha256.Sum256(node.SignatureKey)
				return sum[:]
			}
		}
	}
	c, err := d.contact(of)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(c.sig)
	return sum[:]
}

func (d *mlsDevice) StateSize() int {
	if d.group == nil {
		return 0
	}
	b, err := d.group.State()
	if err != nil {
		return 0
	}
	return len(b)
}

func (d *mlsDevice) keyPackage(id ID) (*treekem.KeyPackage, error) {
	c, err := d.contact(id)
	if err != nil {
		return nil, err
	}
	kp := new(treekem.KeyPackage)
	return kp, wire.Unmarshal(c.extra, kp)
}

func (d *mlsDevice) Create(members []ID) ([]Packet, error) {
	g, err := group.New(d.config, d.env.Suite, group.CreateOptions{Identity: d.identity()})
	if err != nil {
		return nil, err
	}
	d.group = g
	d.setMembers([]ID{d.id})
	var add []framing.Proposal
	d.setMembers(members)
	joiners := d.others()
	for _, id := range joiners {
		kp, err := d.keyPackage(id)
		if err != nil {
			return nil, err
		}
		add = append(add, group.AddProposal(kp))
	}
	out, err := d.commit(nil, joiners, add...)
	d.index()
	return out, err
}

func (d *mlsDevice) Add(who ID) ([]Packet, error) {
	kp, err := d.keyPackage(who)
	if err != nil {
		return nil, err
	}
	d.index()
	old := d.others()
	d.setMembers(d.with(who))
	return d.commit(old, []ID{who}, group.AddProposal(kp))
}

func (d *mlsDevice) Remove(who ID) ([]Packet, error) {
	d.index()
	leaf, ok := d.leaves[who]
	if !ok {
		return nil, ErrNoKey
	}
	all := d.others()
	d.setMembers(d.without(who))
	if d.env.Flaw == KeepOnLeave {
		delete(d.leaves, who)
		return nil, nil // who is told nothing more, and keeps the keys
	}
	return d.commit(all, nil, group.RemoveProposal(leaf))
}

func (d *mlsDevice) Update() ([]Packet, error) {
	if d.group == nil {
		return nil, ErrNoKey
	}
	if d.env.Flaw == IdleUpdate {
		return nil, nil
	}
	d.index()
	return d.commit(d.others(), nil)
}

// commit commits proposals by value, merges at once, and counts the work by what
// the commit holds.
func (d *mlsDevice) commit(to, joiners []ID, proposals ...framing.Proposal) ([]Packet, error) {
	if d.group == nil {
		return nil, ErrNoKey
	}
	staged, err := d.group.Commit(group.CommitOptions{References: [][]byte{}, Proposals: proposals})
	if err != nil {
		return nil, err
	}
	// The path is encrypted to all but the joiners, who get a secret in the Welcome
	// each; of their key packages two signatures are verified.
	seals := staged.Tree().CommitCost(d.group.OwnLeaf()) - len(joiners)
	path := len(staged.Tree().FilteredDirectPath(d.group.OwnLeaf()))
	d.meter.PublicKey += seals + path + 1 + 2 + len(joiners)*3 + boolNum(len(joiners) > 0)
	d.meter.Symmetric += 2*path + 20
	if err := d.merge(staged); err != nil {
		return nil, err
	}
	var out []Packet
	if len(to) > 0 {
		out = append(out, Packet{d.id, to, Handshake, staged.Message()})
	}
	if w := staged.Welcome(); w != nil {
		out = append(out, Packet{d.id, joiners, Handshake, w})
	}
	return out, nil
}

func boolNum(b bool) int {
	if b {
		return 1
	}
	return 0
}

// index finds who is at which leaf.
func (d *mlsDevice) index() {
	if d.leaves != nil || d.group == nil {
		return
	}
	d.leaves = map[ID]mls.LeafIndex{}
	for leaf, node := range d.group.Members() {
		d.leaves[ID(toNum(node.Credential.Identity))] = leaf
	}
	d.setMembers(slices.Collect(maps.Keys(d.leaves)))
}

// merge puts a commit in place and keeps the index up to date.
func (d *mlsDevice) merge(s *group.Staged) error {
	if err := d.group.Merge(s); err != nil {
		return err
	}
	changes := s.Changes()
	if d.leaves == nil || len(changes.Added)+len(changes.Removed) == 0 {
		return nil
	}
	for _, c := range changes.Removed {
		delete(d.leaves, ID(toNum(c.Old.Credential.Identity)))
	}
	for _, c := range changes.Added {
		d.leaves[ID(toNum(c.New.Credential.Identity))] = c.Leaf
	}
	d.setMembers(slices.Collect(maps.Keys(d.leaves)))
	return nil
}

func (d *mlsDevice) Send(text []byte) ([]Packet, error) {
	if d.group == nil {
		return nil, ErrNoKey
	}
	d.index()
	body, err := d.group.Protect(text, nil)
	d.meter.PublicKey++
	d.meter.Symmetric += 5
	return []Packet{{d.id, d.others(), Message, body}}, err
}

func (d *mlsDevice) Receive(p Packet) (Event, error) {
	if d.group == nil {
		return Event{}, d.join(p.Body)
	}
	received, err := d.group.Process(p.Body)
	if err != nil {
		return Event{}, err
	}
	switch r := received.(type) {
	case *group.Staged:
		d.meter.PublicKey += 3 + 2 // open, derive, leaf key; signature of leaf and message
		d.meter.Symmetric += 25
		return Event{}, d.merge(r)
	case *group.Removal:
		d.meter.PublicKey++
		return Event{Notice: "you were removed"}, d.merge(r.Staged)
	case *group.Application:
		return d.text(r)
	case *group.Duplicate:
		return Event{}, ErrReplayed
	case *group.StaleEpoch, *group.FutureEpoch:
		return Event{}, fmt.Errorf("%w: another epoch", ErrNoKey)
	}
	return Event{}, ErrRefused
}

// text shows a text, and tells of gaps in the sender's generations.
func (d *mlsDevice) text(r *group.Application) (Event, error) {
	d.meter.PublicKey++
	d.meter.Symmetric += 5
	if d.heard == nil {
		d.heard = map[string]uint32{}
	}
	e := Event{Text: r.Data, From: ID(toNum(r.Credential.Identity))}
	name := fmt.Sprint(r.Epoch, "/", r.Sender)
	if next := d.heard[name]; r.Generation > next {
		e.Notice = missed(int(r.Generation - next))
	}
	d.heard[name] = max(d.heard[name], r.Generation+1)
	return e, nil
}

func (d *mlsDevice) join(body []byte) error {
	m, err := framing.Parse(body)
	if err != nil || m.Welcome == nil {
		return ErrNoKey
	}
	g, err := group.Join(d.config, m.Welcome, d.kp, d.private, group.JoinOptions{})
	if err != nil {
		return err
	}
	d.group, d.leaves = g, nil
	d.index()
	d.meter.PublicKey += 2 + 1 + int(g.Tree().Members()) // opens, GroupInfo, leaves
	d.meter.Symmetric += 20
	return nil
}

// savedEpoch is what an adversary reads in a device's saved state.
type savedEpoch struct {
	secrets *keyschedule.EpochSecrets
	tree    *keyschedule.SecretTree
	context []byte
	number  uint64
}

// seizedEpochs decodes the epochs in a saved state: the current and past ones.
func (d *mlsDevice) seizedEpochs() ([]savedEpoch, error) {
	saved, err := d.group.State()
	if err != nil {
		return nil, err
	}
	var all map[uint64]any
	if err := state.Unmarshal(saved, &all); err != nil {
		return nil, err
	}
	current, _ := all[2].(map[any]any)
	list := []map[any]any{{uint64(1): current[uint64(2)], uint64(2): d.group.Epoch(), uint64(5): current[uint64(6)], uint64(6): current[uint64(7)]}}
	past, _ := all[7].([]any)
	for _, p := range past {
		if m, ok := p.(map[any]any); ok {
			list = append(list, m)
		}
	}
	var out []savedEpoch
	for _, m := range list {
		context, _ := m[uint64(1)].([]byte)
		number, _ := m[uint64(2)].(uint64)
		secrets, _ := m[uint64(5)].([]byte)
		ratchets, _ := m[uint64(6)].([]byte)
		e := savedEpoch{context: context, number: number}
		if e.secrets, err = keyschedule.RestoreEpochSecrets(d.env.Suite, secrets); err != nil {
			return nil, err
		}
		if e.tree, err = keyschedule.RestoreSecretTree(d.env.Suite, ratchets, keyschedule.Bounds{}); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Forge encrypts with the victim's ratchet, which every member has, a message
// that names the victim and is signed by this device.
func (d *mlsDevice) Forge(as ID, text []byte) ([]Packet, error) {
	d.index()
	epochs, err := d.seizedEpochs()
	if err != nil {
		return nil, err
	}
	e := epochs[0]
	content := framing.FramedContent{
		GroupID: d.group.ID(), Epoch: d.group.Epoch(),
		Sender:      framing.Sender{Type: framing.SenderMember, Leaf: d.leaves[as]},
		ContentType: framing.ContentApplication, Application: text,
	}
	signed, err := framing.Sign(d.env.Suite, d.sig, framing.WireFormatPrivateMessage, content, e.context)
	if err != nil {
		return nil, err
	}
	body, err := framing.ProtectPrivate(d.env.Suite, e.secrets, e.tree, signed, 0)
	return []Packet{{as, d.others(), Message, body}}, err
}

func (d *mlsDevice) Seize() (Adversary, error) {
	a := &mlsAdversary{suite: d.env.Suite}
	if d.group == nil {
		a.device = &mlsDevice{base: d.base, config: d.config, kp: d.kp, private: d.private}
		return a, nil
	}
	var err error
	if a.epochs, err = d.seizedEpochs(); err != nil {
		return nil, err
	}
	saved, err := d.group.State()
	if err != nil {
		return nil, err
	}
	g, err := group.Restore(d.config, saved, d.sig)
	if err != nil {
		return nil, err
	}
	a.device = &mlsDevice{base: d.base, config: d.config, group: g, kp: d.kp, private: d.private}
	return a, nil
}

// mlsAdversary follows the group with a copy of the device's saved state, and
// besides takes every epoch secret and ratchet in it to every message by itself,
// caring about no rule of the protocol and no signature.
type mlsAdversary struct {
	suite  *mls.Suite
	device *mlsDevice
	epochs []savedEpoch
}

func (a *mlsAdversary) Try(p Packet) [][]byte {
	if p.Kind == Handshake {
		_, err := a.device.Receive(p)
		_ = err // what can't be followed is skipped
		return nil
	}
	if a.device.group != nil {
		if e, err := a.device.Receive(p); err == nil && e.Text != nil {
			return [][]byte{e.Text}
		}
	}
	m, err := framing.Parse(p.Body)
	if err != nil || m.Private == nil {
		return nil
	}
	for _, e := range a.epochs {
		c, err := framing.UnprotectPrivate(a.suite, e.secrets, e.tree, m.Private, func(*framing.AuthenticatedContent) error { return nil })
		if err == nil {
			return [][]byte{c.Content.Application}
		}
	}
	return nil
}
