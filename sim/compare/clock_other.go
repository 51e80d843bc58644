//go:build !linux

package compare

import "time"

var started = time.Now()

// threadClock and processClock are the time on the wall where CPU time isn't at
// hand.
func threadClock() time.Duration  { return time.Since(started) }
func processClock() time.Duration { return time.Since(started) }
