package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/internal/cli/picture"
)

// The picture, in dots. Letters are drawn twice as large as their glyphs.
const (
	pngWidth, pngHeight = 1200, 480
	pngLeft, pngRight   = 170, 40
	pngTop, pngBottom   = 60, 60
	pngScale            = 2
)

// The colours of the picture, by index.
const (
	inkPaper = iota
	inkText
	inkGrid
	inkFrame
	inkCurve
)

var inks = [][3]byte{
	{0xff, 0xff, 0xff}, {0x30, 0x30, 0x30}, {0xe4, 0xe4, 0xe4}, {0x90, 0x90, 0x90}, {0x00, 0x55, 0xaa},
}

// writePNG draws a curve as a file: the values over time, with a grid.
func writePNG(w io.Writer, c *curve) error {
	p := make(sheet, pngWidth*pngHeight)
	f := c.frame()
	width, height := pngWidth-pngLeft-pngRight, pngHeight-pngTop-pngBottom
	p.text(pngLeft, 20, -1, clean(c.node)+"  "+clean(c.field)+titleUnit(c.unit))
	p.text(pngWidth-pngRight, 20, 1, "min "+clean(f.min.text)+"  max "+clean(f.max.text)+"  last "+clean(f.last.text))
	marks := ticks(f.low, f.high, 6)
	labels := tickLabels(marks)
	if c.steps {
		marks, labels = []float64{f.min.v, f.max.v}, []string{clean(f.min.text), clean(f.max.text)}
	}
	for i, v := range marks {
		_, y := f.place(&dot{at: f.from, v: v}, width, height)
		p.line(pngLeft, pngTop+y, pngLeft+width, pngTop+y, 1, inkGrid)
		p.text(pngLeft-12, pngTop+y-glyphHeight, 1, labels[i])
	}
	step, layout := timeStep(f.to.Sub(f.from))
	for at := firstTick(f.from.Local(), step); !at.After(f.to); at = at.Add(step) {
		x, _ := f.place(&dot{at: at, v: f.low}, width, height)
		p.line(pngLeft+x, pngTop, pngLeft+x, pngTop+height, 1, inkGrid)
		p.text(pngLeft+x, pngTop+height+12, 0, at.Format(layout))
	}
	p.text(pngLeft, pngHeight-22, -1, f.from.Local().Format("2006-01-02 15:04:05 -07:00"))
	p.text(pngWidth-pngRight, pngHeight-22, 1, f.to.Local().Format("2006-01-02 15:04:05 -07:00"))
	for _, l := range [][4]int{{0, 0, width, 0}, {0, height, width, height}, {0, 0, 0, height}, {width, 0, width, height}} {
		p.line(pngLeft+l[0], pngTop+l[1], pngLeft+l[2], pngTop+l[3], 1, inkFrame)
	}
	p.curve(c, &f, width, height)
	file, err := (&picture.Indexed{Width: pngWidth, Height: pngHeight, Pix: p, Palette: inks}).PNG()
	if err != nil {
		return err
	}
	_, err = w.Write(file)
	return err
}

func titleUnit(unit string) string {
	if unit == "" {
		return ""
	}
	return "  [" + clean(unit) + "]"
}

// sheet is a picture that can be drawn on: the ink of each dot, by rows.
type sheet []byte

func (p sheet) dot(x, y, size int, ink uint8) {
	for dy := range size {
		for dx := range size {
			if x, y := x+dx, y+dy; x >= 0 && x < pngWidth && y >= 0 && y < pngHeight {
				p[y*pngWidth+x] = ink
			}
		}
	}
}

func (p sheet) line(x0, y0, x1, y1, size int, ink uint8) {
	steps := max(x1-x0, x0-x1, y1-y0, y0-y1, 1)
	for i := range steps + 1 {
		p.dot(x0+(x1-x0)*i/steps, y0+(y1-y0)*i/steps, size, ink)
	}
}

// curve draws the values; the line ends where one is missing. A value with
// none beside it is a dot.
func (p sheet) curve(c *curve, f *frame, width, height int) {
	for i := range c.points {
		d := &c.points[i]
		if d.gap {
			continue
		}
		x, y := f.place(d, width, height)
		if i > 0 && !c.points[i-1].gap {
			px, py := f.place(&c.points[i-1], width, height)
			p.line(pngLeft+px, pngTop+py, pngLeft+x, pngTop+y, 2, inkCurve)
			continue
		}
		if i+1 == len(c.points) || c.points[i+1].gap {
			p.dot(pngLeft+x-2, pngTop+y-2, 5, inkCurve)
		}
	}
}

// text writes a line of text whose top is at y, beginning (-1), centred (0) or
// ending (1) at x.
func (p sheet) text(x, y, align int, s string) {
	const advance = (glyphWidth + 1) * pngScale
	if most := (pngWidth - 20) / advance; utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most-1]) + "…"
	}
	w := utf8.RuneCountInString(s) * advance
	x -= w * (align + 1) / 2
	for _, r := range s {
		g, ok := glyphs[r]
		if !ok {
			if g, ok = glyphs[standIns[r]]; !ok {
				g = glyphs['\ufffd']
			}
		}
		for row, bits := range g {
			for col := range glyphWidth {
				if bits&(1<<(glyphWidth-1-col)) != 0 {
					p.dot(x+col*pngScale, y+row*pngScale, pngScale, inkText)
				}
			}
		}
		x += advance
	}
}

// tickLabels writes values with as many decimals as the one that has most.
func tickLabels(values []float64) []string {
	decimals := 0
	for _, v := range values {
		_, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
		decimals = max(decimals, len(fraction))
	}
	var out []string
	for _, v := range values {
		out = append(out, strconv.FormatFloat(v, 'f', decimals, 64))
	}
	return out
}

// ticks returns round values from low to high, about n of them.
func ticks(low, high float64, n int) []float64 {
	if span := high - low; !(span > 0) || math.IsInf(span, 0) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	var out []float64
	for i := math.Ceil(low / step); i*step <= high && len(out) < 4*n; i++ {
		// Through text, so that 3 × 0.1 is 0.3.
		v, err := strconv.ParseFloat(fmt.Sprintf("%.6g", i*step), 64)
		if err != nil || math.IsInf(v, 0) {
			return out
		}
		out = append(out, v)
	}
	return out
}

// timeStep is the distance of the times that are written below, and how.
func timeStep(d time.Duration) (time.Duration, string) {
	const day = 24 * time.Hour
	for _, s := range []struct {
		step   time.Duration
		layout string
	}{
		{time.Second, "15:04:05"}, {5 * time.Second, "15:04:05"}, {15 * time.Second, "15:04:05"}, {time.Minute, "15:04"},
		{5 * time.Minute, "15:04"}, {15 * time.Minute, "15:04"}, {time.Hour, "15:04"}, {3 * time.Hour, "15:04"},
		{6 * time.Hour, "02. 15:04"}, {day, "2006-01-02"}, {7 * day, "2006-01-02"}, {30 * day, "2006-01-02"}, {90 * day, "2006-01-02"},
	} {
		if d <= 8*s.step {
			return s.step, s.layout
		}
	}
	return max(365*day, d/8), "2006-01-02"
}

// firstTick is the first time of day that is a multiple of step and not before
// from.
func firstTick(from time.Time, step time.Duration) time.Time {
	y, m, d := from.Date()
	at := time.Date(y, m, d, 0, 0, 0, 0, from.Location())
	if behind := from.Sub(at); behind > 0 {
		at = at.Add((behind + step - 1) / step * step)
	}
	return at
}
