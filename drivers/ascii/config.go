package ascii

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"postern/drivers"
	"postern/drivers/serial"
)

// Config is the configuration of an instrument that talks in lines of text.
// Model and Description are for who fills in the values of a known model; this
// package reads the rest only.
type Config struct {
	Serial      serial.Config `yaml:"serial" doc:"the serial port"`
	Model       string        `yaml:"model,omitempty" doc:"name of a description: models/NAME.yaml beside this file, or one that comes with Postern (postern schema --models); request, end, checksum and timeout are then its" example:"vaisala-hmt330"`
	Description string        `yaml:"description,omitempty" doc:"file of a description, instead of model" example:"my-scale.yaml"`
	Request     string        `yaml:"request" default:"" doc:"what is sent for a reading, with its line end; empty: the instrument sends by itself" example:"MEAS?\r\n"`
	End         string        `yaml:"end" default:"\n" doc:"what ends a line of the instrument"`
	Checksum    string        `yaml:"checksum" default:"none" oneof:"none|nmea" doc:"nmea: lines are $…*HH with the exclusive or of the octets between"`
	Timeout     time.Duration `yaml:"timeout" default:"2s" min:"10ms" max:"5m" doc:"how long all values of a reading may take"`
	Fields      []Field       `yaml:"values,omitempty" doc:"the values, one channel each; with a description, further ones"`
}

// Field is one value of a line.
type Field struct {
	Name    string `yaml:"name" doc:"channel name: lower case letters, digits, hyphens" example:"weight"`
	Pattern string `yaml:"pattern" doc:"regular expression (RE2) with one group, the value" example:"ST,GS,\\s*([-+]?[0-9.]+)kg"`
	Type    string `yaml:"type" default:"number" oneof:"number|text|hex" doc:"what the group is; hex is a whole number in hexadecimal"`
	Scale   string `yaml:"scale" default:"1" doc:"factor from the text to the unit; decimals are kept"`
	Unit    string `yaml:"unit,omitempty" doc:"unit of the scaled value" example:"kg"`
	Doc     string `yaml:"doc,omitempty" doc:"what it is, in a few words"`
}

// Validate reports what the tags cannot express, every problem at once.
func (c Config) Validate() error {
	_, err := c.compile()
	return errors.Join(c.Serial.Validate(), err)
}

// field is a Field ready for use.
type field struct {
	Field
	re    *regexp.Regexp
	scale drivers.Number
}

var channelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (c Config) compile() ([]field, error) {
	var problems []error
	bad := func(i int, format string, args ...any) {
		problems = append(problems, fmt.Errorf("values[%d] %s: "+format, append([]any{i, c.Fields[i].Name}, args...)...))
	}
	if len(c.Fields) == 0 {
		problems = append(problems, errors.New("values: none; name a model or a description, or list the values"))
	}
	if c.End == "" {
		problems = append(problems, errors.New("end: empty; a line needs an end"))
	}
	if c.Checksum != "none" && c.Checksum != "nmea" {
		problems = append(problems, fmt.Errorf("checksum: %q is neither none nor nmea", c.Checksum))
	}
	if c.Timeout <= 0 {
		problems = append(problems, errors.New("timeout: must be more than 0"))
	}
	fields := make([]field, len(c.Fields))
	seen := map[string]bool{}
	for i, f := range c.Fields {
		fields[i] = field{Field: f, scale: drivers.Num(1, 0)}
		if !channelName.MatchString(f.Name) || seen[f.Name] {
			bad(i, "name: %q is not lower case letters, digits and hyphens, or used twice", f.Name)
		}
		seen[f.Name] = true
		re, err := regexp.Compile(f.Pattern)
		switch {
		case err != nil:
			bad(i, "pattern: %w", err)
		case re.NumSubexp() != 1:
			bad(i, "pattern: has %d groups; the value is the one group", re.NumSubexp())
		}
		fields[i].re = re
		if !strings.Contains(" number text hex ", " "+f.Type+" ") {
			bad(i, "type: %q is none of number, text, hex", f.Type)
		}
		if f.Scale != "" {
			if fields[i].scale, err = drivers.ParseNumber(f.Scale); err != nil || fields[i].scale.Mant == 0 {
				bad(i, "scale: %q is not a number other than 0", f.Scale)
			}
		}
	}
	return fields, errors.Join(problems...)
}
