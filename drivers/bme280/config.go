package bme280

import (
	"fmt"
	"time"
)

// Config is the configuration of one BME280.
type Config struct {
	Bus          string        `yaml:"bus" default:"1" doc:"I2C bus: number, /dev path or adapter name" example:"1"`
	Address      int           `yaml:"address" default:"0x76" min:"0x76" max:"0x77" doc:"I2C address: 0x76 with SDO low, 0x77 with SDO high"`
	Oversampling string        `yaml:"oversampling" default:"4x" oneof:"1x|2x|4x|8x|16x" doc:"measurements averaged for one reading; 4x takes 28 ms, 16x 98 ms"`
	MaxAge       time.Duration `yaml:"max_age" default:"100ms" min:"0s" max:"1h" doc:"a measurement younger than this is given again instead of measuring anew"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if _, ok := oversamplings[c.Oversampling]; !ok {
		return fmt.Errorf("oversampling: %q is none of 1x, 2x, 4x, 8x, 16x", c.Oversampling)
	}
	if c.Address != 0x76 && c.Address != 0x77 {
		return fmt.Errorf("address: 0x%02x is neither 0x76 nor 0x77", c.Address)
	}
	return nil
}
