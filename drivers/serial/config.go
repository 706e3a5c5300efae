package serial

import (
	"fmt"
	"time"
)

// Config is the configuration of one serial port.
type Config struct {
	Port     string      `yaml:"port" doc:"device path, best one below /dev/serial/by-id, or usb:VID:PID:SERIAL" example:"/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0"`
	Baud     int         `yaml:"baud" default:"9600" min:"50" max:"4000000" doc:"symbol rate in Bd"`
	DataBits int         `yaml:"data_bits" default:"8" min:"5" max:"8" doc:"bits per character"`
	Parity   string      `yaml:"parity" default:"none" oneof:"none|even|odd" doc:"parity bit"`
	StopBits string      `yaml:"stop_bits" default:"1" oneof:"1|2" doc:"stop bits"`
	RS485    RS485Config `yaml:"rs485,omitempty" doc:"direction control by the UART driver (TIOCSRS485)"`
}

// RS485Config is the direction control of an RS-485 transceiver. Adapters that
// switch by themselves need none.
type RS485Config struct {
	Enabled     bool          `yaml:"enabled" default:"false" doc:"let the UART driver switch the transceiver by RTS"`
	ActiveLow   bool          `yaml:"rts_active_low" default:"false" doc:"RTS is low while sending"`
	DelayBefore time.Duration `yaml:"delay_before" default:"0ms" min:"0s" max:"1s" doc:"time between switching and the first bit"`
	DelayAfter  time.Duration `yaml:"delay_after" default:"0ms" min:"0s" max:"1s" doc:"time between the last bit and switching back"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if c.Port == "" {
		return fmt.Errorf("port: missing; name a device such as /dev/serial/by-id/…")
	}
	if _, ok := parities[c.Parity]; !ok {
		return fmt.Errorf("parity: %q is none of none, even, odd", c.Parity)
	}
	if _, ok := stopBits[c.StopBits]; !ok {
		return fmt.Errorf("stop_bits: %q is neither 1 nor 2", c.StopBits)
	}
	return nil
}

// CharTime returns how long one character takes on the wire.
func (c Config) CharTime() time.Duration {
	bits := 1 + c.DataBits + 1
	if c.Parity != "none" {
		bits++
	}
	if c.StopBits == "2" {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(max(c.Baud, 1))
}
