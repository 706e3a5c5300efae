package pairing

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"

	"postern/internal/cli"
	"postern/provisioning"
)

const searchHelp = `Usage: postern search CONDITION ... [flags]

Finds things in the registry that their owners made public. All conditions must
hold; each names a tag. Quote them, the shell has its own use for < and >.

  postern search MAN=example.org 'V>=1.2'
  postern search 'NAME=~Kiln*' ROOM!=3 --all
  postern search 'LAT=[47.1,47.5]' 'LON=[8,9)' --json

  TAG=VALUE  TAG!=VALUE          equal, not equal; case matters
  TAG<V  TAG<=V  TAG>V  TAG>=V   before, behind; letters by code point
  TAG=[A,B]  TAG!=[A,B]          between, outside; ( and ) exclude the end
  TAG=~PATTERN                   text with * for any characters
  TAG==VALUE                     equal, whatever the value looks like

V, LAT, LON and ALT are numbers; # makes another tag one: '#FLOOR>3'. Things
without the tag are not found, and KEY never is.

  --max N            stop after N things (50)
  --offset N         leave out the first N
  --all              everything, however much
  --wildcard S       what stands for any characters in patterns (*)
` + registryHelp

// Search is the command postern search.
func Search(ctx context.Context, env cli.Env, args []string) int {
	return env.Finish("search", search(ctx, &env, args))
}

func search(ctx context.Context, env *cli.Env, args []string) error {
	var o options
	f := cli.NewFlags("search", searchHelp)
	o.add(f)
	most := f.Int("max", 50, "")
	offset := f.Int("offset", 0, "")
	all := f.Bool("all", false, "")
	wildcard := f.String("wildcard", "*", "")
	rest, err := f.Arguments(env, args)
	switch {
	case err != nil:
		return err
	case len(rest) == 0:
		return cli.Usagef("give at least one condition, like MAN=example.org")
	case len(rest) > provisioning.MaxOps:
		return cli.Usagef("at most %d conditions", provisioning.MaxOps)
	case *most < 1 || *offset < 0:
		return cli.Usagef("--max is at least 1 and --offset not below 0")
	case *wildcard == "":
		return cli.Usagef("--wildcard must not be empty")
	}
	s := provisioning.Search{Offset: *offset}
	for _, arg := range rest {
		op, err := parseCondition(arg, *wildcard)
		if err != nil {
			return err
		}
		s.Ops = append(s.Ops, op)
	}
	if *all {
		*most = math.MaxInt32
	}
	d, err := o.open(ctx, env, provisioning.NSDiscovery, jid.JID{})
	if err != nil {
		return err
	}
	defer d.op.Close()
	found, err := d.searchPages(s, *most)
	if err != nil {
		return d.refused(err, "what is searched for")
	}
	if o.json {
		return d.foundJSON(found, *offset)
	}
	return d.showFound(found, *offset)
}

// searchPages asks for page after page until there are most things.
func (d *desk) searchPages(s provisioning.Search, most int) (all provisioning.Found, err error) {
	for {
		s.MaxCount = min(most-len(all.Things), 100)
		f, err := d.Registry.Search(d.ctx, s)
		if err != nil {
			return all, err
		}
		all.Things = append(all.Things, f.Things...)
		s.Offset += len(f.Things)
		if all.More = f.More; !f.More || len(f.Things) == 0 || len(all.Things) >= most {
			return all, nil
		}
	}
}

func (d *desk) showFound(f provisioning.Found, offset int) error {
	if len(f.Things) == 0 {
		_, err := fmt.Fprintln(d.env.Stderr, "Nothing is found.")
		return err
	}
	rows := [][]string{{"THING", "NODE", "OWNER", "TAGS"}}
	for _, t := range f.Things {
		rows = append(rows, []string{t.JID.String(), t.Ref.String(), t.Owner.String(), tagText(t.Tags)})
	}
	if err := d.env.Table(d.env.Stdout, rows); err != nil {
		return err
	}
	if f.More {
		fmt.Fprintf(d.env.Stderr, "There are more: --offset %d goes on, --all shows everything.\n", offset+len(f.Things))
	}
	return nil
}

// tagText shows tags in the order of their names.
func tagText(tags []provisioning.Tag) string {
	sorted := slices.Clone(tags)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Name < sorted[j].Name })
	var words []string
	for _, t := range sorted {
		v := t.Value
		if strings.ContainsAny(v, " \"") || v == "" {
			v = strconv.Quote(v)
		}
		words = append(words, t.Name+"="+v)
	}
	return strings.Join(words, " ")
}

type jsonTag struct {
	Name    string `json:"name"`
	Numeric bool   `json:"numeric,omitempty"`
	Value   string `json:"value"`
}

func tagsJSON(tags []provisioning.Tag) []jsonTag {
	out := []jsonTag{}
	for _, t := range tags {
		out = append(out, jsonTag(t))
	}
	return out
}

func (d *desk) foundJSON(f provisioning.Found, offset int) error {
	type thing struct {
		Thing  string    `json:"thing"`
		Node   string    `json:"node,omitempty"`
		Source string    `json:"source,omitempty"`
		Cache  string    `json:"cacheType,omitempty"`
		Owner  string    `json:"owner"`
		Tags   []jsonTag `json:"tags"`
	}
	list := []thing{}
	for _, t := range f.Things {
		list = append(list, thing{t.JID.String(), t.ID, t.Source, t.Cache, t.Owner.String(), tagsJSON(t.Tags)})
	}
	return cli.WriteJSON(d.env.Stdout, map[string]any{"version": 1, "registry": d.Addr.String(), "offset": offset, "more": f.More, "things": list})
}

// signs are what stands between tag and value, longer ones first.
var signs = []struct {
	sign    string
	compare provisioning.Compare
}{
	{"=~", provisioning.Mask}, {"==", provisioning.Eq}, {"!=", provisioning.NEq}, {"<=", provisioning.LtEq}, {">=", provisioning.GtEq},
	{"=", provisioning.Eq}, {"<", provisioning.Lt}, {">", provisioning.Gt},
}

// parseCondition reads one condition of a search.
func parseCondition(s, wildcard string) (o provisioning.Op, err error) {
	at := strings.IndexAny(s, "=!<>")
	if at < 1 {
		return o, cli.Usagef("%q is no condition: it is a tag, a comparison and a value, like MAN=example.org", s)
	}
	name, numeric := strings.CutPrefix(s[:at], "#")
	if known, ok := provisioning.Predefined(name); ok {
		numeric = known
	}
	o = provisioning.Op{Tag: name, Numeric: numeric}
	sign, value := "", ""
	for _, c := range signs {
		if rest, ok := strings.CutPrefix(s[at:], c.sign); ok {
			sign, value, o.Compare = c.sign, rest, c.compare
			break
		}
	}
	if sign == "" {
		return o, cli.Usagef("%q has no comparison: = != < <= > >= =~ ==", s)
	}
	if (sign == "=" || sign == "!=") && rangeOf(&o, value) {
		value = ""
	}
	o.Value = value
	switch {
	case o.Compare == provisioning.Mask && numeric:
		return o, cli.Usagef("%s is a number; patterns are for text", name)
	case o.Compare == provisioning.Mask:
		o.Wildcard = wildcard
	case o.Compare == provisioning.Range || o.Compare == provisioning.NRange:
		if numeric && (!isNumber(o.Min) || !isNumber(o.Max)) {
			return o, cli.Usagef("%s is a number: both ends of %q must be, too", name, s)
		}
	case numeric && !isNumber(value):
		return o, cli.Usagef("%s is a number, not %q", name, value)
	}
	if provisioning.FoldTag(name) == provisioning.KeyTag {
		return o, cli.Usagef("nothing is found by its KEY; that is what makes it a secret")
	}
	return o, nil
}

// rangeOf reads [a,b], (a,b], [a,b) and (a,b).
func rangeOf(o *provisioning.Op, value string) bool {
	n := len(value)
	if n < 3 || value[0] != '[' && value[0] != '(' || value[n-1] != ']' && value[n-1] != ')' {
		return false
	}
	low, high, ok := strings.Cut(value[1:n-1], ",")
	if !ok {
		return false
	}
	o.Min, o.Max = strings.TrimSpace(low), strings.TrimSpace(high)
	o.OpenMin, o.OpenMax = value[0] == '(', value[n-1] == ')'
	if o.Compare == provisioning.NEq {
		o.Compare = provisioning.NRange
	} else {
		o.Compare = provisioning.Range
	}
	return true
}

func isNumber(s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
