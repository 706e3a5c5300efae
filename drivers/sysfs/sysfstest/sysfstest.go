// Package sysfstest tests classes of the kernel's devices below /sys.
package sysfstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"postern/drivers"
	"postern/drivers/drivertest"
	"postern/drivers/sysfs"
)

// TestDevice runs drivertest.TestDevice on the tree that sim makes, under each
// fault that such a tree can have.
func TestDevice[C any](t *testing.T, open func(context.Context, fs.FS, C) (*sysfs.Device, error), simulate func(C) fs.FS, cfg C) {
	for _, fault := range []sysfs.Fault{sysfs.Unbound, sysfs.Dead, sysfs.Late, sysfs.Noise} {
		t.Run(fmt.Sprint("fault ", fault), func(t *testing.T) {
			var sim *sysfs.Sim
			drivertest.TestDevice(t, func(t *testing.T) drivers.Device {
				sim = simulate(cfg).(*sysfs.Sim)
				d, err := open(t.Context(), sim, cfg)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, drivertest.Options{Break: func(broken bool) {
				sim.SetFault(sysfs.Healthy)
				if broken {
					sim.SetFault(fault)
				}
			}})
		})
	}
}

// Values checks that a device reads exactly the channels of want, each with that
// value, a space, and the unit.
func Values(t *testing.T, d drivers.Device, want map[string]string) {
	t.Helper()
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if v := s.Value.String() + " " + s.Unit; v != want[s.Channel] {
			t.Errorf("%s: %s, %v; want %s", s.Channel, v, s.Err, want[s.Channel])
		}
		delete(want, s.Channel)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// Errors checks the errors of the channels: those of want by errors.Is, and none
// of the others.
func Errors(t *testing.T, d drivers.Device, want map[string]error) {
	t.Helper()
	got, err := d.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if w := want[s.Channel]; !errors.Is(s.Err, w) {
			t.Errorf("%s: %v, %v; want %v", s.Channel, s.Value, s.Err, w)
		}
	}
}
