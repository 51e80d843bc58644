// Package storetest has the tests that every adapter of package store has to
// pass, and a store that fails on purpose.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/treekem/mls/store"
)

// Adapter says how to open the stores under test.
type Adapter struct {
	// Open returns a store that is empty. The tests close it.
	Open func(t *testing.T) store.Store
	// Reopen returns the store again after it was closed, with what it held.
	// Nil stands for an adapter that does not outlive its process.
	Reopen func(t *testing.T) store.Store
}

var ctx = context.Background()

// Run runs the tests.
func Run(t *testing.T, a Adapter) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"ReadAndWrite", readAndWrite},
		{"Keys", keys},
		{"Scan", scan},
		{"ScanLong", scanLong},
		{"OwnWrites", ownWrites},
		{"FailedUpdate", failedUpdate},
		{"Panic", panics},
		{"Copies", copies},
		{"Context", contexts},
		{"Snapshot", snapshot},
		{"Concurrent", concurrent},
		{"Large", large},
		{"Closed", closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := a.Open(t)
			defer s.Close()
			test.run(t, s)
		})
	}
	if a.Reopen != nil {
		t.Run("Reopen", func(t *testing.T) { reopen(t, a) })
	}
}

func put(t *testing.T, s store.Store, pairs ...string) {
	t.Helper()
	err := s.Update(ctx, func(tx store.Writer) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// want asserts what the keys with a prefix and their values are.
func want(t *testing.T, s store.Store, prefix string, pairs ...string) {
	t.Helper()
	var got []string
	err := s.View(ctx, func(tx store.Reader) error {
		var err error
		got, err = list(tx, prefix)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, pairs) {
		t.Fatalf("below %q there is %q, want %q", prefix, got, pairs)
	}
}

func list(tx store.Reader, prefix string) ([]string, error) {
	var got []string
	for e, err := range tx.Scan([]byte(prefix)) {
		if err != nil {
			return nil, err
		}
		got = append(got, string(e.Key), string(e.Value))
	}
	return got, nil
}

func readAndWrite(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "2", "empty", "")
	put(t, s, "a", "3")
	err := s.Update(ctx, func(tx store.Writer) error {
		return errors.Join(tx.Delete([]byte("b")), tx.Delete([]byte("never there")), tx.Put([]byte("nil"), nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, "", "a", "3", "empty", "", "nil", "")
	err = s.View(ctx, func(tx store.Reader) error {
		if v, err := tx.Get([]byte("a")); err != nil || string(v) != "3" {
			t.Errorf("a is %q, %v", v, err)
		}
		for _, k := range []string{"empty", "nil"} {
			if v, err := tx.Get([]byte(k)); err != nil || v == nil || len(v) != 0 {
				t.Errorf("%s is %q, %v: want an empty value", k, v, err)
			}
		}
		for _, k := range []string{"b", "c", "never there"} {
			if _, err := tx.Get([]byte(k)); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", k, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, s store.Store) {
	longest := bytes.Repeat([]byte{0xff}, store.MaxKey)
	all := [][]byte{{0}, {0, 0}, {1}, []byte("a\x00b"), {0xff}, longest}
	err := s.Update(ctx, func(tx store.Writer) error {
		for _, k := range all {
			if err := tx.Put(k, k); err != nil {
				return err
			}
		}
		for _, bad := range [][]byte{nil, {}, make([]byte, 2*store.MaxKey)} {
			if tx.Put(bad, nil) == nil {
				t.Errorf("a key of %d bytes was written", len(bad))
			}
			if _, err := tx.Get(bad); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("a key of %d bytes was read: %v", len(bad), err)
			}
			if tx.Delete(bad) == nil {
				t.Errorf("a key of %d bytes was deleted", len(bad))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(ctx, func(tx store.Reader) error {
		for _, k := range all {
			if v, err := tx.Get(k); err != nil || !bytes.Equal(v, k) {
				t.Errorf("key %x: %x, %v", k, v, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, "\xff", "\xff", "\xff", string(longest), string(longest))
}

func scan(t *testing.T, s store.Store) {
	put(t, s, "b/2", "y", "a", "1", "b/1", "x", "b", "0", "c", "2", "b0", "z", "b/", "w", "\xff\xff", "f", "\xff", "e")
	want(t, s, "b/", "b/", "w", "b/1", "x", "b/2", "y")
	want(t, s, "b", "b", "0", "b/", "w", "b/1", "x", "b/2", "y", "b0", "z")
	want(t, s, "\xff", "\xff", "e", "\xff\xff", "f")
	want(t, s, "d")
	want(t, s, "", "a", "1", "b", "0", "b/", "w", "b/1", "x", "b/2", "y", "b0", "z", "c", "2", "\xff", "e", "\xff\xff", "f")
	err := s.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) { // leaving a scan early
			if err != nil || string(e.Key) != "a" {
				t.Errorf("first is %q, %v", e.Key, err)
			}
			break
		}
		for e, err := range tx.Scan([]byte("b/")) { // reading within one
			if err != nil {
				return err
			}
			if v, err := tx.Get(e.Key); err != nil || !bytes.Equal(v, e.Value) {
				t.Errorf("%s: %q, %v", e.Key, v, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func scanLong(t *testing.T, s store.Store) {
	const n = 1000
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("k%04d", i), fmt.Sprint(i))
	}
	put(t, s, pairs...)
	put(t, s, "j", "before", "l", "after")
	want(t, s, "k", pairs...)
}

func ownWrites(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "2")
	err := s.Update(ctx, func(tx store.Writer) error {
		if err := errors.Join(tx.Put([]byte("c"), []byte("3")), tx.Delete([]byte("a")), tx.Put([]byte("b"), []byte("4"))); err != nil {
			return err
		}
		got, err := list(tx, "")
		if err != nil {
			return err
		}
		if !slices.Equal(got, []string{"b", "4", "c", "3"}) {
			t.Errorf("within the batch there is %q", got)
		}
		if _, err := tx.Get([]byte("a")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a, deleted within the batch: %v", err)
		}
		if err := tx.Put([]byte("a"), []byte("5")); err != nil {
			return err
		}
		v, err := tx.Get([]byte("a"))
		if string(v) != "5" {
			t.Errorf("a, put again: %q", v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, "", "a", "5", "b", "4", "c", "3")
}

var errWanted = errors.New("storetest: a wanted error")

func failedUpdate(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	err := s.Update(ctx, func(tx store.Writer) error {
		if err := errors.Join(tx.Put([]byte("a"), []byte("2")), tx.Put([]byte("b"), []byte("2"))); err != nil {
			return err
		}
		return fmt.Errorf("wrapped: %w", errWanted)
	})
	if !errors.Is(err, errWanted) {
		t.Fatalf("Update returned %v", err)
	}
	if err := s.View(ctx, func(store.Reader) error { return errWanted }); !errors.Is(err, errWanted) {
		t.Fatalf("View returned %v", err)
	}
	want(t, s, "", "a", "1")
}

func panics(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		s.Update(ctx, func(tx store.Writer) error {
			tx.Put([]byte("a"), []byte("2"))
			panic("wanted")
		})
	}()
	want(t, s, "", "a", "1")
	put(t, s, "b", "2")
	want(t, s, "", "a", "1", "b", "2")
}

func copies(t *testing.T, s store.Store) {
	key, value := []byte("key"), []byte("value")
	err := s.Update(ctx, func(tx store.Writer) error {
		err := tx.Put(key, value)
		clear(value)
		return err
	})
	clear(key)
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(ctx, func(tx store.Reader) error {
		v, err := tx.Get([]byte("key"))
		clear(v)
		for e, err := range tx.Scan(nil) {
			if err != nil {
				return err
			}
			clear(e.Key)
			clear(e.Value)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, "", "key", "value")
}

func contexts(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	done, cancel := context.WithCancel(ctx)
	cancel()
	nothing := func() { t.Error("a function was called though the context is over") }
	if err := s.View(done, func(store.Reader) error { nothing(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v", err)
	}
	if err := s.Update(done, func(store.Writer) error { nothing(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	during, cancel := context.WithCancel(ctx)
	err := s.Update(during, func(tx store.Writer) error {
		if err := tx.Put([]byte("a"), []byte("2")); err != nil {
			return err
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update whose context ends within: %v", err)
	}
	want(t, s, "", "a", "1")
}

func snapshot(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "1")
	inside, written := make(chan struct{}), make(chan error, 1)
	go func() {
		<-inside
		written <- s.Update(ctx, func(tx store.Writer) error {
			return errors.Join(tx.Put([]byte("a"), []byte("2")), tx.Put([]byte("b"), []byte("2")))
		})
	}()
	err := s.View(ctx, func(tx store.Reader) error {
		a, err := tx.Get([]byte("a"))
		if err != nil {
			return err
		}
		close(inside)
		b, err := tx.Get([]byte("b"))
		if !bytes.Equal(a, b) {
			t.Errorf("a view saw half a batch: %s %s", a, b)
		}
		return err
	})
	if err := errors.Join(err, <-written); err != nil {
		t.Fatal(err)
	}
	want(t, s, "", "a", "2", "b", "2")
}

func concurrent(t *testing.T, s store.Store) {
	const workers, each = 8, 10
	put(t, s, "n", string([]byte{0}))
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				err := s.Update(ctx, func(tx store.Writer) error {
					v, err := tx.Get([]byte("n"))
					if err != nil {
						return err
					}
					return tx.Put([]byte("n"), []byte{v[0] + 1})
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	want(t, s, "n", "n", string([]byte{workers * each}))
}

func large(t *testing.T, s store.Store) {
	value := make([]byte, 3<<20)
	for i := range value {
		value[i] = byte(i * i >> 7)
	}
	put(t, s, "big", string(value), "small", "1")
	err := s.View(ctx, func(tx store.Reader) error {
		v, err := tx.Get([]byte("big"))
		if !bytes.Equal(v, value) {
			t.Error("a value of 3 MiB came back different")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if err := s.View(ctx, func(store.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View after Close: %v", err)
	}
	if err := s.Update(ctx, func(store.Writer) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
}

func reopen(t *testing.T, a Adapter) {
	s := a.Open(t)
	put(t, s, "a", "1", "b", "2")
	err := s.Update(ctx, func(tx store.Writer) error { return tx.Delete([]byte("a")) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = a.Reopen(t)
		want(t, s, "", "b", "2")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
