package bench

import (
	"context"
	"errors"
	"fmt"
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

// streamTwo compares two senders at once with one, on two cores.
func (b *bed) streamTwo(ctx context.Context, budget time.Duration) (Result, error) {
	const cores = 2
	if runtime.GOMAXPROCS(0) < cores {
		return Result{}, fmt.Errorf("%w: stream-two takes two cores", errNothing)
	}
	budget *= 5          // a window is long, and whoever else uses the second core is felt
	var samples []sample // two, and one on each core
	senders := []*group.Group{b.committer, b.far}
	for start := time.Now(); len(samples) < minRounds || len(samples) < maxRounds && time.Since(start) < budget; {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
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

// stream has each group protect messages until a window is over, the same for all,
// and returns the time to a message of all together. A sender that is held up holds
// up no other.
func stream(senders []*group.Group) (time.Duration, error) {
	counts, errs := make([]int, len(senders)), make([]error, len(senders))
	data := make([]byte, messageSize)
	start := time.Now()
	var wg sync.WaitGroup
	for i, g := range senders {
		wg.Go(func() {
			for { // at least one
				_, errs[i] = g.Protect(data, nil)
				counts[i]++
				if errs[i] != nil || time.Since(start) >= streamWindow {
					return
				}
			}
		})
	}
	wg.Wait()
	sent := 0
	for _, n := range counts {
		sent += n
	}
	return time.Since(start) / time.Duration(sent), errors.Join(errs...)
}
