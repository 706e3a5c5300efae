package qr

import "strings"

// Paper is how a symbol stands out on a terminal.
type Paper uint8

// The papers.
const (
	// Coloured sets black and white itself, so it can be read on a terminal of
	// any colour.
	Coloured Paper = iota
	// DarkTerminal draws the white modules, for light text on dark ground.
	DarkTerminal
	// LightTerminal draws the black modules, for dark text on light ground.
	LightTerminal
)

// The colours of Coloured: black on white, on bright white where a terminal
// knows that.
const (
	colourOn  = "\x1b[30;47;107m"
	colourOff = "\x1b[0m"
)

// Terminal draws a symbol with half blocks: a line holds two rows of modules,
// which makes them about square.
func (s Symbol) Terminal(p Paper) string {
	// By upper and lower module, 1 where something is drawn.
	halves := [2][2]string{{" ", "▄"}, {"▀", "█"}}
	ink := func(x, y int) int {
		if s.Black(x, y) == (p != DarkTerminal) {
			return 1
		}
		return 0
	}
	var b strings.Builder
	for y := -Quiet; y < s.Size()+Quiet; y += 2 {
		if p == Coloured {
			b.WriteString(colourOn)
		}
		for x := -Quiet; x < s.Size()+Quiet; x++ {
			lower := 0
			if y+1 < s.Size()+Quiet || p == Coloured {
				lower = ink(x, y+1)
			}
			b.WriteString(halves[ink(x, y)][lower])
		}
		if p == Coloured {
			b.WriteString(colourOff)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
