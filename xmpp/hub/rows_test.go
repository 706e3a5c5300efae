package hub

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/store"
)

func TestCoreR25R75_FeaturesFollowEachHeader(t *testing.T) {
	x := newSite(t)
	p := x.secure() // reads the features of the first and second stream
	if got := p.auth("anna", "anna"); !strings.HasPrefix(got, "<success") {
		t.Fatal(got)
	}
	// Nothing comes before the client's new header: were it there, Open would
	// read it instead of the answering header.
	p.open()
	p.expect("<stream:features", "<bind")
}

func Test0198R01_ManagementIsOfferedBesideBinding(t *testing.T) {
	x := newSite(t)
	p := x.dial()
	p.open()
	if got := p.expect("<stream:features"); strings.Contains(got, "urn:xmpp:sm:3") {
		t.Errorf("offered before login: %s", got)
	}
	q := x.secure()
	if got := q.auth("anna", "anna"); !strings.HasPrefix(got, "<success") {
		t.Fatal(got)
	}
	q.open()
	q.expect("urn:xmpp:sm:3", "<bind")
}

func Test0198R30_ResumptionOfWhatIsUnknown(t *testing.T) {
	x := newSite(t)
	p := x.authenticated("anna")
	p.send("<resume xmlns='urn:xmpp:sm:3' previd='never-given' h='0'/>")
	p.expect("<failed", "item-not-found")
	// The stream goes on with binding (0198-R31).
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	p.expect("type='result'", "<jid>anna@"+domain+"/")
}

func TestCoreR107_NothingBeforeTheBindResult(t *testing.T) {
	x := newSite(t)
	ben := x.online("ben", "b")
	p := x.authenticated("anna")
	ben.send("<message to='anna@" + domain + "/r' type='chat'><body>early</body></message>")
	ben.send("<message to='anna@" + domain + "' type='chat'><body>early</body></message>")
	ben.settle()
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>")
	if got := p.expect(""); !strings.Contains(got, "<jid>") {
		t.Errorf("before the bind result came %s", got)
	}
}

func TestCoreR120_StanzasWithoutAddress(t *testing.T) {
	x := newSite(t)
	p := x.online("anna", "a")
	q := x.online("anna", "b")
	p.settle()
	p.send("<message type='chat'><body>to myself</body></message>")
	p.settle()
	seen := false
	for _, peer := range []*peer{p, q} {
		for _, got := range peer.settle() {
			seen = seen || strings.Contains(got, "to myself")
		}
	}
	// The message may have come to p before its own settle.
	if !seen {
		p.send("<message type='headline'><body>to all of mine</body></message>")
		q.expect("to all of mine")
	}
	p.send("<iq type='get' id='i'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	p.expect("id='i'", "type='result'", "category='account'")
	p.send("<presence><show>away</show></presence>")
	q.expect("<show>away</show>", "from='anna@"+domain+"/a'")
}

func TestCoreR121_InvalidAddressKeepsTheStream(t *testing.T) {
	x := newSite(t)
	p := x.connect("anna", "a")
	p.send("<message to='@no.such' id='m' type='chat'><body>x</body></message>")
	p.expect("id='m'", "type='error'", "jid-malformed")
	p.settle()
}

func TestCoreR122_UnknownDomain(t *testing.T) {
	x := newSite(t)
	p := x.connect("anna", "a")
	p.send("<iq type='get' id='i' to='elsewhere.example'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.expect("id='i'", "type='error'", "remote-server-not-found")
	p.send("<message id='m' to='ben@elsewhere.example' type='chat'><body>x</body></message>")
	p.expect("id='m'", "type='error'", "remote-server-not-found")
	p.send("<presence to='ben@elsewhere.example'/>")
	if got := p.settle(); len(got) != 0 {
		t.Errorf("presence to an unknown domain was answered: %v", got)
	}
}

func TestIMR52_AccountsAreDescribedToContactsOnly(t *testing.T) {
	x := newSite(t)
	anna, ben, cora := x.online("anna", "a"), x.online("ben", "b"), x.online("cora", "c")
	x.friends(anna, ben)
	for _, ns := range []string{"info", "items"} {
		query := "<query xmlns='http://jabber.org/protocol/disco#" + ns + "'/></iq>"
		ben.send("<iq type='get' id='" + ns + "' to='anna@" + domain + "'>" + query)
		ben.expect("id='"+ns+"'", "type='result'")
		cora.send("<iq type='get' id='" + ns + "' to='anna@" + domain + "'>" + query)
		stranger := cora.expect("id='"+ns+"'", "type='error'", "service-unavailable")
		cora.send("<iq type='get' id='" + ns + "' to='nobody@" + domain + "'>" + query)
		missing := cora.expect("id='"+ns+"'", "type='error'", "service-unavailable")
		if strings.ReplaceAll(missing, "nobody@", "anna@") != stranger {
			t.Errorf("a stranger can tell accounts from none:\n%s\n%s", stranger, missing)
		}
	}
}

// TestIMR01_AddressesInTheRoster: an address that cannot be read again must not
// get into the roster, and one that is there must not lock the account out.
func TestIMR01_AddressesInTheRoster(t *testing.T) {
	x := newSite(t)
	a := x.online("anna", "a")
	for _, bad := range []string{"ben@..", "ben@site..example", ".site.example", "@site.example"} {
		a.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='" + bad + "'/></query></iq>")
		a.expect("id='r'", "<jid-malformed")
	}
	x.stop()

	db, err := store.Open(t.Context(), filepath.Join(x.dir, "hub.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *store.Tx) error {
		return rosterBox.Put(tx, "anna\x00ben@.", contactRecord{Listed: true})
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	x = openSite(t, x.dir)
	a = x.online("anna", "a")
	a.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	if got := a.expect("id='r'", "type='result'"); strings.Contains(got, "ben@") {
		t.Errorf("the roster has %s", got)
	}
}

// 0203-R08: what was kept says since when; what goes on at once says nothing.
func Test0203R08_KeptStanzasAreStamped(t *testing.T) {
	const stamp = "<delay xmlns='urn:xmpp:delay' from='site.example' stamp='"
	x := newSite(t, func(c *Config) { c.Limits.Hibernation = time.Second })
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	a.send("<presence><show>xa</show></presence>")
	if got := b.expect("<show>xa</show>"); strings.Contains(got, stamp) {
		t.Errorf("as it happens: %s", got)
	}
	b.send("<presence type='probe' to='anna@site.example'/>")
	b.expect("<show>xa</show>", stamp)

	b.send("<message to='cora@site.example' type='chat'><body>kept</body></message>")
	b.settle()
	c := x.online("cora", "c")
	c.expect("<body>kept</body>", stamp)

	c.send("<enable" + sm + " resume='true'/>")
	c.expect("<enabled")
	c.drop()
	waitFor(t, x.asleep("cora", "c"))
	b.send("<message to='" + c.full + "' type='chat'><body>not taken</body></message>")
	b.settle()
	waitFor(t, func() bool { return !x.asleep("cora", "c")() })
	x.online("cora", "c2").expect("<body>not taken</body>", stamp)
}

// A contact that is gone stays in the roster until its owner takes it out.
func TestIMR54_GoneContactsStay(t *testing.T) {
	x := newSite(t)
	a, b := x.online("anna", "a"), x.online("ben", "b")
	x.friends(a, b)
	for _, condition := range []string{"gone", "item-not-found"} {
		b.send("<presence type='error' to='" + a.full + "'><error type='cancel'><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")
		b.settle()
		a.want("type='error'")
	}
	a.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	a.expect("id='r'", "jid='ben@site.example'", "subscription='both'")
}

func TestCoreR52_SilentClients(t *testing.T) {
	x := newSite(t, func(c *Config) {
		c.Limits.KeepAlive, c.Limits.Timeout = 200*time.Millisecond, 200*time.Millisecond
	})
	a, b, c := x.online("anna", "a"), x.online("ben", "b"), x.online("cora", "c")
	x.friends(a, b)
	x.friends(a, c)
	id := c.enable()
	done := make(chan struct{})
	go func() { // anna answers
		defer close(done)
		for {
			got, err := a.read()
			if err != nil || strings.Contains(got, "type='unavailable'") {
				if !strings.Contains(got, "from='ben@site.example/b'") {
					t.Errorf("anna has %s, %v", got, err)
				}
				return
			}
			v, _ := a.got.Root().Attr(attrID)
			if strings.Contains(got, "urn:xmpp:ping") {
				a.send("<iq type='result' id='" + v.String() + "' to='site.example'/>")
			}
		}
	}()
	b.fails("connection-timeout") // without stream management: gone at once
	c.fails("connection-timeout") // with it: the session waits
	<-done
	waitFor(t, x.asleep("cora", "c"))
	p := x.authenticated("cora")
	p.send("<resume" + sm + " previd='" + id + "' h='0'/>")
	p.expect("<resumed")
}
