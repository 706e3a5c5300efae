package config

import "time"

// Board is what of the board serves the gateway itself.
type Board struct {
	Lamp         string        `yaml:"lamp,omitempty" doc:"lamp that shows how the gateway is: name of an LED of the kernel (/sys/class/leds), or a GPIO line" example:"ACT"`
	Button       string        `yaml:"button,omitempty" format:"line" doc:"GPIO line of a button to ground: a short press shows which gateway it is and looks for the registry, ten seconds are a factory reset" example:"pin 37"`
	Watchdog     string        `yaml:"watchdog,omitempty" doc:"hardware watchdog, which resets the machine when the gateway hangs" example:"/dev/watchdog0"`
	WatchdogTime time.Duration `yaml:"watchdog_time" default:"60s" min:"5s" max:"10m" doc:"within which the watchdog has to be fed; the driver may take another one"`
}
