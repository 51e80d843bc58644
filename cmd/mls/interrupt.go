package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// untilStopped is a context that ends when somebody wants the process to end. Whoever wants it a second time, as
// work ends where it next looks at the context, gets it at once.
func untilStopped() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// interrupted puts what stopped long work into the words of the command line.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}
