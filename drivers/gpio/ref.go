package gpio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// Ref names a line by what does not change from boot to boot: the label of its
// chip, and its name or its offset within the chip.
type Ref struct {
	Chip   string // label, for example "pinctrl-bcm2711"
	Name   string // of the line; empty: by offset
	Offset int
}

// ParseRef parses CHIPLABEL:NAME or CHIPLABEL:OFFSET. The label may contain
// colons; the last one counts. Global GPIO numbers and gpiochipN, which depend
// on the order of probing, are refused.
func ParseRef(s string) (Ref, error) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || i == len(s)-1 {
		if _, err := strconv.Atoi(s); err == nil {
			return Ref{}, fmt.Errorf("%q is a global GPIO number, which changes from kernel to kernel; write CHIPLABEL:NAME or CHIPLABEL:OFFSET", s)
		}
		return Ref{}, fmt.Errorf("%q is not CHIPLABEL:NAME or CHIPLABEL:OFFSET, for example pinctrl-bcm2711:GPIO17, nor a name of the header such as pin 11", s)
	}
	r := Ref{Chip: s[:i], Name: s[i+1:]}
	if strings.HasPrefix(strings.TrimPrefix(r.Chip, "/dev/"), "gpiochip") {
		if _, err := strconv.Atoi(r.Chip[strings.Index(r.Chip, "gpiochip")+len("gpiochip"):]); err == nil {
			return Ref{}, fmt.Errorf("%q names a chip by number, which can change at each boot; use its label", s)
		}
	}
	if n, err := strconv.Atoi(r.Name); err == nil {
		if n < 0 || n > 65535 {
			return Ref{}, errors.New("line offset is not in 0..65535")
		}
		r.Name, r.Offset = "", n
	}
	return r, nil
}

// String writes what ParseRef reads.
func (r Ref) String() string {
	if r.Name != "" {
		return r.Chip + ":" + r.Name
	}
	return r.Chip + ":" + strconv.Itoa(r.Offset)
}

var biases = map[string]uapi.LineFlagV2{
	"as-is": 0, "pull-up": uapi.LineFlagV2BiasPullUp, "pull-down": uapi.LineFlagV2BiasPullDown, "disabled": uapi.LineFlagV2BiasDisabled,
}

var drives = map[string]uapi.LineFlagV2{
	"push-pull": 0, "open-drain": uapi.LineFlagV2OpenDrain, "open-source": uapi.LineFlagV2OpenSource,
}
