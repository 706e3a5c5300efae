// Package host reads the machine that Postern runs on, through the kernel's
// /proc and /sys: load, processor, memory, disks, uptime, thermal zones.
package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"github.com/prometheus/procfs/sysfs"
	"golang.org/x/sys/unix"

	"postern/drivers"
)

// Device is this machine. It is safe for concurrent use.
type Device struct {
	proc     procfs.FS
	procPath string
	sys      *sysfs.FS // nil where there is no /sys
	sensors  []sensor

	mu     sync.Mutex // held through a Read: the processor's share is a difference
	closed bool
	cpu    cpuMeter
	facts  facts // of the running Read
}

// sensor is one channel and how it is read from facts.
type sensor struct {
	channel drivers.Channel
	value   func(*Device) (drivers.Value, error)
}

// facts are files that hold several channels; each Read takes each once.
type facts struct {
	load    *procfs.LoadAvg
	loadErr error
	mem     *procfs.Meminfo
	memErr  error
	zones   map[string]int64 // millidegrees by name of the zone
	zoneErr error
}

// Open looks what this machine has. Channels are fixed from then on.
func Open(ctx context.Context, cfg Config) (*Device, error) {
	return open(cfg, "/proc", "/sys")
}

func open(cfg Config, proc, sys string) (*Device, error) {
	p, err := procfs.NewFS(proc)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	d := &Device{proc: p, procPath: proc}
	if s, err := sysfs.NewFS(sys); err == nil {
		d.sys = &s
	}
	d.findLoad()
	d.findCPU()
	d.findUptime()
	d.findMemory()
	for _, dir := range cfg.Disks {
		if err := d.addDisk(dir); err != nil {
			return nil, err
		}
	}
	d.findZones()
	if len(d.sensors) == 0 {
		return nil, fmt.Errorf("host: nothing to read below %s: %w", proc, drivers.ErrGone)
	}
	return d, nil
}

func (d *Device) add(name, unit, doc string, value func(*Device) (drivers.Value, error)) {
	d.sensors = append(d.sensors, sensor{
		drivers.Channel{Name: name, Kind: drivers.KindNumber, Unit: unit, Doc: doc}, value})
}

func (d *Device) findLoad() {
	if _, err := d.proc.LoadAvg(); err != nil {
		return
	}
	for _, c := range []struct {
		name, doc string
		of        func(*procfs.LoadAvg) float64
	}{
		{"load-1", "runnable tasks, average of 1 minute", func(l *procfs.LoadAvg) float64 { return l.Load1 }},
		{"load-5", "runnable tasks, average of 5 minutes", func(l *procfs.LoadAvg) float64 { return l.Load5 }},
		{"load-15", "runnable tasks, average of 15 minutes", func(l *procfs.LoadAvg) float64 { return l.Load15 }},
	} {
		d.add(c.name, "", c.doc, func(d *Device) (drivers.Value, error) {
			if d.facts.loadErr != nil {
				return drivers.Value{}, d.facts.loadErr
			}
			return decimal(c.of(d.facts.load), 2) // the kernel writes two decimals
		})
	}
}

func decimal(f float64, digits int) (drivers.Value, error) {
	n, err := drivers.FromFloat(f, digits)
	return drivers.Decimal(n), err
}

func (d *Device) findCPU() {
	if !d.cpu.update(d.proc) {
		return
	}
	d.add("cpu", "%", "share of time that the processors work, since the reading before", func(d *Device) (drivers.Value, error) {
		if !d.cpu.update(d.proc) {
			return drivers.Value{}, fmt.Errorf("read %s/stat: %w", d.procPath, drivers.ErrGone)
		}
		return decimal(d.cpu.percent, 1)
	})
}

// cpuMeter turns the kernel's sums of time into a share. Readings closer than
// minWindow give the share of before, because the sums tick at 100 Hz.
type cpuMeter struct {
	at         time.Time
	busy, all  float64
	percent    float64
	haveBefore bool
}

const minWindow = 200 * time.Millisecond

func (m *cpuMeter) update(fs procfs.FS) bool {
	now := time.Now()
	if m.haveBefore && now.Sub(m.at) < minWindow {
		return true
	}
	st, err := fs.Stat()
	if err != nil {
		return false
	}
	c := st.CPUTotal
	idle := c.Idle + c.Iowait
	busy := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal // guests are within user
	if all := busy + idle; all > m.all {
		// The first window is the time since the start of the machine.
		m.percent = min(max(100*(busy-m.busy)/(all-m.all), 0), 100)
		m.busy, m.all = busy, all
	}
	m.at, m.haveBefore = now, true
	return true
}

func (d *Device) findUptime() {
	read := func(d *Device) (drivers.Value, error) {
		b, err := os.ReadFile(filepath.Join(d.procPath, "uptime"))
		if err != nil {
			return drivers.Value{}, err
		}
		text, _, _ := strings.Cut(string(b), " ")
		n, err := drivers.ParseNumber(text) // as the kernel writes it
		return drivers.Decimal(n), err
	}
	if _, err := read(d); err == nil {
		d.add("uptime", "s", "time since the machine was started", read)
	}
}

func (d *Device) findMemory() {
	m, err := d.proc.Meminfo()
	if err != nil {
		return
	}
	for _, c := range []struct {
		name, doc string
		of        func(*procfs.Meminfo) *uint64
	}{
		{"memory-total", "memory that the kernel manages", func(m *procfs.Meminfo) *uint64 { return m.MemTotal }},
		{"memory-available", "memory that programs can still get without swapping", func(m *procfs.Meminfo) *uint64 { return m.MemAvailable }},
		{"swap-used", "memory that was swapped out", func(m *procfs.Meminfo) *uint64 {
			if m.SwapTotal == nil || m.SwapFree == nil || *m.SwapTotal == 0 || *m.SwapFree > *m.SwapTotal {
				return nil
			}
			used := *m.SwapTotal - *m.SwapFree
			return &used
		}},
	} {
		if c.of(&m) == nil {
			continue
		}
		d.add(c.name, "MiB", c.doc, func(d *Device) (drivers.Value, error) {
			if d.facts.memErr != nil {
				return drivers.Value{}, d.facts.memErr
			}
			kib := c.of(d.facts.mem)
			if kib == nil {
				return drivers.Value{}, fmt.Errorf("no longer in %s/meminfo: %w", d.procPath, drivers.ErrGone)
			}
			return decimalOf(*kib*10/1024, -1), nil
		})
	}
}

// decimalOf is mant × 10^exp; amounts of memory in tenths of MiB always fit.
func decimalOf(mant uint64, exp int) drivers.Value {
	return drivers.Decimal(drivers.Num(int64(mant), exp))
}

func (d *Device) addDisk(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("host: disks: %q is not an absolute path", dir)
	}
	if _, err := statfs(dir); err != nil {
		return fmt.Errorf("host: disks: %s: %w", dir, err)
	}
	name := "disk-" + slug(strings.Trim(dir, "/"))
	if dir == "/" {
		name = "disk-root"
	}
	d.add(d.unique(name+"-free"), "MiB", "space on "+dir+" that programs can still get", func(*Device) (drivers.Value, error) {
		st, err := statfs(dir)
		if err != nil {
			return drivers.Value{}, err
		}
		return decimalOf(st.Bavail*uint64(st.Frsize)/1024*10/1024, -1), nil
	})
	d.add(d.unique(name+"-used"), "%", "share of "+dir+" that is used", func(*Device) (drivers.Value, error) {
		st, err := statfs(dir)
		if err != nil {
			return drivers.Value{}, err
		}
		used := st.Blocks - st.Bfree
		all := used + st.Bavail // as df computes it: without what is reserved for root
		if all == 0 {
			return decimalOf(0, -1), nil
		}
		return decimal(100*float64(used)/float64(all), 1)
	})
	return nil
}

func statfs(dir string) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == unix.EINTR {
			continue
		}
		if st.Frsize == 0 {
			st.Frsize = st.Bsize
		}
		return st, err
	}
}

func (d *Device) findZones() {
	if d.sys == nil {
		return
	}
	zones, err := d.sys.ClassThermalZoneStats()
	if err != nil {
		return
	}
	for _, z := range zones {
		id := z.Name
		d.add(d.unique("temperature-"+slug(z.Type)), "°C", "thermal zone "+z.Type, func(d *Device) (drivers.Value, error) {
			if d.facts.zoneErr != nil {
				return drivers.Value{}, d.facts.zoneErr
			}
			milli, ok := d.facts.zones[id]
			if !ok {
				return drivers.Value{}, fmt.Errorf("thermal zone %s gives no temperature: %w", id, drivers.ErrGone)
			}
			return drivers.Decimal(drivers.Num(milli, -3)), nil
		})
	}
}

// slug makes a channel name of a free text.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if t := strings.TrimSuffix(b.String(), "-"); t != "" {
		return t
	}
	return "unnamed"
}

// unique adds a number where several zones have one type.
func (d *Device) unique(name string) string {
	taken := func(n string) bool {
		for _, s := range d.sensors {
			if s.channel.Name == n {
				return true
			}
		}
		return false
	}
	for i, n := 2, name; ; i++ {
		if !taken(n) {
			return n
		}
		n = fmt.Sprintf("%s-%d", name, i)
	}
}

// Channels implements drivers.Describer.
func (d *Device) Channels() []drivers.Channel {
	cs := make([]drivers.Channel, len(d.sensors))
	for i, s := range d.sensors {
		cs[i] = s.channel
	}
	return cs
}

// Read implements drivers.Device.
func (d *Device) Read(ctx context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if ctx.Err() != nil {
		return dst, context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return dst, fmt.Errorf("host: %w", drivers.ErrClosed)
	}
	d.gather()
	for _, s := range d.sensors {
		v, err := s.value(d)
		if err != nil {
			dst = append(dst, drivers.Sample{Channel: s.channel.Name, Time: time.Now(), Err: fmt.Errorf("host: %w", err)})
			continue
		}
		dst = append(dst, drivers.Sample{Channel: s.channel.Name, Value: v, Unit: s.channel.Unit, Time: time.Now()})
	}
	return dst, nil
}

func (d *Device) gather() {
	var f facts
	f.load, f.loadErr = d.proc.LoadAvg()
	var m procfs.Meminfo
	m, f.memErr = d.proc.Meminfo()
	f.mem = &m
	if d.sys != nil {
		var zones []sysfs.ClassThermalZoneStats
		zones, f.zoneErr = d.sys.ClassThermalZoneStats()
		f.zones = make(map[string]int64, len(zones))
		for _, z := range zones {
			f.zones[z.Name] = z.Temp
		}
	}
	d.facts = f
}

// Close implements drivers.Device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

var (
	_ drivers.Device    = (*Device)(nil)
	_ drivers.Describer = (*Device)(nil)
)
