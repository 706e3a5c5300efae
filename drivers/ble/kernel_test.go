package ble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	goble "github.com/go-ble/ble"
	"github.com/go-ble/ble/linux"

	"postern/drivers"
	"postern/drivers/ble/virtual"
)

// adapters gives the kernel two simulated controllers that share their air:
// hci0, and hci1. Without the module hci_vhci the tests are skipped.
func adapters(t *testing.T) *virtual.Air {
	t.Helper()
	if _, err := os.Stat("/dev/vhci"); err != nil {
		t.Skip("no hci_vhci on this machine; these tests run in a guest that has it")
	}
	air := &virtual.Air{}
	for n := range 2 {
		c := virtual.NewController(air, [6]byte{2, 0, 0, 0, 0, byte(n + 1)})
		f, err := c.Attach()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = f.Close()
			_ = c.Close()
		})
		path := fmt.Sprintf("/sys/class/bluetooth/hci%d", n)
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(path); err == nil {
				break
			}
			if time.Since(begin) > 5*time.Second {
				t.Fatalf("%s does not appear", path)
			}
		}
	}
	time.Sleep(300 * time.Millisecond) // the kernel sets them up
	return air
}

// TestKernelRadio hears broadcasting sensors through the kernel's Bluetooth,
// and reads and is notified by a device that go-ble serves on the other
// adapter.
func TestKernelRadio(t *testing.T) {
	air := adapters(t)
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	r, err := OpenRadio(AdapterConfig{Adapter: "hci0", Scan: "active", Silence: time.Minute}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, format := range []string{"bthome", "ruuvi", "atc"} {
		cfg := Config{Address: "A4:C1:38:00:22:0" + string('0'+rune(len(format))), Format: format, MaxAge: time.Minute}
		air.Add(Simulate(cfg))
		s, err := Open(t.Context(), r, cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := until(t, s, heardIt)
		if n, ok := got[0].Value.Number(); !ok || got[0].Channel != "temperature" || n.Float64() < 15 || n.Float64() > 30 {
			t.Errorf("%s: %+v", format, got[0])
		}
	}
	if other, err := OpenRadio(AdapterConfig{Adapter: "hci0", Scan: "passive", Silence: time.Minute}, slog.New(slog.DiscardHandler)); err == nil {
		time.Sleep(500 * time.Millisecond)
		if !errors.Is(other.Err(), drivers.ErrGone) {
			t.Errorf("a second program on the adapter: %v", other.Err())
		}
		_ = other.Close()
	}
	peripheral(t)
	d, err := OpenConnected(t.Context(), r, ConnectedConfig{Address: "02:00:00:00:00:02", AddressType: "public", Timeout: 8 * time.Second,
		Characteristics: []Characteristic{
			{Name: "temperature", UUID: "2a6e", Type: "int16", Scale: "0.01", Unit: "°C"},
			{Name: "count", UUID: "12345679-0000-1000-8000-00805f9b34fa", Type: "uint8", Scale: "1", Notify: true},
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := until(t, d, heardIt); got[0].Value.String() != "21.50" || got[1].Value.String() == "" {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	told := 0
	if err := d.Watch(ctx, func(s drivers.Sample) {
		if told++; told == 3 {
			cancel()
		}
	}); err != nil || told < 3 {
		t.Errorf("told %d times, %v", told, err)
	}
}

// peripheral is go-ble serving a thermometer and a counter on hci1.
func peripheral(t *testing.T) {
	t.Helper()
	dev, err := linux.NewDevice(goble.OptDeviceID(1))
	if err != nil {
		t.Fatal(err)
	}
	svc := goble.NewService(goble.UUID16(0x181a))
	svc.NewCharacteristic(goble.UUID16(0x2a6e)).HandleRead(goble.ReadHandlerFunc(func(_ goble.Request, w goble.ResponseWriter) {
		_, _ = w.Write([]byte{0x66, 0x08}) // 21.50 °C
	}))
	count := svc.NewCharacteristic(goble.MustParse("12345679-0000-1000-8000-00805f9b34fa"))
	count.HandleRead(goble.ReadHandlerFunc(func(_ goble.Request, w goble.ResponseWriter) { _, _ = w.Write([]byte{0}) }))
	count.HandleNotify(goble.NotifyHandlerFunc(func(_ goble.Request, n goble.Notifier) {
		for i := byte(1); ; i++ {
			select {
			case <-n.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
				if _, err := n.Write([]byte{i}); err != nil {
					return
				}
			}
		}
	}))
	if err := dev.AddService(svc); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = dev.AdvertiseNameAndServices(ctx, "bench", svc.UUID)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = dev.Stop()
	})
}
