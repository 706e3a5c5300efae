package board

import (
	"io/fs"
	"path"
	"strconv"
)

// Health is what the board says about its supply, heat and last start. What it
// does not say is nil or empty.
type Health struct {
	// UnderVoltage tells whether the supply was too low since the start
	// (Raspberry Pi's firmware, shown by the kernel's driver rpi_volt).
	UnderVoltage *bool
	// Celsius is the temperature of the hottest thermal zone in °C.
	Celsius *int
	// ResetReason is that of the function ResetReason.
	ResetReason string
}

// ReadHealth reads from root, the file system's root.
func ReadHealth(root fs.FS) Health {
	var h Health
	for _, chip := range list(root, "sys/class/hwmon") {
		dir := path.Join("sys/class/hwmon", chip)
		if text(root, dir+"/name") == "rpi_volt" {
			if v := text(root, dir+"/in0_lcrit_alarm"); v != "" {
				low := v != "0"
				h.UnderVoltage = &low
			}
		}
	}
	for _, zone := range list(root, "sys/class/thermal") {
		milli, err := strconv.Atoi(text(root, path.Join("sys/class/thermal", zone, "temp")))
		if err != nil {
			continue
		}
		if c := milli / 1000; h.Celsius == nil || c > *h.Celsius {
			h.Celsius = &c
		}
	}
	h.ResetReason = ResetReason(root)
	return h
}
