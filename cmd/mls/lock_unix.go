//go:build unix && !solaris && !aix

package main

import (
	"os"
	"syscall"
)

// lockFile takes the lock that f stands for; wait says whether to wait for it. The operating system
// releases it when f is closed or the process ends, so a crash leaves no lock behind.
func lockFile(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return err
		}
	}
}
