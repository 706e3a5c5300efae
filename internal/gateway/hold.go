package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/drivers/gpio"
	"postern/internal/systemd"
)

// An output with restart: hold outlives this process: the descriptor of its
// line lies with the service manager from the moment on that the line is an
// output, so whatever becomes of the process, the kernel does not let go of
// it. The next process gets the descriptor back and decides:
//
//	stopped in good order, not long ago   the line goes on as it is
//	killed, crashed, watchdog             the line is moved to its safe state
//	not to be held any more               the same, then it is let go
//	no longer in the configuration        the same, by the level in its name
//
// What tells the cases apart is a note that only an orderly stop leaves beside
// the descriptors, in memory, so that it cannot outlive them.

// holdLimit is how long a stop may have lasted for a line to go on as it was:
// nobody looks after it meanwhile.
const holdLimit = 5 * time.Minute

// noteName names the note, linePrefix the lines; behind that stand the level
// of the safe state and the line.
const (
	noteName   = "postern-held"
	linePrefix = "postern-line-"
)

// heldNote is what an orderly stop leaves for the next process.
type heldNote struct {
	Stopped int64               `json:"stopped"` // CLOCK_BOOTTIME, ns
	Lines   map[string]heldLine `json:"lines"`
}

// heldLine is what is known of an output that is held.
type heldLine struct {
	Config string `json:"config"`           // how it is wired
	Set    bool   `json:"set"`              // somebody had set it
	Age    int64  `json:"age"`              // since it became on or off, ns
	Origin string `json:"origin,omitempty"` // who set it
	From   string `json:"from,omitempty"`
}

// holder hands lines to the service manager and takes them back. It is safe
// for concurrent use.
type holder struct {
	log     *slog.Logger
	manager *systemd.Notifier
	open    func(line string) (gpio.Line, error)
	adopt   func(line string, f *os.File) (gpio.Line, error)

	mu     sync.Mutex
	given  map[string]inherited // by line; what nobody took yet
	note   heldNote
	paused time.Duration    // between the stop and this start
	kept   map[string]*kept // by line
}

// inherited is a line that a former process left.
type inherited struct {
	name string
	safe gpio.Level
	file *os.File
}

// newHolder takes what a former process left with the manager; it may be nil.
func newHolder(log *slog.Logger, m *systemd.Notifier, files map[string][]*os.File) *holder {
	if m == nil {
		m = new(systemd.Notifier)
	}
	h := &holder{log: log, manager: m, open: gpio.Open, adopt: gpio.Adopt, given: map[string]inherited{}, kept: map[string]*kept{}}
	for name, list := range files {
		for i, f := range list {
			rest, isLine := strings.CutPrefix(name, linePrefix)
			switch {
			case name == noteName:
				h.readNote(f)
			case isLine && len(rest) > 2 && i == len(list)-1: // the latest of several
				ref := unescape(rest[2:])
				h.given[ref] = inherited{name, rest[0] == '1', f}
			default:
				_ = f.Close()
			}
		}
	}
	if h.note.Stopped != 0 { // it counts once
		h.tell("discard", m.Discard(noteName))
	}
	return h
}

func (h *holder) tell(what string, err error) {
	if err != nil {
		h.log.Error("the service manager does not keep a line as it should; outputs may let go with the process", "what", what, "err", err)
	}
}

func (h *holder) readNote(f *os.File) {
	defer f.Close()
	_, _ = f.Seek(0, io.SeekStart)
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err == nil {
		err = json.Unmarshal(data, &h.note)
	}
	if err != nil {
		h.log.Error("the note about held outputs cannot be read; they are moved to their safe states", "err", err)
		h.note = heldNote{}
		return
	}
	h.paused = time.Duration(bootTime() - h.note.Stopped)
}

// unescape reverses systemd.Name.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		var c byte
		if s[i] == '%' && i+2 < len(s) {
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &c); err == nil {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// bootTime is the time since the machine started, sleep included, in ns.
func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it is on every kernel that runs Go
	return ts.Nano()
}

// line returns a line for an output: the one that was left, or one from the
// kernel. With hold it is left with the manager from then on.
func (h *holder) line(ref string, hold bool, safe gpio.Level) (gpio.Line, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	left, ok := h.given[ref]
	if !ok && !hold {
		return h.open(ref)
	}
	k := &kept{h: h, ref: ref, hold: hold, name: lineName(ref, safe)}
	if !ok {
		l, err := h.open(ref)
		if err != nil {
			return nil, err
		}
		k.Line = l
		h.kept[ref] = k
		return k, nil
	}
	l, err := h.adopt(ref, left.file)
	delete(h.given, ref)
	if err != nil { // not a line any more: its chip went away
		h.tell("discard", h.manager.Discard(left.name))
		_ = left.file.Close()
		if l, err = h.open(ref); err != nil {
			return nil, err
		}
		k.Line = l
		h.kept[ref] = k
		return k, nil
	}
	k.Line, k.stored = l, left.name
	note, noted := h.note.Lines[ref]
	if k.resumed = hold && noted && h.paused >= 0 && h.paused <= holdLimit; k.resumed {
		k.was = note
	}
	h.kept[ref] = k
	return k, nil
}

func lineName(ref string, safe gpio.Level) string {
	level := "0"
	if safe {
		level = "1"
	}
	return linePrefix + level + "-" + systemd.Name(ref)
}

// release moves lines that nobody took to their safe states and lets go.
func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref, left := range h.given {
		l, err := h.adopt(ref, left.file)
		if err == nil {
			err = errors.Join(l.Out(left.safe), l.Close())
		}
		if err != nil {
			h.log.Error("a line that a former configuration held cannot be made safe; check it by hand", "line", ref, "err", err)
		}
		h.log.Info("a line that is no longer held is let go in its safe state", "line", ref)
		h.tell("discard", h.manager.Discard(left.name))
		delete(h.given, ref)
	}
}

// resumed returns what is known of a line that goes on as it was.
func (h *holder) resumed(ref string) (was heldLine, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.kept[ref]
	if k == nil || !k.resumed {
		return heldLine{}, false
	}
	was = k.was
	was.Age += int64(h.paused)
	return was, true
}

// holds reports whether a line stays as it is when this process ends.
func (h *holder) holds(ref string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.kept[ref]
	return k != nil && k.hold && h.manager.Managed()
}

// leave is the last step of an orderly stop: the note goes to the manager, and
// the lines that are held do not move any more.
func (h *holder) leave(lines map[string]heldLine) error {
	if len(lines) == 0 || !h.manager.Managed() {
		return nil
	}
	h.mu.Lock()
	all := make([]*kept, 0, len(lines))
	for ref := range lines {
		if k := h.kept[ref]; k != nil {
			all = append(all, k)
		}
	}
	h.mu.Unlock()
	var errs []error
	for _, k := range all {
		if err := k.store(); err != nil {
			errs = append(errs, err)
			delete(lines, k.ref) // it is made safe when it is closed
			continue
		}
		k.mu.Lock()
		k.left = true
		k.mu.Unlock()
	}
	return errors.Join(append(errs, h.writeNote(lines))...)
}

func (h *holder) writeNote(lines map[string]heldLine) error {
	data, err := json.Marshal(heldNote{Stopped: bootTime(), Lines: lines})
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate(noteName, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("note about held outputs: %w", err)
	}
	f := os.NewFile(uintptr(fd), noteName)
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("note about held outputs: %w", err)
	}
	return errors.Join(h.manager.Discard(noteName), h.manager.Store(noteName, f))
}

// kept is an output line that lies with the manager too.
type kept struct {
	gpio.Line
	h       *holder
	ref     string
	name    string // in the manager's store
	hold    bool   // else it is let go as soon as it is in its safe state
	resumed bool   // it goes on as a former process left it
	was     heldLine

	mu     sync.Mutex
	stored string // the name it lies with the manager under; empty for none
	left   bool   // it does not move any more
}

// Output implements gpio.Line. The line is this process's own from here on, or
// has just been moved to its safe state.
func (k *kept) Output(drive string, level gpio.Level) error {
	k.mu.Lock()
	left := k.left
	k.mu.Unlock()
	if left {
		return nil
	}
	if err := k.Line.Output(drive, level); err != nil {
		return err
	}
	var err error
	if k.hold {
		err = k.store()
	} else {
		err = k.discard()
	}
	k.h.tell("store", err)
	return nil
}

// Out implements periph's gpio.PinOut.
func (k *kept) Out(level gpio.Level) error {
	k.mu.Lock()
	left := k.left
	k.mu.Unlock()
	if left {
		return nil
	}
	return k.Line.Out(level)
}

// Input implements gpio.Line: a line that was held becomes an input, for which
// the kernel wants it back first.
func (k *kept) Input(o gpio.InputOptions) error {
	if err := errors.Join(k.Line.Close(), k.discard()); err != nil {
		return err
	}
	l, err := k.h.open(k.ref)
	if err != nil {
		return err
	}
	k.Line = l
	return k.Line.Input(o)
}

// Close implements gpio.Line. Unless it was left to the next process, nobody
// else keeps the line then either.
func (k *kept) Close() error {
	k.mu.Lock()
	left := k.left
	k.mu.Unlock()
	err := k.Line.Close()
	if left {
		return err
	}
	k.h.mu.Lock()
	if k.h.kept[k.ref] == k {
		delete(k.h.kept, k.ref)
	}
	k.h.mu.Unlock()
	return errors.Join(err, k.discard())
}

// store leaves the line's present descriptor with the manager, in place of a
// former one. What is stored twice, it keeps once.
func (k *kept) store() error {
	if !k.h.manager.Managed() {
		return nil
	}
	line, ok := k.Line.(gpio.Keeper)
	if !ok {
		return fmt.Errorf("line %s cannot be held", k.ref)
	}
	f, err := line.Keep()
	if err != nil {
		return err
	}
	defer f.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stored != "" {
		if err := k.h.manager.Discard(k.stored); err != nil {
			return err
		}
	}
	if err := k.h.manager.Store(k.name, f); err != nil {
		return err
	}
	k.stored = k.name
	return nil
}

// barrierTime bounds the wait for the manager to let go of a line.
const barrierTime = time.Second

// discard lets the manager close its descriptor and waits for it: as long as
// it has one, nobody can request the line anew.
func (k *kept) discard() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stored == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), barrierTime)
	defer cancel()
	err := errors.Join(k.h.manager.Discard(k.stored), k.h.manager.Barrier(ctx))
	k.stored = ""
	return err
}

// openRelay opens an output, or goes on with one that was left to this
// process, without a move.
func openRelay(ctx context.Context, l gpio.Line, cfg gpio.RelayConfig) (*gpio.Relay, error) {
	if k, ok := l.(*kept); ok && k.resumed {
		if k.was.Config == wiring(cfg) {
			return gpio.ResumeRelay(ctx, l, cfg)
		}
		k.resumed = false // the same level would mean something else now
	}
	return gpio.OpenRelay(ctx, l, cfg)
}

// wiring is what a level of the line means.
func wiring(cfg gpio.RelayConfig) string {
	return fmt.Sprintf("%s active_low=%v safe=%s", cfg.Drive, cfg.ActiveLow, cfg.Safe)
}

// holdEnv opens the line of an output that is held across a restart.
type holdEnv struct {
	*plant
	safe gpio.Level
}

func (e holdEnv) gpioLine(name string) (gpio.Line, error) {
	ref, err := e.line(name)
	if err != nil {
		return nil, err
	}
	return e.held.line(ref, true, e.safe)
}
