package modbus

import "time"

// breaker keeps a unit that does not answer from stealing the time of those
// that do. It belongs to the holder of the line.
//
//	closed --maxSilent time-outs--> open --pause over--> one try --answer--> closed
//	                                 ^------- silent, pause doubles ----'
type breaker struct {
	silent int           // time-outs in a row
	pause  time.Duration // until the next try; 0 while closed
	until  time.Time
}

const (
	maxSilent  = 3
	firstPause = 2 * time.Second
	maxPause   = time.Minute
)

// allows tells whether the unit may be asked, and how often.
func (b *breaker) allows(now time.Time) bool { return b.pause == 0 || !now.Before(b.until) }

// trying tells whether the next request is the one try of an open breaker.
func (b *breaker) trying() bool { return b.pause > 0 }

func (b *breaker) answered() { *b = breaker{} }

// timedOut reports whether the breaker opened just now.
func (b *breaker) timedOut(now time.Time) bool {
	b.silent++
	if b.silent < maxSilent {
		return false
	}
	opened := b.pause == 0
	b.pause = min(max(2*b.pause, firstPause), maxPause)
	b.until = now.Add(b.pause)
	return opened
}
