package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"postern/control"
	"postern/drivers"
	"postern/internal/node"
	"postern/xmpp"
)

const formHelp = `Usage: postern form JID [NODE] [PARAMETER=VALUE ...] [flags]

Asks a thing for its control form (XEP-0325): what can be set on a node, with
ranges, choices and present values. In a terminal it then asks for each
parameter; Enter leaves one as it is, and only what was changed is sent, after
a last question. Present values follow the thing while the form is open; where
the thing wants to see a field as soon as it was changed, the form then shows
what the thing made of it.

With PARAMETER=VALUE these are sent by the form without questions. With --json,
or without a terminal, the form is printed as one JSON document.

  postern form gateway@site.example boiler
  postern form gateway@site.example boiler setpoint=21.5
  postern form gateway@site.example boiler --json

  --node N           a node; several times for one form over several
  --source S         the data source of the nodes, where it is needed
  --lang L           the language of the texts, for example de; else that of
                     LC_ALL, LC_MESSAGES or LANG
  --json             one JSON document instead of text
` + commonHelp

// Form shows and submits the control form of a thing.
func Form(ctx context.Context, e Env, args []string) int { return e.finish("form", e.form(ctx, args)) }

// formOrder is what a form command asks for.
type formOrder struct {
	target
	opt   common
	nodes []node.Ref
	set   [][2]string
	lang  string
	json  bool
}

func (e *Env) formArgs(args []string) (o formOrder, err error) {
	fs := newFlags("form", formHelp)
	var nodes list
	var source string
	o.opt.add(fs)
	fs.Var(&nodes, "node", "")
	fs.StringVar(&source, "source", "", "")
	fs.StringVar(&o.lang, "lang", e.language(), "")
	fs.BoolVar(&o.json, "json", false, "")
	rest, err := fs.parse(e, args)
	if err == nil {
		err = o.opt.check()
	}
	if err != nil {
		return o, err
	}
	if len(rest) == 0 {
		return o, usagef("give an address and a node: gateway@site.example boiler")
	}
	o.address, rest = rest[0], rest[1:]
	if len(nodes) == 0 && len(rest) > 0 && !strings.Contains(rest[0], "=") {
		nodes, rest = list{rest[0]}, rest[1:]
	}
	for _, a := range rest {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return o, usagef("%q is not PARAMETER=VALUE", a)
		}
		o.set = append(o.set, [2]string{name, value})
	}
	o.nodes = refs(nodes, source)
	return o, e.target(&o.target, o.opt)
}

// editor is a form that somebody fills in.
type editor struct {
	e      *Env
	o      *formOrder
	c      *conn
	client *control.Client
	full   jid.JID
	form   *control.Form
	edited map[string]string
	in     *bufio.Reader

	mu      sync.Mutex
	updates []control.Update // the latest, until they are merged
}

// maxUpdates bounds the updates that wait for a person; later ones hold what
// earlier ones did.
const maxUpdates = 8

func (f *editor) take(u control.Update) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.updates) == maxUpdates {
		f.updates = f.updates[1:]
	}
	f.updates = append(f.updates, u)
}

func (e *Env) form(ctx context.Context, args []string) error {
	o, err := e.formArgs(args)
	if err == errHelp {
		return nil
	}
	if err != nil {
		return err
	}
	f := &editor{e: e, o: &o, edited: map[string]string{}, in: bufio.NewReader(e.Stdin)}
	if f.c, err = f.connect(ctx); err != nil {
		return err
	}
	defer f.c.close()
	f.client = control.NewClient(f.c.Session)
	start, cancel := context.WithTimeout(f.c.alive, o.opt.timeout)
	defer cancel()
	if f.full, err = f.c.find(start, o.account, o.jid); err != nil {
		return err
	}
	// What does not let its features be asked may serve forms all the same.
	if serves, err := f.client.Serves(start, f.full, f.caps()); err == nil && !serves {
		return &failure{code: ExitFailure, msg: o.jid.String() + ": nothing can be set on it: it does not offer control", hint: "postern read shows what it tells"}
	}
	if f.form, err = f.client.GetForm(start, f.full, o.nodes, o.lang, control.Tokens{}); err != nil {
		return f.refused(err)
	}
	f.fill(start)
	switch {
	case len(o.set) > 0:
		return f.assign(f.c.alive)
	case o.json || e.OutTerminal == nil || e.ReadPassword == nil:
		defer f.giveUp(ctx)
		return writeJSON(e.Stdout, formDocument(f.full.String(), f.form))
	}
	return f.interact(f.c.alive)
}

// connect logs in within the time of a command. The session then lasts as long
// as the person takes; each request has its own time.
func (f *editor) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(f.o.opt.timeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	c, err := f.e.dial(ctx, link{account: f.o.account, verbose: f.o.opt.verbose, register: func(m *xmpp.Mux) { control.ServeUpdates(m, f.take) }})
	if err != nil && context.Cause(ctx) == context.DeadlineExceeded {
		err = f.e.connectFailure(f.o.account, context.DeadlineExceeded)
	}
	return c, err
}

// refused explains a refusal, with what was said about parameters.
func (f *editor) refused(err error) error {
	var set *control.SetError
	if errors.As(err, &set) {
		for _, p := range set.Params {
			fmt.Fprintf(f.e.Stderr, "%s: %s\n", clean(p.Name), clean(p.Text))
		}
	}
	return f.c.refusal(f.o.account, f.full, err)
}

func (f *editor) giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, f.o.opt.timeout)
	defer cancel()
	_ = f.client.Cancel(ctx, f.full, f.form) // the thing forgets it by itself too
}

// assign fills in what the command line says.
func (f *editor) assign(ctx context.Context) error {
	for _, a := range f.o.set {
		i := f.index(a[0])
		if i < 0 {
			return &failure{code: ExitFailure, msg: fmt.Sprintf("the form has no parameter %q", a[0]), hint: "postern form without it lists them"}
		}
		v, fault := fit(&f.form.Fields[i], a[1])
		if fault != "" {
			return usagef("%s %s, not %q", a[0], fault, a[1])
		}
		f.edited[a[0]] = v
	}
	return f.submit(ctx)
}

func (f *editor) index(name string) int {
	for i := range f.form.Fields {
		if fd := &f.form.Fields[i]; fd.Var == name && !fd.Hidden {
			return i
		}
	}
	return -1
}

// merge takes updates over that came meanwhile, and reports whether any did.
func (f *editor) merge() (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range f.updates {
		if u.Applies(f.form, f.full) {
			f.edited = f.form.Merge(u.Form, f.edited)
			news = true
		}
	}
	f.updates = nil
	return news
}

// interact asks for each parameter in the form's order.
func (f *editor) interact(ctx context.Context) error {
	out := f.e.Stdout
	fmt.Fprintf(out, "%s\n", clean(f.form.Title))
	for _, t := range f.form.Instructions {
		fmt.Fprintf(out, "%s\n", clean(t))
	}
	asked := map[string]bool{}
	heading := ""
	for {
		f.merge()
		fd := f.nextField(asked)
		if fd == nil {
			break
		}
		asked[fd.Var] = true
		if h := headingOf(fd); h != heading {
			heading = h
			fmt.Fprintf(out, "\n%s\n", clean(h))
		}
		if err := f.askField(ctx, fd.Var); err != nil {
			f.giveUp(ctx)
			return err
		}
	}
	if err := f.complete(); err != nil {
		f.giveUp(ctx)
		return err
	}
	f.merge()
	if len(f.edited) == 0 {
		text := "nothing was changed, nothing is sent"
		if len(asked) == 0 {
			text = "nothing can be set here"
		}
		fmt.Fprintln(out, text)
		f.giveUp(ctx)
		return nil
	}
	fmt.Fprintln(out)
	for i := range f.form.Fields {
		if v, ok := f.edited[f.form.Fields[i].Var]; ok {
			fmt.Fprintf(out, "%s = %s\n", clean(f.form.Fields[i].Var), clean(v))
		}
	}
	yes, err := f.yes("Send this?")
	if err != nil || !yes {
		fmt.Fprintln(out, "nothing was sent")
		f.giveUp(ctx)
		return err
	}
	return f.submit(ctx)
}

func headingOf(fd *control.Field) string {
	if fd.Section != "" {
		return fd.Page + ": " + fd.Section
	}
	return fd.Page
}

// nextField is the first field that was not asked yet.
func (f *editor) nextField(asked map[string]bool) *control.Field {
	for i := range f.form.Fields {
		if fd := &f.form.Fields[i]; !fd.Hidden && !asked[fd.Var] {
			return fd
		}
	}
	return nil
}

// errEnd: the person ended the input.
var errEnd = &failure{code: ExitFailure, msg: "given up; nothing was sent"}

// askField asks until the answer fits or is empty. The field is looked up by
// name each time: an update may have replaced it, or taken it away.
func (f *editor) askField(ctx context.Context, name string) error {
	for {
		f.merge()
		i := f.index(name)
		if i < 0 {
			fmt.Fprintf(f.e.Stdout, "  %s is not there any more\n", clean(name))
			return nil
		}
		fd := &f.form.Fields[i]
		fmt.Fprint(f.e.Stdout, promptOf(fd))
		if !fd.Writable {
			fmt.Fprintln(f.e.Stdout)
			return nil
		}
		line, err := f.line()
		if err != nil {
			return err
		}
		if line == "" {
			return nil
		}
		if f.merge() { // it may have changed while the person was writing
			if i = f.index(name); i < 0 {
				continue
			}
			fd = &f.form.Fields[i]
		}
		v, fault := fit(fd, line)
		if fault == "" {
			f.edited[name] = v
			if !fd.PostBack {
				return nil
			}
			if fault, err = f.postBack(ctx, name); fault == "" {
				return err
			}
		}
		fmt.Fprintf(f.e.Stdout, "  %s\n", clean(fault))
	}
}

func (f *editor) line() (string, error) {
	line, err := f.in.ReadString('\n')
	if err == io.EOF || err == nil && strings.Contains(line, "\x04") {
		return "", errEnd
	}
	return strings.TrimSpace(line), err
}

func (f *editor) yes(question string) (bool, error) {
	fmt.Fprintf(f.e.Stdout, "%s [y/N] ", question)
	line, err := f.line()
	return strings.EqualFold(line, "y") || strings.EqualFold(line, "yes"), err
}

// promptOf shows a field: label, what fits, the present value.
func promptOf(fd *control.Field) string {
	var b strings.Builder
	label := fd.Label
	if label == "" {
		label = fd.Var
	}
	fmt.Fprintf(&b, "  %s", clean(label))
	if label != fd.Var {
		fmt.Fprintf(&b, " (%s)", clean(fd.Var))
	}
	fmt.Fprintf(&b, ", %s", kindWords(fd))
	if fd.Doc != "" {
		fmt.Fprintf(&b, "\n    %s", clean(fd.Doc))
	}
	for _, o := range fd.Options {
		fmt.Fprintf(&b, "\n    %s", clean(o.Value))
		if o.Label != "" && o.Label != o.Value {
			fmt.Fprintf(&b, "  %s", clean(o.Label))
		}
	}
	if fd.Error != "" {
		fmt.Fprintf(&b, "\n    ! %s", clean(fd.Error))
	}
	if fd.Options != nil || fd.Doc != "" || fd.Error != "" {
		b.WriteString("\n   ")
	}
	switch {
	case !fd.Known:
		b.WriteString(" [not known]")
	default:
		fmt.Fprintf(&b, " [%s]", clean(fd.Value))
	}
	if !fd.Writable {
		b.WriteString(" cannot be changed")
		return b.String()
	}
	b.WriteString(": ")
	return b.String()
}

func kindWords(fd *control.Field) string {
	s := fd.Kind.String()
	switch {
	case fd.Min != "" && fd.Max != "":
		s += fmt.Sprintf(" from %s to %s", clean(fd.Min), clean(fd.Max))
	case fd.Min != "":
		s += " of at least " + clean(fd.Min)
	case fd.Max != "":
		s += " of at most " + clean(fd.Max)
	}
	return s
}

// fit checks what somebody wrote against the form, and says what is wrong. The
// thing checks again.
func fit(fd *control.Field, text string) (value, fault string) {
	if !fd.Writable {
		return "", "cannot be changed"
	}
	v, err := fd.Read(text)
	if err != nil {
		return "", err.Error()
	}
	if fd.Kind == drivers.KindBool {
		return v.String(), ""
	}
	if len(fd.Options) > 0 && !fd.Open && !offered(fd, text) {
		return "", "must be one of the choices"
	}
	if fault := outside(fd, v); fault != "" {
		return "", fault
	}
	if fd.Regex != "" && !offered(fd, text) {
		if re, err := regexp.Compile("^(?:" + fd.Regex + ")$"); err == nil && !re.MatchString(text) {
			return "", "must look like " + fd.Regex
		}
	}
	return text, ""
}

func offered(fd *control.Field, text string) bool {
	for _, o := range fd.Options {
		if o.Value == text {
			return true
		}
	}
	return false
}

// outside compares numbers with the form's bounds.
func outside(fd *control.Field, v drivers.Value) string {
	n, ok := v.Number()
	if !ok {
		return ""
	}
	if lo, err := drivers.ParseNumber(fd.Min); fd.Min != "" && err == nil && n.Cmp(lo) < 0 {
		return "must be at least " + fd.Min
	}
	if hi, err := drivers.ParseNumber(fd.Max); fd.Max != "" && err == nil && n.Cmp(hi) > 0 {
		return "must be at most " + fd.Max
	}
	return ""
}

// submit sends what was changed, with a second step where the thing asks one.
func (f *editor) submit(ctx context.Context) error {
	res, err := f.send(ctx)
	var set *control.SetError
	if errors.As(err, &set) && set.Refusal.Condition == xmpp.Conflict && f.e.OutTerminal != nil && f.e.ReadPassword != nil {
		for _, p := range set.Params {
			if _, isNumber := strconv.Atoi(p.Text); p.Name != "confirm" || len(p.Text) != 6 || isNumber != nil || f.index(p.Name) < 0 {
				continue
			}
			fmt.Fprintf(f.e.Stdout, "%s\n", clean(set.Refusal.Text))
			if yes, err := f.yes("Send it again with the code?"); err != nil || !yes {
				return errEnd
			}
			f.edited[p.Name] = p.Text
			res, err = f.send(ctx)
		}
	}
	if err != nil {
		return f.refused(err)
	}
	return f.report(res)
}

func (f *editor) send(ctx context.Context) (control.SetResult, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.opt.timeout)
	defer cancel()
	return f.client.Submit(ctx, f.full, f.o.nodes, f.form, f.edited, f.o.lang, control.Tokens{})
}

func (f *editor) report(res control.SetResult) error {
	if f.o.json {
		doc := map[string]any{"version": 1, "thing": f.full.String(), "applied": f.edited}
		if len(res.Nodes) > 0 {
			doc["nodes"] = res.Nodes
		}
		if len(res.Parameters) > 0 {
			doc["parameters"] = res.Parameters
		}
		return writeJSON(f.e.Stdout, doc)
	}
	switch {
	case len(res.Nodes)+len(res.Parameters) == 0:
		fmt.Fprintln(f.e.Stdout, "done")
	default:
		fmt.Fprintf(f.e.Stdout, "done in part: %v %v\n", res.Nodes, res.Parameters)
	}
	return nil
}

// formJSON is a control form for programs.
type formJSON struct {
	Version      int         `json:"version"`
	Thing        string      `json:"thing"`
	Title        string      `json:"title"`
	Instructions []string    `json:"instructions,omitempty"`
	Fields       []fieldJSON `json:"fields"`
}

type fieldJSON struct {
	Name     string       `json:"name"`
	Label    string       `json:"label,omitempty"`
	Doc      string       `json:"doc,omitempty"`
	Type     string       `json:"type"`
	Value    *string      `json:"value"` // null while it is not known
	Writable bool         `json:"writable"`
	NotSame  bool         `json:"not_same,omitempty"`
	Min      string       `json:"min,omitempty"`
	Max      string       `json:"max,omitempty"`
	Regex    string       `json:"regex,omitempty"`
	Options  []optionJSON `json:"options,omitempty"`
	Open     bool         `json:"open,omitempty"`
	Page     string       `json:"page,omitempty"`
	Section  string       `json:"section,omitempty"`
	Group    string       `json:"group,omitempty"`
}

type optionJSON struct {
	Value string `json:"value"`
	Label string `json:"label,omitempty"`
}

func formDocument(from string, f *control.Form) formJSON {
	doc := formJSON{Version: 1, Thing: from, Title: f.Title, Instructions: f.Instructions, Fields: []fieldJSON{}}
	for i := range f.Fields {
		fd := &f.Fields[i]
		if fd.Hidden {
			continue
		}
		j := fieldJSON{
			Name: fd.Var, Label: fd.Label, Doc: fd.Doc, Type: fd.Kind.String(), Writable: fd.Writable, NotSame: fd.NotSame,
			Min: fd.Min, Max: fd.Max, Regex: fd.Regex, Open: fd.Open, Page: fd.Page, Section: fd.Section, Group: fd.Group,
		}
		if fd.Known {
			j.Value = &fd.Value
		}
		for _, o := range fd.Options {
			j.Options = append(j.Options, optionJSON{o.Value, o.Label})
		}
		doc.Fields = append(doc.Fields, j)
	}
	return doc
}
