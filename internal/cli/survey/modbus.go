package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"postern/drivers/modbus"
	"postern/drivers/serial"
)

// ModbusOptions say which line to look at.
type ModbusOptions struct {
	Port     string   // serial port; empty: Host
	Host     string   // ADDRESS:PORT
	Framing  string   // of Host: "tcp" or "rtu-over-tcp"
	Bauds    []int    // tried one after the other until units answer
	Parities []string // none, even, odd
	From, To byte
	Timeout  time.Duration // of one unit
	// Progress tells how many of how many questions were asked, at which speed.
	Progress func(asked, all int, speed string)
}

// Modbus asks each unit address of a line for one register. It never writes.
// With several speeds it stops at the first at which somebody answers.
func Modbus(ctx context.Context, o ModbusOptions) (*Report, error) {
	r := &Report{}
	settings := o.settings()
	units := int(o.To) - int(o.From) + 1
	for i, cfg := range settings {
		client, err := modbus.Dial(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			return nil, err
		}
		asked := i * units
		found, err := modbus.Scan(ctx, client, o.From, o.To, func(byte) {
			if o.Progress != nil {
				o.Progress(asked, len(settings)*units, speed(cfg))
			}
			asked++
		})
		err = errors.Join(err, client.Close())
		for _, u := range found {
			r.Findings = append(r.Findings, modbusFinding(cfg, u))
		}
		switch {
		case err != nil && len(r.Findings) == 0:
			return nil, err
		case err != nil || len(found) > 0:
			return r, err
		}
	}
	r.Notes = append(r.Notes, "no unit answered: check A and B (they are often swapped), speed, parity and the unit's address; "+
		"--baud 9600,19200,38400,115200 --parity none,even tries more")
	return r, nil
}

func (o *ModbusOptions) settings() []modbus.BusConfig {
	base := modbus.BusConfig{Transport: o.Framing, Host: o.Host, Timeout: o.Timeout}
	if o.Port == "" {
		return []modbus.BusConfig{base}
	}
	base.Transport = "rtu"
	var out []modbus.BusConfig
	for _, p := range o.Parities {
		for _, b := range o.Bauds {
			c := base
			c.Serial = serial.Config{Port: o.Port, Baud: b, DataBits: 8, Parity: p, StopBits: "1"}
			out = append(out, c)
		}
	}
	return out
}

func speed(c modbus.BusConfig) string {
	if c.Transport != "rtu" {
		return c.Host
	}
	return fmt.Sprintf("%d Bd, parity %s", c.Serial.Baud, c.Serial.Parity)
}

func modbusFinding(c modbus.BusConfig, u modbus.FoundUnit) Finding {
	f := Finding{Where: fmt.Sprintf("unit %d", u.Unit), On: speed(c), sure: true}
	var id []string
	for _, k := range []byte{modbus.VendorName, modbus.ProductCode, modbus.Revision} {
		if s := strings.TrimSpace(printable(u.ID[k])); s != "" {
			id = append(id, s)
		}
	}
	name := "Modbus unit"
	if len(id) > 0 {
		name = strings.Join(id, " ")
	}
	f.Guesses = []Guess{{"modbus", name, 95}}
	var has []string
	table := "holding"
	if u.Holdings {
		has = append(has, "holding register 0")
	}
	if u.Inputs {
		has = append(has, "input register 0")
		if !u.Holdings {
			table = "input"
		}
	}
	f.Detail = "answers, but has no register 0"
	if len(has) > 0 {
		f.Detail = "has " + strings.Join(has, " and ")
	}
	f.bus = "  line:\n    type: modbus\n    transport: " + c.Transport + "\n"
	if c.Transport == "rtu" {
		f.bus += fmt.Sprintf("    serial: {port: %s, baud: %d, parity: %s}\n", quoted(c.Serial.Port), c.Serial.Baud, c.Serial.Parity)
	} else {
		f.bus += "    host: " + quoted(c.Host) + "\n"
	}
	f.node = []string{"  bus: line", fmt.Sprintf("  unit: %d", u.Unit)}
	if len(id) > 0 {
		f.node = append(f.node, "  label: "+quoted(name))
	}
	f.node = append(f.node, "  registers:   # one to begin with; the unit's manual has the others",
		"    - {name: register-0, table: "+table+", address: 0}")
	return f
}

// printable drops what a unit has no business to send to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
