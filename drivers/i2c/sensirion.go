package i2c

import (
	"syscall"
	"time"
)

// Command sends a command of two octets, as Sensirion's chips take them, with
// arguments that carry checksums, and waits as long as the chip wants. It must
// be called within Do.
func (c *Chip) Command(cmd uint16, pause time.Duration, args ...uint16) error {
	if err := c.Write(AppendWords([]byte{byte(cmd >> 8), byte(cmd)}, args...)...); err != nil {
		return err
	}
	return c.Sleep(pause)
}

// Words reads n words with their checksums, within Do.
func (c *Chip) Words(n int) ([]uint16, error) {
	b := make([]byte, 3*n)
	if err := c.Ask(b); err != nil {
		return nil, err
	}
	return CheckedWords(b, n)
}

// AskWords sends a command, waits and reads n words, within Do.
func (c *Chip) AskWords(cmd uint16, pause time.Duration, n int) ([]uint16, error) {
	if err := c.Command(cmd, pause); err != nil {
		return nil, err
	}
	return c.Words(n)
}

// Answer is what a simulated chip has to say, from a time on and once: reading
// it earlier, or again, is not acknowledged. Its owner guards it.
type Answer struct {
	octets []byte
	ready  time.Time
}

// Set makes words, with their checksums, the answer; none takes it away.
func (a *Answer) Set(ready time.Time, words ...uint16) {
	*a = Answer{AppendWords(nil, words...), ready}
}

// Take fills r, as a Slave has to.
func (a *Answer) Take(now time.Time, r []byte) error {
	if len(r) == 0 {
		return nil
	}
	if len(a.octets) == 0 || now.Before(a.ready) {
		return syscall.EREMOTEIO
	}
	copy(r, a.octets)
	a.octets = nil
	return nil
}
