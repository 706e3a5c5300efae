package exicmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"postern/exi"
	"postern/exi/xsd"
)

// command is a parsed command line.
type command struct {
	opts    exi.Options
	in, out string
	r       io.Reader
	w       io.Writer
}

// settings are the flags that have no place in the options file.
type settings struct {
	options, schema string
	set             []func(*exi.OptionsFile)
}

// newFlags declares the flags; each one given changes the options file.
func newFlags(name string) (*flag.FlagSet, *settings) {
	fs := flag.NewFlagSet("postern exi "+name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	s := &settings{}
	fs.StringVar(&s.options, "options", "", "`FILE` with options as JSON; flags override it")
	fs.StringVar(&s.schema, "schema", "", "XML Schema `FILE`, or none, or xsdTypesOnly")
	text := func(name, help string, f func(*exi.OptionsFile, string) error) {
		fs.Func(name, help, func(v string) error {
			if err := f(&exi.OptionsFile{}, v); err != nil {
				return err
			}
			s.set = append(s.set, func(o *exi.OptionsFile) { _ = f(o, v) })
			return nil
		})
	}
	flagged := func(name, help string, f func(*exi.OptionsFile, bool)) {
		fs.BoolFunc(name, help, func(v string) error {
			on := v == "true" || v == "1"
			if !on && v != "false" && v != "0" {
				return errors.New("true or false")
			}
			s.set = append(s.set, func(o *exi.OptionsFile) { f(o, on) })
			return nil
		})
	}
	number := func(name, help string, f func(*exi.OptionsFile, int)) {
		text(name, help, func(o *exi.OptionsFile, v string) error {
			var n int
			if _, err := fmt.Sscanf(v, "%d", &n); err != nil || n < 0 {
				return errors.New("a number from 0")
			}
			f(o, n)
			return nil
		})
	}
	text("alignment", "bitPacked, byteAligned, preCompression or compression", func(o *exi.OptionsFile, v string) error {
		o.Alignment, o.Compression = v, false
		return nil
	})
	flagged("compression", "compress with DEFLATE", func(o *exi.OptionsFile, on bool) { o.Compression = on })
	flagged("strict", "strict interpretation of the schema", func(o *exi.OptionsFile, on bool) { o.Strict = on })
	flagged("fragment", "any number of root elements", func(o *exi.OptionsFile, on bool) { o.Fragment = on })
	text("preserve", "`LIST` of comments, pis, dtd, prefixes, lexicalValues, with commas", preserve)
	flagged("self-contained", "allow self-contained elements", func(o *exi.OptionsFile, on bool) { o.SelfContained = on })
	text("self-contained-element", "`NAME` of an element to write self-contained: local or {namespace}local; may be repeated",
		func(o *exi.OptionsFile, v string) error {
			o.SelfContained = true
			o.SelfContainedElements = append(o.SelfContainedElements, v)
			return nil
		})
	number("block-size", "values per compressed block", func(o *exi.OptionsFile, n int) { o.BlockSize = n })
	number("value-max-length", "characters up to which values enter the string table", func(o *exi.OptionsFile, n int) { o.ValueMaxLength = &n })
	number("value-partition-capacity", "values in the string table", func(o *exi.OptionsFile, n int) { o.ValuePartitionCapacity = &n })
	text("datatype-map", "`TYPE=REPRESENTATION`, both {namespace}local; may be repeated", func(o *exi.OptionsFile, v string) error {
		return o.AddDatatypeMapping(v)
	})
	flagged("cookie", "start with the cookie $EXI", func(o *exi.OptionsFile, on bool) { o.Header.Cookie = on })
	flagged("options-in-header", "write the options into the header", func(o *exi.OptionsFile, on bool) { o.Header.OptionsInHeader = on })
	flagged("schema-id-in-header", "name the schema in the header", func(o *exi.OptionsFile, on bool) { o.Header.SchemaIDInHeader = on })
	text("schema-id", "`ID` of the schema in the header", func(o *exi.OptionsFile, v string) error {
		o.Header.SchemaID = &v
		return nil
	})
	flagged("canonical", "the choices of Canonical EXI", func(o *exi.OptionsFile, on bool) { o.Canonical = on })
	flagged("keep-float-digits", "keep trailing zeros of floats", func(o *exi.OptionsFile, on bool) { o.KeepFloatDigits = on })
	profileFlags(number, flagged)
	return fs, s
}

// profileFlags are the parameters of the EXI Profile.
func profileFlags(number func(string, string, func(*exi.OptionsFile, int)), flagged func(string, string, func(*exi.OptionsFile, bool))) {
	flagged("profile-local-value-partitions", "EXI Profile: use local value partitions", func(o *exi.OptionsFile, on bool) {
		o.ProfileOf().LocalValuePartitions = on
	})
	number("profile-max-grammars", "EXI Profile: most built-in element grammars that learn", func(o *exi.OptionsFile, n int) {
		o.ProfileOf().MaximumNumberOfBuiltInElementGrammars = &n
	})
	number("profile-max-productions", "EXI Profile: most productions learned", func(o *exi.OptionsFile, n int) {
		o.ProfileOf().MaximumNumberOfBuiltInProductions = &n
	})
}

func preserve(o *exi.OptionsFile, v string) error {
	for name := range strings.SplitSeq(v, ",") {
		switch strings.TrimSpace(name) {
		case "":
		case "comments":
			o.Preserve.Comments = true
		case "pis":
			o.Preserve.PIs = true
		case "dtd":
			o.Preserve.DTD = true
		case "prefixes":
			o.Preserve.Prefixes = true
		case "lexicalValues":
			o.Preserve.LexicalValues = true
		default:
			return fmt.Errorf("%q is not one of comments, pis, dtd, prefixes, lexicalValues", name)
		}
	}
	return nil
}

// parse reads the command line and the files it names.
func parse(name string, args []string) (*command, error) {
	fs, s := newFlags(name)
	// Flags may stand behind the file names too.
	var files []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			break
		}
		files = append(files, rest[0])
		args = rest[1:]
	}
	c := &command{in: "-", out: "-"}
	switch len(files) {
	case 2:
		c.out = files[1]
		fallthrough
	case 1:
		c.in = files[0]
	case 0:
	default:
		return nil, fmt.Errorf("%d files; at most an input and an output are expected", len(files))
	}
	file, err := s.file()
	if err != nil {
		return nil, err
	}
	if c.opts, err = file.Options(); err != nil {
		return nil, err
	}
	// An operator's own files may be larger than what a peer may send.
	c.opts.Limits = exi.Limits{Block: 1 << 24, Inflated: 1 << 32}
	return c, c.loadSchema(file.Schema, s)
}

// file reads the options file and applies the flags to it.
func (s *settings) file() (*exi.OptionsFile, error) {
	file, err := exi.ReadOptionsFile(strings.NewReader("{}"))
	if s.options != "" {
		var f *os.File
		if f, err = os.Open(s.options); err != nil {
			return nil, err
		}
		file, err = exi.ReadOptionsFile(f)
		_ = f.Close()
	}
	if err != nil {
		return nil, err
	}
	for _, f := range s.set {
		f(file)
	}
	return file, nil
}

// loadSchema compiles the schema that the options name. A name in the options
// file is looked for beside it.
func (c *command) loadSchema(named string, s *settings) error {
	path := s.schema
	if path == "" {
		path = named
		if path != exi.SchemaNone && path != exi.SchemaXSDTypesOnly && path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(s.options), path)
		}
	}
	c.opts.Schemas = func(id string) (*exi.Schema, error) {
		if id == "" {
			return xsd.TypesOnly(), nil
		}
		if c.opts.Schema != nil {
			return c.opts.Schema, nil // what --schema says is what the stream means
		}
		return nil, errors.New("name its file with --schema")
	}
	switch path {
	case exi.SchemaNone, "":
		return nil
	case exi.SchemaXSDTypesOnly:
		c.opts.Schema = xsd.TypesOnly()
		return nil
	}
	schema, err := xsd.Compile(xsd.FS(os.DirFS(filepath.Dir(path))), filepath.Base(path))
	if err != nil {
		return err
	}
	c.opts.Schema = schema
	return nil
}
