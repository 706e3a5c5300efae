package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"postern/internal/node"
	"postern/internal/outbox"
	"postern/sensors"
	"postern/sensors/events"
	"postern/xmpp"
)

const subscribeHelp = `Usage: postern subscribe JID [NODE ...] [flags]

Has a thing send its readings as they come, and prints a line for each, until
Ctrl-C. Each message has a number; what is skipped or lost is told. It survives
the loss of the link, and unsubscribes at the end.

  postern subscribe gateway@site.example climate
  postern subscribe gateway@site.example climate --change temperature=0.5
  postern subscribe gateway@site.example --min 10s --max 15m --json
  postern subscribe gateway@site.example meter --keep

  --field F          only fields of this name; several times for several
  --change F=N       this field, only when it has changed by N, in its unit;
                     F=+N when it has risen by it, F=-N when it has fallen
  --min TIME         not more often than this, for each node
  --max TIME         at least this often, for each node, changed or not
  --keep             everything, and what is missed while the link is down comes
                     later, out of the thing's history; not with --change
  --type T           field types, as in postern read (momentary)
  --source S         the data source of the nodes, where it is needed
  --count N          end after N messages with readings
  --json             one JSON document a line for each message

An account has one subscription for the same nodes: that of another program of
this account ends.

` + commonHelp

// Subscribe shows the events of a thing until ctx is done.
func Subscribe(ctx context.Context, e Env, args []string) int {
	err := e.subscribe(ctx, args)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // the operator ended it
	}
	return e.finish("subscribe", err)
}

// eventOrder is what a subscribe command asks for.
type eventOrder struct {
	target
	opt   common
	req   events.Request
	count int
	json  bool
}

func (e *Env) subscribeArgs(args []string) (o eventOrder, err error) {
	fs := newFlags("subscribe", subscribeHelp)
	var fields, changes list
	var source, types string
	o.opt.add(fs)
	fs.Var(&fields, "field", "")
	fs.Var(&changes, "change", "")
	fs.StringVar(&source, "source", "", "")
	fs.StringVar(&types, "type", "momentary", "")
	fs.DurationVar(&o.req.Min, "min", 0, "")
	fs.DurationVar(&o.req.Max, "max", 0, "")
	fs.BoolVar(&o.req.Keep, "keep", false, "")
	fs.IntVar(&o.count, "count", 0, "")
	fs.BoolVar(&o.json, "json", false, "")
	rest, err := fs.parse(e, args)
	if err == nil {
		err = o.opt.check()
	}
	switch {
	case err != nil:
		return o, err
	case len(rest) == 0:
		return o, usagef("give the address of a thing, and nodes if not all: gateway@site.example climate")
	case o.req.Min < 0 || o.req.Max < 0 || o.count < 0:
		return o, usagef("--min, --max and --count must not be below 0")
	case o.req.Max > 0 && o.req.Max < o.req.Min:
		return o, usagef("--max %v is shorter than --min %v", o.req.Max, o.req.Min)
	case o.req.Keep && len(changes) > 0:
		return o, usagef("--keep is for everything; it has no use for --change")
	}
	if o.req.Types, err = parseTypes(types); err != nil {
		return o, err
	}
	o.req.Nodes, o.req.Now = refs(rest[1:], source), true
	for _, name := range fields {
		o.req.Fields = append(o.req.Fields, events.Field{Name: name})
	}
	for _, c := range changes {
		f, err := parseChange(c)
		if err != nil {
			return o, err
		}
		o.req.Fields = append(o.req.Fields, f)
	}
	o.address = rest[0]
	return o, e.target(&o.target, o.opt)
}

// parseChange reads FIELD=N, FIELD=+N and FIELD=-N.
func parseChange(s string) (events.Field, error) {
	name, text, ok := strings.Cut(s, "=")
	n, err := strconv.ParseFloat(text, 64)
	if !ok || name == "" || err != nil || n == 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return events.Field{}, usagef("--change %q is not FIELD=NUMBER, such as temperature=0.5", s)
	}
	f := events.Field{Name: name}
	if !strings.HasPrefix(text, "-") {
		f.Up = n
	}
	if !strings.HasPrefix(text, "+") {
		f.Down = math.Abs(n)
	}
	return f, nil
}

// subscriber shows events.
type subscriber struct {
	e     *Env
	o     *eventOrder
	s     *subscription
	line  seqLine
	shown int
	quiet bool // that something is wrong was told
}

// errEnough ends a command after --count.
var errEnough = errors.New("enough")

func (e *Env) subscribe(ctx context.Context, args []string) error {
	o, err := e.subscribeArgs(args)
	if err == errHelp {
		return nil
	}
	if err != nil {
		return err
	}
	w := &subscriber{e: e, o: &o, s: newSubscription(o.jid, o.req)}
	first, cancel := context.WithTimeout(ctx, o.opt.timeout)
	defer cancel()
	c, err := e.dial(first, link{account: o.account, verbose: o.opt.verbose, lasting: true, events: w.s})
	if err != nil {
		return err
	}
	defer c.close()
	if err := w.s.begin(first); err != nil {
		return w.refused(err)
	}
	defer w.s.end()
	if e.ErrTerminal && !o.json {
		fmt.Fprintf(e.Stderr, "subscribed at %s; Ctrl-C ends\n", clean(w.s.full.String()))
	}
	err = w.s.run(ctx, o.opt.timeout, hooks{
		got:     w.show,
		again:   func() error { w.quiet = false; w.tell("subscribed again"); return nil },
		trouble: w.trouble,
		tick:    func() error { return nil }, every: time.Hour,
	})
	if err == errEnough {
		return nil
	}
	return err
}

// refused turns what went wrong into an exit code and advice.
func (w *subscriber) refused(err error) error {
	var e *xmpp.Error
	switch {
	case errors.Is(err, errNoEvents):
		return &failure{code: ExitFailure, msg: w.o.jid.String(), err: err, hint: "postern watch --poll reads it again and again instead"}
	case errors.Is(err, errOffline), errors.Is(err, errPending), errors.Is(err, errRefused):
		return w.s.c.findFailure(w.o.account, w.o.jid, err)
	case errors.As(err, &e) && e.Condition == xmpp.SubscriptionRequired:
		return &failure{code: ExitDenied, msg: w.o.jid.String(), err: errors.New(plainWords(e)),
			hint: "it has not asked, or what it asked is answered by another program of this account; try again there"}
	}
	return w.s.c.refusal(w.o.account, w.o.jid, err)
}

// trouble says once that the subscription is lost, and why.
func (w *subscriber) trouble(err error) {
	if !w.quiet {
		w.tell(w.refused(err).Error() + "; waiting")
	}
	w.quiet = true
}

// tell writes a remark beside the events.
func (w *subscriber) tell(text string) {
	fmt.Fprintf(w.e.Stderr, "postern subscribe: %s\n", clean(text))
}

func (w *subscriber) show(d events.Delivery) error {
	if w.s.lost.Swap(false) {
		w.tell("messages came faster than they could be shown; those with numbers come again")
	}
	if w.line.boot != "" && d.Ended() {
		return &failure{code: ExitDenied, msg: w.s.full.String(), err: errors.New("the thing has ended the subscription: " + d.Faults[0].Text)}
	}
	from, to, restarted := uint64(0), uint64(0), false
	if d.Seq.Boot != "" {
		from, to, restarted = w.line.next(d.Seq)
	}
	ours := d.Sub == w.s.req.Seq && len(d.Items)+len(d.Faults) > 0
	if ours {
		w.shown++
	}
	var err error
	if w.o.json {
		if ours || d.Gap != nil || d.Command != nil {
			err = writeJSONLine(w.e.Stdout, w.document(&d, from, to))
		}
	} else {
		err = w.print(&d, ours, from, to, restarted)
	}
	if err == nil && w.o.count > 0 && w.shown == w.o.count {
		return errEnough
	}
	return err
}

func (w *subscriber) print(d *events.Delivery, ours bool, from, to uint64, restarted bool) error {
	var b strings.Builder
	now := time.Now()
	if restarted {
		b.WriteString("-- the thing was started anew, and numbers its messages from 1\n")
	}
	switch {
	case from == 0:
	case from == to:
		fmt.Fprintf(&b, "-- message #%d has not come\n", from)
	default:
		fmt.Fprintf(&b, "-- messages #%d to #%d have not come\n", from, to)
	}
	number := ""
	if d.Seq.Boot != "" {
		number = fmt.Sprintf("#%d  ", d.Seq.N)
	}
	if ours {
		for i := range d.Items {
			b.WriteString(number + eventLine(&d.Items[i], now) + "\n")
		}
		for _, f := range d.Faults {
			b.WriteString(number + clean(f.Ref.String()) + ": " + clean(f.Text) + "\n")
		}
	}
	if d.Gap != nil {
		b.WriteString(number + gapText(d.Gap, now) + "\n")
	}
	if d.Command != nil {
		b.WriteString(number + timeText(d.Command.At, now) + "  " + commandText(d.Command) + "\n")
	}
	_, err := fmt.Fprint(w.e.Stdout, b.String())
	return err
}

type jsonEvent struct {
	Version  int           `json:"version"`
	Thing    string        `json:"thing"`
	N        uint64        `json:"n,omitempty"` // no number: the thing gives none
	Boot     string        `json:"boot,omitempty"`
	Skipped  []uint64      `json:"skipped,omitempty"` // first and last
	Fields   []jsonField   `json:"fields,omitempty"`
	Failures []jsonFailure `json:"failures,omitempty"`
	Gap      *jsonGap      `json:"gap,omitempty"`
	Command  *jsonCommand  `json:"command,omitempty"`
}

type jsonGap struct {
	Why   string   `json:"why"`
	Class string   `json:"class"`
	From  string   `json:"from,omitempty"`
	To    string   `json:"to,omitempty"`
	Count uint64   `json:"count,omitempty"`
	First *jsonSeq `json:"first,omitempty"`
	Last  *jsonSeq `json:"last,omitempty"`
}

type jsonSeq struct {
	N    uint64 `json:"n"`
	Boot string `json:"boot"`
}

type jsonCommand struct {
	At      string            `json:"at"`
	Outcome string            `json:"outcome"`
	Origin  string            `json:"origin,omitempty"`
	From    string            `json:"from,omitempty"`
	Error   string            `json:"error,omitempty"`
	Nodes   []jsonNode        `json:"nodes,omitempty"`
	Set     map[string]string `json:"set,omitempty"`
}

func (w *subscriber) document(d *events.Delivery, from, to uint64) jsonEvent {
	out := jsonEvent{Version: formatVersion, Thing: w.s.full.String(), N: d.Seq.N, Boot: d.Seq.Boot}
	if from > 0 {
		out.Skipped = []uint64{from, to}
	}
	if d.Sub == w.s.req.Seq {
		r := readoutJSON("", sensors.Result{Items: d.Items, Faults: d.Faults}, true)
		out.Fields, out.Failures = r.Fields, r.Failures
	}
	if g := d.Gap; g != nil {
		out.Gap = &jsonGap{Why: g.Why, Class: g.Class.String(), From: stampText(g.From, false), To: stampText(g.To, false), Count: g.Count, First: seqJSON(g.First), Last: seqJSON(g.Last)}
	}
	if c := d.Command; c != nil {
		j := &jsonCommand{At: stampText(c.At, false), Outcome: c.Outcome, Origin: c.Origin, From: c.From, Error: c.Error, Set: map[string]string{}}
		for _, n := range c.Nodes {
			j.Nodes = append(j.Nodes, nodeJSON(n))
		}
		for _, s := range c.Set {
			j.Set[s.Name] = s.Value
		}
		out.Command = j
	}
	return out
}

func seqJSON(s outbox.Seq) *jsonSeq {
	if s.Boot == "" {
		return nil
	}
	return &jsonSeq{s.N, s.Boot}
}

// parseTypes reads the names of field types, with commas between them.
func parseTypes(text string) (all node.Types, err error) {
	for name := range strings.SplitSeq(text, ",") {
		t, ok := node.ParseType(strings.TrimSpace(name))
		if !ok {
			return 0, usagef("--type %q is no field type; there are: all historical %s", name, node.All)
		}
		all |= t
	}
	return all, nil
}
