package xmltext

import (
	"testing"

	"postern/exi"
)

// The value of xsi:type comes from peers as a namespace and a local name.
func TestNamesInContent(t *testing.T) {
	for _, c := range []struct {
		v    exi.Value
		want string
	}{
		{exi.NameValue("urn:t", "T"), `<a xmlns='urn:a' xmlns:_0='http://www.w3.org/2001/XMLSchema-instance' xmlns:_1='urn:t' _0:type='_1:T'/>`},
		{exi.NameValue("urn:a", "p:T"), `<a xmlns='urn:a' xmlns:_0='http://www.w3.org/2001/XMLSchema-instance' _0:type='T'/>`},
		{exi.NameValue("", "p:T"), `<a xmlns='urn:a' xmlns:_0='http://www.w3.org/2001/XMLSchema-instance' _0:type='p:T'/>`},
		{exi.NameValue("urn:'<&", "'/><evil/>"), `<a xmlns='urn:a' xmlns:_0='http://www.w3.org/2001/XMLSchema-instance' xmlns:_1='urn:&apos;&lt;&amp;' _0:type='_1:&apos;/>&lt;evil/>'/>`},
	} {
		var d, back exi.Doc
		d.Start(exi.N("urn:a", "a"))
		d.Attr(exi.NameXsiType, c.v)
		d.End()
		text, err := AppendElement(nil, &d, Scope{})
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != c.want {
			t.Errorf("got  %s\nwant %s", text, c.want)
		}
		if err := ParseElement(string(text), &back); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, _ := back.Root().Attr(exi.NameXsiType)
		gs, _, gl, gok := v.Name()
		ws, _, wl, _ := c.v.Name()
		if gok && (gs != ws || gl != wl) {
			t.Errorf("%s reads back as {%s}%s", text, gs, gl)
		}
	}
}
