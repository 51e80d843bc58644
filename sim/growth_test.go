package sim

import (
	"math"
	"testing"
)

func points(f func(x float64) float64) (x, y []float64) {
	for n := 2.0; n <= 4096; n *= 2 {
		x, y = append(x, n), append(y, f(n))
	}
	return x, y
}

func TestExponent(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(float64) float64
		want float64
	}{
		{"constant", func(float64) float64 { return 7 }, 0},
		{"linear", func(x float64) float64 { return 82 * x }, 1},
		{"square", func(x float64) float64 { return 3 * x * x }, 2},
		{"root", math.Sqrt, 0.5},
	} {
		if got := Exponent(points(tt.f)); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: exponent %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := Exponent(points(func(x float64) float64 { return 400 + 117*math.Log2(x) })); got > 0.25 {
		t.Errorf("exponent %v of a logarithm, want a small one", got)
	}
	// Too little to fit.
	for _, p := range [][]float64{nil, {3}, {3, 3}, {0, 0}} {
		if got := Exponent(p, p); got != 0 {
			t.Errorf("exponent %v over %v, want 0", got, p)
		}
	}
}

func TestSlopes(t *testing.T) {
	if got := PerDoubling(points(func(x float64) float64 { return 385 + 117*math.Log2(x) })); math.Abs(got-117) > 1e-6 {
		t.Errorf("%v for each doubling, want 117", got)
	}
	if got := slope(points(func(x float64) float64 { return 82*x + 5 })); math.Abs(got-82) > 1e-6 {
		t.Errorf("slope %v, want 82", got)
	}
	if got := slope([]float64{4}, []float64{9}); got != 0 {
		t.Errorf("slope %v of one point, want 0", got)
	}
}
