package interop

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/treekem/mls"
)

var peerSuites = flag.String("suites", "1", "cipher suites for foreign peers, with commas between them, or all")

// foreignPeer is another implementation behind a program of ours.
type foreignPeer struct {
	name string
	// dir holds the program.
	dir string
	// install makes the program ready to run and returns the command that starts it.
	install func(t *testing.T, p *foreignPeer) *exec.Cmd
	// noGREASE: a bug of the peer's keeps it from joining anybody whose leaf nodes
	// have extensions of GREASE types. One scenario shows that; the others go without.
	noGREASE bool
}

// TestInteropTSMLS and its like play all scenarios with a foreign implementation,
// each of us in both roles. What the peer says it can't do and what fails because
// of a known bug of its own is listed in the log; anything else that fails fails
// the test.
//
//	go test ./conformance/interop -run TSMLS -v -suites all
func TestInteropTSMLS(t *testing.T) {
	testPeer(t, &foreignPeer{name: "ts-mls", dir: "tsmls", install: installNode})
}

func TestInteropOpenMLS(t *testing.T) {
	testPeer(t, &foreignPeer{name: "openmls", dir: "openmls", install: installRust, noGREASE: true})
}

func TestInteropMLSRS(t *testing.T) {
	testPeer(t, &foreignPeer{name: "mls-rs", dir: "mlsrs", install: installRust})
}

func testPeer(t *testing.T, p *foreignPeer) {
	if testing.Short() {
		t.Skipf("SKIPPED: nothing is tested against %s with -short", p.name)
	}
	report := run(t, Options{
		Self: true, Clients: []string{start(t, p)}, Suites: suitesOf(t, *peerSuites), Seed: 1, NoGREASE: p.noGREASE,
	})
	reached := make(map[string]bool)
	for i := range report.Results {
		r := &report.Results[i]
		switch r.Outcome {
		case Failed:
			t.Errorf("%s: %s", r.Scenario, r.explain())
		case Known:
			reached[r.Note] = true
		}
	}
	var page strings.Builder
	if err := WriteMatrix(&page, []*Report{report}); err != nil {
		t.Fatal(err)
	}
	t.Log(page.String())
	checkNotes(t, report, reached)
	if report.Passed < len(report.Results)/2 {
		t.Errorf("only %d of %d plays passed", report.Passed, len(report.Results))
	}
}

// checkNotes fails if a noted bug does not show any more.
func checkNotes(t *testing.T, report *Report, reached map[string]bool) {
	t.Helper()
	notes, err := readNotes()
	if err != nil {
		t.Fatal(err)
	}
	played := func(suite uint16) bool { return slices.Contains(report.suites(), suite) }
	for _, n := range notes {
		due := n.Suites == nil || slices.ContainsFunc(n.Suites, played)
		if due && strings.HasPrefix(report.Clients[1], n.Client) && !reached[n.Text] {
			t.Errorf("%s no longer has a bug that is noted: %s", n.Client, n.Text)
		}
	}
}

func suitesOf(t *testing.T, text string) []mls.CipherSuite {
	t.Helper()
	if text == "all" {
		return nil
	}
	var suites []mls.CipherSuite
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.ParseUint(s, 0, 16)
		if err != nil {
			t.Fatalf("-suites %s: %v", text, err)
		}
		suites = append(suites, mls.CipherSuite(n))
	}
	return suites
}

// start starts the peer's program and returns its address, the program's first
// line. The program stops when the test ends.
func start(t *testing.T, p *foreignPeer) string {
	t.Helper()
	cmd := p.install(t, p)
	cmd.Dir = p.dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		hard := time.AfterFunc(stopGrace, func() { _ = cmd.Process.Kill() })
		defer hard.Stop()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	address, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%s does not start: %v", p.name, err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	return strings.TrimSpace(address)
}

// tool finds what a peer's program needs, or skips the test.
func tool(t *testing.T, p *foreignPeer, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed, so that NOTHING is tested against %s here", name, p.name)
	}
	return path
}

// fetchTimeout is how long a registry may take. Where nothing answers, npm and Cargo
// try for longer than a test may run.
const fetchTimeout = 8 * time.Minute

// ourFault are texts by which npm and Cargo say that the repository is wrong: the
// lock file does not fit, what was fetched does not fit it, or our own program does
// not compile.
var ourFault = []string{
	"EUSAGE", "EINTEGRITY", "--locked was passed", "error: checksum for", "could not compile `interop-", "custom build command for `interop-",
}

// prepare runs a command that fetches or builds a peer's program. That crates or
// packages can't be had or built on this machine is nothing that the code is to
// blame for: then nothing is tested, and the log says so.
func prepare(t *testing.T, p *foreignPeer, cmd *exec.Cmd) {
	t.Helper()
	cmd.Dir, cmd.WaitDelay = p.dir, time.Minute
	text, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	problem := fmt.Sprintf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, text)
	if isOurFault(problem) {
		t.Fatal(problem)
	}
	t.Skipf("SKIPPED: NOTHING is tested against %s here: %s", p.name, problem)
}

// isOurFault judges the output of npm or Cargo. A compiler that was killed, for want
// of memory, says nothing about our program.
func isOurFault(text string) bool {
	return !strings.Contains(text, "SIGKILL") &&
		slices.ContainsFunc(ourFault, func(sign string) bool { return strings.Contains(text, sign) })
}

func TestIsOurFault(t *testing.T) {
	for text, want := range map[string]bool{
		"npm error code ENOTFOUND\nnpm error network":                                         false,
		"npm error code EUSAGE\nnpm error `npm ci` can only install packages when":            true,
		"error: cannot update the lock file /x/Cargo.lock because --locked was passed to":     true,
		"error: failed to download from `https://example`\nCaused by: could not resolve host": false,
		"error: linker `cc` not found\nerror: could not compile `proc-macro2` (build script)": false,
		"npm error code EINTEGRITY\nnpm error sha512-x integrity checksum failed":             true,
		"error: checksum for `hex v0.4.3` changed between lock files":                         true,
		"error: could not compile `interop-openmls` (bin \"interop-openmls\")":                true,
		"error: could not compile `interop-mlsrs` (signal: 9, SIGKILL: kill)":                 false,
	} {
		if got := isOurFault(text); got != want {
			t.Errorf("%q: our fault is %v", text, got)
		}
	}
}

// nodeVersion is the oldest major version of Node that package.json admits.
const nodeVersion = 20

// installNode installs what package-lock.json says, unless it is there.
func installNode(t *testing.T, p *foreignPeer) *exec.Cmd {
	t.Helper()
	node := tool(t, p, "node")
	version, err := exec.Command(node, "--version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, _ := strconv.Atoi(major); err != nil || n < nodeVersion {
		t.Skipf("SKIPPED: NOTHING is tested against %s here: Node is %q, %v; %d is needed", p.name, version, err, nodeVersion)
	}
	have := filepath.Join(p.dir, "node_modules", ".package-lock.json")
	if !upToDate(filepath.Join(p.dir, "package-lock.json"), have) {
		prepare(t, p, fetching(t, tool(t, p, "npm"), "ci", "--no-audit", "--no-fund"))
	}
	return exec.Command(node, "server.js", "0")
}

// fetching is a command that asks a registry.
func fetching(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, args...)
}

// upToDate tells whether the second file is there and not older than the first.
func upToDate(wanted, have string) bool {
	w, err := os.Stat(wanted)
	if err != nil {
		return false
	}
	h, err := os.Stat(have)
	return err == nil && !h.ModTime().Before(w.ModTime())
}

// installRust builds what Cargo.lock says. All Rust programs share one place for
// what is built, outside of the tree: CARGO_TARGET_DIR, or one in the user's cache.
func installRust(t *testing.T, p *foreignPeer) *exec.Cmd {
	t.Helper()
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		target = filepath.Join(cache, "mls-interop", "cargo")
	}
	prepare(t, p, fetching(t, tool(t, p, "cargo"), "fetch", "--locked", "--quiet"))
	cmd := exec.Command(tool(t, p, "cargo"), "build", "--locked", "--quiet")
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+target)
	prepare(t, p, cmd)
	return exec.Command(filepath.Join(target, "debug", "interop-"+p.dir), "0")
}
