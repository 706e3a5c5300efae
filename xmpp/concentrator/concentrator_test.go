package concentrator

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"postern/drivers"
	"postern/exi"
	"postern/internal/node"
	"postern/xmpp"
	"postern/xmpp/xmpptest"
)

const (
	owner  = "owner@example.org/a"
	guest  = "guest@example.org/b" // sees only hall and lamp
	nobody = "stranger@example.org/c"
)

func ref(id string) node.Ref { return node.Ref{ID: id} }

func field() []node.Field { return []node.Field{{Name: "t", Kind: drivers.KindNumber}} }

// house is hall with lamp and room, room with sensor; pump in a source of its
// own; and two nodes of one id that differ in cache type.
func house() []node.Node {
	return []node.Node{
		{Ref: ref("hall"), Label: "Hall"},
		{Ref: ref("lamp"), Parent: ref("hall"), Fields: field(), Parameters: []node.Parameter{{Name: "on", Kind: drivers.KindBool}}},
		{Ref: ref("room"), Parent: ref("hall")},
		{Ref: ref("sensor"), Parent: ref("room"), Fields: field()},
		{Ref: node.Ref{ID: "pump", Source: "Plant"}},
		{Ref: node.Ref{ID: "p1", Cache: "map"}}, {Ref: node.Ref{ID: "p1", Cache: "plan"}},
	}
}

func tree(t testing.TB, nodes []node.Node) *node.Tree {
	t.Helper()
	tr, err := node.NewTree(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// rig is a service with what it sends.
type rig struct {
	testing.TB
	*Service
	mux    *xmpp.Mux
	mu     sync.Mutex
	sent   []string
	states map[string]Info
}

func (r *rig) Send(_ context.Context, sts ...xmpp.Stanza) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range sts {
		var d exi.Doc
		st.AppendEvents(&d)
		r.sent = append(r.sent, xmpptest.Text(r.TB, &d))
	}
	return nil
}

// events returns what was sent since the last call.
func (r *rig) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.sent
	r.sent = nil
	return out
}

func newRig(t testing.TB, nodes []node.Node) *rig {
	t.Helper()
	access, err := node.NewAllowList([]string{"owner@example.org"}, []node.Grant{
		{JID: "guest@example.org", Read: true, Scope: node.Scope{Nodes: []node.Ref{ref("hall"), ref("lamp")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, mux: new(xmpp.Mux), states: map[string]Info{}}
	r.Service, err = New(Config{Tree: tree(t, nodes), Access: access, Sender: r, Info: func(n *node.Node) Info {
		r.mu.Lock()
		defer r.mu.Unlock()
		i := r.states[n.ID]
		i.Type = "kind-" + n.ID[:1]
		i.Params = []Param{{"label", "Label", n.Title()}}
		return i
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.Register(r.mux)
	return r
}

var stamp = regexp.MustCompile(` lastChanged='[^']*'`)

// ask sends a command and returns the payload of the result.
func (r *rig) ask(from, typ, payload string) string {
	r.Helper()
	payload = strings.Replace(payload, " ", " xmlns='"+NS+"' ", 1)
	got, err := xmpptest.Call(r.TB, r.mux, "<iq type='"+typ+"' id='1' from='"+from+"'>"+payload+"</iq>")
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "type='result'") {
		r.Fatalf("%s: %q %v", payload, got, err)
	}
	s := got[0][strings.IndexByte(got[0], '>')+1:]
	s = strings.TrimSuffix(s, "</iq>")
	return stamp.ReplaceAllString(strings.Replace(s, " xmlns='"+NS+"'", "", 1), "")
}

func (r *rig) want(from, typ, payload, want string) {
	r.Helper()
	if got := r.ask(from, typ, payload); got != want {
		r.Errorf("%s\n got %s\nwant %s", payload, got, want)
	}
}

const mt = "sourceId='MeteringTopology'"

func Test0326R02R03_EveryListedCommandWorks(t *testing.T) {
	r := newRig(t, house())
	got := r.ask(owner, "get", "<getCapabilities />")
	names := regexp.MustCompile(`<value>(\w+)</value>`).FindAllStringSubmatch(got, -1)
	if len(names) != 13 {
		t.Errorf("%s", got)
	}
	for _, m := range names {
		typ := "get"
		if strings.HasSuffix(m[1], "subscribe") {
			typ = "set"
		}
		if a := r.ask(owner, typ, "<"+m[1]+" "+mt+" nodeId='hall'/>"); !strings.Contains(a, "<"+m[1]+"Response result='OK'") {
			t.Errorf("%s: %s", m[1], a)
		}
	}
}

func Test0326R04R05_UnknownElements(t *testing.T) {
	r := newRig(t, house())
	r.want(owner, "get", "<foo />", "<fooResponse result='NotImplemented'/>")
	r.want(owner, "set", "<destroyNode nodeId='hall'/>", "<destroyNodeResponse result='NotImplemented'/>")
	if got, err := xmpptest.Call(t, r.mux, "<message from='"+owner+"'><foo xmlns='"+NS+"'/></message>"); got != nil || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func Test0326R07_ContainsNodesKeepsOrder(t *testing.T) {
	r := newRig(t, house())
	r.want(owner, "get", "<containsNodes ><node "+mt+" nodeId='hall'/><node "+mt+" nodeId='none'/><node sourceId='Plant' nodeId='pump'/><node "+mt+" nodeId='pump'/></containsNodes>",
		"<containsNodesResponse result='OK'><value>true</value><value>false</value><value>true</value><value>false</value></containsNodesResponse>")
	r.want(owner, "get", "<containsNode "+mt+" nodeId='hall'/>", "<containsNodeResponse result='OK'>true</containsNodeResponse>")
	r.want(owner, "get", "<containsNode sourceId='None' nodeId='hall'/>", "<containsNodeResponse result='NotFound'>false</containsNodeResponse>")
}

func Test0326R09_AncestorsBeginWithTheNode(t *testing.T) {
	r := newRig(t, house())
	got := r.ask(owner, "get", "<getAncestors "+mt+" nodeId='sensor'/>")
	if ids := idsOf(got); ids != "sensor room hall" {
		t.Errorf("%s", got)
	}
	r.want(owner, "get", "<getAncestors "+mt+" nodeId='none'/>", "<getAncestorsResponse result='NotFound'/>")
}

// idsOf lists the node ids of an answer or of events, in order.
func idsOf(xml string) string {
	var ids []string
	for _, m := range regexp.MustCompile(` nodeId='([^']*)'`).FindAllStringSubmatch(xml, -1) {
		ids = append(ids, m[1])
	}
	return strings.Join(ids, " ")
}

func Test0326R10_ClassesAreANDed(t *testing.T) {
	r := newRig(t, house())
	class := func(names ...string) string {
		var b strings.Builder
		for _, n := range names {
			b.WriteString("<onlyIfDerivedFrom>" + n + "</onlyIfDerivedFrom>")
		}
		return idsOf(r.ask(owner, "get", "<getAllNodes "+mt+">"+b.String()+"</getAllNodes>"))
	}
	if got := class(); got != "hall lamp room sensor p1 p1" {
		t.Error(got)
	}
	if got := class("kind-l"); got != "lamp" {
		t.Error(got)
	}
	if got := class("kind-l", "kind-h"); got != "" {
		t.Error(got)
	}
}

func TestNodes(t *testing.T) {
	r := newRig(t, house())
	r.want(owner, "get", "<getNode "+mt+" nodeId='lamp'/>",
		"<getNodeResponse result='OK' nodeId='lamp' nodeType='kind-l' state='None' hasChildren='false' isReadable='true' isControllable='true' parentId='hall'/>")
	r.want(owner, "get", "<getNode "+mt+" nodeId='none'/>", "<getNodeResponse result='NotFound' nodeId='none' state='None' hasChildren='false'/>")
	r.want(owner, "get", "<getNode sourceId='Nowhere' nodeId='hall'/>", "<getNodeResponse result='NotFound' nodeId='hall' state='None' hasChildren='false'/>")
	if got := idsOf(r.ask(owner, "get", "<getRootNodes "+mt+"/>")); got != "hall p1 p1" {
		t.Error(got)
	}
	if got := idsOf(r.ask(owner, "get", "<getChildNodes "+mt+" nodeId='hall'/>")); got != "lamp room" {
		t.Error(got)
	}
	if got := idsOf(r.ask(owner, "get", "<getChildNodes "+mt+" nodeId='hall'><sortOrder parameterName='unknown'/><sortOrder parameterName='nodeId' ascending='0'/></getChildNodes>")); got != "room lamp" {
		t.Error(got)
	}
	// An unknown node in getNodes: no nodes at all (0326-D17).
	r.want(owner, "get", "<getNodes ><node "+mt+" nodeId='hall'/><node "+mt+" nodeId='none'/></getNodes>", "<getNodesResponse result='NotFound'/>")
	if got := idsOf(r.ask(owner, "get", "<getNodes ><node sourceId='Plant' nodeId='pump'/><node "+mt+" nodeId='hall'/></getNodes>")); got != "pump hall" {
		t.Error(got)
	}
}

func Test0326R28R29_CacheTypes(t *testing.T) {
	r := newRig(t, house())
	if got := r.ask(owner, "get", "<getNode "+mt+" nodeId='p1' cacheType='plan'/>"); !strings.Contains(got, "cacheType='plan'") {
		t.Error(got)
	}
	r.want(owner, "get", "<containsNode "+mt+" nodeId='p1' cacheType='other'/>", "<containsNodeResponse result='OK'>false</containsNodeResponse>")
	r.want(owner, "get", "<containsNode "+mt+" nodeId='hall' cacheType=''/>", "<containsNodeResponse result='OK'>true</containsNodeResponse>")
}

func Test0326R30_Sources(t *testing.T) {
	r := newRig(t, house())
	const list = "<dataSource sourceId='MeteringTopology' name='Sensors and actuators' hasChildren='false'/><dataSource sourceId='Plant' name='Plant' hasChildren='false'/>"
	r.want(owner, "get", "<getAllDataSources />", "<getAllDataSourcesResponse result='OK'>"+list+"</getAllDataSourcesResponse>")
	r.want(owner, "get", "<getRootDataSources />", "<getRootDataSourcesResponse result='OK'>"+list+"</getRootDataSourcesResponse>")
}

func Test0326R31_TimesHaveAZone(t *testing.T) {
	r := newRig(t, house())
	got, _ := xmpptest.Call(t, r.mux, "<iq type='get' id='1' from='"+owner+"'><getNode xmlns='"+NS+"' "+mt+" nodeId='hall'/></iq>")
	if !regexp.MustCompile(`lastChanged='\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)'`).MatchString(got[0]) {
		t.Error(got)
	}
}

// Everybody sees what they may read or set: what lies outside does not exist
// for them, a stranger gets nothing (0326-R32 where the access asks a server).
func Test0326R32_Access(t *testing.T) {
	r := newRig(t, house())
	r.want(nobody, "get", "<getAllDataSources />", "<getAllDataSourcesResponse result='InsufficientPrivileges'/>")
	r.want(nobody, "set", "<subscribe "+mt+"/>", "<subscribeResponse result='InsufficientPrivileges'/>")
	if got := idsOf(r.ask(guest, "get", "<getAllNodes "+mt+"/>")); got != "hall lamp" {
		t.Error(got)
	}
	r.want(guest, "get", "<getNode "+mt+" nodeId='room'/>", "<getNodeResponse result='NotFound' nodeId='room' state='None' hasChildren='false'/>")
	r.want(guest, "get", "<getNode "+mt+" nodeId='lamp'/>",
		"<getNodeResponse result='OK' nodeId='lamp' nodeType='kind-l' state='None' hasChildren='false' isReadable='true' parentId='hall'/>")
	// Tokens reach the access.
	var asked node.Request
	r.cfg.Access = accessFunc(func(q node.Request) (node.Decision, error) { asked = q; return node.Everything(), nil })
	r.ask(nobody, "get", "<getAllNodes "+mt+" deviceToken='d' serviceToken='s' userToken='u'/>")
	if asked.DeviceToken != "d" || asked.ServiceToken != "s" || asked.UserToken != "u" || asked.Bare != "stranger@example.org" {
		t.Errorf("%+v", asked)
	}
}

type accessFunc func(node.Request) (node.Decision, error)

func (f accessFunc) CanRead(_ context.Context, r node.Request) (node.Decision, error) { return f(r) }
func (f accessFunc) CanControl(_ context.Context, r node.Request) (node.Decision, error) {
	return f(r)
}

func Test0326R33_LanguageIsOptional(t *testing.T) {
	r := newRig(t, house())
	if a, b := r.ask(owner, "get", "<getAllNodes "+mt+"/>"), r.ask(owner, "get", "<getAllNodes "+mt+" xml:lang='xx'/>"); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func Test0326R35_OnlyWhatWasAskedFor(t *testing.T) {
	r := newRig(t, house())
	r.states["hall"] = Info{State: ErrorUnsigned, Messages: []Message{{"Error", "it burns", time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}}}
	const head = "<getNodeResponse result='OK' nodeId='hall' displayName='Hall' nodeType='kind-h' state='ErrorUnsigned' hasChildren='true'"
	const param, msg = "<string id='label' name='Label' value='Hall'/>", "<message timestamp='2026-03-01T08:00:00.000Z' type='Error'>it burns</message>"
	r.want(owner, "get", "<getNode "+mt+" nodeId='hall'/>", head+"/>")
	r.want(owner, "get", "<getNode "+mt+" nodeId='hall' parameters='true'/>", head+">"+param+"</getNodeResponse>")
	r.want(owner, "get", "<getNode "+mt+" nodeId='hall' messages='1' parameters='1'/>", head+">"+param+msg+"</getNodeResponse>")
}

func TestLimits(t *testing.T) {
	var nodes []node.Node
	for i := range 201 {
		nodes = append(nodes, node.Node{Ref: ref("n" + string(rune('a'+i/26)) + string(rune('a'+i%26)))})
	}
	r := newRig(t, nodes)
	r.want(owner, "get", "<getAllNodes "+mt+"/>", "<getAllNodesResponse result='NotImplemented'/>") // 0326-D10
	if got := strings.Fields(idsOf(r.ask(owner, "get", "<getRootNodes "+mt+"/>"))); len(got) != 201 {
		t.Errorf("%d nodes", len(got))
	}
	many := strings.Repeat("<node "+mt+" nodeId='naa'/>", maxNamed+1)
	r.want(owner, "get", "<containsNodes >"+many+"</containsNodes>", "<containsNodesResponse result='OtherError'/>")
	for i := range r.cfg.Limits.Subscriptions {
		r.want(fmt.Sprintf("owner@example.org/r%d", i), "set", "<subscribe "+mt+"/>", "<subscribeResponse result='OK'/>")
	}
	r.want("owner@example.org/one-more", "set", "<subscribe "+mt+"/>", "<subscribeResponse result='OtherError'/>")
}

func mustJID(s string) jid.JID { return jid.MustParse(s) }

// live runs the service in a bubble.
func live(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, house())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = r.Run(ctx) }()
		defer func() { cancel(); <-done }()
		f(r)
	})
}
