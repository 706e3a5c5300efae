package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/sensors"
	"postern/sensors/events"
)

// rereadEvery is how often a thing that sends events is read all the same: what
// it measures only when asked does not come by itself, and another program of
// the same account may have taken the subscription over.
const rereadEvery = 30 * time.Second

// quietFor is by how much a read-out may be newer than what events told.
const quietFor = 10 * time.Second

// events asks for what a read-out would give, as it comes.
func (t *target) events() events.Request {
	r := events.Request{Types: t.req.Types, Nodes: t.req.Nodes}
	for _, name := range t.req.Fields {
		r.Fields = append(r.Fields, events.Field{Name: name})
	}
	return r
}

// errQuiet: read-outs bring what events should have told.
var errQuiet = errors.New("no events come: another program of this account may have taken the subscription")

// listen shows events on top of a read-out. done is false where the thing has
// to be polled instead.
func (w *watcher) listen(ctx context.Context, res sensors.Result, n *int) (done bool, err error) {
	begin, cancel := context.WithTimeout(ctx, w.timeout)
	err = w.sub.begin(begin)
	cancel()
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	if err != nil { // it has no events, or not for us
		w.sub = nil
		return false, nil
	}
	sub := w.sub
	defer sub.end()
	w.told = res
	missed := 0
	reread := func() error {
		res, err := w.readOnce(ctx)
		if err != nil {
			if ctx.Err() != nil || final(err) {
				return err
			}
			w.trouble(err)
			return nil
		}
		if missed++; !w.behind(&res) {
			missed = 0
		}
		w.told = res
		if err := w.show(res); err != nil {
			return err
		}
		if missed == 2 {
			return errQuiet
		}
		return nil
	}
	err = w.sub.run(ctx, w.timeout, hooks{
		got:     func(d events.Delivery) error { return w.event(&d, n) },
		again:   reread,
		trouble: func(err error) { w.trouble(w.c.refusal(w.t.account, w.t.jid, err)) },
		tick:    reread, every: rereadEvery,
	})
	switch err {
	case errEnough:
		return true, nil
	case errQuiet:
		fmt.Fprintf(w.e.Stderr, "postern watch: %v; reading every %v instead\n", err, w.interval)
		w.sub = nil
		return false, nil
	}
	return true, err
}

// behind reports whether a read-out has newer readings than events told.
func (w *watcher) behind(res *sensors.Result) bool {
	known := map[string]time.Time{}
	for i := range w.told.Items {
		known[fieldKey(&w.told.Items[i])] = w.told.Items[i].Time
	}
	for i := range res.Items {
		f := &res.Items[i]
		if at, ok := known[fieldKey(f)]; ok && f.Time.Sub(at) > quietFor && w.last[fieldKey(f)] != shownValue(f) {
			return true
		}
	}
	return false
}

// event brings what is shown up to date.
func (w *watcher) event(d *events.Delivery, n *int) error {
	if d.Sub != w.sub.req.Seq || len(d.Items)+len(d.Faults) == 0 {
		return nil
	}
	if d.Ended() {
		return errQuiet // a read-out says why
	}
	res := sensors.Result{Items: d.Items, Faults: d.Faults}
	index := map[string]int{}
	for i := range w.told.Items {
		index[fieldKey(&w.told.Items[i])] = i
	}
	for i := range d.Items {
		if at, ok := index[fieldKey(&d.Items[i])]; ok {
			w.told.Items[at] = d.Items[i]
		} else {
			w.told.Items = append(w.told.Items, d.Items[i])
		}
	}
	w.told.Faults = d.Faults
	if !w.json {
		res = w.told
	}
	if err := w.show(res); err != nil {
		return err
	}
	if *n++; *n == w.count {
		return errEnough
	}
	return nil
}
