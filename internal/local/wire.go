package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The door speaks the part of HTTP/1.1 (RFC 9112) that JSON over a local socket
// needs: one request for each connection, bodies with Content-Length, no
// chunks. curl --unix-socket understands it. It is not net/http, which would
// take a tenth of the binary and a megabyte of memory for this.

// Bounds of a message.
const (
	maxLine    = 4096
	maxHeaders = 64
	maxBody    = 64 << 10 // of a request
	maxAnswer  = 16 << 20
)

var (
	errMalformed = errors.New("not HTTP as this door speaks it")
	errTooLong   = errors.New("too long")
)

// line reads a line without its end.
func line(r *bufio.Reader) (string, error) {
	var b []byte
	for {
		part, err := r.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case len(b) > maxLine:
			return "", errTooLong
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return "", err
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
}

// head reads the header fields up to the empty line and returns the length of
// the body.
func head(r *bufio.Reader) (length int64, err error) {
	for range maxHeaders {
		l, err := line(r)
		if err != nil {
			return 0, err
		}
		if l == "" {
			return length, nil
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			return 0, errMalformed
		}
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			if err != nil {
				return 0, errMalformed
			}
			length = int64(n)
		case "transfer-encoding":
			return 0, errMalformed
		}
	}
	return 0, errTooLong
}

// body reads length octets.
func body(r io.Reader, length, most int64) ([]byte, error) {
	if length > most {
		return nil, errTooLong
	}
	b := make([]byte, length)
	_, err := io.ReadFull(r, b)
	return b, err
}

// readRequest reads one request.
func readRequest(r *bufio.Reader) (*Request, error) {
	l, err := line(r)
	if err != nil {
		return nil, err
	}
	method, rest, ok := strings.Cut(l, " ")
	path, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !strings.HasPrefix(version, "HTTP/1.") || !strings.HasPrefix(path, "/") {
		return nil, errMalformed
	}
	length, err := head(r)
	if err != nil {
		return nil, err
	}
	req := &Request{Method: method, Path: path}
	req.body, err = body(r, length, maxBody)
	return req, err
}

// writeRequest writes one request.
func writeRequest(w io.Writer, method, path string, data []byte) error {
	_, err := w.Write(append(fmt.Appendf(nil,
		"%s %s HTTP/1.1\r\nHost: postern\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		method, path, len(data)), data...))
	return err
}

// readAnswer reads one answer.
func readAnswer(r *bufio.Reader) (status int, data []byte, err error) {
	l, err := line(r)
	if err != nil {
		return 0, nil, err
	}
	if !strings.HasPrefix(l, "HTTP/1.") || len(l) < 12 {
		return 0, nil, errMalformed
	}
	if status, err = strconv.Atoi(l[9:12]); err != nil {
		return 0, nil, errMalformed
	}
	length, err := head(r)
	if err != nil {
		return 0, nil, err
	}
	data, err = body(r, length, maxAnswer)
	return status, data, err
}

// phrases are the reason phrases of the statuses that occur.
func phrase(status int) string {
	switch status {
	case 200:
		return "OK"
	case StatusBadRequest:
		return "Bad Request"
	case StatusForbidden:
		return "Forbidden"
	case StatusNotFound:
		return "Not Found"
	case StatusConflict:
		return "Conflict"
	}
	return "Error"
}

// writeAnswer writes one answer.
func writeAnswer(w io.Writer, status int, data []byte) error {
	_, err := w.Write(append(fmt.Appendf(nil,
		"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		status, phrase(status), len(data)), data...))
	return err
}
