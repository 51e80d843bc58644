package interop

import (
	"bufio"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/treekem/mls"
)

var peerSuites = flag.String("suites", "1", "cipher suites for foreign peers, with commas between them, or all")

// TestInteropTSMLS plays all scenarios with ts-mls, each of us in both roles. What
// ts-mls says it can't do and what fails because of a known bug of its own is
// listed in the log; anything else that fails fails the test.
//
//	go test ./conformance/interop -run TSMLS -v -suites all
func TestInteropTSMLS(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: nothing is tested against ts-mls with -short")
	}
	opt := Options{Self: true, Clients: []string{startTSMLS(t)}, Suites: suitesOf(t, *peerSuites), Seed: 1}
	report := run(t, opt)
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
	notes, err := readNotes()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		if strings.HasPrefix(report.Clients[1], n.Client) && !reached[n.Text] {
			t.Errorf("%s no longer has a bug that is noted: %s", n.Client, n.Text)
		}
	}
	if report.Passed < len(report.Results)/2 {
		t.Errorf("only %d of %d plays passed", report.Passed, len(report.Results))
	}
}

func suitesOf(t *testing.T, text string) []mls.CipherSuite {
	t.Helper()
	if text == "all" {
		return nil
	}
	var suites []mls.CipherSuite
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			t.Fatalf("-suites %s: %v", text, err)
		}
		suites = append(suites, mls.CipherSuite(n))
	}
	return suites
}

// startTSMLS starts the Node program and returns its address.
func startTSMLS(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIPPED: node is not installed, so that NOTHING is tested against ts-mls here")
	}
	installTSMLS(t)
	cmd := exec.Command(node, "server.js", "0")
	cmd.Dir = "tsmls"
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
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("ts-mls does not start: %v", err)
	}
	return strings.TrimSpace(address)
}

// installTSMLS installs what package-lock.json says, unless it is there.
func installTSMLS(t *testing.T) {
	t.Helper()
	if upToDate("tsmls/package-lock.json", filepath.Join("tsmls", "node_modules", ".package-lock.json")) {
		return
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED: npm is not installed, so that NOTHING is tested against ts-mls here")
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund")
	cmd.Dir = "tsmls"
	if text, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("SKIPPED: npm ci fails, so that NOTHING is tested against ts-mls here: %v\n%s", err, text)
		}
		t.Fatalf("npm ci: %v\n%s", err, text)
	}
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
