package cli

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/node"
	"postern/sensors"
)

// week is a temperature over a week, with a gap on the third day.
func week() []sensors.Item {
	var all []sensors.Item
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range 7 * 96 {
		h := float64(i) / 4
		f := sensors.Item{Ref: node.Ref{ID: "hall"}, Name: "temperature", Unit: "°C", Quality: live.AutomaticReadout,
			Value: drivers.Decimal(drivers.Num(int64(2150+250*math.Sin(h/24*2*math.Pi)+40*math.Sin(h*1.7)), -2)), Time: from.Add(time.Duration(i) * 15 * time.Minute)}
		if h > 55 && h < 66 {
			f.Quality = live.Missing
		}
		all = append(all, f)
	}
	return all
}

func TestWritePNG(t *testing.T) {
	cs := curvesOf(week())
	var b bytes.Buffer
	if err := writePNG(&b, &cs[0]); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	p := img.(*image.Paletted)
	inked := func(x int, ink uint8) (n int) {
		for y := pngTop; y < pngHeight-pngBottom; y++ {
			if p.ColorIndexAt(x, y) == ink {
				n++
			}
		}
		return n
	}
	width := pngWidth - pngLeft - pngRight
	for _, at := range []struct {
		hours float64
		drawn bool
	}{{2, true}, {40, true}, {60, false}, {100, true}, {166, true}} {
		if got := inked(pngLeft+int(at.hours/167.75*float64(width)), inkCurve) > 0; got != at.drawn {
			t.Errorf("after %v hours the curve is drawn: %v", at.hours, got)
		}
	}
	if dir := os.Getenv("POSTERN_PICTURES"); dir != "" { // to look at
		if err := os.WriteFile(filepath.Join(dir, "week.png"), encode(t, &cs[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		var svg bytes.Buffer
		if err := writeSVG(&svg, &cs[0]); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "week.svg"), svg.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func encode(t *testing.T, c *curve) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writePNG(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever a thing sends gives a picture or nothing.
func TestPNGOfAnything(t *testing.T) {
	for _, vs := range [][]string{
		{"1"}, {"1", "1"}, {"missing"}, {"1", "missing", "2"}, {"1e308", "-1e308"}, {"NaN", "1"}, {"1e-300", "2e-300"},
		{"9999999999999999999999999999999999999999999999", "1"}, {"-0.001", "0.001"},
	} {
		for _, c := range curvesOf(plotted(t, "t\u009b31m"+strings.Repeat("ж", 300), "numeric", vs...)) {
			if len(encode(t, &c)) == 0 {
				t.Errorf("%q", vs)
			}
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{
		{0, 1, "[0.0 0.2 0.4 0.6 0.8 1.0]"}, {18.6, 24.4, "[19 20 21 22 23 24]"}, {-5, 5, "[-4 -2 0 2 4]"}, {99990, 100010, "[99990 99995 100000 100005 100010]"},
		{0.2, 0.4, "[0.20 0.25 0.30 0.35 0.40]"},
	} {
		if got := fmt.Sprint(tickLabels(ticks(c.low, c.high, 6))); got != c.want {
			t.Errorf("%v to %v: %v", c.low, c.high, got)
		}
	}
}

// Every letter differs from every other, and none is empty but the blank.
func TestGlyphs(t *testing.T) {
	seen := map[[glyphHeight]byte]rune{}
	for r, g := range glyphs {
		if other, twice := seen[g]; twice {
			t.Errorf("%q looks like %q", r, other)
		}
		seen[g] = r
	}
	for r := ' '; r <= '~'; r++ {
		if _, ok := glyphs[r]; !ok {
			t.Errorf("%q is missing", r)
		}
	}
}
