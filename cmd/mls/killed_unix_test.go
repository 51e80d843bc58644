//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledWhileHandingOut: a process that is killed while it hands a commit out leaves that pending, and the
// state unlocked and whole; the commit can be handed out again.
func TestKilledWhileHandingOut(t *testing.T) {
	dir, alice, bob := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fill(t, w)
	mark := func() string {
		data, err := os.ReadFile(filepath.Join(alice, storeName+"-mark")) // the number of the last batch
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := mark()
	cmd := child(t, "group", "update", "--dir", alice)
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	waitUntil(t, func() bool { return mark() != before })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the commit was handed out into a full pipe")
	}

	if out, _ := cli(t, exitOK, "group", "info", "--dir", alice); !strings.Contains(out, "a commit of your own is pending") {
		t.Fatalf("nothing is pending:\n%s", out)
	}
	_, stderr := cli(t, exitOK, "store", "check", "--dir", alice)
	if !strings.Contains(stderr, "in order") {
		t.Errorf("the store: %s", stderr)
	}
	list, _ := cli(t, exitOK, "group", "outbox", "--dir", alice)
	number := regexp.MustCompile(`(?m)^(\d+)  commit`).FindStringSubmatch(list)
	if number == nil {
		t.Fatalf("the outbox is %q", list)
	}
	commit := filepath.Join(dir, "again")
	cli(t, exitOK, "group", "outbox", number[1], "--dir", alice, "-o", commit)
	cli(t, exitOK, "group", "process", "-y", commit, "--dir", bob)
	cli(t, exitOK, "group", "process", "-y", commit, "--dir", alice)
	a, _ := cli(t, exitOK, "group", "export", "authenticator", "--dir", alice)
	b, _ := cli(t, exitOK, "group", "export", "authenticator", "--dir", bob)
	if a != b {
		t.Error("they do not agree")
	}
}

// TestOutputIntoDirectoryNotReadable: who may write into a directory need not be allowed to read it. A commit that
// is there was made, and stays pending; a message that is there was sent.
func TestOutputIntoDirectoryNotReadable(t *testing.T) {
	dir, alice, _ := pair(t)
	drop := filepath.Join(dir, "drop")
	if err := os.Mkdir(drop, 0o333); err != nil {
		t.Fatal(err)
	}
	name := asNobody(t, dir)
	for _, args := range [][]string{
		{"group", "send", "--text", "x", "--dir", alice, "-o", filepath.Join(drop, "m")},
		{"group", "update", "--dir", alice, "-o", filepath.Join(drop, "g.1")},
	} {
		cmd := child(t, args...)
		name(cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mls %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(drop, "g.1")); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "group", "info", "--dir", alice)
	name(cmd)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "a commit of your own is pending") {
		t.Errorf("the commit that is out was dropped: %v\n%s", err, out)
	}
}

// TestReadOnlyCopy: a store that cannot be written can be looked into, and whoever wants more is told why not.
func TestReadOnlyCopy(t *testing.T) {
	dir, _, bob := pair(t)
	as := asNobody(t, dir)
	if err := os.Chmod(filepath.Join(bob, storeName), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(bob, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(bob, 0o700)
	for _, tt := range []struct {
		args []string
		ok   bool
		want string
	}{
		{[]string{"store", "check", "--dir", bob}, true, "in order"},
		{[]string{"store", "dump", "--dir", bob}, true, "identity bob"},
		{[]string{"group", "info", "--dir", bob}, false, "mls: hint: the file and its directory have to be writable"},
	} {
		cmd := child(t, tt.args...)
		as(cmd)
		if out, err := cmd.CombinedOutput(); (err == nil) != tt.ok || !strings.Contains(string(out), tt.want) {
			t.Errorf("mls %s: %v\n%s", strings.Join(tt.args, " "), err, out)
		}
	}
}

// TestInterrupted: long work that is interrupted says so, and nothing of how it was told.
func TestInterrupted(t *testing.T) {
	cmd := child(t, "conformance", "generate", t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	said := bufio.NewReader(stderr)
	if _, err := said.ReadString('\n'); err != nil { // the name of a file: it is at work
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(said)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.HasSuffix(string(rest), "mls: interrupted\n") {
		t.Errorf("%v, want exit code %d\n%s", err, exitFailed, rest)
	}
}

// asNobody gives dir to a user without privileges, if we are one who has them, and lets commands run as that user.
func asNobody(t *testing.T, dir string) func(*exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		return func(*exec.Cmd) {}
	}
	const nobody = 65534
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "mls")
	if err := os.WriteFile(copied, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("SKIPPED: root may not be somebody else here: %v", err) // in a container of few users
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(cmd *exec.Cmd) {
		cmd.Path = copied
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

// TestSecondProcess: another process is told that the state is open, and what to do.
func TestSecondProcess(t *testing.T) {
	dir, alice, _ := pair(t)
	var errs bytes.Buffer
	err := new(app).withHome(alice, homeOptions{}, func(context.Context, *home) error {
		second := child(t, "group", "send", "--text", "x", "--dir", alice)
		second.Stderr = &errs
		return second.Run()
	})
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Fatalf("%v, want exit code %d", err, exitFailed)
	}
	for _, want := range []string{"mls: " + filepath.Join(alice, storeName) + ": ", "mls: hint: another process has it open"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("no %q in\n%s", want, &errs)
		}
	}
	cli(t, exitOK, "group", "send", "--text", "x", "--dir", alice, "-o", filepath.Join(dir, "m"))
}

// child is a command line for another process.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Args[0] = "mls" // see TestMain
	return cmd
}

// fill writes into a pipe until nothing more fits.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd()) // which makes it block
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{4096, 1} {
		for {
			if _, err := syscall.Write(fd, make([]byte, size)); err == syscall.EAGAIN {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
