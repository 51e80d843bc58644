package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failingSink fails after some bytes, or when it is synced.
type failingSink struct{ room int }

var errNoRoom = errors.New("no space left on device")

func (f *failingSink) Write(data []byte) (int, error) {
	if len(data) > f.room {
		return f.room, errNoRoom
	}
	return len(data), nil
}
func (f *failingSink) Sync() error  { return errNoRoom }
func (f *failingSink) Close() error { return nil }

// TestUnpublished: only what nobody can have seen whole counts as not out.
func TestUnpublished(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		err  error
		want bool
	}{
		{"no directory", writeNew(filepath.Join(dir, "none", "x"), nil), true},
		{"a name that is taken", writeNew(taken, nil), true},
		{"a name that is taken, without links", writeExclusive(taken, nil), true},
		{"a part", writeWhole(&failingSink{room: 1}, []byte("ab")), true},
		{"not synced", writeWhole(&failingSink{room: 2}, []byte("ab")), false},
		{"nothing of a pipe", (&app{stdout: &shortWriter{}}).output("-", []byte("ab")), true},
		{"a part of a pipe", (&app{stdout: &shortWriter{room: 1}}).output("-", []byte("ab")), false},
	} {
		if tt.err == nil || isUnpublished(tt.err) != tt.want {
			t.Errorf("%s: %v counts as not out: %t, want %t", tt.what, tt.err, !tt.want, tt.want)
		}
	}
	name := filepath.Join(dir, "new")
	if err := writeExclusive(name, []byte("ab")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "ab" {
		t.Errorf("%q, %v", got, err)
	}
}

// shortWriter takes some bytes and fails.
type shortWriter struct{ room int }

func (w *shortWriter) Write([]byte) (int, error) { return w.room, errNoRoom }

// TestCommitThatMayBeOut: a commit of which a part went into a pipe stays pending, and its hint says how to go on.
func TestCommitThatMayBeOut(t *testing.T) {
	_, alice, _ := pair(t)
	var errs bytes.Buffer
	for _, tt := range []struct {
		stdout  io.Writer
		pending bool
	}{{&shortWriter{}, false}, {&shortWriter{room: 3}, true}} {
		errs.Reset()
		if code := run([]string{"group", "update", "--dir", alice}, strings.NewReader(""), tt.stdout, &errs); code != exitFailed {
			t.Fatalf("exit code %d with a broken output\n%s", code, &errs)
		}
		info, _ := cli(t, exitOK, "group", "info", "--dir", alice)
		if strings.Contains(info, "is pending") != tt.pending || strings.Contains(errs.String(), "it stays pending") != tt.pending {
			t.Errorf("pending is to be %t:\n%s%s", tt.pending, info, &errs)
		}
	}
}
