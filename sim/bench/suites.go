package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// A SuiteResult is what a cipher suite costs in a group whose tree is full.
type SuiteResult struct {
	Code    mls.CipherSuite `json:"code"`
	Suite   string          `json:"suite"`
	Members int             `json:"n"`
	// Sizes in bytes: of a commit without proposals, as PublicMessage; of a key
	// package; of a Welcome for one, with and without the tree; of a message of
	// 1 KiB, as PrivateMessage.
	Commit       int `json:"commit_bytes"`
	KeyPackage   int `json:"key_package_bytes"`
	Welcome      int `json:"welcome_bytes"`
	WelcomeApart int `json:"welcome_apart_bytes"`
	Message      int `json:"message_bytes"`
	// Times: to make and process such a commit, to join with the tree inside the
	// Welcome, to protect and unprotect such a message.
	Create    time.Duration `json:"create_ns"`
	Process   time.Duration `json:"process_ns"`
	Join      time.Duration `json:"join_ns"`
	Protect   time.Duration `json:"protect_ns"`
	Unprotect time.Duration `json:"unprotect_ns"`
}

// RunSuites measures all suites, one after the other, in groups of the first size
// of cfg. Its trees, operations and suite don't matter. After an error it returns
// what was measured until then.
func RunSuites(ctx context.Context, cfg Config, suites []*mls.Suite) ([]SuiteResult, error) {
	cfg.Trees, cfg.Ops = []string{"full"}, []string{"create-update", "process-far", "join", "protect", "unprotect"}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Members = cfg.Members[:1]
	show := cfg.Progress
	var results []SuiteResult
	for i, s := range suites {
		cfg.Suite = s
		if show != nil {
			cfg.Progress = func(doing string, done, total int) { show(s.String()+": "+doing, i*total+done, len(suites)*total) }
		}
		ops, err := Run(ctx, cfg)
		if err != nil {
			return results, fmt.Errorf("%s: %w", s, err)
		}
		r := SuiteResult{Code: s.ID(), Suite: s.String(), Members: cfg.Members[0]}
		for _, op := range ops {
			switch op.Op {
			case "create-update":
				r.Create, r.Commit = op.Time, op.Bytes
			case "process-far":
				r.Process = op.Time
			case "join":
				r.Join, r.Welcome = op.Time, op.Bytes
			case "protect":
				r.Protect, r.Message = op.Time, op.Bytes
			case "unprotect":
				r.Unprotect = op.Time
			}
		}
		if err := r.sizes(s); err != nil {
			return results, fmt.Errorf("%s: %w", s, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// sizes adds the sizes of what no operation gives.
func (r *SuiteResult) sizes(s *mls.Suite) error {
	to, err := newNewcomer(s)
	if err != nil {
		return err
	}
	kp, err := wire.Marshal(to.kp)
	if err != nil {
		return err
	}
	// A Welcome without the tree is the same in a group of any size.
	b, err := newBed(s, "full", MinMembers)
	if err != nil {
		return err
	}
	in, err := b.invite(true)
	if err != nil {
		return err
	}
	r.KeyPackage, r.WelcomeApart = len(kp), len(in.welcome)
	return nil
}

// suiteColumns are the columns after the suite's code and name.
var suiteColumns = []struct {
	name  string
	value func(*SuiteResult) string
}{
	{"commit", func(r *SuiteResult) string { return fmt.Sprint(r.Commit) }},
	{"key package", func(r *SuiteResult) string { return fmt.Sprint(r.KeyPackage) }},
	{"Welcome", func(r *SuiteResult) string { return fmt.Sprint(r.Welcome) }},
	{"without tree", func(r *SuiteResult) string { return fmt.Sprint(r.WelcomeApart) }},
	{"message", func(r *SuiteResult) string { return fmt.Sprint(r.Message) }},
	{"create", func(r *SuiteResult) string { return digits(r.Create).String() }},
	{"process", func(r *SuiteResult) string { return digits(r.Process).String() }},
	{"join", func(r *SuiteResult) string { return digits(r.Join).String() }},
	{"protect", func(r *SuiteResult) string { return digits(r.Protect).String() }},
	{"unprotect", func(r *SuiteResult) string { return digits(r.Unprotect).String() }},
}

func (r *SuiteResult) code() string {
	if r.Code > 0xff {
		return fmt.Sprintf("%#04x", uint16(r.Code))
	}
	return fmt.Sprint(uint16(r.Code))
}

// WriteSuites writes results for a reader.
func WriteSuites(w io.Writer, results []SuiteResult) error {
	if len(results) == 0 {
		return errors.New("bench: nothing measured")
	}
	fmt.Fprintf(w, "%d members, full tree. Bytes, then times.\n\n", results[0].Members)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "suite\t")
	for _, c := range suiteColumns {
		fmt.Fprint(t, "\t", c.name)
	}
	fmt.Fprintln(t)
	for i := range results {
		fmt.Fprintf(t, "%s\t%s", results[i].code(), results[i].Suite)
		for _, c := range suiteColumns {
			fmt.Fprint(t, "\t", c.value(&results[i]))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// The measured table of a page on suites stands between these.
const (
	suitesBegin = "<!-- measured table"
	suitesEnd   = "<!-- end of the measured table -->\n"
)

// HasSuites reports whether a page has a place for the table.
func HasSuites(page []byte) bool {
	begin, end := bytes.Index(page, []byte(suitesBegin)), bytes.Index(page, []byte(suitesEnd))
	return begin >= 0 && end > begin
}

// ReplaceSuites returns the page with the table of these results in the place of
// the one that it has. command is what makes the table.
func ReplaceSuites(page []byte, results []SuiteResult, command string) ([]byte, error) {
	if !HasSuites(page) {
		return nil, fmt.Errorf("bench: the page has no place for the table, between %q and %q", suitesBegin, suitesEnd)
	}
	if len(results) == 0 {
		return nil, errors.New("bench: nothing measured")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s -->\n\nMade by `%s`, on %s/%s with %d cores and %s: %d members, full tree.\n\n| | suite |",
		suitesBegin, command, command, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version(), results[0].Members)
	for _, c := range suiteColumns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---:|", len(suiteColumns)) + "\n")
	for i := range results {
		fmt.Fprintf(&b, "| %s | `%s` |", results[i].code(), strings.TrimPrefix(results[i].Suite, "MLS_"))
		for _, c := range suiteColumns {
			fmt.Fprintf(&b, " %s |", c.value(&results[i]))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	before, _, _ := bytes.Cut(page, []byte(suitesBegin))
	_, after, _ := bytes.Cut(page, []byte(suitesEnd))
	return bytes.Join([][]byte{before, []byte(b.String() + suitesEnd), after}, nil), nil
}
