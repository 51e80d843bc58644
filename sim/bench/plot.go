package bench

import (
	"errors"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Of a plot: each operation has a panel.
const (
	panelWidth   = 8.5 * vg.Centimeter
	panelHeight  = 6.5 * vg.Centimeter
	panelColumns = 3
)

// treeColors tell the trees apart, for the colour-blind too.
var treeColors = map[string]color.Color{
	"full":    color.RGBA{0, 90, 181, 255},
	"blank":   color.RGBA{220, 50, 32, 255},
	"history": color.RGBA{120, 120, 0, 255},
}

// WritePlot writes an SVG with a panel for each of the operations that was
// measured at two sizes or more: time against members, both on logarithmic axes,
// and the floor dashed. A nil ops stands for all.
func WritePlot(w io.Writer, results []Result, ops []string) error {
	if ops == nil {
		ops = Ops()
	}
	var panels []*plot.Plot
	for _, op := range ops {
		p, err := panel(results, op, len(panels) == 0)
		if err != nil {
			return err
		}
		if p != nil {
			panels = append(panels, p)
		}
	}
	if len(panels) == 0 {
		return errors.New("bench: a plot takes an operation measured at two sizes")
	}
	var grid [][]*plot.Plot
	columns := min(panelColumns, len(panels))
	for row := range slices.Chunk(panels, columns) {
		grid = append(grid, append(slices.Clip(row), make([]*plot.Plot, columns-len(row))...))
	}
	canvas := vgsvg.New(panelWidth*vg.Length(columns), panelHeight*vg.Length(len(grid)))
	page := draw.New(canvas)
	page.SetColor(color.White) // whatever the page that shows it has behind it
	page.Fill(page.Rectangle.Path())
	tiles := draw.Tiles{
		Rows: len(grid), Cols: columns,
		PadTop: vg.Millimeter, PadBottom: vg.Millimeter, PadLeft: vg.Millimeter, PadRight: 3 * vg.Millimeter,
		PadX: 5 * vg.Millimeter, PadY: 4 * vg.Millimeter,
	}
	for i, row := range plot.Align(grid, tiles, page) {
		for j, c := range row {
			if grid[i][j] != nil {
				grid[i][j].Draw(c)
			}
		}
	}
	_, err := canvas.WriteTo(w)
	return err
}

// panel draws one operation; nil if there is no line to draw.
func panel(results []Result, op string, legend bool) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = op
	p.X.Label.Text = "members"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(memberTicks)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(timeTicks)
	p.Add(plotter.NewGrid())
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	drawn := false
	for _, tree := range Trees() {
		times, floors := lines(of(results, op, tree))
		for _, l := range []struct {
			points plotter.XYs
			name   string
			dashes []vg.Length
		}{{times, tree, nil}, {floors, tree + ", floor", []vg.Length{vg.Points(4), vg.Points(3)}}} {
			if len(l.points) < 2 {
				continue
			}
			line, err := plotter.NewLine(l.points)
			if err != nil {
				return nil, err
			}
			line.Color, line.Width, line.Dashes = treeColors[tree], vg.Points(1.2), l.dashes
			p.Add(line)
			drawn = true
			if legend {
				p.Legend.Add(l.name, line)
			}
		}
	}
	if !drawn {
		return nil, nil
	}
	if legend { // with room for it above the lines
		p.Y.Max *= 300
	}
	// A flat line is to look flat: at least two decades.
	for p.Y.Max/p.Y.Min < 100 {
		p.Y.Min, p.Y.Max = p.Y.Min/1.25, p.Y.Max*1.25
	}
	return p, nil
}

// lines are the points of results, which are sorted.
func lines(results []Result) (times, floors plotter.XYs) {
	for _, r := range results {
		if r.Time > 0 {
			times = append(times, plotter.XY{X: float64(r.Members), Y: float64(r.Time)})
		}
		if r.Floor > 0 {
			floors = append(floors, plotter.XY{X: float64(r.Members), Y: float64(r.Floor)})
		}
	}
	return times, floors
}

// memberTicks are powers of 16, those of 4 without a label.
func memberTicks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for e := 0; e <= 2*15; e += 2 {
		n := 1 << e
		if float64(n) < least || float64(n) > most {
			continue
		}
		t := plot.Tick{Value: float64(n)}
		if e%4 == 0 {
			t.Label = strconv.Itoa(n)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// timeTicks are decades of time.
func timeTicks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for e := range 14 {
		if v := math.Pow10(e); v >= least && v <= most {
			ticks = append(ticks, plot.Tick{Value: v, Label: time.Duration(v).String()})
		}
	}
	return ticks
}
