package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storeRun runs "mls store ARGS".
func storeRun(stdin string, args ...string) (output string, code int) {
	var out bytes.Buffer
	code = run(append([]string{"store"}, args...), strings.NewReader(stdin), &out, &out)
	return out.String(), code
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
	t.Setenv(passphraseEnv, "") // to be restored
	os.Unsetenv(passphraseEnv)
	for _, tt := range []struct {
		stdin string
		args  []string
		code  int
		out   string
	}{
		{"fixture\n", []string{"check", path, "--passphrase-file", "-"}, exitOK, "in order"},
		{"fixture", []string{"dump", path, "--passphrase-file", "-"}, exitOK, "pending: true"},
		{"wrong\n", []string{"check", path, "--passphrase-file", "-"}, exitFailed, "wrong key or passphrase"},
		{"", []string{"check", path, "--passphrase-file", "-"}, exitFailed, "the passphrase is empty"},
		{"", []string{"check", path, "--key", key}, exitFailed, "has a passphrase, not a raw key"},
		{"", []string{"dump", path}, exitFailed, "encrypted"},
		{"", []string{"dump", path, "--key", key, "--passphrase-file", "-"}, exitUsage, "exclude each other"},
		{"fixture\n", []string{"check", damaged, "--passphrase-file", "-"}, exitFailed, "damaged"},
		{"", []string{"check", filepath.Join(dir, "none.db")}, exitFailed, "no such file"},
		{"", []string{"dump", "--dir", dir}, exitFailed, "mls.db"},
		{"", []string{"dump", "one", "two"}, exitUsage, "accepts at most 1 arg"},
	} {
		out, code := storeRun(tt.stdin, tt.args...)
		if !strings.Contains(out, tt.out) || code != tt.code {
			t.Errorf("%q: exit code %d, want %d; it prints %q, want %q", tt.args, code, tt.code, out, tt.out)
		}
	}
	t.Setenv(passphraseEnv, "fixture")
	if out, code := storeRun("", "check", path); code != exitOK {
		t.Errorf("the passphrase of the environment: exit code %d\n%s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); !os.IsNotExist(err) {
		t.Error("looking into a store that does not exist made one")
	}
}
