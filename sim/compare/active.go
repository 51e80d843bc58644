package compare

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/treekem/mls/sim/protocols"
)

// inFlight is a packet that the server holds for its recipients.
type inFlight struct {
	packet protocols.Packet
	held   []byte
}

// compose has a member write without anything being delivered yet.
func (s *scene) compose(by ID, text []byte) ([]inFlight, error) {
	packets, err := s.devices[by].Send(text)
	if err != nil {
		return nil, err
	}
	return s.take(packets)
}

// take has the server take packets in.
func (s *scene) take(packets []protocols.Packet) ([]inFlight, error) {
	var out []inFlight
	for _, p := range packets {
		held := p.Body
		if s.env.Server != nil {
			var err error
			if held, err = s.env.Server.Accept(p); err != nil {
				return nil, err
			}
		}
		out = append(out, inFlight{p, held})
	}
	return out, nil
}

// shown is what became of a delivery to one member.
type shown struct {
	text    []byte
	from    ID
	notice  string
	refused error
}

// pass delivers packets to one member, and to nobody else.
func (s *scene) pass(list []inFlight, to ID) []shown {
	var out []shown
	for _, f := range list {
		mine := false
		for _, id := range f.packet.To {
			mine = mine || id == to
		}
		if !mine {
			continue
		}
		p := protocols.Packet{From: f.packet.From, To: []ID{to}, Kind: f.packet.Kind, Body: f.held}
		if s.env.Server != nil {
			var err error
			if p, err = s.env.Server.Forward(f.held, f.packet, to); err != nil {
				out = append(out, shown{refused: err})
				continue
			}
		}
		e, err := s.devices[to].Receive(p)
		if err == nil && len(e.Replies) > 0 {
			// Answers of interactive designs go to whoever is on the same side.
			if more, err := s.take(e.Replies); err == nil {
				s.answers = append(s.answers, more...)
			}
		}
		out = append(out, shown{e.Text, e.From, e.Notice, err})
	}
	return out
}

// gather adds up what a member was shown: the texts, and the first warning.
func gather(list []shown) (texts [][]byte, noticed string) {
	for _, x := range list {
		if x.text != nil {
			texts = append(texts, x.text)
		}
		if noticed == "" && x.notice != "" {
			noticed = x.notice
		}
		if noticed == "" && x.refused != nil {
			noticed = "a packet is refused: " + reason(x.refused)
		}
	}
	return texts, noticed
}

// reason is an error without the name of a package.
func reason(err error) string {
	switch {
	case errors.Is(err, protocols.ErrReplayed):
		return "it came before"
	case errors.Is(err, protocols.ErrNoKey):
		return "there is no key for it"
	}
	return "it is not genuine"
}

// watcher is the member whose screen the active attacks look at.
const watcher ID = 4

func forge(s *scene) (Outcome, error) {
	if _, err := s.say(0, 3); err != nil {
		return Outcome{}, err
	}
	text := s.text(0)
	packets, err := s.devices[5].Forge(0, text)
	if err != nil {
		return Outcome{}, err // an attack that is not made is not withstood
	}
	for i := range packets {
		// The network says so too, but for a connection's owner.
		packets[i].From = 0
		if s.env.Server != nil {
			packets[i].From = 5
		}
	}
	o := Outcome{Tried: 1, Verdict: Safe}
	list, err := s.take(packets)
	refused := err != nil
	for _, x := range s.pass(list, watcher) {
		refused = refused || x.refused != nil
		if bytes.Equal(x.text, text) && x.from == 0 {
			o.Recovered, o.Sample, o.Verdict = 1, string(text), Broken
		}
	}
	switch {
	case o.Verdict == Broken:
		o.Sentence = fmt.Sprintf("Member 5 wrote “%s”, and it was shown as member 0's.", text)
	case refused:
		o.Noticed = "refused"
		o.Sentence = "Member 5's best attempt to write as member 0 was refused."
	default:
		return Outcome{}, errors.New("compare: a forged message was neither shown nor refused")
	}
	return o, nil
}

// compose3 has member 0 write three messages after one that all have read.
func (s *scene) compose3() (lists [][]inFlight, texts [][]byte, err error) {
	if _, err := s.say(0, 3); err != nil {
		return nil, nil, err
	}
	for range 3 {
		text := s.text(0)
		list, err := s.compose(0, text)
		if err != nil {
			return nil, nil, err
		}
		lists, texts = append(lists, list), append(texts, text)
	}
	return lists, texts, nil
}

func serverDrops(s *scene) (Outcome, error) {
	lists, _, err := s.compose3()
	if err != nil {
		return Outcome{}, err
	}
	seen := append(s.pass(lists[0], watcher), s.pass(lists[2], watcher)...)
	_, noticed := gather(seen)
	return tampered(noticed, "The second of three messages was dropped", "at the third"), nil
}

func serverReorders(s *scene) (Outcome, error) {
	lists, texts, err := s.compose3()
	if err != nil {
		return Outcome{}, err
	}
	var seen []shown
	for _, i := range []int{0, 2, 1} {
		seen = append(seen, s.pass(lists[i], watcher)...)
	}
	got, noticed := gather(seen)
	o := tampered(noticed, "The third of three messages was delivered before the second", "then")
	if len(got) == 3 && !bytes.Equal(got[1], texts[2]) {
		return o, errors.New("the order was not changed")
	}
	return o, nil
}

func serverReplays(s *scene) (Outcome, error) {
	lists, texts, err := s.compose3()
	if err != nil {
		return Outcome{}, err
	}
	s.pass(lists[0], watcher)
	again := s.pass(lists[0], watcher)
	o := Outcome{Tried: 1, Verdict: Safe, Noticed: "refused", Sentence: "The second copy of a message was refused."}
	for _, x := range again {
		if bytes.Equal(x.text, texts[0]) {
			o = Outcome{Tried: 1, Recovered: 1, Verdict: Broken, Sample: string(texts[0])}
			o.Sentence = fmt.Sprintf("“%s” was shown twice, as if it had been said twice.", texts[0])
		}
	}
	return o, nil
}

// serverFlips changes every byte position of a message in turn, in as many
// copies of the group's state as the design's own refusals allow.
func serverFlips(s *scene) (Outcome, error) {
	if _, err := s.say(0, 3); err != nil {
		return Outcome{}, err
	}
	o := Outcome{Verdict: Safe, Noticed: "refused"}
	const tries = 12
	for k := range tries {
		text := s.text(0)
		list, err := s.compose(0, text)
		if err != nil {
			return o, err
		}
		for i := range list {
			if list[i].packet.Kind == protocols.Message && len(list[i].held) > 0 {
				changed := bytes.Clone(list[i].held)
				changed[len(changed)-1-k*(len(changed)/4)/tries] ^= 1
				list[i].held = changed
			}
		}
		o.Tried++
		for _, x := range s.pass(list, watcher) {
			if x.text != nil && !bytes.Equal(x.text, text) {
				o.Recovered++
				o.Sample = string(x.text)
			}
		}
	}
	o.Verdict = verdict(o.Recovered, o.Tried)
	if o.Recovered > 0 {
		o.Noticed = ""
		o.Sentence = fmt.Sprintf("%d of %d changed messages were shown as genuine, such as “%s”.", o.Recovered, o.Tried, o.Sample)
		return o, nil
	}
	o.Sentence = fmt.Sprintf("All %d changed messages were refused.", o.Tried)
	return o, nil
}

func tampered(noticed, what, when string) Outcome {
	o := Outcome{Tried: 1, Recovered: 1, Verdict: Broken, Sentence: what + ", and nobody noticed."}
	if noticed != "" {
		o.Recovered, o.Verdict, o.Noticed = 0, Safe, noticed
		o.Sentence = fmt.Sprintf("%s; %s the member was told: %s.", what, when, noticed)
	}
	return o
}

// halves are the two parts of the group that the server keeps apart.
func (s *scene) halves() (a, b []ID) {
	return s.members[:len(s.members)/2], s.members[len(s.members)/2:]
}

// passAll delivers to several members and returns the first warning.
func (s *scene) passAll(list []inFlight, to []ID) (noticed string) {
	for _, id := range to {
		if _, n := gather(s.pass(list, id)); n != "" && noticed == "" {
			noticed = n
		}
	}
	return noticed
}

// splitMessages shows member 0's message to its half only and member 4's to the
// other, then lets everything through again: a message of each, and a change of
// membership.
func splitMessages(s *scene) (Outcome, error) {
	if _, err := s.say(0, 4); err != nil {
		return Outcome{}, err
	}
	a, b := s.halves()
	for _, side := range []struct {
		by ID
		to []ID
	}{{0, a}, {4, b}} {
		list, err := s.compose(side.by, s.text(side.by))
		if err != nil {
			return Outcome{}, err
		}
		s.passAll(list, side.to)
	}
	const what = "Each half saw a message that the other did not"
	for _, by := range []ID{0, 4} {
		list, err := s.compose(by, s.text(by))
		if err != nil {
			return Outcome{}, err
		}
		if n := s.passAll(list, s.members); n != "" {
			return tampered(n, what, "at the next message of one of them"), nil
		}
	}
	packets, err := s.devices[0].Remove(7)
	if err != nil {
		return Outcome{}, err
	}
	if n, err := s.settle(packets); err != nil || n != "" {
		return tampered(n, what, "when the membership changed next"), err
	}
	return tampered("", what, ""), nil
}

// settle delivers packets and all answers to everybody.
func (s *scene) settle(packets []protocols.Packet) (noticed string, err error) {
	list, err := s.take(packets)
	if err != nil {
		return "", err
	}
	for len(list) > 0 {
		s.answers = nil
		if n := s.passAll(list, s.members); n != "" && noticed == "" {
			noticed = n
		}
		list = s.answers
	}
	return noticed, nil
}

// splitKeys shows member 0's removal of member 7 to one half and member 4's of
// member 6 to the other, and then lets everything through.
func splitKeys(s *scene) (Outcome, error) {
	if _, err := s.say(0, 4); err != nil {
		return Outcome{}, err
	}
	a, b := s.halves()
	for _, side := range []struct {
		by, who ID
		to      []ID
	}{{0, 7, a}, {4, 6, b}} {
		packets, err := s.devices[side.by].Remove(side.who)
		if err != nil {
			return Outcome{}, err
		}
		list, err := s.take(packets)
		for err == nil && len(list) > 0 {
			s.answers = nil
			s.passAll(list, side.to)
			list = s.answers
		}
		if err != nil {
			return Outcome{}, err
		}
	}
	const what = "Each half was shown another change of membership"
	for _, by := range []ID{0, 4} {
		list, err := s.compose(by, s.text(by))
		if errors.Is(err, protocols.ErrNoKey) {
			return tampered("no key can be agreed on while the halves are apart", what, "at once"), nil
		}
		if err != nil {
			return Outcome{}, err
		}
		if n := s.passAll(list, s.members[:6]); n != "" {
			return tampered(n, what, "at the next message"), nil
		}
	}
	o := tampered("", what, "")
	o.Sentence = "Each half was shown another change of membership; both went on reading each other's messages, and nobody noticed."
	return o, nil
}
