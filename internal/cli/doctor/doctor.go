// Package doctor looks whether a machine is fit for the gateway, and says what
// to do where it is not. It only reads.
package doctor

import (
	"io/fs"
	"strings"
	"time"
)

// State is how a finding is meant.
type State string

// The states.
const (
	OK   State = "ok"
	Note State = "note" // worth knowing; nothing has to be done
	Todo State = "todo" // something does not or will not work
)

// Finding is the result of one check.
type Finding struct {
	Check string `json:"check"` // "clock"
	State State  `json:"state"`
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // what to do
}

// Machine is what is looked at. Tests replace it.
type Machine struct {
	Root    fs.FS // the file system's root
	User    User  // who runs the gateway
	Release string
	Now     func() time.Time
	// Synchronised tells whether the kernel's clock is kept by a time service.
	Synchronised func() (bool, error)
	// Space tells about the file system of a directory.
	Space func(dir string) (Space, error)
	// FastCommit tells whether an ext4 file system has the feature.
	FastCommit func(device string) (has, known bool)
}

// User is an account with its groups.
type User struct {
	Name   string
	UID    uint32
	Groups map[uint32]string
	// GroupName names any group.
	GroupName func(gid uint32) string
}

// Space is that of a file system, in octets.
type Space struct {
	Free, All uint64
	ReadOnly  bool
}

// list collects findings.
type list struct {
	check    string
	findings []Finding
}

func (l *list) add(s State, text, next string) {
	l.findings = append(l.findings, Finding{l.check, s, text, next})
}

// text returns a file without white space at its ends, or nothing.
func (m *Machine) text(name string) string {
	b, err := fs.ReadFile(m.Root, strings.TrimPrefix(name, "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(b), "\x00"))
}

func (m *Machine) glob(pattern string) []string {
	names, err := fs.Glob(m.Root, strings.TrimPrefix(pattern, "/"))
	if err != nil {
		return nil
	}
	for i := range names {
		names[i] = "/" + names[i]
	}
	return names
}
