package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file, far above what a gateway with 2,000 nodes needs.
const (
	maxFile   = 1 << 20 // octets
	maxTokens = 200_000
	maxDepth  = 24 // of brackets, or of list entries in one line
	maxIndent = 96 // columns
	maxLine   = 4096
	maxRun    = 4096 // keys in a row without a list entry; the parser is quadratic in it
	maxEmpty  = 4096 // entries and keys without a value: for each the parser moves all that follows
)

type shape uint8

const (
	null shape = iota
	scalar
	mapping
	sequence
)

func (s shape) String() string {
	return [...]string{"nothing", "a single value", "keys with values", "a list"}[s]
}

// node is a piece of the file. Scalars keep their text, so that the type a
// key has decides how it is read: "no" is the text no where a text is wanted.
type node struct {
	shape     shape
	line, col int
	text      string
	quoted    bool
	keys      []*node // of a mapping, beside items
	items     []*node
}

// get returns the value of a key of a mapping.
func (n *node) get(key string) *node {
	if n == nil || n.shape != mapping {
		return nil
	}
	for i, k := range n.keys {
		if k.text == key {
			return n.items[i]
		}
	}
	return nil
}

// key returns the node of the key itself, or n when it has no such key.
func (n *node) key(key string) *node {
	if n != nil && n.shape == mapping {
		for _, k := range n.keys {
			if k.text == key {
				return k
			}
		}
	}
	return n
}

// parse reads YAML into nodes. It returns nil after a problem that leaves
// nothing to look at.
func (r *report) parse(data []byte) (root *node) {
	at := &node{line: 1, col: 1}
	switch {
	case len(data) > maxFile:
		r.add(at, "", fmt.Sprintf("the file has %d octets", len(data)), fmt.Sprintf("at most %d are read", maxFile))
		return nil
	case !utf8.Valid(data):
		r.add(firstInvalid(data), "", "the file is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	if at := longLine(data); at != nil {
		r.add(at, "", "the line is too long", fmt.Sprintf("at most %d characters are read", maxLine))
		return nil
	}
	// The YAML library is not ours and the file may be anything: what it cannot
	// take is a fault of the file, not a crash.
	defer func() {
		if e := recover(); e != nil {
			r.add(at, "", "this is not YAML that can be understood", "check indentation, brackets and quotes")
			root = nil
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if !r.tokens(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d.Body)
		}
	}
	if len(docs) == 0 {
		r.add(at, "", "the file holds no configuration", "postern schema --example prints one to start from")
		return nil
	}
	if len(docs) > 1 {
		r.add(place(docs[1]), "", "the file holds more than one document (---)", "keep one")
	}
	return r.convert(docs[0], "", 0)
}

// tokens refuses what a configuration has no use for, and what would make the
// parser work too hard.
func (r *report) tokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.add(&node{line: 1, col: 1}, "", "the file is too large", fmt.Sprintf("it may have %d words and signs", maxTokens))
		return false
	}
	before := len(r.list)
	entries, line, run, empty := 0, 0, 0, 0
	var in brackets
	for i, t := range tokens {
		at := &node{line: t.Position.Line, col: t.Position.Column}
		if at.line != line {
			line, entries = at.line, 0
		}
		switch t.Type {
		case token.SequenceEntryType:
			entries++
			run = 0
		case token.MappingValueType:
			run++
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			r.add(at, "", "anchors, aliases and merge keys (& * <<) are not supported", "write the value out; quote it if the sign is part of it")
		case token.TagType, token.DirectiveType:
			r.add(at, "", "tags and directives (! %) are not supported", "leave it out; quote it if the sign is part of a value")
		case token.MappingKeyType:
			r.add(at, "", "complex keys (?) are not supported", "write key: value")
		}
		if in.next(tokens, i) || hasNoValue(tokens, i) {
			empty++
		}
		if len(in.open) > maxDepth || entries > maxDepth || t.Position.IndentNum > maxIndent {
			r.add(at, "", "nested too deep", "")
			return false
		}
		if run > maxRun || len(r.list) >= maxProblems {
			r.add(at, "", "there are too many keys", fmt.Sprintf("at most %d in a row", maxRun))
			return false
		}
		if empty > maxEmpty {
			r.add(at, "", "there are too many keys and entries without a value", fmt.Sprintf("write values, or leave them out; at most %d are read", maxEmpty))
			return false
		}
	}
	return len(r.list) == before
}

// brackets follows the brackets of a file.
type brackets struct {
	open   []token.Type // what began them
	valued bool         // there was a colon since the last comma
}

// next takes a token and tells whether it ends a key that stands alone within
// braces.
func (b *brackets) next(tokens token.Tokens, i int) (alone bool) {
	switch t := tokens[i].Type; t {
	case token.SequenceStartType, token.MappingStartType:
		b.open, b.valued = append(b.open, t), false
	case token.MappingValueType:
		b.valued = true
	case token.CollectEntryType, token.SequenceEndType, token.MappingEndType:
		last := len(b.open) - 1
		if last < 0 {
			return false
		}
		alone = b.open[last] == token.MappingStartType && !b.valued && tokens[i-1].Type != token.MappingStartType
		if b.valued = t != token.CollectEntryType; b.valued {
			b.open = b.open[:last]
		}
	}
	return alone
}

// hasNoValue tells whether a token is the sign of an entry or a key, and what
// follows is not its value.
func hasNoValue(tokens token.Tokens, i int) bool {
	t := tokens[i]
	column := t.Position.Column // of the entry, or of the key
	switch {
	case t.Type == token.MappingValueType && i > 0:
		column = tokens[i-1].Position.Column
	case t.Type != token.SequenceEntryType && t.Type != token.MappingValueType:
		return false
	}
	for i++; i < len(tokens) && tokens[i].Type == token.CommentType; i++ {
	}
	if i == len(tokens) {
		return true
	}
	switch next := tokens[i]; next.Type {
	case token.CollectEntryType, token.MappingEndType, token.SequenceEndType:
		return true
	case token.SequenceEntryType:
		// A list may stand below its key without being indented.
		if t.Type == token.MappingValueType && next.Position.Column == column {
			return false
		}
		fallthrough
	default:
		return next.Position.Line > t.Position.Line && next.Position.Column <= column
	}
}

// yamlError is what the parser's errors know. Naming their type would link the
// library's decoder, which has no use here.
type yamlError interface {
	error
	GetMessage() string
	GetToken() *token.Token
}

// syntax reports an error of the YAML parser.
func (r *report) syntax(err error) {
	at, text := &node{line: 1, col: 1}, err.Error()
	var se yamlError
	if errors.As(err, &se) {
		text = se.GetMessage()
		if t := se.GetToken(); t != nil && t.Position != nil {
			at.line, at.col = t.Position.Line, t.Position.Column
		}
	} else if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	fix := "check indentation, brackets and quotes around here"
	if strings.Contains(text, "'\t'") || strings.Contains(text, "tab") {
		text, fix = "a tab indents this line", "indent with spaces"
	}
	r.add(at, "", "not valid YAML: "+text, fix)
}

func (r *report) convert(n ast.Node, path string, depth int) *node {
	out := place(n)
	if depth > maxDepth {
		r.add(out, path, "nested too deep", "")
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		out.shape = mapping
		r.pairs(out, n.Values, path, depth)
	case *ast.MappingValueNode:
		out.shape = mapping
		r.pairs(out, []*ast.MappingValueNode{n}, path, depth)
	case *ast.SequenceNode:
		out.shape = sequence
		for i, v := range n.Values {
			out.items = append(out.items, r.convert(v, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
	case *ast.NullNode:
	case *ast.LiteralNode:
		out.shape, out.text, out.quoted = scalar, n.Value.Value, true
	case *ast.StringNode:
		out.shape, out.text = scalar, n.Value
		out.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case ast.ScalarNode:
		out.shape, out.text = scalar, strings.TrimSpace(n.GetToken().Value)
	default:
		r.add(out, path, "this is not something a configuration can hold", "write a value, a list, or keys with values")
	}
	return out
}

func (r *report) pairs(out *node, values []*ast.MappingValueNode, path string, depth int) {
	seen := make(map[string]*node, len(values))
	if len(values) > 0 {
		k := place(values[0].Key)
		out.line, out.col = k.line, k.col
	}
	for _, mv := range values {
		k := place(mv.Key)
		sc, ok := mv.Key.(ast.ScalarNode)
		if !ok {
			r.add(k, path, "a key has to be a plain word", "write key: value")
			continue
		}
		k.shape, k.text = scalar, strings.TrimSpace(sc.GetToken().Value)
		if first := seen[k.text]; first != nil {
			r.add(k, join(path, k.text), fmt.Sprintf("the key is there twice, first in line %d", first.line), "keep one of them")
			continue
		}
		seen[k.text] = k
		out.keys = append(out.keys, k)
		out.items = append(out.items, r.convert(mv.Value, join(path, k.text), depth+1))
	}
}

// place returns an empty node where n is.
func place(n ast.Node) *node {
	out := &node{line: 1, col: 1}
	if t := n.GetToken(); t != nil && t.Position != nil {
		out.line, out.col = t.Position.Line, t.Position.Column
	}
	return out
}

// longLine returns the place of a line that is longer than maxLine, or nil.
func longLine(data []byte) *node {
	for line := 1; len(data) > 0; line++ {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			end = len(data) - 1
		}
		if end > maxLine {
			return &node{line: line, col: maxLine + 1}
		}
		data = data[end+1:]
	}
	return nil
}

func firstInvalid(data []byte) *node {
	at := &node{line: 1, col: 1}
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if c == utf8.RuneError && n == 1 {
			break
		}
		at.col++
		if c == '\n' {
			at.line, at.col = at.line+1, 1
		}
		data = data[n:]
	}
	return at
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
