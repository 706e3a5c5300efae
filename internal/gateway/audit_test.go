package gateway

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/audit"
	"postern/internal/local"
	"postern/internal/store"
)

// auditOf asks the local door until want is in one of the records.
func (r *rig) auditOf(want string) string {
	r.t.Helper()
	var text string
	for range 100 {
		var p audit.Page
		if err := local.NewClient(r.door.Path).Audit(r.t.Context(), local.AuditRequest{}, &p); err != nil {
			r.t.Fatal(err)
		}
		text = ""
		for i := range p.Records {
			text += p.Records[i].Name() + " " + p.Records[i].Text() + "\n"
		}
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-r.t.Context().Done():
		case <-time.After(20 * time.Millisecond): // refusals wait for company
		}
	}
	r.t.Fatalf("%q is not in\n%s", want, text)
	return ""
}

func TestAuditThroughTheGateway(t *testing.T) {
	r := newRig(t, strings.Replace(basicConfig, "  allow:\n", "  allow:\n    - {jid: guest@example.org, rights: [read, control]}\n", 1))
	set := "<set xmlns='urn:xmpp:iot:control' userToken='secret-token'><node nodeId='pump'/>"
	r.ask("boss@example.org/pc", "set", set+"<boolean name='state' value='false'/></set>", "setResponse")
	r.ask("mallory@example.net/x", "set", set+"<boolean name='state' value='true'/><string name='confirm' value='123456'/></set>", "forbidden")
	r.ask("boss@example.org/pc", "set", set+"<boolean name='speed' value='true'/></set>", "item-not-found")
	got := r.auditOf("speed=true")
	for _, want := range []string{
		"1 moved pump state=true via safe because: start\n",
		"2 begun pump state=false by boss@example.org/pc via iq\n",
		"3 done 2 pump state=false by boss@example.org/pc via iq\n",
		"r1 refused pump state=true confirm=… by mallory@example.net/x via iq error: forbidden",
		"refused pump speed=true by boss@example.org/pc via iq error: item-not-found: speed is no parameter of pump\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "secret-token") || strings.Contains(got, "123456") {
		t.Errorf("a token or a code is in the record:\n%s", got)
	}
	var found []audit.Finding
	if err := local.NewClient(r.door.Path).Audit(t.Context(), local.AuditRequest{Verify: true}, &found); err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Broken != nil || f.Records == 0 {
			t.Errorf("%+v", f)
		}
	}
	// Only those who may change things may look.
	if err := local.NewClient(r.door.Path).Audit(t.Context(), local.AuditRequest{Since: "yesterday"}, &found); err == nil {
		t.Error("a time that is none was taken")
	}
	r.readAudit()
	r.stop()
	// What happened last is there after the end.
	err := store.ViewFile(filepath.Join(r.cfgDir, "postern.db"), func(tx *store.Tx) error {
		es, _ := audit.List(tx, audit.Query{Node: "pump"})
		if last := es[len(es)-1]; last.Reason != "stop" || last.Outcome != audit.Moved {
			t.Errorf("%+v", last)
		}
		tokens := es[1].Tokens
		if len(tokens) != 1 || tokens[0] != audit.Fingerprint("user", "secret-token") {
			t.Errorf("%q", tokens)
		}
		for _, f := range audit.Verify(tx) {
			if f.Broken != nil {
				t.Errorf("%+v", f)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The owner reads the records as a node; for others there is no such node.
func (r *rig) readAudit() {
	r.t.Helper()
	req := "<req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' historical='true' status='true'>%s</req>"
	node := "<node nodeId='audit' sourceId='postern'/>"
	got := r.ask("boss@example.org/pc", "get", fmt.Sprintf(req, 21, node), "done=")
	for _, want := range []string{
		"name='record' historicalOther='true'", "value='2 begun pump state=false by boss@example.org/pc via iq", "3 done 2 pump",
		"r1 refused", "r2 refused", "name='records' status='true'", "name='head' status='true'",
	} {
		if !strings.Contains(strings.ReplaceAll(got, `"`, "'"), want) {
			r.t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	// reader@ may read air only, guest@ everything.
	for i, who := range []string{"reader@example.org/pc", "guest@example.org/pc"} {
		if got := r.ask(who, "get", fmt.Sprintf(req, 30+i, node), "</iq>"); !strings.Contains(got, "forbidden") {
			r.t.Errorf("%s got\n%s", who, got)
		}
		got := r.ask(who, "get", fmt.Sprintf("<req xmlns='urn:xmpp:iot:sensordata' seqnr='%d' all='true'/>", 40+i), "done=")
		if strings.Contains(got, "refused") || strings.Contains(got, "nodeId='audit'") || !strings.Contains(got, "Temperature") {
			r.t.Errorf("%s got\n%s", who, got)
		}
	}
	momentary := r.ask("boss@example.org/pc", "get", "<req xmlns='urn:xmpp:iot:sensordata' seqnr='50' momentary='true'/>", "done=")
	if strings.Contains(momentary, "audit") {
		r.t.Errorf("among momentary values:\n%s", momentary)
	}
}
