// Package virtual simulates Bluetooth LE: a piece of air with devices that
// advertise and serve attributes, and controllers that hear them. A controller
// speaks HCI, so that host software of any kind works on it: ours in tests and
// demonstrations, and the kernel's through /dev/vhci.
//
// Source: Bluetooth Core Specification 5.4, volume 4, part E (HCI) and volume
// 3, part F and G (attributes).
package virtual

import (
	"sync"
	"time"
)

// Device is a simulated device. Set its fields before it is added.
type Device struct {
	Address  [6]byte // the first octet first
	Random   bool
	Advert   func(now time.Time) []byte // advertising data, at most 31 octets; nil: none
	Response []byte                     // to active scans; nil: none
	Services []Service                  // what it serves to those who connect

	mu     sync.Mutex
	silent bool
	server *server // of the connection that is up, or nil
}

// Service is a group of characteristics. A UUID has 2 or 16 octets, the last
// one first, as they go over the air.
type Service struct {
	UUID            []byte
	Characteristics []Characteristic
}

// Characteristic is a value that can be read.
type Characteristic struct {
	UUID   []byte
	Value  func(now time.Time) []byte
	Notify bool // it can be subscribed to
}

// Silence makes the device disappear, or come back.
func (d *Device) Silence(silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = silent
}

func (d *Device) audible() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.silent
}

// Air is what devices and controllers share. It is safe for concurrent use.
type Air struct {
	// Every is how often each device advertises; 0 is Interval. Set it first.
	Every time.Duration

	mu          sync.Mutex
	devices     []*Device
	controllers []*Controller
}

// Add puts a device into the air.
func (a *Air) Add(d *Device) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.devices = append(a.devices, d)
}

// find returns the device or the advertising controller with an address.
func (a *Air) find(addr [6]byte) (*Device, *Controller) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.devices {
		if d.Address == addr && d.audible() {
			return d, nil
		}
	}
	for _, c := range a.controllers {
		if c.address == addr {
			return nil, c
		}
	}
	return nil, nil
}

// heard is one packet in the air.
type heard struct {
	kind     byte // as in an advertising report: 0 an advertisement, 4 a response
	address  [6]byte
	random   bool
	data     []byte
	response []byte // nil: none
}

// listen collects what a controller hears in one interval.
func (a *Air) listen(by *Controller, now time.Time) []heard {
	a.mu.Lock()
	devices, controllers := append([]*Device(nil), a.devices...), append([]*Controller(nil), a.controllers...)
	a.mu.Unlock()
	var out []heard
	for _, d := range devices {
		if d.audible() && d.Advert != nil {
			out = append(out, heard{0, d.Address, d.Random, d.Advert(now), d.Response})
		}
	}
	for _, c := range controllers {
		if c == by {
			continue
		}
		if data, response, on := c.advertised(); on {
			out = append(out, heard{0, c.address, false, data, response})
		}
	}
	return out
}
