package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstFD is the first descriptor that the manager hands over.
const firstFD = 3

// maxFDs bounds what is taken from the manager. It is far above what a unit's
// FileDescriptorStoreMax would be.
const maxFDs = 1024

// Store leaves duplicates of files with the manager under a name. They stay
// open there after the process ended, however it ended, until the service is
// stopped for good; the next process gets them by Inherited. The unit needs
// FileDescriptorStoreMax, else the manager closes them at once and says
// nothing. A name has 1 to 255 printable ASCII characters, no colon; Name makes
// one. The caller keeps its own descriptors.
func (n *Notifier) Store(name string, files ...*os.File) error {
	if err := checkName(name); err != nil {
		return err
	}
	return n.send("FDSTORE=1\nFDNAME="+name, files...)
}

// Discard lets the manager close everything kept under a name. It works when
// the manager comes to it; use Barrier where that matters, for example before
// a line is requested anew.
func (n *Notifier) Discard(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return n.send("FDSTOREREMOVE=1\nFDNAME=" + name)
}

func checkName(name string) error {
	bad := len(name) == 0 || len(name) > 255
	for _, c := range []byte(name) {
		bad = bad || c <= ' ' || c > '~' || c == ':'
	}
	if bad {
		return fmt.Errorf("systemd: %q cannot name a descriptor", name)
	}
	return nil
}

// Name turns any text into a name for Store, different texts into different
// ones: what a name cannot hold is written as %XX. Texts of more than 80
// octets may become too long.
func Name(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == ':' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Inherited returns the descriptors that the manager handed to this process,
// by name; several may have one name. It reads LISTEN_PID, LISTEN_FDS and
// LISTEN_FDNAMES, marks the descriptors close-on-exec and takes the variables
// away by unsetenv (nil: they stay), so that no child takes them for its own.
// Call it once, early: the caller owns the files.
func Inherited(getenv func(string) string, unsetenv func(string) error) map[string][]*os.File {
	pid, count, names := getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES")
	if unsetenv != nil {
		for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
			_ = unsetenv(v) // a name without "=" cannot fail
		}
	}
	n, err := strconv.Atoi(count)
	if pid != strconv.Itoa(os.Getpid()) || err != nil || n <= 0 || n > maxFDs {
		return nil
	}
	list := strings.Split(names, ":")
	out := make(map[string][]*os.File)
	for i := range n {
		fd := firstFD + i
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			continue // not there, whatever the variables say
		}
		unix.CloseOnExec(fd)
		name := "unknown" // what systemd itself says for a descriptor without one
		if i < len(list) && list[i] != "" {
			name = list[i]
		}
		out[name] = append(out[name], os.NewFile(uintptr(fd), name))
	}
	return out
}
