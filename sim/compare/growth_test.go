package compare

import (
	"testing"

	"github.com/treekem/mls/sim/protocols"
)

// TestFit holds fits against costs whose growth is known.
func TestFit(t *testing.T) {
	for _, tt := range []struct {
		law         string
		exponent    float64
		perDoubling float64
		cost        func(n, log int) int
	}{
		{"n", 0.99, 1080, func(n, _ int) int { return 82*n + 40 }},
		{"log n", 0.14, 117, func(_, log int) int { return 416 + 117*log }},
		{"1", 0, 0, func(int, int) int { return 248 }},
	} {
		var points []Point
		for log := 3; log <= 13; log += 2 {
			points = append(points, Point{Members: 1 << log, RekeyBytes: tt.cost(1<<log, log)})
		}
		f := fitGrowth(points).RekeyBytes
		if f.Law != tt.law || f.Exponent < tt.exponent-0.015 || f.Exponent > tt.exponent+0.015 {
			t.Errorf("%s: %+v", tt.law, f)
		}
		if tt.law == "log n" && f.PerDoubling != tt.perDoubling {
			t.Errorf("%s: %.0f a doubling, not %.0f", tt.law, f.PerDoubling, tt.perDoubling)
		}
	}
}

// TestGrowth: what renews the keys of a group grows with n in designs 2 to 5, 7
// and 8, and with log n where there is a tree.
func TestGrowth(t *testing.T) {
	for _, d := range protocols.All() {
		law := "n"
		switch d.Number {
		case 1, 6:
			continue // no keys; not in the sizes of the others
		case 9, 10:
			law = "log n"
		}
		r := new(DesignReport)
		if err := r.sweep(t.Context(), d, []int{8, 32, 128}, func(int) {}); err != nil {
			t.Fatal(err)
		}
		f := r.Growth.RekeyBytes
		if f.Law != law || law == "n" && (f.Exponent < 0.85 || f.Exponent > 1.25) || law == "log n" && f.Exponent > 0.35 {
			t.Errorf("%s: %+v", d.Name, f)
		}
	}
}
