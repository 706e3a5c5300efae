package schedule

import (
	"testing"
	"time"
)

// A clock that was ahead by years for a while does not silence the calendar
// until then.
func TestAClockFarAheadDoesNotSilence(t *testing.T) {
	bubble(t, func(t *testing.T, path string) {
		r := start(t, path, 0)
		defer r.stop()
		r.add("morning", "lamp", "true", "daily 07:30", 0)
		time.Sleep(6*time.Hour + 10*time.Second)                                          // between two looks at the clock
		r.set(func() { r.shift = 10*365*24*time.Hour + 90*time.Minute - 10*time.Second }) // 07:30 of another year
		time.Sleep(time.Minute)
		r.expect("while it is ahead", "07:30:20 lamp=true")
		r.set(func() { r.shift = 0 })
		time.Sleep(time.Hour)
		r.expect("right again, 07:01")
		time.Sleep(time.Hour)
		r.expect("its time has come", "07:30:00 lamp=true")
	})
}
