package control

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func Test0325R34_FormTextsInTheAskedLanguage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		st := r.svc.state.Load()
		for _, n := range st.tree.Nodes() {
			for i := range n.Parameters {
				if n.ID == "r1" {
					n.Parameters[i].Label, n.Parameters[i].Labels = "Pump", map[string]string{"de": "Pumpe", "fr": "Pompe"}
				}
			}
		}
		for lang, want := range map[string]string{"": "Pump", "de": "Pumpe", "de-AT": "Pumpe", "FR": "Pompe", "sv": "Pump"} {
			for _, attrs := range [][2]string{{" xml:lang='" + lang + "'", ""}, {"", " xml:lang='" + lang + "'"}} {
				if lang == "" {
					attrs = [2]string{}
				}
				r.recv(alice, "<iq type='get' id='f' from='"+alice+"' to='gateway@example.org/x'"+attrs[0]+"><getForm xmlns='"+NS+"'"+attrs[1]+"><node nodeId='r1'/></getForm></iq>")
				synctest.Wait()
				got := strings.Join(r.out(), "")
				if tag := strings.ToLower(lang[:min(2, len(lang))]); want != "Pump" && !strings.Contains(got, " xml:lang='"+tag+"'><x ") || want == "Pump" && strings.Contains(got, "xml:lang") {
					t.Errorf("%q: the form's language is not told: %s", lang, got)
				}
				if !strings.Contains(strings.ReplaceAll(got, "\"", "'"), "label='"+want+"'") || !strings.Contains(got, "var='on'") {
					t.Errorf("%q: %s", lang, got)
				}
			}
		}
	})
}

// A form that is updated, or comes back with what is wrong, tells the language
// of its texts as the first one did.
func Test0325R34_LanguageOfUpdatedForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		for _, n := range r.svc.state.Load().tree.Nodes() {
			for i := range n.Parameters {
				if n.Parameters[i].Name == "level" {
					n.Parameters[i].Labels = map[string]string{"de": "Helligkeit"}
				}
			}
		}
		r.recv(alice, "<iq type='get' id='f' xml:lang='de-AT'><getForm xmlns='"+NS+"'><node nodeId='"+dim.ID+"'/></getForm></iq>")
		synctest.Wait()
		out := r.out()
		wantOut(t, out, "xml:lang='de'> … label='Helligkeit'")
		m := sessionIn.FindStringSubmatch(out[0])
		if m == nil {
			t.Fatal("no session")
		}
		r.level(10)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantOut(t, r.out(), "<message to='alice@example.org/desk' xml:lang='de'><updated … label='Helligkeit'")
		r.recv(alice, dynamic("submit", m[1], "<field var='level'><value>bright</value></field>"))
		synctest.Wait()
		wantOut(t, r.out(), "<iq type='result' … xml:lang='de'> … muss")
	})
}
