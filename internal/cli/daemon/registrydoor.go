package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/local"
	"postern/internal/node"
	"postern/provisioning"
	"postern/provisioning/registry"
	"postern/xmpp"
)

// registryDoor serves a registry's part of the local door, for postern
// registry and for the hub.
func registryDoor(svc *registry.Server) map[string]local.Handler {
	d := door{svc}
	return map[string]local.Handler{
		"POST /v1/rules/list": d.rules, "POST /v1/rules": d.addRule, "DELETE /v1/rules": d.removeRule,
		"POST /v1/may": d.may, "GET /v1/questions": d.questions, "POST /v1/questions": d.decide,
		"POST /v1/things":  d.things,
		"GET /v1/services": d.services, "PUT /v1/services": d.putService, "DELETE /v1/services": d.removeService,
	}
}

type door struct{ svc *registry.Server }

func registryStatus(svc *registry.Server) *local.Registry {
	s := svc.Stats()
	return &local.Registry{
		Domain: svc.Addr().String(), Connected: true,
		Things: s.Things, Claimed: s.Claimed, Listed: s.Listed, Devices: s.Devices, Behind: s.Behind,
		Rules: s.Rules, Questions: s.Questions, ClaimsRefused: s.ClaimsRefused,
	}
}

func (d door) rules(_ context.Context, r *local.Request) (any, error) {
	var q local.May
	if err := r.Body(&q); err != nil {
		return nil, err
	}
	out := []local.Rule{}
	for _, x := range d.svc.Rules(q.Device) {
		out = append(out, localRule(x))
	}
	return out, nil
}

func localRule(x registry.Rule) local.Rule {
	values := ""
	if x.Range != nil {
		values = x.Range.String()
	}
	return local.Rule{
		ID: x.ID, Device: x.Device, Subject: x.Subject, Action: string(x.Action), Deny: x.Deny,
		Nodes: localRefs(x.Nodes), Names: x.Names, Types: strings.Fields(x.Types.String()), Range: values, Since: x.Since, Until: x.Until, Once: x.Once,
	}
}

func localRefs(refs []provisioning.Ref) (out []local.NodeRef) {
	for _, r := range refs {
		out = append(out, local.NodeRef(r))
	}
	return out
}

func refsOf(refs []local.NodeRef) (out []provisioning.Ref) {
	for _, r := range refs {
		out = append(out, provisioning.Ref(r))
	}
	return out
}

func typesOf(names []string) (t provisioning.Types, err error) {
	for _, n := range names {
		one, ok := node.ParseType(n)
		if !ok {
			return 0, &local.Error{Status: local.StatusBadRequest, Text: fmt.Sprintf("%q is no field type; they are %s", n, node.All)}
		}
		t |= one
	}
	return t, nil
}

func (d door) addRule(ctx context.Context, r *local.Request) (any, error) {
	var q local.Rule
	if err := r.Body(&q); err != nil {
		return nil, err
	}
	types, err := typesOf(q.Types)
	if err != nil {
		return nil, err
	}
	var values *node.Range
	if q.Range != "" {
		v, err := node.ParseRange(q.Range)
		if err != nil {
			return nil, &local.Error{Status: local.StatusBadRequest, Text: err.Error()}
		}
		values = &v
	}
	x, err := d.svc.AddRule(ctx, registry.Rule{
		Device: q.Device, Subject: q.Subject, Action: registry.Action(q.Action), Deny: q.Deny, Nodes: refsOf(q.Nodes),
		Names: q.Names, Types: types, Range: values, Since: q.Since, Until: q.Until, Once: q.Once,
	})
	if err != nil {
		return nil, err
	}
	return localRule(x), nil
}

func (d door) removeRule(ctx context.Context, r *local.Request) (any, error) {
	var q local.Rule
	if err := r.Body(&q); err != nil {
		return nil, err
	}
	return struct{}{}, d.svc.RemoveRule(ctx, q.ID)
}

func (d door) may(_ context.Context, r *local.Request) (any, error) {
	var q local.May
	if err := r.Body(&q); err != nil {
		return nil, err
	}
	who, err := xmpp.ParseJID(q.Subject)
	if err != nil {
		return nil, &local.Error{Status: local.StatusBadRequest, Text: fmt.Sprintf("%q is no address", q.Subject)}
	}
	dev, err := xmpp.ParseJID(q.Device)
	if err != nil {
		return nil, &local.Error{Status: local.StatusBadRequest, Text: fmt.Sprintf("%q is no address", q.Device)}
	}
	types, err := typesOf(q.Types)
	if err != nil {
		return nil, err
	}
	device := dev.Bare().String()
	switch registry.Action(q.Action) {
	case registry.Friend:
		return local.Verdict{Allowed: d.svc.MayBefriend(device, who)}, nil
	case registry.Read, registry.Control:
	default:
		return nil, &local.Error{Status: local.StatusBadRequest, Text: "the action is read, control or friend"}
	}
	a := d.svc.May(device, provisioning.Question{Control: q.Action == string(registry.Control), JID: who.Bare(), Nodes: refsOf(q.Nodes), Names: q.Names, Types: types, Ranges: true})
	v := local.Verdict{Allowed: a.Result, Nodes: localRefs(a.Nodes), Names: a.Names, Types: strings.Fields(a.Types.String())}
	for _, p := range a.Values {
		if v.Values == nil {
			v.Values = make(map[string]string)
		}
		v.Values[cmp.Or(p.Name, "*")] = p.Values.String()
	}
	return v, nil
}

func (d door) questions(context.Context, *local.Request) (any, error) {
	out := []local.Question{}
	for _, q := range d.svc.Questions() {
		out = append(out, local.Question{ID: q.ID, Asked: q.Asked, Owner: d.svc.Owner(q.Device, q.Nodes), May: local.May{
			Device: q.Device, Subject: q.Who, Action: string(q.Action), Nodes: localRefs(q.Nodes), Names: q.Names, Types: strings.Fields(q.Types.String()),
		}})
	}
	return out, nil
}

func (d door) decide(ctx context.Context, r *local.Request) (any, error) {
	var q local.Decision
	if err := r.Body(&q); err != nil {
		return nil, err
	}
	v := registry.Verdict(q.Decision)
	if !v.Valid() {
		return nil, &local.Error{Status: local.StatusBadRequest, Text: fmt.Sprintf("%q is no decision; they are yes-once, yes, yes-domain, no, no-domain", q.Decision)}
	}
	return struct{}{}, d.svc.Decide(ctx, q.ID, v)
}

// thingsPage is how many things one answer holds.
const thingsPage = 1000

func (d door) things(_ context.Context, r *local.Request) (any, error) {
	var q local.ThingsPage
	if err := r.Body(&q); err != nil {
		return nil, err
	}
	list, next := d.svc.Things(q.Owner, q.After, thingsPage)
	out := local.Things{Things: []local.Thing{}, Next: next}
	for _, t := range list {
		lt := local.Thing{JID: t.JID, Node: local.NodeRef(t.Ref), Owner: t.Owner, Private: t.Private, Removed: t.Removed, Claimed: t.Claimed, Online: t.Online}
		for _, g := range t.Tags {
			lt.Tags = append(lt.Tags, local.Tag{Name: g.Name, Value: g.Value, Numeric: g.Numeric})
		}
		out.Things = append(out.Things, lt)
	}
	return out, nil
}

var errNoState = errors.New("there is no state of a registry")

func (d door) services(context.Context, *local.Request) (any, error) {
	return append([]registry.Service{}, d.svc.Services()...), nil
}

func (d door) putService(_ context.Context, r *local.Request) (any, error) {
	var x registry.Service
	if err := r.Body(&x); err != nil {
		return nil, err
	}
	return d.svc.PutService(x)
}

func (d door) removeService(_ context.Context, r *local.Request) (any, error) {
	var x struct{ Name string }
	if err := r.Body(&x); err != nil {
		return nil, err
	}
	return struct{}{}, d.svc.RemoveService(x.Name)
}
