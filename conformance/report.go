package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/treekem/mls"
)

// A Report says how a run went. Its JSON form is
//
//	{"files":[{"file","kind","suites":[…],"cases","passed","failed","ns"}],"failed":N}
type Report struct {
	Files  []FileReport `json:"files"`
	Failed int          `json:"failed"` // the sum of the files' Failed
}

// A FileReport says how one file went.
type FileReport struct {
	// File is the name within the directory, if the run was of one directory
	// or of the embedded vectors, else the path.
	File string `json:"file"`
	// Kind is one of [Kinds], or empty for a file whose name is none.
	Kind string `json:"kind"`
	// Suites are the code points of the cases' cipher suites, sorted; empty for
	// the kinds that have none.
	Suites []mls.CipherSuite `json:"suites"`
	Cases  int               `json:"cases"`
	Passed int               `json:"passed"`
	// Failed is the number of failed cases, or 1 for a file that is missing or
	// of which not even the cases could be read.
	Failed int `json:"failed"`
	// Elapsed is how long the file took on the clock, in nanoseconds.
	Elapsed  time.Duration `json:"ns"`
	Failures []Failure     `json:"-"` // in the order of the cases
}

// A Failure says which field of which case failed, and why.
type Failure struct {
	Case   int    // index in the file, from 0; -1 when the whole file failed
	Field  string // as "epochs[2].exporter.secret"; empty for the case as a whole
	Reason string // without values
}

// String returns "case 3: epochs[2].commit: reason".
func (f Failure) String() string {
	var parts []string
	if f.Case >= 0 {
		parts = append(parts, fmt.Sprintf("case %d", f.Case))
	}
	if f.Field != "" {
		parts = append(parts, f.Field)
	}
	return strings.Join(append(parts, f.Reason), ": ")
}

// MarshalJSON implements [json.Marshaler]: lists are never null.
func (r *Report) MarshalJSON() ([]byte, error) {
	type plain Report
	p := plain(*r)
	p.Files = append([]FileReport{}, p.Files...)
	for i := range p.Files {
		p.Files[i].Suites = append([]mls.CipherSuite{}, p.Files[i].Suites...)
	}
	return json.Marshal(p)
}

// Cases returns the number of cases of all files.
func (r *Report) Cases() int {
	n := 0
	for i := range r.Files {
		n += r.Files[i].Cases
	}
	return n
}

// maxFailuresShown bounds what [Report.WriteTable] says of one file: past it
// the first failures are what one looks at.
const maxFailuresShown = 10

// WriteTable writes the report for a reader: a line per file, the failures,
// and the sum.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tCASES\tPASSED\tFAILED\tSUITES\tTIME")
	var elapsed time.Duration
	for i := range r.Files {
		f := &r.Files[i]
		elapsed += f.Elapsed
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\n", f.File, f.Cases, f.Passed, f.Failed,
			suiteRanges(f.Suites), round(f.Elapsed))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for i := range r.Files {
		f := &r.Files[i]
		for j, failure := range f.Failures {
			if j == maxFailuresShown {
				fmt.Fprintf(&b, "%s: and %d more\n", f.File, len(f.Failures)-j)
				break
			}
			fmt.Fprintf(&b, "%s: %s\n", f.File, failure)
		}
	}
	fmt.Fprintf(&b, "%d files, %d cases, %d failed, %s\n", len(r.Files), r.Cases(), r.Failed, round(elapsed))
	_, err := io.WriteString(w, b.String())
	return err
}

// suiteRanges returns "1-7" for 1, 2, … 7, and "-" for none.
func suiteRanges(suites []mls.CipherSuite) string {
	if len(suites) == 0 {
		return "-"
	}
	var parts []string
	for i := 0; i < len(suites); {
		j := i
		for j+1 < len(suites) && suites[j+1] == suites[j]+1 {
			j++
		}
		part := strconv.Itoa(int(suites[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(suites[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
