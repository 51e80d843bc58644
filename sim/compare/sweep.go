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

// Growth is how the costs depend on the number of members.
type Growth struct {
	MessageBytes Fit `json:"message_bytes"`
	RekeyBytes   Fit `json:"rekey_bytes"`
	RekeyCPU     Fit `json:"rekey_cpu"`
}

// Fit is how a cost grows with the number of members n.
type Fit struct {
	// Exponent is e where the cost is fitted as c·nᵉ: near 1 for what grows
	// with n, near 0 for what grows with log n or not at all.
	Exponent float64 `json:"exponent"`
	// Law is "n" or "log n", whichever of a + b·n and a + b·log2 n comes closer
	// to what was measured; "1" if nothing grows.
	Law string `json:"law"`
	// PerDoubling is b of the second, what twice as many members add: in bytes or
	// nanoseconds.
	PerDoubling float64 `json:"per_doubling"`
	// OffLinear and OffLog are how far off the two are, as parts of the cost.
	OffLinear float64 `json:"off_n"`
	OffLog    float64 `json:"off_log_n"`
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
	return &Growth{
		MessageBytes: fit(points, func(p Point) float64 { return float64(p.MessageBytes) }),
		RekeyBytes:   fit(points, func(p Point) float64 { return float64(p.RekeyBytes) }),
		RekeyCPU:     fit(points, func(p Point) float64 { return float64(p.RekeyCPU) }),
	}
}

// flat is how much costs may differ between sizes that still count as the same.
const flat = 1.1

func fit(points []Point, cost func(Point) float64) Fit {
	var n, log, y []float64
	for _, p := range points {
		n = append(n, float64(p.Members))
		log = append(log, math.Log2(float64(p.Members)))
		y = append(y, cost(p))
	}
	round := func(x, unit float64) float64 { return math.Round(x/unit)*unit + 0 } // + 0: no -0
	f := Fit{Exponent: round(sim.Exponent(n, y), 0.01), Law: "1"}
	if slices.Min(y) <= 0 || slices.Max(y) < flat*slices.Min(y) {
		return f
	}
	var b float64
	_, f.OffLinear = line(n, y)
	b, f.OffLog = line(log, y)
	f.PerDoubling = round(b, 1)
	if f.Law = "n"; f.OffLog < f.OffLinear {
		f.Law = "log n"
	}
	return f
}

// line fits y = a + b·x by least squares on what it is off as parts of y, so that
// small sizes count as much as large ones. It returns b and the mean square root of
// what it is off.
func line(x, y []float64) (b, off float64) {
	var w, wx, wy, wxx, wxy float64
	for i := range x {
		k := 1 / (y[i] * y[i])
		w += k
		wx += k * x[i]
		wy += k * y[i]
		wxx += k * x[i] * x[i]
		wxy += k * x[i] * y[i]
	}
	if d := w*wxx - wx*wx; d > 0 {
		b = (w*wxy - wx*wy) / d
	}
	a := (wy - b*wx) / w
	for i := range x {
		e := (a+b*x[i])/y[i] - 1
		off += e * e / float64(len(x))
	}
	return b, math.Sqrt(off)
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

// repeats is how often a cost is measured, unless it is long. The least CPU time
// counts: whatever else a machine does only adds to it.
const (
	repeats = 3
	long    = 100 * time.Millisecond
)

// measured runs an operation of member 0 a few times.
func (w *world) measured(f func(c *OpCost, i int) error) (bytes int, cpu time.Duration, err error) {
	for i := range repeats {
		var c OpCost
		if err := f(&c, i); err != nil {
			return 0, 0, err
		}
		bytes = c.Initiator.SentBytes
		if i == 0 || c.Initiator.CPU < cpu {
			cpu = c.Initiator.CPU
		}
		if cpu > long {
			break
		}
	}
	return bytes, cpu, nil
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
	for i := range repeats {
		var c OpCost
		if err := w.remove(0, last, &c); err != nil {
			return err
		}
		if err := w.send(0, fmt.Appendf(nil, "after %d", i), &c); err != nil {
			return err
		}
		bytes := c.Initiator.SentBytes - p.MessageBytes
		cpu := max(c.Initiator.CPU-p.MessageCPU, 0)
		if w.design.Interactive {
			// The first member's part is the same as everybody's.
			p.RekeyBytes = bytes + c.Others.SentBytes/max(c.Readers, 1)
			p.RekeyCPU = cpu + c.Others.CPU/time.Duration(max(c.Readers, 1))
			return nil
		}
		if i == 0 || cpu < p.RekeyCPU {
			p.RekeyBytes, p.RekeyCPU = bytes, cpu
		}
		if i == repeats-1 || cpu > long {
			return nil
		}
		if err := w.add(0, last, new(OpCost)); err != nil {
			return err
		}
		if err := w.send(0, fmt.Appendf(nil, "back %d", i), new(OpCost)); err != nil {
			return err
		}
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
	for i := range 4 * repeats { // they are short
		start := processClock()
		message, err := g.Protect(text, nil)
		protect := processClock() - start
		if err != nil {
			return p, err
		}
		p.MessageBytes = len(message)
		start = processClock()
		staged, err := g.Commit(group.CommitOptions{References: [][]byte{}})
		commit := processClock() - start
		if err != nil {
			return p, err
		}
		p.RekeyBytes = len(staged.Message())
		if i == 0 || protect < p.MessageCPU {
			p.MessageCPU = protect
		}
		if i == 0 || commit < p.RekeyCPU {
			p.RekeyCPU = commit
		}
		if err := g.Merge(staged); err != nil {
			return p, err
		}
	}
	return p, nil
}
