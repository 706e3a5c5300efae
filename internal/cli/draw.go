package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// frame is what a picture shows: times and values from edge to edge.
type frame struct {
	from, to  time.Time
	low, high float64
	min, max  *dot
	last      *dot
}

func (c *curve) frame() frame {
	f := frame{from: c.points[0].at, to: c.points[len(c.points)-1].at}
	for i := range c.points {
		d := &c.points[i]
		if d.gap {
			continue
		}
		if f.min == nil || d.v < f.min.v {
			f.min = d
		}
		if f.max == nil || d.v > f.max.v {
			f.max = d
		}
		f.last = d
	}
	f.low, f.high = f.min.v, f.max.v
	if f.low == f.high {
		f.low, f.high = f.low-0.5, f.high+0.5
	}
	if f.from.Equal(f.to) {
		f.from, f.to = f.from.Add(-time.Second), f.to.Add(time.Second)
	}
	return f
}

// place returns where a value lies in a picture of w × h points, from the top
// left.
func (f *frame) place(d *dot, w, h int) (x, y int) {
	fx := float64(d.at.Sub(f.from)) / float64(f.to.Sub(f.from))
	fy := d.v/(f.high-f.low) - f.low/(f.high-f.low)
	return min(max(int(fx*float64(w-1)+0.5), 0), w-1), min(max(int((1-fy)*float64(h-1)+0.5), 0), h-1)
}

// canvas is a picture of Braille characters, each of 2 × 4 points.
type canvas struct {
	columns, rows int
	cells         []rune
}

// brailleBits are the bits of a Braille character by column and row.
var brailleBits = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

func newCanvas(columns, rows int) *canvas {
	return &canvas{columns, rows, make([]rune, columns*rows)}
}

func (c *canvas) set(x, y int) { c.cells[y/4*c.columns+x/2] |= brailleBits[x%2][y%4] }

// line draws from one point to another.
func (c *canvas) line(x0, y0, x1, y1 int) {
	steps := max(x1-x0, x0-x1, y1-y0, y0-y1, 1)
	for i := range steps + 1 {
		c.set(x0+(x1-x0)*i/steps, y0+(y1-y0)*i/steps)
	}
}

func (c *canvas) row(r int) string {
	var b strings.Builder
	for _, cell := range c.cells[r*c.columns : (r+1)*c.columns] {
		if cell == 0 {
			b.WriteByte(' ')
		} else {
			b.WriteRune(0x2800 + cell)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// drawCurve draws a curve for a terminal.
func drawCurve(w io.Writer, c *curve, columns, rows int) error {
	f := c.frame()
	high, low := clean(f.max.text), clean(f.min.text)
	margin := min(max(utf8.RuneCountInString(high), utf8.RuneCountInString(low)), columns/3)
	cv := newCanvas(columns-margin-3, rows)
	for i := range c.points {
		d := &c.points[i]
		if d.gap {
			continue
		}
		x, y := f.place(d, 2*cv.columns, 4*rows)
		if i > 0 && !c.points[i-1].gap {
			px, py := f.place(&c.points[i-1], 2*cv.columns, 4*rows)
			cv.line(px, py, x, y)
		}
		cv.set(x, y)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: min %s, max %s, last %s %s\n", clean(c.node), clean(c.field), low, high, clean(f.last.text), clean(c.unit))
	for r := range rows {
		label := ""
		switch {
		case f.min.v == f.max.v: // in the middle, as frame has it
			if r == rows/2 {
				label = high
			}
		case r == 0:
			label = high
		case r == rows-1:
			label = low
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%*s ┤%s", margin, label, cv.row(r)), " ") + "\n")
	}
	from, to := c.points[0].at.Local().Format("2006-01-02 15:04:05"), c.points[len(c.points)-1].at.Local().Format("2006-01-02 15:04:05")
	fmt.Fprintf(&b, "%*s  %s%*s\n", margin, "", from, max(cv.columns-len(from), len(to)+1), to)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeSVG draws a curve as a file.
func writeSVG(w io.Writer, c *curve) error {
	const width, height, left, top = 900, 320, 90, 40
	f := c.frame()
	var b strings.Builder
	text := func(x, y int, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="%s">`, x, y, anchor)
		_ = xml.EscapeText(&b, []byte(clean(s))) // a Builder takes everything
		b.WriteString("</text>\n")
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width+left+30, height+top+40)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#bbb"/>`+"\n", left, top, width, height)
	text(left, top-14, "start", c.node+" "+c.field+"  "+c.unit)
	text(left-8, top+10, "end", f.max.text)
	text(left-8, top+height, "end", f.min.text)
	text(left, top+height+22, "start", c.points[0].at.Format(time.RFC3339))
	text(left+width, top+height+22, "end", c.points[len(c.points)-1].at.Format(time.RFC3339))
	open := false
	for i := range c.points {
		d := &c.points[i]
		switch {
		case d.gap && open:
			b.WriteString("\"/>\n")
			open = false
		case d.gap:
		default:
			if !open {
				b.WriteString(`<polyline fill="none" stroke="#05a" stroke-width="1.5" points="`)
				open = true
			}
			// Tenths of a point.
			x, y := f.place(d, 10*width, 10*height)
			fmt.Fprintf(&b, "%.1f,%.1f ", left+float64(x)/10, top+float64(y)/10)
		}
	}
	if open {
		b.WriteString("\"/>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
