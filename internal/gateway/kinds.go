package gateway

import (
	"postern/board"
	"postern/drivers/ads1115"
	"postern/drivers/aht20"
	"postern/drivers/ascii"
	"postern/drivers/bh1750"
	"postern/drivers/ble"
	"postern/drivers/bme280"
	"postern/drivers/bme680"
	"postern/drivers/bmp388"
	"postern/drivers/ds18b20"
	"postern/drivers/ds3231"
	"postern/drivers/expander"
	"postern/drivers/gpio"
	"postern/drivers/host"
	"postern/drivers/hwmon"
	"postern/drivers/iio"
	"postern/drivers/ina219"
	"postern/drivers/max31865"
	"postern/drivers/mcp3008"
	"postern/drivers/mcp9808"
	"postern/drivers/nmea"
	"postern/drivers/pca9685"
	"postern/drivers/pms5003"
	"postern/drivers/scd30"
	"postern/drivers/scd4x"
	"postern/drivers/sht3x"
	"postern/drivers/sps30"
	"postern/drivers/tmp102"
	"postern/drivers/tmp117"
)

//go:generate go run ./generate ../../docs

// kinds is the one table of what a configuration can name. Adding a chip is
// its package and a line here: decoding, schema, example, documentation and
// simulation follow.
func kinds() []kind {
	return []kind{
		i2cChip("bme280", "Bosch BME280: temperature, humidity, air pressure", bme280.Open, bme280.Simulate),
		i2cChip("bmp280", "Bosch BMP280: temperature, air pressure", bme280.OpenBMP280, bme280.SimulateBMP280),
		i2cChip("bmp180", "Bosch BMP180, BMP085: temperature, air pressure", bme280.OpenBMP180, bme280.SimulateBMP180),
		i2cChip("bmp388", "Bosch BMP388, BMP390: precise air pressure, temperature", bmp388.Open, bmp388.Simulate),
		i2cChip("bme680", "Bosch BME680: temperature, humidity, air pressure, gas resistance", bme680.Open, bme680.Simulate),
		i2cChip("mcp9808", "Microchip MCP9808: precise thermometer", mcp9808.Open, mcp9808.Simulate),
		i2cChip("sht3x", "Sensirion SHT30, SHT31, SHT35: temperature, humidity", sht3x.Open, sht3x.Simulate),
		i2cChip("sht4x", "Sensirion SHT40, SHT41, SHT45: temperature, humidity", sht3x.OpenSHT4x, sht3x.SimulateSHT4x),
		i2cChip("hdc302x", "Texas Instruments HDC3020, HDC3021, HDC3022: temperature, humidity", sht3x.OpenHDC302x, sht3x.SimulateHDC302x),
		i2cChip("tmp102", "Texas Instruments TMP102: thermometer", tmp102.Open, tmp102.Simulate),
		i2cChip("tmp117", "Texas Instruments TMP117: precise thermometer", tmp117.Open, tmp117.Simulate),
		i2cChip("aht20", "Aosong AHT20: temperature, humidity", aht20.Open, aht20.Simulate),
		i2cChip("ina219", "Texas Instruments INA219: voltage, current, power", ina219.Open, ina219.Simulate),
		i2cChip("ina226", "Texas Instruments INA226: voltage, current, power", ina219.OpenINA226, ina219.SimulateINA226),
		i2cChip("scd30", "Sensirion SCD30: CO2, temperature, humidity", scd30.Open, scd30.Simulate),
		i2cChip("scd4x", "Sensirion SCD40, SCD41: CO2, temperature, humidity", scd4x.Open, scd4x.Simulate),
		i2cChip("sps30", "Sensirion SPS30: particulate matter", sps30.Open, sps30.Simulate),
		i2cChip("bh1750", "ROHM BH1750: light", bh1750.Open, bh1750.Simulate),
		i2cChip("ds3231", "Maxim DS3231: battery-backed clock, its temperature", ds3231.Open, ds3231.Simulate),
		i2cChip("ads1115", "Texas Instruments ADS1115: four analog inputs", ads1115.Open, ads1115.Simulate),
		i2cChip("expander", "MCP23008, MCP23017, PCF8574, PCF8575, TCA9554, TCA9555: inputs and outputs, relay boards", expander.Open, expander.Simulate),
		i2cChip("pca9685", "NXP PCA9685: sixteen PWM outputs", pca9685.Open, pca9685.Simulate),
		thermometer("ds18b20", "DS18B20, MAX31820: 1-Wire thermometer", ds18b20.Open),
		spiChip("mcp3008", "Microchip MCP3008: eight analog inputs", mcp3008.Open, mcp3008.Simulate),
		spiChip("max31865", "Maxim MAX31865: platinum thermometer Pt100, Pt1000", max31865.Open, max31865.Simulate),
		line("contact", "door contact, button or pulse output on a GPIO line", gpio.OpenContact),
		line("pulse", "pulse output on a GPIO line: energy, water, flow meter", gpio.OpenPulse),
		line("relay", "relay or other output on a GPIO line", openRelay),
		modbusUnit("modbus", "Modbus unit described by its registers: meter, inverter, PLC"),
		talker("ascii", "instrument that talks in lines of text: scale, meter, multimeter", ascii.Open, ascii.Simulate).resolving(resolveASCII),
		talker("nmea", "satellite receiver (NMEA 0183)", nmea.Open, always(nmea.Simulate)),
		talker("pms5003", "Plantower PMS5003, PMS7003, PMSA003: particulate matter", pms5003.Open, always(pms5003.Simulate)),
		broadcaster("ble", "Bluetooth sensor that broadcasts: BTHome, RuuviTag, Xiaomi with ATC firmware, Eddystone, iBeacon", ble.Open, ble.Simulate),
		broadcaster("ble-gatt", "Bluetooth device that is connected to and read (GATT)", ble.OpenConnected, ble.SimulateConnected),
		kernelClass("hwmon", "chip that the kernel drives (hwmon): temperatures, voltages, fans", hwmon.Open, hwmon.Simulate),
		kernelClass("iio", "converter or sensor that the kernel drives (IIO)", iio.Open, iio.Simulate),
		pwmOutput("pwm", "PWM output of the board: fan, dimmer, valve"),
		branch("group", "no device: a node that others are part of, read together"),
		machine("board", "this board: supply, heat, clock, what started it", board.Open),
		machine("host", "this machine: load, memory, disks, temperatures", host.Open),
	}
}
