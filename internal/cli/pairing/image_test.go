//go:build fleet

package pairing

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/cli/pairing/qr"
)

const photographed = `IoTDisco;SN:394872348732948723;MAN:www.ktc.example;MODEL:IMC;#V:1.2;ROOM:K\\1;KEY:K7DQ2M4ZB5XWVJH3C6LPTRY2NSFAEGUO`

// photo draws a label as a camera sees it: turned, seen from the side, in
// uneven light, blurred, with noise, on a grey table.
func photo(t *testing.T, side int, turn, tilt, blur float64) *image.Gray {
	t.Helper()
	s, err := qr.Encode(photographed)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	img := image.NewGray(image.Rect(0, 0, side, side*3/4))
	cx, cy := float64(side)/2, float64(side)*3/8
	module := float64(side) / 2 / float64(s.Size()+2*qr.Quiet)
	at := func(px, py float64) float64 {
		dx, dy := px-cx, py-cy
		z := 1 + tilt*dx/float64(side) // farther on one side
		dx, dy = dx*z, dy*z
		x := (dx*math.Cos(turn)+dy*math.Sin(turn))/module + float64(s.Size())/2
		y := (dy*math.Cos(turn)-dx*math.Sin(turn))/module + float64(s.Size())/2
		q := float64(qr.Quiet)
		switch {
		case x < -q || y < -q || x > float64(s.Size())+q || y > float64(s.Size())+q:
			return 120
		case s.Black(int(math.Floor(x)), int(math.Floor(y))):
			return 35
		}
		return 225
	}
	for y := range img.Bounds().Dy() {
		for x := range side {
			v := 0.0
			for range 9 {
				v += at(float64(x)+rnd.NormFloat64()*blur, float64(y)+rnd.NormFloat64()*blur) / 9
			}
			v *= 0.55 + 0.45*float64(x)/float64(side) // a lamp on the right
			v += rnd.NormFloat64() * 6
			img.SetGray(x, y, color.Gray{uint8(max(0, min(255, v)))})
		}
	}
	return img
}

func Test0347R58_PhotosAreRead(t *testing.T) {
	for _, c := range []struct {
		name             string
		side             int
		turn, tilt, blur float64
	}{
		{"straight", 800, 0, 0, 0.5}, {"turned", 900, 0.4, 0, 1}, {"upside down", 800, math.Pi, 0, 0.5},
		{"from the side", 1200, 0.2, 0.35, 1}, {"large and blurred", 2400, -0.3, 0.2, 5},
	} {
		img := photo(t, c.side, c.turn, c.tilt, c.blur)
		for _, kind := range []string{"png", "jpeg"} {
			var b bytes.Buffer
			err := png.Encode(&b, img)
			if kind == "jpeg" {
				b.Reset()
				err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 60})
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decodeImage(b.Bytes()); err != nil || got != photographed {
				t.Errorf("%s, %s: %q, %v", c.name, kind, got, err)
			}
		}
	}
}

func TestPicturesWithoutCode(t *testing.T) {
	var white, small bytes.Buffer
	if err := png.Encode(&white, image.NewGray(image.Rect(0, 0, 500, 500))); err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(&small, image.NewGray(image.Rect(0, 0, 5, 5))); err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"no QR code is found":  white.Bytes(),
		"cannot be used":       small.Bytes(),
		"the picture is damag": white.Bytes()[:200],
		"neither a claim code": []byte("GIF89a"),
	} {
		if _, err := decodeImage(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func FuzzDecodeImage(f *testing.F) {
	s, err := qr.Encode("IoTDisco;SN:1")
	if err != nil {
		f.Fatal(err)
	}
	data, err := s.PNG(2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 1<<16 {
			_, _ = decodeImage(data) // must not panic
		}
	})
}
