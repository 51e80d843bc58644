package sim

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Report is what a simulation found. Its JSON form is
//
//	{"suite","sizes":[{"members","commits","agreed",
//	 "treekem":{"commit_bytes","seals","ns"},"bulk_add":{…},"per_member":{…}}],
//	 "growth":{"treekem_bytes_exponent","per_member_bytes_exponent"}}
type Report struct {
	Suite  string       `json:"suite"`
	Sizes  []SizeReport `json:"sizes"`
	Growth Growth       `json:"growth"`

	Seed  uint64 `json:"-"`
	Cores int    `json:"-"` // that the members' work ran on
}

// SizeReport is what groups of one size cost.
type SizeReport struct {
	Members int `json:"members"`
	// Commits is the number of commits made in groups of this size.
	Commits int `json:"commits"`
	// Agreed tells that after each of them all members had the same epoch
	// authenticator, and a message reached them all.
	Agreed bool `json:"agreed"`
	// TreeKEM is an update commit while the tree is full, the median of some.
	TreeKEM Cost `json:"treekem"`
	// BulkAdd is the first update commit after a bulk add.
	BulkAdd Cost `json:"bulk_add"`
	// PerMember is the same re-keying by a fresh key sealed to each member.
	PerMember Cost `json:"per_member"`

	Process  time.Duration `json:"-"` // median time in which a member processes a measured commit
	Acting   int           `json:"-"` // members that processed each commit, if not all
	Joined   int           `json:"-"` // members that joined by Welcome
	Removed  int           `json:"-"` // members removed
	Messages int           `json:"-"` // messages read by all
	Shut     Attempts      `json:"-"` // what removed members tried
	Late     Attempts      `json:"-"` // what latecomers tried
	Elapsed  time.Duration `json:"-"`
}

// Cost is what re-keying a group once costs the member that does it.
type Cost struct {
	CommitBytes int           `json:"commit_bytes"` // on the wire
	Seals       int           `json:"seals"`        // HPKE encryptions, counted in the message
	Elapsed     time.Duration `json:"ns"`           // on the clock, with all cores
}

// Attempts are reads that must fail: how many members tried how often. A
// success ends the simulation with an error.
type Attempts struct {
	Members, Tries int
}

func (a *Attempts) add(b Attempts) {
	a.Members += b.Members
	a.Tries += b.Tries
}

// Growth is how the size of the re-keying message depends on the number of
// members: e in bytes ∝ membersᵉ, fitted over the sizes from 16 on (over all
// when fewer than two are that large), where fixed parts no longer dominate.
type Growth struct {
	TreeKEM   float64 `json:"treekem_bytes_exponent"`
	PerMember float64 `json:"per_member_bytes_exponent"`
}

// fitFrom is the smallest size that counts for Growth.
const fitFrom = 16

// fitted returns the sizes to fit over, and what cost has there.
func (r *Report) fitted(cost func(*SizeReport) float64) (x, y []float64) {
	from := 0
	if n := len(r.Sizes); n >= 2 && r.Sizes[n-2].Members >= fitFrom {
		from = fitFrom
	}
	for i := range r.Sizes {
		if r.Sizes[i].Members >= from {
			x = append(x, float64(r.Sizes[i].Members))
			y = append(y, cost(&r.Sizes[i]))
		}
	}
	return x, y
}

func (r *Report) fit() {
	r.Growth.TreeKEM = Exponent(r.fitted(func(s *SizeReport) float64 { return float64(s.TreeKEM.CommitBytes) }))
	r.Growth.PerMember = Exponent(r.fitted(func(s *SizeReport) float64 { return float64(s.PerMember.CommitBytes) }))
}

// WriteJSON writes the JSON form.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteCSV writes a header and a line for each size.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	header := []string{"members", "commits", "agreed"}
	for _, name := range []string{"treekem", "bulk_add", "per_member"} {
		header = append(header, name+"_commit_bytes", name+"_seals", name+"_ns")
	}
	c.Write(append(header, "process_ns"))
	for i := range r.Sizes {
		s := &r.Sizes[i]
		row := []string{strconv.Itoa(s.Members), strconv.Itoa(s.Commits), strconv.FormatBool(s.Agreed)}
		for _, cost := range []Cost{s.TreeKEM, s.BulkAdd, s.PerMember} {
			row = append(row, strconv.Itoa(cost.CommitBytes), strconv.Itoa(cost.Seals), strconv.FormatInt(int64(cost.Elapsed), 10))
		}
		c.Write(append(row, strconv.FormatInt(int64(s.Process), 10)))
	}
	c.Flush()
	return c.Error()
}

// WriteTable writes the report for a reader: a line per size, then how each cost
// grows, then what was shown along the way.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "Re-keying a group once: %s, schedule of seed %d, %d cores\n\n", r.Suite, r.Seed, r.Cores)
	fmt.Fprintf(w, "%-9s%-39s%-28s%s\n", "", "   TreeKEM, full tree", "   TreeKEM, after bulk add", "   a key sealed to each")
	fmt.Fprintf(w, "%8s ", "members")
	fmt.Fprintf(w, "%9s %6s %10s %11s", "bytes", "seals", "create", "process")
	fmt.Fprintf(w, "%9s %6s %10s %9s %6s %10s\n", "bytes", "seals", "create", "bytes", "seals", "create")
	for i := range r.Sizes {
		s := &r.Sizes[i]
		fmt.Fprintf(w, "%8d %s %11s%s %s\n", s.Members, s.TreeKEM.cells(), round(s.Process), s.BulkAdd.cells(), s.PerMember.cells())
	}
	fmt.Fprintln(w)
	r.writeGrowth(w)
	return r.writeShown(w)
}

// cells are the three columns of a cost.
func (c Cost) cells() string {
	return fmt.Sprintf("%9d %6d %10s", c.CommitBytes, c.Seals, round(c.Elapsed))
}

// round returns d with about three digits.
func round(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// writeGrowth says in a line each how the costs grow.
func (r *Report) writeGrowth(w io.Writer) {
	if len(r.Sizes) < 2 {
		return
	}
	bytes := func(c func(*SizeReport) Cost) (x, y []float64) {
		return r.fitted(func(s *SizeReport) float64 { return float64(c(s).CommitBytes) })
	}
	seals := func(c func(*SizeReport) Cost) (x, y []float64) {
		return r.fitted(func(s *SizeReport) float64 { return float64(c(s).Seals) })
	}
	tree := func(s *SizeReport) Cost { return s.TreeKEM }
	bulk := func(s *SizeReport) Cost { return s.BulkAdd }
	each := func(s *SizeReport) Cost { return s.PerMember }
	fmt.Fprintf(w, "TreeKEM, full tree: each doubling of the group adds %.0f bytes and %.1f seals: log(n). Fitted: bytes ∝ n^%.2f\n",
		PerDoubling(bytes(tree)), PerDoubling(seals(tree)), r.Growth.TreeKEM)
	fmt.Fprintf(w, "TreeKEM, after bulk add: each member adds %.0f bytes and %.1f seals to the first re-key, as all parents are blank: n. Fitted: bytes ∝ n^%.2f\n",
		slope(bytes(bulk)), slope(seals(bulk)), Exponent(bytes(bulk)))
	fmt.Fprintf(w, "A key sealed to each: each member adds %.0f bytes and %.1f seals, every time: n. Fitted: bytes ∝ n^%.2f\n",
		slope(bytes(each)), slope(seals(each)), r.Growth.PerMember)
}

// writeShown says what was shown besides the costs.
func (r *Report) writeShown(w io.Writer) error {
	var all SizeReport
	agreed := true
	for i := range r.Sizes {
		s := &r.Sizes[i]
		all.Commits += s.Commits
		all.Joined += s.Joined
		all.Removed += s.Removed
		all.Messages += s.Messages
		all.Shut.add(s.Shut)
		all.Late.add(s.Late)
		all.Elapsed += s.Elapsed
		agreed = agreed && s.Agreed
		if s.Acting > 0 {
			fmt.Fprintf(w, "Of the %d members, %d processed each commit; the others' leaves and keys are as real.\n", s.Members, s.Acting)
		}
	}
	if !agreed {
		_, err := fmt.Fprintln(w, "\nNOT AGREED: members disagreed, or read what they must not.")
		return err
	}
	fmt.Fprintf(w, "\n%d commits: after each, all members had the same epoch authenticator; %d messages reached all of them.\n",
		all.Commits, all.Messages)
	fmt.Fprintf(w, "%d members joined by Welcome; as latecomers they tried %d earlier messages and opened none.\n",
		all.Joined, all.Late.Tries)
	_, err := fmt.Fprintf(w, "%d members were removed; they tried %d later messages and opened none. (%s)\n",
		all.Removed, all.Shut.Tries, all.Elapsed.Round(10*time.Millisecond))
	return err
}
