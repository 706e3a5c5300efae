// Package schedule switches outputs by the calendar: at times of day, on days
// of the week, on dates, at sunrise and at sunset, without the network.
//
// The rules, all of which have a test:
//
//   - Times are those of the gateway's time zone. A time that the clock skips
//     (spring) is the moment at which it skips; a time that comes twice
//     (autumn) is the first of the two.
//   - A day on which the sun does not rise or set has no sunrise or sunset, and
//     nothing runs.
//   - Nothing runs while the clock cannot be believed.
//   - A time counts as dealt with before anything is done about it, on the
//     disk. So it runs once at most, whatever is cut off in the middle, and
//     setting the clock back repeats nothing. Where it was ahead by more than a
//     day, times count again from the moment at which it is right.
//   - A time that passed while the gateway was off, or did not know the time,
//     runs afterwards only if it is not older than the entry's lateness, and
//     only if it is the latest for its output. All others are missed and not
//     made up for.
//   - What a rule of the output refuses for now (it has to stay off a little
//     longer) is tried again until the lateness is used up or another entry for
//     the output is due. Other refusals are final.
package schedule
