package interop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// dice is a random scenario: any step that is valid, one after another. What
// happens depends on the seed alone.
type dice struct {
	*world
	*rand.Rand
	moves   []move
	without []string
	names   []string
	psks    int
}

// move is a kind of step and how often it comes up.
type move struct {
	name   string
	weight int
	play   func(*dice, *room) error
	// calls are those of its own, which all clients must have for it: such as name
	// a handle or have a message, so that asking for nothing tells.
	calls []string
}

var moves = []move{
	{"commit", 30, (*dice).commitAny, nil},
	{"propose", 24, (*dice).proposeAny, nil},
	{"talk", 16, (*dice).talkAny, nil},
	{"external join", 6, (*dice).joinAny, []string{"ExternalJoin"}},
	{"new member", 4, (*dice).newMemberAny, []string{"NewMemberAddProposal"}},
	{"external proposal", 6, (*dice).externalAny, []string{"AddExternalSigner", "ExternalSignerProposal"}},
	{"psk", 4, (*dice).pskAny, nil},
	{"export", 4, (*dice).exportAny, nil},
	{"branch", 3, (*dice).branchAny, []string{"CreateBranch", "HandleBranch"}},
	{"reinit", 2, (*dice).reinitAny, []string{
		"ReInitProposal", "ReInitCommit", "HandleReInitCommit", "HandlePendingReInitCommit", "ReInitWelcome", "HandleReInitWelcome",
	}},
}

// moveCalls are all that some moves need.
func moveCalls() []string {
	var calls []string
	for _, m := range moves {
		calls = append(calls, m.calls...)
	}
	return calls
}

// possible are the moves whose calls all clients have.
func (r *runner) possible(chosen []move) []move {
	return slices.DeleteFunc(slices.Clone(chosen), func(m move) bool {
		return slices.ContainsFunc(m.calls, func(call string) bool {
			return slices.ContainsFunc(r.peers, func(p *peer) bool { return p.lacks[call] })
		})
	})
}

// chooseMoves are those of some names, or all.
func chooseMoves(names []string) ([]move, error) {
	if names == nil {
		return moves, nil
	}
	var chosen []move
	for _, n := range names {
		i := slices.IndexFunc(moves, func(m move) bool { return m.name == n })
		if i < 0 {
			return nil, fmt.Errorf("the scenario asks for the move %q, which there is not", n)
		}
		chosen = append(chosen, moves[i])
	}
	return chosen, nil
}

// random plays a random scenario. A move that a client has no calls for is left
// out, and so is what a client refuses before anything came of it.
func (w *world) random(names, without []string) error {
	chosen, err := chooseMoves(names)
	if err != nil {
		return err
	}
	opt := &w.r.opt
	stream := uint64(w.suite) << 1
	if w.encrypt {
		stream++
	}
	d := &dice{world: w, Rand: rand.New(rand.NewPCG(opt.Seed, stream)), moves: w.r.possible(chosen), without: without}
	for i := range opt.Actors {
		d.names = append(d.names, fmt.Sprintf("actor%02d", i))
		w.actor(d.names[i])
	}
	if err := w.create("", d.names[0]); err != nil {
		return err
	}
	fill := commitStep{by: d.names[0]}
	for _, name := range d.names[1 : 1+opt.Actors/2] {
		fill.values = append(fill.values, proposalSpec{Type: "add", Who: name})
	}
	if err := w.commit(w.rooms[""], fill); err != nil {
		return fmt.Errorf("filling the group: %w", err)
	}
	for i := range opt.Steps {
		m := d.pick()
		r := w.rooms[""]
		if err := m.play(d, r); err != nil && !leftOut(err) {
			return fmt.Errorf("random step %d, %s in epoch %d of %d members (seed %d): %w", i+1, m.name, r.epoch, len(r.members), opt.Seed, err)
		}
		if err := w.agree(w.rooms[""]); err != nil {
			return fmt.Errorf("random step %d, %s (seed %d): %w", i+1, m.name, opt.Seed, err)
		}
		w.steps++
	}
	return nil
}

// leftOut tells whether a client refused a move as unsupported before anything
// came of it. Where others have followed a commit already, it can't be left out.
func leftOut(err error) bool {
	var call *callError
	if !errors.As(err, &call) || outcomeOf(err) != Unsupported {
		return false
	}
	return call.call == "ExternalJoin" || call.call == "AddExternalSigner" || call.call == "CreateBranch" ||
		call.call == "NewMemberAddProposal" || call.call == "ExternalSignerProposal"
}

func (d *dice) pick() move {
	total := 0
	for _, m := range d.moves {
		total += m.weight
	}
	n := d.IntN(total)
	for _, m := range d.moves {
		if n -= m.weight; n < 0 {
			return m
		}
	}
	return d.moves[0]
}

func (d *dice) chance(percent int) bool { return d.IntN(100) < percent }

// one picks a name, "" if there is none.
func (d *dice) one(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[d.IntN(len(names))]
}

// outsiders are those who are not in the group, nor about to be.
func (d *dice) outsiders(r *room, l *list) []string {
	return slices.DeleteFunc(slices.Clone(d.names), func(n string) bool {
		return slices.Contains(r.members, n) || l.touched[n]
	})
}

// list is what a valid list of proposals may hold only once (RFC 9420, Section
// 12.2), and what does not go together.
type list struct {
	touched    map[string]bool
	adds       bool
	resumption bool
	extensions bool
}

func newList(pending []*pending) *list {
	l := &list{touched: make(map[string]bool)}
	for _, p := range pending {
		l.add(&p.change, p.by)
	}
	return l
}

func (l *list) add(c *proposalSpec, by string) {
	switch c.Type {
	case "add":
		l.adds = true
		l.touched[c.Who] = true
	case "remove":
		l.touched[c.Who] = true
	case "update":
		l.touched[by] = true
	case "resumptionPSK":
		l.resumption = true
	case "groupContextExtensions", "externalSigner":
		l.extensions = true
	}
}

// untouched are the members that no proposal of the list is about.
func (l *list) untouched(r *room, but ...string) []string {
	return slices.DeleteFunc(r.others(but...), func(n string) bool { return l.touched[n] })
}

// change is a random proposal that fits the list; nil if the dice want none.
func (d *dice) change(r *room, l *list, by string) *proposalSpec {
	c := d.anyChange(r, l, by)
	if c != nil && slices.Contains(d.without, c.Type) {
		return nil
	}
	return c
}

// anyChange is change before the scenario's exceptions. Nobody removes itself,
// nor one of the two last members.
func (d *dice) anyChange(r *room, l *list, by string) *proposalSpec {
	switch n := d.IntN(100); {
	case n < 45:
		if who := d.one(d.outsiders(r, l)); who != "" && !l.resumption {
			return &proposalSpec{Type: "add", Who: who}
		}
	case n < 70:
		if who := d.one(l.untouched(r, by)); who != "" && len(l.untouched(r)) > 2 {
			return &proposalSpec{Type: "remove", Who: who}
		}
	case n < 80:
		if d.psks > 0 {
			return d.anyPSK(r)
		}
	case n < 90:
		return d.resumptionPSK(r, l)
	default:
		if !l.extensions {
			return &proposalSpec{Type: "groupContextExtensions", Extensions: d.extensions()}
		}
	}
	return nil
}

// anyPSK is a pre-shared key that all members have.
func (d *dice) anyPSK(r *room) *proposalSpec {
	name := fmt.Sprintf("psk %d", d.IntN(d.psks))
	if _, ok := r.psks[name]; !ok {
		return nil
	}
	return &proposalSpec{Type: "externalPSK", PSK: name}
}

// resumptionPSK is one of an epoch in which all members were there already.
func (d *dice) resumptionPSK(r *room, l *list) *proposalSpec {
	ago := uint64(d.IntN(3))
	if l.adds || ago > r.epoch {
		return nil
	}
	for _, m := range r.members {
		if r.since[m] > r.epoch-ago {
			return nil
		}
	}
	return &proposalSpec{Type: "resumptionPSK", Ago: ago}
}

// extensions are some that all members support: the meaningless one of the tests,
// and required_capabilities that ask for it.
func (d *dice) extensions() []extensionSpec {
	var exts []extensionSpec
	if d.chance(60) {
		exts = append(exts, extensionSpec{Type: uint16(testExtension), Data: fmt.Sprintf("%08x", d.Uint32())})
	}
	if d.chance(40) {
		exts = append(exts, extensionSpec{Type: 3, Data: "02f0a100020001"})
	}
	return exts
}

// commitAny commits the proposals that were sent, or none, and others by value.
func (d *dice) commitAny(r *room) error {
	c := commitStep{path: d.chance(50), treeApart: d.chance(30)}
	if d.chance(85) {
		c.refs = r.pending
	}
	l := newList(c.refs)
	if c.by = d.one(l.untouched(r)); c.by == "" {
		c.refs, l = nil, newList(nil)
		c.by = d.one(r.members)
	}
	for range d.IntN(4) {
		if v := d.change(r, l, c.by); v != nil && (v.Type != "remove" || len(r.members) > 2) {
			l.add(v, c.by)
			c.values = append(c.values, *v)
		}
	}
	if err := d.commit(r, c); err != nil {
		return err
	}
	return d.forget(r)
}

// forget shows that the removed are locked out, and drops their states.
func (d *dice) forget(r *room) error {
	if len(r.former) == 0 {
		return nil
	}
	var gone []string
	for name := range r.former {
		if !slices.Contains(r.members, name) {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	if err := d.lockedOut(r, d.one(r.members), gone); err != nil {
		return err
	}
	for name, state := range r.former {
		d.release(d.actor(name), state)
	}
	clear(r.former)
	return nil
}

func (d *dice) proposeAny(r *room) error {
	l := newList(r.pending)
	by := d.one(r.members)
	// Somebody must be left to commit.
	if len(l.untouched(r, by)) > 1 && d.chance(40) && !l.touched[by] {
		return d.propose(r, by, &proposalSpec{Type: "update"})
	}
	if c := d.change(r, l, by); c != nil {
		return d.propose(r, by, c)
	}
	return nil
}

// talkAny lets somebody say a few things, which the others read in any order.
func (d *dice) talkAny(r *room) error {
	free := slices.DeleteFunc(slices.Clone(r.members), func(n string) bool {
		return slices.ContainsFunc(r.pending, func(p *pending) bool { return p.by == n })
	})
	from := d.one(free)
	if from == "" {
		return nil
	}
	type said struct{ message, text, aad []byte }
	var all []said
	for i := range 1 + d.IntN(3) {
		s := said{text: fmt.Appendf(nil, "%d: %d", i, d.Uint64()), aad: []byte("aad")}
		var err error
		if s.message, err = d.protect(r, from, s.text, s.aad); err != nil {
			return err
		}
		all = append(all, s)
	}
	d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return d.each(r.others(from), func(name string) error {
		for _, s := range all {
			if err := d.read(r, name, s.message, s.text, s.aad); err != nil {
				return err
			}
		}
		return nil
	})
}

// joinAny lets an outsider join by an external commit, or a member join anew.
func (d *dice) joinAny(r *room) error {
	s := &scriptStep{By: d.one(d.outsiders(r, newList(nil))), TreeApart: d.chance(30)}
	if s.By == "" || d.chance(30) {
		s.By, s.RemovePrior = d.one(r.members), true
	}
	if d.psks > 0 && d.chance(40) {
		if c := d.anyPSK(r); c != nil {
			s.PSKs = []string{c.PSK}
		}
	}
	return d.externalJoin(r, s)
}

func (d *dice) newMemberAny(r *room) error {
	l := newList(r.pending)
	if who := d.one(d.outsiders(r, l)); who != "" && !l.resumption {
		return d.newMember(r, who)
	}
	return nil
}

// externalAny makes an external sender, or lets one propose.
func (d *dice) externalAny(r *room) error {
	l := newList(r.pending)
	if len(r.signers) == 0 || len(r.signers) < 3 && d.chance(20) {
		if l.extensions {
			return nil
		}
		return d.propose(r, d.one(r.members), &proposalSpec{Type: "externalSigner", Who: fmt.Sprintf("outside%d", len(r.signers))})
	}
	by := r.signers[d.IntN(len(r.signers))].actor
	c := d.change(r, l, "")
	if c == nil || c.Type == "resumptionPSK" {
		return nil
	}
	return d.externalProposal(r, by, c, d.chance(30))
}

func (d *dice) pskAny(r *room) error {
	d.psks++
	return d.psk(r, []string{fmt.Sprintf("psk %d", d.psks-1)})
}

func (d *dice) exportAny(r *room) error { return d.export(r) }

// branchAny makes a group of a few members, in which all say something.
func (d *dice) branchAny(r *room) error {
	s := &scriptStep{By: d.one(r.members), Into: "branch", TreeApart: d.chance(30), Path: d.chance(50)}
	for range 1 + d.IntN(3) {
		if who := d.one(r.others(append(s.Who, s.By)...)); who != "" {
			s.Who = append(s.Who, who)
		}
	}
	if len(s.Who) == 0 {
		return nil
	}
	if err := d.branch(r, s); err != nil {
		return err
	}
	side := d.rooms["branch"]
	if err := d.talk(side, nil); err != nil {
		return err
	}
	for name, state := range side.states {
		d.release(d.actor(name), state)
	}
	delete(d.rooms, "branch")
	return nil
}

// reinitAny starts the group anew.
func (d *dice) reinitAny(r *room) error {
	s := &scriptStep{By: d.one(r.members), Path: d.chance(50), TreeApart: d.chance(30)}
	c := proposalSpec{Type: "reinit", Extensions: d.extensions()}
	r.pending = nil
	if d.chance(50) {
		s.Value = []proposalSpec{c}
	} else if err := d.propose(r, d.one(r.members), &c); err != nil {
		return err
	}
	s.Welcomer = d.one(r.members)
	return d.reinit(r, s)
}
