package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/treekem/mls/store"
)

// ErrFault is what a Faulty store fails with.
var ErrFault = errors.New("storetest: an injected fault")

// Fault is a way in which an update fails.
type Fault int

// The faults.
const (
	// None lets the update succeed.
	None Fault = iota
	// Begin fails before anything is written.
	Begin
	// Write fails at the first write, as a full disk does.
	Write
	// Commit fails at the end, with nothing written.
	Commit
	// Lost writes the batch and fails all the same: the answer was lost.
	Lost
)

// Faulty is a store whose updates fail as it is told. It is safe for concurrent
// use.
type Faulty struct {
	store.Store

	mu     sync.Mutex
	decide func(n int) Fault
	n      int
}

// NewFaulty returns a store over inner that asks decide about each update, by
// their number from 0. A nil decide lets all succeed.
func NewFaulty(inner store.Store, decide func(n int) Fault) *Faulty {
	return &Faulty{Store: inner, decide: decide}
}

// Set replaces the decision and starts to count from 0.
func (f *Faulty) Set(decide func(n int) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide, f.n = decide, 0
}

// Updates returns how many updates were tried.
func (f *Faulty) Updates() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *Faulty) next() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.n
	f.n++
	if f.decide == nil {
		return None
	}
	return f.decide(n)
}

// Update implements [store.Store].
func (f *Faulty) Update(ctx context.Context, fn func(store.Writer) error) error {
	fault := f.next()
	if fault == Begin {
		return ErrFault
	}
	err := f.Store.Update(ctx, func(tx store.Writer) error {
		if fault == Write {
			tx = failingWriter{tx}
		}
		if err := fn(tx); err != nil {
			return err
		}
		if fault == Commit {
			return ErrFault
		}
		return nil
	})
	if err == nil && fault == Lost {
		return ErrFault
	}
	return err
}

// failingWriter can be read from and not written to.
type failingWriter struct{ store.Writer }

func (failingWriter) Put(_, _ []byte) error { return ErrFault }
func (failingWriter) Delete(_ []byte) error { return ErrFault }
