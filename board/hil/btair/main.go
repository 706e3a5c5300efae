// Command btair gives the guest's kernel a Bluetooth adapter that hears the
// simulated sensors of a configuration's addresses: arguments FORMAT=ADDRESS.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"postern/drivers/ble"
	"postern/drivers/ble/virtual"
)

func main() {
	air := &virtual.Air{}
	for _, a := range os.Args[1:] {
		format, address, _ := strings.Cut(a, "=")
		cfg := ble.Config{Address: address, Format: format, MaxAge: time.Minute}
		if err := cfg.Validate(); err != nil {
			fmt.Println("btair:", err)
			os.Exit(2)
		}
		air.Add(ble.Simulate(cfg))
	}
	if _, err := virtual.NewController(air, [6]byte{2, 0, 0, 0, 0, 1}).Attach(); err != nil {
		fmt.Println("btair:", err)
		os.Exit(1)
	}
	fmt.Println("btair: on air")
	select {}
}
