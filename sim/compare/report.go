package compare

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/sim/protocols"
)

// Config says what to compare.
type Config struct {
	Workload Workload
	Designs  []protocols.Design
	Attacks  []Attack
	// Sweep are group sizes at which a message and a re-keying are measured.
	Sweep []int
	// Progress is told how far the comparison is; nil is fine.
	Progress func(doing string, done, total int)
}

// DesignReport is what was found of one design.
type DesignReport struct {
	Number     int    `json:"number"`
	Name       string `json:"name"`
	Title      string `json:"title"`
	Simplified string `json:"simplified"`
	// Skipped says why the workload was not run.
	Skipped string    `json:"skipped,omitempty"`
	Costs   *Costs    `json:"costs,omitempty"`
	Attacks []Outcome `json:"attacks"`
	Sweep   []Point   `json:"sweep,omitempty"`
	Growth  *Growth   `json:"growth,omitempty"`
}

// Report is what a comparison found.
type Report struct {
	Workload Workload       `json:"workload"`
	Designs  []DesignReport `json:"designs"`
	Attacks  []Attack       `json:"attacks"`
	Tree     *TreeReport    `json:"tree,omitempty"`
	Film     *Film          `json:"film,omitempty"`
	Elapsed  time.Duration  `json:"elapsed_ns"`
}

// Run compares. The error says what was not as it must be.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	start := time.Now()
	r := &Report{Workload: cfg.Workload, Attacks: cfg.Attacks}
	// Each design is as many units as it has phases; a workload is the longest.
	const unit = 100
	total := len(cfg.Designs) * 3 * unit
	for i, d := range cfg.Designs {
		show := func(phase string, part, done, of int) {
			if cfg.Progress != nil {
				cfg.Progress(d.Name+": "+phase, (3*i+part)*unit+unit*done/max(of, 1), total)
			}
		}
		rep := DesignReport{Number: d.Number, Name: d.Name, Title: d.Title, Simplified: d.Simplified, Attacks: []Outcome{}}
		if d.MaxMembers > 0 && cfg.Workload.Members > d.MaxMembers {
			rep.Skipped = fmt.Sprintf("not run with more than %d members: every member answers every other", d.MaxMembers)
		} else {
			var err error
			rep.Costs, err = Play(ctx, d, cfg.Workload, func(done, of int) { show("the workload", 0, done, of) })
			if err != nil {
				return r, err
			}
		}
		if err := rep.attack(ctx, d, cfg.Attacks, func(done int) { show("attacks", 1, done, len(cfg.Attacks)) }); err != nil {
			return r, err
		}
		if len(cfg.Sweep) > 0 {
			if err := rep.sweep(ctx, d, cfg.Sweep, func(done int) { show("group sizes", 2, done, len(cfg.Sweep)) }); err != nil {
				return r, err
			}
		}
		r.Designs = append(r.Designs, rep)
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// attack carries out the attacks, each on a group of its own.
func (r *DesignReport) attack(ctx context.Context, d protocols.Design, attacks []Attack, show func(int)) error {
	r.Attacks = make([]Outcome, len(attacks))
	if len(attacks) > 0 {
		show(0)
	}
	return parallel.Each(len(attacks), 1, func(i int) error {
		var err error
		r.Attacks[i], err = Try(ctx, d, attacks[i], protocols.NoFlaw)
		return err
	})
}

// Design returns the report on a design; nil if it isn't there.
func (r *Report) Design(name string) *DesignReport {
	for i := range r.Designs {
		if r.Designs[i].Name == name {
			return &r.Designs[i]
		}
	}
	return nil
}

// Outcome returns what an attack on the design found; false if it wasn't tried.
func (r *DesignReport) Outcome(name string) (Outcome, bool) {
	for _, o := range r.Attacks {
		if o.Name == name {
			return o, true
		}
	}
	return Outcome{}, false
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteCSV writes a line for each design and kind of operation.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{
		"design", "operation", "count", "initiator_sent_bytes", "initiator_received_bytes", "initiator_public_key_ops",
		"initiator_symmetric_ops", "initiator_cpu_ns", "others", "others_received_bytes", "others_sent_bytes",
		"others_public_key_ops", "others_symmetric_ops", "others_cpu_ns", "joiner_received_bytes", "joiner_public_key_ops",
		"joiner_cpu_ns", "server_in_bytes", "server_out_bytes", "packets", "responders", "state_bytes",
	})
	for i := range r.Designs {
		d := &r.Designs[i]
		if d.Costs == nil {
			continue
		}
		for k, op := range d.Costs.ops() {
			row := []string{d.Name, opNames[k]}
			for _, n := range []int{
				op.Count, op.Initiator.SentBytes, op.Initiator.ReceivedBytes, op.Initiator.PublicKey, op.Initiator.Symmetric,
				int(op.Initiator.CPU), op.Readers, op.Others.ReceivedBytes, op.Others.SentBytes, op.Others.PublicKey,
				op.Others.Symmetric, int(op.Others.CPU), op.Joiner.ReceivedBytes, op.Joiner.PublicKey, int(op.Joiner.CPU),
				op.ServerIn, op.ServerOut, op.Packets, op.Responders, d.Costs.StateBytes,
			} {
				row = append(row, strconv.Itoa(n))
			}
			c.Write(row)
		}
	}
	c.Flush()
	return c.Error()
}

var opNames = []string{"create", "join", "leave", "update", "message"}
