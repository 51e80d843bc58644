package store

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store that lasts as long as the process, for tests and
// simulations.
type Memory struct {
	mu     sync.RWMutex
	data   map[string][]byte
	closed bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{data: make(map[string][]byte)} }

// Clone returns another store with the same contents: what a crash would leave.
func (m *Memory) Clone() *Memory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := NewMemory()
	for k, v := range m.data {
		c.data[k] = bytes.Clone(v)
	}
	return c
}

// View implements [Store].
func (m *Memory) View(ctx context.Context, f func(Reader) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	return f(&memoryTx{ctx: ctx, base: m.data})
}

// Update implements [Store].
func (m *Memory) Update(ctx context.Context, f func(Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	tx := &memoryTx{ctx: ctx, base: m.data, written: make(map[string][]byte)}
	if err := f(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for k, v := range tx.written {
		clear(m.data[k])
		if v == nil {
			delete(m.data, k)
		} else {
			m.data[k] = v
		}
	}
	return nil
}

// Close implements [Store].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

// memoryTx is a transaction: what it wrote lies over the base.
type memoryTx struct {
	ctx  context.Context
	base map[string][]byte
	// written has nil for what was deleted.
	written map[string][]byte
}

func (t *memoryTx) get(key string) ([]byte, bool) {
	if v, ok := t.written[key]; ok {
		return v, v != nil
	}
	v, ok := t.base[key]
	return v, ok
}

func (t *memoryTx) Get(key []byte) ([]byte, error) {
	if err := check(t.ctx, key); err != nil {
		return nil, err
	}
	v, ok := t.get(string(key))
	if !ok {
		return nil, ErrNotFound
	}
	return append([]byte{}, v...), nil
}

func (t *memoryTx) Scan(prefix []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, k := range t.keys(string(prefix)) {
			if err := t.ctx.Err(); err != nil {
				yield(Entry{}, err)
				return
			}
			v, _ := t.get(k)
			if !yield(Entry{[]byte(k), append([]byte{}, v...)}, nil) {
				return
			}
		}
	}
}

// keys lists the keys with a prefix, ascending.
func (t *memoryTx) keys(prefix string) []string {
	var keys []string
	for k := range t.base {
		if _, over := t.written[k]; !over && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	for k, v := range t.written {
		if v != nil && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (t *memoryTx) Put(key, value []byte) error {
	if err := check(t.ctx, key); err != nil {
		return err
	}
	t.written[string(key)] = append([]byte{}, value...)
	return nil
}

func (t *memoryTx) Delete(key []byte) error {
	if err := check(t.ctx, key); err != nil {
		return err
	}
	t.written[string(key)] = nil
	return nil
}

func check(ctx context.Context, key []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckKey(key)
}
