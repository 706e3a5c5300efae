// Package cli holds the operator's commands: login, read, set and watch. They
// log in with the operator's own account and talk to things over XMPP, so they
// work from any machine that reaches the server.
//
// Each command is a function of its environment and arguments and returns the
// exit code; nothing else of the process is touched.
package cli
