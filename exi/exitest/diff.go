package exitest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"postern/exi"
)

// Diff compares two documents as infosets: names by namespace and local name,
// attributes in any order, adjoining text as one, prefixes only when they are
// preserved. Numbers, dates and binary content are compared by value and
// lists word by word, unless lexical values are preserved. White space that the
// codec strips is not compared. It returns nil or says where they differ first.
func Diff(got, want *exi.Doc, o *exi.Options) error {
	g, w := flatten(got, o), flatten(want, o)
	for i := range min(len(g), len(w)) {
		if err := sameItem(g[i], w[i], o); err != nil {
			return fmt.Errorf("item %d, in %s: %w", i, w[i].path, err)
		}
	}
	if len(g) != len(w) {
		return fmt.Errorf("%d items, want %d", len(g), len(w))
	}
	return nil
}

// item is an element's start with its attributes, its end, a run of text, or
// another event.
type item struct {
	kind   exi.Kind
	name   exi.Name
	prefix string
	text   string
	attrs  map[exi.Name]exi.Value
	ns     map[string]string
	path   string
}

func flatten(d *exi.Doc, o *exi.Options) []item {
	var items []item
	path := ""
	for i := range d.Len() {
		e := d.Event(i)
		last := len(items) - 1
		switch e.Kind {
		case exi.SE:
			path += "/" + e.Name.Value().Local
			items = append(items, item{kind: exi.SE, name: e.Name, prefix: e.Prefix, path: path,
				attrs: map[exi.Name]exi.Value{}, ns: map[string]string{}})
		case exi.AT:
			items[last].attrs[e.Name] = e.Value
		case exi.NS:
			items[last].ns[e.Prefix] = e.Name.Value().Space
		case exi.SC:
		case exi.EE:
			items = append(items, item{kind: exi.EE, path: path})
			if i := strings.LastIndexByte(path, '/'); i >= 0 {
				path = path[:i]
			}
		case exi.CH:
			text := e.Value.String()
			if text == "" {
				continue
			}
			if last >= 0 && items[last].kind == exi.CH {
				items[last].text += text
				continue
			}
			items = append(items, item{kind: exi.CH, text: text, path: path})
		default:
			items = append(items, item{kind: e.Kind, name: e.Name, text: e.Value.String(), path: path})
		}
	}
	if !o.StripSpace || o.Preserve.LexicalValues {
		return items
	}
	kept := items[:0]
	start := false // the last tag was a start tag
	for i, it := range items {
		if it.kind == exi.SE || it.kind == exi.EE {
			start = it.kind == exi.SE
		}
		if it.kind == exi.CH && strings.Trim(it.text, " \t\r\n") == "" &&
			(!start || i+1 == len(items) || items[i+1].kind == exi.SE) {
			continue
		}
		kept = append(kept, it)
	}
	return kept
}

func sameItem(g, w item, o *exi.Options) error {
	if g.kind != w.kind {
		return fmt.Errorf("%v %s %q, want %v %s %q", g.kind, local(g.name), g.text, w.kind, local(w.name), w.text)
	}
	if g.name != w.name {
		return fmt.Errorf("%v %v, want %v", g.kind, g.name.Value(), w.name.Value())
	}
	switch g.kind {
	case exi.SE:
		if o.Preserve.Prefixes && !o.Strict {
			if g.prefix != w.prefix {
				return fmt.Errorf("prefix %q, want %q", g.prefix, w.prefix)
			}
			for p, uri := range w.ns {
				if g.ns[p] != uri {
					return fmt.Errorf("prefix %q is bound to %q, want %q", p, g.ns[p], uri)
				}
			}
		}
		for n, v := range w.attrs {
			x, ok := g.attrs[n]
			if !ok {
				return fmt.Errorf("attribute %s is missing", local(n))
			}
			if !sameValue(x, v, o) {
				return fmt.Errorf("attribute %s is %q, want %q", local(n), x.String(), v.String())
			}
		}
		for n := range g.attrs {
			if o.Profile != nil && n == exi.NameXsiType {
				continue // how encoders keep within the profile's bounds
			}
			if _, ok := w.attrs[n]; !ok {
				return fmt.Errorf("attribute %s is too much", local(n))
			}
		}
	case exi.CH:
		if !sameText(g.text, w.text, o) {
			return fmt.Errorf("text %q, want %q", g.text, w.text)
		}
	default:
		if g.text != w.text {
			return fmt.Errorf("%v %q, want %q", g.kind, g.text, w.text)
		}
	}
	return nil
}

func local(n exi.Name) string {
	if n == (exi.Name{}) {
		return ""
	}
	return n.Value().Local
}

func sameValue(g, w exi.Value, o *exi.Options) bool {
	gs, _, gl, gok := g.Name()
	ws, _, wl, wok := w.Name()
	if gok && wok && !o.Preserve.LexicalValues {
		return gs == ws && gl == wl
	}
	return sameText(g.String(), w.String(), o)
}

// sameText compares text by value where it may have been typed.
func sameText(g, w string, o *exi.Options) bool {
	if g == w {
		return true
	}
	if o.Preserve.LexicalValues || o.Schema == nil {
		return false
	}
	gf, wf := strings.Fields(g), strings.Fields(w)
	if len(gf) == len(wf) {
		same := true
		for i := range gf {
			same = same && sameWord(gf[i], wf[i])
		}
		if same {
			return true
		}
	}
	a, aok := exi.Str(g).Bytes(exi.Base64)
	b, bok := exi.Str(w).Bytes(exi.Base64)
	return aok && bok && len(a) > 0 && bytes.Equal(a, b)
}

func sameWord(g, w string) bool {
	if g == w {
		return true
	}
	gb, gok := exi.Str(g).Bool()
	wb, wok := exi.Str(w).Bool()
	if gok && wok {
		return gb == wb
	}
	gx, gerr := strconv.ParseFloat(g, 64)
	wx, werr := strconv.ParseFloat(w, 64)
	if gerr == nil && werr == nil && strings.ContainsAny(g+w, "eE") {
		return gx == wx
	}
	gm, ge, gok := exi.ParseDec(g)
	wm, we, wok := exi.ParseDec(w)
	if !gok || !wok {
		return false
	}
	for gm != 0 && gm%10 == 0 {
		gm, ge = gm/10, ge+1
	}
	for wm != 0 && wm%10 == 0 {
		wm, we = wm/10, we+1
	}
	return gm == wm && (gm == 0 || ge == we)
}
