// Command feeder feeds the guest's hardware watchdog for longer than that
// waits, and then holds it open without feeding it, as a program that hangs
// would. Source: the kernel's Documentation/watchdog/watchdog-api.
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	patience = 3               // seconds until the watchdog bites
	fed      = 8 * time.Second // how long it is fed: over two of these
)

func main() {
	if err := run(); err != nil {
		fmt.Println("feeder:", err)
		os.Exit(1)
	}
}

func run() error {
	f, err := os.OpenFile("/dev/watchdog0", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, patience); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	for end := time.Now().Add(fed); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if _, err := f.Write([]byte{0}); err != nil {
			return err
		}
	}
	fmt.Println("feeder: starving it now")
	time.Sleep(10 * patience * time.Second)
	return fmt.Errorf("the watchdog did not bite")
}
