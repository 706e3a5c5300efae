package provisioning

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"
)

// The example of XEP-0347 §3.3.
const exampleCode = "IoTDisco;SN:394872348732948723;MAN:www.ktc.se;MODEL:IMC;#V:1.2;KEY:4857402340298342"

func TestCodeReadsTheExample(t *testing.T) {
	c, err := ParseCode(exampleCode)
	if err != nil {
		t.Fatal(err)
	}
	want := []Tag{{"SN", false, "394872348732948723"}, {"MAN", false, "www.ktc.se"}, {"MODEL", false, "IMC"}, {"V", true, "1.2"}, {"KEY", false, "4857402340298342"}}
	if !reflect.DeepEqual(c.Tags, want) {
		t.Errorf("tags %v", c.Tags)
	}
	if c.String() != exampleCode {
		t.Errorf("written %q", c.String())
	}
}

func Test0347R58_ClaimCodeEscapes(t *testing.T) {
	c := Code{Tags: []Tag{{"A", false, `x;y\z:#`}, {"V", true, "1.20"}, {"E", false, ""}, {"Ü", false, "grün"}}}
	const want = `IoTDisco;A:x\;y\\z:#;#V:1.20;E:;Ü:grün`
	if got := c.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	back, err := ParseCode(want)
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%v, %v", back, err)
	}
}

func TestURIFormCarriesTheRegistry(t *testing.T) {
	c := Code{Tags: []Tag{{"SN", false, "a b;c=d%"}, {"V", true, "1.2"}, {"KEY", false, "x+y"}}, Registry: jid.MustParse("things.example.org")}
	const want = "iotdisco:SN=a%20b%3Bc%3Dd%25;#V=1.2;KEY=x%2By;R=things.example.org"
	if got := c.URI(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	back, err := ParseCode(want)
	if err != nil || !reflect.DeepEqual(back.Tags, c.Tags) || !back.Registry.Equal(c.Registry) {
		t.Errorf("%v, %v", back, err)
	}
}

func TestCodesThatAreNone(t *testing.T) {
	for _, s := range []string{"", "IoTDisco", "IoTDisco;", "IoTDisco;SN", "iotdisco:", "iotdisco:SN", "IoTDisco;SN:1;sn:2",
		`IoTDisco;SN:1\`, "IoTDisco;#V:x", "IoTDisco;#V:NaN", "http://a.example/", "IoTDisco;A B:1", "iotdisco:SN=%zz", "iotdisco:SN=1;R=@",
		"IoTDisco;" + strings.Repeat("x", maxCode)} {
		if c, err := ParseCode(s); !errors.Is(err, ErrCode) {
			t.Errorf("%.40q: %v, %v", s, c, err)
		}
	}
}

func Test0347R65_KeysAreLong(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		k := NewKey()
		if bits := KeyBits([]Tag{{KeyTag, false, k}}); bits < 128 {
			t.Fatalf("%q has %.0f bits", k, bits)
		}
		if seen[k] || (Tag{KeyTag, false, k}).Check() != nil {
			t.Fatalf("%q again, or not allowed", k)
		}
		seen[k] = true
	}
	for k, most := range map[string]float64{"": 0, "key42": 64, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa": 0, "4857402340298342": 64} {
		if bits := KeyBits([]Tag{{"key", false, k}}); bits > most {
			t.Errorf("%q counts as %.0f bits", k, bits)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add(exampleCode)
	f.Add(`IoTDisco;A:x\;y\\z:#;#V:1.20;E:`)
	f.Add("iotdisco:SN=a%20b;#V=1.2;R=things.example.org")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCode(s)
		if err != nil {
			return
		}
		if last := c.Tags[len(c.Tags)-1].Value; strings.HasSuffix(last, "\n") || strings.HasSuffix(last, "\r") {
			return
		}
		forms := []string{c.String(), c.URI()}
		if _, taken := FindTag(c.Tags, uriRegistry); taken {
			forms = forms[:1]
		}
		for _, form := range forms {
			back, err := ParseCode(form)
			if err != nil || !reflect.DeepEqual(back.Tags, c.Tags) {
				t.Fatalf("%q: %v became %v, %v", form, c.Tags, back.Tags, err)
			}
		}
	})
}
