package gpio

import (
	"fmt"
	"time"
)

// ContactConfig is the configuration of an input: a door contact, a button, a
// pulse output.
type ContactConfig struct {
	Line      string        `yaml:"line" doc:"GPIO line: chip label, colon, line name or offset; on boards with a known header also a name such as pin 11 or GPIO17" example:"pinctrl-bcm2711:GPIO17"`
	ActiveLow bool          `yaml:"active_low" default:"false" doc:"the contact is active while the line is low"`
	Bias      string        `yaml:"bias" default:"as-is" oneof:"as-is|pull-up|pull-down|disabled" doc:"resistor inside the chip"`
	Debounce  time.Duration `yaml:"debounce" default:"5ms" min:"0s" max:"10s" doc:"a level counts once it is stable for this long"`
}

// Validate reports what the tags cannot express.
func (c ContactConfig) Validate() error {
	if err := CheckLine(c.Line); err != nil {
		return fmt.Errorf("line: %w", err)
	}
	if _, ok := biases[c.Bias]; !ok {
		return fmt.Errorf("bias: %q is none of as-is, pull-up, pull-down, disabled", c.Bias)
	}
	return nil
}

// RelayConfig is the configuration of an output.
type RelayConfig struct {
	Line      string `yaml:"line" doc:"GPIO line: chip label, colon, line name or offset; on boards with a known header also a name such as pin 11 or GPIO17" example:"pinctrl-bcm2711:GPIO27"`
	ActiveLow bool   `yaml:"active_low" default:"false" doc:"the relay is on while the line is low"`
	Drive     string `yaml:"drive" default:"push-pull" oneof:"push-pull|open-drain|open-source" doc:"how the line is driven"`
	Safe      string `yaml:"safe" default:"off" oneof:"off|on" doc:"state at start, at the end and whenever in doubt"`
}

// Validate reports what the tags cannot express.
func (c RelayConfig) Validate() error {
	if err := CheckLine(c.Line); err != nil {
		return fmt.Errorf("line: %w", err)
	}
	if _, ok := drives[c.Drive]; !ok {
		return fmt.Errorf("drive: %q is none of push-pull, open-drain, open-source", c.Drive)
	}
	if c.Safe != "off" && c.Safe != "on" {
		return fmt.Errorf("safe: %q is neither off nor on", c.Safe)
	}
	return nil
}
