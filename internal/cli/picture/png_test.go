package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"
)

// The standard library reads what is written here.
func TestIndexed(t *testing.T) {
	p := Indexed{Width: 3, Height: 2, Pix: []byte{0, 1, 2, 2, 1, 0}, Palette: [][3]byte{{255, 255, 255}, {1, 2, 3}, {0, 0x55, 0xaa}}}
	file, err := p.PNG()
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	got, ok := img.(*image.Paletted)
	if !ok || got.Bounds() != image.Rect(0, 0, 3, 2) || !bytes.Equal(got.Pix, p.Pix) {
		t.Fatalf("%T %v", img, img.Bounds())
	}
	for i, c := range p.Palette {
		if got.Palette[i] != (color.RGBA{c[0], c[1], c[2], 255}) {
			t.Errorf("colour %d is %v", i, got.Palette[i])
		}
	}
	p.Pix = p.Pix[1:]
	if _, err := p.PNG(); err == nil {
		t.Error("a pixel is missing, and nobody says so")
	}
}

func TestGrey(t *testing.T) {
	file, err := Grey(10, 2, []byte{0x80, 0x40, 0x00, 0xff})
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for y := range 2 {
		for x := range 10 {
			white := y == 0 && (x == 0 || x == 9) || y == 1 && x > 7
			if got := color.GrayModel.Convert(img.At(x, y)) == (color.Gray{Y: 255}); got != white {
				t.Errorf("%d,%d is white: %v", x, y, got)
			}
		}
	}
	if _, err := Grey(10, 2, []byte{1}); err == nil {
		t.Error("rows are missing, and nobody says so")
	}
}
