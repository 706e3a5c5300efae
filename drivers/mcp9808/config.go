package mcp9808

import "fmt"

// Config is the configuration of one MCP9808.
type Config struct {
	Bus        string `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address    int    `yaml:"address" default:"0x18" min:"0x18" max:"0x1f" doc:"I2C address, set by the pins A2, A1 and A0"`
	Resolution string `yaml:"resolution" default:"0.0625" oneof:"0.5|0.25|0.125|0.0625" doc:"resolution in °C; a conversion takes 30, 65, 130 or 250 ms"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if _, ok := resolutions[c.Resolution]; !ok {
		return fmt.Errorf("resolution: %q is none of 0.5, 0.25, 0.125, 0.0625", c.Resolution)
	}
	if c.Address < 0x18 || c.Address > 0x1f {
		return fmt.Errorf("address: 0x%02x is not in 0x18..0x1f", c.Address)
	}
	return nil
}
