package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/sim"
	"github.com/treekem/mls/sim/protocols"
)

// Point is what a design costs its sender at one group size.
type Point struct {
	Members      int           `json:"members"`
	MessageBytes int           `json:"message_bytes"`
	MessageCPU   time.Duration `json:"message_cpu_ns"`
	// RekeyBytes and RekeyCPU are for new keys for the group: an update where the
	// design has one, else a leave with the message after it; where every message
	// has keys of its own, a message.
	RekeyBytes int           `json:"rekey_bytes"`
	RekeyCPU   time.Duration `json:"rekey_cpu_ns"`
}

// Growth is how the costs depend on the number of members: e in cost ∝ membersᵉ.
type Growth struct {
	MessageBytes float64 `json:"message_bytes_exponent"`
	RekeyBytes   float64 `json:"rekey_bytes_exponent"`
	RekeyCPU     float64 `json:"rekey_cpu_exponent"`
}

// sweepLimit is the largest group of an interactive design in a sweep: each
// member acts in these, so that the work grows with the square.
const sweepLimit = 128

func (r *DesignReport) sweep(ctx context.Context, d protocols.Design, sizes []int, show func(int)) error {
	for i, n := range sizes {
		if err := ctx.Err(); err != nil {
			return err
		}
		show(i)
		if d.Interactive && n > sweepLimit {
			break
		}
		p, err := measure(d, n)
		if err != nil {
			return fmt.Errorf("%s with %d members: %w", d.Name, n, err)
		}
		r.Sweep = append(r.Sweep, p)
	}
	r.Growth = fitGrowth(r.Sweep)
	return nil
}

func fitGrowth(points []Point) *Growth {
	var x, message, bytes, cpu []float64
	for _, p := range points {
		x = append(x, float64(p.Members))
		message = append(message, float64(p.MessageBytes))
		bytes = append(bytes, float64(p.RekeyBytes))
		cpu = append(cpu, float64(p.RekeyCPU))
	}
	e := func(y []float64) float64 { return math.Round(100*sim.Exponent(x, y))/100 + 0 } // + 0: no -0
	return &Growth{e(message), e(bytes), e(cpu)}
}

// measure finds out what a message and a re-keying cost with n members.
func measure(d protocols.Design, n int) (Point, error) {
	if d.Name == "mls" || d.Name == "mls-public" {
		return measureMLS(d, n)
	}
	w, err := newWorld(d, protocols.NoFlaw)
	if err != nil {
		return Point{}, err
	}
	acting := min(n, 3)
	if d.Interactive {
		acting = n
	}
	ids, err := w.users(n, acting)
	if err != nil {
		return Point{}, err
	}
	if err := w.create(ids, new(OpCost)); err != nil {
		return Point{}, err
	}
	if err := w.send(0, []byte("first"), new(OpCost)); err != nil {
		return Point{}, err
	}
	p := Point{Members: n}
	p.MessageBytes, p.MessageCPU, err = w.measured(func(c *OpCost, i int) error {
		return w.send(0, fmt.Appendf(nil, "message %0100d", i), c)
	})
	if err != nil {
		return p, err
	}
	return p, w.rekey(&p, ids[n-1])
}

// measured runs an operation of member 0 a few times.
func (w *world) measured(f func(c *OpCost, i int) error) (bytes int, cpu time.Duration, err error) {
	var spans []time.Duration
	for i := range 3 {
		var c OpCost
		if err := f(&c, i); err != nil {
			return 0, 0, err
		}
		bytes = c.Initiator.SentBytes
		spans = append(spans, c.Initiator.CPU)
	}
	slices.Sort(spans)
	return bytes, spans[1], nil
}

func (w *world) rekey(p *Point, last ID) error {
	switch w.design.Name {
	case "plain", "tls":
		return nil // there are no keys
	case "sealed", "pgp", "pairwise", "omemo":
		p.RekeyBytes, p.RekeyCPU = p.MessageBytes, p.MessageCPU
		return nil
	case "art":
		var err error
		p.RekeyBytes, p.RekeyCPU, err = w.measured(func(c *OpCost, _ int) error {
			_, err := w.update(0, c)
			return err
		})
		return err
	}
	var c OpCost
	if err := w.remove(0, last, &c); err != nil {
		return err
	}
	if err := w.send(0, []byte("after"), &c); err != nil {
		return err
	}
	p.RekeyBytes = c.Initiator.SentBytes - p.MessageBytes
	p.RekeyCPU = max(c.Initiator.CPU-p.MessageCPU, 0)
	if w.design.Interactive {
		// The first member's part is the same as everybody's.
		p.RekeyBytes += c.Others.SentBytes / max(c.Readers, 1)
		p.RekeyCPU += c.Others.CPU / time.Duration(max(c.Readers, 1))
	}
	return nil
}

// measureMLS uses a group whose tree is full, as it is once members have
// committed; package sim builds it without playing the n commits.
func measureMLS(d protocols.Design, n int) (Point, error) {
	suite, err := mls.LookupSuite(mls.X25519_AES128GCM_SHA256_Ed25519)
	if err != nil {
		return Point{}, err
	}
	cfg := group.Config{Authenticate: group.InsecureAnyCredential}
	if d.Name == "mls-public" {
		cfg.Handshakes = framing.WireFormatPublicMessage
	}
	s, err := sim.NewScenario(sim.ScenarioConfig{
		Suite: suite, Members: n, Full: true, Acting: []mls.LeafIndex{0, mls.LeafIndex(n - 1)}, Group: cfg,
	})
	if err != nil {
		return Point{}, err
	}
	p, g := Point{Members: n}, s.Groups[0]
	text := fmt.Appendf(nil, "message %0100d", 0)
	var messages, commits []time.Duration
	for range 5 {
		start := processClock()
		message, err := g.Protect(text, nil)
		messages = append(messages, processClock()-start)
		if err != nil {
			return p, err
		}
		p.MessageBytes = len(message)
		start = processClock()
		staged, err := g.Commit(group.CommitOptions{References: [][]byte{}})
		commits = append(commits, processClock()-start)
		if err != nil {
			return p, err
		}
		p.RekeyBytes = len(staged.Message())
		if err := g.Merge(staged); err != nil {
			return p, err
		}
	}
	slices.Sort(messages)
	slices.Sort(commits)
	p.MessageCPU, p.RekeyCPU = messages[2], commits[2]
	return p, nil
}
