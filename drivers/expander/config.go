package expander

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Config is the configuration of one port expander.
type Config struct {
	Bus     string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address int    `yaml:"address" default:"0x20" min:"0x20" max:"0x3f" doc:"I2C address: 0x20 to 0x27, and 0x38 to 0x3f for a PCF8574A or TCA9554A"`
	Chip    string `yaml:"chip" default:"mcp23017" oneof:"mcp23008|mcp23017|pcf8574|pcf8575|tca9554|tca9555" doc:"which chip; those of other makers with the same number are the same (PCA9555, TCA9535)"`
	Lines   []Line `yaml:"lines" doc:"the lines in use, one channel each; others stay inputs"`
}

// Line is one line of the chip.
type Line struct {
	Line      int    `yaml:"line" min:"0" max:"15" doc:"number of the line from 0; the second port of a chip with two begins at 8"`
	Name      string `yaml:"name" doc:"channel name: lower case letters, digits, hyphens" example:"pump"`
	Use       string `yaml:"use" default:"input" oneof:"input|output" doc:"what the line is"`
	ActiveLow bool   `yaml:"active_low" default:"false" doc:"on is the low level, as with most relay boards"`
	PullUp    bool   `yaml:"pull_up" default:"false" doc:"resistor inside the chip, for inputs of an MCP23008 or MCP23017"`
	Safe      string `yaml:"safe" default:"off" oneof:"off|on" doc:"state of an output at start, at the end and whenever in doubt"`
	Doc       string `yaml:"doc,omitempty" doc:"what it is, in a few words"`
}

var channelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	f, ok := families[c.Chip]
	if !ok {
		return fmt.Errorf("chip: %q is none of mcp23008, mcp23017, pcf8574, pcf8575, tca9554, tca9555", c.Chip)
	}
	if c.Address&^7 != 0x20 && c.Address&^7 != f.second {
		return fmt.Errorf("address: 0x%02x is none that a %s can have", c.Address, strings.ToUpper(c.Chip))
	}
	if len(c.Lines) == 0 {
		return errors.New("lines: name at least one")
	}
	numbers, names := map[int]bool{}, map[string]bool{}
	for i, l := range c.Lines {
		if err := l.validate(f); err != nil {
			return fmt.Errorf("lines[%d]: %w", i, err)
		}
		if numbers[l.Line] || names[l.Name] {
			return fmt.Errorf("lines[%d]: line %d or name %q is there twice", i, l.Line, l.Name)
		}
		numbers[l.Line], names[l.Name] = true, true
	}
	return nil
}

func (l Line) validate(f family) error {
	switch {
	case l.Line < 0 || l.Line >= f.lines:
		return fmt.Errorf("line: %d is not in 0..%d", l.Line, f.lines-1)
	case len(l.Name) > 64 || !channelName.MatchString(l.Name):
		return fmt.Errorf("name: %q is not lower case letters, digits and hyphens", l.Name)
	case l.Use != "input" && l.Use != "output":
		return fmt.Errorf("use: %q is neither input nor output", l.Use)
	case l.Safe != "off" && l.Safe != "on":
		return fmt.Errorf("safe: %q is neither off nor on", l.Safe)
	case l.PullUp && (l.Use == "output" || f.pull == none):
		return errors.New("pull_up: only for inputs of an MCP23008 or MCP23017")
	}
	return nil
}
