package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"postern/internal/node"
	"postern/internal/store"
)

// Entry is one line of the calendar: at its times an output gets its value.
type Entry struct {
	Name      string   `json:"name"` // unique, 1 to 64 printable characters
	Node      node.Ref `json:"node"`
	Parameter string   `json:"parameter"`
	Value     string   `json:"value"` // in the lexical form of the parameter's type
	When      string   `json:"when"`  // as ParseWhen reads it
	// Late is how long after its time it may still run; see DefaultLate.
	Late   time.Duration `json:"late"`
	Paused bool          `json:"paused,omitempty"`
	By     string        `json:"by,omitempty"` // who made it: a bare JID, or "local"
	// Notice is what the scheduler notes; it is ignored in what Add is given.
	Notice Notice `json:"notice"`
}

// Notice is what became of an entry's times.
type Notice struct {
	// Handled is up to when the entry's times are dealt with: run, missed or
	// overtaken.
	Handled time.Time `json:"handled"`
	Run     time.Time `json:"run,omitzero"`    // the time that was last run
	Done    bool      `json:"done,omitempty"`  // and that it worked
	Error   string    `json:"error,omitempty"` // why not
	Missed  time.Time `json:"missed,omitzero"` // the time that was last missed
}

// Bounds of entries.
const (
	DefaultLate = 10 * time.Minute
	MaxLate     = 24 * time.Hour
	MaxEntries  = 200
	maxName     = 64
	maxValue    = 1000
)

// bucket holds entries by name.
var bucket = store.Bucket[Entry]{Name: "schedules"}

// Errors of Add, Remove, Pause and Resume. Match them with errors.Is.
var (
	ErrUnknown = errors.New("there is no schedule of that name")
	ErrTaken   = errors.New("the name is taken; remove the schedule first, or choose another name")
	ErrFull    = fmt.Errorf("there are %d schedules already; remove some", MaxEntries)
)

// check completes an entry and says what is wrong with it.
func (e *Entry) check(p Place) (When, error) {
	e.Name = strings.TrimSpace(e.Name)
	switch n := len([]rune(e.Name)); {
	case n == 0 || n > maxName || strings.ContainsFunc(e.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return When{}, fmt.Errorf("a schedule needs a name of 1 to %d printable characters", maxName)
	case e.Node.ID == "" || e.Parameter == "":
		return When{}, errors.New("a schedule needs a node and a parameter")
	case len(e.Value) > maxValue:
		return When{}, fmt.Errorf("the value is longer than %d octets", maxValue)
	case e.Late < 0 || e.Late > MaxLate:
		return When{}, fmt.Errorf("the lateness is between 0 and %v", MaxLate)
	}
	if e.Late == 0 {
		e.Late = DefaultLate
	}
	w, err := ParseWhen(e.When)
	if err != nil {
		return w, err
	}
	if w.NeedsPosition() && p.Position == nil {
		return w, errNoPosition
	}
	e.When = w.String()
	return w, nil
}

// output is what the entry switches.
func (e *Entry) output() output { return output{e.Node, e.Parameter} }

type output struct {
	node      node.Ref
	parameter string
}
