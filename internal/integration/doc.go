// Package integration holds the tests of the whole product against programs
// that were written elsewhere: the servers Prosody and ejabberd, the client
// library slixmpp, the Modbus library pymodbus. Everything runs as its own
// process, on loopback, in temporary directories.
package integration
