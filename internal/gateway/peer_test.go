package gateway

import (
	"testing"

	"postern/drivers/modbus/peer"
	"postern/internal/config"
)

// Described instruments served by programs that nobody here wrote, with the
// words that their documents say, read by a gateway's node.
func TestModelsOfIndependentSlaves(t *testing.T) {
	for _, c := range []struct {
		slave, model string
		setting      peer.Setting
		want         map[string]string
	}{
		// IEEE 754: 1234.5 is 449a5000, 12.25 is 41440000, -75 is c2960000.
		{"libmodbus", "eastron-sdm72d-m", peer.Setting{Unit: 3, Size: 1300, Tables: map[string]map[int][]int{"i": {
			0x34: {0x449a, 0x5000}, 0x48: {0x4144, 0}, 0x4a: {0x3f80, 0}, 0x156: {0x4154, 0}, 0x500: {0x449a, 0x5000}, 0x502: {0xc296, 0},
		}}}, map[string]string{"power": "1234.5 W", "energy-import": "12.25 kWh", "energy-export": "1 kWh", "energy-total": "13.25 kWh", "power-import": "1234.5 W", "power-export": "-75 W"}},
		{"pymodbus", "xy-md02", peer.Setting{Unit: 1, Size: 10, Tables: map[string]map[int][]int{"i": {
			1: {0xffcc, 612},
		}}}, map[string]string{"temperature": "-5.2 °C", "humidity": "61.2 %RH"}},
	} {
		for _, transport := range []string{"rtu", "tcp"} {
			t.Run(c.slave+"/"+transport, func(t *testing.T) {
				line := "transport: tcp, host: \"127.0.0.1:"
				if transport == "tcp" {
					port := peer.Port(t)
					peer.Slaves()[c.slave](t, c.setting, "tcp", port)
					line += port + "\""
				} else {
					far, near := peer.Wire(t)
					peer.Slaves()[c.slave](t, c.setting, "rtu", far, "19200")
					line = "serial: {port: " + near + ", baud: 19200}"
				}
				text := "account: {jid: gw@site.example, password: {env: PW}}\nbuses:\n  field: {type: modbus, timeout: 2s, " + line + "}\nnodes:\n" +
					"  - {id: meter, kind: modbus, bus: field, model: " + c.model + ", unit: " + map[int]string{1: "1", 3: "3"}[c.setting.Unit] + "}\n"
				cfg, ps := config.Parse("gateway.yaml", []byte(text), Kinds())
				if ps != nil {
					t.Fatal(ps)
				}
				h := newHardware(quiet())
				t.Cleanup(func() { _ = h.closeAll() })
				h.plant.use(cfg.Buses)
				if err := h.open(t.Context(), cfg, &cfg.Nodes[0]); err != nil {
					t.Fatal(err)
				}
				got, err := h.get("meter").Read(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				seen := 0
				for _, s := range got {
					if want, ok := c.want[s.Channel]; ok {
						seen++
						if v := s.Value.String() + " " + s.Unit; s.Err != nil || v != want {
							t.Errorf("%s: %s, %v; want %s", s.Channel, v, s.Err, want)
						}
					}
				}
				if seen != len(c.want) {
					t.Errorf("%d of %d channels in %v", seen, len(c.want), got)
				}
			})
		}
	}
}
