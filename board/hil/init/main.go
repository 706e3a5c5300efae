// Command init is the first process of the guest that drivers are tested in: it
// mounts, loads modules, runs the test binaries in /t and switches off. The
// host takes the result from the lines that begin with RESULT.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
	} {
		mount(m.kind, m.dir)
	}
	loadModules()
	mount("configfs", "/sys/kernel/config")
	waitForBus()
	tests, _ := filepath.Glob("/t/*.test")
	for _, t := range tests {
		c := exec.Command(t, "-test.v", "-test.timeout=100s", "-test.run=Kernel")
		c.Stdout, c.Stderr = os.Stdout, os.Stdout
		verdict := "ok"
		if err := c.Run(); err != nil {
			verdict = err.Error()
		}
		fmt.Println("RESULT", filepath.Base(t), verdict)
	}
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
	for _, name := range strings.Fields(string(list)) {
		f, err := os.Open(filepath.Join("/m", name))
		if err == nil {
			err = unix.FinitModule(int(f.Fd()), "", 0)
			_ = f.Close()
		}
		if err != nil {
			fmt.Println("init: module", name, err)
		}
	}
}

// waitForBus tells the tests which I2C bus is the virtual one, by its adapter's
// name.
func waitForBus() {
	for range 50 {
		names, _ := filepath.Glob("/sys/class/i2c-dev/*/name")
		for _, n := range names {
			b, _ := os.ReadFile(n)
			if name := strings.TrimSpace(string(b)); strings.Contains(name, "virtio") {
				_ = os.Setenv("POSTERN_I2C_BUS", name)
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("init: no virtual I2C bus")
}
