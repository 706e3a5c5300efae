package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/sensors"
	"postern/xmpp"
)

var (
	// errUnfinished: the time ran out before the end of a read-out.
	errUnfinished = errors.New("the thing did not finish the read-out in time")
	// errTooMuch ends a read-out that grows without end.
	errTooMuch = fmt.Errorf("the thing sent more than %d fields; read fewer nodes, fields or days at a time", maxItems)
)

// maxItems bounds what one read-out may hold in memory.
const maxItems = 200_000

// newReader returns a client whose patience is that of the command.
func newReader(q sensors.Querier, unclaimed func(*xmpp.Stanza)) *sensors.Client {
	const long = 24 * time.Hour
	return sensors.NewClient(sensors.ClientConfig{Querier: q, Answer: long, First: long, Next: long, Unclaimed: unclaimed})
}

// read reads a thing. tell, if any, is told of each message that comes: how
// many values there are by now, and the time of the newest. On an error the
// result holds what came before.
func (c *conn) read(ctx context.Context, to jid.JID, req sensors.Request, tell func(values int, at time.Time)) (sensors.Result, error) {
	var res sensors.Result
	_, err := c.sensors.Stream(ctx, to, req, func(p sensors.Part) error {
		res.Items = append(res.Items, p.Items...)
		res.Faults = append(res.Faults, p.Faults...)
		if n := len(res.Items); tell != nil && n > 0 {
			tell(n, res.Items[n-1].Time)
		}
		if len(res.Items)+len(res.Faults) > maxItems {
			return errTooMuch
		}
		return nil
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errUnfinished
	}
	return res, err
}

// fieldKind is the element of a field (XEP-0323 §3.3), which is what the JSON
// of the commands calls its kind.
func fieldKind(v drivers.Value) string {
	if v.Kind() == drivers.KindNumber {
		return "numeric"
	}
	return v.Kind().String()
}

// stampText is an instant as the commands' JSON and CSV have it: in UTC, or
// without a zone where the thing named none (0323-R35).
func stampText(t time.Time, noZone bool) string {
	layout, zone := "2006-01-02T15:04:05.000", "Z07:00"
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		layout = "2006-01-02T15:04:05.999999999"
	}
	switch {
	case t.IsZero():
		return ""
	case noZone:
		return t.Format(layout)
	}
	return t.UTC().Format(layout + zone)
}
