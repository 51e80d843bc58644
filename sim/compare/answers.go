package compare

import (
	"fmt"
	"strings"
)

// answer is a question that people ask, answered with the numbers of the run.
type answer struct {
	Question, Text string
}

// answers writes the text of the page from what was found; a question whose
// designs were not run is left out.
func (r *Report) answers() []answer {
	var out []answer
	for _, f := range []func(*Report) (answer, bool){
		answerSealed, answerShared, answerLeave, answerRatchets, answerSenderKeys, answerServer, answerTree, answerMLS,
	} {
		if a, ok := f(r); ok {
			out = append(out, a)
		}
	}
	return out
}

// messageUp is what a sender uploads for one message.
func (d *DesignReport) messageUp() string {
	return Bytes(per(d.Costs.Message.Initiator.SentBytes, d.Costs.Message.Count))
}

// found is the count of an attack, as "5 of 5".
func (d *DesignReport) found(attack string) string {
	o, ok := d.Outcome(attack)
	if !ok {
		return "(not tried)"
	}
	return fmt.Sprintf("%d of %d", o.Recovered, o.Tried)
}

// have returns the reports on designs whose workload was run.
func (r *Report) have(names ...string) ([]*DesignReport, bool) {
	var out []*DesignReport
	for _, n := range names {
		d := r.Design(n)
		if d == nil || d.Costs == nil || len(d.Attacks) < len(Attacks()) {
			return nil, false
		}
		out = append(out, d)
	}
	return out, true
}

func answerSealed(r *Report) (answer, bool) {
	d, ok := r.have("sealed", "pgp")
	if !ok {
		return answer{}, false
	}
	return answer{"Can't we just encrypt each message to each member's public key?", fmt.Sprintf(
		"You can, and it is what PGP did. With %d members one short message became %s in as many ciphertexts, or %s with one payload and a wrapped key for each. "+
			"The price comes later: the keys never change, so whoever seized one device read %s of the earlier messages in the run, and everything after, for good. "+
			"Nobody noticed a message that the server dropped, repeated or moved.",
		r.Workload.Members, d[0].messageUp(), d[1].messageUp(), d[0].found("seize-past"))}, true
}

func answerShared(r *Report) (answer, bool) {
	d, ok := r.have("hybrid", "groupkey")
	if !ok {
		return answer{}, false
	}
	return answer{"Why not share one group key?", fmt.Sprintf(
		"A message then costs %s, whatever the size of the group. But everybody holds the same key, so a member could write in another's name (%s of the attempts were shown as genuine), "+
			"a seized device gave away %s of the earlier messages, and a new key has to be sealed to every member: %s for one leave.",
		d[0].messageUp(), d[0].found("forge"), d[0].found("seize-past"),
		Bytes(per(d[0].Costs.Leave.Initiator.SentBytes, d[0].Costs.Leave.Count)))}, true
}

func answerLeave(r *Report) (answer, bool) {
	d, ok := r.have("hybrid", "hybrid-lax", "mls")
	if !ok {
		return answer{}, false
	}
	return answer{"What breaks when somebody leaves, or joins?", fmt.Sprintf(
		"Nothing, if the key changes; everything, if it doesn't. With the key kept on joins the newcomer read %s of the messages from before; with the key renewed, %s. "+
			"What differs is the price of changing it. Here a leave cost its initiator %s with a shared key and %s with MLS, whose tree had been filled by only a few commits.",
		d[1].found("joiner-past"), d[0].found("joiner-past"),
		Bytes(per(d[0].Costs.Leave.Initiator.SentBytes, d[0].Costs.Leave.Count)),
		Bytes(per(d[2].Costs.Leave.Initiator.SentBytes, d[2].Costs.Leave.Count)))}, true
}

func answerRatchets(r *Report) (answer, bool) {
	d, ok := r.have("pairwise", "omemo")
	if !ok {
		return answer{}, false
	}
	return answer{"Signal's double ratchet is good; why not one for each pair?", fmt.Sprintf(
		"It is as safe as anything here: a seized device read %s earlier messages, and %s once the conversation had gone on for two rounds. "+
			"But each message is sent once per member: %s here, or %s with one payload; and every device keeps a session with every other, %s of state.",
		d[0].found("seize-past"), d[0].found("seize-healed"), d[0].messageUp(), d[1].messageUp(), Bytes(d[0].Costs.StateBytes))}, true
}

func answerSenderKeys(r *Report) (answer, bool) {
	d, ok := r.have("senderkeys")
	if !ok {
		return answer{}, false
	}
	growth := ""
	if s := d[0]; len(s.Sweep) > 0 {
		last := s.Sweep[len(s.Sweep)-1]
		growth = fmt.Sprintf(" With %d members a message is %s, and telling all that somebody left, with the new key that the next message needs, %s.", last.Members, Bytes(last.MessageBytes), Bytes(last.RekeyBytes))
	}
	return answer{"What does WhatsApp do, and why is that not enough?", fmt.Sprintf(
		"Each sender hands everybody a key of its own and then sends each message once.%s The past is safe (%s read). But chains only turn forward: "+
			"whoever copied a device once read %s of the messages even after the victim renewed its key, since the others' chains went on. They end when somebody leaves.",
		growth, d[0].found("seize-past"), d[0].found("seize-healed"))}, true
}

func answerServer(r *Report) (answer, bool) {
	d, ok := r.have("tls", "mls")
	if !ok {
		return answer{}, false
	}
	var fooled []string
	for i := range r.Designs {
		if o, _ := r.Designs[i].Outcome("key-swap"); o.Verdict != Safe {
			fooled = append(fooled, r.Designs[i].Name)
		}
	}
	return answer{"What if the server lies about keys?", fmt.Sprintf(
		"Then it sits in the middle, in every design: it read and passed on %s messages of MLS, and nobody noticed (fooled: %s). Encryption cannot mend that; comparing fingerprints did, in every design that has keys to compare. "+
			"With TLS alone there is nothing to compare: the server reads all of it anyway.",
		d[1].found("key-swap"), strings.Join(fooled, ", "))}, true
}

func answerTree(r *Report) (answer, bool) {
	d, ok := r.have("mls", "art")
	if !ok || len(d[0].Sweep) == 0 {
		return answer{}, false
	}
	first, last := d[0].Sweep[0], d[0].Sweep[len(d[0].Sweep)-1]
	text := fmt.Sprintf(
		"From %d to %d members the commit that renews the keys grew from %s to %s: with the logarithm of the size, where the tree is full. ART, the tree before TreeKEM, does the same with Diffie–Hellman keys, but had no way to add or remove members and no signature on messages (%s forgeries were shown as genuine).",
		first.Members, last.Members, Bytes(first.RekeyBytes), Bytes(last.RekeyBytes), d[1].found("forge"))
	if r.Tree != nil {
		if x, ok := r.Tree.worst(); ok {
			text += fmt.Sprintf(" It stays so only while members renew their keys by commits of their own: with one Update proposal of somebody else in each commit, %d members cost %.0f ciphertexts per commit instead of %.0f.", x.Members, x.Mean, r.Tree.baseline(x.Members))
		}
	}
	return answer{"What does the tree do?", text}, true
}

// worst is the largest history with one proposal per commit.
func (r *TreeReport) worst() (run TreeRun, ok bool) {
	return r.largest(r.Updates, "1 updates per commit")
}

// baseline is the mean without proposals.
func (r *TreeReport) baseline(members int) float64 {
	for _, x := range r.Updates {
		if x.Members == members && x.Name == "0 updates per commit" {
			return x.Mean
		}
	}
	return 0
}

func answerMLS(r *Report) (answer, bool) {
	d, ok := r.have("mls")
	if !ok {
		return answer{}, false
	}
	var won []string
	for i, a := range r.Attacks {
		if d[0].Attacks[i].Verdict != Safe {
			won = append(won, strings.ToLower(a.Title[:1])+a.Title[1:])
		}
	}
	return answer{"So what does MLS not protect?", fmt.Sprintf(
		"In this run %d of %d attacks succeeded against it: %s. The first is so for every design: who has a copy of a device is that device, until it updates. "+
			"The other is the application's to prevent, by checking credentials. MLS also can't stop a server from delivering nothing at all; it shows who belongs to the group and how large messages are.",
		len(won), len(r.Attacks), strings.Join(won, "; "))}, true
}
