package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier sends messages to the service manager. The zero value, as New
// returns it outside of a service, sends nothing. It is safe for concurrent
// use.
type Notifier struct {
	path     string // of the manager's socket; empty: there is none
	watchdog time.Duration
}

// New reads the environment of a service: NOTIFY_SOCKET, WATCHDOG_USEC and
// WATCHDOG_PID. getenv is os.Getenv outside of tests.
func New(getenv func(string) string) *Notifier {
	n := &Notifier{path: getenv("NOTIFY_SOCKET")}
	if n.path == "" || n.path[0] != '/' && n.path[0] != '@' {
		return &Notifier{}
	}
	// A limit that was meant for a parent of ours names its process.
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 && us < 1<<53 {
			n.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return n
}

// Managed tells whether there is a manager to talk to.
func (n *Notifier) Managed() bool { return n.path != "" }

// Ready tells that the service has started; what waits for it may start now.
func (n *Notifier) Ready() error { return n.send("READY=1") }

// Stopping tells that the service is on its way down.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Reloading tells that the service reads its configuration again. Ready ends
// it. Units of Type=notify-reload need the time that comes with it.
func (n *Notifier) Reloading() error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return fmt.Errorf("systemd: clock: %w", err)
	}
	return n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
}

// Status sets the line of text that systemctl status shows.
func (n *Notifier) Status(text string) error {
	return n.send("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

// Extend asks for more time to start, stop or reload, counted from now.
func (n *Notifier) Extend(d time.Duration) error {
	return n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds()))
}

// WatchdogTime is the time within which the manager wants to hear from the
// service, else it kills it; 0 when it does not watch.
func (n *Notifier) WatchdogTime() time.Duration { return n.watchdog }

// Alive feeds the manager's watchdog once.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Failed asks the manager to act as if the watchdog had not been fed.
func (n *Notifier) Failed() error { return n.send("WATCHDOG=trigger") }

// KeepAlive feeds the watchdog at half its time for as long as ctx lasts and
// alive returns nil; alive nil stands for a process that runs being enough. An
// error of alive leaves that one message out and goes to report (may be nil),
// so a fault that lasts ends in the manager's restart. It returns when ctx is
// done, at once where no watchdog is wanted.
func (n *Notifier) KeepAlive(ctx context.Context, alive func() error, report func(error)) {
	if n.watchdog <= 0 {
		return
	}
	tick := time.NewTicker(max(n.watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		var err error
		if alive != nil {
			err = alive()
		}
		if err == nil {
			err = n.Alive()
		}
		if err != nil && report != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Barrier waits until the manager has worked on everything that was sent
// before (sd_notify_barrier(3)); systemd knows it from version 246.
func (n *Notifier) Barrier(ctx context.Context) error {
	if n.path == "" {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("systemd: barrier: %w", err)
	}
	defer r.Close()
	err = n.send("BARRIER=1", w)
	_ = w.Close() // the manager closes its copy when it is done
	if err != nil {
		return err
	}
	if at, ok := ctx.Deadline(); ok {
		_ = r.SetReadDeadline(at)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("systemd: barrier: %w", context.DeadlineExceeded)
	}
	return nil // end of file
}

// sendTime bounds one message: the socket is local and the manager reads fast.
const sendTime = 2 * time.Second

// send sends one datagram, with descriptors if there are any.
func (n *Notifier) send(state string, files ...*os.File) error {
	if n.path == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(sendTime.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	var fds []int
	for _, f := range files {
		// Not Fd, which would make a descriptor of the runtime's poller block.
		conn, err := f.SyscallConn()
		if err == nil {
			err = conn.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			return fmt.Errorf("systemd: %w", err)
		}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	to := &unix.SockaddrUnix{Name: n.path} // "@" stands for an abstract name there too
	for {
		err := unix.Sendmsg(fd, []byte(state), rights, to, 0)
		runtime.KeepAlive(files)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("systemd: notify %s: %w", n.path, err)
		}
		return nil
	}
}
