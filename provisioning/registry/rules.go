package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"postern/provisioning"
	"postern/xmpp"
)

// Action is what a rule is about.
type Action string

// The actions.
const (
	Read    Action = "read"
	Control Action = "control"
	Friend  Action = "friend" // to see the device's presence
)

// Everyone is the subject of rules for all requesters.
const Everyone = "*"

// Rule lets a subject do something with a device, or forbids it. The subject
// is a bare JID, a domain, everyone, or the holder of a token. Of the rules
// that say something about one node, name and type, or value, those for a
// person come before those for a domain, these before those for everyone, and
// newer ones before older ones; the first decides. What no rule decides is denied.
type Rule struct {
	ID      string // given by AddRule
	Device  string // bare JID
	Subject string // bare JID, domain, Everyone, or TokenPrefix with a token
	Action  Action
	Deny    bool               `json:",omitempty"`
	Nodes   []provisioning.Ref `json:",omitempty"` // patterns; empty: all
	Names   []string           `json:",omitempty"` // fields or parameters; empty: all
	Types   provisioning.Types `json:",omitempty"` // reading; 0: all
	// Range: control, values that it is about; nil: all. Values that are no
	// numbers are in no range.
	Range  *provisioning.ValueRange `json:",omitempty"`
	Since  time.Time                `json:",omitzero"`
	Until  time.Time                `json:",omitzero"`  // zero: for ever
	Once   bool                     `json:",omitempty"` // ends with the first answer it takes part in
	Number uint64                   // order of making
}

// active reports whether the rule says something at a time.
func (r *Rule) active(now time.Time) bool {
	return !now.Before(r.Since) && (r.Until.IsZero() || now.Before(r.Until))
}

// rank orders rules by their subject; ok is false when it is somebody else.
func (r *Rule) rank(who jid.JID) (rank int, ok bool) {
	switch r.Subject {
	case who.Bare().String():
		return 0, true
	case who.Domainpart():
		return 1, true
	case Everyone:
		return 2, true
	}
	return 0, false
}

// applicable returns the rules that say something about a request, the
// decisive ones first.
func applicable(rules []Rule, who jid.JID, a Action, now time.Time) []*Rule {
	var list []*Rule
	for i := range rules {
		r := &rules[i]
		if _, ok := r.rank(who); ok && r.Action == a && r.active(now) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(x, y *Rule) int {
		a, _ := x.rank(who)
		b, _ := y.rank(who)
		if a != b {
			return a - b
		}
		if x.Number > y.Number {
			return -1
		}
		return 1
	})
	return list
}

// ofToken returns the rules about whoever holds a token, newer ones first.
func ofToken(rules []Rule, token string, a Action, now time.Time) (list []*Rule) {
	for i := range rules {
		if r := &rules[i]; r.Subject == TokenPrefix+token && r.Action == a && r.active(now) {
			list = append(list, r)
		}
	}
	slices.Reverse(list)
	return list
}

// ErrRule says what is wrong with a rule.
var ErrRule = errors.New("registry: rule")

// Bounds of one rule.
const maxRuleParts = 64

func (r *Rule) check() error {
	dev, err := jid.Parse(r.Device)
	if err != nil || dev.Resourcepart() != "" {
		return fmt.Errorf("%w: device %q is not a bare JID", ErrRule, r.Device)
	}
	r.Device = dev.String()
	if t, ok := strings.CutPrefix(r.Subject, TokenPrefix); ok {
		if len(strings.Fields(t)) != 1 || r.Action == Friend {
			return fmt.Errorf("%w: %q is no token for reading or control", ErrRule, r.Subject)
		}
	} else if r.Subject != Everyone {
		j, err := jid.Parse(r.Subject)
		if err != nil || j.Resourcepart() != "" {
			return fmt.Errorf("%w: %q is neither a bare JID nor a domain nor %s", ErrRule, r.Subject, Everyone)
		}
		r.Subject = j.String()
	}
	switch r.Action {
	case Read:
	case Control, Friend:
		if r.Types != 0 {
			return fmt.Errorf("%w: only reading knows field types", ErrRule)
		}
	default:
		return fmt.Errorf("%w: the action is %s, %s or %s", ErrRule, Read, Control, Friend)
	}
	if r.Range != nil {
		if r.Action != Control {
			return fmt.Errorf("%w: only control knows ranges of values", ErrRule)
		}
		if err := r.Range.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrRule, err)
		}
	}
	if len(r.Nodes) > maxRuleParts || len(r.Names) > maxRuleParts {
		return fmt.Errorf("%w: at most %d nodes and names", ErrRule, maxRuleParts)
	}
	if slices.ContainsFunc(r.Nodes, func(n provisioning.Ref) bool { return n.ID == "" }) || slices.Contains(r.Names, "") {
		return fmt.Errorf("%w: a node or a name is empty", ErrRule)
	}
	if !r.Until.IsZero() && !r.Until.After(r.Since) {
		return fmt.Errorf("%w: it ends before it begins", ErrRule)
	}
	return nil
}

func (s *Server) loadRules(tx Tx) error {
	for e := range ruleBucket.All(tx) {
		if e.Err != nil {
			// A lost rule may have been a prohibition: nothing is allowed then.
			return fmt.Errorf("rule %q: %w", e.Key, e.Err)
		}
		s.rules[e.Value.Device] = append(s.rules[e.Value.Device], e.Value)
		s.nextRule = max(s.nextRule, e.Value.Number)
	}
	s.loadTokens(tx)
	if err := s.loadServices(tx); err != nil {
		return err
	}
	for e := range questionBucket.All(tx) {
		if e.Err == nil {
			s.questions[e.Key] = e.Value
		}
	}
	for e := range contactBucket.All(tx) {
		if e.Err == nil {
			c := e.Value
			s.contacts[e.Key] = &c
		}
	}
	return nil
}

// Rules returns the rules of a device, or all, oldest first.
func (s *Server) Rules(device string) []Rule {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Rule
	for d, rules := range s.rules {
		if device == "" || d == device {
			list = append(list, rules...)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Number < list[j].Number })
	return list
}

// AddRule checks, numbers and keeps a rule, and tells the device.
func (s *Server) AddRule(ctx context.Context, r Rule) (Rule, error) { return s.addRule(ctx, r, "") }

// addRule is AddRule; the question that the rule answers, if it does, is closed
// in the same commit.
func (s *Server) addRule(ctx context.Context, r Rule, question string) (Rule, error) {
	if err := r.check(); err != nil {
		return r, err
	}
	before := s.friends(r.Device, r.Subject)
	r, err := s.keepRule(r, question)
	if err != nil {
		return r, err
	}
	s.afterRule(ctx, r, before)
	return r, nil
}

func (s *Server) keepRule(r Rule, question string) (Rule, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	n := len(s.rules[r.Device])
	_, open := s.questions[question]
	s.mu.RUnlock()
	if question != "" && !open {
		return r, errClosed(question)
	}
	if n >= s.lim.RulesPerThing {
		return r, fmt.Errorf("%w: %s has %d already", ErrRule, r.Device, n)
	}
	r.Number = s.nextRule + 1
	r.ID = strconv.FormatUint(r.Number, 10)
	return r, s.commit([]string{r.Device}, func(tx Tx) error {
		if question != "" {
			if err := questionBucket.Delete(tx, question); err != nil {
				return err
			}
		}
		return ruleBucket.Put(tx, r.ID, r)
	}, func() {
		s.nextRule = r.Number
		delete(s.questions, question)
		s.rules[r.Device] = append(slices.Clone(s.rules[r.Device]), r)
	})
}

// afterRule tells a device what a changed rule means (0324-R42, R25).
func (s *Server) afterRule(ctx context.Context, r Rule, before bool) {
	s.pushClear(ctx, r.Device, s.cfg.Now())
	after := s.friends(r.Device, r.Subject)
	s.mu.RLock()
	c := s.contacts[r.Device]
	s.mu.RUnlock()
	if before == after || c == nil || !c.Asked {
		return
	}
	s.log.Info("a friendship is recommended or ended", "device", r.Device, "with", r.Subject, "end", before)
	st := xmpp.Stanza{Kind: xmpp.Message, ID: rand.Text(), To: address(r.Device), Payload: provisioning.Recommend{JID: address(r.Subject), Not: before}}
	if err := s.send(ctx, st); err != nil {
		s.log.Warn("a recommendation was not sent", "device", r.Device, "err", err)
	}
}

// RemoveRule forgets a rule and tells its device.
func (s *Server) RemoveRule(ctx context.Context, id string) error {
	r, before, err := s.takeRules(func(r *Rule) bool { return r.ID == id })
	if err != nil {
		return err
	}
	if len(r) == 0 {
		return fmt.Errorf("%w: there is none with the number %s", ErrRule, id)
	}
	s.afterRule(ctx, r[0], before[0])
	return nil
}

// takeRules forgets rules and returns them, with whether their subjects were
// friends of their devices.
func (s *Server) takeRules(which func(*Rule) bool) (gone []Rule, before []bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	for _, rules := range s.rules {
		for i := range rules {
			if which(&rules[i]) {
				gone = append(gone, rules[i])
			}
		}
	}
	s.mu.RUnlock()
	if len(gone) == 0 {
		return nil, nil, nil
	}
	var devices []string
	for i := range gone {
		before = append(before, s.friends(gone[i].Device, gone[i].Subject))
		devices = append(devices, gone[i].Device)
	}
	err = s.commit(devices, func(tx Tx) error {
		for i := range gone {
			if err := ruleBucket.Delete(tx, gone[i].ID); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for i := range gone {
			d := gone[i].Device
			left := slices.DeleteFunc(slices.Clone(s.rules[d]), func(r Rule) bool { return r.ID == gone[i].ID })
			if s.rules[d] = left; len(left) == 0 {
				delete(s.rules, d)
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return gone, before, nil
}

// replaceForgetting is replace for a thing that has no owner any more. When
// nothing of its device has one, what was decided about the device ends in the
// same commit. A thing that leaves (now is nil) is not told to clear its cache.
// s.writing is held.
func (s *Server) replaceForgetting(old, now *record) error {
	var devices []string
	if now != nil {
		devices = append(devices, now.JID)
	}
	s.mu.RLock()
	rules := s.rules[old.JID]
	var open []string
	for k, q := range s.questions {
		if q.Device == old.JID {
			open = append(open, k)
		}
	}
	for k, r := range s.byJID[old.JID] {
		if k != old.key() && r.Owner != "" {
			rules, open = nil, nil
			break
		}
	}
	s.mu.RUnlock()
	return s.commit(devices, func(tx Tx) error {
		for i := range rules {
			if err := ruleBucket.Delete(tx, rules[i].ID); err != nil {
				return err
			}
		}
		for _, k := range open {
			if err := questionBucket.Delete(tx, k); err != nil {
				return err
			}
		}
		return putOrDelete(tx, old, now)
	}, func() {
		if len(rules) > 0 {
			delete(s.rules, old.JID)
		}
		for _, k := range open {
			delete(s.questions, k)
		}
		s.index(old, now, true)
	})
}

// expireRules forgets rules that have ended, and announces those that begin or
// end: devices may hold answers from before.
func (s *Server) expireRules(ctx context.Context, now time.Time) {
	gone, before, err := s.takeRules(func(r *Rule) bool { return !r.Until.IsZero() && !now.Before(r.Until) })
	if err != nil {
		s.log.Error("ended rules cannot be removed", "err", err)
	}
	for i := range gone {
		s.afterRule(ctx, gone[i], before[i])
	}
	if err := s.noteBegun(now); err != nil {
		s.log.Error("that rules have begun cannot be kept", "err", err)
	}
}

// noteBegun marks the devices whose rules have begun since the last time that
// this worked; repeatNotices tells them.
func (s *Server) noteBegun(now time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	var begun []string
	for d, rules := range s.rules {
		for i := range rules {
			if since := rules[i].Since; since.After(s.ticked) && !since.After(now) {
				begun = append(begun, d)
			}
		}
	}
	s.mu.RUnlock()
	if len(begun) > 0 {
		if err := s.commit(begun, func(Tx) error { return nil }, func() {}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticked = now
	return nil
}

// owner returns who owns a device, or a node of it; empty for nobody.
func (s *Server) owner(device string, ref provisioning.Ref) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range []provisioning.Ref{ref, {}} {
		if r := s.things[keyOf(device, k)]; r != nil && r.Owner != "" {
			return r.Owner
		}
	}
	return ""
}

// friends reports whether somebody may be a friend of a device. A subject that
// is no person is nobody's friend.
func (s *Server) friends(device, who string) bool {
	j := address(who)
	if who == Everyone || strings.HasPrefix(who, TokenPrefix) || j.Localpart() == "" {
		return false
	}
	yes, _ := s.friendship(device, j)
	return yes
}

// MayBefriend answers "may somebody be a friend of a device?" for operators.
func (s *Server) MayBefriend(device string, who jid.JID) bool {
	yes, _ := s.friendship(device, who)
	return yes
}

// friendship decides by the rules about friends, else by whether anything else
// is allowed; known is false when no rule says anything.
func (s *Server) friendship(device string, who jid.JID) (yes, known bool) {
	if s.owner(device, provisioning.Ref{}) == who.Bare().String() {
		return true, true
	}
	s.mu.RLock()
	rules := s.rules[device]
	s.mu.RUnlock()
	now := s.cfg.Now()
	if f := applicable(rules, who, Friend, now); len(f) > 0 {
		return !f[0].Deny, true
	}
	for _, a := range []Action{Read, Control} {
		for _, r := range applicable(rules, who, a, now) {
			known = true
			yes = yes || !r.Deny
		}
	}
	return yes, known
}
