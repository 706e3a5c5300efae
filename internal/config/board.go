package config

import "time"

// Board is what of the board serves the gateway itself.
type Board struct {
	Lamp         string        `yaml:"lamp,omitempty" doc:"lamp that shows how the gateway is: name of an LED of the kernel (/sys/class/leds), or a GPIO line" example:"ACT"`
	Button       string        `yaml:"button,omitempty" format:"line" doc:"GPIO line of a button to ground: a short press shows which gateway it is, looks for the registry and opens the claim window, ten seconds are a factory reset" example:"pin 37"`
	ClaimWindow  time.Duration `yaml:"claim_window" default:"0s" min:"0s" max:"1h" doc:"how long after a short press of the button the gateway can be claimed; 0: for as long as it has no owner"`
	Watchdog     string        `yaml:"watchdog,omitempty" doc:"hardware watchdog, which resets the machine when the gateway hangs" example:"/dev/watchdog0"`
	WatchdogTime time.Duration `yaml:"watchdog_time" default:"60s" min:"5s" max:"10m" doc:"within which the watchdog has to be fed; the driver may take another one"`
}

// Validate implements that a window which only the button opens needs one.
func (b Board) Validate() error {
	if b.ClaimWindow > 0 && b.Button == "" {
		return keyError{"claim_window", "nothing can open the window", "name the button, or leave claim_window out"}
	}
	return nil
}
