package qr

import (
	"fmt"
	"html"
	"strconv"
	"strings"

	"postern/internal/cli/picture"
)

// PNG draws a symbol in black and white, scale pixels a module (1 to 64).
func (s Symbol) PNG(scale int) ([]byte, error) {
	if scale < 1 || scale > 64 {
		return nil, fmt.Errorf("a module has 1 to 64 pixels, not %d", scale)
	}
	side := (s.Size() + 2*Quiet) * scale
	rows := make([]byte, 0, side*(side+7)/8)
	for y := range side {
		row := make([]byte, (side+7)/8)
		for x := range side {
			if !s.Black(x/scale-Quiet, y/scale-Quiet) { // 1 is white
				row[x/8] |= 0x80 >> (x % 8)
			}
		}
		rows = append(rows, row...)
	}
	return picture.Grey(side, side, rows)
}

// runs calls f for every horizontal run of black modules.
func (s Symbol) runs(f func(x, y, n int)) {
	for y := range s.Size() {
		for x := 0; x < s.Size(); x++ {
			n := 0
			for s.Black(x+n, y) {
				n++
			}
			if n > 0 {
				f(x, y, n)
				x += n
			}
		}
	}
}

// SVG draws a symbol as a picture 40 mm wide that stays sharp at any size.
func (s Symbol) SVG() string {
	side := s.Size() + 2*Quiet
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40mm\" height=\"40mm\" viewBox=\"0 0 %d %d\">\n%s</svg>\n",
		side, side, s.svgBody(side))
}

func (s Symbol) svgBody(side int) string {
	var path strings.Builder
	s.runs(func(x, y, n int) { fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+Quiet, y+Quiet, n, n) })
	return fmt.Sprintf("<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<path shape-rendering=\"crispEdges\" d=\"%s\"/>\n", side, side, path.String())
}

// Label is a symbol with words for people beside it.
type Label struct {
	Symbol Symbol
	Title  string   // large: what it is, or its serial number
	Lines  []string // small: further lines
}

// Measures of a label, in millimetres: it fits three times across an A4 sheet.
const (
	labelWidth, labelHeight = 63.5, 38.1
	labelQR                 = 34.0
	labelText               = 36.0 // where the words begin
	titleSize, lineSize     = 3.6, 2.3
	maxLines                = 8
)

// SVG draws one label, 63.5 mm by 38.1 mm.
func (l Label) SVG() string {
	side := l.Symbol.Size() + 2*Quiet
	var b strings.Builder
	mm := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%smm\" height=\"%smm\" viewBox=\"0 0 %s %s\">\n",
		mm(labelWidth), mm(labelHeight), mm(labelWidth), mm(labelHeight))
	fmt.Fprintf(&b, "<rect width=\"%s\" height=\"%s\" fill=\"#fff\"/>\n", mm(labelWidth), mm(labelHeight))
	fmt.Fprintf(&b, "<svg x=\"1\" y=\"2\" width=\"%s\" height=\"%s\" viewBox=\"0 0 %d %d\">\n%s</svg>\n",
		mm(labelQR), mm(labelQR), side, side, l.Symbol.svgBody(side))
	for _, w := range l.words() {
		weight := ""
		if w.bold {
			weight = " font-weight=\"bold\""
		}
		fmt.Fprintf(&b, "<text x=\"%s\" y=\"%s\" font-family=\"sans-serif\" font-size=\"%s\"%s>%s</text>\n",
			mm(labelText), strconv.FormatFloat(w.y, 'f', 2, 64), strconv.FormatFloat(w.size, 'f', 2, 64), weight, html.EscapeString(w.text))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// word is one line of text on a label.
type word struct {
	text    string
	y, size float64 // of its baseline, from the top, and of its letters, in mm
	bold    bool
}

// words lays the text out. What is too long is made smaller, then cut.
func (l Label) words() (out []word) {
	y := 8.0
	add := func(text string, size float64, bold bool) {
		text, size = fit(text, size)
		out = append(out, word{text, y, size, bold})
		y += size * 1.35
	}
	if l.Title != "" {
		add(l.Title, titleSize, true)
		y++
	}
	for i, t := range l.Lines {
		if i == maxLines {
			break
		}
		add(t, lineSize, false)
	}
	return out
}

// letter is the width of an average letter of Helvetica in parts of its size;
// digits are about as wide.
const letter = 0.57

// fit makes text fit beside the symbol.
func fit(text string, size float64) (string, float64) {
	room := labelWidth - labelText - 1
	n := float64(len([]rune(text)))
	if n*letter*size <= room {
		return text, size
	}
	small := max(room/(n*letter), 1.6) // about 4.5 points
	if most := int(room / (letter * small)); int(n) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text, small
}
