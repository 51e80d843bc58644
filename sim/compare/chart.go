package compare

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// chart draws lines over logarithmic axes as SVG. It takes its colours from the
// page's style sheet, for light and dark.
type chart struct {
	title, xTitle, yTitle string
	lines                 []chartLine
	yFormat               func(float64) string
}

type chartLine struct {
	name  string
	class string // of the style sheet: its colour
	x, y  []float64
	// guide is a curve to compare with, drawn dashed and thin.
	guide bool
	strong,
	dots bool
}

const (
	chartWidth, chartHeight          = 640, 400
	chartLeft, chartRight            = 74, 26
	chartTop, chartBottom            = 12, 46
	plotWidth                        = chartWidth - chartLeft - chartRight
	plotHeight                       = chartHeight - chartTop - chartBottom
	minX, maxX, minY, maxY, axisTick = 0, 1, 2, 3, 8
)

// bounds are the logarithms of the smallest and largest values.
func (c *chart) bounds() [4]float64 {
	b := [4]float64{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	for _, l := range c.lines {
		for i := range l.x {
			if l.y[i] <= 0 || l.x[i] <= 0 {
				continue
			}
			b[minX], b[maxX] = min(b[minX], math.Log10(l.x[i])), max(b[maxX], math.Log10(l.x[i]))
			b[minY], b[maxY] = min(b[minY], math.Log10(l.y[i])), max(b[maxY], math.Log10(l.y[i]))
		}
	}
	b[minY], b[maxY] = math.Floor(b[minY]), math.Ceil(b[maxY])
	if b[maxY] <= b[minY] {
		b[maxY] = b[minY] + 1
	}
	if b[maxX] <= b[minX] {
		b[maxX] = b[minX] + 1
	}
	return b
}

// render returns the drawing.
func (c *chart) render() template.HTML {
	drawn := slices.DeleteFunc(slices.Clone(c.lines), func(l chartLine) bool { return !slices.ContainsFunc(l.y, func(y float64) bool { return y > 0 }) })
	c = &chart{c.title, c.xTitle, c.yTitle, drawn, c.yFormat}
	if len(drawn) == 0 {
		return ""
	}
	b := c.bounds()
	px := func(x float64) float64 {
		return chartLeft + (math.Log10(x)-b[minX])/(b[maxX]-b[minX])*plotWidth
	}
	py := func(y float64) float64 {
		return chartTop + (b[maxY]-math.Log10(y))/(b[maxY]-b[minY])*plotHeight
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<figure><figcaption>%s</figcaption><svg viewBox="0 0 %d %d" role="img" aria-label="%s">`,
		template.HTMLEscapeString(c.title), chartWidth, chartHeight, template.HTMLEscapeString(c.title))
	c.axes(&s, b, px, py)
	for _, l := range drawn {
		l.draw(&s, px, py)
	}
	s.WriteString(`</svg><ul class="legend">`)
	for _, l := range drawn {
		fmt.Fprintf(&s, `<li><span class="key %s%s"></span>%s</li>`, l.class, guideClass(l.guide), template.HTMLEscapeString(l.name))
	}
	s.WriteString(`</ul></figure>`)
	return template.HTML(s.String())
}

func guideClass(guide bool) string {
	if guide {
		return " guide"
	}
	return ""
}

func (c *chart) axes(s *strings.Builder, b [4]float64, px, py func(float64) float64) {
	for e := b[minY]; e <= b[maxY]; e++ {
		y := py(math.Pow(10, e))
		fmt.Fprintf(s, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, chartLeft, chartWidth-chartRight, y, y)
		fmt.Fprintf(s, `<text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`, chartLeft-axisTick, y+5, c.yFormat(math.Pow(10, e)))
	}
	var ticks []float64
	for _, l := range c.lines {
		for _, x := range l.x {
			if !slices.Contains(ticks, x) {
				ticks = append(ticks, x)
			}
		}
	}
	slices.Sort(ticks)
	last := -100.0
	for _, x := range ticks {
		if px(x)-last < 60 {
			continue
		}
		last = px(x)
		fmt.Fprintf(s, `<text class="tick" x="%.1f" y="%d" text-anchor="middle">%.0f</text>`, px(x), chartHeight-chartBottom+20, x)
	}
	fmt.Fprintf(s, `<text class="tick" x="%d" y="%d" text-anchor="middle">%s</text>`, chartLeft+plotWidth/2, chartHeight-6, template.HTMLEscapeString(c.xTitle))
	fmt.Fprintf(s, `<rect class="frame" x="%d" y="%d" width="%d" height="%d"/>`, chartLeft, chartTop, plotWidth, plotHeight)
}

func (l *chartLine) draw(s *strings.Builder, px, py func(float64) float64) {
	var points []string
	for i := range l.x {
		if l.y[i] > 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", px(l.x[i]), py(l.y[i])))
		}
	}
	class := l.class + guideClass(l.guide)
	if l.strong {
		class += " strong"
	}
	if !l.dots || len(points) > 1 {
		fmt.Fprintf(s, `<polyline class="%s" points="%s"><title>%s</title></polyline>`, class, strings.Join(points, " "), template.HTMLEscapeString(l.name))
	}
	if !l.guide && len(points) < 20 {
		for _, p := range points {
			x, y, _ := strings.Cut(p, ",")
			fmt.Fprintf(s, `<circle class="%s" cx="%s" cy="%s" r="3.2"/>`, class, x, y)
		}
	}
}
