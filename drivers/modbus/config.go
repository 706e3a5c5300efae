package modbus

import (
	"cmp"
	"fmt"
	"net"
	"time"

	"postern/drivers/serial"
)

// BusConfig is the configuration of one Modbus line with its units.
type BusConfig struct {
	Transport string        `yaml:"transport" default:"rtu" oneof:"rtu|rtu-over-tcp|tcp" doc:"rtu on a serial port, or one of the two framings over TCP"`
	Serial    serial.Config `yaml:"serial,omitempty" doc:"the serial port of transport rtu"`
	Host      string        `yaml:"host,omitempty" doc:"address and port of the two TCP transports" example:"192.0.2.10:502"`
	Timeout   time.Duration `yaml:"timeout" default:"500ms" min:"10ms" max:"30s" doc:"how long a unit may take until its answer begins"`
	Retries   int           `yaml:"retries" default:"1" min:"0" max:"5" doc:"further tries of a read that failed; writes are never repeated"`
	Silence   time.Duration `yaml:"silence" default:"0ms" min:"0s" max:"1s" doc:"pause between frames; 0 is 3.5 characters, 1.75 ms above 19200 Bd"`
}

// Validate reports what the tags cannot express.
func (c BusConfig) Validate() error {
	switch c.Transport {
	case "rtu":
		if err := c.Serial.Validate(); err != nil {
			return fmt.Errorf("serial: %w", err)
		}
	case "rtu-over-tcp", "tcp":
		if _, _, err := net.SplitHostPort(c.Host); err != nil {
			return fmt.Errorf("host: %q is not ADDRESS:PORT, for example 192.0.2.10:502", c.Host)
		}
	default:
		return fmt.Errorf("transport: %q is none of rtu, rtu-over-tcp, tcp", c.Transport)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("timeout: must be more than 0")
	}
	return nil
}

// Config is the configuration of one Modbus unit described by its registers.
// Model, Description and Start are for who fills in the registers of a known
// model; this package reads Registers only.
type Config struct {
	Bus          string     `yaml:"bus" doc:"name of the Modbus line that the unit is on" example:"field"`
	Model        string     `yaml:"model,omitempty" doc:"name of a description: models/NAME.yaml beside this file, or one that comes with Postern (postern schema --models)" example:"eastron-sdm72d-m"`
	Description  string     `yaml:"description,omitempty" doc:"file of a description, instead of model" example:"my-meter.yaml"`
	Start        int        `yaml:"start" default:"-1" min:"-1" max:"65535" doc:"added to the addresses of the description; -1 leaves its own"`
	Unit         int        `yaml:"unit" default:"1" min:"0" max:"255" doc:"unit address; 1 to 247 on a serial line"`
	MaxRegisters int        `yaml:"max_registers" default:"125" min:"1" max:"125" doc:"registers that the unit gives in one answer"`
	MaxBits      int        `yaml:"max_bits" default:"2000" min:"1" max:"2000" doc:"coils or inputs that the unit gives in one answer"`
	MaxHole      int        `yaml:"max_hole" default:"8" min:"0" max:"124" doc:"unused registers that may be read along to save a request"`
	Registers    []Register `yaml:"registers,omitempty" doc:"the values of the unit, one channel each; with a description, further ones"`
}

// Register is one value of a unit.
type Register struct {
	Name      string      `yaml:"name" doc:"channel name: lower case letters, digits, hyphens" example:"voltage-l1"`
	Table     string      `yaml:"table" default:"holding" oneof:"coil|discrete|input|holding" doc:"which of the four tables"`
	Address   int         `yaml:"address" min:"0" max:"65535" doc:"address as on the wire, from 0 (register 40001 is holding 0)"`
	Type      string      `yaml:"type,omitempty" oneof:"bool|uint16|int16|uint32|int32|uint64|int64|float32|float64|bcd16|bcd32|string" doc:"how the registers are read; uint16 when left out, bool for coils and discrete inputs"`
	Order     string      `yaml:"order" default:"abcd" oneof:"abcd|badc|cdab|dcba" doc:"octets of a 32-bit value as they arrive; abcd is the standard, cdab swaps the words"`
	Length    int         `yaml:"length" default:"0" min:"0" max:"125" doc:"number of registers of a string"`
	Bits      string      `yaml:"bits,omitempty" doc:"bit or bit range of the register, 0 is the lowest; a single bit is a boolean" example:"4-7"`
	Scale     string      `yaml:"scale" default:"1" doc:"factor from the register to the unit; its decimals are kept: 0.1 reads 2300 as 230.0" example:"0.1"`
	Offset    string      `yaml:"offset" default:"0" doc:"added after scaling"`
	ScaleFrom string      `yaml:"scale_from,omitempty" doc:"name of an int16 register that holds the power of ten (SunSpec)"`
	Decimals  int         `yaml:"decimals" default:"-1" min:"-1" max:"9" doc:"decimals of a float; -1 gives as many as the float has"`
	Unit      string      `yaml:"unit,omitempty" doc:"unit of the scaled value" example:"V"`
	Invalid   string      `yaml:"invalid,omitempty" doc:"raw value that means no value" example:"0x8000"`
	Values    []EnumValue `yaml:"values,omitempty" doc:"names of raw values; the channel is an enumeration"`
	Writable  bool        `yaml:"writable" default:"false" doc:"the channel can be set (coils and holding registers)"`
	Min       string      `yaml:"min,omitempty" doc:"smallest value that may be written, scaled"`
	Max       string      `yaml:"max,omitempty" doc:"largest value that may be written, scaled"`
	Safe      string      `yaml:"safe,omitempty" doc:"value at start, at the end and whenever in doubt: scaled, on or off for a coil or a single bit, a name of values; without it nothing but a command moves the output" example:"off"`
	Multiple  bool        `yaml:"write_multiple" default:"false" doc:"write a single register by function 16, for units without function 6"`
	Doc       string      `yaml:"doc,omitempty" doc:"what it is, in a few words"`
}

// EnumValue names one raw value.
type EnumValue struct {
	Raw  int64  `yaml:"raw" doc:"value of the register or bit field"`
	Name string `yaml:"name" doc:"its name"`
}

// Validate reports what the tags cannot express, every problem at once.
func (c Config) Validate() error {
	points, err := compile(c.Registers)
	if err != nil {
		return err
	}
	return c.fits(points)
}

// fits reports whether each value can be read in one request.
func (c Config) fits(points []point) error {
	limit := cmp.Or(c.MaxRegisters, maxReadRegisters)
	for i, p := range points {
		if p.size > limit && !p.table.Bits() {
			return fmt.Errorf("registers[%d] %s: has %d registers, max_registers is %d", i, p.Name, p.size, limit)
		}
	}
	return nil
}
