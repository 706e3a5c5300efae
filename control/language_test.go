package control

import (
	"strings"
	"testing"
	"testing/synctest"
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
				if !strings.Contains(strings.ReplaceAll(got, "\"", "'"), "label='"+want+"'") || !strings.Contains(got, "var='on'") {
					t.Errorf("%q: %s", lang, got)
				}
			}
		}
	})
}
