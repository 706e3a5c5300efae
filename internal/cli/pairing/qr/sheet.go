package qr

import (
	"bytes"
	"fmt"
	"strings"

	"postern/internal/cli/picture"
)

// The sheet: A4 with labels in 3 columns and 7 rows, as label paper of 63.5 mm
// by 38.1 mm is cut (for example L7160), in millimetres.
const (
	pageWidth, pageHeight = 210.0, 297.0
	columns, rows         = 3, 7
	leftEdge, topEdge     = 7.2, 15.1
	acrossStep, downStep  = 66.0, 38.1
)

// PerSheet is how many labels a sheet holds.
const PerSheet = columns * rows

// points is a millimetre in PDF's unit.
const points = 72 / 25.4

// Sheet draws labels as a PDF of A4 sheets to print at 100 %, leaving out the
// first skip places, of a sheet that was begun. Letters beyond Latin-1 are
// printed as question marks; the symbols hold them.
func Sheet(labels []Label, skip int) ([]byte, error) {
	switch {
	case len(labels) == 0:
		return nil, fmt.Errorf("there are no labels to print")
	case skip < 0 || skip >= PerSheet:
		return nil, fmt.Errorf("a sheet has %d places; 0 to %d can be left out", PerSheet, PerSheet-1)
	}
	p := pdf{}
	var pages []string
	for first := -skip; first < len(labels); first += PerSheet {
		var b strings.Builder
		for i := max(first, 0); i < min(first+PerSheet, len(labels)); i++ {
			place := i - first
			labels[i].draw(&b, leftEdge+float64(place%columns)*acrossStep, topEdge+float64(place/columns)*downStep)
		}
		content, err := picture.Zlib([]byte(b.String()))
		if err != nil {
			return nil, err
		}
		pages = append(pages, string(content))
	}
	return p.write(pages), nil
}

// draw writes PDF's drawing operators for a label whose upper left corner is
// there, in millimetres from that of the page.
func (l Label) draw(b *strings.Builder, left, top float64) {
	module := labelQR / float64(l.Symbol.Size()+2*Quiet)
	x0, y0 := left+1+Quiet*module, top+2+Quiet*module
	l.Symbol.runs(func(x, y, n int) {
		// PDF counts from the bottom.
		fmt.Fprintf(b, "%.3f %.3f %.3f %.3f re\n", (x0+float64(x)*module)*points,
			(pageHeight-y0-float64(y+1)*module)*points, float64(n)*module*points, module*points)
	})
	b.WriteString("f\n")
	for _, w := range l.words() {
		font := "F1"
		if w.bold {
			font = "F2"
		}
		fmt.Fprintf(b, "BT /%s %.2f Tf %.2f %.2f Td (%s) Tj ET\n", font, w.size*points,
			(left+labelText)*points, (pageHeight-top-w.y)*points, pdfText(w.text))
	}
}

// pdfText writes a string in PDF's WinAnsiEncoding.
func pdfText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '(' || r == ')' || r == '\\':
			b.WriteByte('\\')
			b.WriteByte(byte(r))
		case r == '…':
			b.WriteString(`\205`)
		case r >= ' ' && r < 0x7f:
			b.WriteByte(byte(r))
		case r >= 0xa0 && r <= 0xff:
			fmt.Fprintf(&b, "\\%03o", r)
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// pdf writes the objects of a document and where they are (ISO 32000-1 §7.5).
type pdf struct {
	out bytes.Buffer
	at  []int
}

func (p *pdf) object(format string, args ...any) {
	p.at = append(p.at, p.out.Len())
	fmt.Fprintf(&p.out, "%d 0 obj\n%s\nendobj\n", len(p.at), fmt.Sprintf(format, args...))
}

func (p *pdf) write(pages []string) []byte {
	p.out.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	p.object("<< /Type /Catalog /Pages 2 0 R >>")
	var kids strings.Builder
	for i := range pages {
		fmt.Fprintf(&kids, "%d 0 R ", 5+2*i)
	}
	p.object("<< /Type /Pages /Count %d /Kids [%s] /MediaBox [0 0 %.2f %.2f] >>", len(pages), kids.String(), pageWidth*points, pageHeight*points)
	p.object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
	p.object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>")
	for i, content := range pages {
		p.object("<< /Type /Page /Parent 2 0 R /Contents %d 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>", 6+2*i)
		p.object("<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream", len(content), content)
	}
	table := p.out.Len()
	fmt.Fprintf(&p.out, "xref\n0 %d\n0000000000 65535 f \n", len(p.at)+1)
	for _, at := range p.at {
		fmt.Fprintf(&p.out, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&p.out, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(p.at)+1, table)
	return p.out.Bytes()
}
