package mls

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestNewTable(t *testing.T) {
	moved, err := newTable(PublishedCodePoints())
	if err != nil {
		t.Fatal(err)
	}
	if len(moved.suites) != len(rows) {
		t.Errorf("%d suites of %d", len(moved.suites), len(rows))
	}
	for i, s := range moved.suites {
		if i > 0 && s.id <= moved.suites[i-1].id {
			t.Errorf("%v at %d, after %d", s, s.id, moved.suites[i-1].id)
		}
		if moved.find(s.id) != s {
			t.Errorf("%v isn't found", s)
		}
	}
	for id, number := range PublishedCodePoints() {
		before := mustSuite(t, id)
		s := moved.find(number)
		if s == nil || s.ID() != number || s.String() != before.String() || s.hpke != before.hpke || s.signature != before.signature {
			t.Errorf("%d is %v", number, s)
		}
		if moved.find(id) != nil {
			t.Errorf("%v is at its old code point too", before)
		}
		if before.ID() != id {
			t.Error("the default table has changed")
		}
	}
	swapped, err := newTable(map[CipherSuite]CipherSuite{0xf601: 0xf602, 0xf602: 0xf601, 0xf603: 0xf603})
	if err != nil || swapped.find(0xf601).name != mustSuite(t, 0xf602).name || len(swapped.numbers) != 2 {
		t.Errorf("two that change places: %v", err)
	}
}

func TestNewTableRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		numbers map[CipherSuite]CipherSuite
		text    string
	}{
		"assigned":    {map[CipherSuite]CipherSuite{1: 0xf001}, "assigned"},
		"taken":       {map[CipherSuite]CipherSuite{0xf601: 7}, "under the code point 0x0007"},
		"twice":       {map[CipherSuite]CipherSuite{0xf601: 8, 0xf602: 8}, "under the code point 0x0008"},
		"not free":    {map[CipherSuite]CipherSuite{0xf601: 0xf602}, "under the code point 0xf602"},
		"zero":        {map[CipherSuite]CipherSuite{0xf601: 0}, "no code point"},
		"GREASE":      {map[CipherSuite]CipherSuite{0xf601: 0x2a2a}, "GREASE"},
		"nobody's":    {map[CipherSuite]CipherSuite{0xf6ff: 8}, "unsupported"},
		"the changed": {map[CipherSuite]CipherSuite{8: 0xf601}, "unsupported"},
	} {
		if got, err := newTable(c.numbers); got != nil || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if err := SetCodePoints(c.numbers); err == nil || errors.Is(err, errTableInUse) {
			t.Errorf("%s: set, %v", name, err)
		}
	}
}

// The table of this process is the default one and in use.
func TestSetCodePointsTooLate(t *testing.T) {
	Suites()
	if err := SetCodePoints(PublishedCodePoints()); err != errTableInUse {
		t.Errorf("too late: %v", err)
	}
	if err := SetCodePoints(nil); err != nil {
		t.Errorf("as they are: %v", err)
	}
	if err := SetCodePoints(map[CipherSuite]CipherSuite{0xf601: 0xf601}); err != nil {
		t.Errorf("as they are: %v", err)
	}
	if s, err := LookupSuite(8); err == nil {
		t.Errorf("8 is %v", s)
	}
}

const tableProcess = "MLS_TEST_TABLE"

// TestSetCodePoints runs itself in a process whose table nobody has used.
func TestSetCodePoints(t *testing.T) {
	for _, who := range []string{"first", "race"} {
		if os.Getenv(tableProcess) == who {
			map[string]func(*testing.T){"first": setFirst, "race": setInRace}[who](t)
			return
		}
	}
	for _, who := range []string{"first", "race"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSetCodePoints$", "-test.v")
		cmd.Env = append(os.Environ(), tableProcess+"="+who)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "the table is as it was set") {
			t.Errorf("%s: %v\n%s", who, err, out)
		}
	}
}

func setFirst(t *testing.T) {
	if err := SetCodePoints(PublishedCodePoints()); err != nil {
		t.Fatal(err)
	}
	var ids []CipherSuite
	for _, s := range Suites() {
		ids = append(ids, s.ID())
	}
	want := []CipherSuite{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xf601, 0xf603, 0xf606, 0xf607, 0xf608, 0xf609, 0xf60a, 0xf60b}
	if !slices.Equal(ids, want) {
		t.Errorf("suites %v", ids)
	}
	if got := CipherSuite(9).String(); got != "MLS_128_MLKEM768P256_AES256GCM_SHA384_P256" {
		t.Errorf("9 is %s", got)
	}
	if _, err := LookupSuite(MLKEM768P256_AES256GCM_SHA384_P256); !errors.Is(err, ErrUnsupported) {
		t.Errorf("the constant: %v", err)
	}
	if err := SetCodePoints(PublishedCodePoints()); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := SetCodePoints(nil); err != errTableInUse {
		t.Errorf("others: %v", err)
	}
	fmt.Println("the table is as it was set")
}

// setInRace: of many that set different numbers while others look, at most one
// is told that it did, and what is looked up never changes.
func setInRace(t *testing.T) {
	var wg sync.WaitGroup
	const n = 16
	errs, seen := make([]error, n), make([][]*Suite, n)
	for i := range n {
		wg.Go(func() {
			if i%4 != 3 {
				errs[i] = SetCodePoints(map[CipherSuite]CipherSuite{0xf601: CipherSuite(0xf700 + i)})
			}
			seen[i] = Suites()
		})
	}
	wg.Wait()
	done := 0
	for i := range n {
		if !slices.Equal(seen[i], seen[0]) {
			t.Error("two saw different tables")
		}
		if i%4 == 3 {
			continue
		}
		_, err := LookupSuite(CipherSuite(0xf700 + i))
		if (errs[i] == nil) != (err == nil) {
			t.Errorf("%d: set %v, lookup %v", i, errs[i], err)
		}
		if errs[i] == nil {
			done++
		}
	}
	if done > 1 {
		t.Errorf("%d set the table", done)
	}
	fmt.Println("the table is as it was set")
}

func TestWithID(t *testing.T) {
	s := mustSuite(t, MLKEM768P256_AES256GCM_SHA384_P256)
	c := s.WithID(9)
	if c.ID() != 9 || c.String() != s.String() || s.ID() != MLKEM768P256_AES256GCM_SHA384_P256 {
		t.Errorf("%d and %d", c.ID(), s.ID())
	}
	if got, err := LookupSuite(9); err == nil {
		t.Errorf("in the table: %v", got)
	}
	k := mustKey(t, s)
	ct, err := c.EncryptWithLabel(k.Public(), "label", nil, []byte("plaintext"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DecryptWithLabel(k, "label", nil, ct); err != nil {
		t.Errorf("another KEM: %v", err)
	}
	if !maps.Equal(PublishedCodePoints(), PublishedCodePoints()) {
		t.Error("the published numbers change")
	}
}
