package compare

import (
	"syscall"
	"time"
)

// rusageThread is RUSAGE_THREAD, which package syscall doesn't name.
const rusageThread = 1

// threadClock is the CPU time of the calling thread, which the goroutine must be
// locked to; processClock that of all threads. What other programs do at the
// same time doesn't count.
func threadClock() time.Duration  { return usage(rusageThread) }
func processClock() time.Duration { return usage(syscall.RUSAGE_SELF) }

func usage(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
