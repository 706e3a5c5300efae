package qr

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/peertest"
)

// texts are what the tests encode: claim codes of several lengths, with what
// is special in them.
var texts = []string{
	`IoTDisco;SN:394872348732948723;MAN:www.ktc.example;MODEL:IMC;#V:1.2;KEY:4857402340298342`,
	`IoTDisco;SN:1;KEY:K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO`,
	`IoTDisco;NAME:a\;b\\c:d#e;ROOM:Küche 2, größer;KEY:K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO`,
	`IoTDisco;NAME:a\;b\\c:d#e~;KEY:K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO`,
	`iotdisco:SN=394872348732948723;MAN=www.ktc.example;#V=1.2;KEY=K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO;R=things.site.example`,
	"IoTDisco;" + strings.Repeat("TAG:0123456789abcdefghijklmnopqrstuvwxyz;", 12) + "KEY:x",
}

// decode reads every QR code of a picture by zbar, which knows nothing of us.
func decode(t *testing.T, file string) []string {
	t.Helper()
	if _, err := exec.LookPath("zbarimg"); err != nil {
		peertest.Missing(t, "zbarimg", "zbar-tools")
	}
	out, err := exec.Command("zbarimg", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", file).Output()
	if err != nil {
		t.Errorf("zbarimg finds nothing in %s: %v", filepath.Base(file), err)
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// tool runs a program that draws, or skips where it is missing.
func tool(t *testing.T, pkg, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		peertest.Missing(t, name, pkg)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func keep(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func encode(t *testing.T, text string) Symbol {
	t.Helper()
	s, err := Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func Test0347R58_PNGIsReadByAnotherDecoder(t *testing.T) {
	for _, text := range texts {
		for _, scale := range []int{2, 8} {
			data, err := encode(t, text).PNG(scale)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := png.Decode(bytes.NewReader(data)); err != nil {
				t.Fatalf("the standard library: %v", err)
			}
			if got := decode(t, keep(t, "code.png", data)); !slices.Equal(got, []string{text}) {
				t.Errorf("scale %d: got %q\nwant %q", scale, got, text)
			}
		}
	}
}

func Test0347R58_SVGIsReadByAnotherDecoder(t *testing.T) {
	for _, text := range texts {
		s := encode(t, text)
		label := Label{Symbol: s, Title: "SN <394872348732948723>", Lines: []string{"Postern & more", "gateway@site.example"}}
		for name, svg := range map[string]string{"code.svg": s.SVG(), "label.svg": label.SVG()} {
			in := keep(t, name, []byte(svg))
			out := filepath.Join(t.TempDir(), "svg.png")
			tool(t, "librsvg2-bin", "rsvg-convert", "--dpi-x=300", "--dpi-y=300", "-o", out, in)
			if got := decode(t, out); !slices.Equal(got, []string{text}) {
				t.Errorf("%s: got %q\nwant %q", name, got, text)
			}
		}
	}
}

// A sheet and a half of labels, of which every one is read from the print.
func Test0347R58_SheetIsReadByAnotherDecoder(t *testing.T) {
	var labels []Label
	var want []string
	for i := range 30 {
		text := fmt.Sprintf("IoTDisco;SN:%06d;MAN:www.ktc.example;MODEL:IMC (2);KEY:K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO", i)
		want = append(want, text)
		labels = append(labels, Label{encode(t, text), fmt.Sprintf("%06d", i), []string{"IMC (2)", "www.ktc.example", "Größe \\ 1 …"}})
	}
	data, err := Sheet(labels, 5)
	if err != nil {
		t.Fatal(err)
	}
	in, dir := keep(t, "sheet.pdf", data), t.TempDir()
	tool(t, "poppler-utils", "pdftoppm", "-r", "200", "-png", in, filepath.Join(dir, "page"))
	pages, err := filepath.Glob(filepath.Join(dir, "page*.png"))
	if err != nil || len(pages) != 2 {
		t.Fatalf("%d pages, %v; 5 places left out and 30 labels need 2", len(pages), err)
	}
	var got []string
	for _, p := range pages {
		got = append(got, decode(t, p)...)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d of %d labels were read: %q", len(got), len(want), got)
	}
	words := filepath.Join(dir, "words.txt")
	tool(t, "poppler-utils", "pdftotext", "-enc", "UTF-8", in, words)
	b, err := os.ReadFile(words)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"000029", "IMC (2)", "Größe \\ 1 …"} {
		if !strings.Contains(string(b), w) {
			t.Errorf("the sheet does not say %q", w)
		}
	}
}

func TestSheetBounds(t *testing.T) {
	l := []Label{{Symbol: encode(t, "IoTDisco;SN:1")}}
	for _, skip := range []int{-1, PerSheet} {
		if _, err := Sheet(l, skip); err == nil {
			t.Errorf("skip %d is taken", skip)
		}
	}
	if _, err := Sheet(nil, 0); err == nil {
		t.Error("an empty sheet is drawn")
	}
}

func Test0347R58_TerminalIsReadByAnotherDecoder(t *testing.T) {
	black, white := color.Gray{0}, color.Gray{255}
	for _, text := range texts {
		s := encode(t, text)
		for _, c := range []struct {
			name  string
			paper Paper
			text  color.Gray // of the terminal
			back  color.Gray
		}{
			{"colours on dark", Coloured, white, black},
			{"colours on light", Coloured, black, white},
			{"dark terminal", DarkTerminal, white, black},
			{"light terminal", LightTerminal, black, white},
		} {
			out := s.Terminal(c.paper)
			var b bytes.Buffer
			if err := png.Encode(&b, screen(t, out, c.text, c.back)); err != nil {
				t.Fatal(err)
			}
			if got := decode(t, keep(t, "screen.png", b.Bytes())); !slices.Equal(got, []string{text}) {
				t.Errorf("%s: got %q\nwant %q\n%s", c.name, got, text, out)
			}
		}
	}
}

// screen is a terminal with square half blocks of 4 pixels, and two empty
// lines around.
func screen(t *testing.T, out string, text, back color.Gray) image.Image {
	t.Helper()
	const px = 4
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	width := 0
	for _, l := range lines {
		width = max(width, len([]rune(l)))
	}
	img := image.NewGray(image.Rect(0, 0, (width+4)*px, (2*len(lines)+8)*px))
	for i := range img.Pix {
		img.Pix[i] = back.Y
	}
	fill := func(col, half int, c color.Gray) {
		for i := range px * px {
			img.SetGray((col+2)*px+i%px, (half+4)*px+i/px, c)
		}
	}
	for row, l := range lines {
		fg, bg := text, back
		if rest, ok := strings.CutPrefix(l, colourOn); ok { // black on white
			fg, bg = color.Gray{0}, color.Gray{255}
			if l, ok = strings.CutSuffix(rest, colourOff); !ok {
				t.Fatalf("line %d does not put the colours back", row)
			}
		}
		for col, r := range []rune(l) {
			up, low := bg, bg
			switch r {
			case ' ':
			case '▀':
				up = fg
			case '▄':
				low = fg
			case '█':
				up, low = fg, fg
			default:
				t.Fatalf("line %d holds %q", row, r)
			}
			fill(col, 2*row, up)
			fill(col, 2*row+1, low)
		}
	}
	return img
}

// A code of usual length fits a terminal of 80 columns.
func TestTerminalSize(t *testing.T) {
	out := encode(t, texts[0]).Terminal(DarkTerminal)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if n := len([]rune(lines[0])); n > 50 || len(lines) > 25 {
		t.Errorf("%d columns, %d lines", n, len(lines))
	}
}

func TestBounds(t *testing.T) {
	if _, err := Encode(strings.Repeat("a", 2332)); err == nil {
		t.Error("a text longer than any symbol is taken")
	}
	if s, err := Encode(strings.Repeat("a", 2331)); err != nil || s.Size() != 177 {
		t.Errorf("the longest text: %v", err)
	}
	if _, err := Encode("\xff"); err == nil {
		t.Error("what is no UTF-8 is taken")
	}
	for _, scale := range []int{0, 65} {
		if _, err := encode(t, "a").PNG(scale); err == nil {
			t.Errorf("%d pixels a module are taken", scale)
		}
	}
}
