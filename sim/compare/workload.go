package compare

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/treekem/mls/sim/protocols"
)

// Workload says what a group goes through.
type Workload struct {
	Name     string `json:"name"`
	Members  int    `json:"members"` // at the start
	Joins    int    `json:"joins"`
	Leaves   int    `json:"leaves"`
	Updates  int    `json:"updates"`
	Messages int    `json:"messages"`
	Offline  int    `json:"offline_spells"`
	// Senders is how many of the members write.
	Senders int `json:"senders"`
	// Acting is how many members read and write with devices of their own; the
	// others hold keys that everything is really encrypted to.
	Acting int    `json:"acting"`
	Seed   uint64 `json:"seed"`
}

// Presets returns the workloads that have names.
func Presets() []Workload {
	return []Workload{
		{Name: "family", Members: 8, Joins: 2, Leaves: 2, Updates: 8, Messages: 80, Offline: 6, Senders: 8, Acting: 8, Seed: 1},
		{Name: "team", Members: 100, Joins: 3, Leaves: 3, Updates: 12, Messages: 60, Offline: 10, Senders: 20, Acting: 100, Seed: 1},
		{Name: "company", Members: 1000, Joins: 2, Leaves: 2, Updates: 10, Messages: 30, Offline: 6, Senders: 8, Acting: 32, Seed: 1},
		{Name: "broadcast", Members: 10000, Joins: 1, Leaves: 1, Updates: 3, Messages: 6, Offline: 2, Senders: 2, Acting: 12, Seed: 1},
	}
}

// Preset returns the workload of a name; false if there is none.
func Preset(name string) (Workload, bool) {
	all := Presets()
	i := slices.IndexFunc(all, func(w Workload) bool { return w.Name == name })
	if i < 0 {
		return Workload{}, false
	}
	return all[i], true
}

// Custom is a workload of so many members and operations, in the proportions of
// a team.
func Custom(members, ops int, seed uint64) Workload {
	w := Workload{Name: "custom", Members: members, Seed: seed, Joins: ops / 20, Leaves: ops / 20, Updates: ops / 6, Offline: ops / 10}
	w.Messages = max(ops-w.Joins-w.Leaves-w.Updates, 1)
	w.Acting = members
	if members > 128 {
		w.Acting = 32
	}
	w.Senders = min(w.Acting, 20)
	return w
}

// Validate says what is wrong with a workload.
func (w Workload) Validate() error {
	switch {
	case w.Members < 3:
		return fmt.Errorf("a group of %d: it takes 3 members", w.Members)
	case w.Acting < 3 || w.Acting > w.Members:
		return fmt.Errorf("%d acting members of %d", w.Acting, w.Members)
	case w.Leaves > w.Acting-3+w.Joins:
		return fmt.Errorf("%d leaves of %d acting members", w.Leaves, w.Acting)
	case w.Messages < 1:
		return fmt.Errorf("no messages")
	}
	return nil
}

type step uint8

const (
	stepJoin step = iota
	stepLeave
	stepUpdate
	stepMessage
	stepOffline
)

// schedule is the steps in a random order that follows from the seed, the first
// and the last being messages.
func (w Workload) schedule(r *rand.Rand) []step {
	var steps []step
	for _, k := range []struct {
		n    int
		what step
	}{{w.Joins, stepJoin}, {w.Leaves, stepLeave}, {w.Updates, stepUpdate}, {w.Messages - 1, stepMessage}, {w.Offline, stepOffline}} {
		steps = append(steps, slices.Repeat([]step{k.what}, k.n)...)
	}
	r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	return append(steps, stepMessage)
}

// player runs a workload with one design.
type player struct {
	*world
	load    Workload
	random  *rand.Rand
	costs   Costs
	senders []ID
	back    map[ID]int // when an offline member comes back
	joiners []ID
	at      int
}

// Play runs a workload with a design and returns what it cost. The error says
// what was not as it must be: somebody could not read, or read something else.
func Play(ctx context.Context, d protocols.Design, load Workload, progress func(done, total int)) (*Costs, error) {
	start := time.Now()
	if progress != nil {
		progress(0, 1) // starting a large group takes a while
	}
	w, err := newWorld(d, protocols.NoFlaw)
	if err != nil {
		return nil, err
	}
	p := &player{
		world: w, load: load, random: rand.New(rand.NewPCG(load.Seed, 5)),
		back: map[ID]int{},
	}
	ids, err := w.users(load.Members, load.Acting)
	if err != nil {
		return nil, err
	}
	p.senders = slices.Clone(ids[:min(load.Senders, load.Acting)])
	if err := w.create(ids, &p.costs.Create); err != nil {
		return nil, err
	}
	steps := load.schedule(p.random)
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(i+1, len(steps)+1)
		}
		p.at = i
		if err := p.step(s); err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	p.costs.Elapsed = time.Since(start)
	return &p.costs, nil
}

// step does one step of the schedule.
func (p *player) step(s step) error {
	for _, id := range slices.Sorted(maps.Keys(p.back)) {
		if p.back[id] <= p.at {
			delete(p.back, id)
			if err := p.comeBack(id); err != nil {
				return err
			}
		}
	}
	switch s {
	case stepOffline:
		if id, ok := p.pick(p.present()[1:]); ok {
			p.leaveLine(id)
			p.back[id] = p.at + 3 + p.random.IntN(8)
		}
		return nil
	case stepMessage:
		return p.message()
	}
	if p.design.Interactive {
		if err := p.gather(); err != nil {
			return err
		}
	}
	by, ok := p.pick(p.present())
	if !ok {
		return nil
	}
	switch s {
	case stepJoin:
		ids, err := p.users(1, 1)
		if err != nil {
			return err
		}
		p.joiners = append(p.joiners, ids[0])
		return p.add(by, ids[0], &p.costs.Join)
	case stepLeave:
		return p.leave(by)
	}
	_, err := p.update(by, &p.costs.Update)
	return err
}

// leave removes a member that isn't the one who does it, nor the creator.
func (p *player) leave(by ID) error {
	who, ok := p.pick(slices.DeleteFunc(p.present(), func(id ID) bool { return id == by || id == 0 }))
	if !ok {
		return nil
	}
	p.senders = slices.DeleteFunc(p.senders, func(id ID) bool { return id == who })
	return p.remove(by, who, &p.costs.Leave)
}

func (p *player) message() error {
	by, ok := p.pick(slices.DeleteFunc(slices.Clone(p.senders), func(id ID) bool { _, off := p.offline[id]; return off }))
	if !ok {
		by = p.present()[0]
	}
	text := fmt.Appendf(nil, "message %d of member %d: %064d", len(p.messages), by, p.at)
	return p.send(by, text, &p.costs.Message)
}

// gather brings everybody online for an interactive design.
func (p *player) gather() error {
	for _, id := range slices.Clone(p.members) {
		if _, off := p.offline[id]; off {
			p.costs.Forced++
			delete(p.back, id)
			if err := p.comeBack(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// present lists the acting members that are online.
func (p *player) present() []ID {
	return slices.DeleteFunc(slices.Clone(p.members), func(id ID) bool {
		_, off := p.offline[id]
		return off || !p.acting[id]
	})
}

func (p *player) pick(from []ID) (ID, bool) {
	n := p.random.IntN(1 << 30) // drawn in any case, so that schedules stay together
	if len(from) == 0 {
		return 0, false
	}
	return from[n%len(from)], true
}

// finish brings everybody back and checks that everything was read.
func (p *player) finish() error {
	for _, id := range slices.Clone(p.members) {
		if err := p.comeBack(id); err != nil {
			return err
		}
	}
	if err := p.allRead(); err != nil {
		return err
	}
	p.costs.Reads = p.reads
	n, size := 0, 0
	for _, id := range p.members {
		if p.acting[id] {
			n++
			size += p.devices[id].StateSize()
		}
	}
	p.costs.StateBytes = per(size, n)
	for _, id := range p.joiners {
		p.costs.JoinerPackets += float64(p.before[id]) / float64(len(p.joiners))
	}
	p.costs.MustBeOnline = "nobody"
	if t := p.costs.Total(); t.Responders > 0 {
		p.costs.MustBeOnline = "all members"
	}
	return nil
}
