package compare

import (
	"math"
	"testing"
)

// TestTreeFigures holds the means at 256 members against the published ones.
func TestTreeFigures(t *testing.T) {
	r, err := RunTree(t.Context(), TreeConfig{Sizes: []int{256}, Large: 128, Paper: 5, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Updates {
		if x.Expected > 0 && math.Abs(x.Mean/x.Expected-1) > 0.1 {
			t.Errorf("%s: a mean of %.1f ciphertexts, where %.0f are published", x.Name, x.Mean, x.Expected)
		}
	}
	for _, x := range r.Healing {
		if x.First != 127 {
			t.Errorf("healing by %s: the first commit has %d ciphertexts, not 127", x.Name, x.First)
		}
	}
}
