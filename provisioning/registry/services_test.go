package registry

import (
	"context"
	"slices"
	"strings"
	"testing"

	"postern/provisioning"
	"postern/xmpp"
)

// client is a service with its token.
func (w *wire) client(t *testing.T, addr string) provisioning.Service {
	t.Helper()
	e := w.end(addr)
	k := e.tokens(t)
	token, err := k.Fetch(t.Context(), w.l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return provisioning.Service{Session: e, Server: w.l.Addr(), Token: token, Tokens: k}
}

func shown(pairs ...string) (list []provisioning.Credential) {
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, provisioning.Credential{Kind: pairs[i], Value: pairs[i+1]})
	}
	return list
}

func Test0324R48R49R55_UsersOfServices(t *testing.T) {
	l := newLab(t)
	w := newWire(t, l)
	c := w.client(t, "portal@s.example/x")
	ctx := context.Background()
	ask := func(pairs ...string) string {
		t.Helper()
		token, err := c.Access(ctx, shown(pairs...))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if ask("jid", "anna@a.example") != "" {
		t.Error("an unknown service's user is let in")
	}
	put := func(s Service) Service {
		t.Helper()
		s.Name, s.Token = "portal", c.Token
		s, err := l.PutService(s)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	users := []User{
		{Name: "anna", Credentials: []string{"jid=anna@a.example"}, Privileges: []string{"-Reports.Energy.Delete", "Reports.Energy"}},
		{Name: "anna at home", Credentials: []string{"jid=anna@a.example", "ip4=192.0.2.7"}, Privileges: []string{"Reports"}},
		{Name: "gone", Credentials: []string{"userName=gone"}, Denied: true},
	}
	put(Service{Users: users})
	anna, home := ask("jid", "anna@a.example"), ask("ip4", "192.0.2.7", "jid", "anna@a.example", "protocol", "HTTPS")
	if anna == "" || home == "" || anna == home {
		t.Errorf("tokens %q and %q", anna, home)
	}
	if ask("userName", "gone") != "" || ask("jid", "nobody@a.example") != "" || ask("ip4", "192.0.2.7") != "" || ask() != "" {
		t.Error("somebody got in who must not")
	}
	// Unknown users get the default privileges, if there are any.
	put(Service{Users: users, Default: []string{"Public"}})
	guest := ask("jid", "nobody@a.example")
	if guest == "" || guest == anna || ask("userName", "gone") != "" {
		t.Errorf("a guest's token is %q", guest)
	}
	if again := ask("jid", "anna@a.example"); again != anna {
		t.Error("a user's token changes when the list does")
	}
	for id, want := range map[string]bool{"Public": true, "Public.News": true, "Publicity": false, "Reports.Energy": false} {
		if yes, err := c.HasPrivilege(ctx, guest, id); err != nil || yes != want {
			t.Errorf("guest, %s: %v, %v", id, yes, err)
		}
	}
	l.restart()
	l.SetSender(w)
	if ask("jid", "anna@a.example") != anna {
		t.Error("after a restart")
	}
}

func Test0324R51R52R53R54_Privileges(t *testing.T) {
	l := newLab(t)
	w := newWire(t, l)
	portal, shop := w.client(t, "portal@s.example/x"), w.client(t, "shop@s.example/x")
	ctx := context.Background()
	for name, c := range map[string]provisioning.Service{"portal": portal, "shop": shop} {
		list := []string{"-Databases.Energy.Delete", "Databases.Energy", "-Databases", "Databases.Other"}
		if name == "shop" {
			list = []string{"Databases.Other"}
		}
		if _, err := l.PutService(Service{Name: name, Token: c.Token, Users: []User{{Name: "u", Credentials: []string{"userName=u"}, Privileges: list}}}); err != nil {
			t.Fatal(err)
		}
	}
	user, err := portal.Access(ctx, shown("userName", "u"))
	if err != nil {
		t.Fatal(err)
	}
	buyer, err := shop.Access(ctx, shown("userName", "u"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := portal.Privileges(ctx, user)
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	for id, want := range map[string]bool{
		"Databases.Energy": true, "Databases.Energy.Read": true, "Databases.Energy.Delete": false, "Databases.Energy.Delete.All": false,
		"Databases.EnergyX": false, "Databases": false, "Databases.Other": false, "Other": false,
	} {
		yes, err := portal.HasPrivilege(ctx, user, id)
		if err != nil || yes != want || list.Allows(id) != want {
			t.Errorf("%s: %v and %v, want %v; %v", id, yes, list.Allows(id), want, err)
		}
	}
	// The same id means another thing at another service, and so does a user.
	if yes, _ := shop.HasPrivilege(ctx, buyer, "Databases.Other"); !yes {
		t.Error("the shop's own privilege")
	}
	if yes, _ := shop.HasPrivilege(ctx, user, "Databases.Other"); yes {
		t.Error("a user of another service")
	}
	if list, err := shop.Privileges(ctx, user); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for _, id := range []string{"", ".", "A.", ".A", "A..B", "A B"} {
		if _, err := portal.HasPrivilege(ctx, user, id); err == nil {
			t.Errorf("%q is taken as a privilege", id)
		}
	}
}

func Test0324R50R67_LoginsAndUnknownPrivileges(t *testing.T) {
	l := newLab(t)
	w := newWire(t, l)
	c := w.client(t, "portal@s.example/x")
	ctx := context.Background()
	if _, err := l.PutService(Service{Name: "portal", Token: c.Token, Users: []User{{Name: "u", Credentials: []string{"userName=u"}}}}); err != nil {
		t.Fatal(err)
	}
	user, err := c.Access(ctx, shown("userName", "u"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.LoggedIn(ctx, user, "U. Ser"); err != nil {
		t.Fatal(err)
	}
	if got := l.Services()[0].Users[0].LoggedIn; !got.Equal(l.clock()) {
		t.Errorf("logged in at %v", got)
	}
	// Whatever else is said is not answered.
	thief := c
	thief.Session = w.end("thief@t.example/x")
	thief.Tokens = nil
	if err := thief.LoggedIn(ctx, user, "Thief"); err != nil {
		t.Fatal(err)
	}
	if yes, err := thief.HasPrivilege(ctx, user, "A"); err != nil || yes {
		t.Errorf("%v, %v", yes, err)
	}
	// The operator sees what was asked for, within bounds; a thief adds nothing.
	for i := range 300 {
		if yes, err := c.HasPrivilege(ctx, user, "P"+strings.Repeat("x", i)); err != nil || yes {
			t.Fatalf("%v, %v", yes, err)
		}
	}
	if asked := l.Services()[0].Asked; len(asked) != maxAsked || asked[0] != "P" || slices.Contains(asked, "A") {
		t.Errorf("%d asked", len(asked))
	}
}

// The form of the XEP's example is taken beside that of its schema, and a
// list of privileges without its namespace.
func TestOldFormsOfServices(t *testing.T) {
	l := newLab(t, func(c *Config) { c.TrustTokens = true })
	w := newWire(t, l)
	c := w.client(t, "portal@s.example/x")
	if _, err := l.PutService(Service{Name: "portal", Token: c.Token, Users: []User{{Name: "u", Credentials: []string{"userName=u", "ip4=192.0.2.1"}}}}); err != nil {
		t.Fatal(err)
	}
	for _, inner := range []string{
		"<userName value='u'/><ip4 value='192.0.2.1'/>", "<credentials type='userName' value='u'/><credentials type='ip4' value='192.0.2.1'/>",
	} {
		c := w.end("raw@s.example/x")
		err := c.Query(t.Context(), xmpp.Stanza{Type: xmpp.Get, To: l.Addr(), Payload: xmppPayload(t, "<canAccess xmlns='"+provisioning.NS+"' serviceToken='"+w.l.Services()[0].Token+"'>"+inner+"</canAccess>")}, func(st *xmpp.Stanza) error {
			if v, _ := st.Child().Attr(attr("result")); !v.Is("true") {
				t.Errorf("%s: %v", inner, v)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
