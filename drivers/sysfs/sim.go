package sysfs

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/drivers"
)

// Fault is what a simulated device does wrong.
type Fault uint8

// The faults. They last until another one is set.
const (
	Healthy Fault = iota
	Unbound       // the driver has let go of it: its folder is away
	Dead          // the chip does not answer the kernel: no such device
	Late          // the kernel gives up waiting for the chip
	Noise         // files hold what is no number
)

// Sim is a file system with one simulated device of a class, whose files drift.
// It is safe for concurrent use.
type Sim struct {
	dir   string
	files map[string]func(now time.Time) string

	mu    sync.Mutex
	fault Fault
}

// Value is what a simulated file holds: a number that drifts.
type Value struct {
	drivers.Drift
	Decimals int
}

// NewSim returns a device of the class with that name and those files.
func (c *Class) NewSim(name string, files map[string]Value) *Sim {
	s := &Sim{dir: path.Join(c.Dir, c.Prefix+"0"), files: map[string]func(time.Time) string{"name": func(time.Time) string { return name }}}
	for file, v := range files {
		s.files[file] = func(now time.Time) string { return strconv.FormatFloat(v.At(now), 'f', v.Decimals, 64) }
	}
	return s
}

// SetFault makes the device misbehave from now on, or behave again.
func (s *Sim) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *Sim) state() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// ReadFile implements fs.ReadFileFS.
func (s *Sim) ReadFile(name string) ([]byte, error) {
	dir, file := path.Split(name)
	text, ok := s.files[file]
	var err error = fs.ErrNotExist
	switch fault := s.state(); {
	case !ok || path.Clean(dir) != s.dir || fault == Unbound:
	case file == "name": // the kernel knows it
		return []byte(text(time.Now()) + "\n"), nil
	case fault == Dead:
		err = syscall.ENXIO
	case fault == Late:
		err = syscall.ETIMEDOUT
	case fault == Noise:
		return []byte("\xff?\n"), nil
	default:
		return []byte(text(time.Now()) + "\n"), nil
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: err}
}

// ReadDir implements fs.ReadDirFS.
func (s *Sim) ReadDir(name string) (out []fs.DirEntry, err error) {
	switch class := path.Dir(s.dir); {
	case name == class && s.state() == Unbound:
	case name == class:
		out = append(out, entry{path.Base(s.dir), true})
	case name == s.dir && s.state() != Unbound:
		for f := range s.files {
			out = append(out, entry{f, false})
		}
	default:
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return out, err
}

// Open implements fs.FS, for single files.
func (s *Sim) Open(name string) (fs.File, error) {
	b, err := s.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return file{strings.NewReader(string(b)), entry{path.Base(name), false}}, nil
}

// entry is a name in a folder.
type entry struct {
	name string
	dir  bool
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.dir }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return 4096 } // as sysfs says
func (e entry) Mode() fs.FileMode          { return e.Type() | 0o444 }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
func (e entry) Type() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}

type file struct {
	*strings.Reader
	entry
}

func (f file) Size() int64                { return f.entry.Size() }
func (f file) Stat() (fs.FileInfo, error) { return f.entry, nil }
func (f file) Close() error               { return nil }

var (
	_ fs.ReadFileFS = (*Sim)(nil)
	_ fs.ReadDirFS  = (*Sim)(nil)
)
