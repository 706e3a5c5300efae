package disco

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/exi"
)

// Identity says what kind of thing an entity or a node is.
type Identity struct {
	Category, Type string
	Name, Lang     string // may be empty
}

// Form is an extension of an answer (XEP-0128).
type Form struct {
	Type   string // FORM_TYPE
	Fields []Field
}

// Field is a field of a Form; those with other types than text-single are not
// told apart.
type Field struct {
	Var    string
	Values []string
}

// Info is the answer to a disco#info request.
type Info struct {
	Node       string
	Identities []Identity
	Features   []string
	Forms      []Form
}

// Has reports whether a feature is among the features, byte for byte.
func (i *Info) Has(feature string) bool { return slices.Contains(i.Features, feature) }

// Item is one item of a disco#items answer.
type Item struct {
	JID  jid.JID
	Node string // empty where the address alone names the item
	Name string
}

var (
	nameInfo     = exi.N(NSInfo, "query")
	nameIdentity = exi.N(NSInfo, "identity")
	nameFeature  = exi.N(NSInfo, "feature")
	nameItems    = exi.N(NSItems, "query")
	nameItem     = exi.N(NSItems, "item")
	nameForm     = exi.N(nsForms, "x")
	nameField    = exi.N(nsForms, "field")
	nameValue    = exi.N(nsForms, "value")
	attrNode     = exi.N("", "node")
	attrCategory = exi.N("", "category")
	attrType     = exi.N("", "type")
	attrName     = exi.N("", "name")
	attrVar      = exi.N("", "var")
	attrJID      = exi.N("", "jid")
	attrLang     = exi.N(exi.NSXML, "lang")
)

const formType = "FORM_TYPE"

// AppendEvents writes the query element.
func (i Info) AppendEvents(d *exi.Doc) {
	d.Start(nameInfo)
	opt(d, attrNode, i.Node)
	for _, id := range i.Identities {
		d.Start(nameIdentity)
		d.Attr(attrCategory, exi.Str(id.Category))
		d.Attr(attrType, exi.Str(id.Type))
		opt(d, attrName, id.Name)
		opt(d, attrLang, id.Lang)
		d.End()
	}
	for _, f := range i.Features {
		d.Start(nameFeature)
		d.Attr(attrVar, exi.Str(f))
		d.End()
	}
	for _, f := range i.Forms {
		f.appendEvents(d)
	}
	d.End()
}

func (f Form) appendEvents(d *exi.Doc) {
	d.Start(nameForm)
	d.Attr(attrType, exi.Str("result"))
	d.Start(nameField)
	d.Attr(attrVar, exi.Str(formType))
	d.Attr(attrType, exi.Str("hidden"))
	d.Element(nameValue, exi.Str(f.Type))
	d.End()
	for _, field := range f.Fields {
		d.Start(nameField)
		d.Attr(attrVar, exi.Str(field.Var))
		for _, v := range field.Values {
			d.Element(nameValue, exi.Str(v))
		}
		d.End()
	}
	d.End()
}

func opt(d *exi.Doc, name exi.Name, s string) {
	if s != "" {
		d.Attr(name, exi.Str(s))
	}
}

type itemList struct {
	node  string
	items []Item
}

func (l itemList) AppendEvents(d *exi.Doc) {
	d.Start(nameItems)
	opt(d, attrNode, l.node)
	for _, it := range l.items {
		d.Start(nameItem)
		d.Attr(attrJID, exi.Str(it.JID.String()))
		opt(d, attrNode, it.Node)
		opt(d, attrName, it.Name)
		d.End()
	}
	d.End()
}

// Bounds of what is taken from an answer.
const (
	maxEntries = 1024
	maxItems   = 4096
)

// ErrImplausible is in the chain of ParseInfo's errors about answers that must
// be rejected as a whole (XEP-0115 §5.4).
var ErrImplausible = errors.New("disco: the answer contradicts itself")

// ParseInfo reads a disco#info answer. Unknown content is left out, and so are
// forms without a FORM_TYPE; duplicates are an error.
func ParseInfo(c exi.Cursor) (Info, error) {
	i := Info{Node: text(c, attrNode)}
	for k := range c.Children() {
		if len(i.Identities)+len(i.Features)+len(i.Forms) >= maxEntries {
			return i, errors.New("disco: the answer is too long")
		}
		switch k.Name() {
		case nameIdentity:
			id := Identity{Category: text(k, attrCategory), Type: text(k, attrType), Name: text(k, attrName), Lang: text(k, attrLang)}
			if slices.ContainsFunc(i.Identities, func(o Identity) bool {
				return o.Category == id.Category && o.Type == id.Type && o.Lang == id.Lang
			}) {
				return i, fmt.Errorf("%w: identity %s/%s twice", ErrImplausible, id.Category, id.Type)
			}
			i.Identities = append(i.Identities, id)
		case nameFeature:
			f := text(k, attrVar)
			if i.Has(f) {
				return i, fmt.Errorf("%w: feature %q twice", ErrImplausible, f)
			}
			i.Features = append(i.Features, f)
		case nameForm:
			f, ok, err := parseForm(k)
			if err != nil {
				return i, err
			}
			if !ok {
				continue
			}
			if slices.ContainsFunc(i.Forms, func(o Form) bool { return o.Type == f.Type }) {
				return i, fmt.Errorf("%w: two forms %q", ErrImplausible, f.Type)
			}
			i.Forms = append(i.Forms, f)
		}
	}
	return i, nil
}

func text(c exi.Cursor, name exi.Name) string {
	v, _ := c.Attr(name)
	return v.String()
}

// parseForm reads a form; ok is false for one without a hidden FORM_TYPE.
func parseForm(c exi.Cursor) (f Form, ok bool, err error) {
	for k := range c.Children() {
		if k.Name() != nameField {
			continue
		}
		field := Field{Var: text(k, attrVar)}
		for v := range k.Children() {
			if v.Name() == nameValue && len(field.Values) < maxEntries {
				field.Values = append(field.Values, v.Text().String())
			}
		}
		if field.Var != formType {
			if field.Var != "" && len(f.Fields) < maxEntries {
				f.Fields = append(f.Fields, field)
			}
			continue
		}
		for _, v := range field.Values {
			if v != field.Values[0] {
				return f, false, fmt.Errorf("%w: a form with two types", ErrImplausible)
			}
		}
		if text(k, attrType) == "hidden" && len(field.Values) > 0 {
			f.Type, ok = field.Values[0], true
		}
	}
	return f, ok, nil
}

// Verification returns the SHA-1 verification string of i (XEP-0115 §5.1). It
// fails for content with "<", by which different answers could have the same
// string.
func Verification(i Info) (string, error) {
	var b strings.Builder
	put := func(parts ...string) error {
		for n, s := range parts {
			if strings.Contains(s, "<") {
				return fmt.Errorf("disco: %q has a character that verification strings cannot carry", s)
			}
			if n > 0 {
				b.WriteByte('/')
			}
			b.WriteString(s)
		}
		b.WriteByte('<')
		return nil
	}
	var err error
	add := func(parts ...string) { err = errors.Join(err, put(parts...)) }
	ids := slices.Clone(i.Identities)
	key := func(id *Identity) string { return id.Category + "\x00" + id.Type + "\x00" + id.Lang + "\x00" + id.Name }
	sort.Slice(ids, func(i, j int) bool { return key(&ids[i]) < key(&ids[j]) })
	for _, id := range ids {
		add(id.Category, id.Type, id.Lang, id.Name)
	}
	for _, f := range slices.Sorted(slices.Values(i.Features)) {
		add(f)
	}
	forms := slices.Clone(i.Forms)
	sort.Slice(forms, func(i, j int) bool { return forms[i].Type < forms[j].Type })
	for _, f := range forms {
		add(f.Type)
		fields := slices.Clone(f.Fields)
		sort.SliceStable(fields, func(i, j int) bool { return fields[i].Var < fields[j].Var })
		for _, field := range fields {
			add(field.Var)
			for _, v := range slices.Sorted(slices.Values(field.Values)) {
				add(v)
			}
		}
	}
	sum := sha1.Sum([]byte(b.String()))
	return base64.StdEncoding.EncodeToString(sum[:]), err
}
