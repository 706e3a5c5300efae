package control

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

// confirmName is the extra string parameter that carries a confirmation code.
// A node with a parameter of that name cannot ask for confirmation.
const confirmName = "confirm"

const (
	confirmLife    = 30 * time.Second
	confirmTries   = 3  // wrong codes until the question is void
	confirmPending = 64 // questions open at a time; the oldest gives way
)

// confirmations are the commands that wait for their second step: the first
// set is refused with a code, the second carries it. Any XEP-0325 client can
// do that.
type confirmations struct {
	mu   sync.Mutex
	open map[string]*question // by what is to be done
}

// question is a command that somebody has to confirm.
type question struct {
	code  string
	by    string // bare JID of who asked first
	until time.Time
	wrong int
	// outputs are what the command would set, to show that it waits.
	outputs []Output
}

// needsConfirm reports whether a write asks for confirmation, and whether from
// another person. Moves to the safe value never do.
func (j *job) needsConfirm() (needed, other bool) {
	for i := range j.writes {
		w := &j.writes[i]
		r := j.state.rules[w.output()]
		if r != nil && (r.Confirm || r.TwoPersons) && active(w.param, w.value) {
			needed, other = true, other || r.TwoPersons
		}
	}
	return needed, other
}

// asksConfirm reports whether any output of the nodes has the rule.
func (st *state) asksConfirm(nodes []*node.Node) bool {
	for _, n := range nodes {
		for i := range n.Parameters {
			if r := st.rules[Output{n.Ref, n.Parameters[i].Name}]; r != nil && (r.Confirm || r.TwoPersons) {
				return true
			}
		}
	}
	return false
}

// takeCode splits the confirmation code off the wants, where the nodes know of
// confirmation.
func takeCode(st *state, nodes []*node.Node, wants []want) (code string, rest []want) {
	if !st.asksConfirm(nodes) {
		return "", wants
	}
	rest = make([]want, 0, len(wants))
	for _, w := range wants {
		if w.name == confirmName && (w.kind == drivers.KindNone || w.kind == drivers.KindString) {
			code = strings.TrimSpace(w.text)
			continue
		}
		rest = append(rest, w)
	}
	return code, rest
}

// signature tells commands apart: the same writes in the same order.
func (j *job) signature() string {
	var b strings.Builder
	for i := range j.writes {
		w := &j.writes[i]
		fmt.Fprintf(&b, "%q %q %q\n", w.node.Ref.String(), w.param.Name, w.value.String())
	}
	return b.String()
}

// confirmed lets a job pass that needs no confirmation or carries the right
// code; else it says what to do.
func (s *Service) confirmed(j *job, bare string) *xmpp.Error {
	needed, other := j.needsConfirm()
	switch {
	case !needed, j.local && j.cmd.Origin != OriginSchedule:
		return nil
	case j.local: // a calendar reads no codes, and must not be a way around them
		return xmpp.NewError(xmpp.NotAllowed, "an output that asks for a second step cannot be switched on by a schedule")
	}
	c := &s.confirm
	c.mu.Lock()
	defer c.mu.Unlock()
	now := s.cfg.Now()
	for sig, q := range c.open {
		if now.After(q.until) {
			delete(c.open, sig)
		}
	}
	sig := j.signature()
	q := c.open[sig]
	switch {
	case j.code == "" && j.cmd.Origin == OriginMessage: // nobody would see the code
		return xmpp.NewError(xmpp.Conflict, "this has to be confirmed; ask for a code in an iq").WithType(xmpp.Wait)
	case j.code == "":
		j.asked = true
		return c.ask(sig, j, bare, other, now)
	case q == nil:
		return xmpp.NewError(xmpp.Conflict, "there is nothing to confirm any more; send the command without a code for a new one").WithType(xmpp.Wait)
	case other && q.by == bare:
		return xmpp.NewError(xmpp.Conflict, "somebody else has to confirm this").WithType(xmpp.Wait)
	case j.code != q.code:
		if q.wrong++; q.wrong >= confirmTries {
			delete(c.open, sig)
		}
		return refuse(xmpp.BadRequest, paramErrors{{confirmName, node.Verbatim("is not the code that was given")}})
	}
	delete(c.open, sig) // good for once
	if q.by != bare {
		j.cmd.For = q.by
	}
	return nil
}

// ask opens a question, or opens it anew with another code. c.mu is held.
func (c *confirmations) ask(sig string, j *job, bare string, other bool, now time.Time) *xmpp.Error {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return xmpp.NewError(xmpp.InternalServerError, "").WithType(xmpp.Wait)
	}
	if c.open[sig] == nil && len(c.open) >= confirmPending {
		var oldest string
		for s, q := range c.open {
			if oldest == "" || q.until.Before(c.open[oldest].until) {
				oldest = s
			}
		}
		delete(c.open, oldest)
	}
	q := &question{code: fmt.Sprintf("%06d", n), by: bare, until: now.Add(confirmLife), outputs: j.outputs()}
	c.open[sig] = q
	text := node.Phrasef("Send the same again within %d s with the string parameter %s = %s", seconds(confirmLife), confirmName, q.code)
	if other {
		text = node.Phrasef("Have somebody else send the same again within %d s with the string parameter %s = %s", seconds(confirmLife), confirmName, q.code)
	}
	return newRefusal(xmpp.Conflict, text, paramErrors{{confirmName, node.Verbatim(q.code)}}).WithType(xmpp.Wait)
}

// confirmField is the field for the code on forms of nodes that may ask.
func confirmField(page string) formField {
	return formField{page: page, param: node.Parameter{
		Name: confirmName, Kind: drivers.KindString, Label: "Confirmation code", Labels: map[string]string{german: "Bestätigungscode"},
		Doc: "Leave this out at first. The answer then names the code to confirm with.",
	}}
}

// confirmable checks that no node of a rule has a parameter of the same name.
func confirmable(n *node.Node, r Rules) bool {
	return !r.Confirm && !r.TwoPersons || !slices.ContainsFunc(n.Parameters, func(p node.Parameter) bool { return p.Name == confirmName })
}
