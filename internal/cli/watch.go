package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/internal/node"
	"postern/sensors"
	"postern/xmpp"
)

const watchHelp = `Usage: postern watch JID [NODE…] [flags]

Shows the fields of a thing as they change, until Ctrl-C. On a terminal it
keeps a table up to date; elsewhere it prints a line for each value that
changed. It survives the loss of the link.

A thing that sends events is read once, and then sends what changes; others
are read again and again.

  postern watch gateway@site.example
  postern watch gateway@site.example --field temperature --interval 10s --json

  --node, --source, --field, --type    as in postern read
  --poll             read again and again, whether there are events or not
  --interval TIME    how often (2s, at least 200ms); the same as --poll
  --count N          end after N read-outs and events
  --json             one JSON document a line for each of them; those of events
                     have only what came
` + commonHelp

// Watch shows the fields of a thing until ctx is done.
func Watch(ctx context.Context, e Env, args []string) int {
	err := e.watch(ctx, args)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // the operator ended it
	}
	return e.finish("watch", err)
}

const minInterval = 200 * time.Millisecond

// watcher is the state of a watch command.
type watcher struct {
	e        *Env
	c        *conn
	t        target
	timeout  time.Duration
	interval time.Duration
	count    int
	json     bool
	poll     bool

	sub    *subscription  // nil where the thing is polled
	told   sensors.Result // what is known, kept up to date by events
	full   jid.JID
	took   time.Duration     // the last read-out
	last   map[string]string // values shown, by node and field
	screen bool              // the screen holds our table
	lost   bool              // the last read-out failed
}

func (e *Env) watch(ctx context.Context, args []string) error {
	fs := newFlags("watch", watchHelp)
	var opt common
	var sel selection
	w := &watcher{e: e, last: map[string]string{}}
	fs.BoolVar(&w.poll, "poll", false, "")
	fs.DurationVar(&w.interval, "interval", 2*time.Second, "")
	fs.IntVar(&w.count, "count", 0, "")
	var err error
	if w.t, err = e.readArgs(fs, &opt, &sel, args); err == errHelp {
		return nil
	}
	if err != nil {
		return err
	}
	fs.Visit(func(f *flag.Flag) { w.poll = w.poll || f.Name == "interval" })
	if sel.from+sel.to != "" {
		return usagef("watch shows the present; postern read and plot take --from and --to")
	}
	if w.interval < minInterval || w.count < 0 {
		return usagef("--interval must be at least %v and --count not below 0", minInterval)
	}
	if err := e.target(&w.t, opt); err != nil {
		return err
	}
	w.timeout, w.json = opt.timeout, sel.json
	first, cancel := context.WithTimeout(ctx, w.timeout)
	l := link{account: w.t.account, verbose: opt.verbose, lasting: true}
	if w.poll = w.poll || w.t.req.Types&node.Historical != 0; !w.poll {
		w.sub = newSubscription(w.t.jid, w.t.events())
		l.events = w.sub
	}
	w.c, err = e.dial(first, l)
	cancel()
	if err != nil {
		return err
	}
	defer w.c.close()
	return w.run(ctx)
}

// run reads and shows until ctx is done. What goes wrong at the first read-out
// is final; later the link, or the thing, may come back.
func (w *watcher) run(ctx context.Context) error {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for n := 0; ; {
		res, err := w.readOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			n++
			if err := w.show(res); err != nil {
				return err
			}
			if n == w.count {
				return nil
			}
			if w.sub != nil {
				if done, err := w.listen(ctx, res, &n); done {
					return err
				}
			}
		case n == 0 || final(err):
			return err
		default:
			w.trouble(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// final reports whether trying again makes no sense.
func final(err error) bool {
	var f *failure
	return errors.As(err, &f) && (f.code == ExitDenied || f.code == ExitConfig || f.code == ExitUsage)
}

func (w *watcher) readOnce(ctx context.Context) (sensors.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	if w.full.Equal(jid.JID{}) || w.t.jid.Resourcepart() == "" && !w.c.finder.contacts.Available(w.full) {
		full, err := w.c.find(ctx, w.t.account, w.t.jid)
		if err != nil {
			return sensors.Result{}, err
		}
		w.full = full
	}
	start := time.Now()
	res, err := w.c.read(ctx, w.full, w.t.req, nil)
	if err != nil {
		return res, w.c.refusal(w.t.account, w.t.jid, err)
	}
	w.took = time.Since(start)
	return res, nil
}

// trouble says once that there is nothing new, and why.
func (w *watcher) trouble(err error) {
	text := clean(err.Error())
	if st := w.c.State(); st.Phase != xmpp.Online && !st.Retry.IsZero() {
		text += "; next attempt at " + st.Retry.Format("15:04:05")
	}
	switch {
	case w.screen:
		fmt.Fprintf(w.e.Stdout, "\x1b[H%s\x1b[K", red.apply(text))
	case !w.lost:
		fmt.Fprintf(w.e.Stderr, "postern watch: %s; waiting\n", text)
	}
	w.lost = true
}

func (w *watcher) show(res sensors.Result) error {
	defer w.remember(res)
	w.lost = false
	switch {
	case w.json:
		return writeJSONLine(w.e.Stdout, readoutJSON(w.full.String(), res, true))
	case w.e.OutTerminal != nil:
		return w.redraw(res)
	}
	return w.printChanges(res)
}

func fieldKey(f *sensors.Item) string { return f.Ref.String() + "\x00" + f.Name }

func (w *watcher) remember(res sensors.Result) {
	clear(w.last)
	for i := range res.Items {
		w.last[fieldKey(&res.Items[i])] = shownValue(&res.Items[i])
	}
}

// shownValue is what makes a change worth showing.
func shownValue(f *sensors.Item) string { return valueText(f) + "\x00" + qualityText(f.Quality) }

func (w *watcher) printChanges(res sensors.Result) error {
	for i := range res.Items {
		f := &res.Items[i]
		if w.last[fieldKey(f)] == shownValue(f) {
			continue
		}
		if _, err := fmt.Fprintln(w.e.Stdout, eventLine(f, time.Now())); err != nil {
			return err
		}
	}
	return writeFailures(w.e.Stdout, res.Faults)
}

// redraw brings the table on the screen up to date. Lines beyond the screen's
// height are left out and counted.
func (w *watcher) redraw(res sensors.Result) error {
	t := readoutTable(res, w.e.color())
	if len(w.last) > 0 && t.color {
		for i := range res.Items {
			if f := &res.Items[i]; w.last[fieldKey(f)] != shownValue(f) {
				t.rows[i+1][2].style = inverse
			}
		}
	}
	var b strings.Builder
	how := fmt.Sprintf("every %v, read in %v", w.interval, w.took.Round(100*time.Microsecond))
	if w.sub != nil {
		how = "events as they come"
	}
	fmt.Fprintf(&b, "%s  %s, Ctrl-C ends\n", clean(w.full.String()), how)
	if _, err := t.WriteTo(&b); err != nil {
		return err
	}
	if err := writeFailures(&b, res.Faults); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if rows, _, ok := w.e.OutTerminal(); ok && rows > 2 && len(lines) > rows-1 {
		left := len(lines) - (rows - 2)
		lines = append(lines[:rows-2], fmt.Sprintf("… and %d lines more; choose with --node and --field", left))
	}
	start := "\x1b[H"
	if !w.screen {
		start = "\x1b[2J\x1b[H"
		w.screen = true
	}
	_, err := fmt.Fprint(w.e.Stdout, start+strings.Join(lines, "\x1b[K\n")+"\x1b[K\n\x1b[J")
	return err
}
