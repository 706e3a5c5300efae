// Package local is the local door of a daemon: HTTP with JSON on a unix socket
// that only root, the daemon's own user and the socket's group can open. Every
// command that needs the state of a running daemon asks here; none opens the
// daemon's files.
package local
