package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// A progress shows on standard error how far a command is: a bar on a terminal, else a plain line when
// what it does changes, not more often than lineEvery.
type progress struct {
	app   *app
	bars  *mpb.Progress
	bar   *mpb.Bar
	doing atomic.Value // string; the bar reads it on its own goroutine
	last  time.Time
}

// Logs are kept short where there is no terminal: a line for something new at most
// every lineEvery, and one for what goes on every sameEvery.
const (
	lineEvery = 2 * time.Second
	sameEvery = 30 * time.Second
)

func (a *app) newProgress() *progress {
	p := &progress{app: a, last: time.Now()}
	p.doing.Store("")
	if !isTerminal(a.stderr) {
		return p
	}
	p.bars = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	p.bar = p.bars.New(0, mpb.BarStyle().Lbound("").Rbound("").Filler("█").Tip("█").Padding("░"),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Percentage(decor.WC{W: 5}), decor.Name(" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + p.doing.Load().(string) })),
	)
	return p
}

// update says what is being done, and how much of the total is done. It is called by one goroutine.
func (p *progress) update(doing string, done, total int) {
	if p.bar != nil {
		p.doing.Store(doing)
		p.bar.SetTotal(int64(total), false)
		p.bar.SetCurrent(int64(min(done, total-1))) // the last unit ends the bar
		return
	}
	wait := lineEvery
	if doing == p.doing.Load() {
		wait = sameEvery
	}
	if time.Since(p.last) < wait {
		return
	}
	p.doing.Store(doing)
	p.last = time.Now()
	fmt.Fprintf(p.app.stderr, "%3d%%  %s\n", 100*done/max(total, 1), doing)
}

// done takes the bar away.
func (p *progress) done() {
	if p.bar != nil {
		p.bar.SetTotal(-1, true)
		p.bars.Wait()
	}
}
