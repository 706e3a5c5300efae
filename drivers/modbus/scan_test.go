package modbus_test

import (
	"testing"
	"time"

	"postern/drivers/modbus"
	"postern/drivers/modbus/slave"
)

func TestScan(t *testing.T) {
	some, empty := modbus.NewImage(), modbus.NewImage()
	some.SetRegisters(modbus.Inputs, 0, 1)
	s := slave.New(map[byte]*modbus.Image{3: some, 7: empty})
	c := onPTY(t, s, func(b *modbus.BusConfig) { b.Timeout = 20 * time.Millisecond })
	asked := 0
	found, err := modbus.Scan(t.Context(), c, 1, 10, func(byte) { asked++ })
	if err != nil || asked != 10 {
		t.Errorf("%d asked, %v", asked, err)
	}
	if len(found) != 2 || found[0].Unit != 3 || !found[0].Inputs || found[0].Holdings || found[1].Unit != 7 || found[1].ID[modbus.VendorName] != "Postern" {
		t.Errorf("%+v", found)
	}
}
