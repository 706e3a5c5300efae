// Package peertest starts real XMPP servers for tests: Prosody and ejabberd as
// Debian packages them, each in a temporary directory of its own, on free
// loopback ports, with a certification authority and accounts made for the
// test. Nothing outside the temporary directory is read or written and no
// service of the machine is touched.
//
//	srv := peertest.Prosody(t)
//	srv.Addr                  // 127.0.0.1:port, STARTTLS
//	srv.JID("device")         // device@prosody.example
//	srv.Password("device")
//	srv.CAFile                // PEM of the authority that signed the server
//	srv.Stop(); srv.Start(); srv.Restart(); srv.Kill()
//
// A server whose package is not installed makes the test skip and say which
// package is missing; with REQUIRE_PEERS=1 in the environment it fails
// instead, so that a machine that must have everything cannot pass by
// skipping.
package peertest
