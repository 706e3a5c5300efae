package gateway

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/drivers"
	"postern/drivers/ascii"
	"postern/drivers/catalog"
	"postern/drivers/modbus"
	"postern/drivers/serial"
	"postern/internal/config"
)

// modelConfig is a configuration with one simulated node.
func modelConfig(keys string) string {
	return "account: {jid: gw@site.example, password: {env: PW}}\nbuses:\n  field: {type: modbus, simulate: true}\nnodes:\n  - {id: thing, " + keys + "}\n"
}

func keysOf(t *testing.T, name string) string {
	t.Helper()
	d, err := builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	if d.Kind == "ascii" {
		return "kind: ascii, serial: {port: /dev/ttyS9}, model: " + name
	}
	return "kind: modbus, bus: field, model: " + name
}

// Each model cites what it was read from, and a node that names it has its
// channels and reads them from a simulated unit.
func TestModelsLoadAndRead(t *testing.T) {
	if len(catalog.Names()) < 8 {
		t.Fatal(catalog.Names())
	}
	for _, m := range Models() {
		t.Run(m.Name, func(t *testing.T) {
			d, err := builtin(m.Name)
			if err != nil {
				t.Fatal(err)
			}
			if d.Source.Read == "" || !modelName.MatchString(m.Name) {
				t.Error("no place where its document was read")
			}
			for _, c := range m.Channels {
				if c.Doc == "" {
					t.Errorf("%s: what is it?", c.Name)
				}
			}
			cfg, ps := config.Parse("gateway.yaml", []byte(modelConfig(keysOf(t, m.Name))), Kinds())
			if ps != nil {
				t.Fatal(ps)
			}
			c, ok := cfg.Nodes[0].Config.(*modbus.Config)
			if !ok {
				a := *cfg.Nodes[0].Config.(*ascii.Config)
				sim, err := ascii.Simulate(a)
				if err != nil {
					t.Fatal(err)
				}
				dev, err := ascii.Open(t.Context(), sim, a)
				if err != nil {
					t.Fatal(err)
				}
				got, err := dev.Read(t.Context(), nil)
				if err != nil || len(got) != len(m.Channels) {
					t.Fatalf("%v, %v", got, err)
				}
				for _, s := range got {
					if s.Err != nil {
						t.Errorf("%s: %v", s.Channel, s.Err)
					}
				}
				return
			}
			blocks, err := modbus.Plan(*c)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks {
				t.Log(b)
				if !b.Table.Bits() && b.Count > d.MaxRegisters {
					t.Errorf("%v: the unit gives %d registers at once", b, d.MaxRegisters)
				}
			}
			got := readUnit(t, *c, modbus.Simulate(*c))
			if len(got) != len(m.Channels) {
				t.Errorf("%d of %d channels", len(got), len(m.Channels))
			}
			for name, s := range got {
				if s.Err != nil {
					t.Errorf("%s: %v", name, s.Err)
				}
			}
		})
	}
}

// readUnit reads a unit over a simulated line.
func readUnit(t *testing.T, c modbus.Config, m *modbus.Image) map[string]drivers.Sample {
	t.Helper()
	client, release, err := newBench().modbusLine("test", byte(c.Unit), func() *modbus.Image { return m })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	d, err := modbus.Open(context.Background(), client, c)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	list, err := d.Read(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]drivers.Sample{}
	for _, s := range list {
		got[s.Channel] = s
	}
	return got
}

// The values that the documents themselves give as examples; those of SunSpec,
// which has none, follow its rule for scale factors.
func TestModelsDecodeTheExamplesOfTheirDocuments(t *testing.T) {
	for _, test := range []struct {
		model string
		table modbus.Table
		regs  map[uint16][]uint16
		want  map[string]string
	}{
		{"xy-md02", modbus.Inputs, map[uint16][]uint16{1: {0x131, 0x222}}, map[string]string{"temperature": "30.5", "humidity": "54.6"}},
		{"xy-md02", modbus.Inputs, map[uint16][]uint16{1: {0xff33, 0}}, map[string]string{"temperature": "-20.5"}},
		{"dfrobot-sen0483", modbus.Holdings, map[uint16][]uint16{0: {0x25}}, map[string]string{"wind-speed": "3.7"}},
		{"abb-a43", modbus.Holdings, map[uint16][]uint16{
			0x5460: {0, 0, 3, 0x1292, 0, 0, 4, 0x98e1},
			0x546c: {0, 0, 0, 0x923a},
			0x5478: {0, 0, 2, 0x8058},
			0x5b08: {0, 0xfca, 0, 0xfc0, 0, 0x65, 0, 0xc9, 0, 0x12e, 0, 0x86, 1, 0xe8e4, 0, 0x5ae2, 0, 0xb097, 0, 0xdd6b, 0, 0x7541, 0, 0x1c, 0xffff, 0xd04a},
			0x5b24: {2, 0x25c3}, 0x5b2c: {0x1383}, 0x5b3a: {0x3cc, 0x3e8, 0x3c6},
		}, map[string]string{
			"energy-import-l1": "2013.62", "energy-import-l2": "3012.81", "energy-export-l1": "374.34", "energy-net-l1": "1639.28",
			"voltage-l3-l2": "404.2", "voltage-l1-l3": "403.2", "current-l1": "1.01", "current-n": "1.34", "power": "1251.56", "power-l3": "566.83",
			"reactive-power": "300.17", "reactive-power-l2": "-122.14", "apparent-power": "1407.39", "frequency": "49.95", "power-factor": "0.972", "power-factor-l2": "0.966",
		}},
		{"sunspec-meter", modbus.Holdings, map[uint16][]uint16{40070: {203}, 40072: {123}, 40076: {0xffff}, 40079: {0x8000}, 40088: {0xff85}, 40092: {1}, 40116: {1, 2}, 40124: {0}},
			map[string]string{"meter": "wye", "current": "12.3", "voltage-b": "no value", "power": "-1230", "energy-import": "65538"}},
	} {
		d, err := builtin(test.model)
		if err != nil {
			t.Fatal(err)
		}
		var c modbus.Config
		config.Defaults(&c)
		if err := d.modbus(&c); err != nil {
			t.Fatal(err)
		}
		still := modbus.NewImage() // nothing drifts
		blocks, err := d.plan()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			still.SetRegisters(b.Table, uint16(b.Address), make([]uint16, b.Count)...)
		}
		for a, regs := range test.regs {
			still.SetRegisters(test.table, a, regs...)
		}
		got := readUnit(t, c, still)
		for name, want := range test.want {
			s := got[name]
			text := s.Value.String()
			if s.Err != nil {
				text = "no value"
			}
			if text != want {
				t.Errorf("%s: %s: %s (%v), the document says %s", test.model, name, text, s.Err, want)
			}
		}
	}
}

// talk is an instrument that answers one request.
func talk(t *testing.T, model, request, answer string) map[string]string {
	t.Helper()
	d, err := builtin(model)
	if err != nil {
		t.Fatal(err)
	}
	var c ascii.Config
	config.Defaults(&c)
	d.ascii(&c)
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		r := bufio.NewReader(far)
		got, _ := r.ReadString(request[len(request)-1])
		if got == request {
			_, _ = far.Write([]byte(answer))
		}
	}()
	dev, err := ascii.Open(context.Background(), serial.Conn(near), c)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	list, err := dev.Read(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, s := range list {
		out[s.Channel] = s.Value.String() + " " + s.Unit
	}
	return out
}

func TestModelsReadTheLinesOfTheirDocuments(t *testing.T) {
	if got := talk(t, "mettler-toledo-mt-sics", "S\r\n", "S S     100.00 g\r\n"); got["weight"] != "100.00 g" {
		t.Error(got)
	}
	if got := talk(t, "vaisala-hmt330", "SEND\r", "RH= 98.4 %RH T=  31.1 'C\r\n"); got["humidity"] != "98.4 %RH" || got["temperature"] != "31.1 °C" {
		t.Error(got)
	}
}

// Files beside the configuration: a folder that has precedence, and one that
// the node names. What is wrong in them is shown at its place.
func TestDescriptionFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const head = "kind: modbus\nvendor: v\ndevice: d\nsource: {title: t, place: p}\nstart: 100\nmax_registers: 20\n"
	write("own.yaml", head+"registers:\n  - {name: level, address: 5}\n")
	write("models/xy-md02.yaml", head+"registers:\n  - {name: mine, address: 5}\n")
	write("bad.yaml", head+"registers:\n  - {name: level, address: 5}\n  - {name: flow, addres: 6}\n")
	write("worse.yaml", head+"registers:\n  - {name: level, address: 5}\n  - {name: flow, address: 6, type: bool}\n")
	write("scale.yaml", "kind: ascii\nvendor: v\ndevice: d\nsource: {title: t, place: p}\nvalues:\n  - {name: weight, pattern: \"[0-9]+\"}\n")
	load := func(keys string) (*modbus.Config, string) {
		cfg, ps := config.Parse(filepath.Join(dir, "gateway.yaml"), []byte(modelConfig(keys)), Kinds())
		if ps != nil {
			return nil, strings.ReplaceAll(ps.Error(), dir+"/", "")
		}
		c, _ := cfg.Nodes[0].Config.(*modbus.Config)
		return c, ""
	}
	const unit = "kind: modbus, bus: field, "
	if c, ps := load(unit + "description: own.yaml, registers: [{name: more, address: 7}]"); ps != "" || len(c.Registers) != 2 || c.Registers[0].Address != 105 || c.Registers[1].Address != 7 || c.MaxRegisters != 20 {
		t.Errorf("%+v %s", c, ps)
	}
	if c, ps := load(unit + "description: own.yaml, start: 0"); ps != "" || c.Registers[0].Address != 5 {
		t.Errorf("%+v %s", c, ps)
	}
	if c, ps := load(unit + "model: xy-md02"); ps != "" || c.Registers[0].Name != "mine" {
		t.Errorf("%+v %s", c, ps)
	}
	for keys, want := range map[string][]string{
		unit + "description: bad.yaml":                                  {"bad.yaml:9:18: registers[1].addres: there is no such key", "gateway.yaml:5:43: nodes[thing]"},
		unit + "description: worse.yaml":                                {"worse.yaml:9:6: registers[1]: "},
		unit + "description: none.yaml":                                 {"gateway.yaml:5:", "no such file"},
		unit + "description: models":                                    {"is not a file"},
		unit + "description: scale.yaml":                                {"scale.yaml:6:6: values[0]: ", "0 groups"},
		unit + "description: own.yaml, model: xy-md02":                  {"keep one of the two"},
		unit + "description: own.yaml, start: 65533":                    {"beyond address 65535"},
		unit + "model: ../own":                                          {"gateway.yaml:5:", "is not lower case letters"},
		unit + "model: sunspec-metre":                                   {"did you mean sunspec-meter? postern schema --models"},
		unit + "model: eastron-sdm72d-m, max_registers: 1":              {"has 2 registers, max_registers is 1"},
		unit + "model: xy-md20":                                         {"did you mean xy-md02?"},
		unit + "model: vaisala-hmt330":                                  {"is for kind ascii"},
		"kind: ascii, serial: {port: /dev/ttyS9}, model: sunspec-meter": {"is for kind modbus"},
		"kind: ascii, serial: {port: /dev/ttyS9}":                       {"name a model or a description"},
		unit + "unit: 1":                                                {"name a model or a description"},
	} {
		_, ps := load(keys)
		for _, w := range want {
			if !strings.Contains(ps, w) {
				t.Errorf("%s:\n%s\nhas not %q", keys, ps, w)
			}
		}
	}
}

func FuzzDescription(f *testing.F) {
	for _, name := range catalog.Names() {
		data, _ := catalog.Read(name)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseDescription("x", data)
		if err != nil {
			return
		}
		if d.Kind == "modbus" {
			if blocks, err := d.plan(); err == nil && len(blocks) == 0 {
				t.Error("a description without requests")
			}
		}
	})
}
