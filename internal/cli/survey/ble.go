package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"postern/drivers/ble"
	"postern/drivers/ble/hci"
)

// BLEOptions say where and how long to listen.
type BLEOptions struct {
	Adapter  string        // hci0; empty: the first that the kernel has
	Time     time.Duration // how long
	Progress func(devices int, left time.Duration)
	// Open takes an adapter; nil is hci.Open.
	Open func(adapter int) (io.ReadWriteCloser, error)
}

var adapterName = regexp.MustCompile(`^hci([0-9]{1,2})$`)

// BLE listens for devices that broadcast over Bluetooth LE. It sends nothing.
// When ctx ends first, it reports what was heard so far. root is the file
// system's root.
func BLE(ctx context.Context, root fs.FS, o BLEOptions) (*Report, error) {
	if o.Open == nil {
		o.Open = hci.Open
	}
	r := &Report{}
	if o.Adapter == "" {
		all := adapters(root)
		if len(all) == 0 {
			r.Notes = append(r.Notes, "there is no Bluetooth adapter; plug one in, or see that the kernel's driver for it is loaded (dmesg)")
			return r, nil
		}
		o.Adapter = all[0]
	}
	m := adapterName.FindStringSubmatch(o.Adapter)
	if m == nil {
		return nil, fmt.Errorf("%q is no adapter such as hci0", o.Adapter)
	}
	n, _ := strconv.Atoi(m[1]) // two digits
	rw, err := o.Open(n)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	listen, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	var devices atomic.Int64
	told := o.tell(listen, &devices)
	heard, err := ble.Scan(listen, rw, func(n int) { devices.Store(int64(n)) })
	cancel()
	<-told
	for _, h := range heard {
		r.Findings = append(r.Findings, bleFinding(o.Adapter, h))
	}
	switch {
	case errors.Is(err, ble.ErrMany):
		r.Notes = append(r.Notes, err.Error())
	case err != nil && len(heard) == 0:
		return nil, err
	case err != nil:
		return r, err
	case ctx.Err() != nil:
		r.Notes = append(r.Notes, fmt.Sprintf("stopped after %s of %s", time.Since(begin).Round(100*time.Millisecond), o.Time))
	case len(heard) == 0:
		r.Notes = append(r.Notes, fmt.Sprintf("nobody was heard in %s: is the antenna connected? Sensors that save energy may need --time 5m", o.Time))
	}
	return r, nil
}

// tell tells the progress until ctx is done, and closes done then.
func (o *BLEOptions) tell(ctx context.Context, devices *atomic.Int64) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		end, _ := ctx.Deadline()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				if o.Progress != nil {
					o.Progress(int(devices.Load()), end.Sub(now))
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return done
}

// adapters are the Bluetooth adapters by their names, hci0 first.
func adapters(root fs.FS) []string {
	entries, err := fs.ReadDir(root, "sys/class/bluetooth")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if adapterName.MatchString(e.Name()) { // connections are there too, as hci0:64
			names = append(names, e.Name())
		}
	}
	sort.Slice(names, func(i, j int) bool {
		return len(names[i]) < len(names[j]) || len(names[i]) == len(names[j]) && names[i] < names[j]
	})
	return names
}

func bleFinding(adapter string, h ble.Heard) Finding {
	f := Finding{Where: h.Address.String(), On: "adapter " + adapter, Guesses: []Guess{}}
	var detail []string
	if h.RSSI != 0 {
		detail = append(detail, fmt.Sprintf("%d dBm", h.RSSI))
	}
	name := strings.TrimSpace(printable(h.Name))
	if name != "" {
		detail = append(detail, strconv.Quote(name))
	}
	for _, s := range h.Last {
		if v := printable(s.Value.String()); len(v) <= 40 {
			detail = append(detail, strings.TrimSpace(s.Channel+" "+v+" "+s.Unit))
		}
	}
	if h.Passing {
		detail = append(detail, "changes its address, so that it cannot be configured")
	}
	f.Detail = strings.Join(detail, ", ")
	for _, g := range h.Guess {
		kind := ""
		if g.Format != "" && !h.Passing {
			kind = "ble"
		}
		f.Guesses = append(f.Guesses, Guess{kind, g.Name, g.Confidence})
	}
	if f.Kind() == "" {
		return f
	}
	g := h.Guess[0] // what there is a driver for comes first
	f.sure = g.Confidence >= sureFrom
	f.bus = "  air: {type: ble, adapter: " + adapter + "}\n"
	f.place = strings.ReplaceAll(h.Address.String()[9:], ":", "")
	f.node = []string{"  bus: air", "  address: " + quoted(h.Address.String()), "  format: " + g.Format}
	if len(g.Values) > 0 {
		f.node = append(f.node, "  values: ["+strings.Join(g.Values, ", ")+"]")
	}
	if g.Encrypted {
		f.node = append(f.node, "  # key_file: /etc/postern/KEY   # without its key nothing can be read; values: names what is wanted")
	}
	if name != "" {
		f.node = append(f.node, "  label: "+quoted(name))
	}
	return f
}
