package bench

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/treekem/mls/group"
)

// protect: what is signed is the content and the GroupContext, what is encrypted
// the content and the signature (RFC 9420, Sections 6.1 and 6.3.1).
func (b *bed) protect() (*task, error) {
	data := make([]byte, messageSize)
	message, err := b.committer.Protect(data, nil)
	if err != nil {
		return nil, err
	}
	return &task{
		run:   func() error { _, err := b.committer.Protect(data, nil); return err },
		work:  work{signMessage: 1, aeadSeal: 1},
		bytes: len(message),
	}, nil
}

func (b *bed) unprotect() (*task, error) {
	data := make([]byte, messageSize)
	message, err := b.committer.Protect(data, nil)
	if err != nil {
		return nil, err
	}
	return &task{
		// A message can be read once, so each run needs another.
		refill: func() (err error) {
			message, err = b.committer.Protect(data, nil)
			return err
		},
		run: func() error {
			_, err := receive[*group.Application](b.far, message)
			return err
		},
		work:  work{verifyMessage: 1, aeadOpen: 1},
		bytes: len(message),
	}, nil
}

// streamWindow is how long senders stream to be counted: some collections of
// garbage long, which are part of it.
const streamWindow = 20 * time.Millisecond

// streamTwo compares two senders at once with one.
func (b *bed) streamTwo(budget time.Duration) (Result, error) {
	var samples []sample // two, and one on each core
	cores := time.Duration(min(2, runtime.GOMAXPROCS(0)))
	senders := []*group.Group{b.committer, b.far}
	for start := time.Now(); len(samples) < minRounds || len(samples) < maxRounds && time.Since(start) < budget; {
		k := len(samples) % 2
		alone, err := stream(senders[k : k+1])
		if err != nil {
			return Result{}, err
		}
		together, err := stream(senders)
		if err != nil {
			return Result{}, err
		}
		samples = append(samples, sample{together, alone / cores})
	}
	took, bound := summarize(samples)
	return Result{Time: took, Floor: bound, Bytes: messageSize}, nil
}

// stream has each group protect messages for the time of a window, all at once, and
// returns the time to a message of all together. Each sender's rate is its own: one
// that is held up holds up no other.
func stream(senders []*group.Group) (time.Duration, error) {
	rates, errs := make([]float64, len(senders)), make([]error, len(senders))
	var wg sync.WaitGroup
	for i, g := range senders {
		wg.Go(func() { rates[i], errs[i] = streamRate(g) })
	}
	wg.Wait()
	var rate float64
	for _, r := range rates {
		rate += r
	}
	return time.Duration(1 / rate), errors.Join(errs...)
}

// streamRate protects messages until the window is over, and returns how many that
// were in a nanosecond.
func streamRate(g *group.Group) (float64, error) {
	data := make([]byte, messageSize)
	start, n := time.Now(), 0
	for time.Since(start) < streamWindow {
		if _, err := g.Protect(data, nil); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / float64(time.Since(start)), nil
}
