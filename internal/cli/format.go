package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/internal/live"
	"postern/sensors"
)

// clean makes text from elsewhere safe to show: control characters, which a
// terminal would obey, and what changes the direction of writing are replaced.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError {
			return '\uFFFD'
		}
		return r
	}, s)
}

// qualityWords are what people see of the quality flags, in their order.
var qualityWords = [live.NumFlags]string{
	"missing", "in progress", "estimated", "estimated by hand", "read by hand", "",
	"clock not set", "warning", "error", "signed", "invoiced", "end of series", "power failure", "invoice confirmed",
}

// qualityText says how good a value is; "ok" is an automatic read-out with
// nothing else to say about it.
func qualityText(q live.Quality) string {
	var words []string
	for i, w := range qualityWords {
		if q&(1<<i) != 0 && w != "" {
			words = append(words, w)
		}
	}
	if words == nil {
		return "ok"
	}
	return strings.Join(words, ", ")
}

// style is how a cell is coloured.
type style uint8

const (
	plain style = iota
	bold
	dim
	yellow
	red
	inverse
)

var styleCodes = [...]string{"", "1", "2", "33", "31", "7"}

func (s style) apply(text string) string {
	if s == plain {
		return text
	}
	return "\x1b[" + styleCodes[s] + "m" + text + "\x1b[0m"
}

func qualityStyle(q live.Quality) style {
	switch {
	case q&(live.Missing|live.Error) != 0:
		return red
	case q&^(live.AutomaticReadout|live.ManualReadout|live.Signed|live.Invoiced|live.InvoiceConfirmed) != 0:
		return yellow
	}
	return plain
}

// timeText shows an instant in local time; today's without the date.
func timeText(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.In(now.Location())
	y, m, d := now.Date()
	if ty, tm, td := t.Date(); ty == y && tm == m && td == d {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// table lays cells out in columns.
type table struct {
	rows  [][]cell
	right []bool // by column
	color bool
}

type cell struct {
	text  string
	style style
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// WriteTo writes the table. Columns are two spaces apart and lines have no
// trailing space.
func (t *table) WriteTo(w io.Writer) (int64, error) {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		t.line(&b, row, widths)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (t *table) line(b *strings.Builder, row []cell, widths []int) {
	last := len(row) - 1
	for last > 0 && row[last].text == "" {
		last--
	}
	for i, c := range row[:last+1] {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
		text := c.text
		if t.color {
			text = c.style.apply(text)
		}
		switch {
		case i < len(t.right) && t.right[i]:
			b.WriteString(pad + text)
		case i == last:
			b.WriteString(text)
		default:
			b.WriteString(text + pad)
		}
	}
	b.WriteByte('\n')
}

// readoutTable lays a read-out out.
func readoutTable(res sensors.Result, color bool) *table {
	t := &table{right: []bool{false, false, true}, color: color}
	t.add(cell{"NODE", bold}, cell{"FIELD", bold}, cell{"VALUE", bold}, cell{"UNIT", bold}, cell{"QUALITY", bold}, cell{"TIME", bold})
	now := time.Now()
	last := ""
	for i := range res.Items {
		f := &res.Items[i]
		id := clean(f.Ref.String())
		shown := cell{id, plain}
		if id == last {
			shown.style = dim
		}
		last = id
		t.add(shown, cell{clean(f.Name), plain}, cell{valueText(f), qualityStyle(f.Quality)},
			cell{clean(f.Unit), plain}, cell{qualityText(f.Quality), qualityStyle(f.Quality)}, cell{timeText(f.Time, now), plain})
	}
	return t
}

// valueText is a value for people. A missing value's text means nothing
// (0323-D5).
func valueText(f *sensors.Item) string {
	if f.Quality&live.Missing != 0 {
		return "-"
	}
	if s := f.Value.String(); s != "" {
		return clean(s)
	}
	return `""`
}

func writeFailures(w io.Writer, all []sensors.Fault) error {
	for _, f := range all {
		if _, err := fmt.Fprintf(w, "%s: %s\n", clean(f.Ref.String()), clean(f.Text)); err != nil {
			return err
		}
	}
	return nil
}
