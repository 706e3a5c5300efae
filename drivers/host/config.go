package host

// Config is the configuration of this machine as a device.
type Config struct {
	Disks []string `yaml:"disks" default:"/" doc:"mount points whose space is a channel each" example:"/, /var/lib/postern"`
}
