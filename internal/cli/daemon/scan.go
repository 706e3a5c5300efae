package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/board"
	"postern/drivers"
	"postern/drivers/gpio"
	"postern/internal/cli"
	"postern/internal/cli/survey"
)

const scanHelp = `Usage: postern scan i2c|modbus|onewire|serial|gpio|ble [BUS...] [options]

Looks what is connected to this machine, names what it may be with a
confidence, and prints what to write into the configuration. It only reads:
nothing is set and no output moves.

  i2c      asks each address of the buses (all, or those named) for one octet,
           and known chips for their identity
  modbus   asks each unit of a line for one register
  onewire  lists the chips that the kernel has found
  serial   lists the ports by names that stay
  gpio     lists the lines and who uses them; requests none
  ble      listens for devices that broadcast, on the first adapter or the one
           named; it sends nothing. The adapter is taken from bluetoothd and
           from a running gateway: stop them first. Needs root

Options:
  --port PORT      modbus: the serial port
  --tcp HOST:PORT  modbus: a unit or gateway that speaks Modbus TCP
  --rtu-over-tcp HOST:PORT
                   modbus: a serial server that passes frames through
  --baud LIST      modbus: speeds to try, with commas (9600)
  --parity LIST    modbus: none, even, odd (none)
  --units A-B      modbus: addresses to ask (1-247)
  --wait TIME      modbus: how long a unit may take (200ms)
  --time TIME      ble: how long to listen (15s); sensors that save energy
                   broadcast only now and then
  --deep           i2c: ask chips at 0x48 to 0x4f and 0x60 to 0x67 for their
                   identity too; only where no analogue output is on the bus,
                   which could take the question for a value
  --config         print a whole configuration to start from, and nothing else
  --json           for programs

Exit codes: 0 looked, whether or not there was something, 1 failure, 2 usage,
3 no such bus or line, 4 not permitted.

Examples:
  postern scan i2c
  postern scan i2c 1 --config > postern.yaml && postern check postern.yaml
  postern scan modbus --port /dev/ttyS0 --baud 9600,19200 --parity none,even
  sudo postern scan ble --time 1m
`

// Scan is the command postern scan.
func Scan(ctx context.Context, env cli.Env, args []string) int {
	f := newFlags("scan", scanHelp)
	var o scanOptions
	f.StringVar(&o.port, "port", "", "")
	f.StringVar(&o.tcp, "tcp", "", "")
	f.StringVar(&o.overTCP, "rtu-over-tcp", "", "")
	f.StringVar(&o.bauds, "baud", "9600", "")
	f.StringVar(&o.parities, "parity", "none", "")
	f.StringVar(&o.units, "units", "1-247", "")
	f.DurationVar(&o.wait, "wait", 200*time.Millisecond, "")
	f.DurationVar(&o.listen, "time", 15*time.Second, "")
	f.BoolVar(&o.deep, "deep", false, "")
	whole := f.Bool("config", false, "")
	asJSON := f.Bool("json", false, "")
	rest, err := f.parse(&env, args)
	switch {
	case err == nil && len(rest) == 0:
		err = usagef("what? postern scan i2c, modbus, onewire, serial, gpio or ble")
	case err == nil && *whole && *asJSON:
		err = usagef("--config and --json are two things; choose one")
	}
	if err != nil {
		return finish(&env, "scan", err)
	}
	o.what, o.buses, o.root = rest[0], rest[1:], os.DirFS("/")
	o.progress = newProgress(&env)
	r, err := o.look(ctx)
	o.progress.end()
	if r == nil {
		return scanFailed(&env, err)
	}
	switch {
	case *asJSON:
		if e := writeScanJSON(&env, o.what, r); err == nil {
			err = e
		}
	case *whole:
		snippet := r.Snippet()
		if snippet == "" {
			snippet = "nodes: []   # nothing was found that there is a driver for\n"
		}
		fmt.Fprint(env.Stdout, survey.Account+snippet)
	default:
		showScan(&env, r)
	}
	return scanFailed(&env, err)
}

// scanFailed is finish with the exit codes of what the system refuses.
func scanFailed(env *cli.Env, err error) int {
	code := finish(env, "scan", err)
	if code == cli.ExitFailure && errors.Is(err, fs.ErrPermission) {
		if !errors.Is(err, drivers.ErrGone) { // an adapter needs a capability and says so
			fmt.Fprintf(env.Stderr, "  postern doctor tells which group is missing\n")
		}
		return cli.ExitDenied
	}
	if code == cli.ExitFailure && errors.Is(err, drivers.ErrGone) {
		return cli.ExitUnreachable
	}
	return code
}

type scanOptions struct {
	what, port, tcp, overTCP, bauds, parities, units string
	buses                                            []string
	wait, listen                                     time.Duration
	deep                                             bool
	root                                             fs.FS
	progress                                         *progress
}

func (o *scanOptions) look(ctx context.Context) (*survey.Report, error) {
	if takes := map[string]int{"i2c": 1 << 10, "ble": 1}[o.what]; len(o.buses) > takes {
		return nil, usagef("%q is too much: only postern scan i2c takes names of buses, and postern scan ble one of an adapter", o.buses[takes])
	}
	switch o.what {
	case "i2c":
		return survey.I2C(ctx, o.root, survey.I2COptions{Buses: o.buses, Deep: o.deep, Progress: func(bus string, addr int) {
			o.progress.say("bus %s: 0x%02x of 0x77", bus, addr)
		}})
	case "modbus":
		mo, err := o.modbus()
		if err != nil {
			return nil, err
		}
		return survey.Modbus(ctx, mo)
	case "onewire":
		return survey.OneWire(o.root)
	case "serial":
		return survey.Serial(o.root), nil
	case "gpio":
		lines, err := gpio.List()
		if err != nil && len(lines) == 0 {
			return nil, err
		}
		return survey.GPIO(board.Detect(o.root), lines), err
	case "ble":
		return o.ble(ctx)
	}
	return nil, usagef("there is no %q to scan; there are i2c, modbus, onewire, serial, gpio, ble", o.what)
}

func (o *scanOptions) ble(ctx context.Context) (*survey.Report, error) {
	if o.listen < time.Second || o.listen > time.Hour {
		return nil, usagef("--time must be from 1s to 1h")
	}
	bo := survey.BLEOptions{Time: o.listen, Progress: func(devices int, left time.Duration) {
		o.progress.say("%s heard, listening for %s more", count(devices, "device"), left.Round(time.Second))
	}}
	if len(o.buses) > 0 {
		if bo.Adapter = o.buses[0]; !strings.HasPrefix(bo.Adapter, "hci") {
			return nil, usagef("%q is no adapter such as hci0", bo.Adapter)
		}
	}
	return survey.BLE(ctx, o.root, bo)
}

func (o *scanOptions) modbus() (survey.ModbusOptions, error) {
	mo := survey.ModbusOptions{Port: o.port, Timeout: o.wait, Parities: strings.Split(o.parities, ",")}
	ways := 0
	for _, w := range []struct{ value, framing string }{{o.port, "rtu"}, {o.tcp, "tcp"}, {o.overTCP, "rtu-over-tcp"}} {
		if w.value != "" {
			ways++
			if w.framing != "rtu" {
				mo.Host, mo.Framing = w.value, w.framing
			}
		}
	}
	if ways != 1 {
		return mo, usagef("which line? One of --port, --tcp and --rtu-over-tcp; postern scan serial lists the ports")
	}
	if o.wait < 10*time.Millisecond || o.wait > 30*time.Second {
		return mo, usagef("--wait must be from 10ms to 30s")
	}
	for _, b := range strings.Split(o.bauds, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(b))
		if err != nil || n < 50 || n > 4000000 {
			return mo, usagef("--baud: %q is no speed from 50 to 4000000", b)
		}
		mo.Bauds = append(mo.Bauds, n)
	}
	for i, p := range mo.Parities {
		if mo.Parities[i] = strings.TrimSpace(p); mo.Parities[i] != "none" && mo.Parities[i] != "even" && mo.Parities[i] != "odd" {
			return mo, usagef("--parity: %q is none of none, even, odd", p)
		}
	}
	from, to, ok := strings.Cut(o.units, "-")
	if !ok {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 8)
	b, errB := strconv.ParseUint(to, 10, 8)
	if errA != nil || errB != nil || a > b || a < 1 && o.port != "" || b > 247 && o.port != "" {
		return mo, usagef("--units: %q is no range of addresses such as 1-247", o.units)
	}
	mo.From, mo.To = byte(a), byte(b)
	begin := time.Now()
	mo.Progress = func(asked, all int, speed string) {
		left := ""
		if asked > 3 {
			t := time.Since(begin) / time.Duration(asked) * time.Duration(all-asked)
			left = fmt.Sprintf(", at most %s more", t.Round(time.Second))
		}
		o.progress.say("%s: asked %d of %d%s", speed, asked, all, left)
	}
	return mo, nil
}

func showScan(env *cli.Env, r *survey.Report) {
	width := 0
	for _, f := range r.Findings {
		width = max(width, utf8.RuneCountInString(f.Where))
	}
	on := ""
	for _, f := range r.Findings {
		if f.On != on {
			on = f.On
			fmt.Fprintf(env.Stdout, "%s:\n", printable(on))
		}
		var what []string
		for _, g := range f.Guesses {
			what = append(what, fmt.Sprintf("%s (%d %%)", g.Name, g.Confidence))
		}
		line := strings.Join(what, " or ")
		switch {
		case line == "" && f.Detail == "":
			line = "something that is not known here"
		case line == "":
			line = f.Detail
		case f.Detail != "":
			line += ", " + f.Detail
		}
		fmt.Fprintf(env.Stdout, "  %s%s  %s\n", printable(f.Where), strings.Repeat(" ", width-utf8.RuneCountInString(f.Where)), printable(line))
	}
	if len(r.Findings) == 0 && len(r.Notes) == 0 {
		fmt.Fprintln(env.Stdout, "nothing was found")
	}
	for _, n := range r.Notes {
		fmt.Fprintln(env.Stdout, n)
	}
	if s := r.Snippet(); s != "" {
		fmt.Fprintf(env.Stdout, "\nFor the configuration (--config prints a whole one):\n\n%s", printable2(s))
	}
}

type scanJSON struct {
	Version  int              `json:"version"`
	Scan     string           `json:"scan"`
	Findings []survey.Finding `json:"findings"`
	Notes    []string         `json:"notes"`
	Snippet  string           `json:"snippet"`
}

func writeScanJSON(env *cli.Env, what string, r *survey.Report) error {
	out := scanJSON{1, what, r.Findings, r.Notes, r.Snippet()}
	if out.Findings == nil {
		out.Findings = []survey.Finding{}
	}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	enc := json.NewEncoder(env.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// progress tells on standard error how far a long scan is: on a terminal in one
// line that changes, elsewhere now and then in a line of its own.
type progress struct {
	env      *cli.Env
	terminal bool
	next     time.Time
	shown    int
}

// The first word comes after a while, so that quick scans say nothing.
const (
	progressTerminal = 200 * time.Millisecond
	progressLines    = 10 * time.Second
)

func newProgress(env *cli.Env) *progress {
	p := &progress{env: env, terminal: env.OutTerminal != nil}
	p.next = time.Now().Add(p.every())
	return p
}

func (p *progress) every() time.Duration {
	if p.terminal {
		return progressTerminal
	}
	return progressLines
}

func (p *progress) say(format string, args ...any) {
	if time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(p.every())
	text := fmt.Sprintf(format, args...)
	if !p.terminal {
		fmt.Fprintln(p.env.Stderr, text)
		return
	}
	fmt.Fprintf(p.env.Stderr, "\r%s%s", text, strings.Repeat(" ", max(p.shown-len(text), 0)))
	p.shown = len(text)
}

func (p *progress) end() {
	if p.shown > 0 {
		fmt.Fprintf(p.env.Stderr, "\r%s\r", strings.Repeat(" ", p.shown))
	}
}
