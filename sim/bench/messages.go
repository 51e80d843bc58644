package bench

import (
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

// streamBatch is how many messages a sender protects between two looks at the
// clock.
const streamBatch = 200

// streamTwo compares two senders at once with one.
func (b *bed) streamTwo(budget time.Duration) (Result, error) {
	data := make([]byte, messageSize)
	send := func(g *group.Group, n int) error {
		for range n {
			if _, err := g.Protect(data, nil); err != nil {
				return err
			}
		}
		return nil
	}
	var samples []sample // together, and alone on each core
	cores := time.Duration(min(2, runtime.GOMAXPROCS(0)))
	senders := []*group.Group{b.committer, b.far}
	for start := time.Now(); len(samples) < minRounds || len(samples) < maxRounds && time.Since(start) < budget; {
		before := time.Now()
		if err := send(senders[len(samples)%2], 2*streamBatch); err != nil {
			return Result{}, err
		}
		alone := time.Since(before) / (2 * streamBatch)
		before = time.Now()
		var wg sync.WaitGroup
		errs := make([]error, len(senders))
		for i, g := range senders {
			wg.Go(func() { errs[i] = send(g, streamBatch) })
		}
		wg.Wait()
		samples = append(samples, sample{time.Since(before) / (2 * streamBatch), alone / cores})
		for _, err := range errs {
			if err != nil {
				return Result{}, err
			}
		}
	}
	took, bound := summarize(samples)
	return Result{Time: took, Floor: bound, Bytes: messageSize}, nil
}
