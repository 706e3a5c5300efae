package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/drivers/ascii"
	"postern/drivers/catalog"
	"postern/drivers/modbus"
	"postern/drivers/serial"
	"postern/internal/config"
)

// description is a file that says what an instrument gives, so that a node
// only has to name it. The keys of the other kind are left out.
type description struct {
	Kind    string  `yaml:"kind" oneof:"modbus|ascii" doc:"kind of node it is for"`
	Vendor  string  `yaml:"vendor" doc:"who makes it; generic for a standard" example:"Eastron"`
	Device  string  `yaml:"device" doc:"model, and what it is" example:"SDM72D-M energy meter"`
	Source  source  `yaml:"source" doc:"the document that the values were read from"`
	Factory factory `yaml:"factory,omitempty" doc:"how it leaves the factory, as far as the document says"`

	Start        int               `yaml:"start" default:"0" min:"0" max:"65535" doc:"added to every address, unless the node says otherwise"`
	MaxRegisters int               `yaml:"max_registers" default:"125" min:"1" max:"125" doc:"most registers that it gives in one answer"`
	MaxHole      int               `yaml:"max_hole" default:"8" min:"0" max:"124" doc:"most unused registers that may be read along"`
	Registers    []modbus.Register `yaml:"registers,omitempty" doc:"the values of a Modbus unit"`

	Request  string        `yaml:"request" default:"" doc:"what is sent for a reading"`
	End      string        `yaml:"end" default:"\n" doc:"what ends a line"`
	Checksum string        `yaml:"checksum" default:"none" oneof:"none|nmea" doc:"as of kind ascii"`
	Timeout  time.Duration `yaml:"timeout" default:"2s" min:"10ms" max:"5m" doc:"how long all values of a reading may take"`
	Fields   []ascii.Field `yaml:"values,omitempty" doc:"the values of an instrument that talks in lines"`
}

type source struct {
	Title    string `yaml:"title" doc:"title of the document" example:"User Manual"`
	Revision string `yaml:"revision,omitempty" doc:"revision or commit"`
	Place    string `yaml:"place" doc:"table, section or page" example:"page 14"`
	Read     string `yaml:"read,omitempty" doc:"where it was read"`
	Note     string `yaml:"note,omitempty" doc:"what else has to be known of it"`
}

// String cites the document in one line.
func (s source) String() string {
	parts := []string{s.Title}
	for _, p := range []string{s.Revision, s.Place} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	text := strings.Join(parts, ", ")
	if s.Read != "" {
		text += " (read at " + s.Read + ")"
	}
	if s.Note != "" {
		text += "; " + s.Note
	}
	return text
}

type factory struct {
	Baud   int    `yaml:"baud" default:"0" doc:"speed in Bd"`
	Parity string `yaml:"parity,omitempty" oneof:"none|even|odd"`
	Unit   int    `yaml:"unit" default:"0" min:"0" max:"247" doc:"unit address"`
}

func (f factory) String() string {
	var parts []string
	if f.Baud != 0 {
		parts = append(parts, fmt.Sprintf("%d Bd", f.Baud))
	}
	if f.Parity != "" {
		parts = append(parts, "parity "+f.Parity)
	}
	if f.Unit != 0 {
		parts = append(parts, fmt.Sprintf("unit %d", f.Unit))
	}
	return strings.Join(parts, ", ")
}

// Validate reports what the tags cannot express.
func (d description) Validate() error {
	switch {
	case d.Kind == "modbus" && len(d.Fields) > 0:
		return errors.New("values: belongs to kind ascii; a Modbus unit has registers")
	case d.Kind == "ascii" && len(d.Registers) > 0:
		return errors.New("registers: belongs to kind modbus; an instrument that talks in lines has values")
	case d.Kind == "ascii":
		c := ascii.Config{Serial: serial.Config{Port: "any", Parity: "none", StopBits: "1"}}
		d.ascii(&c)
		return c.Validate()
	}
	return modbus.Config{Registers: d.Registers, MaxRegisters: d.MaxRegisters}.Validate()
}

func (d description) ascii(c *ascii.Config) {
	c.Request, c.End, c.Checksum, c.Timeout = d.Request, d.End, d.Checksum, d.Timeout
	c.Fields = append(slices.Clone(d.Fields), c.Fields...)
}

func (d description) modbus(c *modbus.Config) error {
	start := d.Start
	if c.Start >= 0 {
		start = c.Start
	}
	regs := slices.Clone(d.Registers)
	for i := range regs {
		if regs[i].Address += start; regs[i].Address > 65535 {
			return fmt.Errorf("start: %d puts %s beyond address 65535", start, regs[i].Name)
		}
	}
	c.Registers = append(regs, c.Registers...)
	c.MaxRegisters, c.MaxHole = min(c.MaxRegisters, d.MaxRegisters), min(c.MaxHole, d.MaxHole)
	return nil
}

// modelFolder stands beside the configuration; what is in it has precedence
// over the models that come with the program.
const modelFolder = "models"

var modelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// describe finds and reads the description that a node names. dir is the
// folder of the configuration.
func describe(kind, model, file, dir string) (*description, error) {
	var path string
	var data []byte
	var err error
	switch {
	case model != "" && file != "":
		return nil, errors.New("description: the node names a model, too; keep one of the two")
	case file != "":
		if path = file; !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if data, err = readDescription(path); err != nil {
			return nil, fmt.Errorf("description: %w", err)
		}
	case !modelName.MatchString(model):
		return nil, fmt.Errorf("model: %q is not lower case letters, digits and hyphens; a file is named by description", model)
	default:
		path = filepath.Join(dir, modelFolder, model+".yaml")
		data, err = readDescription(path)
		if errors.Is(err, os.ErrNotExist) {
			var ok bool
			if data, ok = catalog.Read(model); !ok {
				near := config.Nearest(model, append(ownModels(dir), catalog.Names()...))
				if near != "" {
					near = "did you mean " + near + "? "
				}
				return nil, fmt.Errorf("model: there is no model %q, nor %s; %spostern schema --models lists them", model, path, near)
			}
			path, err = "model "+model, nil
		}
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
	}
	d, err := parseDescription(path, data)
	if err != nil {
		return nil, err
	}
	if d.Kind != kind {
		return nil, fmt.Errorf("%s: %s is for kind %s", cmp.Or(map[bool]string{true: "model"}[model != ""], "description"), path, d.Kind)
	}
	return d, nil
}

// ownModels lists the models beside the configuration.
func ownModels(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, modelFolder, "*.yaml"))
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files
}

// maxDescription bounds a file.
const maxDescription = 256 << 10

func readDescription(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular(): // opening a pipe would wait for its other end
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDescription+1))
	if err == nil && len(data) > maxDescription {
		err = fmt.Errorf("%s has more than %d octets", path, maxDescription)
	}
	return data, err
}

func parseDescription(path string, data []byte) (*description, error) {
	d := new(description)
	if ps := config.DecodeValid(path, data, d); ps != nil {
		return nil, ps
	}
	return d, nil
}

// resolveModbus fills the registers of a node from what it names.
func resolveModbus(cfg any, dir string) error {
	c := cfg.(*modbus.Config)
	if c.Model == "" && c.Description == "" {
		return nil
	}
	d, err := describe("modbus", c.Model, c.Description, dir)
	if err != nil {
		return err
	}
	return d.modbus(c)
}

// resolveASCII does so for an instrument that talks in lines.
func resolveASCII(cfg any, dir string) error {
	c := cfg.(*ascii.Config)
	if c.Model == "" && c.Description == "" {
		return nil
	}
	d, err := describe("ascii", c.Model, c.Description, dir)
	if err != nil {
		return err
	}
	d.ascii(c)
	return nil
}

// resolving sets what fills a configuration of the kind.
func (k kind) resolving(resolve func(cfg any, dir string) error) kind {
	k.Resolve = resolve
	return k
}

// Models lists the descriptions that come with the program. A mistake in one
// is a mistake in the program: it panics.
func Models() []config.Model {
	var out []config.Model
	for _, name := range catalog.Names() {
		d, err := builtin(name)
		if err != nil {
			panic(err)
		}
		m := config.Model{Name: name, Kind: d.Kind, Device: d.Device, Vendor: d.Vendor, Source: d.Source.String(), Factory: d.Factory.String()}
		for _, r := range d.Registers {
			m.Channels = append(m.Channels, config.Channel{Name: r.Name, Unit: r.Unit, Doc: r.Doc, Writable: r.Writable})
		}
		for _, f := range d.Fields {
			m.Channels = append(m.Channels, config.Channel{Name: f.Name, Unit: f.Unit, Doc: f.Doc})
		}
		out = append(out, m)
	}
	return out
}

func builtin(name string) (*description, error) {
	data, ok := catalog.Read(name)
	if !ok {
		if n := config.Nearest(name, catalog.Names()); n != "" {
			return nil, fmt.Errorf("there is no model %q; did you mean %s? postern schema --models lists them", name, n)
		}
		return nil, fmt.Errorf("there is no model %q; postern schema --models lists them", name)
	}
	return parseDescription("model "+name, data)
}

// Model returns the description of a model that comes with the program: its
// file, and in comments the requests that a Modbus unit is read with.
func Model(name string) ([]byte, error) {
	d, err := builtin(name)
	if err != nil {
		return nil, err
	}
	data, _ := catalog.Read(name)
	if d.Kind != "modbus" {
		return data, nil
	}
	blocks, err := d.plan()
	if err != nil {
		return nil, err
	}
	data = append(slices.Clone(data), "# read by these requests:\n"...)
	for _, b := range blocks {
		data = fmt.Appendf(data, "#   %s\n", b)
	}
	return data, nil
}

// plan tells how a unit of the description is read.
func (d description) plan() ([]modbus.Block, error) {
	var c modbus.Config
	config.Defaults(&c)
	if err := d.modbus(&c); err != nil {
		return nil, err
	}
	return modbus.Plan(c)
}
