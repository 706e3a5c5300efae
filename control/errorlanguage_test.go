package control

import (
	"context"
	"errors"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

// spoken is a refusal with what it says in two languages: of the whole, and of
// the parameter where there is one.
type spoken struct {
	name     string
	rules    map[Output]Rules
	change   func(*Config)
	before   func(r *rig)
	from     string // alice
	body     string
	en, de   string
	pen, pde string
}

func on(id, v string) string {
	return "<node nodeId='" + id + "'/><boolean name='on' value='" + v + "'/>"
}

func spokenRefusals(t *testing.T) []spoken {
	r1 := func(r Rules) map[Output]Rules { return map[Output]Rules{out("r1"): r} }
	switched := func(r *rig) { r.must("r1", true) }
	dimmer := func(v string) string { return "<node nodeId='dimmer'/>" + v }
	return []spoken{
		{name: "range", body: dimmer("<int name='level' value='101'/>"),
			en: "level must be from 0 to 100", de: "level muss im Bereich von 0 bis 100 liegen",
			pen: "must be from 0 to 100", pde: "muss im Bereich von 0 bis 100 liegen"},
		{name: "two at once", body: dimmer("<double name='fade' value='0.2'/><int name='level' value='-1'/>"),
			en: "fade must be a multiple of 0.5 counted from 0, and 1 more", de: "fade muss ein Vielfaches von 0.5 sein, gezählt ab 0, und 1 weitere",
			pen: "must be a multiple of 0.5 counted from 0", pde: "muss ein Vielfaches von 0.5 sein, gezählt ab 0"},
		{name: "options", body: "<node nodeId='all'/><string name='enum' value='x'/>",
			en: "enum must be one of auto, off", de: "enum muss eines davon sein: auto, off"},
		{name: "pattern", body: "<node nodeId='all'/><string name='string' value='X'/>",
			en: "string must match [a-z ]*", de: "string muss zu [a-z ]* passen"},
		{name: "length", body: "<node nodeId='all'/><string name='string' value='" + strings.Repeat("x", 1025) + "'/>",
			en: "string is longer than 1024 octets", de: "string ist länger als 1024 Bytes"},
		{name: "type", body: "<node nodeId='all'/><int name='boolean' value='1'/>",
			en: "boolean is of type boolean, not int", de: "boolean ist vom Typ boolean, nicht int"},
		{name: "lexical form", body: "<node nodeId='all'/><duration name='duration' value='P'/>",
			en: "duration must be a duration such as PT30S", de: "duration muss eine Dauer wie PT30S sein"},
		{name: "no value", body: "<node nodeId='all'/><int name='int'/>",
			en: "parameter int has no value", de: "Der Parameter int hat keinen Wert", pen: "the value is missing", pde: "der Wert fehlt"},
		{name: "unknown parameter", body: on("all", "1"),
			en: "on is no parameter of all", de: "on ist kein Parameter von all"},
		{name: "unknown node", body: on("nope", "1"), en: "there is no node nope", de: "Es gibt keinen Knoten nope"},
		{name: "stranger", from: mallory, body: on("r1", "1"), en: "you may not control this thing", de: "Sie dürfen dieses Gerät nicht steuern"},
		{name: "access fails", change: func(c *Config) { c.Access = brokenAccess{} }, body: on("r1", "1"),
			en: "access could not be decided", de: "Es ließ sich nicht klären, ob Sie das dürfen"},
		{name: "value not allowed", change: limited(t, map[string]string{"level": "15..25"}), body: dimmer("<int name='level' value='26'/>"),
			en: "level may be set by you to 15..25 only", de: "level darf von Ihnen nur auf 15..25 gesetzt werden"},
		{name: "guard", change: func(c *Config) { c.Guards = []Guard{refusing{}} }, body: on("r1", "1"),
			en: "in words of its own", de: ""}, // stays English, and says so
		{name: "locked", before: func(r *rig) { r.svc.Lock(node.Ref{ID: "r1"}, "Wartung") }, body: on("r1", "1"),
			en: "r1 is locked: Wartung", de: "r1 ist gesperrt: Wartung"},
		{name: "interlock", rules: r1(Rules{Interlocks: []Interlock{{Condition: "r3.on", Reason: "the door is open"}}}), body: on("r1", "1"),
			en: "on of r1: interlock: the door is open", de: "on von r1: Verriegelung: the door is open"},
		{name: "interlock without a reason", rules: r1(Rules{Interlocks: []Interlock{{Condition: "r3.on"}}}), body: on("r1", "1"),
			en: "on of r1: interlock: this must hold: r3.on", de: "on von r1: Verriegelung: es muss gelten: r3.on"},
		{name: "interlock unknown", rules: r1(Rules{Interlocks: []Interlock{{Condition: "branch.on"}}}), body: on("r1", "1"),
			en: "on of r1: interlock: branch.on is not known", de: "on von r1: Verriegelung: branch.on ist nicht bekannt"},
		{name: "minimum on time", rules: r1(Rules{MinOn: time.Minute}), before: switched, body: on("r1", "0"),
			en: "on of r1: it has to stay on for 60 s more", de: "on von r1: muss noch 60 s eingeschaltet bleiben"},
		{name: "minimum off time", rules: r1(Rules{MinOff: 2 * time.Hour}), body: on("r1", "1"),
			en: "on of r1: it has to stay off for 7199 s more", de: "on von r1: muss noch 7199 s ausgeschaltet bleiben"},
		{name: "quota", rules: r1(Rules{PerHour: 1}), body: on("r1", "1"),
			en: "on of r1: it was changed 1 times within an hour; it can be changed again in 3599 s",
			de: "on von r1: wurde innerhalb einer Stunde 1-mal geändert; wieder möglich in 3599 s"},
		{name: "rate", rules: map[Output]Rules{{node.Ref{ID: "dimmer", Source: "light"}, "level"}: {MaxRate: number("2")}},
			before: func(r *rig) {
				r.recv(alice, iq(dimmer("<int name='level' value='0'/>")))
				synctest.Wait()
				r.out()
			}, body: dimmer("<int name='level' value='50'/>"),
			en: "level of Dimmer: it may change by 2 per second; try 2.0 at most now", de: "level von Dimmer: darf sich je Sekunde um 2 ändern; jetzt geht höchstens eine Änderung um 2.0"},
		{name: "group", rules: map[Output]Rules{out("r1"): {Group: "g"}, out("r2"): {Group: "g"}}, before: switched, body: on("r2", "1"),
			en: "on of r2: r1 is active; only one of the group may be", de: "on von r2: r1 ist aktiv; aus der Gruppe darf es nur eines sein"},
		{name: "held at the machine", before: func(r *rig) {
			if err := r.svc.Override(out("r1"), Override{Who: "technician", Reason: "new seal"}); err != nil {
				t.Error(err)
			}
		}, body: on("r1", "1"),
			en: "on of r1: it is held at the machine by technician (new seal), until that is released",
			de: "on von r1: wird an der Maschine bestimmt durch technician (new seal), bis zur Freigabe"},
		{name: "confirmation gone", rules: r1(Rules{Confirm: true}), body: on("r1", "1") + "<string name='confirm' value='1'/>",
			en: "there is nothing to confirm any more; send the command without a code for a new one",
			de: "Es ist nichts mehr zu bestätigen; senden Sie den Befehl ohne Code, um einen neuen zu bekommen"},
		{name: "wrong code", rules: r1(Rules{Confirm: true}), before: func(r *rig) { r.firstStep(alice, on("r1", "1")) }, body: on("r1", "1") + "<string name='confirm' value='x'/>",
			en: "confirm is not the code that was given", de: "confirm ist nicht der genannte Code"},
		{name: "same person", rules: r1(Rules{TwoPersons: true}), before: func(r *rig) { r.firstStep(alice, on("r1", "1")) }, body: on("r1", "1") + "<string name='confirm' value='x'/>",
			en: "somebody else has to confirm this", de: "Das muss jemand anderes bestätigen"},
		{name: "device away", before: func(r *rig) { r.panels["r1"].fail["on"] = errors.Join(drivers.ErrGone) }, body: on("r1", "1"),
			en: "on of r1: device is not there", de: "on von r1: das Gerät ist nicht da"},
		{name: "device silent", before: func(r *rig) { r.panels["r1"].hang = true }, body: on("r1", "1"),
			en: "on of r1: device did not answer in time", de: "on von r1: das Gerät hat nicht rechtzeitig geantwortet"},
		{name: "device error", before: func(r *rig) { r.panels["r1"].fail["on"] = errors.New("coil 7: exception 4") }, body: on("r1", "1"),
			en: "on of r1: coil 7: exception 4", de: "on von r1: coil 7: exception 4"},
		{name: "not recorded", before: func(r *rig) { r.books.fail = errors.New("disk full") }, body: on("r1", "1"),
			en: "the command could not be recorded", de: "Der Befehl konnte nicht aufgezeichnet werden"},
		{name: "configuration changed", before: func(r *rig) { reconfigure(t, r) }, body: on("r1", "0"),
			en: "the configuration has just changed", de: "Die Konfiguration hat sich gerade geändert"},
		{name: "too old", body: on("r1", "1") + "</set><delay xmlns='urn:xmpp:delay' stamp='1999-01-01T00:00:00Z'/><set xmlns='urn:xmpp:iot:control'>",
			en: "the command is too old to be carried out; send it again if it is still wanted", de: "Der Befehl ist zu alt, um ausgeführt zu werden; senden Sie ihn noch einmal, wenn er noch gewünscht ist"},
	}
}

// Refusals are told in the language of the request, names and values as they
// are, each with its xml:lang; the record stays English.
func Test0325R34_ErrorsInTheAskedLanguage(t *testing.T) {
	for _, c := range spokenRefusals(t) {
		for _, asked := range []struct{ lang, answered, text, param string }{
			{"", "en", c.en, c.pen}, {"de-AT", "de", c.de, c.pde},
		} {
			if asked.text == "" {
				asked.answered, asked.text = "en", c.en
			}
			t.Run(c.name+" "+asked.answered, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.refused(t, asked.lang, asked.answered, asked.text, asked.param) })
			})
		}
	}
}

func (c *spoken) refused(t *testing.T, lang, answered, text, param string) {
	r := start(t, func(cfg *Config) {
		cfg.Rules = c.rules
		if c.change != nil {
			c.change(cfg)
		}
	})
	defer r.stop()
	if err := r.svc.Safe(t.Context(), "start"); err != nil {
		t.Fatal(err)
	}
	r.recv(alice, iq("<node nodeId='r3'/><boolean name='on' value='0'/>")) // is known from now on
	time.Sleep(time.Second)
	r.out()
	if c.before != nil {
		c.before(r)
	}
	from := c.from
	if from == "" {
		from = alice
	}
	question := iq(c.body)
	if lang != "" {
		question = strings.Replace(question, "<iq ", "<iq xml:lang='"+lang+"' ", 1)
	}
	r.books.take()
	r.recv(from, question)
	time.Sleep(3 * time.Second)
	out := r.out()
	if c.name == "configuration changed" {
		out = out[len(out)-1:] // behind the one that it waited for
	}
	wantOut(t, out, "type='error' … xml:lang='"+answered+"'> … <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='"+answered+"'>"+text+"</text>")
	if param != "" && !strings.Contains(out[0], ">"+param+"</paramError>") {
		t.Errorf("no paramError %q: %s", param, out[0])
	}
	if got := r.books.take(); r.books.why != nil && r.books.why.Text != c.en || r.books.why == nil && !strings.Contains(got, c.en) {
		t.Errorf("the record is not English: %s %+v", got, r.books.why)
	}
}

// The code is in the answer as it is, and the sentence around it translated.
func Test0325R34_ConfirmationInTheAskedLanguage(t *testing.T) {
	for twoPersons, want := range map[bool][2]string{
		false: {"Send the same", "Senden Sie dasselbe innerhalb von 30 s noch einmal"},
		true:  {"Have somebody else send", "Lassen Sie jemand anderen dasselbe innerhalb von 30 s"},
	} {
		ruled(t, map[Output]Rules{out("r1"): {Confirm: true, TwoPersons: twoPersons}}, func(r *rig) {
			for i, lang := range []string{"en-GB", "de"} {
				r.recv(alice, strings.Replace(iq(on("r1", "1")), "<iq ", "<iq xml:lang='"+lang+"' ", 1))
				synctest.Wait()
				got := r.out()
				wantOut(t, got, "xml:lang='"+lang[:2]+"'>"+want[i])
				if code := regexp.MustCompile(`var='confirm'>(\d{6})<`).FindStringSubmatch(got[0]); code == nil || strings.Count(got[0], code[1]) != 2 {
					t.Errorf("the code is not in it: %s", got[0])
				}
			}
			r.recv(alice, "<iq type='get' id='f' xml:lang='de'><getForm xmlns='"+NS+"'><node nodeId='r1'/></getForm></iq>")
			synctest.Wait()
			wantOut(t, r.out(), "var='confirm' … label='Bestätigungscode' … Lassen Sie das zunächst weg")
		})
	}
}

// Where xml:lang stands, which tag is taken, and what is never answered.
func Test0325R34_LanguageOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		ask := func(stanza, set string) string {
			text := strings.Replace(iq(on("nope", "1")), "<iq ", "<iq "+stanza+" ", 1)
			r.recv(alice, strings.Replace(text, "<set ", "<set "+set+" ", 1))
			synctest.Wait()
			return r.out()[0]
		}
		for _, c := range []struct{ stanza, set, want string }{
			{"", "", "en"}, {"xml:lang=''", "", "en"}, {"xml:lang='en'", "", "en"}, {"xml:lang='sv'", "", "en"},
			{"xml:lang='de'", "", "de"}, {"xml:lang='DE-de'", "", "de"}, {"xml:lang='de-Latn-AT-1996'", "", "de"},
			{"", "xml:lang='de'", "de"},
			{"xml:lang='en'", "xml:lang='de'", "de"}, // the nearest counts
			{"xml:lang='de'", "xml:lang='en'", "en"},
			{"xml:lang='den'", "", "en"}, {"xml:lang='-de'", "", "en"},
			{"xml:lang='de" + strings.Repeat("-x", 5000) + "'", "", "en"}, // no tag is that long
		} {
			text := map[string]string{"en": "there is no node nope", "de": "Es gibt keinen Knoten nope"}[c.want]
			if got := ask(c.stanza, c.set); !strings.Contains(got, "xml:lang='"+c.want+"'>"+text+"</text>") {
				t.Errorf("%.40s %s: %s", c.stanza, c.set, got)
			}
		}
		// A message is not answered in any language; the record is English.
		r.books.take()
		r.recv(alice, strings.Replace(message(on("nope", "1")), "<message", "<message xml:lang='de'", 1))
		synctest.Wait()
		if out := r.out(); len(out) != 0 || r.books.why == nil || r.books.why.Text != "there is no node nope" || r.books.why.Lang != "" {
			t.Errorf("%s %+v", out, r.books.why)
		}
		// Forms: what is refused, and what is wrong with a value while it is edited.
		r.recv(alice, "<iq type='get' id='f' xml:lang='de'><getForm xmlns='"+NS+"'><node nodeId='nope'/></getForm></iq>")
		wantOut(t, r.out(), "xml:lang='de'>Es gibt keinen Knoten nope</text>")
		session := r.openForm(alice)
		r.recv(alice, strings.Replace(dynamic("submit", session, field("level", "500")), "<iq ", "<iq xml:lang='de' ", 1))
		wantOut(t, r.out(), "<error xmlns='urn:xmpp:xdata:dynamic'>muss im Bereich von 0 bis 100 liegen</error>")
		r.recv(alice, strings.Replace(dynamic("submit", "gone", field("level", "5")), "<iq ", "<iq xml:lang='de' ", 1))
		wantOut(t, r.out(), "xml:lang='de'>Dieses Formular ist abgelaufen")
	})
}

// Our client shows what it was told.
func TestClientShowsTheAskedLanguage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		_, err := service(r).Set(t.Context(), addr("gw@example.org/x"), SetRequest{Lang: "de", Nodes: []node.Ref{{ID: "dimmer"}}, Assignments: []Assignment{{"level", drivers.Int(101)}}})
		var se *SetError
		if !errors.As(err, &se) || se.Refusal.Lang != "de" || err.Error() != "bad-request: level muss im Bereich von 0 bis 100 liegen" {
			t.Errorf("%v", err)
		}
	})
}

// Every text that this package refuses with is in the catalogue, once, and
// takes the same arguments in both languages.
func TestCatalogueIsComplete(t *testing.T) {
	verbs := regexp.MustCompile(`%[a-z]`)
	have := map[string]bool{}
	for _, c := range catalogue {
		if have[c[0]] {
			t.Errorf("%q is there twice", c[0])
		}
		have[c[0]] = true
		if en, de := verbs.FindAllString(c[0], -1), verbs.FindAllString(c[1], -1); strings.Join(en, "") != strings.Join(de, "") || c[1] == "" {
			t.Errorf("%q takes other arguments than %q", c[1], c[0])
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	unsent := map[string]bool{
		"":                       true,
		"it has to be confirmed": true, // in the record
		"this has to be confirmed; ask for a code in an iq":                         true, // of a message
		"an output that asks for a second step cannot be switched on by a schedule": true,
	}
	said := 0
	for _, file := range append(files, filepath.Join("..", "internal", "node", "parameter.go")) {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "client") {
			continue // the client refuses nobody
		}
		tree, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			for _, text := range saidBy(n) {
				if said++; !have[text] && !unsent[text] {
					t.Errorf("%s: %q is not in the catalogue", file, text)
				}
			}
			return true
		})
	}
	if said < 70 {
		t.Errorf("found only %d texts", said)
	}
}

// saidBy returns the texts for people far away among the arguments of a call.
func saidBy(n ast.Node) (texts []string) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	switch name {
	case "NewError", "refusef", "Phrasef", "Verbatim", "fail", "blame", "refuse", "lexical":
		for _, a := range call.Args {
			if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					texts = append(texts, s)
				}
			}
		}
	}
	return texts
}

// brokenAccess cannot decide.
type brokenAccess struct{ node.Access }

func (brokenAccess) CanControl(context.Context, node.Request) (node.Decision, error) {
	return node.Decision{}, errors.New("no database")
}

// refusing is a guard with words of its own.
type refusing struct{}

func (refusing) Check(context.Context, *Command) error {
	return xmpp.NewError(xmpp.NotAllowed, "in words of its own")
}

// reconfigure lets the setup change while a command waits behind another.
func reconfigure(t *testing.T, r *rig) {
	r.panels["r1"].delay = time.Second
	r.recv(alice, iq(on("r1", "1")))
	synctest.Wait()
	setup := r.cfg.Setup
	go func() {
		time.Sleep(500 * time.Millisecond)
		if err := r.svc.Apply(context.Background(), setup); err != nil {
			t.Error(err)
		}
	}()
}
