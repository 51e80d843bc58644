package compare

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/sim/protocols"
)

// ID is a user.
type ID = protocols.ID

// world is one group of one design with its server.
type world struct {
	design  protocols.Design
	env     *protocols.Env
	devices map[ID]protocols.Device
	members []ID
	acting  map[ID]bool // who reads; the others only hold keys
	offline map[ID][]delivery

	record     bool // whether to keep the transcript
	transcript []record

	messages []*sent
	byText   map[string]*sent
	nextID   ID
	joiner   ID // of the operation at hand, -1 if none
	reads    int
	hasRead  map[ID]bool
	before   map[ID]int // packets taken in before the first text
}

// record is a packet as it passed the server.
type record struct {
	protocols.Packet        // as it left the sender
	held             []byte // what the server had of it
	text             []byte // what it says, if it is a message
}

// sent is a message and who was to read it.
type sent struct {
	text   []byte
	from   ID
	unread map[ID]bool
}

// delivery is a packet on its way to one member.
type delivery struct {
	packet protocols.Packet
	cost   *OpCost
}

func newWorld(d protocols.Design, flaw protocols.Flaw) (*world, error) {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		return nil, err
	}
	w := &world{
		design: d, devices: map[ID]protocols.Device{}, acting: map[ID]bool{}, offline: map[ID][]delivery{},
		byText: map[string]*sent{}, hasRead: map[ID]bool{}, before: map[ID]int{}, joiner: -1,
		env: &protocols.Env{Suite: suite, Directory: newDirectory(), Flaw: flaw},
	}
	if d.NewServer != nil {
		w.env.Server, err = d.NewServer(suite)
	}
	return w, err
}

// users makes n users with devices, of whom the first acting read what they get.
func (w *world) users(n, acting int) ([]ID, error) {
	first := w.nextID
	w.nextID += ID(n)
	made := make([]protocols.Device, n)
	if acting < n {
		w.env.Passive = func(id ID) bool { return !w.acting[id] }
	}
	err := parallel.Each(n, 1, func(i int) error {
		var err error
		made[i], err = w.design.New(w.env, first+ID(i))
		return err
	})
	if err != nil {
		return nil, err
	}
	ids := make([]ID, n)
	for i, d := range made {
		ids[i] = first + ID(i)
		w.devices[ids[i]] = d
		w.acting[ids[i]] = i < acting
		if o, ok := d.(interface{ Online() error }); ok && i < acting {
			if err := o.Online(); err != nil {
				return nil, err
			}
		}
	}
	return ids, nil
}

// do has a member act and delivers what it says, until nobody has an answer.
func (w *world) do(by ID, c *OpCost, f func(protocols.Device) ([]protocols.Packet, error)) error {
	d := w.devices[by]
	start, before := processClock(), *d.Meter()
	packets, err := f(d)
	if err != nil {
		return fmt.Errorf("%s: member %d: %w", w.design.Name, by, err)
	}
	c.Count++
	c.Initiator.work(processClock()-start, before, *d.Meter())
	for _, p := range packets {
		c.Initiator.SentBytes += len(p.Body)
	}
	return w.deliver(packets, c, by)
}

// deliver passes packets on and the answers to them.
func (w *world) deliver(packets []protocols.Packet, c *OpCost, by ID) error {
	responders, readers := map[ID]bool{}, map[ID]bool{}
	for len(packets) > 0 {
		due := map[ID][]delivery{}
		for _, p := range packets {
			if err := w.relay(p, c, due); err != nil {
				return err
			}
			for _, id := range p.To {
				if w.acting[id] && id != by && id != w.joiner {
					readers[id] = true
				}
			}
		}
		replies, err := w.receiveAll(due)
		if err != nil {
			return err
		}
		for _, p := range replies {
			if p.From != by {
				responders[p.From] = true
			}
		}
		packets = replies
	}
	c.Responders += len(responders)
	c.Readers += len(readers)
	return nil
}

// relay is the server: it counts, records and sorts by recipient.
func (w *world) relay(p protocols.Packet, c *OpCost, due map[ID][]delivery) error {
	c.ServerIn += len(p.Body)
	c.Packets++
	held := p.Body
	if w.env.Server != nil {
		var err error
		if held, err = w.env.Server.Accept(p); err != nil {
			return err
		}
	}
	if w.record {
		w.transcript = append(w.transcript, record{Packet: p, held: held})
	}
	for _, id := range p.To {
		if w.devices[id] == nil || p.Kind == protocols.Message && !slices.Contains(w.members, id) {
			continue // the server has left it out of the group
		}
		q := protocols.Packet{From: p.From, To: []ID{id}, Kind: p.Kind, Body: p.Body}
		reads := w.acting[id]
		if !reads && !(w.design.Interactive && p.Kind == protocols.Handshake) {
			c.ServerOut += len(q.Body)
			continue
		}
		if w.env.Server != nil {
			var err error
			if q, err = w.env.Server.Forward(held, p, id); err != nil {
				return err
			}
		}
		c.ServerOut += len(q.Body)
		if box, off := w.offline[id]; off {
			w.offline[id] = append(box, delivery{q, c})
			continue
		}
		due[id] = append(due[id], delivery{q, c})
	}
	return nil
}

// receiveAll has members take in what came for them, and returns their answers
// in the order of the members.
func (w *world) receiveAll(due map[ID][]delivery) ([]protocols.Packet, error) {
	ids := make([]ID, 0, len(due))
	for id := range due {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	events := make([][]protocols.Event, len(ids))
	costs := make([][]Work, len(ids))
	err := parallel.Each(len(ids), 1, func(i int) error {
		runtime.LockOSThread() // its CPU time is measured
		defer runtime.UnlockOSThread()
		d := w.devices[ids[i]]
		for _, q := range due[ids[i]] {
			start, before := threadClock(), *d.Meter()
			e, err := d.Receive(q.packet)
			if err != nil {
				return fmt.Errorf("%s: member %d cannot take in a packet of member %d: %w", w.design.Name, ids[i], q.packet.From, err)
			}
			var work Work
			work.work(threadClock()-start, before, *d.Meter())
			work.ReceivedBytes += len(q.packet.Body)
			for _, r := range e.Replies {
				work.SentBytes += len(r.Body)
			}
			events[i] = append(events[i], e)
			costs[i] = append(costs[i], work)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var replies []protocols.Packet
	for i, id := range ids {
		for k, e := range events[i] {
			c := due[id][k].cost
			if id == w.joiner {
				c.Joiner.add(costs[i][k])
			} else {
				c.Others.add(costs[i][k])
			}
			if e.Text == nil && !w.hasRead[id] {
				w.before[id]++
			}
			if err := w.reading(id, e); err != nil {
				return nil, err
			}
			replies = append(replies, e.Replies...)
		}
	}
	return replies, nil
}

// reading checks that what a member is shown was sent to it, by whom it says.
func (w *world) reading(id ID, e protocols.Event) error {
	if e.Text == nil {
		return nil
	}
	m := w.byText[string(e.Text)]
	if m == nil || m.from != e.From || !m.unread[id] {
		return fmt.Errorf("%s: member %d is shown a text that nobody sent it", w.design.Name, id)
	}
	delete(m.unread, id)
	w.hasRead[id] = true
	w.reads++
	return nil
}

// create starts the group.
func (w *world) create(members []ID, c *OpCost) error {
	w.members = slices.Clone(members)
	return w.do(members[0], c, func(d protocols.Device) ([]protocols.Packet, error) { return d.Create(members) })
}

func (w *world) add(by, who ID, c *OpCost) error {
	w.members = append(w.members, who)
	w.joiner = who
	defer func() { w.joiner = -1 }()
	return w.do(by, c, func(d protocols.Device) ([]protocols.Packet, error) { return d.Add(who) })
}

func (w *world) remove(by, who ID, c *OpCost) error {
	w.members = slices.DeleteFunc(w.members, func(id ID) bool { return id == who })
	return w.do(by, c, func(d protocols.Device) ([]protocols.Packet, error) { return d.Remove(who) })
}

// update renews a member's keys; false if the design has no such thing.
func (w *world) update(by ID, c *OpCost) (bool, error) {
	err := w.do(by, c, func(d protocols.Device) ([]protocols.Packet, error) { return d.Update() })
	if errors.Is(err, protocols.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// send writes a text. All members but the sender are to read it.
func (w *world) send(by ID, text []byte, c *OpCost) error {
	m := &sent{text: text, from: by, unread: map[ID]bool{}}
	for _, id := range w.members {
		if id != by && w.acting[id] {
			m.unread[id] = true
		}
	}
	w.messages = append(w.messages, m)
	w.byText[string(text)] = m
	from := len(w.transcript)
	err := w.do(by, c, func(d protocols.Device) ([]protocols.Packet, error) { return d.Send(text) })
	for i := range w.transcript[from:] {
		if r := &w.transcript[from+i]; r.Kind == protocols.Message {
			r.text = text
		}
	}
	return err
}

// leaveLine takes a member offline; comeBack delivers what waited for it.
func (w *world) leaveLine(id ID) {
	if _, off := w.offline[id]; !off {
		w.offline[id] = []delivery{}
	}
}

func (w *world) comeBack(id ID) error {
	box, off := w.offline[id]
	if !off {
		return nil
	}
	delete(w.offline, id)
	replies, err := w.receiveAll(map[ID][]delivery{id: box})
	if err != nil || len(replies) == 0 {
		return err
	}
	return w.deliver(replies, new(OpCost), id)
}

// allRead checks that everything was read by everybody who was to.
func (w *world) allRead() error {
	for _, m := range w.messages {
		for id := range m.unread {
			return fmt.Errorf("%s: member %d has not read %q", w.design.Name, id, m.text)
		}
	}
	return nil
}

// contains reports whether a text stands in bytes as it is.
func contains(b, text []byte) bool { return len(text) > 0 && bytes.Contains(b, text) }
