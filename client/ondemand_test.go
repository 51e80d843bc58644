package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/treekem/mls"
	"github.com/treekem/mls/group"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/sqlite"
	"github.com/treekem/mls/treekem"
)

// Opening a group from the disk and processing one commit is measured in a
// process of its own, so that its memory is that of the whole process.

const onDemandEnv = "MLS_ONDEMAND"

// onDemandJob is what the child is to do.
type onDemandJob struct {
	Path    string
	Message []byte
	// Whole is a file with the whole tree: the child is to load that,
	// and to write nothing. Empty for on demand.
	Whole string
}

// onDemandResult is what it reports.
type onDemandResult struct {
	Open, Process time.Duration
	Epoch         uint64
	Written       int64
	Reads         int64
	LogBytes      int64 // of SQLite's write-ahead log
	PeakBytes     int64 // of the process
	IdleBytes     int64 // before it opens anything
}

func onDemandKey() store.Key {
	return store.RawKey(mls.NewSecret(make([]byte, store.KeySize)))
}

func openOnDisk(ctx context.Context, path string) (store.Store, error) {
	db, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	return store.OpenSealed(ctx, db, onDemandKey(), store.SealOptions{})
}

// TestOnDemandChild is the child.
func TestOnDemandChild(t *testing.T) {
	encoded := os.Getenv(onDemandEnv)
	if encoded == "" {
		t.Skip("a part of BenchmarkOnDemand")
	}
	var job onDemandJob
	if err := json.Unmarshal([]byte(encoded), &job); err != nil {
		t.Fatal(err)
	}
	r, err := job.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("result %s\n", out)
}

func (j *onDemandJob) run(ctx context.Context) (*onDemandResult, error) {
	r := &onDemandResult{IdleBytes: peakMemory()}
	start := time.Now()
	s, err := openOnDisk(ctx, j.Path)
	if err != nil {
		return nil, err
	}
	counted := &counting{Store: s}
	c, err := Open(ctx, Config{Store: counted, Group: group.Config{Authenticate: group.InsecureAnyCredential}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	g, err := c.Group(ctx, benchGroup)
	if err != nil {
		return nil, err
	}
	if j.Whole != "" {
		err = j.processWhole(ctx, g, r, start)
	} else {
		err = g.with(ctx, func() error { return nil })
		r.Open = time.Since(start)
		if err == nil {
			_, err = g.Process(ctx, j.Message)
		}
		r.Process = time.Since(start) - r.Open
		if err == nil {
			r.Epoch = g.g.Epoch()
		}
	}
	if info, err := os.Stat(j.Path + "-wal"); err == nil {
		r.LogBytes = info.Size()
	}
	r.Written, r.Reads, r.PeakBytes = counted.bytes.Load(), counted.reads.Load(), peakMemory()
	return r, err
}

// processWhole parses the whole tree and processes the commit with it.
func (j *onDemandJob) processWhole(ctx context.Context, g *Group, r *onDemandResult, start time.Time) error {
	var p parts
	if err := g.c.store.View(ctx, func(tx store.Reader) error { return p.read(tx, g.name) }); err != nil {
		return err
	}
	// Apart from the store, where so large a value would slow searches down.
	encoded, err := os.ReadFile(j.Whole)
	if err != nil {
		return err
	}
	suite, err := mls.LookupSuite(mls.CipherSuite(p.head.Suite))
	if err != nil {
		return err
	}
	tree, err := treekem.ParseTree(suite, encoded, 0)
	if err != nil {
		return err
	}
	restored, err := group.RestoreApart(g.c.groupConfig(ctx), p.core.State, tree, g.c.signers()...)
	if err != nil {
		return err
	}
	r.Open = time.Since(start)
	received, err := restored.Process(j.Message)
	if err != nil {
		return err
	}
	if err := restored.Merge(received.(*group.Staged)); err != nil {
		return err
	}
	r.Process, r.Epoch = time.Since(start)-r.Open, restored.Epoch()
	return nil
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory is the most that the process has held in memory: of all kinds, where
// the system says it.
func peakMemory() int64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		if m := highWater.FindSubmatch(status); m != nil {
			kib, _ := strconv.ParseInt(string(m[1]), 10, 64)
			return kib << 10
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// runChild has a process do the job.
func (j *onDemandJob) runChild(tb testing.TB) *onDemandResult {
	tb.Helper()
	encoded, err := json.Marshal(j)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnDemandChild$", "-test.v")
	cmd.Env = append(os.Environ(), onDemandEnv+"="+string(encoded))
	out, err := cmd.CombinedOutput()
	m := regexp.MustCompile(`(?m)^result (.*)$`).FindSubmatch(out)
	if err != nil || m == nil {
		tb.Fatalf("%v: %s", err, out)
	}
	r := new(onDemandResult)
	if err := json.Unmarshal(m[1], r); err != nil {
		tb.Fatal(err)
	}
	return r
}

// BenchmarkOnDemand opens a group of n members from the disk, encrypted at rest,
// and processes one commit of the other half: with nodes on demand, and with the
// tree loaded whole.
func BenchmarkOnDemand(b *testing.B) {
	for _, n := range []int{1024, 1 << 17} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			ctx := context.Background()
			job := onDemandJob{Path: filepath.Join(b.TempDir(), "store.db")}
			disk, err := openOnDisk(ctx, job.Path)
			if err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			t := newBench(b, n, disk)
			whole := filepath.Join(b.TempDir(), "tree")
			encoded, err := t.groups[1].g.Tree().Bytes()
			if err == nil {
				err = os.WriteFile(whole, encoded, 0o600)
			}
			if err == nil {
				err = t.clients[1].Close()
			}
			if err != nil {
				b.Fatal(err)
			}
			info, err := os.Stat(job.Path)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("made in %v, stored in %v: %d bytes on disk, the tree has %d",
				time.Since(start).Round(time.Millisecond), t.enter[1].Round(time.Millisecond), info.Size(), len(encoded))
			next := func() {
				out, err := t.groups[0].Commit(ctx, group.CommitOptions{})
				if err == nil {
					_, err = t.groups[0].Accept(ctx)
				}
				if err != nil {
					b.Fatal(err)
				}
				job.Message = out.Message
			}
			next()
			b.Run("whole", func(b *testing.B) {
				job := job
				job.Whole = whole
				measureOnDemand(b, &job, func() {})
			})
			b.Run("on-demand", func(b *testing.B) { measureOnDemand(b, &job, next) })
			start = time.Now()
			if err := checkOnDisk(ctx, job.Path); err != nil {
				b.Fatal(err)
			}
			b.Logf("checked in %v", time.Since(start).Round(time.Millisecond))
			start = time.Now()
			if err := forgetOnDisk(ctx, job.Path); err != nil {
				b.Fatal(err)
			}
			b.Logf("forgotten in %v", time.Since(start).Round(time.Millisecond))
		})
	}
}

// checkOnDisk checks a store.
func checkOnDisk(ctx context.Context, path string) error {
	s, err := openOnDisk(ctx, path)
	if err != nil {
		return err
	}
	problems, err := Check(ctx, s)
	if len(problems) > 0 {
		err = errors.New(problems[0])
	}
	return errors.Join(err, s.Close())
}

// forgetOnDisk deletes the group of a store.
func forgetOnDisk(ctx context.Context, path string) error {
	s, err := openOnDisk(ctx, path)
	if err != nil {
		return err
	}
	c, err := Open(ctx, Config{Store: s, Group: group.Config{Authenticate: group.InsecureAnyCredential}})
	if err != nil {
		return err
	}
	g, err := c.Group(ctx, benchGroup)
	if err == nil {
		err = g.Forget(ctx)
	}
	return errors.Join(err, c.Close())
}

// measureOnDemand reports the means of what the children report.
func measureOnDemand(b *testing.B, job *onDemandJob, next func()) {
	var sum onDemandResult
	for range b.N {
		r := job.runChild(b)
		next()
		sum.Open += r.Open
		sum.Process += r.Process
		sum.Written += r.Written
		sum.Reads += r.Reads
		sum.LogBytes += r.LogBytes
		sum.PeakBytes += r.PeakBytes
		sum.IdleBytes += r.IdleBytes
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(sum.Open.Seconds()*1000/n, "ms-open/op")
	b.ReportMetric(sum.Process.Seconds()*1000/n, "ms-process/op")
	b.ReportMetric(float64(sum.Written)/n, "B-written/op")
	b.ReportMetric(float64(sum.LogBytes)/n, "B-log/op")
	b.ReportMetric(float64(sum.Reads)/n, "reads/op")
	b.ReportMetric(float64(sum.PeakBytes)/n/(1<<20), "MiB-peak")
	b.ReportMetric(float64(sum.IdleBytes)/n/(1<<20), "MiB-idle")
}

// TestCostOfCommits: what opening a group and processing a commit reads, and
// what it writes, grows with the depth of the tree.
func TestCostOfCommits(t *testing.T) {
	ctx := context.Background()
	var written, reads [2]int64
	for k, n := range []int{32, 1024} {
		b := newBench(t, n, nil)
		for range 3 {
			out, err := b.groups[0].Commit(ctx, group.CommitOptions{})
			if err == nil {
				_, err = b.groups[0].Accept(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
			b.groups[1].unload()
			s := b.stores[1]
			w, r := s.bytes.Load(), s.reads.Load()
			if _, err := b.groups[1].Process(ctx, out.Message); err != nil {
				t.Fatal(err)
			}
			written[k], reads[k] = s.bytes.Load()-w, s.reads.Load()-r
		}
		t.Logf("n=%d: %d bytes written, %d reads", n, written[k], reads[k])
	}
	if written[1] > 2*written[0]+written[0]/2 || reads[1] > 2*reads[0]+reads[0]/2 {
		t.Errorf("32 times the members: %v bytes written, %v reads", written, reads)
	}
}
