package sim

import "math"

// Exponent fits y = c·xᵉ to the points by least squares on their logarithms and
// returns e: 0 for what does not grow, 1 for what grows in proportion. It returns
// 0 when there are fewer than two different x.
func Exponent(x, y []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i := range x {
		if x[i] <= 0 || y[i] <= 0 {
			continue
		}
		lx, ly := math.Log(x[i]), math.Log(y[i])
		n++
		sx += lx
		sy += ly
		sxx += lx * lx
		sxy += lx * ly
	}
	d := n*sxx - sx*sx
	if n < 2 || d < 1e-12 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

// PerDoubling fits y = a + b·log2(x) by least squares and returns b, what each
// doubling of x adds.
func PerDoubling(x, y []float64) float64 {
	lx := make([]float64, len(x))
	for i := range x {
		lx[i] = math.Log2(x[i])
	}
	return slope(lx, y)
}

// slope fits y = a + b·x and returns b.
func slope(x, y []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i := range x {
		n++
		sx += x[i]
		sy += y[i]
		sxx += x[i] * x[i]
		sxy += x[i] * y[i]
	}
	d := n*sxx - sx*sx
	if n < 2 || d < 1e-12 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}
