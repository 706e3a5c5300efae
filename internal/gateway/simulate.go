package gateway

import (
	"io/fs"
	"os"

	"postern/drivers/serial"
	"postern/internal/config"
)

// simulated tells whether the configuration wants a node simulated, and its
// kind can be.
func simulated(cfg *config.Config, n *config.Node, k kind) bool {
	return k.Real == "" && (cfg.Simulate || n.Simulate || cfg.Buses[n.Bus].Simulate)
}

// Simulated lists the nodes whose devices a configuration simulates and, where
// it wants everything simulated, those that are real even so.
func Simulated(cfg *config.Config) (simulates, real []string) {
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		k, err := findKind(n.Kind)
		switch {
		case err != nil || k.branch: // it has no device
		case simulated(cfg, n, k):
			simulates = append(simulates, n.ID)
		case cfg.Simulate:
			real = append(real, n.ID)
		}
	}
	return simulates, real
}

// What follows gives devices ports and files, real and simulated. Each device
// has its own.

func (p *plant) serialPort(cfg serial.Config, _ func() (*serial.Sim, error)) (_ serial.Conn, err error) {
	if cfg.Port, err = p.serial(cfg.Port); err != nil {
		return nil, err
	}
	return serial.Open(cfg, p.log)
}

func (*plant) files(func() fs.FS) fs.FS { return os.DirFS("/") }

func (*bench) serialPort(_ serial.Config, sim func() (*serial.Sim, error)) (serial.Conn, error) {
	s, err := sim()
	if err != nil {
		return nil, err // and no typed nil
	}
	return s, nil
}

func (*bench) files(sim func() fs.FS) fs.FS { return sim() }

// serialPort of paper has nobody at the other end: the channels are known also
// where no simulation is.
func (paper) serialPort(serial.Config, func() (*serial.Sim, error)) (serial.Conn, error) {
	return serial.NewSim(nil), nil
}
