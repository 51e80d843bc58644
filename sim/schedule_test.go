package sim

import (
	"slices"
	"testing"
)

func TestScheduleFollowsFromSeed(t *testing.T) {
	a := Schedule(7, 64, 50, DefaultMix)
	if b := Schedule(7, 64, 50, DefaultMix); !slices.Equal(a, b) {
		t.Error("two schedules of one seed")
	}
	if b := Schedule(8, 64, 50, DefaultMix); slices.Equal(a, b) {
		t.Error("one schedule of two seeds")
	}
	if b := Schedule(7, 128, 50, DefaultMix); slices.Equal(a, b) {
		t.Error("one schedule for two sizes")
	}
	// Pinned: a schedule must not change between versions without notice.
	want := []Kind{Add, Update, Remove}
	var got []Kind
	for _, s := range a[:3] {
		got = append(got, s.Kind)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the first steps are %v, want each kind once", got)
	}
}

// TestScheduleKeepsTwo: no schedule leaves a group with fewer than two members, and kinds that the mix
// does not have do not occur (but an update in place of an impossible removal).
func TestScheduleKeepsTwo(t *testing.T) {
	for seed := range uint64(50) {
		for _, mix := range []Mix{DefaultMix, {Remove: 1}, {Add: 1, Remove: 3}, {Update: 1}} {
			members := 2 + int(seed%3)
			for i, s := range Schedule(seed, members, 20, mix) {
				switch s.Kind {
				case Add:
					members++
				case Remove:
					members--
				}
				if members < 2 {
					t.Fatalf("seed %d, mix %v: %d members after step %d", seed, mix, members, i)
				}
				if mix[s.Kind] == 0 && s.Kind != Update {
					t.Fatalf("seed %d, mix %v: a step of kind %v", seed, mix, s.Kind)
				}
			}
		}
	}
}

func TestScheduleMix(t *testing.T) {
	var count [kinds]int
	for _, s := range Schedule(1, 1000, 3000, Mix{Update: 1, Add: 2, Remove: 0}) {
		count[s.Kind]++
	}
	if count[Remove] != 0 || count[Add] < 1800 || count[Add] > 2200 {
		t.Errorf("update, add, remove %v of 3000 for a mix of 1, 2, 0", count)
	}
}

func TestParseMix(t *testing.T) {
	for text, want := range map[string]Mix{
		"update=2,add=1,remove=3": {Update: 2, Add: 1, Remove: 3},
		"remove":                  {Remove: 1},
		" add=4 , update=0":       {Add: 4},
	} {
		got, err := ParseMix(text)
		if err != nil || got != want {
			t.Errorf("ParseMix(%q) = %v, %v", text, got, err)
		}
		again, err := ParseMix(got.String())
		if err != nil || again != got {
			t.Errorf("ParseMix(%q.String()) = %v, %v", text, again, err)
		}
	}
	for _, text := range []string{"", "dance=1", "add=x", "add=-1", "add=1,add=2", "update=0", "add=99999999999999999999"} {
		if m, err := ParseMix(text); err == nil {
			t.Errorf("ParseMix(%q) = %v", text, m)
		}
	}
}

func TestSizes(t *testing.T) {
	if got := SizesUpTo(1024); !slices.Equal(got, []int{2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}) {
		t.Errorf("SizesUpTo(1024) = %v", got)
	}
	if got := SizesUpTo(10000); !slices.Equal(got, []int{2, 8, 32, 128, 512, 2048, 8192, 10000}) {
		t.Errorf("SizesUpTo(10000) = %v", got)
	}
	if got := Doublings(5, 21); !slices.Equal(got, []int{5, 10, 20, 21}) {
		t.Errorf("Doublings(5, 21) = %v", got)
	}
	if got := SizesUpTo(2); !slices.Equal(got, []int{2}) {
		t.Errorf("SizesUpTo(2) = %v", got)
	}
}
