package compare

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/treekem/mls/sim/protocols"
)

// Verdict is what came of an attack.
type Verdict string

// The verdicts. They are computed from what happened in the run.
const (
	// Safe: nothing was recovered or forged, or the attack was noticed.
	Safe Verdict = "safe"
	// Broken: all that the attack was after was recovered or forged, unnoticed.
	Broken Verdict = "broken"
	// Partly: some of it.
	Partly Verdict = "partly"
)

// Outcome is what an attack found.
type Outcome struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Recovered of Tried texts were read, or forged texts shown.
	Recovered int `json:"recovered"`
	Tried     int `json:"tried"`
	// Noticed says how members noticed, "" if nobody did.
	Noticed string `json:"noticed"`
	// Sample is a text that was recovered.
	Sample string `json:"sample,omitempty"`
	// Sentence tells it in words.
	Sentence string `json:"sentence"`
}

// Attack is something an adversary attempts.
type Attack struct {
	Name      string `json:"name"`
	Title     string `json:"title"`
	Adversary string `json:"adversary"` // what data it has
	run       func(*scene) (Outcome, error)
}

// Attacks returns all attacks in the order of the tables.
func Attacks() []Attack {
	return []Attack{
		{"server-reads", "The server reads what it stores", "every packet that it passed on, decrypted as far as the server's own part goes", serverReads},
		{"wire-reads", "Somebody on the wire reads along", "every packet as it left its sender", wireReads},
		{"joiner-past", "A joiner reads what was said before", "the joiner's whole state and every packet ever sent", joinerPast},
		{"leaver-future", "A removed member reads what is said after", "the member's whole state before the removal and every later packet", leaverFuture},
		{"seize-past", "A seized device reads the past (forward secrecy)", "the device's whole state and every earlier packet", seizePast},
		{"seize-future", "A seized device reads the future, before the victim updates", "a copy of the whole state and every later packet", seizeFuture},
		{"seize-healed", "A seized device reads the future, after the victim updates (post-compromise security)", "a copy of the whole state and every later packet", seizeHealed},
		{"key-swap", "The server swaps keys at first contact", "the directory and the network; members don't compare fingerprints", func(s *scene) (Outcome, error) { return keySwap(s, false) }},
		{"key-swap-checked", "The same, and the members compare fingerprints", "the directory and the network", func(s *scene) (Outcome, error) { return keySwap(s, true) }},
		{"forge", "A member writes in another's name", "a member's own device and all its keys", forge},
		{"drop", "The server drops a message", "the network", serverDrops},
		{"reorder", "The server swaps two messages", "the network", serverReorders},
		{"replay", "The server delivers a message twice", "the network", serverReplays},
		{"flip", "The server flips bits", "the network, and what the server has of a packet", serverFlips},
		{"split-messages", "The server shows two halves of the group different messages", "the network", splitMessages},
		{"split-keys", "The server shows two halves of the group different changes of membership", "the network", splitKeys},
	}
}

// FindAttacks returns the attacks with the given names; all for none.
func FindAttacks(names []string) ([]Attack, error) {
	all := Attacks()
	if len(names) == 0 {
		return all, nil
	}
	var out []Attack
	for _, name := range names {
		i := slices.IndexFunc(all, func(a Attack) bool { return a.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no attack %s", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// Try carries an attack out on a small group of a design, with a part of the
// design left out if flaw says so.
func Try(ctx context.Context, d protocols.Design, a Attack, flaw protocols.Flaw) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	s := &scene{design: d, flaw: flaw}
	if err := s.begin(); err != nil {
		return Outcome{}, fmt.Errorf("%s, %s: %w", d.Name, a.Name, err)
	}
	o, err := a.run(s)
	if err != nil {
		return Outcome{}, fmt.Errorf("%s, %s: %w", d.Name, a.Name, err)
	}
	o.Name = a.Name
	return o, nil
}

// sceneMembers is the size of the groups that are attacked.
const sceneMembers = 8

// scene is a small group that is attacked.
type scene struct {
	*world
	design protocols.Design
	flaw   protocols.Flaw
	count  int // texts
	// answers are what devices replied in an active attack.
	answers []inFlight
}

func (s *scene) begin() error {
	w, err := newWorld(s.design, s.flaw)
	if err != nil {
		return err
	}
	s.world = w
	w.record = true
	ids, err := w.users(sceneMembers, sceneMembers)
	if err != nil {
		return err
	}
	return w.create(ids, new(OpCost))
}

// text makes a new text.
func (s *scene) text(by ID) []byte {
	s.count++
	return fmt.Appendf(nil, "secret %d: member %d says the code is %06d", s.count, by, (s.count*7919+int(by)*104729)%1000000)
}

// say has members write, each in turn, and returns the packets of the messages.
func (s *scene) say(by ...ID) ([]record, error) {
	from := len(s.transcript)
	for _, id := range by {
		if err := s.send(id, s.text(id), new(OpCost)); err != nil {
			return nil, err
		}
	}
	return s.transcript[from:], nil
}

// texts lists the different texts of records.
func texts(records []record) [][]byte {
	var out [][]byte
	for _, r := range records {
		if r.text != nil && !slices.ContainsFunc(out, func(t []byte) bool { return bytes.Equal(t, r.text) }) {
			out = append(out, r.text)
		}
	}
	return out
}

// passes is how often an adversary goes through what it has: keys found late can
// open what came early.
const passes = 3

// attempt has an adversary try packets, and counts the wanted texts it found.
func attempt(a protocols.Adversary, packets []record, wanted [][]byte) Outcome {
	found := map[string]bool{}
	for range passes {
		for _, r := range packets {
			for _, t := range a.Try(r.Packet) {
				found[string(t)] = true
			}
		}
	}
	return reading(wanted, func(t []byte) bool { return found[string(t)] })
}

// reading is the outcome of an attempt to read texts.
func reading(wanted [][]byte, found func([]byte) bool) Outcome {
	o := Outcome{Tried: len(wanted)}
	for _, t := range wanted {
		if found(t) {
			o.Recovered++
			if o.Sample == "" {
				o.Sample = string(t)
			}
		}
	}
	o.Verdict = verdict(o.Recovered, o.Tried)
	return o
}

func verdict(got, of int) Verdict {
	switch {
	case got == 0:
		return Safe
	case got == of:
		return Broken
	}
	return Partly
}

// tell adds the sentence on an attempt to read.
func (o Outcome) tell(who string) Outcome {
	o.Sentence = fmt.Sprintf("%s read %d of %d messages", who, o.Recovered, o.Tried)
	if o.Sample != "" {
		o.Sentence += fmt.Sprintf(", such as “%s”", o.Sample)
	}
	o.Sentence += "."
	return o
}

func serverReads(s *scene) (Outcome, error) {
	records, err := s.say(0, 3, 5)
	if err != nil {
		return Outcome{}, err
	}
	o := reading(texts(records), func(t []byte) bool {
		return slices.ContainsFunc(s.transcript, func(r record) bool { return contains(r.held, t) })
	})
	return o.tell("The server"), nil
}

func wireReads(s *scene) (Outcome, error) {
	records, err := s.say(0, 3, 5)
	if err != nil {
		return Outcome{}, err
	}
	o := reading(texts(records), func(t []byte) bool {
		return slices.ContainsFunc(s.transcript, func(r record) bool { return contains(r.Body, t) })
	})
	return o.tell("The eavesdropper"), nil
}

func joinerPast(s *scene) (Outcome, error) {
	records, err := s.say(0, 3, 5, 0)
	if err != nil {
		return Outcome{}, err
	}
	wanted := texts(records)
	ids, err := s.users(1, 1)
	if err != nil {
		return Outcome{}, err
	}
	if err := s.add(0, ids[0], new(OpCost)); err != nil {
		return Outcome{}, err
	}
	if _, err := s.say(3, 0); err != nil { // so that everything it will be given has come
		return Outcome{}, err
	}
	a, err := s.devices[ids[0]].Seize()
	if err != nil {
		return Outcome{}, err
	}
	return attempt(a, s.transcript, wanted).tell("The joiner"), nil
}

func leaverFuture(s *scene) (Outcome, error) {
	if _, err := s.say(0, 3, 5, 7); err != nil {
		return Outcome{}, err
	}
	a, err := s.devices[7].Seize()
	if err != nil {
		return Outcome{}, err
	}
	from := len(s.transcript)
	if err := s.remove(0, 7, new(OpCost)); err != nil {
		return Outcome{}, err
	}
	records, err := s.say(0, 3, 5, 3)
	if err != nil {
		return Outcome{}, err
	}
	return attempt(a, s.transcript[from:], texts(records)).tell("The removed member"), nil
}

func seizePast(s *scene) (Outcome, error) {
	records, err := s.say(0, 3, 5, 3, 0)
	if err != nil {
		return Outcome{}, err
	}
	a, err := s.devices[2].Seize()
	if err != nil {
		return Outcome{}, err
	}
	return attempt(a, s.transcript, texts(records)).tell("With the device's state the adversary"), nil
}

func seizeFuture(s *scene) (Outcome, error) {
	a, err := s.seizeTalking()
	if err != nil {
		return Outcome{}, err
	}
	records, err := s.say(0, 3, 5, 3)
	if err != nil {
		return Outcome{}, err
	}
	return attempt(a, records, texts(records)).tell("With the device's state the adversary"), nil
}

// seizeTalking has the members talk and then copies the state of member 2.
func (s *scene) seizeTalking() (protocols.Adversary, error) {
	if _, err := s.say(0, 2, 3, 5); err != nil {
		return nil, err
	}
	return s.devices[2].Seize()
}

// seizeHealed lets the adversary follow all the way; only what is said after the
// update and two rounds of conversation counts.
func seizeHealed(s *scene) (Outcome, error) {
	a, err := s.seizeTalking()
	if err != nil {
		return Outcome{}, err
	}
	from := len(s.transcript)
	can, err := s.update(2, new(OpCost))
	if err != nil {
		return Outcome{}, err
	}
	for range 2 {
		if _, err := s.say(2, 0, 3, 5); err != nil {
			return Outcome{}, err
		}
	}
	records, err := s.say(0, 3, 5, 3)
	if err != nil {
		return Outcome{}, err
	}
	o := attempt(a, s.transcript[from:], texts(records)).tell("After the update the adversary")
	if !can {
		o = o.tell("The design has no update; after two rounds of conversation the adversary")
	}
	return o, nil
}

// keySwap runs two groups of the same three names. In one the server plays
// member 1, in the other it plays members 0 and 2 to the real member 1, and it
// passes on what it reads.
func keySwap(s *scene, compare bool) (Outcome, error) {
	front, back := &scene{design: s.design, flaw: s.flaw}, &scene{design: s.design, flaw: s.flaw}
	for _, x := range []*scene{front, back} {
		w, err := newWorld(s.design, s.flaw)
		if err != nil {
			return Outcome{}, err
		}
		x.world = w
		ids, err := w.users(3, 3)
		if err != nil {
			return Outcome{}, err
		}
		if err := w.create(ids, new(OpCost)); err != nil {
			return Outcome{}, err
		}
	}
	o := Outcome{Tried: 3}
	if compare {
		seen, real := front.devices[0].Fingerprint(1), back.devices[1].Fingerprint(1)
		if seen != nil && !bytes.Equal(seen, real) {
			o.Verdict, o.Noticed = Safe, "fingerprints differ"
			o.Sentence = "Comparing fingerprints showed that the key was not the member's, before anything was said."
			return o, nil
		}
	}
	for range o.Tried {
		text := front.text(0)
		if err := front.send(0, text, new(OpCost)); err != nil {
			return Outcome{}, err
		}
		// front's member 1 is the server's; that it has read the text is checked
		// by its device having shown it.
		if m := front.byText[string(text)]; m.unread[1] {
			continue
		}
		if err := back.send(0, text, new(OpCost)); err != nil {
			return Outcome{}, err
		}
		if !back.byText[string(text)].unread[1] {
			o.Recovered++
			o.Sample = string(text)
		}
	}
	o.Verdict = verdict(o.Recovered, o.Tried)
	o = o.tell("The server in the middle")
	if compare {
		o.Sentence += " There are no keys of members to compare."
	} else {
		o.Sentence += " The member it stood in for was shown them as genuine."
	}
	return o, nil
}
