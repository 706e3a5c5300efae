package gateway

import (
	"context"
	"errors"
	"time"

	"postern/drivers"
	"postern/internal/audit"
	"postern/internal/live"
	"postern/internal/node"
	"postern/internal/store"
	"postern/sensors"
	"postern/sensors/history"
)

// auditNode is the node by which the owner, and nobody else, reads the audit:
// its status fields tell how many records there are, the newest, and the
// hashes that the chains end with; the historical values of "record" are the
// records. Its source keeps it apart from a configured node of that name.
var auditNode = node.Ref{ID: "audit", Source: "postern"}

// auditDevice is the device behind it.
const auditDevice = "postern audit"

func auditNodes() node.Node {
	return node.Node{
		Ref: auditNode, Label: "Record of commands", Device: auditDevice,
		Fields: []node.Field{
			{Name: "record", Kind: drivers.KindString, Types: node.Status},
			{Name: "records", Kind: drivers.KindLong, Types: node.Status},
			{Name: "head", Kind: drivers.KindString, Types: node.Status},
			{Name: "refusals", Kind: drivers.KindLong, Types: node.Status},
			{Name: "refusals head", Kind: drivers.KindString, Types: node.Status},
		},
	}
}

// withAudit adds the device of the audit, which is read on request only.
func (g *Gateway) withAudit(devices map[string]sensors.Device) map[string]sensors.Device {
	devices[auditDevice] = sensors.Device{Device: auditReader{g}, Timeout: 5 * time.Second, Fresh: -1}
	return devices
}

// auditReader reads what the status fields say.
type auditReader struct{ g *Gateway }

// Read implements drivers.Device.
func (r auditReader) Read(_ context.Context, dst []drivers.Sample) ([]drivers.Sample, error) {
	if err := r.g.audit.FlushCommands(); err != nil {
		return dst, err
	}
	now := time.Now()
	err := r.g.db.View(func(tx *store.Tx) error {
		add := func(ch string, v drivers.Value) {
			dst = append(dst, drivers.Sample{Channel: ch, Value: v, Time: now})
		}
		ends := audit.Ends(tx)
		add("records", drivers.Long(int64(ends[0].Records)))
		add("head", drivers.String(ends[0].Head))
		add("refusals", drivers.Long(int64(ends[1].Records)))
		add("refusals head", drivers.String(ends[1].Head))
		newest, _ := audit.List(tx, audit.Query{Limit: 1})
		if len(newest) == 0 {
			dst = append(dst, drivers.Sample{Channel: "record", Time: now, Err: errors.New("there is no record yet")})
			return nil
		}
		add("record", drivers.String(newest[0].Name()+" "+newest[0].Text()))
		return nil
	})
	return dst, err
}

// Close implements drivers.Device.
func (auditReader) Close() error { return nil }

// auditPast gives the records as historical values.
type auditPast struct{ g *Gateway }

// maxAuditPast bounds the records of one read-out.
const maxAuditPast = 2000

// Past implements sensors.Journal.
func (p auditPast) Past(field string, from, to time.Time, most int) ([]history.Point, error) {
	if field != "record" {
		return nil, nil
	}
	if err := p.g.audit.FlushCommands(); err != nil {
		return nil, err
	}
	q := audit.Query{Since: from, Limit: min(most, maxAuditPast)}
	if !to.IsZero() {
		q.Before = to.Add(time.Nanosecond)
	}
	var out []history.Point
	err := p.g.db.View(func(tx *store.Tx) error {
		records, _ := audit.List(tx, q)
		for i := range records {
			e := &records[i]
			quality := live.AutomaticReadout
			if e.ClockUnset {
				quality |= live.TimeOffset
			}
			text := e.Name() + " " + e.Text()
			// A field has one value at an instant.
			if n := len(out) - 1; n >= 0 && out[n].Time.UnixMilli() == e.At.UnixMilli() {
				have, _ := out[n].Value.Text()
				out[n].Value = drivers.String(have + "; " + text)
				continue
			}
			out = append(out, history.Point{Time: e.At, Value: drivers.String(text), Quality: quality})
		}
		return nil
	})
	return out, err
}
