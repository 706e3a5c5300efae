package cli

import "time"

// When reads an instant as people write it: a day, an instant, a time of
// today, or how long ago. The error says what to write; flag is named in it.
func When(flag, text string) (time.Time, error) { return parseWhen(flag, text, time.Now(), false) }
