package cli

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"postern/sensors"
	"postern/xmpp/xmpptest"
)

// plotted are values as a thing sends them, one a minute.
func plotted(t *testing.T, name, kind string, values ...string) []sensors.Item {
	t.Helper()
	var b strings.Builder
	b.WriteString("<fields xmlns='urn:xmpp:iot:sensordata' seqnr='1'><node nodeId='n&lt;1>'>")
	for i, v := range values {
		quality := "automaticReadout"
		if v == "missing" {
			v, quality = "0", "missing"
		}
		fmt.Fprintf(&b, "<timestamp value='2026-03-01T00:%02d:00Z'><%s name='", i, kind)
		_ = xml.EscapeText(&b, []byte(name))
		fmt.Fprintf(&b, "' unit='°C' %s='true' value='%s'/></timestamp>", quality, v)
	}
	b.WriteString("</node></fields>")
	return sensors.ParseFields(nil, xmpptest.Doc(t, b.String()).Root(), time.UTC)
}

// A rising line goes from the bottom left to the top right; its labels are the
// values as sent.
func TestDrawCurve(t *testing.T) {
	cs := curvesOf(plotted(t, "t", "numeric", "1.50", "2.50", "3.50"))
	if len(cs) != 1 {
		t.Fatalf("%+v", cs)
	}
	var b bytes.Buffer
	if err := drawCurve(&b, &cs[0], 27, 5); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if lines[0] != "n<1> t: min 1.50, max 3.50, last 3.50 °C" || !strings.HasPrefix(lines[1], "3.50 ┤") || !strings.HasPrefix(lines[5], "1.50 ┤") {
		t.Fatalf("%s", b.String())
	}
	left := func(s string) int { // column of the first point
		r := []rune(s)
		for i, c := range r {
			if c >= 0x2800 && c < 0x2900 {
				return i
			}
		}
		return -1
	}
	for i := 1; i < 5; i++ {
		if left(lines[i]) <= left(lines[i+1]) {
			t.Errorf("the line does not rise:\n%s", b.String())
		}
	}
	if left(lines[5]) != 6 || len([]rune(lines[1])) != 26 {
		t.Errorf("the line does not go from edge to edge (%d, %d):\n%s", left(lines[5]), len([]rune(lines[1])), b.String())
	}
}

// A value that never changes is one line with one label beside it.
func TestDrawConstant(t *testing.T) {
	cs := curvesOf(plotted(t, "t", "numeric", "21.5", "21.5"))
	var b bytes.Buffer
	if err := drawCurve(&b, &cs[0], 40, 7); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(b.String(), "\n")[1:8] {
		label, drawn := strings.HasPrefix(line, "21.5 ┤"), strings.ContainsFunc(line, func(c rune) bool { return c >= 0x2800 && c < 0x2900 })
		if label != (i == 3) || drawn != (i == 3) {
			t.Errorf("row %d: %q", i, line)
		}
	}
}

// A switch stands at one value until it is at the other: no slope between.
func TestDrawSwitch(t *testing.T) {
	cs := curvesOf(plotted(t, "door", "boolean", "true", "false", "false", "missing", "true"))
	if len(cs) != 1 {
		t.Fatalf("%+v", cs)
	}
	var got []string
	for _, d := range cs[0].points {
		text := d.text
		if d.gap {
			text = "gap"
		}
		got = append(got, fmt.Sprintf("%d %s", d.at.Minute(), text))
	}
	if want := "0 true, 1 true, 1 false, 2 false, 3 gap, 4 true"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever a thing sends can be drawn or is left out.
func TestDrawAnything(t *testing.T) {
	for _, vs := range [][]string{
		{"1"}, {"1", "1"}, {"missing"}, {"1", "missing", "2"}, {"1e308", "-1e308"}, {"NaN", "1"}, {"INF"}, {"x"},
		{"9999999999999999999999999999999999999999999999", "1"},
	} {
		for _, c := range curvesOf(plotted(t, "t\u009b31m", "numeric", vs...)) {
			for _, w := range []int{40, 80, 300} {
				var b bytes.Buffer
				if err := drawCurve(&b, &c, w, 12); err != nil || strings.ContainsAny(b.String(), "\x1b\u009b") {
					t.Errorf("%v: %v\n%s", vs, err, b.String())
				}
			}
		}
	}
	if cs := curvesOf(append(plotted(t, "door", "boolean", "true", "false", "1"), plotted(t, "mode", "enum", "a")...)); len(cs) != 1 || len(cs[0].points) != 5 {
		t.Errorf("%+v", cs)
	}
}

// A gap ends the line; the file is XML whatever the names are.
func TestWriteSVG(t *testing.T) {
	cs := curvesOf(plotted(t, "a & b", "numeric", "1", "2", "missing", "3", "4"))
	var b bytes.Buffer
	if err := writeSVG(&b, &cs[0]); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "<polyline"); n != 2 {
		t.Errorf("%d lines", n)
	}
	d := xml.NewDecoder(&b)
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// CSV has every value as sent; a missing one is empty, not its last value.
func TestWriteCSV(t *testing.T) {
	var b bytes.Buffer
	if err := writeCSV(&b, plotted(t, "t, x", "numeric", "1.50", "missing")); err != nil {
		t.Fatal(err)
	}
	want := "time,node,field,value,unit,quality\n2026-03-01T00:00:00.000Z,n<1>,\"t, x\",1.50,°C,automaticReadout\n2026-03-01T00:01:00.000Z,n<1>,\"t, x\",,°C,missing\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
}
