package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/store"
	"github.com/treekem/mls/store/storetest"
)

var ctx = context.Background()

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Adapter{Open: func(*testing.T) store.Store { return store.NewMemory() }})
}

func rawKey(fill byte) store.Key {
	return store.RawKey(mls.NewSecret(bytes.Repeat([]byte{fill}, store.KeySize)))
}

// fast is Argon2 at a cost for tests.
var fast = store.Argon2{Time: 1, Memory: 64, Threads: 1}

func passphrase(s string) store.Key { return store.Passphrase(mls.NewSecret([]byte(s)), fast) }

func openSealed(t testing.TB, inner store.Store, k store.Key) *store.Sealed {
	t.Helper()
	s, err := store.OpenSealed(ctx, inner, k, store.SealOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealed(t *testing.T) {
	storetest.Run(t, storetest.Adapter{Open: func(t *testing.T) store.Store { return openSealed(t, store.NewMemory(), rawKey(1)) }})
}

func put(t testing.TB, s store.Store, key, value string) {
	t.Helper()
	if err := s.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte(key), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

func get(s store.Store, key string) (v []byte, err error) {
	err = s.View(ctx, func(tx store.Reader) error {
		v, err = tx.Get([]byte(key))
		return err
	})
	return v, err
}

func TestSealedHidesValues(t *testing.T) {
	inner := store.NewMemory()
	s := openSealed(t, inner, passphrase("correct horse"))
	put(t, s, "key", "something secret")
	put(t, s, "other", "something secret")
	var values [][]byte
	inner.View(ctx, func(tx store.Reader) error {
		for e := range tx.Scan(nil) {
			values = append(values, e.Value)
			if bytes.Contains(e.Value, []byte("secret")) || bytes.Contains(e.Value, []byte("correct horse")) {
				t.Errorf("%s is stored in the clear", e.Key)
			}
		}
		return nil
	})
	if len(values) != 4 {
		t.Fatalf("%d records, want a header, a counter and two values", len(values))
	}
}

func TestSealedKeys(t *testing.T) {
	secret := mls.NewSecret([]byte("correct horse"))
	for _, tt := range []struct {
		name        string
		make, open  store.Key
		want        error
		alsoOpensAs store.Key
	}{
		{name: "raw", make: rawKey(1), open: rawKey(1)},
		{name: "passphrase", make: passphrase("correct horse"), open: passphrase("correct horse")},
		{name: "the stored cost counts", make: passphrase("correct horse"), open: store.Passphrase(secret, store.Argon2{Time: 2, Memory: 128, Threads: 2})},
		{name: "another raw key", make: rawKey(1), open: rawKey(2), want: store.ErrWrongKey},
		{name: "another passphrase", make: passphrase("correct horse"), open: passphrase("correct house"), want: store.ErrWrongKey},
		{name: "a passphrase for a raw key", make: rawKey(1), open: passphrase("correct horse"), want: store.ErrWrongKey},
		{name: "a raw key for a passphrase", make: passphrase("correct horse"), open: rawKey(1), want: store.ErrWrongKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := store.NewMemory()
			put(t, openSealed(t, inner, tt.make), "a", "1")
			s, err := store.OpenSealed(ctx, inner, tt.open, store.SealOptions{})
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if v, err := get(s, "a"); err != nil || string(v) != "1" {
				t.Errorf("a is %q, %v", v, err)
			}
		})
	}
	if _, err := store.OpenSealed(ctx, store.NewMemory(), store.RawKey(mls.NewSecret(make([]byte, 16))), store.SealOptions{}); err == nil {
		t.Error("a raw key of 16 bytes was accepted")
	}
	if _, err := store.OpenSealed(ctx, store.NewMemory(), store.Key{}, store.SealOptions{}); err == nil {
		t.Error("no key was accepted")
	}
	if text := fmt.Sprintf("%v %+v %#v", rawKey(7), passphrase("correct horse"), passphrase("correct horse")); bytes.Contains([]byte(text), []byte("horse")) || bytes.Contains([]byte(text), []byte("7, 7")) {
		t.Errorf("a key prints as %s", text)
	}
}

func TestSealedOrNot(t *testing.T) {
	plain := store.NewMemory()
	put(t, plain, "a", "1")
	if _, err := store.OpenSealed(ctx, plain, rawKey(1), store.SealOptions{}); !errors.Is(err, store.ErrNotSealed) {
		t.Errorf("sealing a store that holds plain data: %v", err)
	}
	empty := store.NewMemory()
	if _, err := store.OpenSealed(ctx, empty, rawKey(1), store.SealOptions{MustExist: true}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an empty store that must exist: %v", err)
	}
	openSealed(t, empty, rawKey(1))
	for _, tt := range []struct {
		s    store.Store
		want bool
	}{{plain, false}, {store.NewMemory(), false}, {empty, true}} {
		if is, err := store.IsSealed(ctx, tt.s); err != nil || is != tt.want {
			t.Errorf("IsSealed is %t, %v, want %t", is, err, tt.want)
		}
	}
}

func TestRekey(t *testing.T) {
	inner := store.NewMemory()
	s := openSealed(t, inner, passphrase("old"))
	put(t, s, "a", "1")
	if err := s.Rekey(ctx, passphrase("wrong"), passphrase("new")); !errors.Is(err, store.ErrWrongKey) {
		t.Fatalf("Rekey with a wrong passphrase: %v", err)
	}
	if err := s.Rekey(ctx, passphrase("old"), rawKey(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenSealed(ctx, inner, passphrase("old"), store.SealOptions{}); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("the old passphrase: %v", err)
	}
	if v, err := get(openSealed(t, inner, rawKey(3)), "a"); err != nil || string(v) != "1" {
		t.Errorf("a is %q, %v", v, err)
	}
}

// records are all that a store holds.
func records(t testing.TB, s store.Store) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := s.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) {
			if err != nil {
				return err
			}
			all[string(e.Key)] = e.Value
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSealedTampering(t *testing.T) {
	inner := store.NewMemory()
	s := openSealed(t, inner, rawKey(1))
	put(t, s, "a", "1")
	before := records(t, inner)
	put(t, s, "b", "2")
	after := records(t, inner)
	set := func(key string, value []byte) *store.Memory {
		m := inner.Clone()
		if value == nil {
			m.Update(ctx, func(tx store.Writer) error { return tx.Delete([]byte(key)) })
		} else {
			put(t, m, key, string(value))
		}
		return m
	}
	newer := bytes.Clone(after["h"])
	newer[0]++
	for _, tt := range []struct {
		name  string
		store *store.Memory
		want  error
	}{
		{"swapped records", set("d/b", after["d/a"]), store.ErrCorrupt},
		{"an older counter", set("s", before["s"]), store.ErrRolledBack},
		{"no counter", set("s", nil), store.ErrCorrupt},
		{"the counter in the place of a value", set("d/b", after["s"]), store.ErrCorrupt},
		{"a cut value", set("d/b", after["d/b"][:20]), store.ErrCorrupt},
		{"an empty value", set("d/b", []byte{}), store.ErrCorrupt},
		{"a newer header", set("h", newer), store.ErrNewer},
		{"a cut header", set("h", after["h"][:9]), store.ErrCorrupt},
		{"no header", set("h", nil), store.ErrNotSealed},
	} {
		s, err := store.OpenSealed(ctx, tt.store, rawKey(1), store.SealOptions{})
		if err == nil {
			_, err = get(s, "b")
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if n, err := s.Sequence(ctx); err != nil || n != 2 {
		t.Errorf("Sequence is %d, %v", n, err)
	}
	if _, err := store.OpenSealed(ctx, inner, rawKey(1), store.SealOptions{AtLeast: 2}); err != nil {
		t.Error(err)
	}
	if _, err := store.OpenSealed(ctx, inner, rawKey(1), store.SealOptions{AtLeast: 3}); !errors.Is(err, store.ErrRolledBack) {
		t.Errorf("a store older than what was noted: %v", err)
	}
}

// FuzzSealedBits changes a record and asserts that nothing wrong is ever read.
func FuzzSealedBits(f *testing.F) {
	inner := store.NewMemory()
	s := openSealed(f, inner, passphrase("x"))
	values := map[string]string{"a": "value of a", "b": "", "c": "another"}
	for k, v := range values {
		put(f, s, k, v)
	}
	all := records(f, inner)
	for _, record := range []string{"h", "s", "d/a", "d/b"} {
		f.Add(record, uint(3), byte(1))
		f.Add(record, uint(40), byte(0x80))
	}
	f.Add("d/b", uint(0), byte(1))
	f.Fuzz(func(t *testing.T, record string, at uint, flip byte) {
		old, ok := all[record]
		if !ok || flip == 0 {
			t.Skip()
		}
		m := inner.Clone()
		changed := bytes.Clone(old)
		changed[at%uint(len(changed))] ^= flip
		put(t, m, record, string(changed))
		s, err := store.OpenSealed(ctx, m, passphrase("x"), store.SealOptions{})
		if err != nil {
			return
		}
		for k, want := range values {
			if got, err := get(s, k); err == nil && string(got) != want {
				t.Errorf("%s is %q after a bit of %s flipped", k, got, record)
			} else if err == nil && "d/"+k == record {
				t.Errorf("%s is read although its record changed", k)
			}
		}
	})
}

func TestAfter(t *testing.T) {
	for _, tt := range []struct{ prefix, want string }{{"a", "b"}, {"a\xff", "b"}, {"\x00", "\x01"}, {"ab\xff\xff", "ac"}} {
		if got := store.After([]byte(tt.prefix)); string(got) != tt.want {
			t.Errorf("After(%q) is %q, want %q", tt.prefix, got, tt.want)
		}
	}
	if store.After(nil) != nil || store.After([]byte("\xff\xff")) != nil {
		t.Error("there is no key after all others")
	}
}

func TestFaulty(t *testing.T) {
	for fault, written := range map[storetest.Fault]bool{
		storetest.None: true, storetest.Begin: false, storetest.Write: false, storetest.Commit: false, storetest.Lost: true,
	} {
		inner := store.NewMemory()
		f := storetest.NewFaulty(inner, func(int) storetest.Fault { return fault })
		err := f.Update(ctx, func(tx store.Writer) error { return tx.Put([]byte("a"), nil) })
		if (err == nil) != (fault == storetest.None) {
			t.Errorf("fault %d: %v", fault, err)
		}
		if _, err := get(inner, "a"); (err == nil) != written {
			t.Errorf("fault %d: then %v", fault, err)
		}
	}
}

// TestSealedScanGoesOn: a record that does not decrypt is named, and the others are read.
func TestSealedScanGoesOn(t *testing.T) {
	inner := store.NewMemory()
	s := openSealed(t, inner, rawKey(1))
	for _, key := range []string{"a", "b", "c"} {
		put(t, s, key, key)
	}
	put(t, inner, "d/b", "\x01no record")
	var got []string
	err := s.View(ctx, func(tx store.Reader) error {
		for e, err := range tx.Scan(nil) {
			if (string(e.Key) == "b") != errors.Is(err, store.ErrCorrupt) || err != nil && e.Value != nil {
				t.Errorf("%q: %q, %v", e.Key, e.Value, err)
			}
			got = append(got, string(e.Key))
		}
		return nil
	})
	if want := []string{"a", "b", "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
