//go:build fleet

package pairing

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // photos
	_ "image/png"  // screenshots

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// maxPixels bounds the memory and time that a photo takes.
const maxPixels = 64 << 20

// decodeImage reads the QR code of a photo. Large ones are tried at smaller
// sizes too, where blur and the camera's noise matter less.
func decodeImage(data []byte) (string, error) {
	head, kind, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return "", errors.New("neither a claim code nor a picture (PNG or JPEG)")
	}
	if head.Width < 21 || head.Height < 21 || head.Width > maxPixels/head.Height {
		return "", fmt.Errorf("a %s of %d by %d pixels cannot be used: 21 by 21 to 64 megapixels", kind, head.Width, head.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return "", fmt.Errorf("the picture is damaged: %w", err)
	}
	for g := grey(img); ; g = half(g) {
		if text, ok := findQR(g); ok {
			return text, nil
		}
		if b := g.Bounds(); b.Dx() < 400 || b.Dy() < 400 {
			return "", errors.New("no QR code is found in the picture: take it from straight above, sharp, with the white margin")
		}
	}
}

func findQR(g *image.Gray) (text string, ok bool) {
	// The decoder was made for cameras, not for attackers: what makes it panic
	// is no code.
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	src := gozxing.NewLuminanceSourceFromImage(g)
	hints := map[gozxing.DecodeHintType]interface{}{gozxing.DecodeHintType_TRY_HARDER: true, gozxing.DecodeHintType_CHARACTER_SET: "UTF-8"}
	// Uneven light first, then a plain threshold, then white on black.
	for _, b := range []gozxing.Binarizer{gozxing.NewHybridBinarizer(src), gozxing.NewGlobalHistgramBinarizer(src), gozxing.NewHybridBinarizer(src.Invert())} {
		bitmap, err := gozxing.NewBinaryBitmap(b)
		if err != nil {
			continue
		}
		if r, err := qrcode.NewQRCodeReader().Decode(bitmap, hints); err == nil {
			return r.GetText(), true
		}
	}
	return "", false
}

func grey(img image.Image) *image.Gray {
	b := img.Bounds()
	g := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			g.Pix[y*g.Stride+x] = color.GrayModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.Gray).Y
		}
	}
	return g
}

// half halves a picture by taking the mean of four pixels.
func half(g *image.Gray) *image.Gray {
	w, h := g.Bounds().Dx()/2, g.Bounds().Dy()/2
	out := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			i := 2*y*g.Stride + 2*x
			out.Pix[y*out.Stride+x] = uint8((int(g.Pix[i]) + int(g.Pix[i+1]) + int(g.Pix[i+g.Stride]) + int(g.Pix[i+g.Stride+1])) / 4)
		}
	}
	return out
}
