package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// cli runs one command line in this process and returns what it printed.
func cli(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("mls %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// pair makes two members of one group, in directories alice and bob of a fresh directory.
func pair(t *testing.T) (dir, alice, bob string) {
	t.Helper()
	dir = t.TempDir()
	alice, bob = filepath.Join(dir, "alice"), filepath.Join(dir, "bob")
	at := func(name string) string { return filepath.Join(dir, name) }
	cli(t, exitOK, "init", "--dir", alice, "--name", "alice")
	cli(t, exitOK, "init", "--dir", bob, "--name", "bob")
	cli(t, exitOK, "group", "create", "garden", "--dir", alice)
	cli(t, exitOK, "keypackage", "--dir", bob, "-o", at("bob.kp"))
	cli(t, exitOK, "group", "add", at("bob.kp"), "--dir", alice, "-o", at("commit"), "-w", at("welcome"), "--accept")
	cli(t, exitOK, "group", "join", "-y", at("welcome"), "--dir", bob)
	return dir, alice, bob
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("MLS_DIR", filepath.Join(dir, "state"))
	for _, tt := range []struct {
		want int
		args string
	}{
		{exitOK, "version"},
		{exitOK, "--help"},
		{exitOK, "group --help"},
		{exitOK, "docs"},
		{exitUsage, ""},
		{exitUsage, "dance"},
		{exitUsage, "group"},
		{exitUsage, "group dance"},
		{exitUsage, "group export"},
		{exitUsage, "group join"},
		{exitUsage, "group join a b"},
		{exitUsage, "group send --text x y"},
		{exitUsage, "init"},
		{exitUsage, "init --name x --suite 0"},
		{exitUsage, "init --name x --suite nonsense"},
		{exitUsage, "init --bogus"},
		{exitUsage, "sim --members 1"},
		{exitUsage, "sim --members 8..4"},
		{exitUsage, "sim --mix update=x"},
		{exitUsage, "sim --csv --json"},
		{exitUsage, "inspect x --as dance"},
		{exitFailed, "group info"},
		{exitFailed, "inspect missing"},
		{exitFailed, "explain missing"},
		{exitFailed, "keypackage -o x"},
		{exitFailed, "conformance --vectors missing"},
	} {
		_, stderr := cli(t, tt.want, strings.Fields(tt.args)...)
		if tt.want != exitOK && !strings.HasPrefix(stderr, "mls: ") {
			t.Errorf("mls %s: the error is not marked: %q", tt.args, stderr)
		}
		if tt.want == exitUsage && !strings.Contains(stderr, "mls: hint: ") {
			t.Errorf("mls %s: no hint: %q", tt.args, stderr)
		}
	}
}

// brokenWriter fails as a full disk or a closed pipe does.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestStateBeforeMessage: a message that could not be written has used up its key all the same. Were
// the state written after it, the next message would be encrypted with the same key and nonce.
func TestStateBeforeMessage(t *testing.T) {
	dir, alice, bob := pair(t)
	var errs bytes.Buffer
	if code := run([]string{"group", "send", "--text", "lost", "--dir", alice}, strings.NewReader(""), brokenWriter{}, &errs); code != exitFailed {
		t.Fatalf("exit code %d with a broken output\n%s", code, &errs)
	}
	message := filepath.Join(dir, "m")
	cli(t, exitOK, "group", "send", "--text", "next", "--dir", alice, "-o", message)
	out, _ := cli(t, exitOK, "group", "receive", "--json", message, "--dir", bob)
	var got receivedJSON
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Generation != 1 {
		t.Errorf("generation %d after a message that got lost, want 1", got.Generation)
	}
}

// TestReceivedBeforeState: a message that could not be printed can be read again.
func TestReceivedBeforeState(t *testing.T) {
	dir, alice, bob := pair(t)
	message := filepath.Join(dir, "m")
	cli(t, exitOK, "group", "send", "--text", "hello", "--dir", alice, "-o", message)
	var errs bytes.Buffer
	if code := run([]string{"group", "receive", message, "--dir", bob}, strings.NewReader(""), brokenWriter{}, &errs); code != exitFailed {
		t.Fatalf("exit code %d with a broken output\n%s", code, &errs)
	}
	if out, _ := cli(t, exitOK, "group", "receive", message, "--dir", bob); out != "hello" {
		t.Errorf("read %q", out)
	}
	cli(t, exitFailed, "group", "receive", message, "--dir", bob)

	empty := filepath.Join(dir, "empty")
	cli(t, exitOK, "group", "send", "--dir", alice, "-o", empty)
	out, _ := cli(t, exitOK, "group", "receive", "--json", empty, "--dir", bob)
	if !strings.Contains(out, `"data":"","authenticated_data":""`) {
		t.Errorf("an empty message is %s", out)
	}
}

// TestCommitThatNobodySaw: neither a commit nor an external join that could not be handed out is pending.
func TestCommitThatNobodySaw(t *testing.T) {
	dir, alice, bob := pair(t)
	broken := func(args ...string) {
		t.Helper()
		var errs bytes.Buffer
		if code := run(args, strings.NewReader(""), brokenWriter{}, &errs); code != exitFailed {
			t.Fatalf("mls %v: exit code %d with a broken output\n%s", args, code, &errs)
		}
	}
	broken("group", "update", "--dir", alice)
	cli(t, exitFailed, "group", "accept", "--dir", alice)
	info := filepath.Join(dir, "info")
	cli(t, exitOK, "group", "export", "group-info", "--dir", alice, "-o", info)

	carol := filepath.Join(dir, "carol")
	cli(t, exitOK, "init", "--dir", carol, "--name", "carol")
	before, _ := cli(t, exitOK, "group", "info", "--json", "--dir", bob)
	var errs bytes.Buffer
	args := []string{"group", "external-join", "-y", info, "--dir", carol}
	if code := run(args, strings.NewReader(""), &brokenAfter{1}, &errs); code != exitFailed {
		t.Fatalf("exit code %d with a broken output\n%s", code, &errs)
	}
	cli(t, exitFailed, "group", "info", "--dir", carol)
	// A former state stays.
	if code := run(append(args[:len(args)-1], bob, "--resync"), strings.NewReader(""), &brokenAfter{1}, &errs); code != exitFailed {
		t.Fatalf("exit code %d with a broken output\n%s", code, &errs)
	}
	if after, _ := cli(t, exitOK, "group", "info", "--json", "--dir", bob); after != before {
		t.Errorf("bob has %s, had %s", after, before)
	}
	cli(t, exitFailed, "group", "accept", "--dir", bob)
}

// brokenAfter fails after some writes: the description of a group is one, and a message.
type brokenAfter struct{ n int }

func (b *brokenAfter) Write(p []byte) (int, error) {
	if b.n--; b.n < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

// TestNothingUnseen: what could not be shown is an error, and nothing that was to be looked at is accepted.
func TestNothingUnseen(t *testing.T) {
	dir, alice, bob := pair(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	cli(t, exitOK, "keypackage", "--dir", bob, "-o", at("bob2.kp"))
	cli(t, exitOK, "group", "branch", "shed", at("bob2.kp"), "--dir", alice, "--name", "garden", "-w", at("shed"))
	cli(t, exitOK, "group", "update", "--dir", alice, "--name", "garden", "-o", at("next"))
	before, _ := cli(t, exitOK, "group", "info", "--json", "--dir", bob)
	for _, args := range [][]string{
		{"group", "info", "--dir", bob},
		{"group", "info", "--json", "--dir", bob},
		{"group", "outbox", "--dir", alice, "--name", "garden"},
		{"group", "process", "-y", at("next"), "--dir", bob},
		{"group", "join", "-y", at("shed"), "--dir", bob},
		{"group", "forget", "-y", "--dir", bob},
	} {
		var errs bytes.Buffer
		if code := run(args, strings.NewReader(""), brokenWriter{}, &errs); code != exitFailed || !strings.Contains(errs.String(), "broken pipe") {
			t.Errorf("mls %v: exit code %d with a broken output\n%s", args, code, &errs)
		}
	}
	if after, _ := cli(t, exitOK, "group", "info", "--json", "--dir", bob); after != before { // and it is his only group
		t.Errorf("bob has %s, had %s", after, before)
	}
}

// TestTreeNotWritten: a tree that could not be written is told apart from the commit, which is out.
func TestTreeNotWritten(t *testing.T) {
	dir, alice, bob := pair(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	carol := at("carol")
	cli(t, exitOK, "init", "--dir", carol, "--name", "carol")
	cli(t, exitOK, "keypackage", "--dir", carol, "-o", at("carol.kp"))
	var errs bytes.Buffer
	add := []string{"group", "add", at("carol.kp"), "--dir", alice, "-o", at("next"), "-w", at("carol.welcome"), "--tree", "-"}
	if code := run(add, strings.NewReader(""), brokenWriter{}, &errs); code != exitFailed {
		t.Fatalf("exit code %d with a broken output\n%s", code, &errs)
	}
	if want := `hint: the commit is out, and stays pending: once it is accepted, "mls group export tree -o FILE" writes the tree`; !strings.Contains(errs.String(), want) {
		t.Errorf("no %q in\n%s", want, &errs)
	}
	// As the hint says.
	cli(t, exitOK, "group", "process", "-y", at("next"), "--dir", bob)
	cli(t, exitOK, "group", "accept", "--dir", alice)
	cli(t, exitOK, "group", "export", "tree", "--dir", alice, "-o", at("tree"))
	cli(t, exitFailed, "group", "join", "-y", at("carol.welcome"), "--dir", carol)
	cli(t, exitOK, "group", "join", "-y", at("carol.welcome"), "--tree", at("tree"), "--dir", carol)
}

// TestExplainChangesNothing: no byte of the state.
func TestExplainChangesNothing(t *testing.T) {
	dir, alice, bob := pair(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	cli(t, exitOK, "group", "send", "--text", "hello", "--dir", alice, "-o", at("m"))
	cli(t, exitOK, "group", "update", "--dir", alice, "-o", at("next"))
	cli(t, exitOK, "group", "export", "group-info", "--dir", alice, "-o", at("info"))
	state := func() string {
		data, err := os.ReadFile(filepath.Join(bob, storeName))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := state()
	for _, name := range []string{"m", "next", "info", "welcome", "bob.kp", "commit"} {
		cli(t, exitOK, "explain", at(name), "--group", bob)
	}
	if state() != before {
		t.Error("the state has changed")
	}
}

// TestConcurrentSends: of two processes that send at once one is told that the other has the state open, and
// never do both use the same key.
func TestConcurrentSends(t *testing.T) {
	dir, alice, bob := pair(t)
	const senders, each = 3, 4
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				if err := sendUntilFree(alice, filepath.Join(dir, fmt.Sprintf("m%d.%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[uint32]bool)
	for i := range senders {
		for j := range each {
			out, _ := cli(t, exitOK, "group", "receive", "--json", filepath.Join(dir, fmt.Sprintf("m%d.%d", i, j)), "--dir", bob)
			var got receivedJSON
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			if seen[got.Generation] {
				t.Errorf("generation %d was used twice", got.Generation)
			}
			seen[got.Generation] = true
		}
	}
	if len(seen) != senders*each {
		t.Errorf("%d generations for %d messages", len(seen), senders*each)
	}
}

// sendUntilFree sends a message as soon as no other process has the state open.
func sendUntilFree(dir, message string) error {
	for {
		var out, errs bytes.Buffer
		switch code := run([]string{"group", "send", "--text", "x", "--dir", dir, "-o", message}, strings.NewReader(""), &out, &errs); {
		case code == exitOK:
			return nil
		case code != exitFailed || !strings.Contains(errs.String(), "hint: another process has it open"):
			return fmt.Errorf("exit code %d: %s", code, &errs)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDamagedState: a state file that was cut or changed is an error that names the file.
func TestDamagedState(t *testing.T) {
	_, alice, _ := pair(t)
	name := filepath.Join(alice, storeName)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(data)
	flipped[bytes.Index(flipped, []byte("garden"))] ^= 1
	for _, damaged := range [][]byte{nil, data[:len(data)/2], flipped, []byte("something else")} {
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr := cli(t, exitFailed, "group", "info", "--dir", alice)
		if !strings.Contains(stderr, name) || !strings.Contains(stderr, "mls: hint: ") {
			t.Errorf("the error does not name the file, or what to do: %s", stderr)
		}
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, exitOK, "group", "info", "--dir", alice)
}
