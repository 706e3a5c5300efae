package ble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/drivers"
	"postern/drivers/ble/hci"
)

// Config is the configuration of one sensor that broadcasts its readings.
type Config struct {
	Bus     string        `yaml:"bus" doc:"name of the Bluetooth adapter in the section buses" example:"air"`
	Address string        `yaml:"address" doc:"the sensor's address" example:"A4:C1:38:00:11:22"`
	Format  string        `yaml:"format" default:"bthome" oneof:"bthome|ruuvi|atc|eddystone-tlm|ibeacon" doc:"what it broadcasts; atc is for both firmwares of Xiaomi's thermometers"`
	Values  []string      `yaml:"values,omitempty" doc:"what of a BTHome sensor is wanted, for example temperature, humidity, door; left out: temperature, humidity and battery"`
	KeyFile string        `yaml:"key_file,omitempty" doc:"file with the key of an encrypted BTHome sensor, 32 hexadecimal digits"`
	MaxAge  time.Duration `yaml:"max_age" default:"10m" min:"1s" max:"24h" doc:"how long a value that was heard counts"`
}

// Validate reports what the tags cannot express.
func (c Config) Validate() error {
	if _, err := ParseAddress(c.Address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if c.Format != "bthome" && (len(c.Values) > 0 || c.KeyFile != "") {
		return errors.New("values and key_file are for format bthome")
	}
	_, err := c.channels()
	return err
}

// fixed are the channels of the formats that always send the same.
var fixed = map[string][]string{
	"ruuvi":         {"temperature °C", "humidity %RH", "pressure hPa", "acceleration-x g", "acceleration-y g", "acceleration-z g", "battery-voltage V", "tx-power dBm", "movements"},
	"atc":           {"temperature °C", "humidity %RH", "battery %", "battery-voltage V"},
	"eddystone-tlm": {"battery-voltage V", "temperature °C", "advertisements", "uptime s"},
	"ibeacon":       {"uuid", "major", "minor", "power-at-1m dBm"},
}

var numbered = regexp.MustCompile(`-[2-9]$`)

func (c Config) channels() ([]drivers.Channel, error) {
	var out []drivers.Channel
	add := func(name, unit string, kind drivers.Kind) {
		out = append(out, drivers.Channel{Name: name, Kind: kind, Unit: unit, Doc: strings.ReplaceAll(name, "-", " ") + " as the sensor broadcasts it"})
	}
	for _, f := range fixed[c.Format] {
		name, unit, _ := strings.Cut(f, " ")
		kind := drivers.KindNumber
		if name == "uuid" {
			kind = drivers.KindString
		}
		add(name, unit, kind)
	}
	if c.Format == "bthome" {
		names := c.Values
		if len(names) == 0 {
			names = []string{"temperature", "humidity", "battery"}
		}
		for _, n := range names {
			o, ok := bthomeByName(numbered.ReplaceAllString(n, ""))
			switch {
			case !ok:
				return nil, fmt.Errorf("values: BTHome knows no %q", n)
			case slices.ContainsFunc(out, func(c drivers.Channel) bool { return c.Name == n }):
				return nil, fmt.Errorf("values: %q is there twice", n)
			case o.flag:
				add(n, "", drivers.KindBool)
			case n == "timestamp":
				add(n, "", drivers.KindTime)
			case n == "firmware", n == "text", n == "raw":
				add(n, "", drivers.KindString)
			default:
				add(n, o.unit, drivers.KindNumber)
			}
		}
	}
	out = append(out, drivers.Channel{Name: "rssi", Kind: drivers.KindNumber, Unit: "dBm", Doc: "signal strength at the gateway"})
	return out, nil
}

// bthomeByName finds the first object of a name.
func bthomeByName(name string) (object, bool) {
	for id := range 256 {
		if o, ok := objects(byte(id)); ok && o.name == name {
			return o, true
		}
	}
	return object{name: name}, name == "text" || name == "raw"
}

// Sensor is one broadcasting sensor. It is safe for concurrent use.
type Sensor struct {
	cfg      Config
	address  Address
	key      []byte
	radio    *Radio
	channels []drivers.Channel
	now      func() time.Time
	opened   time.Time
	first    chan struct{} // closed with the first packet
	news     news

	mu      sync.Mutex
	last    map[string]drivers.Sample
	seen    time.Time // the last packet that was understood
	packet  int
	refusal error // of the last packet, when it was not
	closed  bool
}

// Open listens for a sensor. Whether it can be heard shows when it is read.
func Open(_ context.Context, r *Radio, cfg Config) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("ble: %w", err)
	}
	s := &Sensor{cfg: cfg, radio: r, last: map[string]drivers.Sample{}, packet: -1, now: time.Now, opened: time.Now(), first: make(chan struct{}), news: newNews()}
	s.address, _ = ParseAddress(cfg.Address)
	s.channels, _ = cfg.channels()
	if cfg.KeyFile != "" {
		key, err := readKey(cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("ble: key_file: %w", err)
		}
		s.key = key
	}
	r.listen(s)
	return s, nil
}

func readKey(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(b))
	key := make([]byte, 16)
	if !unhex(key, text) {
		return nil, fmt.Errorf("%s has %d characters, a key has 32 hexadecimal digits and nothing else", file, len(text))
	}
	return key, nil
}

// hear takes a packet of the sensor; it runs on the adapter's reader.
func (s *Sensor) hear(rep hci.Report) {
	now := s.now()
	a, err := ParseAdvert(rep.Data)
	if err != nil {
		return // the next one may be whole
	}
	r, err := Decode(s.address, a, s.key)
	if errors.Is(err, ErrNotOurs) {
		return // a sensor may send other packets between
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && !fits(s.cfg.Format, r.Format) {
		err = fmt.Errorf("ble: %s sends %s, not %s; set its format", s.cfg.Address, r.Format, s.cfg.Format)
	}
	if s.refusal = err; err != nil {
		return
	}
	repeated := r.Packet >= 0 && r.Packet == s.packet && now.Sub(s.seen) < time.Minute
	if s.seen.IsZero() {
		close(s.first)
	}
	s.packet, s.seen = r.Packet, now
	if rep.RSSI != 127 {
		r.Samples = append(r.Samples, decimal("rssi", "dBm", int64(rep.RSSI), 0))
	}
	for _, x := range r.Samples {
		x.Time = now
		i := slices.IndexFunc(s.channels, func(c drivers.Channel) bool { return c.Name == x.Channel })
		if i < 0 {
			continue
		}
		if n, ok := x.Value.Number(); ok && s.channels[i].Kind == drivers.KindNumber {
			x.Value = drivers.Decimal(n) // counts come as whole numbers
		}
		s.last[x.Channel] = x
		if !repeated {
			s.news.tell(x)
		}
	}
}

func fits(want, got string) bool { return want == got || want == "atc" && got == "pvvx" }

// Channels implements drivers.Describer.
func (s *Sensor) Channels() []drivers.Channel { return slices.Clone(s.channels) }

// Read implements drivers.Device: it returns what was heard last, each channel
// with the time it was heard at. What is older than max_age is no value.
func (s *Sensor) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if err := ctx.Err(); err != nil {
		return dst, context.Cause(ctx)
	}
	radio := s.radio.Err()
	if radio == nil {
		if err := s.awaitFirst(ctx); err != nil {
			return dst, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch old := now.Sub(s.seen) > s.cfg.MaxAge; {
	case s.closed:
		return dst, fmt.Errorf("ble: %w", drivers.ErrClosed)
	case old && radio != nil:
		return dst, radio
	case old && s.refusal != nil:
		return dst, s.refusal
	case s.seen.IsZero():
		return dst, fmt.Errorf("ble: %s was not heard yet; is it near and its battery full? %w", s.cfg.Address, drivers.ErrTimeout)
	case old:
		return dst, fmt.Errorf("ble: %s was last heard %s ago: %w", s.cfg.Address, now.Sub(s.seen).Round(time.Second), drivers.ErrTimeout)
	}
	for _, c := range s.channels {
		x, ok := s.last[c.Name]
		if !ok || now.Sub(x.Time) > s.cfg.MaxAge {
			x = drivers.Sample{Channel: c.Name, Time: now, Err: fmt.Errorf("ble: %s does not send %s: %w", s.cfg.Address, c.Name, drivers.ErrTimeout)}
		}
		dst = append(dst, x)
	}
	return dst, nil
}

// patience is how long the first reading after Open waits for a packet; most
// sensors send one every few seconds.
const patience = 3 * time.Second

func (s *Sensor) awaitFirst(ctx context.Context) error {
	t := time.NewTimer(patience - s.now().Sub(s.opened))
	defer t.Stop()
	select {
	case <-s.first:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Watch implements drivers.Watcher.
func (s *Sensor) Watch(ctx context.Context, changed func(drivers.Sample)) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return fmt.Errorf("ble: %w", drivers.ErrClosed)
	}
	return s.news.deliver(ctx, changed)
}

// Close implements drivers.Device.
func (s *Sensor) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.radio.forget(s)
	return nil
}

var (
	_ drivers.Device    = (*Sensor)(nil)
	_ drivers.Describer = (*Sensor)(nil)
	_ drivers.Watcher   = (*Sensor)(nil)
)
