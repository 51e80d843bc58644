package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// lock keeps other processes from the state in dir until unlock is called: two interleaved sends would
// use the same key twice. Waiting is said on talk, once.
func lock(dir string, talk io.Writer) (unlock func(), err error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if lockFile(f, false) != nil {
		fmt.Fprintf(talk, "mls: waiting for another process that works in %s\n", dir)
		if err := lockFile(f, true); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
	return func() {
		f.Close()
		os.Remove(name + ".held") // exists only where lock_other.go made it
	}, nil
}
