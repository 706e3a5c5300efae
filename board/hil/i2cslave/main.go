// Command i2cslave is the far end of a guest's I2C bus: QEMU's
// vhost-user-i2c device hands it each transfer, and simulated chips answer. So
// drivers run through a real kernel's I2C layer without any hardware.
//
// Sources: QEMU docs/interop/vhost-user; Virtual I/O Device (VIRTIO) 1.2, 2.7
// (split virtqueues) and 5.18 (I2C adapter).
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"postern/drivers"
	"postern/drivers/bme280"
	"postern/drivers/i2c"
	"postern/drivers/mcp9808"
	"postern/drivers/sht3x"
	"postern/drivers/tmp102"
)

func main() {
	if err := run(os.Args); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: i2cslave SOCKET")
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[1], Net: "unix"})
	if err != nil {
		return err
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		return err
	}
	return newBackend(conn, chips()).serve()
}

// chips are at the quantities that the tests in the guest expect.
func chips() map[uint16]i2c.Slave {
	bme := bme280.Simulate(bme280.Config{}).(*bme280.Slave)
	bme.Temperature, bme.Pressure = drivers.Drift{Base: 25.0825}, drivers.Drift{Base: 1006.5327}
	mcp := mcp9808.Simulate(mcp9808.Config{}).(*mcp9808.Slave)
	mcp.Temperature = drivers.Drift{Base: 21.5}
	tmp := tmp102.Simulate(tmp102.Config{}).(*tmp102.Slave)
	tmp.Temperature = drivers.Drift{Base: 23.25}
	sht := sht3x.Simulate(sht3x.Config{}).(*sht3x.Slave)
	sht.Temperature, sht.Humidity = drivers.Drift{Base: 22.25}, drivers.Drift{Base: 45.5}
	time.Sleep(50 * time.Millisecond) // the first conversions
	return map[uint16]i2c.Slave{0x76: bme, 0x18: mcp, 0x48: tmp, 0x44: sht}
}
