package pwm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"postern/drivers"
)

// sysfs are the files of a kernel.
type sysfs struct{ root, dir string }

// find returns the chip's directory by its device: its number changes with the
// order of probing.
func (s *sysfs) find(name string) (string, error) {
	chips, _ := filepath.Glob(filepath.Join(s.root, "sys/class/pwm/pwmchip*"))
	var have []string
	for _, c := range chips {
		dev, err := filepath.EvalSymlinks(filepath.Join(c, "device"))
		if err != nil {
			continue
		}
		if filepath.Base(dev) == name {
			return c, nil
		}
		have = append(have, filepath.Base(dev))
	}
	if have == nil {
		return "", fmt.Errorf("no chip %s: this machine offers none; enable it (on a Raspberry Pi dtoverlay=pwm): %w", name, drivers.ErrGone)
	}
	return "", fmt.Errorf("no chip %s; there are %s: %w", name, strings.Join(have, ", "), drivers.ErrGone)
}

func (s *sysfs) export(cfg Config) error {
	chip, err := s.find(cfg.Chip)
	if err != nil {
		return err
	}
	s.dir = filepath.Join(chip, fmt.Sprintf("pwm%d", cfg.Channel))
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		if err := write(filepath.Join(chip, "export"), strconv.Itoa(cfg.Channel)); err != nil {
			return fmt.Errorf("channel %d of %s: %w", cfg.Channel, cfg.Chip, err)
		}
	}
	return nil
}

func (s *sysfs) read(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	return strings.TrimSpace(string(b)), err
}

func (s *sysfs) write(name, text string) error { return write(filepath.Join(s.dir, name), text) }

func write(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0) // no O_CREATE: these are the kernel's files
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Sim is a simulated channel: it holds what a kernel's would, also while no
// device is open on it. It is safe for concurrent use.
type Sim struct {
	mu    sync.Mutex
	files map[string]string
}

// OpenSim is Open on a simulated channel; a new Sim is one that nobody used yet.
func OpenSim(s *Sim, cfg Config) (*Device, error) { return open(s, cfg) }

// Duty returns the share of time that the channel's signal is on, as text in
// percent with two decimals; 0.00 while it is not enabled.
func (s *Sim) Duty() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	on, _ := strconv.ParseInt(s.files["duty_cycle"], 10, 64)
	period, _ := strconv.ParseInt(s.files["period"], 10, 64)
	if period == 0 || s.files["enable"] != "1" {
		on, period = 0, 1
	}
	return drivers.Num(on*10000/period, -2).String()
}

func (s *Sim) export(Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string]string{"duty_cycle": "0", "period": "0", "polarity": "normal", "enable": "0"}
	}
	return nil
}

func (s *Sim) read(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name], nil
}

func (s *Sim) write(name, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = text
	return nil
}
