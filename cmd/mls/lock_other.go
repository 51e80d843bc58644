//go:build !unix || solaris || aix

package main

import (
	"os"
	"time"
)

// lockFile takes the lock that f stands for; wait says whether to wait for it. Without an advisory lock
// that the operating system releases, a directory beside f serves: making it is atomic everywhere.
func lockFile(f *os.File, wait bool) error {
	for {
		err := os.Mkdir(f.Name()+".held", 0o700)
		if err == nil || !os.IsExist(err) || !wait {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
