package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storeRun runs "mls store ARGS" on its own.
func storeRun(stdin string, args ...string) (stdout string, err error) {
	var out bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &out}
	cmd := a.storeCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.Execute()
	return out.String(), err
}

func TestStoreCommand(t *testing.T) {
	fixture, err := os.ReadFile("../../client/testdata/v1-alice.db")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "alice.db")
	if err := os.WriteFile(path, fixture, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.db")
	fixture[len(fixture)/2] ^= 1
	if err := os.WriteFile(damaged, fixture[:len(fixture)-4096], 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		stdin   string
		args    []string
		out     string
		failure string
	}{
		{"fixture\n", []string{"check", path, "--passphrase", "-"}, "in order", ""},
		{"fixture", []string{"dump", path, "--passphrase", "-"}, "pending: true", ""},
		{"wrong\n", []string{"check", path, "--passphrase", "-"}, "", "wrong key or passphrase"},
		{"", []string{"check", path, "--passphrase", "-"}, "", "the passphrase is empty"},
		{"", []string{"check", path, "--key", key}, "", "has a passphrase, not a raw key"},
		{"", []string{"dump", path}, "", "encrypted"},
		{"", []string{"dump", path, "--key", key, "--passphrase", "-"}, "", "exclude each other"},
		{"fixture\n", []string{"check", damaged, "--passphrase", "-"}, "", "damaged"},
		{"", []string{"check", filepath.Join(dir, "none.db")}, "", "no such file"},
		{"", []string{"dump"}, "", "accepts 1 arg"},
	} {
		out, err := storeRun(tt.stdin, tt.args...)
		if !strings.Contains(out, tt.out) {
			t.Errorf("%q prints %q, want %q", tt.args, out, tt.out)
		}
		if (err == nil) != (tt.failure == "") || err != nil && !strings.Contains(err.Error(), tt.failure) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.failure)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); !os.IsNotExist(err) {
		t.Error("looking into a store that does not exist made one")
	}
}
