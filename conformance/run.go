package conformance

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/treekem/mls"
)

// Options say what [Run] runs. The zero value runs the embedded vectors.
type Options struct {
	// Vectors are files, and directories that hold all 16; empty means the
	// project's own vectors, which are embedded.
	Vectors []string
	// Kind is the kind of the files in Vectors, whatever their names; empty
	// means that a file's name is its kind. Of a directory, and of the embedded
	// vectors, a Kind selects the one file.
	Kind string
	// AcceptExpired accepts leaf nodes whose lifetime has run out. Published
	// vectors are older than the lifetimes in them.
	AcceptExpired bool
	// Progress, if not nil, is called after each case, by one goroutine at a
	// time.
	Progress func(Progress)
}

// Progress is how far a run has come in one file.
type Progress struct {
	File        string
	Done, Cases int
}

// Run runs known answers. The error is about what was asked for, such as an
// unknown kind or a path that is not there, or ctx's; whatever the vectors say
// is in the report.
func Run(ctx context.Context, opt Options) (*Report, error) {
	sources, err := opt.sources()
	if err != nil {
		return nil, err
	}
	report := new(Report)
	for _, s := range sources {
		f := s.run(ctx, opt)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		report.Files = append(report.Files, f)
		report.Failed += f.Failed
	}
	return report, nil
}

//go:embed vectors/*.json
var embedded embed.FS

// A source is one file to run.
type source struct {
	name string // in the report
	kind string // empty if the name is no kind's
	read func() ([]byte, error)
}

// sources returns the files that opt names.
func (opt *Options) sources() ([]source, error) {
	if opt.Kind != "" && findKind(opt.Kind) == nil {
		return nil, fmt.Errorf("conformance: unknown kind %q, not one of %s", opt.Kind, strings.Join(Kinds(), ", "))
	}
	if len(opt.Vectors) == 0 {
		own, err := fs.Sub(embedded, "vectors")
		if err != nil {
			return nil, err
		}
		return opt.directory(own, "")
	}
	var all []source
	for _, path := range opt.Vectors {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("conformance: %w", err)
		}
		if !info.IsDir() {
			kind := opt.Kind
			if kind == "" {
				kind = kindOf(filepath.Base(path))
			}
			all = append(all, source{path, kind, func() ([]byte, error) { return os.ReadFile(path) }})
			continue
		}
		prefix := path
		if len(opt.Vectors) == 1 {
			prefix = ""
		}
		files, err := opt.directory(os.DirFS(path), prefix)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// directory returns the files of a directory: the 16, there or not, in the
// order of [Kinds], then every other JSON file, which no kind can be told for.
// A directory with files of draft-ietf-mls-partial and none of the 16 has to
// have all of the draft's instead.
func (opt *Options) directory(dir fs.FS, prefix string) ([]source, error) {
	add := func(all []source, name, kind string) []source {
		return append(all, source{filepath.Join(prefix, name), kind, func() ([]byte, error) { return fs.ReadFile(dir, name) }})
	}
	if opt.Kind != "" {
		return add(nil, opt.Kind+".json", opt.Kind), nil
	}
	names, err := fs.Glob(dir, "*.json")
	if err != nil {
		return nil, err
	}
	var all []source
	for _, kind := range expectedKinds(names) {
		all = add(all, kind+".json", kind)
	}
	for _, name := range names {
		if kindOf(name) == "" {
			all = add(all, name, "")
		}
	}
	return all, nil
}

// kindOf returns the kind of a file of that name, or "".
func kindOf(name string) string {
	kind := strings.TrimSuffix(name, ".json")
	if findKind(kind) == nil {
		return ""
	}
	return kind
}

func (s source) run(ctx context.Context, opt Options) FileReport {
	start := time.Now()
	f := FileReport{File: s.name, Kind: s.kind}
	if cases, err := s.cases(); err != nil {
		f.Failed, f.Failures = 1, []Failure{{Case: -1, Reason: err.Error()}}
	} else {
		f.runCases(ctx, findKind(s.kind), cases, opt)
	}
	f.Elapsed = time.Since(start)
	return f
}

func (s source) cases() ([]*node, error) {
	if s.kind == "" {
		return nil, fmt.Errorf("the name is no kind of vectors: name one of %s", strings.Join(Kinds(), ", "))
	}
	data, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("missing: no file of kind %s", s.kind)
	}
	if err != nil {
		return nil, err
	}
	return parseCases(data)
}

// runCases runs the cases on all processors. Cases share nothing.
func (f *FileReport) runCases(ctx context.Context, k *kind, cases []*node, opt Options) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards what follows and f
		next int
		done int
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	f.Cases = len(cases)
	for range min(runtime.GOMAXPROCS(0), len(cases)) {
		wg.Go(func() {
			for i := take(); i < len(cases) && ctx.Err() == nil; i = take() {
				suite, failed := runCase(k, cases[i], opt)
				cases[i] = nil // a file's cases add up
				mu.Lock()
				done++
				f.note(i, suite, failed)
				if opt.Progress != nil {
					opt.Progress(Progress{f.File, done, len(cases)})
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(f.Suites)
	slices.SortFunc(f.Failures, func(a, b Failure) int { return a.Case - b.Case })
}

// note enters the outcome of one case.
func (f *FileReport) note(i int, suite *mls.Suite, failed *failure) {
	if suite != nil && !slices.Contains(f.Suites, suite.ID()) {
		f.Suites = append(f.Suites, suite.ID())
	}
	if failed == nil {
		f.Passed++
		return
	}
	f.Failed++
	f.Failures = append(f.Failures, Failure{i, failed.field, failed.why})
}

// runCase runs one case, and holds it against the account of what was read.
// It returns the case's suite, if it has one, and nil if the case passed.
func runCase(k *kind, c *node, opt Options) (suite *mls.Suite, failed *failure) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *failure:
			failed = r
		default:
			// The run goes on, and the report says what is wrong with the
			// code under it.
			failed = &failure{"", fmt.Sprintf("panic: %v", r)}
		}
	}()
	if k.suites == suiteField {
		suite = c.suite()
	}
	ck := &check{node: c, suite: suite, opt: opt}
	k.check(ck)
	suite = ck.suite // a kind with suiteUnnamed may have found it
	if paths := c.unread(); len(paths) > 0 {
		return suite, &failure{strings.Join(paths, ", "), "not read by any check"}
	}
	return suite, nil
}
