package local

import (
	"os"
	"path/filepath"
	"strconv"
)

// SocketName is the name of the socket in the runtime directory.
const SocketName = "postern.sock"

// Path returns where the daemon called name ("postern" or "postern-hub")
// listens when nothing else is configured: $RUNTIME_DIRECTORY, which systemd
// sets; else for root below /run; else in $XDG_RUNTIME_DIR; else in the
// temporary directory, in a directory of the user's own.
func Path(name string) string {
	if d := os.Getenv("RUNTIME_DIRECTORY"); d != "" {
		return filepath.Join(d, SocketName)
	}
	return defaultPath(name)
}

func defaultPath(name string) string {
	if os.Geteuid() == 0 {
		return filepath.Join("/run", name, SocketName)
	}
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		return filepath.Join(d, name, SocketName)
	}
	return filepath.Join(os.TempDir(), name+"-"+strconv.Itoa(os.Geteuid()), SocketName)
}

// Candidates returns the sockets at which a command finds the daemon of that
// name when it was not told where: that of the same user, and that of the
// system.
func Candidates(name string) []string {
	if d := os.Getenv("RUNTIME_DIRECTORY"); d != "" {
		return []string{filepath.Join(d, SocketName)}
	}
	own, system := defaultPath(name), filepath.Join("/run", name, SocketName)
	if own == system {
		return []string{own}
	}
	return []string{own, system}
}
