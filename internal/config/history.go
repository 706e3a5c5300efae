package config

import "time"

// History is what is kept of the past.
type History struct {
	Keep      bool          `yaml:"keep" default:"true" doc:"keep what is measured"`
	Readings  time.Duration `yaml:"readings" default:"90d" min:"1h" max:"36500d" doc:"how long each reading is kept"`
	Minutes   time.Duration `yaml:"minutes" default:"400d" min:"1h" max:"36500d" doc:"how long it is kept what each minute came to"`
	Hours     time.Duration `yaml:"hours" default:"4000d" min:"1d" max:"36500d" doc:"how long it is kept what each hour came to; days are kept for ever"`
	Megabytes int           `yaml:"megabytes" default:"64" min:"1" max:"100000" doc:"size of all of it at most; then the oldest readings are dropped, and counted"`
	Online    time.Duration `yaml:"online" default:"5m" min:"1s" max:"1h" doc:"how often readings are committed to the disk while the gateway is connected: a power cut loses no more than that"`
	Offline   time.Duration `yaml:"offline" default:"30s" min:"1s" max:"1h" doc:"the same while it is not connected"`
}

// FieldHistory says which readings of a field are kept.
type FieldHistory struct {
	Keep     bool          `yaml:"keep" default:"true" doc:"keep readings of this field"`
	Deadband string        `yaml:"deadband,omitempty" format:"decimal" doc:"keep a reading when it differs by this much from the last one kept" example:"0.2"`
	Percent  string        `yaml:"percent,omitempty" format:"decimal" doc:"or by this share of it" example:"5"`
	Min      time.Duration `yaml:"min_interval,omitempty" max:"30d" doc:"shortest time between two readings that are kept"`
	Max      time.Duration `yaml:"max_interval,omitempty" max:"30d" doc:"longest time: with a deadband, keep one that often even if nothing changes" example:"10m"`
}
