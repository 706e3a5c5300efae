package gateway

import (
	"postern/drivers/bme280"
	"postern/drivers/gpio"
	"postern/drivers/host"
	"postern/drivers/mcp9808"
)

//go:generate go run ./generate ../../docs

// kinds is the one table of what a configuration can name. Adding a chip is
// its package and a line here: decoding, schema, example, documentation and
// simulation follow.
func kinds() []kind {
	return []kind{
		i2cChip("bme280", "Bosch BME280: temperature, humidity, air pressure", bme280.Open, bme280.Simulate),
		i2cChip("mcp9808", "Microchip MCP9808: precise thermometer", mcp9808.Open, mcp9808.Simulate),
		line("contact", "door contact, button or pulse output on a GPIO line", gpio.OpenContact),
		line("relay", "relay or other output on a GPIO line", gpio.OpenRelay),
		modbusUnit("modbus", "Modbus unit described by its registers: meter, inverter, PLC"),
		machine("host", "this machine: load, memory, disks, temperatures", host.Open),
	}
}
