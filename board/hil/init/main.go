// Command init is the first process of the guest that drivers are tested in:
// it mounts, loads modules, brings the network up and then does what the host
// asks for through the agent. In a guest with a system of its own it hands over
// to systemd, and runs on below that with the argument agent.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/board/hil/agent"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		fmt.Println("init: agent:", serve())
		os.Exit(1)
	}
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	} {
		mount(m.kind, m.dir)
	}
	mount("devpts", "/dev/pts")
	loadModules()
	mount("configfs", "/sys/kernel/config")
	if err := network(); err != nil {
		fmt.Println("init: network:", err)
	}
	if _, err := os.Stat(overlay); err == nil {
		fmt.Println("init: hand over:", handOver())
	}
	fmt.Println("init: agent:", serve())
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func mount(kind, dir string) {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = unix.Mount(kind, dir, kind, 0, "")
	}
	if err != nil {
		fmt.Println("init: mount", dir, err)
	}
}

// loadModules loads the files that /modules names, in that order.
func loadModules() {
	list, err := os.ReadFile("/modules")
	if err != nil {
		fmt.Println("init:", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		begin := time.Now()
		f, err := os.Open(filepath.Join("/m", name))
		if err == nil {
			err = unix.FinitModule(int(f.Fd()), "", 0)
			_ = f.Close()
		}
		if err != nil {
			fmt.Println("init: module", name, err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			fmt.Printf("init: module %s took %.1f s\n", name, d.Seconds())
		}
	}
}

// network gives the interfaces the addresses that QEMU's user network expects:
// 10.0.2.15, with the host at 10.0.2.2 on the same network.
func network() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var card string
	for range 100 { // the card may appear after its module
		if cards, _ := filepath.Glob("/sys/class/net/e*"); len(cards) > 0 {
			card = filepath.Base(cards[0])
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if card == "" {
		return fmt.Errorf("no network card appeared")
	}
	for _, i := range []struct{ name, addr, mask string }{{"lo", "127.0.0.1", "255.0.0.0"}, {card, "10.0.2.15", "255.255.255.0"}} {
		if err := raise(fd, i.name, net.ParseIP(i.addr).To4(), net.ParseIP(i.mask).To4()); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return nil
}

func raise(fd int, name string, addr, mask net.IP) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		request uint
		addr    net.IP
	}{{unix.SIOCSIFADDR, addr}, {unix.SIOCSIFNETMASK, mask}} {
		if err := r.SetInet4Addr(s.addr); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, s.request, r); err != nil {
			return err
		}
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

func serve() error {
	l, err := net.Listen("tcp", fmt.Sprint(":", agent.Port))
	if err != nil {
		return err
	}
	fmt.Println("init: ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var r agent.Request
			if json.NewDecoder(c).Decode(&r) == nil {
				_ = json.NewEncoder(c).Encode(do(r)) // the host has gone when this fails
			}
		}()
	}
}

func do(r agent.Request) (a agent.Answer) {
	var err error
	switch r.Op {
	case "read":
		var b []byte
		b, err = os.ReadFile(r.Path)
		a.Text = string(b)
	case "write":
		err = os.WriteFile(r.Path, []byte(r.Text), 0o600)
	case "mkdir":
		err = os.MkdirAll(r.Path, 0o755)
	case "remove":
		err = os.Remove(r.Path)
	case "link":
		err = os.Symlink(r.Text, r.Path)
	case "mount":
		if len(r.Argv) != 2 {
			err = fmt.Errorf("mount wants a device and a type")
		} else if err = os.MkdirAll(r.Path, 0o755); err == nil {
			err = unix.Mount(r.Argv[0], r.Path, r.Argv[1], 0, "")
		}
	case "run":
		var out []byte
		out, err = command(r).CombinedOutput()
		a.Text = string(out)
	case "start":
		c := command(r)
		c.Stdout, c.Stderr = os.Stdout, os.Stdout
		if err = c.Start(); err == nil {
			a.PID = c.Process.Pid
			go func() { fmt.Println("init: ended:", r.Argv, c.Wait()) }()
		}
	case "sample":
		a.Text, err = sample(r.Path, time.Duration(r.Num)*time.Millisecond)
	case "signal":
		err = syscall.Kill(r.PID, syscall.Signal(r.Num))
	default:
		err = fmt.Errorf("the agent knows no %q", r.Op)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// sample reads a file again and again, and tells what it read as "VALUE TIME"
// with times in ms since the beginning, a line for each change.
func sample(path string, d time.Duration) (string, error) {
	var out strings.Builder
	last := ""
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if now := strings.TrimSpace(string(b)); now != last {
			last = now
			fmt.Fprintf(&out, "%s %d\n", now, time.Since(begin).Milliseconds())
		}
	}
	return out.String(), nil
}

func command(r agent.Request) *exec.Cmd {
	c := exec.Command(r.Argv[0], r.Argv[1:]...)
	c.Env = []string{"PATH=/sbin:/bin", "HOME=/tmp", "TMPDIR=/tmp"}
	for k, v := range r.Env {
		c.Env = append(c.Env, k+"="+v)
	}
	return c
}
