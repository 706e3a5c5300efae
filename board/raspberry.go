package board

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// header40 is the 40-pin header of the Raspberry Pi from the Model B+ on: pin
// → GPIO number (Raspberry Pi documentation, "GPIO and the 40-pin header").
// The other pins are power and ground.
var header40 = map[int]int{
	3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24,
	19: 10, 21: 9, 22: 25, 23: 11, 24: 8, 26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12,
	33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21,
}

// raspberry fills in what depends on the model. The label of the GPIO chip
// follows from the SoC, and the offset on it is the GPIO number on all of them.
func (b *Board) raspberry() {
	for _, c := range []struct{ soc, chip string }{
		{"brcm,bcm2712", "pinctrl-rp1"},
		{"brcm,bcm2711", "pinctrl-bcm2711"},
		{"brcm,bcm2837", "pinctrl-bcm2835"},
		{"brcm,bcm2836", "pinctrl-bcm2835"},
		{"brcm,bcm2835", "pinctrl-bcm2835"},
	} {
		if slices.Contains(b.Compatible, c.soc) {
			b.Chip = c.chip
			break
		}
	}
	b.pins = header40
	if b.firstHeader() {
		// 26 pins; the first revision of the Model B had three others.
		b.pins = map[int]int{}
		for pin, n := range header40 {
			if pin <= 26 {
				b.pins[pin] = n
			}
		}
		if strings.HasSuffix(b.Model, "Model B Rev 1") {
			b.pins[3], b.pins[5], b.pins[13] = 0, 1, 21
		}
	}
}

// firstHeader tells the models before the B+ ("Raspberry Pi Model B Rev 2",
// "Raspberry Pi Model A Rev 2").
func (b *Board) firstHeader() bool {
	return strings.HasPrefix(b.Model, "Raspberry Pi Model B Rev") || strings.HasPrefix(b.Model, "Raspberry Pi Model A Rev")
}

// Line translates a name of a line on the header into what gpio.Open takes:
// "pin 11" or "pin11" by position, "GPIO17" by the board's own numbers. Other
// names, among them CHIPLABEL:NAME, are given back as they are.
func (b Board) Line(name string) (string, error) {
	short := strings.ToLower(strings.ReplaceAll(name, " ", ""))
	if n, ok := number(short, "pin"); ok {
		if b.pins == nil || b.Chip == "" {
			return "", fmt.Errorf("board: %q: the header of this machine (%s) is not known; write CHIPLABEL:NAME", name, b)
		}
		gpio, ok := b.pins[n]
		if !ok {
			return "", fmt.Errorf("board: %q: pin %d of a %s is no GPIO line; these are: %s", name, n, b.Model, b.pinList())
		}
		return fmt.Sprintf("%s:%d", b.Chip, gpio), nil
	}
	if n, ok := number(short, "gpio"); ok && b.Family == RaspberryPi && b.Chip != "" {
		for _, g := range b.pins {
			if g == n {
				return fmt.Sprintf("%s:%d", b.Chip, n), nil
			}
		}
		return "", fmt.Errorf("board: %q: GPIO%d is not on the header of a %s", name, n, b.Model)
	}
	return name, nil
}

func number(s, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0
}

// Pins returns the header's pins that are GPIO lines, in order.
func (b Board) Pins() []int {
	pins := make([]int, 0, len(b.pins))
	for p := range b.pins {
		pins = append(pins, p)
	}
	sort.Ints(pins)
	return pins
}

func (b Board) pinList() string {
	var s []string
	for _, p := range b.Pins() {
		s = append(s, strconv.Itoa(p))
	}
	return strings.Join(s, ", ")
}

// LineOffset is a line by its chip's label and its offset there.
type LineOffset struct {
	Chip   string
	Offset int
}

// LinePins returns the names of the header's pins ("pin 11") by line.
func (b Board) LinePins() map[LineOffset]string {
	out := map[LineOffset]string{}
	for pin, offset := range b.pins {
		if b.Chip != "" {
			out[LineOffset{b.Chip, offset}] = "pin " + strconv.Itoa(pin)
		}
	}
	return out
}
