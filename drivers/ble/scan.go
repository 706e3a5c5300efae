package ble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"postern/drivers"
	"postern/drivers/ble/hci"
)

// Heard is a device that broadcasts.
type Heard struct {
	Address Address
	// Passing: the device changes its address every few minutes, as telephones
	// do, so that no configuration can name it.
	Passing bool
	RSSI    int    // dBm, the strongest; 0: the adapter does not tell
	Name    string // what it calls itself; most do so only in answer to an active scan
	Packets int
	Guess   []Guess          // the likeliest first; empty when nothing known fits
	Last    []drivers.Sample // what it said last, in a format that is known
}

// Guess is what a device may broadcast.
type Guess struct {
	Format     string // of the configuration, where there is one
	Name       string
	Confidence int      // percent
	Encrypted  bool     // the key is needed
	Values     []string // of BTHome: what it said so far
}

// maxHeard bounds the devices of a scan: anybody can make up addresses.
const maxHeard = 1000

// ErrMany: more devices than a scan keeps.
var ErrMany = fmt.Errorf("more than %d devices are heard; the others are left out", maxHeard)

// Scan listens to an adapter, which it owns and closes, until ctx is done or the
// adapter fails, and returns whom it heard: first those in a known format, the
// nearest of them first. It sends nothing. told, which may be nil, hears how
// many devices there are; it is called on the adapter's reader.
func Scan(ctx context.Context, rw io.ReadWriteCloser, told func(devices int)) ([]Heard, error) {
	devices := map[Address]*Heard{}
	many := false
	h, err := hci.New(ctx, rw, func(rep hci.Report) {
		d := devices[rep.Address]
		if d == nil {
			if len(devices) == maxHeard {
				many = true
				return
			}
			d = &Heard{Address: rep.Address, Passing: rep.Random && rep.Address[0]>>6 != 3}
			devices[rep.Address] = d
		}
		d.hear(rep)
		if told != nil {
			told(len(devices))
		}
	})
	if err != nil {
		return nil, err
	}
	if err = h.Scan(ctx, false); err == nil {
		select {
		case <-ctx.Done():
		case <-h.Done():
			err = fmt.Errorf("bluetooth: the adapter is gone: %w", drivers.ErrGone)
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = h.StopScan(stop) // it is closed anyway
		cancel()
	}
	_ = h.Close() // waits for the reader, so that devices is ours
	out := make([]Heard, 0, len(devices))
	for _, d := range devices {
		out = append(out, *d)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].before(&out[j]) })
	if many {
		err = errors.Join(err, ErrMany)
	}
	return out, err
}

func (h *Heard) before(o *Heard) bool {
	rank := func(h *Heard) (n int) {
		if len(h.Guess) > 0 {
			if n = 1; h.Guess[0].Format != "" {
				n = 2
			}
		}
		return n
	}
	if a, b := rank(h), rank(o); a != b {
		return a > b
	}
	if h.RSSI != o.RSSI {
		return o.RSSI == 0 || h.RSSI != 0 && h.RSSI > o.RSSI
	}
	return h.Address.String() < o.Address.String()
}

func (h *Heard) hear(rep hci.Report) {
	h.Packets++
	if r := int(rep.RSSI); rep.RSSI != 127 && (h.RSSI == 0 || r > h.RSSI) {
		h.RSSI = r
	}
	a, err := ParseAdvert(rep.Data)
	if err != nil {
		return // the next one may be whole
	}
	if a.Name != "" {
		h.Name = a.Name
	}
	g, samples, ok := identify(h.Address, a)
	if !ok {
		return
	}
	if len(samples) > 0 {
		h.Last = samples
	}
	h.add(g)
}

// add remembers a guess once, and the likeliest first. A beacon may send several
// formats in turn.
func (h *Heard) add(g Guess) {
	i := slices.IndexFunc(h.Guess, func(o Guess) bool { return o.Name == g.Name })
	if i < 0 {
		h.Guess = append(h.Guess, g)
	} else {
		o := &h.Guess[i]
		o.Confidence = max(o.Confidence, g.Confidence)
		for _, v := range g.Values {
			if !slices.Contains(o.Values, v) {
				o.Values = append(o.Values, v)
			}
		}
	}
	sort.SliceStable(h.Guess, func(i, j int) bool { return h.Guess[i].weight() > h.Guess[j].weight() })
}

// weight puts what there is a driver for, and what measures, first.
func (g *Guess) weight() int {
	switch g.Format {
	case "":
		return g.Confidence
	case "ibeacon":
		return 200 + g.Confidence
	}
	return 300 + g.Confidence
}

// Services and formats that are named, but not decoded.
const (
	uuidMiBeacon  = 0xfe95 // of Xiaomi's own firmware
	uuidBTHomeOne = 0x181c // version 1
)

// identify tells what format an advertisement is in. Formats that carry the
// address of their sender are certain when it is this one; the others are known
// by a number that their maker was given for them.
func identify(from Address, a Advert) (g Guess, last []drivers.Sample, ok bool) {
	r, err := Decode(from, a, nil)
	_, bthome := a.ServiceData[uuidBTHome]
	switch {
	case errors.Is(err, ErrKey):
		return Guess{Format: "bthome", Name: "BTHome sensor, encrypted", Confidence: 95, Encrypted: true}, nil, true
	case err != nil && bthome:
		return Guess{Format: "bthome", Name: "BTHome sensor", Confidence: 40}, nil, true // its number, but not its form
	case err == nil:
		return guessOf(from, a, r), r.Samples, true
	}
	if _, ok := a.ServiceData[uuidMiBeacon]; ok {
		return Guess{Name: "Xiaomi device with its own firmware; one with ATC or pvvx can be read", Confidence: 90}, nil, true
	}
	if _, ok := a.ServiceData[uuidBTHomeOne]; ok {
		return Guess{Name: "BTHome sensor of version 1; update its firmware to version 2", Confidence: 60}, nil, true
	}
	if d, ok := a.Manufacturer[companyRuuvi]; ok && len(d) > 0 {
		return Guess{Name: fmt.Sprintf("Ruuvi device with data format %d; format 5 can be read", d[0]), Confidence: 70}, nil, true
	}
	return g, nil, false
}

func guessOf(from Address, a Advert, r Reading) Guess {
	switch r.Format {
	case "bthome":
		g := Guess{Format: "bthome", Name: "BTHome sensor", Confidence: 95}
		for _, s := range r.Samples {
			if _, ok := bthomeByName(numbered.ReplaceAllString(s.Channel, "")); ok {
				g.Values = append(g.Values, s.Channel)
			}
		}
		return g
	case "ruuvi":
		d := a.Manufacturer[companyRuuvi]
		return Guess{Format: "ruuvi", Name: "RuuviTag", Confidence: ifItself(from == Address(d[18:24]), 80)}
	case "atc":
		d := a.ServiceData[uuidEnvironment]
		return Guess{Format: "atc", Name: "Xiaomi thermometer with ATC firmware", Confidence: ifItself(from == Address(d[:6]), 60)}
	case "pvvx":
		d := a.ServiceData[uuidEnvironment]
		return Guess{Format: "atc", Name: "Xiaomi thermometer with pvvx firmware", Confidence: ifItself(from == backwards(d[:6]), 60)}
	case "eddystone-tlm":
		return Guess{Format: r.Format, Name: "Eddystone beacon with telemetry", Confidence: 95}
	case "ibeacon":
		return Guess{Format: r.Format, Name: "iBeacon", Confidence: 95}
	}
	return Guess{Name: "Eddystone beacon without telemetry", Confidence: 95} // uid, url
}

// ifItself is how sure a format is that names its sender: the right one, or
// another, as behind a relay.
func ifItself(itself bool, other int) int {
	if itself {
		return 99
	}
	return other
}

func backwards(b []byte) (a Address) {
	for i := range a {
		a[i] = b[5-i]
	}
	return a
}
