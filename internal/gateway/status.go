package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/internal/live"
	"postern/internal/local"
	"postern/internal/node"
	"postern/internal/store"
	"postern/xmpp"
	"postern/xmpp/compress"
)

// Status tells how the gateway is. It is safe for concurrent use.
func (g *Gateway) Status() local.Status {
	g.mu.Lock()
	cfg, t := g.cfg, g.tree
	g.mu.Unlock()
	now := time.Now()
	s := local.Status{
		Role: "gateway", Version: g.opt.Version, PID: os.Getpid(), Started: g.started, Now: now,
		Config: cfg.File, Memory: Memory(), Machine: g.hw.plant.place.machine(),
	}
	conn := connection(g.session, cfg.Account.JID)
	if g.exi == nil {
		conn.EncodingNote = "EXI is switched off"
	} else if st := g.exi.Status(); !st.On {
		conn.EncodingNote = st.Reason
	} else if conn.Encoding == "exi" {
		conn.EXI = exiStatus(st)
	}
	gw := &local.Gateway{Connection: conn, Nodes: []local.Node{}}
	for _, n := range t.Nodes() {
		if n.Ref == auditNode {
			continue // no device of the configuration
		}
		ns := g.nodeStatus(n, now)
		gw.Simulated = gw.Simulated || ns.Simulated
		gw.Nodes = append(gw.Nodes, ns)
	}
	gw.History = g.historyStatus()
	gw.Outbox = g.subscribersStatus()
	if g.pairing != nil {
		gw.Provisioning = g.pairing.status()
	}
	s.Gateway = gw
	s.Problems = problems(gw)
	if g.volatile != nil {
		s.Problems = append(s.Problems, g.volatile.Error()+"; nothing outlives this run and commands are refused: make it writable and restart")
	}
	if g.db != nil {
		if r := g.db.Repaired(); !r.At.IsZero() {
			s.Problems = append(s.Problems, repaired(r))
		}
	}
	s.Healthy = len(s.Problems) == 0
	return s
}

// repaired tells about damage of the state file that was met while it was open.
func repaired(r store.Repair) string {
	at := r.At.Format(time.RFC3339)
	if r.Err != nil {
		return fmt.Sprintf("state: the file was found damaged at %s and cannot be repaired: %v; replace the card or disk", at, r.Err)
	}
	return fmt.Sprintf("state: the file was found damaged at %s and is put aside as %s; %d values are saved; if it comes again, replace the card or disk; a restart clears this", at, r.Aside, r.Saved)
}

// exiStatus shows how the stream is compressed.
func exiStatus(st compress.Status) *local.EXI {
	e := &local.EXI{
		Dedicated: st.Port, Options: st.Params.Names(), Schemas: []string{},
		In: st.In, Out: st.Out, XMLIn: st.XMLIn, XMLOut: st.XMLOut,
	}
	for _, r := range st.Schemas {
		e.Schemas = append(e.Schemas, r.NS)
	}
	return e
}

// connection shows a session.
func connection(sess *xmpp.Session, account string) local.Connection {
	st, n := sess.State(), sess.Stats()
	c := local.Connection{
		Phase: st.Phase.String(), Since: st.Since, Account: account, Server: st.Addr, TLS: st.TLS,
		Mechanism: st.Mechanism, Encoding: st.Codec, Resumable: st.Resumable,
		In: n.In, Out: n.Out, Unacked: n.Unacked, Queued: n.Queued, Overflow: n.Overflow,
		Connects: n.Connects, Resumes: n.Resumes,
	}
	if !st.JID.Equal(jid.JID{}) {
		c.JID = st.JID.String()
	}
	if st.Err != nil && st.Phase != xmpp.Online {
		c.Error = st.Err.Error()
	}
	if !st.Retry.IsZero() {
		c.Retry = &st.Retry
	}
	return c
}

func (g *Gateway) nodeStatus(n *node.Node, now time.Time) local.Node {
	out := local.Node{ID: n.ID, Label: n.Label, Fields: []local.Field{}}
	if d := g.hw.get(n.Device); d != nil {
		out.Kind, out.Simulated = d.node.Kind, d.simulated
		if d.slot != nil {
			out.Error = d.slot.failure()
		}
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		if static(f) {
			continue
		}
		lf := local.Field{Name: f.Name, Unit: f.Unit, Writable: n.Parameter(f.Name) != nil}
		if f.Constant() {
			lf.Value = f.Const.String()
		} else if rd, ok := g.live.Get(n.Ref, f.Name); ok {
			reading(&lf, rd, now)
		}
		out.Fields = append(out.Fields, lf)
	}
	return out
}

// static reports whether a field says what or how the device is, which the
// status and the explanation say of the node as a whole.
func static(f *node.Field) bool { return f.State || f.Constant() && f.Types == node.Identity }

func reading(f *local.Field, rd live.Reading, now time.Time) {
	if rd.Value.Kind() != drivers.KindNone {
		f.Value = rd.Value.String()
	}
	if rd.Unit != "" {
		f.Unit = rd.Unit
	}
	at := rd.Time
	f.Time, f.Quality, f.Stale = &at, rd.Quality.String(), !rd.Fresh(now)
	if rd.Err != nil {
		f.Error = rd.Err.Error()
	}
}

// problems says what needs a person.
func problems(gw *local.Gateway) []string {
	var out []string
	if c := gw.Connection; c.Phase != "online" {
		p := "not connected"
		if c.Phase != "held" {
			p += ": " + c.Phase
		}
		if c.Error != "" {
			p += ": " + c.Error
		}
		if c.Phase == "held" {
			p += "; restart the gateway once that is mended"
		}
		out = append(out, p)
	}
	if h := gw.History; h != nil && h.Error != "" {
		out = append(out, "history: "+h.Error+"; readings wait in memory: see that there is room on the disk")
	}
	if p := gw.Provisioning; p != nil && p.Error != "" && gw.Connection.Phase == "online" {
		out = append(out, p.Error)
	}
	for _, n := range gw.Nodes {
		bad := 0
		first := ""
		for _, f := range n.Fields {
			if f.Error != "" {
				if bad++; first == "" {
					first = f.Error
				}
			}
		}
		switch {
		case n.Error != "":
			out = append(out, fmt.Sprintf("node %s: %s", n.ID, n.Error))
		case bad > 0:
			out = append(out, fmt.Sprintf("node %s: %d of %d fields: %s", n.ID, bad, len(n.Fields), first))
		}
	}
	return out
}

// Memory tells what this process uses.
func Memory() local.Memory {
	m := local.Memory{Limit: debug.SetMemoryLimit(-1), Anonymous: procKB("/proc/self/status", "RssAnon:") << 10}
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(s)
	for i, to := range []*uint64{&m.Heap, &m.Goroutines} {
		if s[i].Value.Kind() == metrics.KindUint64 {
			*to = s[i].Value.Uint64()
		}
	}
	return m
}

// procKB returns a number of a file of the form "Name:   123 kB"; 0 when it is
// not there.
func procKB(file, name string) uint64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), name); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n
		}
	}
	return 0
}
