package local

import "time"

// History is what a gateway keeps of the past.
type History struct {
	Series   int    `json:"series"`
	Pending  int    `json:"pending"`  // readings not on the disk yet
	Readings int64  `json:"readings"` // octets
	RollUps  int64  `json:"roll_ups"` // octets
	Cap      int64  `json:"cap"`      // octets, both together
	Taken    uint64 `json:"taken"`    // readings since the start, as those below
	Dropped  uint64 `json:"dropped"`  // for the cap
	Expired  uint64 `json:"expired"`  // too old
	Lost     uint64 `json:"lost"`     // that memory had no room for
	Damaged  uint64 `json:"damaged"`  // blocks that could not be read
	// LossOnline and LossOffline are what a power cut loses at most, in seconds.
	LossOnline  float64    `json:"loss_online"`
	LossOffline float64    `json:"loss_offline"`
	Committed   *time.Time `json:"committed,omitempty"`
	Error       string     `json:"error,omitempty"` // of the last commit
}
