package client

import "sync"

// events hands events to the application one at a time, in the order in which
// they were added. Whoever adds one while another is handed out leaves it to
// that goroutine, so that the application may call the client from Notify.
type events struct {
	mu      sync.Mutex
	queue   []Event
	running bool
}

// add queues events. The caller may hold the lock of their group.
func (e *events) add(list []Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, list...)
}

// run hands out what is queued. The caller holds no lock.
func (e *events) run(notify func(Event)) {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 || e.running {
			e.mu.Unlock()
			return
		}
		next := e.queue[0]
		e.queue = e.queue[1:]
		e.running = true
		e.mu.Unlock()
		e.one(notify, next)
	}
}

// tell hands out what there is to tell. The caller holds no lock.
func (c *Client) tell() {
	if notify := c.cfg.Notify; notify != nil {
		c.events.run(notify)
	}
}

func (e *events) one(notify func(Event), next Event) {
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.running = false
	}()
	notify(next)
}
