package provisioning

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"postern/xmpp"
	"postern/xmpp/disco"
)

// site answers disco: addresses with what they offer.
func site(w *world, offer map[string]string, items ...string) {
	w.answer = func(to, xml string) (string, error) {
		f, ok := offer[to]
		if !ok {
			return "", xmpp.NewError(xmpp.ServiceUnavailable, "")
		}
		if strings.Contains(xml, disco.NSItems) {
			var list []string
			for _, i := range items {
				list = append(list, "<item jid='"+i+"'/>")
			}
			return "<query xmlns='" + disco.NSItems + "'>" + strings.Join(list, "") + "</query>", nil
		}
		return "<query xmlns='" + disco.NSInfo + "'><identity category='component' type='generic'/><feature var='" + disco.NSInfo + "'/><feature var='" + f + "'/></query>", nil
	}
}

func TestFindingServices(t *testing.T) {
	own := jid.MustParse("device@a.example/x")
	for _, c := range []struct {
		name  string
		p     Places
		offer map[string]string
		want  string
	}{
		{"component search", Places{}, map[string]string{"a.example": disco.NSItems, "pubsub.a.example": "x", "reg.a.example": NSDiscovery}, "reg.a.example"},
		{"configured component first", Places{Component: "r.b.example"}, map[string]string{"r.b.example": NSDiscovery, "a.example": disco.NSItems, "reg.a.example": NSDiscovery}, "r.b.example"},
		{"without the feature it is passed over", Places{Component: "r.b.example", Account: "reg@a.example"}, map[string]string{"r.b.example": NS, "reg@a.example": NSDiscovery}, "reg@a.example"},
		{"subdomain", Places{Subdomain: "things", User: "reg"}, map[string]string{"things.a.example": NSDiscovery, "reg@a.example": NSDiscovery}, "things.a.example"},
		{"user", Places{User: "reg"}, map[string]string{"reg@a.example": NSDiscovery}, "reg@a.example"},
		{"the registry too", Places{Else: []jid.JID{jid.MustParse("r.b.example")}}, map[string]string{"r.b.example": NSDiscovery}, "r.b.example"},
		{"no items, no search", Places{}, map[string]string{"a.example": "x", "reg.a.example": NSDiscovery}, ""},
		{"accounts in the list are not asked", Places{}, map[string]string{"a.example": disco.NSItems, "evil@a.example": NSDiscovery}, ""},
		{"nothing", Places{}, nil, ""},
	} {
		w := newWorld(t)
		site(w, c.offer, "evil@a.example", "pubsub.a.example", "reg.a.example")
		got, err := Find(context.Background(), w, own, NSDiscovery, c.p)
		if got.String() != c.want || (c.want == "") != errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	if _, err := Find(context.Background(), newWorld(t), own, NS, Places{Account: "b.example"}); err == nil || errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}
