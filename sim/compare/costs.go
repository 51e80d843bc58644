package compare

import (
	"time"

	"github.com/treekem/mls/sim/protocols"
)

// Work is what somebody did.
type Work struct {
	SentBytes     int           `json:"sent_bytes"`
	ReceivedBytes int           `json:"received_bytes"` // from the directory too
	PublicKey     int           `json:"public_key_ops"`
	Symmetric     int           `json:"symmetric_ops"`
	CPU           time.Duration `json:"cpu_ns"`
}

func (w *Work) add(x Work) {
	w.SentBytes += x.SentBytes
	w.ReceivedBytes += x.ReceivedBytes
	w.PublicKey += x.PublicKey
	w.Symmetric += x.Symmetric
	w.CPU += x.CPU
}

// work adds what a device's meter counted since, and CPU time.
func (w *Work) work(spent time.Duration, before, after protocols.Meter) {
	w.CPU += spent
	w.PublicKey += after.PublicKey - before.PublicKey
	w.Symmetric += after.Symmetric - before.Symmetric
	w.ReceivedBytes += after.Fetched - before.Fetched
}

// OpCost adds up what all operations of one kind cost.
type OpCost struct {
	Count     int  `json:"count"`
	Initiator Work `json:"initiator"`
	// Others is the sum over all members that took it in; Readers says how many
	// that was, over all operations.
	Others  Work `json:"others"`
	Readers int  `json:"readers"`
	// Joiner is the part of the new member, in joins.
	Joiner     Work `json:"joiner"`
	ServerIn   int  `json:"server_in_bytes"`
	ServerOut  int  `json:"server_out_bytes"`
	Packets    int  `json:"packets"`
	Responders int  `json:"responders"` // members that had to answer
}

// add merges another operation of the same kind.
func (c *OpCost) add(x *OpCost) {
	c.Count += x.Count
	c.Initiator.add(x.Initiator)
	c.Others.add(x.Others)
	c.Joiner.add(x.Joiner)
	c.Readers += x.Readers
	c.ServerIn += x.ServerIn
	c.ServerOut += x.ServerOut
	c.Packets += x.Packets
	c.Responders += x.Responders
}

// per divides by a count that may be zero.
func per(total, count int) int {
	if count == 0 {
		return 0
	}
	return total / count
}

// Costs is what a workload cost with one design.
type Costs struct {
	Create  OpCost `json:"create"`
	Join    OpCost `json:"join"`
	Leave   OpCost `json:"leave"`
	Update  OpCost `json:"update"`
	Message OpCost `json:"message"`
	// StateBytes is the mean size of a member's state at the end.
	StateBytes int `json:"state_bytes"`
	// JoinerPackets is how many packets a joiner took in, on average, before it
	// could read the first message.
	JoinerPackets float64 `json:"joiner_packets"`
	// Forced is how often a member had to come online for an operation.
	Forced int `json:"forced_online"`
	// MustBeOnline says who, besides the initiator, had to act for an operation.
	MustBeOnline string        `json:"must_be_online"`
	Reads        int           `json:"reads"` // messages read, over all members
	Elapsed      time.Duration `json:"elapsed_ns"`
}

// Total is the sum over all operations.
func (c *Costs) Total() OpCost {
	var t OpCost
	for _, op := range c.ops() {
		t.add(op)
	}
	return t
}

func (c *Costs) ops() []*OpCost {
	return []*OpCost{&c.Create, &c.Join, &c.Leave, &c.Update, &c.Message}
}
