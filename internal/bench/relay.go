package bench

import (
	"io"
	"net"

	"postern/xmpp/tcp"
)

// Relay accepts connections at listen and copies octets to and from server
// until it is killed: what any process between two others costs, whatever it
// does.
func Relay(listen, server string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		in, err := l.Accept()
		if err != nil {
			return err
		}
		out, err := net.Dial("tcp", server)
		if err != nil {
			return err
		}
		in, out = tcp.Nonblocking(in), tcp.Nonblocking(out)
		pass := func(dst, src net.Conn) {
			// Not io.Copy: on Linux that splices, and no octet is ever seen.
			var buf [16 << 10]byte
			_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
			_ = dst.Close()
			_ = src.Close()
		}
		go pass(out, in)
		go pass(in, out)
	}
}
